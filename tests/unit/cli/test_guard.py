# SPDX-License-Identifier: Apache-2.0
"""Test ``manila-aspects guard``, which tests and explains rules."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aspects import cli

pytest.importorskip("cel_expr_python")

RULES = """
- name: protected
  operations: [delete_*]
  when: share.metadata.protected == "true"
  reason: share {share.name} is protected
- name: large
  when: new_size > 5
  reason: "{new_size} GiB"
  enforcement: warn
"""

PROTECTED = """
- name: protected
  operation: delete_share
  arguments: {share: {display_name: db, metadata: {protected: "true"}}}
  expect: deny
"""


class Result(NamedTuple):
    status: int
    out: str
    err: str


Guard = Callable[..., Result]


@pytest.fixture
def guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Guard:
    """Return a function that runs the command with a file of rules and of cases."""
    monkeypatch.chdir(tmp_path)

    def run(topic: str, cases: str, *arguments: str, rules: str = RULES) -> Result:
        Path("rules.yaml").write_text(textwrap.dedent(rules), "utf-8")
        Path("cases.yaml").write_text(textwrap.dedent(cases), "utf-8")
        status = cli.main(["guard", topic, "rules.yaml", "cases.yaml", *arguments])
        return Result(status, *capsys.readouterr())

    return run


def documents(result: Result) -> Any:
    return json.loads(result.out)


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ("", True),
        ("  rules: [protected]", True),
        ("  rules: [large]", False),
        ("  rules: [protected, large]", False),
        ("  rules: []", False),
    ],
)
def test_case_passes_if_decision_and_rules_are_as_expected(
    guard: Guard, change: str, passes: bool
) -> None:
    result = guard("test", f"{PROTECTED}{change}")
    assert result.status == (0 if passes else 1)
    assert f"1 case, {0 if passes else 1} failed" in result.out
    assert result.out.splitlines()[3].split()[:2] == [
        "pass" if passes else "FAIL",
        "protected",
    ]


def test_each_decision_can_be_expected(guard: Guard) -> None:
    share = "arguments: {share: {size: 9, metadata: {protected: 'false'}}"
    cases = f"""
    - {{operation: delete_share, {share}}}, expect: allow}}
    - {{operation: extend_share, {share}, new_size: 9}}, expect: warn}}
    - {{operation: delete_share, arguments: {{share: {{size: 9}}}}, expect: error}}
    """
    result = guard("test", cases, "--format", "json")
    assert result.status == 0
    assert [found["decision"] for found in documents(result)] == [
        "allow",
        "warn",
        "error",
    ]
    assert [found["case"] for found in documents(result)] == [
        "case 1",
        "case 2",
        "case 3",
    ]


def test_json_has_what_the_table_has(guard: Guard) -> None:
    result = guard("test", PROTECTED.replace("deny", "warn"), "--format", "json")
    assert result.status == 1
    assert documents(result) == [
        {
            "case": "protected",
            "passed": False,
            "expected": "warn",
            "expected_rules": None,
            "decision": "deny",
            "rules": ["protected"],
            "reasons": ["share db is protected (rule protected)"],
        }
    ]


def test_event_is_a_case(guard: Guard) -> None:
    rules = """
    - name: world
      operations: [allow_access]
      when: >
        access.to == "0.0.0.0/0" && user.project == "p1" && backend == "alpha" &&
        share.id == "s1"
      reason: "{access.to}"
    """
    data = {
        "operation": "allow_access",
        "backend": "alpha",
        "project_id": "p1",
        "share_id": "s1",
        "add_rules": [{"access_to": "0.0.0.0/0", "access_type": "ip"}],
    }
    cases = json.dumps({"event": {"data": data}, "expect": "deny"})
    assert guard("test", cases, rules=rules).status == 0
    data["add_rules"] = []
    cases = json.dumps([{"event": {"data": data}, "expect": "allow"}])
    assert guard("test", cases, rules=rules).status == 0


def test_explanation_has_the_decision_of_each_rule_and_its_values(
    guard: Guard,
) -> None:
    cases = f"""{PROTECTED}
- name: extended
  operation: extend_share
  arguments: {{share: {{size: 1}}, new_size: 4}}
- name: without metadata
  operation: delete_share
  arguments: {{share: {{size: 1}}}}
"""
    result = guard("explain", cases, "--format", "json")
    assert result.status == 0
    protected, extended, without = documents(result)
    assert protected["decision"] == "deny"
    assert protected["rules"] == [
        {
            "rule": "protected",
            "result": "deny",
            "because": "share db is protected (rule protected)",
            "values": {"share.metadata": {"protected": "true"}},
        },
        {
            "rule": "large",
            "result": "not applied",
            "because": "the call has nothing of what the condition names",
            "values": {},
        },
    ]
    assert [rule["result"] for rule in extended["rules"]] == ["not applied", "no match"]
    assert extended["rules"][0]["because"] == "it is not for extend_share"
    assert extended["rules"][1]["values"] == {"new_size": 4}
    assert [rule["result"] for rule in without["rules"]] == ["error", "not applied"]
    assert 'no key "protected"' in without["rules"][0]["because"]

    printed = guard("explain", cases).out
    assert 'share.metadata = {"protected": "true"}' in printed


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ("- 1", "cases.yaml: case 1: expected a mapping"),
        ("", "cases.yaml: case 1: expected a mapping"),
        ("- expect: deny", "cases.yaml: case 1: the case has no operation"),
        (
            "- {name: a, operation: x, expct: deny}",
            "cases.yaml: a: unknown key 'expct'; did you mean expect?",
        ),
        (
            "- {name: a, operation: x, expect: refuse}",
            "cases.yaml: a: expect: expected allow, warn, deny, error, got 'refuse'",
        ),
        ("- {name: a, operation: x}", "a: the case has no expect"),
        (
            "- {name: a, operation: x, expect: deny, user: {roles: admin}}",
            "cases.yaml: a: roles: expected a list, got 'admin'",
        ),
        (
            "- {name: a, operation: x, expect: deny, arguments: [1]}",
            "cases.yaml: a: arguments: expected a mapping, got [1]",
        ),
        (
            "- {name: a, operation: x, expect: deny, now: noon}",
            "cases.yaml: a: now: expected a time, as in 2026-11-30T12:00:00+01:00",
        ),
        ("- a: b: c", "cases.yaml: mapping values are not allowed here"),
    ],
)
def test_mistake_in_a_case_is_one_line(guard: Guard, cases: str, message: str) -> None:
    result = guard("test", cases)
    assert result.status == 1
    assert result.err.startswith(f"manila-aspects: {message}")
    assert result.err.count("\n") == 1


def test_mistake_in_a_rule_has_its_line_and_column(guard: Guard) -> None:
    result = guard("test", PROTECTED, rules=RULES.replace("new_size >", "newsize >"))
    assert result.status == 1
    assert result.err.startswith(
        "manila-aspects: rules.yaml: line 7, column 9: undeclared reference to "
        "'newsize'; did you mean new_size?"
    )


def test_file_that_does_not_exist_is_an_error(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard("test", PROTECTED)
    assert cli.main(["guard", "test", "rules.yaml", "none.yaml"]) == 1
    assert capsys.readouterr().err == (
        "manila-aspects: none.yaml: No such file or directory\n"
    )


def test_time_of_a_case_is_that_of_the_rules(guard: Guard) -> None:
    rules = "- {name: a, when: now.getHours('Europe/Berlin') < 8, reason: early}"
    case = "- {{operation: x, now: {}, expect: {}}}"
    cases = [
        case.format("2026-11-30T07:59:00+01:00", "deny"),
        case.format("2026-11-30T08:00:00+01:00", "allow"),
        case.format("'2026-11-30T06:59:00+00:00'", "deny"),
        case.format("2026-11-30T07:00:00Z", "allow"),
    ]
    assert guard("test", "\n".join(cases), rules=rules).status == 0


def test_missing_library_is_named(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hooks.guard.cases", None)
    result = guard("test", PROTECTED)
    assert result.status == 1
    assert "run pip install 'manila-aspects[guard]'" in result.err

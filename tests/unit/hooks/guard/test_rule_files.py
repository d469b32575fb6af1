# SPDX-License-Identifier: Apache-2.0
"""Mistakes in a file of rules, each with its line and column."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aspects
from aspects.testing import make_hook
from hooks.guard import GuardHook

from .rules import guarded, mistakes_in, one_rule, written

pytest.importorskip("cel_expr_python")

from hooks.guard.rules import KEYS, RuleFile
from hooks.guard.variables import SHARE_VARIABLES, VARIABLES


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        # The condition: syntax, names and types.
        (one_rule("1 +"), "line 3, column 13: Syntax error: mismatched input '<EOF>'"),
        (
            one_rule("share.sise > 3"),
            "line 3, column 10: undeclared reference to 'share.sise'; "
            "did you mean share.size?",
        ),
        (
            one_rule("true && share.sise > 3"),
            "line 3, column 18: undeclared reference to 'share.sise'; "
            "did you mean share.size?",
        ),
        (one_rule("quota > 3"), "line 3, column 10: undeclared reference to 'quota'"),
        (one_rule("max(3)"), "line 3, column 10: undeclared reference to 'max'"),
        (
            one_rule("share.size > share.name"),
            "line 3, column 21: found no matching overload for '_>_' applied to "
            "'(int, string)'",
        ),
        (one_rule("share.size"), "line 3, column 9: expected a condition, which is a"),
        # The reason.
        (
            one_rule("true", reason="at most {share.sise}"),
            "line 4, column 21: undeclared reference to 'share.sise'",
        ),
        (
            one_rule("true", reason="a } b"),
            "line 4, column 14: unbalanced }; write }} for a literal one",
        ),
        (
            one_rule("true", reason="a {share.size"),
            "line 4, column 14: unbalanced {; write {{ for a literal one",
        ),
        # The other keys.
        (
            one_rule("true", enforcement="dney"),
            "line 5, column 16: expected deny or warn, got 'dney'",
        ),
        (one_rule("true", audit="maybe"), "line 5, column 10: expected false or true"),
        (
            one_rule("true", enfocement="warn"),
            "line 5, column 3: unknown key 'enfocement'; did you mean enforcement?",
        ),
        (one_rule("true", name="b"), "line 5, column 3: duplicate key 'name'"),
        (one_rule("true", "create_*"), "line 2, column 15: expected a list of"),
        (
            one_rule("true", "[create_share, delete_shares]"),
            "line 2, column 30: no operation matches 'delete_shares'; did you mean "
            "delete_share?",
        ),
        (
            one_rule("true", "['!extend']"),
            "line 2, column 16: no operation matches 'extend'; did you mean "
            "extend_share?",
        ),
        ("- name: a\n  when: 'true'", "line 1, column 3: the rule has no reason"),
        ("- when: 'true'\n  reason: x", "line 1, column 3: the rule has no name"),
        ("- name: a\n  when: [1]\n  reason: x", "line 2, column 9: expected a text"),
        ("- name: a\n  when:\n  reason: x", "line 2, column 8: expected a text"),
        (
            "- name: a\n  when: !share.name.matches('a')\n  reason: x",
            "line 2, column 9: expected a text; put one that begins with ! in quotes",
        ),
        (
            f"{one_rule('true')}\n{one_rule('false')}",
            "line 5, column 3: duplicate rule name 'rule'",
        ),
        # The file.
        ("- a", "line 1, column 3: expected a rule, with name and when"),
        ("name: a", "line 1, column 1: expected a list of rules"),
        ("", "line 1, column 1: expected a list of rules"),
        ("- name: 'a", "line 1, column 11: found unexpected end of stream"),
        ("- name: a: b", "line 1, column 10: mapping values are not allowed here"),
        ("- name: \x07", "line 1, column 1: unacceptable character #x0007"),
        # What does not exist on a tick.
        (
            one_rule('access.to == "0.0.0.0/0"', audit="true"),
            "line 3, column 10: undeclared reference to 'access.to'; a rule with audit "
            "may use only share, now and backend",
        ),
    ],
)
def test_mistake_has_its_line_and_column(tmp_path, text, mistake):
    found = mistakes_in(tmp_path, text)
    assert found.startswith(mistake)
    assert ": line" not in found.removeprefix(mistake)


def test_operation_may_be_a_method_of_the_driver_alone(tmp_path):
    rules = written(tmp_path, one_rule("true", "[rebalance_pools, '!rebalance_*']"))
    (rule,) = RuleFile.read(rules).rules
    assert rule.operations == ("rebalance_pools", "!rebalance_*")


def test_all_mistakes_are_reported_in_the_order_of_the_lines(tmp_path):
    text = """
    - name: a
      when: share.sise > 3
      reason: "{share.nam}"
    - name: b
      when: 1 +
      reason: x
      audit: perhaps
    """
    lines = [part.partition(":")[0] for part in mistakes_in(tmp_path, text).split("; ")]
    assert [line for line in lines if line.startswith("line")] == [
        "line 3, column 9",
        "line 4, column 13",
        "line 6, column 12",
        "line 8, column 10",
    ]


@pytest.mark.parametrize(
    "written_as",
    [
        "  when: {0} && share.sise > 3",
        "  when: '{0} && share.sise > 3'",
        '  when: "{0} && share.sise > 3"',
        "  when: {0} &&\n    share.sise > 3",
        "  when: '{0} &&\n\n    share.sise > 3'",
        "  when: |\n    {0} &&\n      share.sise > 3",
        "  when: >-\n    {0}\n    && share.sise > 3",
        "  when: &anchor {0} && share.sise > 3",
    ],
)
@pytest.mark.parametrize("first", ["true", 'share.name.matches("ä b")'])
def test_position_is_right_in_each_style_of_yaml(tmp_path, written_as, first):
    if written_as.startswith('  when: "'):
        first = first.replace('"', "'")
    text = f"# rules\n- name: a\n{written_as.format(first)}\n  reason: x\n"
    cause = mistakes_in(tmp_path, text)
    lines = text.splitlines()
    line = next(n for n, found in enumerate(lines) if "share.sise" in found)
    column = lines[line].index("share.sise")
    assert cause.startswith(f"line {line + 1}, column {column + 1}: undeclared")


@pytest.mark.parametrize(
    "value",
    [
        r'"share.name == \"a\" && share.sise > 3"',
        "'share.name == ''a'' && share.sise > 3'",
    ],
)
def test_position_is_that_of_the_value_if_quotes_are_escaped(tmp_path, value):
    cause = mistakes_in(tmp_path, f"- name: a\n  when: {value}\n  reason: x\n")
    assert cause.startswith("line 2, column 10: undeclared")


def test_expression_that_is_not_unicode_is_a_mistake(tmp_path):
    text = "- name: a\n  when: \"share.name == '\\ud800'\"\n  reason: x\n"
    assert mistakes_in(tmp_path, text) == "line 2, column 10: half a surrogate pair"


def test_file_that_cannot_be_read_is_a_mistake(tmp_path):
    path = str(tmp_path / "rules.yaml")
    with pytest.raises(aspects.HookConfigError, match="No such file or directory"):
        make_hook(GuardHook, guard_rules_file=path)
    (tmp_path / "rules.yaml").write_bytes(b"\xff")
    with pytest.raises(aspects.HookConfigError, match="not in UTF-8"):
        make_hook(GuardHook, guard_rules_file=path)


def test_empty_path_clears_the_option():
    hook = make_hook(GuardHook, guard_rules_file="")
    assert hook.get_config_option("guard_rules_file") is None


@pytest.mark.parametrize("name", VARIABLES)
def test_expression_knows_the_variables_that_it_uses(name):
    from hooks.guard.expressions import Expression
    from hooks.guard.variables import types_of

    other = "share.name" if name != "share.name" else "user.id"
    # A text that only looks like a variable does not count.
    when = f'{name} == {name} && "{other}" != "x"'
    assert Expression(when, types_of(VARIABLES)).names == (name,)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(SHARE_VARIABLES)), min_size=1, max_size=6))
def test_rule_knows_the_variables_of_condition_and_reason(names):
    when = " && ".join(f"{name} == {name}" for name in names[:-1]) or "true"
    text = f"- name: a\n  when: '{when}'\n  reason: x\n"
    (rule,) = RuleFile("rules.yaml", text).rules
    assert set(rule.when.names) == set(names[:-1])
    text = f"- name: a\n  when: '{when}'\n  reason: '{{{names[-1]} == {names[-1]}}}'\n"
    (rule,) = RuleFile("rules.yaml", text).rules
    assert set(rule.when.names) == set(names[:-1])
    assert set(rule.reason.names) == {names[-1]}


def test_yaml_words_are_read_as_they_are_written(tmp_path):
    text = "- name: no\n  when: true\n  reason: 12\n"
    (rule,) = RuleFile("rules.yaml", text).rules
    assert (rule.name, rule.enforcement, rule.audit) == ("no", "deny", False)
    assert set(KEYS) == set(vars(rule))


def test_missing_library_is_reported_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    for name in ("rules", "variables", "expressions"):
        monkeypatch.delitem(sys.modules, f"hooks.guard.{name}", raising=False)
    cause = mistakes_in(tmp_path, one_rule("true"))
    assert cause.endswith("run pip install 'manila-aspects[guard]'")
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    cause = mistakes_in(tmp_path, one_rule("true"))
    assert cause == "a file of rules requires Python 3.11"


def test_guard_with_an_empty_list_of_rules_has_no_effect(tmp_path):
    path = written(tmp_path, "[]")
    hook = make_hook(GuardHook, guard_rules_file=path)
    cause, advice = hook.ineffective()
    assert "it has no rule" in cause
    assert "guard_rules_file" in advice
    driver = guarded(tmp_path, one_rule("true"))
    (hook,) = aspects.weaving(driver).hooks
    assert hook.ineffective() is None

# SPDX-License-Identifier: Apache-2.0
"""Test the report of ``manila-aspects check`` on the effect of a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import aspects
from aspects import cli
from aspects.cli import check
from tests.support.entries import recording

from .common import HOOKS, MANAGER, RIGHT, SECRET, SWITCH, Check, row

#: The diagnostic of a reference to an unknown option.
NO_SUCH = (
    "no such option nosuch in group [DEFAULT]; refer to an existing option, or write "
    "$$ for a literal $"
)

BACKENDS = "enabled_share_backends = alpha"
DRIVER = f"share_driver = {HOOKS}.Driver"
ONE = f"one={HOOKS}:Recorder"
DRIVERS = f"hook_drivers = {ONE}"
OWN = "color = red"

SEVERAL = f"""\
[DEFAULT]
enabled_share_backends = alpha, beta, gamma
{MANAGER}
host = node1
suppress_post_hooks_errors = True

[alpha]
{DRIVER}
hook_drivers = one={HOOKS}:Recorder, {HOOKS}:Upstream
enable_pre_hooks = True
enable_post_hooks = True
hook_methods = further
periodic_hooks_ticks = 3

[alpha:one]
enable_pre_hooks = False
enable_periodic_hooks = True
hook_operations = create_*
pin = 1234

[beta]
{DRIVER}
hook_drivers = tests.support.entries.constructed:Needy
enable_pre_hooks = True
needy_url = http://joe:{SECRET}@example.org/
needy_key = {SECRET}

[gamma]
{DRIVER}
"""


class TestReport:
    def test_the_tables_show_the_chain_the_options_and_the_operations(
        self, run: Check
    ) -> None:
        result = run(SEVERAL)
        assert result.problems == result.warnings == []
        lines = [line.strip() for line in result.out.splitlines()]
        driver = f"driver {HOOKS}.Driver, host node1"
        assert f"{driver}@alpha, periodic hooks every 3 ticks" in lines
        assert f"{driver}@gamma, no hooks configured" in lines
        assert row(result, "1", "one") == [
            *(f"{HOOKS}:Recorder", "post,", "periodic", "post", "inline", "create_*")
        ]
        assert row(result, "2", "Upstream") == [
            *(f"{HOOKS}:Upstream", "pre,", "post", "post", "inline", "*")
        ]
        operations = result.out.partition("operations of alpha")[2].partition("\n\n")[0]
        assert [line.split() for line in operations.splitlines()[-2:]] == [
            ["create_share_instance", "create_share"],
            ["further", "further"],
        ]
        assert row(result, "-", "periodic_hooks_ticks") == [
            "3",
            "alpha",
            "manila.conf:13",
        ]
        begin = "Not implemented: allow_access, "
        assert len([line for line in lines if line.startswith(begin)]) == 2

    def test_a_multiline_value_is_one_row(self, run: Check) -> None:
        result = run(RIGHT.replace(OWN, "color = red\n  and\n  blue"))
        assert row(result, "one", "color")[:3] == ["red", "and", "blue"]

    def test_a_backend_whose_hooks_fail_to_load_is_marked(self, run: Check) -> None:
        result = run(RIGHT.replace(DRIVERS, "hook_drivers = one=no.such:Hook"))
        assert f"driver {HOOKS}.Driver, host " in result.out
        assert "@alpha, hooks failed to load\n" in result.out

    def test_empty_hook_drivers_count_as_no_hooks(self, run: Check) -> None:
        result = run(RIGHT.replace(DRIVERS, "hook_drivers ="))
        assert "@alpha, no hooks configured\n" in result.out

    def test_enable_post_hooks_enables_the_error_method_too(self, run: Check) -> None:
        text = SEVERAL.replace(
            "[gamma]", "[beta:Needy]\nenable_post_hooks = 1\n[gamma]"
        )
        data = json.loads(run(text, "--format", "json").out)
        (hook,) = data["backends"][1]["chain"]
        assert hook["enabled"] == ["pre", "post", "error"]

    def test_the_json_document_has_the_same_facts(self, run: Check) -> None:
        data = json.loads(run(SEVERAL, "--format", "json").out)
        assert data["files"] == ["manila.conf"]
        assert data["problems"] == data["warnings"] == []
        alpha, beta, gamma = data["backends"]
        assert (alpha["name"], alpha["host"], alpha["ticks"]) == (
            *("alpha", "node1@alpha", 3),
        )
        assert [hook["instance"] for hook in alpha["chain"]] == ["one", "Upstream"]
        one = alpha["chain"][0]
        assert one["enabled"] == ["post", "periodic"]
        assert one["suppressed"] == ["post"]
        assert one["operations"] == ["create_*"]
        assert {
            "option": "suppress_post_hooks_errors",
            "value": "True",
            "section": "DEFAULT",
            "place": "manila.conf:5",
        } in one["settings"]
        assert alpha["woven"] == {
            "create_share_instance": ["create_share"],
            "further": ["further"],
        }
        assert "delete_share_instance" in alpha["missing_operations"]
        assert [len(backend["chain"]) for backend in (beta, gamma)] == [1, 0]

    @pytest.mark.parametrize("format", ["text", "json"])
    def test_secrets_are_redacted(self, run: Check, format: str) -> None:
        result = run(SEVERAL, "--format", format)
        assert SECRET not in result.out
        assert "1234" not in result.out
        assert "http://joe:***@example.org/" in result.out

    def test_the_report_can_be_limited_to_one_backend(self, run: Check) -> None:
        text = SEVERAL.replace("[gamma]\n", "[gamma]\nhook_drivers = no.such:Hook\n")
        text += "[gamma:on]\n[alpha:on]\n"
        result = run(text, "--backend", "alpha")
        assert result.problems == [
            "[alpha:on]: no hook instance 'on' in hook_drivers of [alpha]; did you "
            "mean [alpha:one]? (manila.conf:32)"
        ]
        assert "backend alpha" in result.out
        assert "beta" not in result.out

    def test_the_misspelled_section_of_the_only_backend_is_reported(
        self, run: Check
    ) -> None:
        result = run(RIGHT.replace("[alpha]", "[alfa]"), "--backend", "alpha")
        assert result.problems == [
            "[alfa]: section is never read, and [alpha] is missing; did you mean "
            "[alpha]? (manila.conf:5)"
        ]

    def test_invalid_enabled_backends_take_precedence_over_an_unknown_backend(
        self, run: Check
    ) -> None:
        text = RIGHT.replace(BACKENDS, "enabled_share_backends = $nosuch")
        result = run(text, "--backend", "alpha")
        assert result.problems == [
            f"[DEFAULT] enabled_share_backends = $nosuch: {NO_SUCH} (manila.conf:2)"
        ]

    def test_a_backend_that_is_not_enabled_is_an_error(self, run: Check) -> None:
        result = run(SEVERAL, "--backend", "gama")
        assert result.err == (
            "manila-aspects: backend 'gama' is not enabled (enabled: alpha, beta, "
            "gamma); did you mean 'gamma'?\n"
        )
        assert (result.status, result.out) == (1, "")

    def test_without_enabled_backends_the_default_section_has_the_hooks(
        self, run: Check
    ) -> None:
        text = RIGHT.replace(BACKENDS, "").replace("\n[alpha]\n", "")
        text = text.replace("[alpha:one]", "[DEFAULT:one]")
        result = run(text)
        assert result.problems == []
        assert row(result, "one", "color") == ["red", "DEFAULT:one", "manila.conf:9"]
        result = run(text.replace("one]", "ones]"))
        assert result.problems == [
            "[DEFAULT:ones]: no hook instance 'ones' in hook_drivers of [DEFAULT]; did "
            "you mean [DEFAULT:one]? (manila.conf:8)"
        ]
        result = run(text.replace(OWN, "colr = red"))
        assert result.problems == [
            "[DEFAULT:one] colr = red: unknown option; did you mean color? "
            "(manila.conf:9)"
        ]

    def test_section_names_are_case_insensitive(self, run: Check) -> None:
        result = run(
            RIGHT.replace("[alpha]", "[Alpha]").replace("[alpha:o", "[ALPHA:O")
        )
        assert result.problems == []
        assert row(result, "one", "color") == ["red", "alpha:one", "manila.conf:11"]

    def test_a_method_that_raises_not_implemented_error_is_missing(
        self, run: Check
    ) -> None:
        driver = "share_driver = tests.unit.cli.test_show.Driver"
        result = run(RIGHT.replace(DRIVER, driver))
        operations = result.out.partition("operations of alpha")[2]
        assert "\n  create_share_instance " in operations
        assert "\n  delete_share_instance " not in operations
        assert "delete_share_instance, " in operations

    def test_hooks_are_constructed_but_not_started(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started = []
        monkeypatch.setattr(aspects.HookBase, "start", started.append)
        assert run(RIGHT).status == 0
        assert started == []

    def test_output_of_a_hook_does_not_corrupt_the_report(self, run: Check) -> None:
        loud = "hook_drivers = one=tests.support.entries.constructed:Loud"
        text = RIGHT.replace(DRIVERS, loud)
        result = run(text, "--format", "json")
        assert json.loads(result.out)["problems"] == []
        assert result.err == "here I am\n"

    def test_the_problems_are_those_of_start_up(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = RIGHT.replace(SWITCH, "enable_pre_hooks = ture\nhook_operations = x")
        result = run(text)
        conf = cfg.ConfigOpts()
        conf(["--config-file", "manila.conf"], default_config_dirs=[])
        section = aspects.BackendSection(conf, "alpha")
        with pytest.raises(aspects.HookConfigError) as caught:
            aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
        lines = str(caught.value).splitlines()
        assert len(result.problems) == len(lines) == 2
        for problem, line in zip(result.problems, lines):
            assert problem.startswith(line)


class TestAmount:
    def shown(
        self, run: Check, capsys: pytest.CaptureFixture[str], text: str, *more: str
    ) -> list[str]:
        """Return the lines that the command prints without ``--verbose``."""
        Path("manila.conf").write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cfg, "CONF", cfg.ConfigOpts())
            cli.main(["check", "--config-file", "manila.conf", *more])
        return capsys.readouterr().out.splitlines()

    def test_the_first_line_is_the_verdict(
        self, run: Check, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = self.shown(run, capsys, RIGHT)
        assert lines[0] == "no problems, no warnings in manila.conf"
        assert lines[1] == "backend alpha"

    def test_options_and_operations_are_shown_with_verbose_only(
        self, run: Check, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = self.shown(run, capsys, RIGHT)
        assert not [line for line in out if line.startswith(("options", "operations"))]
        out = self.shown(run, capsys, RIGHT, "--verbose")
        assert {"options of alpha", "operations of alpha"} <= set(out)

    def test_quiet_prints_nothing_for_a_valid_configuration(
        self, run: Check, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.shown(run, capsys, RIGHT, "--quiet") == []

    def test_quiet_prints_the_verdict_and_the_problems(
        self, run: Check, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = RIGHT.replace(SWITCH, "enable_pre_hooks = ture")
        lines = self.shown(run, capsys, text, "--quiet")
        assert lines[0] == "1 problem, no warnings in manila.conf"
        assert lines[1].startswith("problem: [alpha] enable_pre_hooks = ture: ")
        assert len(lines) == 2

    def test_an_option_that_equals_its_default_is_not_listed(self, run: Check) -> None:
        result = run(RIGHT.replace(SWITCH, f"{SWITCH}\nhook_slow_seconds = 0"))
        assert result.problems == []
        assert "hook_slow_seconds" not in result.out


class TestDocument:
    def test_json_is_printed_for_a_backend_that_is_not_enabled(
        self, run: Check
    ) -> None:
        result = run(RIGHT, "--format", "json", "--backend", "alfa")
        (problem,) = json.loads(result.out)["problems"]
        assert problem["cause"].startswith("backend 'alfa' is not enabled")
        assert result.status == 1

    def test_a_value_of_the_wrong_type_is_a_problem_of_its_option(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Like a driver that reads an option of Manila when it is imported.
        def gather(manila: Any, lines: Any, progress: Any) -> Any:
            manila.conf.register_opt(cfg.IntOpt("report_interval"))
            return manila.conf.report_interval

        monkeypatch.setattr(check, "gather", gather)
        text = RIGHT.replace(MANAGER, f"{MANAGER}\nreport_interval = often")
        expected = (
            "[DEFAULT] report_interval: invalid value; write a value of its type "
            "(manila.conf:4)"
        )
        assert run(text).problems == [expected]
        (problem,) = json.loads(run(text, "--format", "json").out)["problems"]
        assert (problem["option"], problem["line"]) == ("report_interval", 4)


class TestFactory:
    def test_the_operations_of_a_driver_factory_are_not_known(self, run: Check) -> None:
        driver = "share_driver = tests.unit.cli.common.Factory"
        text = RIGHT.replace(DRIVER, driver).replace(
            SWITCH, f"{SWITCH}\nhook_operations = create_share_instance"
        )
        result = run(text.replace(SWITCH, f"{SWITCH}\nhook_methods = special"))
        assert result.problems == result.warnings == []
        assert "Not known: the driver class constructs an object" in result.out
        assert "Not implemented" not in result.out


def test_mistake_in_a_file_of_rules_has_file_line_and_column(
    run: Check, tmp_path: Path
) -> None:
    pytest.importorskip("cel_expr_python")
    path = tmp_path / "rules.yaml"
    path.write_text("- name: large\n  when: share.sise > 5\n  reason: large\n")
    guard = f"hook_drivers = guard\n{SWITCH}\nguard_rules_file = {path}"
    result = run(f"[DEFAULT]\n{BACKENDS}\n{MANAGER}\n[alpha]\n{DRIVER}\n{guard}\n")
    assert result.status == 1
    assert result.problems == [
        f"[alpha] guard_rules_file = {path}: line 2, column 9: undeclared reference to "
        "'share.sise'; did you mean share.size? (manila.conf:8)"
    ]
    path.write_text("- name: large\n  when: share.size > 5\n  reason: large\n")
    text = f"[DEFAULT]\n{BACKENDS}\n{MANAGER}\n[alpha]\n{DRIVER}\n{guard}\n"
    assert run(text).problems == []

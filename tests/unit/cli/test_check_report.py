# SPDX-License-Identifier: Apache-2.0
"""The report of ``manila-aspects check``: what a configuration will do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import HOOKS, MANAGER, RIGHT, SECRET, SWITCH, Check, row

#: What is said of a reference to an option that there is not.
NO_SUCH = (
    "no such option nosuch in group [DEFAULT]: name one that there is, or write $$ "
    "for a $"
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
    def test_what_will_happen(self, run: Check) -> None:
        told = run(SEVERAL)
        assert told.problems == told.warnings == []
        about = [line.strip() for line in told.out.splitlines()]
        driver = f"driver {HOOKS}.Driver, host node1"
        assert f"{driver}@alpha, periodic actions on one tick in 3" in about
        assert f"{driver}@gamma, no hooks: it is not woven" in about
        assert row(told, "1", "one") == [
            *(f"{HOOKS}:Recorder", "post,", "periodic", "post", "inline", "create_*")
        ]
        assert row(told, "2", "Upstream") == [
            *(f"{HOOKS}:Upstream", "pre,", "post", "post", "inline", "*")
        ]
        operations = told.out.partition("operations of alpha")[2].partition("\n\n")[0]
        assert [line.split() for line in operations.splitlines()[-2:]] == [
            ["create_share_instance", "create_share"],
            ["further", "further"],
        ]
        assert row(told, "-", "periodic_hooks_ticks") == [
            "3",
            "alpha",
            "manila.conf:13",
        ]
        lacks = [line for line in about if line.startswith("It lacks allow_access, ")]
        assert len(lacks) == 2

    def test_a_value_of_several_lines_is_one_row(self, run: Check) -> None:
        told = run(RIGHT.replace(OWN, "color = red\n  and\n  blue"))
        assert row(told, "one", "color")[:3] == ["red", "and", "blue"]

    def test_of_hooks_that_cannot_be_made(self, run: Check) -> None:
        told = run(RIGHT.replace(DRIVERS, "hook_drivers = one=no.such:Hook"))
        assert f"driver {HOOKS}.Driver, host " in told.out
        assert "@alpha, its hooks cannot be made\n" in told.out

    def test_the_error_action_is_one_of_the_endings(self, run: Check) -> None:
        text = SEVERAL.replace(
            "[gamma]", "[beta:Needy]\nenable_post_hooks = 1\n[gamma]"
        )
        data = json.loads(run(text, "--format", "json").out)
        (hook,) = data["backends"][1]["chain"]
        assert hook["actions"] == ["pre", "post", "error"]

    def test_the_same_for_a_program(self, run: Check) -> None:
        data = json.loads(run(SEVERAL, "--format", "json").out)
        assert data["files"] == ["manila.conf"]
        assert data["problems"] == data["warnings"] == []
        alpha, beta, gamma = data["backends"]
        assert (alpha["name"], alpha["host"], alpha["ticks"]) == (
            *("alpha", "node1@alpha", 3),
        )
        assert [hook["instance"] for hook in alpha["chain"]] == ["one", "Upstream"]
        one = alpha["chain"][0]
        assert one["actions"] == ["post", "periodic"]
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
        assert "delete_share_instance" in alpha["lacks"]
        assert [len(each["chain"]) for each in (beta, gamma)] == [1, 0]

    @pytest.mark.parametrize("format", ["text", "json"])
    def test_secrets_are_not_told(self, run: Check, format: str) -> None:
        told = run(SEVERAL, "--format", format)
        assert SECRET not in told.out
        assert "1234" not in told.out
        assert "http://joe:***@example.org/" in told.out

    def test_one_backend_alone(self, run: Check) -> None:
        text = SEVERAL.replace("[gamma]\n", "[gamma]\nhook_drivers = no.such:Hook\n")
        text += "[gamma:on]\n[alpha:on]\n"
        told = run(text, "--backend", "alpha")
        assert told.problems == [
            "[alpha:on]: hook_drivers of [alpha] names no instance 'on': write "
            "[alpha:one] (manila.conf:32)"
        ]
        assert "backend alpha" in told.out
        assert "beta" not in told.out

    def test_one_backend_whose_section_is_misspelt(self, run: Check) -> None:
        told = run(RIGHT.replace("[alpha]", "[alfa]"), "--backend", "alpha")
        assert told.problems == [
            "[alfa]: nobody reads this section, and there is no [alpha]: write "
            "[alpha] (manila.conf:5)"
        ]

    def test_one_backend_where_those_enabled_cannot_be_read(self, run: Check) -> None:
        text = RIGHT.replace(BACKENDS, "enabled_share_backends = $nosuch")
        told = run(text, "--backend", "alpha")
        assert told.problems == [
            f"[DEFAULT] enabled_share_backends = $nosuch: {NO_SUCH} (manila.conf:2)"
        ]

    def test_a_backend_that_is_not_enabled(self, run: Check) -> None:
        told = run(SEVERAL, "--backend", "gama")
        assert told.err == (
            "manila-aspects: 'gama' is not an enabled backend (enabled: alpha, beta, "
            "gamma); did you mean 'gamma'?\n"
        )
        assert (told.status, told.out) == (1, "")

    def test_without_backends_hooks_are_those_of_default(self, run: Check) -> None:
        text = RIGHT.replace(BACKENDS, "").replace("\n[alpha]\n", "")
        text = text.replace("[alpha:one]", "[DEFAULT:one]")
        told = run(text)
        assert told.problems == []
        assert row(told, "one", "color") == ["red", "DEFAULT:one", "manila.conf:9"]
        told = run(text.replace(OWN, "color = red").replace("one]", "ones]"))
        assert told.problems == [
            "[DEFAULT:ones]: hook_drivers of [DEFAULT] names no instance 'ones': write "
            "[DEFAULT:one] (manila.conf:8)"
        ]
        told = run(text.replace(OWN, "color = red"))
        assert told.problems == [
            "[DEFAULT:one] color = red: there is no such option: write color "
            "(manila.conf:9)"
        ]

    def test_sections_may_be_in_capitals(self, run: Check) -> None:
        told = run(RIGHT.replace("[alpha]", "[Alpha]").replace("[alpha:o", "[ALPHA:O"))
        assert told.problems == []
        assert row(told, "one", "color") == ["red", "alpha:one", "manila.conf:11"]

    def test_a_method_that_is_not_implemented_is_lacking(self, run: Check) -> None:
        driver = "share_driver = tests.unit.cli.test_show.Driver"
        told = run(RIGHT.replace(DRIVER, driver))
        operations = told.out.partition("operations of alpha")[2]
        assert "\n  create_share_instance " in operations
        assert "\n  delete_share_instance " not in operations
        assert "delete_share_instance, " in operations

    def test_hooks_are_made_and_never_started(
        self, run: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        monkeypatch.setattr(aspects.HookBase, "start", lambda hook: seen.append(hook))
        assert run(RIGHT).status == 0
        assert seen == []

    def test_what_a_hook_prints_is_not_in_the_way(self, run: Check) -> None:
        loud = "hook_drivers = one=tests.support.entries.constructed:Loud"
        text = RIGHT.replace(DRIVERS, loud)
        told = run(text, "--format", "json")
        assert json.loads(told.out)["problems"] == []
        assert told.err == "here I am\n"

    def test_it_says_what_start_up_says(
        self, run: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = RIGHT.replace(SWITCH, "enable_pre_hooks = ture\nhook_operations = x")
        told = run(text)
        conf = cfg.ConfigOpts()
        conf(["--config-file", "manila.conf"], default_config_dirs=[])
        section = aspects.BackendSection(conf, "alpha")
        with pytest.raises(aspects.HookConfigError) as caught:
            aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
        lines = str(caught.value).splitlines()
        assert len(told.problems) == len(lines) == 2
        for problem, line in zip(told.problems, lines):
            assert problem.startswith(line)

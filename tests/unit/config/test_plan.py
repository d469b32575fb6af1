# SPDX-License-Identifier: Apache-2.0
"""Plans of a section: operations, enforcement, and hooks that a reload keeps."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from oslo_config import cfg

import aspects
from aspects import cli
from aspects.config.options import SWITCHES, instance_options
from tests.support.entries.recording import Upstream
from tests.unit.config import support

OPTION = cfg.StrOpt("h", default="x")


# -- hook_operations -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ("hook_operations =", []),
        ("hook_operations = !delete_*", ["!delete_*"]),
        ("hook_operations = *, !extend_share", ["*", "!extend_share"]),
        ("", ["*"]),
    ],
)
def test_operations_of_a_hook_are_the_configured_list(backend, text, operations):
    (hook,) = backend(OPTION, alpha=text).weave()
    assert hook.hook_operations == operations


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("!destroy_*", ""),
        ("!extend_shar", "did you mean !extend_share?"),
        ("!delete_share", "did you mean !delete_share_instance?"),
        ("!creat_* extend_share", "did you mean !creat_*, extend_share?"),
        ("!!delete_*", "did you mean !delete_*?"),
        ("!", ""),
    ],
)
def test_exclusion_of_an_unknown_operation_is_reported(backend, pattern, advice):
    made = backend(OPTION, alpha=f"hook_operations = *, {pattern}")
    (problem,) = made.problems()
    assert problem == (
        *("alpha", "hook_operations", pattern),
        "no operation matches",
        advice,
    )


# -- hook_enforcement ------------------------------------------------------------


def test_enforcement_changes_on_a_reload(backend):
    made = backend(OPTION)
    (hook,) = made.weave()
    assert hook.hook_enforcement == "deny"
    made.edit(sections="[alpha:ops]\nhook_enforcement = warn")
    assert made.hooks == [hook]
    assert hook.hook_enforcement == "warn"
    made.edit()
    assert hook.hook_enforcement == "deny"


def test_unknown_enforcement_is_reported(backend):
    (problem,) = backend(OPTION, alpha="hook_enforcement = allow").problems()
    assert problem[:3] == ("alpha", "hook_enforcement", "allow")


def test_every_switch_is_the_value_of_a_mutable_option(backend):
    made = backend(OPTION)
    made.classes.append(Upstream)
    support.Upstream = Upstream
    try:
        made.file.mutate(made.text())
        hooks = made.weave()
    finally:
        del support.Upstream
    assert [type(hook).__name__ for hook in hooks] == ["Ops", "Upstream"]
    for hook in hooks:
        section = hook.configuration
        for switch, option in SWITCHES.items():
            assert getattr(hook, switch) == section.safe_get(option)
            assert section.options[option].mutable


def test_each_instance_option_has_help():
    for option in instance_options:
        assert option.help.endswith(".")
    (enforcement,) = (o for o in instance_options if o.name == "hook_enforcement")
    assert [*enforcement.type.choices] == ["deny", "warn"]


# -- the report ------------------------------------------------------------------


@pytest.fixture
def checked(backend, monkeypatch, capsys):
    """Return a function that runs ``manila-aspects check`` and returns its output."""

    def run(*options, operations="*", alpha="", sections="", format="json"):
        driver = "tests.support.entries.recording.Driver"
        made = backend(
            *options,
            alpha=f"share_driver = {driver}\nhook_operations = {operations}\n{alpha}",
            sections="[DEFAULT]\nenabled_share_backends = alpha\nhost = node1\n"
            f"share_manager = aspects.manila.ShareManager\n{sections}",
        )
        monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
        monkeypatch.chdir(made.file.path.parent)
        monkeypatch.syspath_prepend(Path(__file__).parents[3])
        cli.main(["check", "--config-file", "service.conf", "--format", format])
        out = capsys.readouterr().out
        return json.loads(out) if format == "json" else out

    return run


@pytest.mark.parametrize("text", ["", "!create_*", "*, !extend_share", "create_*"])
def test_check_shows_the_operations_as_configured(checked, text):
    report = checked(OPTION, operations=text, alpha="enable_pre_hooks = True")
    assert report["problems"] == report["warnings"] == []
    (hook,) = report["backends"][0]["chain"]
    assert hook["operations"] == [pattern for pattern in text.split(", ") if pattern]


def test_check_shows_that_a_hook_has_no_operations(checked):
    out = checked(OPTION, operations="", format="text")
    (line,) = (line for line in out.splitlines() if " inline " in line)
    assert line.split()[-2:] == ["inline", "none"]


def test_check_shows_where_a_value_is_set(checked, monkeypatch):
    monkeypatch.setenv("OS_ALPHA__HOOK_ENFORCEMENT", "warn")
    options = [
        cfg.StrOpt("h_url", deprecated_name="url"),
        cfg.StrOpt("h_via", default="x"),
        cfg.StrOpt("h_key", secret=True),
    ]
    report = checked(
        options,
        alpha="enable_pre_hooks = True\nurl = here",
        sections="h_key = hunter2-Zq9\n[alpha:ops]\nh_via = <$h_key>",
    )
    assert report["problems"] == []
    (hook,) = report["backends"][0]["chain"]
    assert {
        setting["option"]: tuple(setting.values())[1:] for setting in hook["settings"]
    } == {
        "enable_pre_hooks": ("True", "alpha", "service.conf:5"),
        "hook_operations": ("*", "alpha", "service.conf:4"),
        "hook_enforcement": ("warn", "alpha", "OS_ALPHA__HOOK_ENFORCEMENT"),
        "h_url": ("here", "alpha", "service.conf:6"),
        "h_via": ("***", "alpha:ops", "service.conf:13"),
        "h_key": ("***", "DEFAULT", "service.conf:11"),
    }


# -- a reload --------------------------------------------------------------------


def test_instance_is_recreated_when_a_referenced_option_changes(backend):
    options = [cfg.StrOpt("h", default="$base/x"), cfg.StrOpt("base", mutable=True)]
    made = backend(options, alpha="base = a")
    (before,) = made.weave()
    made.edit(alpha="base = b")
    (after,) = made.hooks
    assert after is not before
    assert (made.values("h"), made.values("base")) == (["b/x"], ["b"])


def test_kept_instance_has_all_new_values_or_none(backend):
    options = [cfg.StrOpt("h", mutable=True), cfg.IntOpt("h_size", mutable=True)]
    made = backend(options, alpha="h = a\nh_size = 1")
    (hook,) = made.weave()
    made.edit(alpha="h = b\nh_size = big")
    assert (made.values("h"), made.values("h_size")) == (["a"], [1])
    # An option that is added now is read from the configuration in effect.
    more = cfg.StrOpt("h_more", default="$h", mutable=True)
    hook.configuration.append_config_values([more])
    assert made.values("h_more") == ["a"]
    made.edit(alpha="h = b\nh_size = 2")
    assert made.hooks == [hook]
    assert [made.values(name) for name in ("h", "h_size", "h_more")] == [
        *(["b"], [2], ["b"])
    ]
    where = hook.configuration.origin
    assert (where("h").text, where("h_more")) == ("b", None)
    # An option that is added after an edit is read from the edited file.
    hook.configuration.append_config_values([cfg.StrOpt("h_last", default="<$h>")])
    assert made.values("h_last") == ["<b>"]


def test_periodic_hooks_ticks_changes_on_a_reload(backend):
    made = backend(OPTION, alpha="periodic_hooks_ticks = 2")
    made.weave()
    assert aspects.weaving(made.woven).periodic_hooks_ticks == 2
    made.edit(alpha="periodic_hooks_ticks = 3")
    assert aspects.weaving(made.woven).periodic_hooks_ticks == 3


def test_reload_does_not_log_an_option_that_refers_to_a_secret(backend, caplog):
    options = [cfg.StrOpt("h", mutable=True), cfg.StrOpt("h_key", secret=True)]
    made = backend(options, alpha="h_key = hunter2-Zq9\nh = <$h_key>")
    (hook,) = made.weave()
    assert hook.configuration.options["h"].secret
    with caplog.at_level(logging.DEBUG):
        made.edit(alpha="h_key = hunter2-Zq9\nh = <$h_key> b")
    assert made.hooks == [hook]
    assert hook.configuration.options["h"].secret
    assert "-Zq9" not in caplog.text


def test_reload_logs_each_error_in_one_line(backend, caplog):
    made = backend([OPTION, cfg.IntOpt("h_size")])
    made.weave()
    with caplog.at_level(logging.ERROR):
        made.edit(alpha="h_size = a\n  b\nhook_enforcement = no")
    assert [r.getMessage().partition(": ")[2] for r in caplog.records] == [
        "[alpha] hook_enforcement = no: Valid values are [deny, warn], but found 'no'",
        "[alpha] h_size = a b: invalid literal for int() with base 10: 'a\\nb'",
    ]


def test_driver_without_hooks_ignores_a_reload(backend):
    made = backend(alpha="")
    section = aspects.BackendSection(made.conf, "alpha")
    driver = object()
    assert aspects.weave_from_config(driver, section, "node1@alpha") is driver
    made.edit(alpha="periodic_hooks_ticks = wrong")

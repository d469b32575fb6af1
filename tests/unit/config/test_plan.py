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
def test_operations_of_a_hook_are_the_configured_list(new_backend, text, operations):
    (hook,) = new_backend(OPTION, alpha=text).weave()
    assert hook.hook_operations == operations


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("!destroy_*", ""),
        ("!extend_shar", "did you mean !extend_share?"),
        ("!delete_share", "did you mean !delete_share_instance?"),
        ("!teardown_server", "did you mean !delete_share_server?"),
        ("not teardown_server", "did you mean !delete_share_server?"),
        ("!creat_* extend_share", "did you mean !creat_*, extend_share?"),
        ("!!delete_*", "did you mean !delete_*?"),
        ("!", ""),
    ],
)
def test_exclusion_of_an_unknown_operation_is_reported(new_backend, pattern, advice):
    backend = new_backend(OPTION, alpha=f"hook_operations = *, {pattern}")
    (problem,) = backend.problems()
    assert problem == (
        *("alpha", "hook_operations", pattern),
        "no operation matches",
        advice,
    )


# -- hook_enforcement ------------------------------------------------------------


def test_enforcement_changes_on_a_reload(new_backend):
    backend = new_backend(OPTION)
    (hook,) = backend.weave()
    assert hook.hook_enforcement == "deny"
    backend.edit(sections="[alpha:ops]\nhook_enforcement = warn")
    assert backend.hooks == [hook]
    assert hook.hook_enforcement == "warn"
    backend.edit()
    assert hook.hook_enforcement == "deny"


def test_unknown_enforcement_is_reported(new_backend):
    (problem,) = new_backend(OPTION, alpha="hook_enforcement = allow").problems()
    assert problem[:3] == ("alpha", "hook_enforcement", "allow")


def test_every_switch_is_the_value_of_a_mutable_option(new_backend):
    backend = new_backend(OPTION)
    backend.classes.append(Upstream)
    support.Upstream = Upstream
    try:
        backend.file.mutate(backend.text())
        hooks = backend.weave()
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
def checked(new_backend, monkeypatch, capsys):
    """Return a function that runs ``manila-aspects check`` and returns its output."""

    def run(*options, operations="*", alpha="", sections="", format="json"):
        driver = "tests.support.entries.recording.Driver"
        backend = new_backend(
            *options,
            alpha=f"share_driver = {driver}\nhook_operations = {operations}\n{alpha}",
            sections="[DEFAULT]\nenabled_share_backends = alpha\nhost = node1\n"
            f"share_manager = aspects.manila.ShareManager\n{sections}",
        )
        monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
        monkeypatch.chdir(backend.file.path.parent)
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
        "hook_enforcement": ("warn", "alpha", "OS_ALPHA__HOOK_ENFORCEMENT"),
        "h_url": ("here", "alpha", "service.conf:6"),
        "h_via": ("***", "alpha:ops", "service.conf:13"),
        "h_key": ("***", "DEFAULT", "service.conf:11"),
    }


# -- a reload --------------------------------------------------------------------


def test_instance_is_recreated_when_a_referenced_option_changes(new_backend):
    options = [cfg.StrOpt("h", default="$base/x"), cfg.StrOpt("base", mutable=True)]
    backend = new_backend(options, alpha="base = a")
    (before,) = backend.weave()
    backend.edit(alpha="base = b")
    (after,) = backend.hooks
    assert after is not before
    assert (backend.values("h"), backend.values("base")) == (["b/x"], ["b"])


def test_kept_instance_has_all_new_values_or_none(new_backend):
    options = [cfg.StrOpt("h", mutable=True), cfg.IntOpt("h_size", mutable=True)]
    backend = new_backend(options, alpha="h = a\nh_size = 1")
    (hook,) = backend.weave()
    backend.edit(alpha="h = b\nh_size = big")
    assert (backend.values("h"), backend.values("h_size")) == (["a"], [1])
    # An option that is added now is read from the configuration in effect.
    more = cfg.StrOpt("h_more", default="$h", mutable=True)
    hook.configuration.append_config_values([more])
    assert backend.values("h_more") == ["a"]
    backend.edit(alpha="h = b\nh_size = 2")
    assert backend.hooks == [hook]
    assert [backend.values(name) for name in ("h", "h_size", "h_more")] == [
        *(["b"], [2], ["b"])
    ]
    where = hook.configuration.origin
    assert (where("h").text, where("h_more")) == ("b", None)
    # An option that is added after an edit is read from the edited file.
    hook.configuration.append_config_values([cfg.StrOpt("h_last", default="<$h>")])
    assert backend.values("h_last") == ["<b>"]


def test_periodic_hooks_ticks_changes_on_a_reload(new_backend):
    backend = new_backend(OPTION, alpha="periodic_hooks_ticks = 2")
    backend.weave()
    assert aspects.weaving(backend.woven).periodic_hooks_ticks == 2
    backend.edit(alpha="periodic_hooks_ticks = 3")
    assert aspects.weaving(backend.woven).periodic_hooks_ticks == 3


def test_reload_does_not_log_an_option_that_refers_to_a_secret(new_backend, caplog):
    options = [cfg.StrOpt("h", mutable=True), cfg.StrOpt("h_key", secret=True)]
    backend = new_backend(options, alpha="h_key = hunter2-Zq9\nh = <$h_key>")
    (hook,) = backend.weave()
    assert hook.configuration.options["h"].secret
    with caplog.at_level(logging.DEBUG):
        backend.edit(alpha="h_key = hunter2-Zq9\nh = <$h_key> b")
    assert backend.hooks == [hook]
    assert hook.configuration.options["h"].secret
    assert "-Zq9" not in caplog.text


def test_reload_logs_each_error_in_one_line(new_backend, caplog):
    backend = new_backend([OPTION, cfg.IntOpt("h_size")])
    backend.weave()
    with caplog.at_level(logging.ERROR):
        backend.edit(alpha="h_size = a\n  b\nhook_enforcement = no")
    assert [r.getMessage().partition(": ")[2] for r in caplog.records] == [
        "[alpha] hook_enforcement = no: Valid values are [deny, warn], but found 'no'",
        "[alpha] h_size = a b: invalid literal for int() with base 10: 'a\\nb'",
    ]


def test_driver_without_hooks_ignores_a_reload(new_backend):
    backend = new_backend(alpha="")
    section = aspects.BackendSection(backend.conf, "alpha")
    driver = object()
    assert aspects.weave_from_config(driver, section, "node1@alpha") is driver
    backend.edit(alpha="periodic_hooks_ticks = wrong")

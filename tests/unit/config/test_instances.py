# SPDX-License-Identifier: Apache-2.0
"""Hook instances of a backend section."""

import re

import pytest
from stevedore.extension import ExtensionManager

import aspects
from tests.support.entries import recording

from .common import (
    CONTEXT,
    FIXTURES,
    RECORDER,
    UPSTREAM,
    hooks_in,
    methods_run,
    problems_in,
    section_with,
    woven_in,
)


class Nest:
    class Egg(recording.Recorder):
        """A hook within a class."""


@pytest.mark.parametrize(
    ("entry", "name", "cls"),
    [
        (RECORDER, "Recorder", "Recorder"),
        (f"{FIXTURES}.recording.Recorder", "Recorder", "Recorder"),
        ("audit", "audit", "AuditHook"),
        (f"ops={RECORDER}", "ops", "Recorder"),
        (f"ops={FIXTURES}.recording.Recorder", "ops", "Recorder"),
        ("ops=audit", "ops", "AuditHook"),
        (f" ops  =  {RECORDER} ", "ops", "Recorder"),
        (f"night-shift_2={RECORDER}", "night-shift_2", "Recorder"),
        (f"{__name__}:Nest.Egg", "Egg", "Egg"),
    ],
)
def test_entry_determines_name_class_and_section(
    configured, tmp_path, entry, name, cls
):
    file = configured(
        f"""
        [DEFAULT]
        enable_pre_hooks = True
        [alpha]
        hook_drivers = {entry}
        audit_log_path = {tmp_path}/audit.log
        [alpha:{name}]
        enable_pre_hooks = False
        """
    )
    (hook,) = hooks_in(file)
    assert type(hook).__name__ == cls
    assert hook.instance_name == name
    assert hook.pre_hooks_enabled is False


def test_short_name_is_an_entry_point(configured, tmp_path, monkeypatch):
    info = tmp_path / "site" / "other_hooks-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other-hooks\nVersion: 1\n"
    )
    (info / "entry_points.txt").write_text(
        "[manila_aspects.hooks]\n"
        f"quota = {RECORDER}\n"
        f"broken = {FIXTURES}.fails_on_import:Hook\n"
        f"number = {FIXTURES}.recording:not_a_class\n"
        "[other.plugins]\n"
        f"stranger = {RECORDER}\n"
    )
    monkeypatch.syspath_prepend(info.parent)
    # stevedore caches the entry points of the process.
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    (hook,) = hooks_in(configured("[alpha]\nhook_drivers = quota\n"))
    assert type(hook) is recording.Recorder
    assert hook.instance_name == "quota"
    file = configured("[alpha]\nhook_drivers = broken, number, stranger\n")
    broken, number, stranger = problems_in(file)
    assert broken[2:] == (
        "broken",
        f"failed to import '{FIXTURES}.fails_on_import:Hook': RuntimeError: "
        "the license has run out",
    )
    assert number[2:] == ("number", "expected a class, got int")
    # The error lists the installed hooks, which helps to find a typo.
    (listed,) = re.findall(r"\(installed: (.*?)\)", stranger.cause)
    assert {"audit", "quota"} <= set(listed.split(", "))


def test_hooks_are_in_the_configured_order(configured):
    names = ["c", "a", "b"]
    entries = ", ".join(f"{name}={RECORDER}" for name in names)
    file = configured(f"[alpha]\nhook_drivers = {entries}\n")
    assert [hook.instance_name for hook in hooks_in(file)] == names


def test_two_instances_of_one_class_can_have_different_options(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = day={RECORDER}, night={RECORDER}
        enable_pre_hooks = True
        color = white
        [alpha:night]
        enable_pre_hooks = False
        enable_post_hooks = True
        color = black
        depth = 9
        """
    )
    woven = woven_in(file)
    assert methods_run(woven) == [["pre"], ["post"]]
    day, night = aspects.weaving(woven).hooks
    assert day.get_config_option("color") == "white"
    assert night.get_config_option("color") == "black"
    assert day.get_config_option("depth") == 3
    assert night.get_config_option("depth") == 9


METHODS = {
    "enable_pre_hooks": "pre",
    "enable_post_hooks": "post",
    "enable_periodic_hooks": "periodic",
}


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("switch", [*METHODS, None])
def test_each_hook_method_of_one_instance_can_be_disabled(configured, what, switch):
    disabled = [switch] if switch else list(METHODS)
    lines = [
        "[alpha]",
        f"hook_drivers = one={what}, two={what}",
        *(f"{option} = True" for option in METHODS),
        "[alpha:two]",
        *(f"{option} = False" for option in disabled),
    ]
    file = configured("\n".join(lines))
    woven = woven_in(file)
    one, two = aspects.weaving(woven).hooks
    woven.create_share(CONTEXT, {})
    aspects.tick(woven, CONTEXT, [])
    assert [method for method, *_ in one.seen] == ["pre", "post", "periodic"]
    enabled = [method for option, method in METHODS.items() if option not in disabled]
    assert [method for method, *_ in getattr(two, "seen", [])] == enabled


def test_hook_methods_are_disabled_by_default(configured):
    for what in (RECORDER, UPSTREAM):
        woven = woven_in(configured(f"[alpha]\nhook_drivers = {what}\n"))
        assert methods_run(woven) == [[]]
        assert aspects.tick(woven, CONTEXT, []) is False


def test_names_types_and_defaults_of_the_options_are_those_of_manila(configured):
    (hook,) = hooks_in(configured(f"[alpha]\nhook_drivers = {RECORDER}\n"))
    assert {
        name: hook.get_config_option(name)
        for name in (
            "enable_pre_hooks",
            "enable_post_hooks",
            "enable_periodic_hooks",
            "suppress_pre_hooks_errors",
            "suppress_post_hooks_errors",
            "suppress_periodic_hooks_errors",
            "periodic_hooks_interval",
        )
    } == {
        "enable_pre_hooks": False,
        "enable_post_hooks": False,
        "enable_periodic_hooks": False,
        "suppress_pre_hooks_errors": False,
        "suppress_post_hooks_errors": False,
        "suppress_periodic_hooks_errors": False,
        "periodic_hooks_interval": 300.0,
    }


def test_hooks_know_host_and_backend(configured):
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}\nenable_pre_hooks = True\n")
    woven = woven_in(file)
    assert methods_run(woven) == [["pre"]]
    (hook,) = aspects.weaving(woven).hooks
    assert hook.host == "node1@alpha"
    ((_, operation),) = hook.seen
    assert operation == "create_share_instance"
    assert (operation.backend, operation.host) == ("alpha", "node1@alpha")


def test_tick_without_a_context_uses_the_given_factory(configured):
    file = configured(section_with([RECORDER], "enable_periodic_hooks = True\n"))
    driver, contexts = recording.Driver(), []
    driver.get_periodic_hook_data = lambda context, shares: contexts.append(context)
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(
        driver, section, "node1@alpha", new_context=lambda: "of the service"
    )
    aspects.tick(woven, None, [])
    assert contexts == ["of the service"]


def test_hook_methods_weaves_further_methods(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = {RECORDER}
        hook_methods = further
        enable_pre_hooks = True
        [beta]
        hook_drivers = {RECORDER}
        enable_pre_hooks = True
        """
    )
    for backend, seen in ("alpha", ["further"]), ("beta", []):
        woven = woven_in(file, backend)
        assert woven.further(CONTEXT) == "further"
        (hook,) = aspects.weaving(woven).hooks
        assert [func_name for _, func_name in getattr(hook, "seen", [])] == seen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[alpha]\n",
        "[alpha]\nhook_drivers =\n",
        "[alpha]\nenable_pre_hooks = True\n",
        # hook_drivers of [DEFAULT] does not apply to backends.
        f"[DEFAULT]\nhook_drivers = {RECORDER}\n[alpha]\n",
        f"[beta]\nhook_drivers = {RECORDER}\n[alpha]\n",
    ],
)
def test_driver_of_a_section_without_hooks_is_not_woven(configured, text):
    driver = recording.Driver()
    result = woven_in(configured(text), driver=driver)
    assert result is driver
    assert not aspects.is_woven(result)


def test_default_can_be_the_backend_section(configured):
    file = configured(
        f"""
        [DEFAULT]
        hook_drivers = one={RECORDER}, two={RECORDER}
        enable_pre_hooks = True
        [DEFAULT:two]
        enable_pre_hooks = False
        """
    )
    assert methods_run(woven_in(file, None)) == [["pre"], []]


def test_weaving_a_woven_driver_raises(configured):
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}\n")
    woven = woven_in(file)
    with pytest.raises(aspects.AlreadyWoven):
        woven_in(file, driver=woven)


def test_hooks_and_options_of_two_backends_are_independent(configured):
    text = f"""
        [alpha]
        hook_drivers = one={RECORDER}
        enable_pre_hooks = True
        periodic_hooks_ticks = 2
        color = red
        [alpha:one]
        depth = 10
        [beta]
        hook_drivers = one={RECORDER}, two={UPSTREAM}
        enable_post_hooks = True
        [beta:one]
        color = blue
        """
    file = configured(text)
    alpha, beta = woven_in(file, "alpha"), woven_in(file, "beta")
    assert methods_run(alpha) == [["pre"]]
    assert methods_run(beta) == [["post"], ["post"]]
    (a,), (b, upstream) = aspects.weaving(alpha).hooks, aspects.weaving(beta).hooks
    assert a is not b
    methods_run(alpha)
    a.seen, b.seen, upstream.seen = [], [], []
    alpha.create_share(CONTEXT, {})
    assert (len(a.seen), b.seen, upstream.seen) == (1, [], [])
    assert [h.get_config_option("color") for h in (a, b)] == ["red", "blue"]
    assert [h.get_config_option("depth") for h in (a, b)] == [10, 3]
    file.mutate(text.replace("enable_post_hooks = True", "enable_post_hooks = False"))
    assert methods_run(alpha) == [["pre"]]
    assert methods_run(beta) == [[], []]


def test_error_in_one_backend_does_not_affect_another(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = no_such_hook
        enable_pre_hooks = maybe
        [beta]
        hook_drivers = {RECORDER}
        enable_pre_hooks = True
        """
    )
    assert problems_in(file)
    assert methods_run(woven_in(file, "beta")) == [["pre"]]

# SPDX-License-Identifier: Apache-2.0
"""Options, the order of look-up, the hooks of a section, and what is wrong."""

import copy
import gc
import itertools
import logging
import os
import re
import sys
import threading
import weakref
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oslo_config import cfg
from stevedore.extension import ExtensionManager

import aspects

from .fixtures_hooks import recording
from .fixtures_hooks.config_file import ConfigFile

FIXTURES = recording.__package__
RECORDER = f"{FIXTURES}.recording:Recorder"
UPSTREAM = f"{FIXTURES}.recording:Upstream"
CONTEXT = object()


@pytest.fixture
def configured(tmp_path):
    def write(text):
        return ConfigFile(tmp_path / "service.conf", text)

    return write


def woven_in(file, group="alpha", driver=None):
    section = aspects.BackendSection(file.conf, group)
    return aspects.weave_from_config(
        driver or recording.Driver(), section, f"node1@{group}"
    )


def hooks_in(file, group="alpha"):
    # As a share manager keeps it: what is not there any more follows no file.
    file.woven = woven_in(file, group)
    return aspects.weaving(file.woven).hooks


def acted(woven):
    """Make a call; return which actions of which hook took part in it."""
    hooks = aspects.weaving(woven).hooks
    for hook in hooks:
        hook.seen = []
    woven.create_share(CONTEXT, {})
    return [[action for action, *_ in hook.seen] for hook in hooks]


# A backend section by itself


def test_backend_section_has_the_options_of_its_section_alone(configured):
    file = configured(
        """
        [DEFAULT]
        colour = black
        [alpha]
        colour = red
        """
    )
    alpha = aspects.BackendSection(file.conf, "alpha")
    beta = aspects.BackendSection(file.conf, "beta")
    assert alpha.config_group == "alpha"
    assert alpha.safe_get("colour") is None
    alpha.append_config_values([cfg.StrOpt("colour"), cfg.StrOpt("shape")])
    assert alpha.safe_get("colour") == "red"
    assert alpha.colour == "red"
    assert alpha.safe_get("shape") is None
    assert beta.safe_get("colour") is None
    assert "colour" not in file.conf
    with pytest.raises(AttributeError):
        alpha.size
    # As a test, or a hook that starts a process, may want one.
    assert copy.copy(alpha).colour == "red"
    with pytest.raises(AttributeError, match="__size__"):
        alpha.__size__


def test_backend_section_without_a_group_is_default(configured):
    file = configured("[DEFAULT]\ncolour = black\n")
    section = aspects.BackendSection(file.conf, None)
    assert section.config_group is None
    assert section.safe_get("colour") is None
    section.append_config_values([cfg.StrOpt("colour")])
    assert section.safe_get("colour") == file.conf.colour == "black"
    assert section.colour == "black"


# get_config_option


def test_get_config_option_of_an_unknown_option_is_none(configured):
    (hook,) = hooks_in(configured(f"[alpha]\nhook_drivers = {RECORDER}\n"))
    assert hook.get_config_option("depth") == 3
    assert hook.get_config_option("nobody_has_this") is None


def test_hook_without_configuration_has_the_options_of_conf(configured, monkeypatch):
    file = configured("[DEFAULT]\nenable_pre_hooks = True\ncolour = black\n")
    monkeypatch.setattr(cfg, "CONF", file.conf)
    hook = recording.Recorder(None, "node1")
    assert hook.pre_hooks_enabled is True
    assert hook.post_hooks_enabled is False
    assert hook.get_config_option("colour") == "black"
    assert hook.get_config_option("depth") == 3
    assert hook.host == "node1"


def test_unknown_option_of_conf_is_none_too(configured, monkeypatch):
    file = configured("")
    monkeypatch.setattr(cfg, "CONF", file.conf)
    hook = recording.Recorder(None, "node1")
    assert hook.get_config_option("nobody_has_this") is None


@pytest.mark.parametrize("mutable", [True, False])
def test_get_config_option_gives_the_value_of_now(configured, mutable):
    option = "colour" if mutable else "depth"
    text = f"[alpha]\nhook_drivers = {RECORDER}\n{option} = 7\n"
    file = configured(text)
    (hook,) = hooks_in(file)
    file.mutate(text.replace("7", "8"))
    # An immutable option is one that its author does not want to follow.
    now = "8" if mutable else 7
    assert hook.get_config_option(option) == now


# The order of look-up

SECTIONS = ("alpha:one", "alpha", "DEFAULT")
PLACES = [
    places for count in range(4) for places in itertools.combinations(SECTIONS, count)
]


def text_of(entry, option, values):
    lines = {section: [f"{option} = {value}"] for section, value in values.items()}
    lines.setdefault("alpha", []).append(f"hook_drivers = one={entry}")
    return "\n".join(
        f"[{section}]\n" + "\n".join(each) for section, each in lines.items()
    )


@pytest.mark.parametrize("places", PLACES, ids="+".join)
@pytest.mark.parametrize("what", ["Recorder", "HandMade"])
def test_own_option_is_looked_up_in_order(configured, places, what):
    values = {section: SECTIONS.index(section) + 10 for section in places}
    entry = f"{FIXTURES}.recording:{what}"
    file = configured(text_of(entry, "depth", values))
    (hook,) = hooks_in(file)
    expected = values[places[0]] if places else 3
    assert hook.get_config_option("depth") == expected
    assert hook.configuration.safe_get("depth") == expected
    assert hook.configuration.depth == expected


@pytest.mark.parametrize("places", PLACES, ids="+".join)
@pytest.mark.parametrize("what", ["Recorder", "Upstream"])
@pytest.mark.parametrize("first", [True, False])
def test_common_option_is_looked_up_in_order(configured, places, what, first):
    # Each place says the opposite of the next: a default or a false value that
    # is set explicitly counts as much as any.
    values = {section: first ^ bool(i % 2) for i, section in enumerate(places)}
    entry = f"{FIXTURES}.recording:{what}"
    file = configured(text_of(entry, "enable_post_hooks", values))
    woven = woven_in(file)
    expected = first if places else False
    (hook,) = aspects.weaving(woven).hooks
    assert hook.post_hooks_enabled is expected
    assert acted(woven) == [["post"] if expected else []]


@pytest.mark.parametrize("places", PLACES, ids="+".join)
def test_order_of_look_up_after_a_mutation(configured, places):
    file = configured(f"[alpha]\nhook_drivers = one={RECORDER}\n")
    (hook,) = hooks_in(file)
    values = dict(zip(places, ("red", "green", "blue")))
    file.mutate(text_of(RECORDER, "colour", values))
    assert hook.get_config_option("colour") == (values[places[0]] if places else "grey")


def test_option_of_the_service_is_looked_up_in_the_same_order(configured):
    file = configured(f"[DEFAULT]\npool = p1\n[alpha]\nhook_drivers = one={RECORDER}\n")
    for group in (None, "alpha"):
        file.conf.register_opt(cfg.StrOpt("pool", default="p0"), group=group)
    file.conf.register_opt(cfg.StrOpt("state_path", default="/var/lib"))
    (hook,) = hooks_in(file)
    assert hook.get_config_option("pool") == "p1"
    assert hook.get_config_option("state_path") == "/var/lib"


def test_explicit_default_is_no_default(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = one={RECORDER}
        depth = 22
        [alpha:one]
        depth = 3
        """
    )
    (hook,) = hooks_in(file)
    assert hook.get_config_option("depth") == 3


def test_default_of_an_option_is_that_of_the_hook(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = {RECORDER}, {FIXTURES}.recording:OtherRecorder
        """
    )
    one, two = hooks_in(file)
    assert one.get_config_option("colour") == "grey"
    assert two.get_config_option("colour") == "teal"


def test_attribute_that_is_no_option_is_the_sections(configured):
    class Labelled(aspects.BackendSection):
        label = "of the service"

    file = configured(f"[alpha]\nhook_drivers = {RECORDER}\ncolour = red\n")
    section = Labelled(file.conf, "alpha")
    woven = aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
    (hook,) = aspects.weaving(woven).hooks
    for configuration in (hook.configuration, copy.copy(hook.configuration)):
        assert configuration.colour == "red"
        assert configuration.label == "of the service"
        for name in ("no_such", "__no_such__"):
            with pytest.raises(AttributeError, match=name):
                getattr(configuration, name)


@pytest.mark.parametrize("group", ["alpha", None])
def test_section_that_an_option_has_its_value_from(configured, monkeypatch, group):
    own, section = f"{group or 'DEFAULT'}:one", group or "DEFAULT"
    text = f"[{section}]\nhook_drivers = one={RECORDER}\n"
    file = configured(f"{text}depth = 4\n[{own}]\ncolour = red\n")
    (hook,) = hooks_in(file, group)
    where = hook.configuration.where
    assert [where(name) for name in ("colour", "depth", "pin")] == [
        own,
        section,
        section,
    ]
    # An edit that is refused changes nothing.
    file.mutate(f"{text}depth = 4\n[{own}]\ndepth = deep\ncolour = $nobody\n")
    assert [where(name) for name in ("colour", "depth")] == [own, section]
    file.mutate(f"{text}depth = 4\n")
    monkeypatch.setenv(f"OS_{own.upper()}__DEPTH", "deep")
    assert where("depth") == section


def test_option_with_a_dash_in_its_name(configured):
    file = configured(
        f"[alpha]\nhook_drivers = one={RECORDER}\n[alpha:one]\nqueue_size = 9\n"
    )
    (hook,) = hooks_in(file)
    option = cfg.IntOpt("queue-size", default=1)
    hook.configuration.append_config_values([option])
    assert hook.get_config_option("queue_size") == 9


def test_option_set_by_the_service_itself(configured):
    # As a test, or another project's start-up code, does.
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}\n")
    hooks_in(file)
    file.conf.set_override("colour", "pink", group="alpha")
    (hook,) = hooks_in(file)
    assert hook.get_config_option("colour") == "pink"


# Instances


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
def test_forms_of_an_entry(configured, tmp_path, entry, name, cls):
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
    info = tmp_path / "site" / "somebodys_hooks-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: somebodys-hooks\nVersion: 1\n"
    )
    (info / "entry_points.txt").write_text(
        "[manila_aspects.hooks]\n"
        f"quota = {RECORDER}\n"
        f"broken = {FIXTURES}.fails_on_import:Hook\n"
        f"number = {FIXTURES}.recording:not_a_class\n"
        "[somebodys.plugins]\n"
        f"stranger = {RECORDER}\n"
    )
    monkeypatch.syspath_prepend(info.parent)
    # What is installed does not change while a service runs.
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    (hook,) = hooks_in(configured("[alpha]\nhook_drivers = quota\n"))
    assert type(hook) is recording.Recorder
    assert hook.instance_name == "quota"
    file = configured("[alpha]\nhook_drivers = broken, number, stranger\n")
    broken, number, stranger = problems_in(file)
    assert broken[2:] == (
        "broken",
        f"importing '{FIXTURES}.fails_on_import:Hook' failed: RuntimeError: "
        "the licence has run out",
    )
    assert number[2:] == ("number", "it is a int, not a class")
    # Who looks for a typing error is helped by what there is.
    (listed,) = re.findall(r"\(installed: (.*?)\)", stranger.cause)
    assert {"audit", "quota"} <= set(listed.split(", "))


def test_hooks_are_in_configured_order(configured):
    names = ["c", "a", "b"]
    entries = ", ".join(f"{name}={RECORDER}" for name in names)
    file = configured(f"[alpha]\nhook_drivers = {entries}\n")
    assert [hook.instance_name for hook in hooks_in(file)] == names


def test_two_instances_of_one_class_differ(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = day={RECORDER}, night={RECORDER}
        enable_pre_hooks = True
        colour = white
        [alpha:night]
        enable_pre_hooks = False
        enable_post_hooks = True
        colour = black
        depth = 9
        """
    )
    woven = woven_in(file)
    assert acted(woven) == [["pre"], ["post"]]
    day, night = aspects.weaving(woven).hooks
    assert day.get_config_option("colour") == "white"
    assert night.get_config_option("colour") == "black"
    assert day.get_config_option("depth") == 3
    assert night.get_config_option("depth") == 9


ACTIONS = {
    "enable_pre_hooks": "pre",
    "enable_post_hooks": "post",
    "enable_periodic_hooks": "periodic",
}


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("switch", [*ACTIONS, None])
def test_any_one_kind_of_actions_can_be_disabled_alone(configured, what, switch):
    off = [switch] if switch else list(ACTIONS)
    lines = [
        "[alpha]",
        f"hook_drivers = one={what}, two={what}",
        *(f"{each} = True" for each in ACTIONS),
        "[alpha:two]",
        *(f"{each} = False" for each in off),
    ]
    file = configured("\n".join(lines))
    woven = woven_in(file)
    one, two = aspects.weaving(woven).hooks
    woven.create_share(CONTEXT, {})
    aspects.tick(woven, CONTEXT, [])
    assert [action for action, *_ in one.seen] == ["pre", "post", "periodic"]
    left = [action for each, action in ACTIONS.items() if each not in off]
    assert [action for action, *_ in getattr(two, "seen", [])] == left


def test_switches_are_off_by_default(configured):
    for what in (RECORDER, UPSTREAM):
        woven = woven_in(configured(f"[alpha]\nhook_drivers = {what}\n"))
        assert acted(woven) == [[]]
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
    assert acted(woven) == [["pre"]]
    (hook,) = aspects.weaving(woven).hooks
    assert hook.host == "node1@alpha"
    ((_, operation),) = hook.seen
    assert operation == "create_share_instance"
    assert (operation.backend, operation.host) == ("alpha", "node1@alpha")


def test_who_weaves_says_what_context_there_is_without_one(configured):
    file = configured(section_with([RECORDER], "enable_periodic_hooks = True\n"))
    driver, asked = recording.Driver(), []
    driver.get_periodic_hook_data = lambda context, shares: asked.append(context)
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(
        driver, section, "node1@alpha", new_context=lambda: "of the service"
    )
    aspects.tick(woven, None, [])
    assert asked == ["of the service"]


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
        # Only a backend section can name the hooks of a backend.
        f"[DEFAULT]\nhook_drivers = {RECORDER}\n[alpha]\n",
        f"[beta]\nhook_drivers = {RECORDER}\n[alpha]\n",
    ],
)
def test_section_without_hooks_gets_its_driver_back(configured, text):
    driver = recording.Driver()
    got = woven_in(configured(text), driver=driver)
    assert got is driver
    assert not aspects.is_woven(got)


def test_default_can_be_a_backend_section(configured):
    file = configured(
        f"""
        [DEFAULT]
        hook_drivers = one={RECORDER}, two={RECORDER}
        enable_pre_hooks = True
        [DEFAULT:two]
        enable_pre_hooks = False
        """
    )
    assert acted(woven_in(file, None)) == [["pre"], []]


def test_weaving_a_woven_driver_raises(configured):
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}\n")
    woven = woven_in(file)
    with pytest.raises(aspects.AlreadyWoven):
        woven_in(file, driver=woven)


def test_backends_do_not_see_each_others_hooks_or_options(configured):
    text = f"""
        [alpha]
        hook_drivers = one={RECORDER}
        enable_pre_hooks = True
        periodic_hooks_ticks = 2
        colour = red
        [alpha:one]
        depth = 10
        [beta]
        hook_drivers = one={RECORDER}, two={UPSTREAM}
        enable_post_hooks = True
        [beta:one]
        colour = blue
        """
    file = configured(text)
    alpha, beta = woven_in(file, "alpha"), woven_in(file, "beta")
    assert acted(alpha) == [["pre"]]
    assert acted(beta) == [["post"], ["post"]]
    (a,), (b, upstream) = aspects.weaving(alpha).hooks, aspects.weaving(beta).hooks
    assert a is not b
    acted(alpha)
    a.seen, b.seen, upstream.seen = [], [], []
    alpha.create_share(CONTEXT, {})
    assert (len(a.seen), b.seen, upstream.seen) == (1, [], [])
    assert [h.get_config_option("colour") for h in (a, b)] == ["red", "blue"]
    assert [h.get_config_option("depth") for h in (a, b)] == [10, 3]
    file.mutate(text.replace("enable_post_hooks = True", "enable_post_hooks = False"))
    assert acted(alpha) == [["pre"]]
    assert acted(beta) == [[], []]


def test_wrong_backend_does_not_hinder_another(configured):
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
    assert acted(woven_in(file, "beta")) == [["pre"]]


# Mutation

ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"
KINDS = pytest.mark.parametrize(
    "entries",
    [
        [RECORDER],
        [UPSTREAM],
        [RECORDER, UPSTREAM],
        [UPSTREAM, RECORDER],
    ],
    ids=lambda entries: "+".join(each.rpartition(":")[2] for each in entries),
)


def section_with(entries, options="", section="alpha"):
    """Return the text of a file whose options are in one of the sections."""
    named = ", ".join(f"{name}={what}" for name, what in zip("abc", entries))
    text = f"[alpha]\nhook_drivers = {named}\n"
    return f"{text}{options}" if section == "alpha" else f"[{section}]\n{options}{text}"


@KINDS
@pytest.mark.parametrize("section", ["DEFAULT", "alpha"])
def test_switches_follow_the_file(configured, entries, section):
    file = configured(section_with(entries))
    woven = woven_in(file)
    assert acted(woven) == [[]] * len(entries)
    for options, expected in [
        (ON, ["pre", "post"]),
        ("enable_pre_hooks = True\n", ["pre"]),
        ("enable_post_hooks = True\n", ["post"]),
        ("", []),
        (ON, ["pre", "post"]),
        (ON.replace("True", "False"), []),
    ]:
        file.mutate(section_with(entries, options, section))
        assert acted(woven) == [expected] * len(entries)


@KINDS
def test_switches_of_one_instance_follow_the_file(configured, entries):
    file = configured(section_with(entries, ON))
    woven = woven_in(file)
    off = ON.replace("True", "False")
    file.mutate(section_with(entries, ON) + f"[alpha:a]\n{off}")
    assert acted(woven) == [[]] + [["pre", "post"]] * (len(entries) - 1)
    file.mutate(section_with(entries, off) + f"[alpha:a]\n{ON}")
    assert acted(woven) == [["pre", "post"]] + [[]] * (len(entries) - 1)


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
def test_periodic_switch_follows_the_file(configured, what):
    file = configured(section_with([what]))
    woven = woven_in(file)
    assert aspects.tick(woven, CONTEXT, []) is False
    file.mutate(section_with([what], "enable_periodic_hooks = True\n"))
    assert aspects.tick(woven, CONTEXT, []) is True
    (hook,) = aspects.weaving(woven).hooks
    assert hook.seen == [("periodic", [])]
    file.mutate(section_with([what], "enable_periodic_hooks = False\n"))
    assert aspects.tick(woven, CONTEXT, []) is False


@pytest.mark.parametrize("action", ["pre", "post"])
def test_suppression_follows_the_file(configured, action):
    options = f"enable_{action}_hooks = True\nfailing = True\n"
    file = configured(section_with([RECORDER], options))
    woven = woven_in(file)
    with pytest.raises(OSError, match=f"{action} of a failed"):
        woven.create_share(CONTEXT, {})
    suppressed = f"{options}suppress_{action}_hooks_errors = True\n"
    file.mutate(section_with([RECORDER], suppressed))
    assert woven.create_share(CONTEXT, {}) == "export"
    file.mutate(section_with([RECORDER], options))
    with pytest.raises(OSError, match=f"{action} of a failed"):
        woven.create_share(CONTEXT, {})


def test_suppression_of_upstreams_hooks_follows_the_file(configured):
    class Failing(recording.Upstream):
        fails_in = "pre"

    recording.Failing = Failing
    try:
        options = "enable_pre_hooks = True\n"
        entry = f"{FIXTURES}.recording:Failing"
        file = configured(section_with([entry], options))
        woven = woven_in(file)
    finally:
        del recording.Failing
    with pytest.raises(OSError, match="pre failed"):
        woven.create_share(CONTEXT, {})
    options += "suppress_pre_hooks_errors = True\n"
    file.mutate(section_with([entry], options))
    assert woven.create_share(CONTEXT, {}) == "export"


@KINDS
@pytest.mark.parametrize("to", ["on", "off"])
def test_call_in_flight_is_not_touched(configured, entries, to):
    before, after = ("", ON) if to == "on" else (ON, "")
    file = configured(section_with(entries, before))
    woven = woven_in(file)
    woven.during = lambda: file.mutate(section_with(entries, after))
    # As the call began, so it ends.
    assert acted(woven) == [["pre", "post"] if to == "off" else []] * len(entries)
    woven.during = lambda: None
    assert acted(woven) == [["pre", "post"] if to == "on" else []] * len(entries)


@KINDS
def test_call_in_flight_in_another_thread_is_not_touched(configured, entries):
    file = configured(section_with(entries, ON))
    arrived, goes_on = threading.Event(), threading.Event()

    def during():
        arrived.set()
        assert goes_on.wait(10)

    woven = woven_in(file, driver=recording.Driver(during))
    got = []
    thread = threading.Thread(target=lambda: got.extend(acted(woven)))
    thread.start()
    assert arrived.wait(10)
    file.mutate(section_with(entries, ""))
    goes_on.set()
    thread.join(10)
    assert got == [["pre", "post"]] * len(entries)


@pytest.mark.parametrize("to", [True, False])
def test_suppression_of_a_call_in_flight_is_not_touched(configured, to):
    options = "enable_post_hooks = True\nfailing = True\nsuppress_post_hooks_errors = "
    file = configured(section_with([RECORDER], f"{options}{not to}\n"))
    woven = woven_in(file)
    after = section_with([RECORDER], f"{options}{to}\n")
    woven.during = lambda: file.mutate(after)
    if to:
        with pytest.raises(OSError, match="post of a failed"):
            woven.create_share(CONTEXT, {})
    else:
        assert woven.create_share(CONTEXT, {}) == "export"


def seen_at_each_line(file, woven, text):
    """Return who acts in a call of each moment while the chain follows the file."""
    package = os.path.dirname(aspects.__file__)
    seen = []

    def at_each_line(frame, event, arg):
        if not frame.f_code.co_filename.startswith(package):
            return None
        seen.append(acted(woven))
        return at_each_line

    # Whenever another thread's call comes while the chain follows the file, it
    # has the one chain or the other, never something between.
    file.write(text)
    before = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        file.conf.mutate_config_files()
    finally:
        sys.settrace(before)
    seen.append(acted(woven))
    return seen


@KINDS
def test_chain_is_replaced_as_a_whole(configured, entries):
    file = configured(section_with(entries, ON))
    woven = woven_in(file)
    after = section_with(entries, "enable_post_hooks = False\n")
    seen = seen_at_each_line(file, woven, after)
    old, new = [["pre", "post"]] * len(entries), [[]] * len(entries)
    assert old in seen
    assert seen == [old] * seen.count(old) + [new] * seen.count(new)


BAD_EDITS = [
    ("alpha", "enable_pre_hooks = maybe", "maybe"),
    ("alpha:a", "suppress_post_hooks_errors = 7up", "7up"),
    ("DEFAULT", "enable_post_hooks = perhaps", "perhaps"),
    ("alpha", "periodic_hooks_ticks = often", "often"),
    ("alpha", "periodic_hooks_ticks = 0", "0"),
]


@KINDS
@pytest.mark.parametrize(("section", "line", "value"), BAD_EDITS)
def test_bad_edit_leaves_the_old_chain_going(
    configured, caplog, entries, section, line, value
):
    file = configured(section_with(entries, ON))
    woven = woven_in(file)
    expected = [["pre", "post"]] * len(entries)
    good = "suppress_pre_hooks_errors = True\nenable_periodic_hooks = True\n"
    with caplog.at_level(logging.ERROR):
        file.mutate(f"{section_with(entries, good)}[{section}]\n{line}\n")
    assert acted(woven) == expected
    # Nothing of a bad edit is taken over, not even what is right in it.
    assert aspects.tick(woven, CONTEXT, []) is False
    hooks = aspects.weaving(woven).hooks
    assert not any(hook.suppress_pre_hooks_errors for hook in hooks)
    option = line.partition(" ")[0]
    logged = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert any(
        f"[{section}]" in text and option in text and value in text for text in logged
    )
    # And the next good one is followed again.
    file.mutate(section_with(entries, "enable_pre_hooks = True\n"))
    assert acted(woven) == [["pre"]] * len(entries)


def test_bad_edit_of_a_hooks_own_option_does_not_break_calls(configured, caplog):
    options = f"{ON}failing = False\n"
    file = configured(section_with([RECORDER], options))
    woven = woven_in(file)
    with caplog.at_level(logging.ERROR):
        file.mutate(section_with([RECORDER], f"{ON}failing = perhaps\n"))
    assert any("failing = perhaps" in r.getMessage() for r in caplog.records)
    assert acted(woven) == [["pre", "post"]]


def test_bad_edit_of_a_secret_is_logged_without_it(configured, caplog):
    class Guarded(recording.Recorder):
        options = (cfg.IntOpt("pin", default=0, secret=True, mutable=True),)

        def _remember(self, *what):
            self.seen.append(what)

    recording.Guarded = Guarded
    try:
        entry = f"{FIXTURES}.recording:Guarded"
        file = configured(section_with([entry], f"{ON}pin = 1234\n"))
        woven = woven_in(file)
    finally:
        del recording.Guarded
    with caplog.at_level(logging.DEBUG, "aspects"):
        file.mutate(section_with([entry], f"{ON}pin = hunter2\n"))
    assert "hunter2" not in "".join(
        r.getMessage() for r in caplog.records if r.name.startswith("aspects")
    )
    assert acted(woven) == [["pre", "post"]]


@pytest.mark.parametrize("mutable", [True, False])
def test_option_that_no_section_had_before_is_followed(
    configured, monkeypatch, mutable
):
    class Fresh(recording.Recorder):
        rack = cfg.IntOpt("rack", default=1, mutable=mutable)
        options = (*recording.Recorder.options, rack)

    monkeypatch.setattr(recording, "Fresh", Fresh, raising=False)
    entry = f"{FIXTURES}.recording:Fresh"
    file = configured(section_with([entry], f"{ON}rack = 2\n"))
    woven = woven_in(file)
    (before,) = aspects.weaving(woven).hooks
    file.mutate(section_with([entry], f"{ON}rack = 3\n"))
    (after,) = aspects.weaving(woven).hooks
    assert (after is before) == mutable
    assert after.get_config_option("rack") == 3


def test_options_do_not_keep_a_driver_alive(configured):
    file = configured(section_with([RECORDER, UPSTREAM], ON))
    driver = recording.Driver()
    alive = weakref.ref(driver)
    woven = woven_in(file, driver=driver)
    woven.create_share(CONTEXT, {})
    del driver, woven
    gc.collect()
    assert alive() is None
    file.mutate(section_with([RECORDER, UPSTREAM]))


# Operations of a hook


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize(
    ("patterns", "runs"),
    [
        ("*", True),
        ("create_*", True),
        ("delete_*, create_share_instance", True),
        ("delete_*", False),
        ("extend_share, *_snapshot", False),
    ],
)
def test_operations_of_a_hook(configured, section, what, patterns, runs):
    options = f"hook_operations = {patterns}\n"
    file = configured(_in(section, what, options) + f"[alpha]\n{ON}")
    assert acted(woven_in(file)) == [["pre", "post"] if runs else []]


def test_operations_are_those_of_an_instance(configured):
    text = f"""
        [alpha]
        hook_drivers = a={RECORDER}, b={UPSTREAM}, c={RECORDER}
        hook_operations = delete_*
        enable_pre_hooks = True
        [alpha:a]
        hook_operations = create_*
        [alpha:b]
        hook_operations = *
        """
    assert acted(woven_in(configured(text))) == [["pre"], ["pre"], []]


def test_a_method_of_hook_methods_is_an_operation_too(configured):
    options = f"{ON}hook_methods = further\nhook_operations = f*r\n"
    woven = woven_in(configured(section_with([RECORDER], options)))
    assert acted(woven) == [[]]
    assert woven.further(CONTEXT) == "further"
    (hook,) = aspects.weaving(woven).hooks
    assert [operation for _, operation in hook.seen] == ["further", "further"]


@KINDS
def test_operations_follow_the_file(configured, entries):
    file = configured(section_with(entries, ON))
    woven = woven_in(file)
    for patterns, expected in [
        ("delete_*", []),
        ("create_*", ["pre", "post"]),
        ("*", ["pre", "post"]),
        ("deny_access", []),
    ]:
        options = f"{ON}hook_operations = {patterns}\n"
        file.mutate(section_with(entries, options))
        assert acted(woven) == [expected] * len(entries)
    file.mutate(section_with(entries, ON))
    assert acted(woven) == [["pre", "post"]] * len(entries)


@KINDS
@pytest.mark.parametrize("to", ["create_*", "delete_*"])
def test_operations_of_a_call_in_flight_are_not_touched(configured, entries, to):
    patterns = {"create_*", "delete_*"}
    before, after = (
        section_with(entries, f"{ON}hook_operations = {each}\n")
        for each in (*(patterns - {to}), to)
    )
    file = configured(before)
    woven = woven_in(file)
    woven.during = lambda: file.mutate(after)
    there, not_there = [["pre", "post"]] * len(entries), [[]] * len(entries)
    assert acted(woven) == (there if to == "delete_*" else not_there)
    woven.during = lambda: None
    assert acted(woven) == (there if to == "create_*" else not_there)


@KINDS
def test_operations_are_replaced_with_the_chain_as_a_whole(configured, entries):
    # The first hook and the others change places.
    create, delete = (f"hook_operations = {each}_*\n" for each in ("create", "delete"))
    before = section_with(entries, ON + create) + f"[alpha:a]\n{delete}"
    after = section_with(entries, ON + delete) + f"[alpha:a]\n{create}"
    file = configured(before)
    seen = seen_at_each_line(file, woven_in(file), after)
    runs, rests, others = ["pre", "post"], [], len(entries) - 1
    old, new = [rests] + [runs] * others, [runs] + [rests] * others
    assert old in seen
    assert seen[-1] == new
    assert seen == [old] * seen.count(old) + [new] * seen.count(new)


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("create_shar_instance", "write create_share_instance"),
        ("destroy_*", ""),
        ("create_share", "write create_share_instance"),
        ("Create_*", "write create_*"),
        ("update_acces", "write update_access"),
        ("create_* extend_share", "write create_*, extend_share"),
    ],
)
def test_operations_that_there_are_not(configured, section, what, pattern, advice):
    options = f"hook_operations = delete_*, {pattern}\n"
    (problem,) = advised_in(configured(_in(section, what, options)))
    cause = "unknown operation: no operation matches"
    assert problem == (section, "hook_operations", pattern, cause, advice)


def test_operations_that_there_are_not_leave_the_old_chain_going(configured, caplog):
    file = configured(section_with([RECORDER], f"{ON}hook_operations = create_*\n"))
    woven = woven_in(file)
    wrong = "enable_post_hooks = False\nhook_operations = creat_*\n"
    with caplog.at_level(logging.ERROR):
        file.mutate(section_with([RECORDER], wrong))
    assert acted(woven) == [["pre", "post"]]
    logged = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert logged == [
        "The hooks go on as they were: [alpha] hook_operations = creat_*: unknown "
        "operation: no operation matches: write create_*"
    ]


# How a hook is run


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("dispatch", ["inline", "background", ""])
def test_dispatch_of_a_hook(configured, what, section, dispatch):
    options = f"hook_dispatch = {dispatch}\n" if dispatch else ""
    file = configured(_in(section, what, options) + f"[alpha]\n{ON}")
    woven = woven_in(file)
    (hook,) = aspects.weaving(woven).hooks
    threads = []
    remember = hook._remember

    def note(action, *rest):
        threads.append((action, threading.current_thread()))
        remember(action, *rest)

    hook._remember = note
    woven.create_share(CONTEXT, {})
    aspects.weaving(woven).stop()
    (pre, before), (post, after) = threads
    assert (pre, post) == ("pre", "post")
    assert before is threading.current_thread()
    assert (after is before) == (dispatch != "background")


def test_options_of_a_queue(configured, caplog):
    text = f"""
        [alpha]
        hook_drivers = ops={RECORDER}
        hook_dispatch = background
        hook_queue_size = 2
        hook_queue_timeout = 0.1
        hook_drain_timeout = 0
        enable_post_hooks = True
        """
    woven = woven_in(configured(text))
    (hook,) = aspects.weaving(woven).hooks
    gate = threading.Event()
    hook._remember = lambda *what: gate.wait(30)
    for _ in range(3):
        woven.create_share(CONTEXT, {})
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1
    assert "ops of alpha" in told[0]
    assert "0.1 s" in told[0]
    aspects.weaving(woven).stop()
    gate.set()
    assert hook.dispatcher.dropped == 3
    assert "they took over 0 s" in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("group", "name"), [("alpha", "ops of alpha"), (None, "ops of DEFAULT")]
)
def test_a_queue_is_called_after_its_hook_and_section(configured, group, name):
    text = f"[{group or 'DEFAULT'}]\nhook_drivers = ops={RECORDER}\n"
    (hook,) = hooks_in(configured(f"{text}hook_dispatch = background\n"), group)
    assert hook.dispatcher.name == name


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hook_dispatch", "backgroud"),
        ("hook_queue_size", "0"),
        ("hook_queue_size", "many"),
        ("hook_queue_timeout", "-1"),
        ("hook_drain_timeout", "long"),
    ],
)
def test_wrong_options_of_a_dispatch(configured, section, option, value):
    file = configured(_in(section, RECORDER, f"{option} = {value}\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == (section, option, value)
    assert problem.cause


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
def test_durable_is_for_hooks_that_deliver_events(configured, what):
    file = configured(section_with([what], "hook_dispatch = durable\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "hook_dispatch", "durable")
    cls = what.rpartition(":")[2]
    assert problem.cause == f"{cls} delivers no events"


class Delivering(recording.Recorder):
    dispatches = ("inline", "durable")


def test_a_class_says_how_it_can_be_run(configured):
    entry = f"{__name__}:Delivering"
    woven_in(configured(section_with([entry], "hook_dispatch = durable\n")))
    file = configured(section_with([entry], "hook_dispatch = background\n"))
    (problem,) = advised_in(file)
    assert problem[:3] == ("alpha", "hook_dispatch", "background")
    assert problem.advice == "write inline or durable"


def test_so_it_is_after_an_edit(configured):
    entry = f"{__name__}:Delivering"
    text = section_with([entry], f"hook_dispatch = durable\n{ON}")
    file = configured(text)
    woven = woven_in(file)
    file.mutate(text.replace("enable_post_hooks = True", ""))
    assert acted(woven) == [["pre"]]


def test_a_wrong_dispatch_is_told_beside_what_the_constructor_refuses(configured):
    entry = "tests.unit.fixtures_hooks.recording:Choosy"
    file = configured(section_with([entry], "[alpha:a]\nhook_dispatch = durable\n"))
    told = problems_in(file)
    assert [each[:2] for each in told] == [
        ("alpha:a", "hook_dispatch"),
        ("alpha", "hook_drivers"),
    ]


def test_dispatch_without_its_library(configured, monkeypatch):
    monkeypatch.setitem(sys.modules, "futurist", None)
    file = configured(section_with([RECORDER], "hook_dispatch = background\n"))
    (problem,) = advised_in(file)
    assert "futurist" in problem.cause
    assert problem.advice == "pip install 'manila-aspects[background]'"
    # Nobody else needs it.
    woven_in(configured(section_with([RECORDER], ON)))


# Options that have to be set, and those of one name that are not the same


class Demanding(recording.Recorder):
    options = (cfg.StrOpt("target", required=True, mutable=True),)


DEMANDING = f"{__name__}:Demanding"


def _hexadecimal(value: str) -> int:
    return int(value, 16)


class Masked(recording.Recorder):
    options = (cfg.Opt("mask", type=_hexadecimal),)


def test_a_type_of_its_own_is_applied_once(configured):
    # int(255, 16) is a TypeError.
    file = configured(section_with([f"{__name__}:Masked"], "mask = ff\n"))
    (hook,) = hooks_in(file)
    assert hook.get_config_option("mask") == 255


@pytest.mark.parametrize("section", ["alpha:a", "alpha", "DEFAULT"])
def test_an_option_that_has_to_be_set_may_stand_in_any_of_its_sections(
    configured, section
):
    text = section_with([DEMANDING]) + f"[{section}]\ntarget = there\n"
    file = configured(text)
    (hook,) = hooks_in(file)
    assert hook.get_config_option("target") == "there"
    # oslo.config asks for it in each section where it is registered.
    file.mutate(text.replace("there", "elsewhere"))
    assert hook.get_config_option("target") == "elsewhere"


def test_an_option_that_has_to_be_set_and_is_not(configured):
    (problem,) = problems_in(configured(section_with([DEMANDING])))
    assert problem == ("alpha:a", "target", "", "required option is not set")


class WithNumber(recording.Recorder):
    options = (cfg.IntOpt("number", default=1),)


class WithText(recording.Recorder):
    options = (cfg.StrOpt("number", default="one"),)


NUMBER, TEXT = f"{__name__}:WithNumber", f"{__name__}:WithText"


@pytest.mark.parametrize("entries", [[NUMBER, TEXT], [TEXT, NUMBER]])
def test_options_of_one_name_and_two_types(configured, entries):
    hooks = hooks_in(configured(section_with(entries, "number = 5\n")))
    assert {type(hook): hook.get_config_option("number") for hook in hooks} == {
        WithNumber: 5,
        WithText: "5",
    }
    file = configured(section_with(entries, "[alpha]\nnumber = five\n"))
    assert ("alpha", "number", "five") in [each[:3] for each in problems_in(file)]


def test_names_that_differ_in_their_capital_letters_alone(configured):
    # oslo.config has one section for both.
    text = f"[alpha]\nhook_drivers = A={RECORDER}, a={RECORDER}\n"
    (problem,) = problems_in(configured(text))
    assert problem.value == f"a={RECORDER}"
    assert "two instances of the name 'a'" in problem.cause


def test_what_else_is_wrong_with_the_second_of_one_name(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER}, a=no.such:Hook\n"
    (problem,) = problems_in(configured(text))
    assert "there is no module 'no'" in problem.cause


@pytest.mark.parametrize("method", ["__init__", "__class__", "_self_weaving"])
def test_what_a_driver_is_made_of_is_no_method_of_it(configured, method):
    class Odd(recording.Driver):
        def _self_weaving(self):
            pass

    why = "it is what an object is made of, and no call of a driver"
    file = configured(section_with([RECORDER], f"hook_methods = {method}\n"))
    with pytest.raises(aspects.HookConfigError) as told:
        woven_in(file, driver=Odd())
    assert str(told.value) == f"[alpha] hook_methods = {method}: {why}"
    with pytest.raises(ValueError, match=f"^hook_methods: '{method}': {why}$"):
        aspects.weave(Odd(), [], hook_methods=[method])


def test_what_is_no_name_is_no_method():
    with pytest.raises(ValueError, match="hook_methods") as told:
        aspects.weave(recording.Driver(), [], hook_methods=["a b"])
    assert str(told.value) == "hook_methods: 'a b': it is no name of a method"


def test_a_kind_of_operation_that_is_nearly_one(configured):
    file = configured(section_with([RECORDER], "hook_operations = publis_*\n"))
    (problem,) = advised_in(file)
    assert problem.advice == "write publish_*"


def test_methods_are_those_of_the_start(configured, caplog):
    text = section_with([RECORDER], f"{ON}hook_methods = further\n")
    file = configured(text)
    woven = woven_in(file)
    with caplog.at_level("WARNING"):
        file.mutate(text.replace("further", "further, fly") + "colour = green\n")
    # oslo.config says that it was not followed; what else was edited is.
    assert "hook_methods" in caplog.text
    assert aspects.weaving(woven).hook_methods == ("further",)
    (hook,) = aspects.weaving(woven).hooks
    assert hook.get_config_option("colour") == "green"


@pytest.mark.parametrize("option", ["hook_operations", "hook_dispatch", "colour"])
def test_a_value_that_leads_to_itself(configured, option):
    file = configured(section_with([RECORDER], f"{option} = ${option}\n"))
    (problem,) = problems_in(file)
    assert problem[1:] == (option, f"${option}", "circular reference")


# Options of the same names that somebody else has registered

THEIRS = [
    cfg.BoolOpt("enable_pre_hooks", default=False, help="Theirs."),
    cfg.BoolOpt("enable_post_hooks", default=False, help="Theirs."),
    cfg.BoolOpt("enable_periodic_hooks", default=False, help="Theirs."),
    cfg.BoolOpt("suppress_pre_hooks_errors", default=False, help="Theirs."),
    cfg.BoolOpt("suppress_post_hooks_errors", default=False, help="Theirs."),
    cfg.FloatOpt("periodic_hooks_interval", default=300.0, help="Theirs."),
    cfg.ListOpt("hook_drivers", default=[], help="Theirs."),
]


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("group", [None, "alpha", "alpha:a"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_somebody_elses_options_of_these_names(configured, what, group, when):
    section = group or "DEFAULT"
    file = configured(_in(section, what, "enable_pre_hooks = True\n"))
    if when == "before":
        file.conf.register_opts(THEIRS, group=group)
    woven = woven_in(file)
    if when == "after":
        file.conf.register_opts(THEIRS, group=group)
    assert acted(woven) == [["pre"]]
    # A second backend's hooks come upon the options of the first.
    assert acted(woven_in(file)) == [["pre"]]


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("group", [None, "alpha", "alpha:a"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_switches_follow_despite_somebody_elses_options(configured, what, group, when):
    section = group or "DEFAULT"
    file = configured(_in(section, what, "enable_pre_hooks = True\n"))
    if when == "before":
        file.conf.register_opts(THEIRS, group=group)
    woven = woven_in(file)
    if when == "after":
        file.conf.register_opts(THEIRS, group=group)
    assert acted(woven) == [["pre"]]
    file.mutate(_in(section, what, "enable_post_hooks = True\n"))
    assert acted(woven) == [["post"]]


def _in(section, what, options):
    text = section_with([what], options if section == "alpha" else "")
    return text if section == "alpha" else f"{text}[{section}]\n{options}"


def test_somebody_elses_options_are_read_by_them_as_ever(configured):
    file = configured(
        f"[DEFAULT]\nenable_pre_hooks = True\n[alpha]\nhook_drivers = {RECORDER}\n"
    )
    file.conf.register_opts(THEIRS)
    woven_in(file)
    assert file.conf.enable_pre_hooks is True
    assert file.conf.periodic_hooks_interval == 300.0


def test_two_hooks_with_unequal_options_of_one_name(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = {RECORDER}, {FIXTURES}.recording:OtherRecorder
        colour = black
        [alpha:OtherRecorder]
        colour = white
        """
    )
    one, two = hooks_in(file)
    assert one.get_config_option("colour") == "black"
    assert two.get_config_option("colour") == "white"


# A configuration that is just the three names


class ThreeNames:
    """All that a configuration must have, and nothing that it need not."""

    def __init__(self, conf, group):
        self.config_group = group
        self.safe_get, self.append_config_values = self._functions(conf, group)

    @staticmethod
    def _functions(conf, group):
        def safe_get(key):
            try:
                return conf[group][key]
            except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
                return None

        def append_config_values(options):
            conf.register_opts(options, group=group)

        return safe_get, append_config_values


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
def test_configuration_with_just_three_names(configured, monkeypatch, what):
    # What Manila's and Cinder's own objects are: of the global CONF.
    file = configured(
        section_with([what, what], ON)
        + "[alpha:b]\nenable_post_hooks = False\n[DEFAULT]\ncolour = black\n"
    )
    monkeypatch.setattr(cfg, "CONF", file.conf)
    woven = aspects.weave_from_config(
        recording.Driver(), ThreeNames(file.conf, "alpha"), "node1@alpha"
    )
    assert aspects.weaving(woven).backend == "alpha"
    assert acted(woven) == [["pre", "post"], ["pre"]]
    if what == RECORDER:
        hook = aspects.weaving(woven).hooks[0]
        assert hook.get_config_option("colour") == "black"
    file.mutate(section_with([what, what], "enable_post_hooks = True\n"))
    assert acted(woven) == [["post"], ["post"]]


def test_configuration_with_just_three_names_of_options_of_its_own(
    configured, monkeypatch
):
    # Nothing says that a configuration is of the global CONF.
    monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
    file = configured(section_with([RECORDER], f"{ON}colour = red\n"))
    woven = aspects.weave_from_config(
        recording.Driver(), ThreeNames(file.conf, "alpha"), "node1@alpha"
    )
    assert acted(woven) == [["pre", "post"]]
    (hook,) = aspects.weaving(woven).hooks
    assert hook.get_config_option("colour") == "red"
    assert hook.get_config_option("depth") == 3


class LikeManilas(ThreeNames):
    """It also has what tells Manila's and Cinder's: they are groups of CONF."""

    local_conf = None


def test_configuration_like_manilas(configured, monkeypatch):
    entries = [RECORDER, f"{FIXTURES}.recording:OtherRecorder"]
    file = configured(section_with(entries, ON))
    monkeypatch.setattr(cfg, "CONF", file.conf)
    woven = aspects.weave_from_config(
        recording.Driver(), LikeManilas(file.conf, "alpha"), "node1@alpha"
    )
    assert acted(woven) == [["pre", "post"]] * 2
    # Each has the default of its own class.
    told = [each.get_config_option("colour") for each in aspects.weaving(woven).hooks]
    assert told == ["grey", "teal"]


def test_configuration_with_just_three_names_that_names_no_hooks(configured):
    driver = recording.Driver()
    section = ThreeNames(configured("[alpha]\n").conf, "alpha")
    assert aspects.weave_from_config(driver, section, "node1@alpha") is driver


# What is wrong


class Told(NamedTuple):
    """A problem without the advice, which has tests of its own."""

    section: str
    option: str
    value: str
    cause: str


def problems_in(file, group="alpha"):
    return tuple(Told(*problem[:4]) for problem in advised_in(file, group))


def advised_in(file, group="alpha"):
    driver = recording.Driver()
    with pytest.raises(aspects.HookConfigError) as caught:
        woven_in(file, group, driver)
    problems = caught.value.problems
    assert str(caught.value).split("\n") == [
        f"[{problem.section}] {problem.option} = {problem.value}: {problem.cause}"
        + (f": {problem.advice}" if problem.advice else "")
        for problem in problems
    ], "one line for each problem"
    for problem in problems:
        assert problem == (
            problem.section,
            problem.option,
            problem.value,
            problem.cause,
            problem.advice,
        )
    return problems


class Empty(aspects.HookBase):
    """Nothing that a hook must have."""


class Awaiting(recording.Recorder):
    async def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """To call it is not to run it."""


LOOK = "it is no path.to:Class, path.to.Class or short name"
WRONG_ENTRIES = {
    "no such package": (
        "no_such.module:Hook",
        "there is no module 'no_such'",
        f"install it in the Python of {sys.prefix}",
    ),
    "no such module": (
        f"{FIXTURES}.no_such:Hook",
        f"there is no module '{FIXTURES}.no_such'",
    ),
    "no such module, dotted": (
        f"{FIXTURES}.no_such.Hook",
        f"there is no module '{FIXTURES}.no_such'",
    ),
    "no package at all": ("os:path.Hook", "module 'os' has no class 'path.Hook'"),
    "the module's own import error": (
        f"{FIXTURES}.fails_on_import:Hook",
        f"importing '{FIXTURES}.fails_on_import' failed: RuntimeError: "
        "the licence has run out",
    ),
    "a module that the module imports": (
        f"{FIXTURES}.lacks_library.Hook",
        f"importing '{FIXTURES}.lacks_library' failed: ModuleNotFoundError: "
        "No module named 'a_library_that_nobody_has'",
        f"install it in the Python of {sys.prefix}",
    ),
    "no such class": (
        f"{FIXTURES}.recording:Recoder",
        f"module '{FIXTURES}.recording' has no class 'Recoder'",
        "write Recorder",
    ),
    "no such class, and near it only what is no hook": (
        f"{FIXTURES}.recording:Drivers",
        f"module '{FIXTURES}.recording' has no class 'Drivers'",
    ),
    "two colons": (f"{RECORDER}:Actions", LOOK),
    "a colon for the =": ("own:my.hooks:Hook", LOOK, "write own=my.hooks:Hook"),
    "a file": ("./my/hooks.py:Hook", LOOK, "write my.hooks:Hook"),
    "a module": (
        "hooks.audit",
        "'hooks.audit' is a module, not a class",
        "write hooks.audit.AuditHook",
    ),
    "no such class, dotted": (
        f"{FIXTURES}.recording.Nothing",
        f"module '{FIXTURES}.recording' has no class 'Nothing'",
    ),
    "no class": (
        f"{FIXTURES}.recording:not_a_class",
        "it is a int, not a class",
    ),
    "in what has no names": (
        f"{FIXTURES}.recording:not_a_class.Hook",
        f"module '{FIXTURES}.recording' has no class 'not_a_class.Hook'",
    ),
    "not a hook": (
        f"{FIXTURES}.recording:Driver",
        "it is not a hook",
        "see aspects.HookBase",
    ),
    "an abstract method left out": (
        f"{FIXTURES}.recording:Incomplete",
        "class 'Incomplete' leaves out _execute_post_hook",
        "give it one, even if it does nothing",
    ),
    "all abstract methods left out": (
        f"{__name__}:Empty",
        "class 'Empty' leaves out _execute_periodic_hook, _execute_post_hook, "
        "_execute_pre_hook",
        "give it one, even if it does nothing",
    ),
    "an action that would never run": (
        f"{__name__}:Awaiting",
        "class 'Awaiting': _execute_pre_hook would never run: it is a coroutine or "
        "generator function",
    ),
    "a constructor that raises": (
        f"{FIXTURES}.recording:Choosy",
        "making the hook failed: LookupError: no such queue",
    ),
    "no such short name": (
        "audti",
        "there is no installed hook of that name (installed: "
        f"{', '.join(sorted(entry_points(group='manila_aspects.hooks').names))})",
        "write audit",
    ),
    "no name": ("=audit", "it is no [name=]what", "write something before the ="),
    "nothing": ("ops=", "it is no [name=]what", "write something after the ="),
    "a lost comma": ("ops=audit b=guard", "the instance would be called 'ops=audit b'"),
    "no class named": (f"{FIXTURES}.recording:", LOOK),
    "no module named": (":Recorder", LOOK),
    "just a dot": (".", LOOK),
    "relative": ("..recording:Recorder", LOOK),
}


@pytest.mark.parametrize("case", WRONG_ENTRIES)
def test_wrong_entry(configured, case):
    entry, cause, *advice = WRONG_ENTRIES[case]
    problems = advised_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problems == (("alpha", "hook_drivers", entry, cause, "".join(advice)),)


def test_comma_too_many_between_entries(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER},, b={RECORDER}\n"
    problem = (
        *("alpha", "hook_drivers", ""),
        "there is nothing between two commas",
        "take one of them out",
    )
    assert advised_in(configured(text)) == (problem,)


def test_comma_too_many_is_no_entry(configured):
    text = f"[alpha]\nhook_drivers = a={RECORDER},\n  b={RECORDER},\n"
    assert [hook.instance_name for hook in hooks_in(configured(text))] == ["a", "b"]


def test_module_with_a_syntax_error(configured, tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("def hook(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = "half_written:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert "SyntaxError" in problem.cause


def test_module_that_exits_when_imported(configured, tmp_path, monkeypatch):
    # A script, named by mistake.
    (tmp_path / "a_script.py").write_text("import sys\nsys.exit('usage: a_script')\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = "a_script:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert "usage: a_script" in problem.cause


@pytest.mark.parametrize(
    ("entries", "entry", "name"),
    [
        (f"a={RECORDER}, a={UPSTREAM}", f"a={UPSTREAM}", "a"),
        (f"{RECORDER}, {RECORDER}", RECORDER, "Recorder"),
        (f"Recorder={UPSTREAM}, {RECORDER}", RECORDER, "Recorder"),
    ],
)
def test_two_instances_of_one_name(configured, entries, entry, name):
    (problem,) = advised_in(configured(f"[alpha]\nhook_drivers = {entries}\n"))
    assert problem[:3] == ("alpha", "hook_drivers", entry)
    assert problem.cause == f"there are two instances of the name {name!r}"
    assert problem.advice == "give each its own, as in name=what"


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize(
    ("what", "option", "value", "cause"),
    [
        (RECORDER, "enable_pre_hooks", "maybe", "boolean"),
        (RECORDER, "suppress_periodic_hooks_errors", "2", "boolean"),
        (UPSTREAM, "enable_post_hooks", "maybe", "boolean"),
        (RECORDER, "periodic_hooks_interval", "often", "float"),
        (RECORDER, "depth", "deep", "int"),
        (f"{FIXTURES}.recording:HandMade", "depth", "deep", "int"),
    ],
)
def test_value_of_the_wrong_type(configured, what, section, option, value, cause):
    file = configured(_in(section, what, f"{option} = {value}\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == (section, option, value)
    assert cause in problem.cause
    # Nothing twice: section, option and value are told already.
    assert option not in problem.cause
    assert "is not valid" not in problem.cause


@pytest.mark.parametrize("value", ["often", "0", "-1", "1.5"])
def test_wrong_periodic_hooks_ticks(configured, value):
    text = section_with([RECORDER], f"periodic_hooks_ticks = {value}\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "periodic_hooks_ticks", value)
    assert problem.cause


def test_unknown_operation(configured):
    text = section_with([RECORDER], "hook_methods = further, futher, calls\n")
    one, two = advised_in(configured(text))
    cause = "unknown operation: the driver has no such method"
    assert one == ("alpha", "hook_methods", "futher", cause, "write further")
    assert two == ("alpha", "hook_methods", "calls", cause, "")


@pytest.mark.parametrize("option", ["hook_drivers", "hook_methods", "colour"])
@pytest.mark.parametrize("name", ["nobody", "alpha"])
def test_reference_to_what_is_no_option(configured, option, name):
    # oslo.config's own way to write the value of another option.
    hooks = "" if option == "hook_drivers" else f"hook_drivers = {RECORDER}\n"
    (problem,) = problems_in(configured(f"[alpha]\n{hooks}{option} = ${name}\n"))
    assert problem[:3] == ("alpha", option, f"${name}")
    assert name in problem.cause


def test_reference_to_another_option(configured):
    file = configured(f"[alpha]\nhook_drivers = a={RECORDER}\nhook_methods = $a\n")
    file.conf.register_opt(cfg.StrOpt("a", default="further"))
    assert "further" in aspects.weaving(woven_in(file)).operations


def test_all_that_is_wrong_is_told_at_once(configured):
    file = configured(
        f"""
        [DEFAULT]
        suppress_pre_hooks_errors = sometimes
        [alpha]
        hook_drivers = no_such.module:Hook, nosuch, a={RECORDER}, a={RECORDER},
            {FIXTURES}.recording:Incomplete, {FIXTURES}.fails_on_import:Hook,
            {FIXTURES}.recording:Choosy, {FIXTURES}.recording:Nothing
        hook_methods = fly
        enable_pre_hooks = maybe
        periodic_hooks_ticks = zero
        [alpha:a]
        depth = deep
        """
    )
    problems = problems_in(file)
    assert len(set(problems)) == len(problems)
    assert {problem[:3] for problem in problems} == {
        ("alpha", "hook_drivers", "no_such.module:Hook"),
        ("alpha", "hook_drivers", "nosuch"),
        ("alpha", "hook_drivers", f"a={RECORDER}"),
        ("alpha", "hook_drivers", f"{FIXTURES}.recording:Incomplete"),
        ("alpha", "hook_drivers", f"{FIXTURES}.fails_on_import:Hook"),
        ("alpha", "hook_drivers", f"{FIXTURES}.recording:Choosy"),
        ("alpha", "hook_drivers", f"{FIXTURES}.recording:Nothing"),
        ("alpha", "hook_methods", "fly"),
        ("alpha", "enable_pre_hooks", "maybe"),
        ("alpha", "periodic_hooks_ticks", "zero"),
        ("alpha:a", "depth", "deep"),
        ("DEFAULT", "suppress_pre_hooks_errors", "sometimes"),
    }


@pytest.mark.parametrize(
    "entry",
    [
        "no_such.module:Hook",
        "nosuch",
        f"{FIXTURES}.recording:Incomplete",
        f"{FIXTURES}.recording:Driver",
        f"{FIXTURES}.recording:Choosy",
    ],
)
@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
def test_wrong_switch_beside_a_wrong_hook(configured, entry, section):
    file = configured(_in(section, entry, "enable_pre_hooks = maybe\n"))
    problems = problems_in(file)
    assert {problem[:3] for problem in problems} == {
        ("alpha", "hook_drivers", f"a={entry}"),
        (section, "enable_pre_hooks", "maybe"),
    }


def test_one_wrong_value_of_two_hooks_is_told_once(configured):
    text = section_with([RECORDER, UPSTREAM], "enable_pre_hooks = maybe\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "enable_pre_hooks", "maybe")


def test_wrong_values_of_one_option_in_all_its_sections(configured):
    text = section_with([RECORDER], "depth = deep\n")
    text += "[alpha:a]\ndepth = deeper\n[DEFAULT]\ndepth = deepest\n"
    assert {problem[:3] for problem in problems_in(configured(text))} == {
        ("alpha:a", "depth", "deeper"),
        ("alpha", "depth", "deep"),
        ("DEFAULT", "depth", "deepest"),
    }


def test_wrong_backend_section_without_a_group_is_called_default(configured):
    file = configured("[DEFAULT]\nhook_drivers = nosuch\nperiodic_hooks_ticks = x\n")
    assert {problem[:3] for problem in problems_in(file, None)} == {
        ("DEFAULT", "hook_drivers", "nosuch"),
        ("DEFAULT", "periodic_hooks_ticks", "x"),
    }


def test_driver_is_left_as_it_is_when_something_is_wrong(configured):
    driver = recording.Driver()
    before = dict(vars(driver))
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}, nosuch\n")
    with pytest.raises(aspects.HookConfigError):
        woven_in(file, driver=driver)
    assert vars(driver) == before


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
def test_value_of_a_secret_option_is_not_shown(configured, section):
    file = configured(_in(section, RECORDER, "pin = hunter2\n"))
    (problem,) = problems_in(file)
    assert problem == (section, "pin", "***", "not a valid value")


def test_secret_option_is_not_shown_by_a_constructors_error(configured):
    entry = f"{FIXTURES}.recording:Indiscreet"
    file = configured(section_with([entry], "key_phrase = hunter2\n"))
    (problem,) = problems_in(file)
    assert "nobody is called" in problem.cause
    assert "hunter2" not in problem.cause


def test_password_in_the_text_of_an_import_error(configured, tmp_path, monkeypatch):
    (tmp_path / "indiscreet.py").write_text(
        "raise OSError(\"cannot log in with password='hunter2'\")\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (problem,) = problems_in(configured("[alpha]\nhook_drivers = indiscreet:Hook\n"))
    assert "cannot log in" in problem.cause
    assert "hunter2" not in problem.cause


def test_cause_of_several_lines_is_one_line(configured):
    entry = f"{FIXTURES}.fails_with_two_lines:Hook"
    (problem,) = problems_in(configured(f"[alpha]\nhook_drivers = {entry}\n"))
    assert "the licence" in problem.cause
    assert "has run out" in problem.cause


def test_value_of_several_lines_is_one_line(configured):
    file = configured(section_with([RECORDER], "enable_pre_hooks = may\n  be\n"))
    (problem,) = problems_in(file)
    assert problem[:2] == ("alpha", "enable_pre_hooks")
    assert "may" in problem.value
    assert "be" in problem.value


def test_value_is_that_of_the_last_file(tmp_path):
    texts = [
        section_with([RECORDER], "depth = deep\n"),
        "[alpha]\ndepth = deeper\n",
        # These have the section alone, and not even that.
        "[alpha]\ncolour = red\n",
        "[beta]\ndepth = 1\n",
    ]
    files = [
        ConfigFile(tmp_path / f"{number}.conf", text)
        for number, text in enumerate(texts)
    ]
    paths = [str(file.path) for file in files]
    files[0].conf([], default_config_files=paths, default_config_dirs=[])
    (problem,) = problems_in(files[0])
    assert problem[:3] == ("alpha", "depth", "deeper")


def test_value_may_stand_in_a_folder_of_files(tmp_path):
    (tmp_path / "conf.d").mkdir()
    text = section_with([RECORDER], "depth = deep\n")
    file = ConfigFile(tmp_path / "conf.d" / "1.conf", text)
    file.conf([], default_config_files=[], default_config_dirs=[str(file.path.parent)])
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "depth", "deep")


def test_value_may_stand_in_a_file_beside_a_folder(tmp_path):
    file = ConfigFile(tmp_path / "1.conf", section_with([RECORDER], "depth = deep\n"))
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "2.conf").write_text("[alpha]\ncolour = red\n")
    files, folders = [str(file.path)], [str(folder)]
    file.conf([], default_config_files=files, default_config_dirs=folders)
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "depth", "deep")


def test_value_that_is_written_twice(configured):
    text = section_with([RECORDER], "depth = deep\ndepth = deeper\n")
    (problem,) = problems_in(configured(text))
    assert problem[:3] == ("alpha", "depth", "deep, deeper")


def test_value_that_code_has_set(configured):
    file = configured(section_with([RECORDER]))
    hooks_in(file)
    file.conf.set_override("colour", "$nobody", group="alpha")
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "colour", "$nobody")


def test_value_may_stand_in_the_environment(configured, monkeypatch):
    monkeypatch.setenv("OS_ALPHA__ENABLE_PRE_HOOKS", "maybe")
    (problem,) = problems_in(configured(section_with([RECORDER])))
    assert problem[:3] == ("alpha", "enable_pre_hooks", "maybe")


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12
) | st.sampled_from(
    [
        "audit",
        FIXTURES,
        "recording",
        "Recorder",
        "os",
        "sys",
        "path",
        "ops",
    ]
)
ENTRY = st.lists(NAMES | st.sampled_from(".:=, $\"'{}#;%[]"), max_size=6).map("".join)


@settings(max_examples=100, deadline=None)
@given(ENTRY)
@example("$nobody")
@example("$alpha")
@example("$")
@example("a=b=c")
@example("..:")
@example("os:path")
@example("os.path.join")
@example("audit\0")
@example("'audit")
def test_any_text_for_hook_drivers(tmp_path_factory, entry):
    path = tmp_path_factory.getbasetemp() / "any.conf"
    text = f"[alpha]\nhook_drivers = {entry}\naudit_log_path = {path}.log\n"
    path.write_text(text, "utf-8")
    conf = cfg.ConfigOpts()
    try:
        conf([], default_config_files=[str(path)], default_config_dirs=[])
    except cfg.ConfigFileParseError:
        return
    driver = recording.Driver()
    section = aspects.BackendSection(conf, "alpha")
    try:
        woven = aspects.weave_from_config(driver, section, "node1@alpha")
    except aspects.HookConfigError as error:
        wrong = error
    else:
        assert woven.create_share(CONTEXT, {}) == "export"
        return
    assert wrong.problems
    for problem in wrong.problems:
        assert problem[:2] == ("alpha", "hook_drivers")
        assert problem.cause
    assert str(wrong).count("\n") == len(wrong.problems) - 1


class Counting(recording.Recorder):
    options = (cfg.IntOpt("slots", default=5),)

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self.slots = [None] * self.get_config_option("slots")


def test_a_number_that_is_none_is_told_once(configured):
    text = section_with([f"{__name__}:Counting"], "slots =\n[DEFAULT]\nslots = 7\n")
    (problem,) = problems_in(configured(text))
    # Not also that its constructor cannot do with it.
    assert problem == ("alpha", "slots", "", "the value is empty")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("hook_queue_size =", "the value is empty"),
        ("hook_drain_timeout =", "the value is empty"),
        ("periodic_hooks_ticks =", "the value is empty"),
        ("hook_queue_timeout = nan", "not a finite number"),
        ("hook_slow_seconds = inf", "not a finite number"),
        ("hook_queue_size = 1000000000000", "Should be less than or equal to 100000"),
        ("hook_queue_timeout = 1e300", "Should be less than or equal to 86400"),
        ("hook_drain_timeout = 1e300", "Should be less than or equal to 86400"),
    ],
)
def test_numbers_that_are_none(tmp_path, line, cause):
    hook = "tests.unit.fixtures_hooks.recording:Recorder"
    text = f"[alpha]\nhook_drivers = a={hook}\nhook_dispatch = background\n{line}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
    (problem,) = caught.value.problems
    option, _, value = line.partition(" =")
    assert (problem.section, problem.option) == ("alpha", option)
    assert problem.cause == cause
    assert problem.value in (value.strip(), "1e+300")


def test_number_that_is_left_empty_where_there_need_be_none(tmp_path):
    text = "[alpha]\nhook_drivers = guard\nguard_max_size =\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
    assert len(aspects.weaving(woven).hooks) == 1

# SPDX-License-Identifier: Apache-2.0
"""Look-up order of options."""

import copy
import itertools

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import FIXTURES, RECORDER, hooks_in, methods_run, woven_in

SECTIONS = ("alpha:one", "alpha", "DEFAULT")
PLACES = [
    places for count in range(4) for places in itertools.combinations(SECTIONS, count)
]


def text_of(entry, option, values):
    lines = {section: [f"{option} = {value}"] for section, value in values.items()}
    lines.setdefault("alpha", []).append(f"hook_drivers = one={entry}")
    return "\n".join(
        f"[{section}]\n" + "\n".join(own) for section, own in lines.items()
    )


@pytest.mark.parametrize("places", PLACES, ids="+".join)
@pytest.mark.parametrize("what", ["Recorder", "HandMade"])
def test_option_of_a_hook_has_the_value_of_the_nearest_section(
    configured, places, what
):
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
def test_switch_has_the_value_of_the_nearest_section(configured, places, what, first):
    # The values alternate, so that both True and False override the next section.
    values = {section: first ^ bool(i % 2) for i, section in enumerate(places)}
    entry = f"{FIXTURES}.recording:{what}"
    file = configured(text_of(entry, "enable_post_hooks", values))
    woven = woven_in(file)
    expected = first if places else False
    (hook,) = aspects.weaving(woven).hooks
    assert hook.post_hooks_enabled is expected
    assert methods_run(woven) == [["post"] if expected else []]


@pytest.mark.parametrize("places", PLACES, ids="+".join)
def test_reload_uses_the_same_look_up_order(configured, places):
    file = configured(f"[alpha]\nhook_drivers = one={RECORDER}\n")
    (hook,) = hooks_in(file)
    values = dict(zip(places, ("red", "green", "blue")))
    file.mutate(text_of(RECORDER, "color", values))
    assert hook.get_config_option("color") == (values[places[0]] if places else "gray")


def test_option_of_the_service_is_looked_up_in_the_same_order(configured):
    file = configured(f"[DEFAULT]\npool = p1\n[alpha]\nhook_drivers = one={RECORDER}\n")
    for group in (None, "alpha"):
        file.conf.register_opt(cfg.StrOpt("pool", default="p0"), group=group)
    file.conf.register_opt(cfg.StrOpt("state_path", default="/var/lib"))
    (hook,) = hooks_in(file)
    assert hook.get_config_option("pool") == "p1"
    assert hook.get_config_option("state_path") == "/var/lib"


def test_value_equal_to_the_default_overrides_another_section(configured):
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


def test_each_hook_has_the_defaults_of_its_class(configured):
    file = configured(
        f"""
        [alpha]
        hook_drivers = {RECORDER}, {FIXTURES}.recording:OtherRecorder
        """
    )
    one, two = hooks_in(file)
    assert one.get_config_option("color") == "gray"
    assert two.get_config_option("color") == "teal"


def test_other_attributes_are_those_of_the_backend_section(configured):
    class Labeled(aspects.BackendSection):
        label = "of the service"

    file = configured(f"[alpha]\nhook_drivers = {RECORDER}\ncolor = red\n")
    section = Labeled(file.conf, "alpha")
    woven = aspects.weave_from_config(recording.Driver(), section, "node1@alpha")
    (hook,) = aspects.weaving(woven).hooks
    for configuration in (hook.configuration, copy.copy(hook.configuration)):
        assert configuration.color == "red"
        assert configuration.label == "of the service"
        for name in ("no_such", "__no_such__"):
            with pytest.raises(AttributeError, match=name):
                getattr(configuration, name)


@pytest.mark.parametrize("group", ["alpha", None])
def test_where_returns_the_section_of_the_current_value(configured, monkeypatch, group):
    own, section = f"{group or 'DEFAULT'}:one", group or "DEFAULT"
    text = f"[{section}]\nhook_drivers = one={RECORDER}\n"
    file = configured(f"{text}depth = 4\n[{own}]\ncolor = red\n")
    (hook,) = hooks_in(file, group)
    where = hook.configuration.where
    assert [where(name) for name in ("color", "depth", "pin")] == [
        own,
        section,
        section,
    ]
    # A rejected edit changes nothing.
    file.mutate(f"{text}depth = 4\n[{own}]\ndepth = deep\ncolor = $unknown\n")
    assert [where(name) for name in ("color", "depth")] == [own, section]
    file.mutate(f"{text}depth = 4\n")
    monkeypatch.setenv(f"OS_{own.upper()}__DEPTH", "deep")
    assert where("depth") == section


def test_option_with_a_dash_in_its_name_is_found(configured):
    file = configured(
        f"[alpha]\nhook_drivers = one={RECORDER}\n[alpha:one]\nqueue_size = 9\n"
    )
    (hook,) = hooks_in(file)
    option = cfg.IntOpt("queue-size", default=1)
    hook.configuration.append_config_values([option])
    assert hook.get_config_option("queue_size") == 9


def test_override_by_the_service_is_the_value(configured):
    # Tests, and the start-up code of other services, override options.
    file = configured(f"[alpha]\nhook_drivers = {RECORDER}\n")
    hooks_in(file)
    file.conf.set_override("color", "pink", group="alpha")
    (hook,) = hooks_in(file)
    assert hook.get_config_option("color") == "pink"

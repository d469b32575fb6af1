# SPDX-License-Identifier: Apache-2.0
"""A configuration that has just the three names."""

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import FIXTURES, ON, RECORDER, UPSTREAM, acted, section_with


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
        + "[alpha:b]\nenable_post_hooks = False\n[DEFAULT]\ncolor = black\n"
    )
    monkeypatch.setattr(cfg, "CONF", file.conf)
    woven = aspects.weave_from_config(
        recording.Driver(), ThreeNames(file.conf, "alpha"), "node1@alpha"
    )
    assert aspects.weaving(woven).backend == "alpha"
    assert acted(woven) == [["pre", "post"], ["pre"]]
    if what == RECORDER:
        hook = aspects.weaving(woven).hooks[0]
        assert hook.get_config_option("color") == "black"
    file.mutate(section_with([what, what], "enable_post_hooks = True\n"))
    assert acted(woven) == [["post"], ["post"]]


def test_configuration_with_just_three_names_of_options_of_its_own(
    configured, monkeypatch
):
    # Nothing says that a configuration is of the global CONF.
    monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
    file = configured(section_with([RECORDER], f"{ON}color = red\n"))
    woven = aspects.weave_from_config(
        recording.Driver(), ThreeNames(file.conf, "alpha"), "node1@alpha"
    )
    assert acted(woven) == [["pre", "post"]]
    (hook,) = aspects.weaving(woven).hooks
    assert hook.get_config_option("color") == "red"
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
    told = [each.get_config_option("color") for each in aspects.weaving(woven).hooks]
    assert told == ["gray", "teal"]


def test_configuration_with_just_three_names_that_names_no_hooks(configured):
    driver = recording.Driver()
    section = ThreeNames(configured("[alpha]\n").conf, "alpha")
    assert aspects.weave_from_config(driver, section, "node1@alpha") is driver

# SPDX-License-Identifier: Apache-2.0
"""Configurations with only the three attributes that a hook needs."""

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import ENABLED, FIXTURES, RECORDER, UPSTREAM, methods_run, section_with


class MinimalConfiguration:
    """The attributes that a configuration has to have, and no others."""

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
def test_minimal_configuration_of_the_global_conf_works(configured, monkeypatch, what):
    # Manila's and Cinder's own objects read the global CONF.
    file = configured(
        section_with([what, what], ENABLED)
        + "[alpha:b]\nenable_post_hooks = False\n[DEFAULT]\ncolor = black\n"
    )
    monkeypatch.setattr(cfg, "CONF", file.conf)
    woven = aspects.weave_from_config(
        recording.Driver(), MinimalConfiguration(file.conf, "alpha"), "node1@alpha"
    )
    assert aspects.weaving(woven).backend == "alpha"
    assert methods_run(woven) == [["pre", "post"], ["pre"]]
    if what == RECORDER:
        hook = aspects.weaving(woven).hooks[0]
        assert hook.get_config_option("color") == "black"
    file.mutate(section_with([what, what], "enable_post_hooks = True\n"))
    assert methods_run(woven) == [["post"], ["post"]]


def test_minimal_configuration_of_other_options_works(configured, monkeypatch):
    # A configuration need not read the global CONF.
    monkeypatch.setattr(cfg, "CONF", cfg.ConfigOpts())
    file = configured(section_with([RECORDER], f"{ENABLED}color = red\n"))
    woven = aspects.weave_from_config(
        recording.Driver(), MinimalConfiguration(file.conf, "alpha"), "node1@alpha"
    )
    assert methods_run(woven) == [["pre", "post"]]
    (hook,) = aspects.weaving(woven).hooks
    assert hook.get_config_option("color") == "red"
    assert hook.get_config_option("depth") == 3


class ManilaConfiguration(MinimalConfiguration):
    """A configuration with the attribute that marks Manila's and Cinder's objects."""

    local_conf = None


def test_configuration_of_manila_has_the_default_of_each_hook(configured, monkeypatch):
    entries = [RECORDER, f"{FIXTURES}.recording:OtherRecorder"]
    file = configured(section_with(entries, ENABLED))
    monkeypatch.setattr(cfg, "CONF", file.conf)
    woven = aspects.weave_from_config(
        recording.Driver(), ManilaConfiguration(file.conf, "alpha"), "node1@alpha"
    )
    assert methods_run(woven) == [["pre", "post"]] * 2
    colors = [hook.get_config_option("color") for hook in aspects.weaving(woven).hooks]
    assert colors == ["gray", "teal"]


def test_minimal_configuration_without_hooks_returns_the_driver(configured):
    driver = recording.Driver()
    section = MinimalConfiguration(configured("[alpha]\n").conf, "alpha")
    assert aspects.weave_from_config(driver, section, "node1@alpha") is driver

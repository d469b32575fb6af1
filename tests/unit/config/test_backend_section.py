# SPDX-License-Identifier: Apache-2.0
"""A backend section, and ``get_config_option``."""

import copy

import pytest
from oslo_config import cfg

import aspects
from tests.support.entries import recording

from .common import RECORDER, hooks_in


def test_backend_section_has_the_options_of_its_section_alone(configured):
    file = configured(
        """
        [DEFAULT]
        color = black
        [alpha]
        color = red
        """
    )
    alpha = aspects.BackendSection(file.conf, "alpha")
    beta = aspects.BackendSection(file.conf, "beta")
    assert alpha.config_group == "alpha"
    assert alpha.safe_get("color") is None
    alpha.append_config_values([cfg.StrOpt("color"), cfg.StrOpt("shape")])
    assert alpha.safe_get("color") == "red"
    assert alpha.color == "red"
    assert alpha.safe_get("shape") is None
    assert beta.safe_get("color") is None
    assert "color" not in file.conf
    with pytest.raises(AttributeError):
        alpha.size
    # A test, or a hook that starts a process, may copy it.
    assert copy.copy(alpha).color == "red"
    with pytest.raises(AttributeError, match="__size__"):
        alpha.__size__


def test_backend_section_without_a_group_reads_default(configured):
    file = configured("[DEFAULT]\ncolor = black\n")
    section = aspects.BackendSection(file.conf, None)
    assert section.config_group is None
    assert section.safe_get("color") is None
    section.append_config_values([cfg.StrOpt("color")])
    assert section.safe_get("color") == file.conf.color == "black"
    assert section.color == "black"


def test_get_config_option_of_an_unknown_option_is_none(configured):
    (hook,) = hooks_in(configured(f"[alpha]\nhook_drivers = {RECORDER}\n"))
    assert hook.get_config_option("depth") == 3
    assert hook.get_config_option("unknown_option") is None


def test_hook_without_configuration_has_the_options_of_conf(configured, monkeypatch):
    file = configured("[DEFAULT]\nenable_pre_hooks = True\ncolor = black\n")
    monkeypatch.setattr(cfg, "CONF", file.conf)
    hook = recording.Recorder(None, "node1")
    assert hook.pre_hooks_enabled is True
    assert hook.post_hooks_enabled is False
    assert hook.get_config_option("color") == "black"
    assert hook.get_config_option("depth") == 3
    assert hook.host == "node1"


def test_hook_without_configuration_has_none_for_an_unknown_option(
    configured, monkeypatch
):
    file = configured("")
    monkeypatch.setattr(cfg, "CONF", file.conf)
    hook = recording.Recorder(None, "node1")
    assert hook.get_config_option("unknown_option") is None


@pytest.mark.parametrize("mutable", [True, False])
def test_get_config_option_returns_the_current_value(configured, mutable):
    option = "color" if mutable else "depth"
    text = f"[alpha]\nhook_drivers = {RECORDER}\n{option} = 7\n"
    file = configured(text)
    (hook,) = hooks_in(file)
    file.mutate(text.replace("7", "8"))
    # A change of an immutable option re-creates the hook; the old one keeps its value.
    expected = "8" if mutable else 7
    assert hook.get_config_option(option) == expected

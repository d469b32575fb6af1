# SPDX-License-Identifier: Apache-2.0
"""Options whose names somebody else has registered too."""

import pytest
from oslo_config import cfg

from .common import FIXTURES, RECORDER, UPSTREAM, _in, acted, hooks_in, woven_in

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
        color = black
        [alpha:OtherRecorder]
        color = white
        """
    )
    one, two = hooks_in(file)
    assert one.get_config_option("color") == "black"
    assert two.get_config_option("color") == "white"

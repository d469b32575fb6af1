# SPDX-License-Identifier: Apache-2.0
"""Options that Manila registers under the same names."""

import pytest
from oslo_config import cfg

from .common import (
    FIXTURES,
    RECORDER,
    UPSTREAM,
    hooks_in,
    methods_run,
    text_with,
    woven_in,
)

MANILA_OPTIONS = [
    cfg.BoolOpt("enable_pre_hooks", default=False, help="Of Manila."),
    cfg.BoolOpt("enable_post_hooks", default=False, help="Of Manila."),
    cfg.BoolOpt("enable_periodic_hooks", default=False, help="Of Manila."),
    cfg.BoolOpt("suppress_pre_hooks_errors", default=False, help="Of Manila."),
    cfg.BoolOpt("suppress_post_hooks_errors", default=False, help="Of Manila."),
    cfg.FloatOpt("periodic_hooks_interval", default=300.0, help="Of Manila."),
    cfg.ListOpt("hook_drivers", default=[], help="Of Manila."),
]


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("group", [None, "alpha", "alpha:a"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_switches_work_beside_options_of_manila(configured, what, group, when):
    section = group or "DEFAULT"
    file = configured(text_with(section, what, "enable_pre_hooks = True\n"))
    if when == "before":
        file.conf.register_opts(MANILA_OPTIONS, group=group)
    woven = woven_in(file)
    if when == "after":
        file.conf.register_opts(MANILA_OPTIONS, group=group)
    assert methods_run(woven) == [["pre"]]
    # The options of the first backend are registered when the second one is woven.
    assert methods_run(woven_in(file)) == [["pre"]]


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("group", [None, "alpha", "alpha:a"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_switches_change_on_a_reload_beside_options_of_manila(
    configured, what, group, when
):
    section = group or "DEFAULT"
    file = configured(text_with(section, what, "enable_pre_hooks = True\n"))
    if when == "before":
        file.conf.register_opts(MANILA_OPTIONS, group=group)
    woven = woven_in(file)
    if when == "after":
        file.conf.register_opts(MANILA_OPTIONS, group=group)
    assert methods_run(woven) == [["pre"]]
    file.mutate(text_with(section, what, "enable_post_hooks = True\n"))
    assert methods_run(woven) == [["post"]]


def test_manila_still_reads_its_own_options(configured):
    file = configured(
        f"[DEFAULT]\nenable_pre_hooks = True\n[alpha]\nhook_drivers = {RECORDER}\n"
    )
    file.conf.register_opts(MANILA_OPTIONS)
    woven_in(file)
    assert file.conf.enable_pre_hooks is True
    assert file.conf.periodic_hooks_interval == 300.0


def test_two_hooks_can_have_unequal_options_of_one_name(configured):
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

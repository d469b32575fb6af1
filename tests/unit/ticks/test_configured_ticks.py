# SPDX-License-Identifier: Apache-2.0
"""Ticks of backends that are configured by a file."""

import pytest

import aspects
from tests.support.config import ConfigFile
from tests.support.entries import recording

from .common import CONTEXT, ticks_of

RECORDER = f"{recording.__name__}:Recorder"
UPSTREAM = f"{recording.__name__}:Upstream"


@pytest.fixture
def configured(tmp_path):
    def write(text):
        return ConfigFile(tmp_path / "service.conf", text)

    return write


def woven_in(file, group="alpha", driver=None):
    section = aspects.BackendSection(file.conf, group)
    driver = driver or recording.Driver()
    return aspects.weave_from_config(driver, section, f"node1@{group}")


def test_each_backend_counts_its_own_ticks(configured):
    file = configured(
        f"""
        [DEFAULT]
        enable_periodic_hooks = True
        [alpha]
        hook_drivers = {RECORDER}
        periodic_hooks_ticks = 2
        [beta]
        hook_drivers = {RECORDER}, {UPSTREAM}
        periodic_hooks_ticks = 3
        [gamma]
        hook_drivers = {UPSTREAM}
        """
    )
    backends = {name: woven_in(file, name) for name in ("alpha", "beta", "gamma")}
    ran = {
        name: [aspects.tick(woven, CONTEXT, name) for _ in range(6)]
        for name, woven in backends.items()
    }
    assert ran == {
        "alpha": [False, True, False, True, False, True],
        "beta": [False, False, True, False, False, True],
        "gamma": [True] * 6,
    }
    for name, woven in backends.items():
        for hook in aspects.weaving(woven).hooks:
            assert hook.seen == [("periodic", name)] * ran[name].count(True)


def test_only_the_backend_section_sets_periodic_hooks_ticks(configured):
    file = configured(
        f"""
        [DEFAULT]
        periodic_hooks_ticks = 5
        [alpha]
        hook_drivers = a={RECORDER}
        enable_periodic_hooks = True
        [alpha:a]
        periodic_hooks_ticks = 7
        """
    )
    assert ticks_of(woven_in(file), 2) == [True, True]


def test_periodic_hooks_ticks_follow_the_file(configured):
    text = f"[alpha]\nhook_drivers = {RECORDER}\nenable_periodic_hooks = True\n"
    file = configured(f"{text}periodic_hooks_ticks = 3\n")
    woven = woven_in(file)
    assert ticks_of(woven, 3) == [False, False, True]
    file.mutate(f"{text}periodic_hooks_ticks = 2\n")
    # The count continues: the next tick is the fourth.
    assert ticks_of(woven, 3) == [True, False, True]
    file.mutate(text)
    assert ticks_of(woven, 2) == [True, True]
    assert aspects.weaving(woven).ticks == 8


def test_a_change_for_one_backend_does_not_change_the_ticks_of_another(configured):
    text = f"""
        [DEFAULT]
        enable_periodic_hooks = True
        [alpha]
        hook_drivers = {RECORDER}
        periodic_hooks_ticks = 3
        [beta]
        hook_drivers = {RECORDER}
        periodic_hooks_ticks = 4
        """
    file = configured(text)
    alpha, beta = woven_in(file), woven_in(file, "beta")
    file.mutate(text.replace("3", "1"))
    assert ticks_of(alpha, 2) == [True, True]
    assert ticks_of(beta, 4) == [False, False, False, True]


@pytest.mark.parametrize(
    "what",
    [RECORDER, f"{recording.__name__}:FailsInPeriodic"],
    ids=("aspects", "upstream"),
)
@pytest.mark.parametrize("after", ["start-up", "mutation"])
def test_suppression_of_periodic_errors_follows_the_file(configured, what, after):
    plain = f"""
        [alpha]
        hook_drivers = {what}, b={UPSTREAM}
        enable_periodic_hooks = True
        [alpha:Recorder]
        failing = True
        """
    suppressed = plain.replace(
        "failing = True",
        "failing = True\n        [DEFAULT]\n"
        "        suppress_periodic_hooks_errors = True",
    )
    file = configured(suppressed if after == "start-up" else plain)
    woven = woven_in(file)
    if after == "mutation":
        with pytest.raises(OSError, match="failed"):
            aspects.tick(woven, CONTEXT, [])
        file.mutate(suppressed)
    assert aspects.tick(woven, CONTEXT, []) is True
    assert aspects.weaving(woven).hooks[1].seen == [("periodic", [])]


def test_a_tick_in_flight_keeps_the_hooks_that_it_began_with(configured):
    text = f"""
        [alpha]
        hook_drivers = a={RECORDER}, b={RECORDER}, c={UPSTREAM}
        enable_periodic_hooks = True
        """
    file = configured(text)
    driver = recording.Driver()
    off = text.replace("True", "False")
    driver.get_periodic_hook_data = lambda context, shares: file.mutate(off)
    woven = woven_in(file, driver=driver)
    assert aspects.tick(woven, CONTEXT, []) is True
    assert [len(h.seen) for h in aspects.weaving(woven).hooks] == [1, 1, 1]
    assert aspects.tick(woven, CONTEXT, []) is False

# SPDX-License-Identifier: Apache-2.0
"""Hooks that a reload removes stop after their last call."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from oslo_config import cfg

import aspects
from aspects.core import lease
from tests.support.config import ConfigFile
from tests.support.entries.recording import Driver
from tests.support.wait import wait_for, wait_for_stops

from .common import CONTEXT, HERE, LoggingHook, ManilaHook, done, names, text


def test_removed_hooks_stop_after_their_last_completion(file, woven):
    inside, released = threading.Event(), threading.Event()

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert released.wait(10)

    woven.create_share = create_share
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    caller.start()
    assert inside.wait(10)
    done.clear()
    file.mutate(text("c"))
    file.mutate(text("d"))
    # No call uses c, so it stops at once.
    assert done == [("start", "c"), ("start", "d"), ("stop", "c")]
    done.clear()
    released.set()
    caller.join(10)
    # Stopping the driver waits for the removed hooks, and stops the current one.
    aspects.weaving(woven).stop()
    assert [event for event in done if event != ("stop", "d")] == [
        *[("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")],
    ]
    assert ("stop", "d") in done


class Calls:
    """Calls that wait in the driver method until each is released."""

    def __init__(self, woven: Any) -> None:
        self._woven = woven
        self._inside = threading.Semaphore(0)
        self._released: list[threading.Event] = []
        self._callers: list[threading.Thread] = []
        woven.create_share = self._create_share

    def _create_share(self, context: Any, share: int) -> None:
        self._inside.release()
        assert self._released[share].wait(10)

    def begin(self) -> None:
        """Begin a call, and return when it is in the driver method."""
        number = len(self._callers)
        self._released.append(threading.Event())
        caller = threading.Thread(
            target=self._woven.create_share, args=(CONTEXT, number)
        )
        self._callers.append(caller)
        caller.start()
        assert self._inside.acquire(timeout=10)

    def end(self, number: int) -> None:
        """Release a call, and return when it has ended."""
        self._released[number].set()
        self._callers[number].join(10)


def test_removed_hooks_wait_for_a_call_that_began_two_edits_ago(file, woven):
    calls = Calls(woven)
    calls.begin()
    file.mutate(text("ab", "enable_error_hooks = False"))
    done.clear()
    file.mutate(text(""))
    assert not _stopped_soon()
    calls.end(0)
    aspects.weaving(woven).stop()
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]


def test_removed_hooks_wait_for_a_tick_in_flight(file, woven):
    inside, released = threading.Event(), threading.Event()

    def share_instances() -> list[Any]:
        inside.set()
        assert released.wait(10)
        return []

    file.mutate(text("ab", "enable_periodic_hooks = True"))
    ticking = threading.Thread(
        target=aspects.tick, args=(woven, CONTEXT, share_instances)
    )
    ticking.start()
    assert inside.wait(10)
    done.clear()
    file.mutate(text(""))
    assert not _stopped_soon()
    released.set()
    ticking.join(10)
    aspects.weaving(woven).stop()
    assert done == [
        *[("periodic", "a"), ("periodic", "b"), ("stop", "b"), ("stop", "a")]
    ]


@pytest.mark.parametrize("with_manila_hook", [False, True])
def test_stop_waits_for_the_completions_of_calls_in_flight(
    file, woven, with_manila_hook
):
    if with_manila_hook:
        file.mutate(
            text("ab").replace("drivers = ", f"drivers = u={HERE}:ManilaHook, ")
        )
    calls = Calls(woven)
    calls.begin()
    done.clear()
    stopping = threading.Thread(target=aspects.weaving(woven).stop)
    stopping.start()
    assert not _stopped_soon()
    # It does not wait for calls that begin later; otherwise it might wait forever.
    calls.begin()
    done.clear()
    calls.end(0)
    stopping.join(10)
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]
    calls.end(1)


def test_removed_hooks_wait_for_their_calls_beside_a_hook_of_manila(file, woven):
    def with_manila_hook(entries: str) -> str:
        return text(entries).replace("drivers = ", f"drivers = u={HERE}:ManilaHook, ")

    file.mutate(with_manila_hook("ab"))
    calls = Calls(woven)
    calls.begin()
    calls.begin()
    done.clear()
    file.mutate(with_manila_hook("").replace("Hook, ", "Hook"))
    calls.end(1)
    assert done == [("post", "a"), ("post", "b")]
    done.clear()
    # The first call still uses them.
    assert not _stopped_soon()
    calls.end(0)
    aspects.weaving(woven).stop()
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]


def _stopped_soon() -> bool:
    """Return whether a hook has stopped, after all pending stops are done."""
    wait_for_stops()
    return any(event == "stop" for event, _ in done)


def test_removed_hooks_do_not_wait_for_calls_of_another_driver(file, woven):
    section = aspects.BackendSection(file.conf, "alpha")
    other = aspects.weave_from_config(Driver(), section, "node1@alpha")
    hooks = [ManilaHook(None, None), *aspects.weaving(other).hooks]
    calls = Calls(aspects.weave(Driver(), hooks))
    calls.begin()
    done.clear()
    file.mutate(text("b"))
    assert ("stop", "a") in done
    calls.end(0)


def test_reference_to_an_error_does_not_delay_the_stop_of_hooks(file, woven):
    def create_share(context: Any, share: Any) -> None:
        raise LookupError("no pool")

    woven.create_share = create_share
    with pytest.raises(LookupError) as kept:
        woven.create_share(CONTEXT, {})
    done.clear()
    file.mutate(text("b"))
    assert done == [("stop", "a")]
    assert kept.value.__traceback__


@pytest.mark.parametrize("removed", [True, False])
def test_stop_waits_for_a_call_that_does_not_end_up_to_the_drain_timeout(
    file, woven, removed, monkeypatch
):
    monkeypatch.setattr(sys.modules["aspects.weaving"], "DRAIN_TIMEOUT", 0.01)
    inside, released, stopped = (threading.Event() for _ in range(3))

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert released.wait(10)

    def stop() -> None:
        aspects.weaving(woven).stop()
        stopped.set()

    woven.create_share = create_share
    before = set(threading.enumerate())
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    stopping = threading.Thread(target=stop)
    caller.start()
    assert inside.wait(10)
    if removed:
        file.mutate(text("b"))
    waiting = set(threading.enumerate()) - before - {caller}
    # No thread waits for the call.
    assert not waiting
    stopping.start()
    try:
        assert stopped.wait(5)
    finally:
        released.set()
        caller.join(10)
        stopping.join(10)
        for thread in waiting:
            thread.join(10)
    # All hooks stop before the process exits, including one that an edit has removed.
    assert sorted(event for event in done if event[0] == "stop") == [
        ("stop", "a"),
        ("stop", "b"),
    ]
    assert done[-1] == ("post", "b")


def test_reload_does_not_start_hooks_of_a_driver_that_was_not_started(file):
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    file.mutate(text("c"))
    assert names(woven) == "c"
    assert done == []


def test_reload_does_not_start_hooks_of_a_stopped_driver(file, woven):
    aspects.weaving(woven).stop()
    done.clear()
    file.mutate(text("ac"))
    assert names(woven) == "ac"
    assert done == []


class HangingHook(LoggingHook):
    """A hook that waits for :attr:`released` in one of its methods."""

    options = (*LoggingHook.options, cfg.StrOpt("hangs_in"))
    released = threading.Event()

    def log(self, event: str) -> None:
        super().log(event)
        if event == self.get_config_option("hangs_in"):
            assert self.released.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("hangs_in", ["pre", "post", "start", "stop"])
def test_a_reload_does_not_wait_for_a_hook_that_hangs(
    file, woven, monkeypatch, hangs_in
):
    monkeypatch.setattr(lease, "START_TIMEOUT", 0.0)
    monkeypatch.setattr(lease, "_stop_timeout", lambda hooks: 0.1)
    monkeypatch.setattr(HangingHook, "released", threading.Event())
    entry = f"h={__name__}:HangingHook, "
    lines = f"[alpha:h]\nhangs_in = {hangs_in}"
    ConfigFile.mutate(
        file, text("a", lines).replace("drivers = ", f"drivers = {entry}")
    )
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    caller.start()
    if hangs_in != "stop":
        assert wait_for(lambda: (hangs_in, "h") in done, "the method that hangs")
    # Each of these reloads removes, adds or keeps a hook, or does several of these.
    ConfigFile.mutate(file, text("b"))
    ConfigFile.mutate(file, text("bc"))
    assert names(woven) == "bc"
    woven.create_share(CONTEXT, {})
    assert ("post", "c") in done
    if hangs_in == "stop":
        assert wait_for(lambda: ("stop", "h") in done, "the stop that hangs")
    else:
        assert ("stop", "h") not in done
    HangingHook.released.set()
    caller.join(30)
    assert wait_for(lambda: done.count(("stop", "h")) == 1, "the stop")

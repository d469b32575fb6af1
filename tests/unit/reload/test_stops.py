# SPDX-License-Identifier: Apache-2.0
"""Hooks that an edit leaves out stop after their last call."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

import aspects
from tests.support.entries.recording import Driver
from tests.support.wait import wait_for_stops

from .common import CONTEXT, HERE, OfUpstream, done, names, text


def test_hooks_left_out_are_stopped_after_their_last_ending(file, woven):
    inside, go_on = threading.Event(), threading.Event()

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert go_on.wait(10)

    woven.create_share = create_share
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    caller.start()
    assert inside.wait(10)
    done.clear()
    file.mutate(text("c"))
    file.mutate(text("d"))
    # Not c, which no call has.
    assert done == [("start", "c"), ("start", "d"), ("stop", "c")]
    done.clear()
    go_on.set()
    caller.join(10)
    # The end of the process waits for it. Its own hooks stop beside those.
    aspects.weaving(woven).stop()
    assert [each for each in done if each != ("stop", "d")] == [
        *[("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")],
    ]
    assert ("stop", "d") in done


class Calls:
    """Calls that are in the driver until each is let go on."""

    def __init__(self, woven: Any) -> None:
        self._woven = woven
        self._inside = threading.Semaphore(0)
        self._go_on: list[threading.Event] = []
        self._callers: list[threading.Thread] = []
        woven.create_share = self._create_share

    def _create_share(self, context: Any, share: int) -> None:
        self._inside.release()
        assert self._go_on[share].wait(10)

    def begin(self) -> None:
        """Begin a call, and return when it is in the driver."""
        number = len(self._callers)
        self._go_on.append(threading.Event())
        caller = threading.Thread(
            target=self._woven.create_share, args=(CONTEXT, number)
        )
        self._callers.append(caller)
        caller.start()
        assert self._inside.acquire(timeout=10)

    def end(self, number: int) -> None:
        """End a call, and return when it has."""
        self._go_on[number].set()
        self._callers[number].join(10)


def test_nor_before_a_call_that_began_before_the_edit_before_that(file, woven):
    calls = Calls(woven)
    calls.begin()
    file.mutate(text("ab", "enable_error_hooks = False"))
    done.clear()
    file.mutate(text(""))
    assert not _stopped_soon()
    calls.end(0)
    aspects.weaving(woven).stop()
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]


def test_nor_before_the_end_of_a_tick(file, woven):
    inside, go_on = threading.Event(), threading.Event()

    def share_instances() -> list[Any]:
        inside.set()
        assert go_on.wait(10)
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
    go_on.set()
    ticking.join(10)
    aspects.weaving(woven).stop()
    assert done == [
        *[("periodic", "a"), ("periodic", "b"), ("stop", "b"), ("stop", "a")]
    ]


@pytest.mark.parametrize("upstreams", [False, True])
def test_the_end_waits_for_the_endings_of_calls_in_flight(file, woven, upstreams):
    if upstreams:
        file.mutate(
            text("ab").replace("drivers = ", f"drivers = u={HERE}:OfUpstream, ")
        )
    calls = Calls(woven)
    calls.begin()
    done.clear()
    stopping = threading.Thread(target=aspects.weaving(woven).stop)
    stopping.start()
    assert not _stopped_soon()
    # Not for those that begin meanwhile, of which there is no end.
    calls.begin()
    done.clear()
    calls.end(0)
    stopping.join(10)
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]
    calls.end(1)


def test_so_they_are_where_a_hook_of_upstreams_is_in_the_chain(file, woven):
    def with_upstreams(entries: str) -> str:
        return text(entries).replace("drivers = ", f"drivers = u={HERE}:OfUpstream, ")

    file.mutate(with_upstreams("ab"))
    calls = Calls(woven)
    calls.begin()
    calls.begin()
    done.clear()
    file.mutate(with_upstreams("").replace("Upstream, ", "Upstream"))
    calls.end(1)
    assert done == [("post", "a"), ("post", "b")]
    done.clear()
    # The first one has them still.
    assert not _stopped_soon()
    calls.end(0)
    aspects.weaving(woven).stop()
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]


def _stopped_soon() -> bool:
    """Return whether hooks are stopped, or being stopped, now."""
    wait_for_stops()
    return any(action == "stop" for action, _ in done)


def test_calls_of_another_driver_do_not_keep_them_from_being_stopped(file, woven):
    section = aspects.BackendSection(file.conf, "alpha")
    other = aspects.weave_from_config(Driver(), section, "node1@alpha")
    upstreams = OfUpstream(None, None)
    calls = Calls(aspects.weave(Driver(), [upstreams, *aspects.weaving(other).hooks]))
    calls.begin()
    done.clear()
    file.mutate(text("b"))
    assert ("stop", "a") in done
    calls.end(0)


def test_who_keeps_an_error_does_not_keep_hooks_from_being_stopped(file, woven):
    def create_share(context: Any, share: Any) -> None:
        raise LookupError("no pool")

    woven.create_share = create_share
    with pytest.raises(LookupError) as kept:
        woven.create_share(CONTEXT, {})
    done.clear()
    file.mutate(text("b"))
    assert done == [("stop", "a")]
    assert kept.value.__traceback__


@pytest.mark.parametrize("left_out", [True, False])
def test_a_call_that_does_not_end_hinders_the_end_of_the_process_no_longer_than_that(
    file, woven, left_out, monkeypatch
):
    monkeypatch.setattr(sys.modules["aspects.weaving"], "DRAIN_TIMEOUT", 0.01)
    inside, go_on, stopped = (threading.Event() for _ in range(3))

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert go_on.wait(10)

    def stop() -> None:
        aspects.weaving(woven).stop()
        stopped.set()

    woven.create_share = create_share
    before = set(threading.enumerate())
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    stopping = threading.Thread(target=stop)
    caller.start()
    assert inside.wait(10)
    if left_out:
        file.mutate(text("b"))
    waiting = set(threading.enumerate()) - before - {caller}
    # No thread waits for the call.
    assert not waiting
    stopping.start()
    try:
        assert stopped.wait(5)
    finally:
        go_on.set()
        caller.join(10)
        stopping.join(10)
        for thread in waiting:
            thread.join(10)
    # The process ends: hooks flush what they have, also one that an edit left out.
    assert sorted(each for each in done if each[0] == "stop") == [
        ("stop", "a"),
        ("stop", "b"),
    ]
    assert done[-1] == ("post", "b")


def test_hooks_that_were_never_started_are_not_by_an_edit(file):
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    file.mutate(text("c"))
    assert names(woven) == "c"
    assert done == []


def test_hooks_that_were_stopped_are_not_started_by_an_edit(file, woven):
    aspects.weaving(woven).stop()
    done.clear()
    file.mutate(text("ac"))
    assert names(woven) == "ac"
    assert done == []

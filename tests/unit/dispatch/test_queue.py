# SPDX-License-Identifier: Apache-2.0
"""A full queue, and the stop of a queue."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    Recorder,
)
from tests.support.wait import wait_for

from .common import CONTEXT, deferred, held

# Detects a queue that is never drained.
pytestmark = pytest.mark.timeout(60)


def filled(gate: threading.Event, size: int, timeout: float) -> tuple[Any, Any]:
    """Return a driver whose hook's queue is full, and the hook."""
    hook = held(gate, size, timeout)
    driver = aspects.weave(Driver(), [hook], "alpha")
    for number in range(size):
        driver.create_share(CONTEXT, number)
    return driver, hook


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [0, 0.3])
@pytest.mark.parametrize("size", [1, 3])
def test_a_method_is_dropped_after_its_caller_has_waited_for_the_timeout(
    gate: threading.Event,
    size: int,
    timeout: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver, hook = filled(gate, size, timeout)
    assert hook.dispatcher.dropped == 0
    for count in (1, 2):
        caplog.clear()
        began = time.monotonic()
        assert driver.create_share(CONTEXT, "too many") == "result"
        assert time.monotonic() - began >= timeout
        assert hook.dispatcher.dropped == count
        (record,) = caplog.records
        assert record.levelno >= logging.WARNING
        message = record.getMessage()
        for part in ("Dropped 1 ", "slow of alpha", "full", f"so far: {count}"):
            assert part in message
    gate.set()
    hook.dispatcher.stop()
    assert [seen.args for seen in hook.trace] == [(number,) for number in range(size)]


def test_a_caller_stops_waiting_as_soon_as_the_queue_has_capacity(
    gate: threading.Event,
) -> None:
    driver, hook = filled(gate, 2, 50)
    gate.set()
    driver.create_share(CONTEXT, 2)
    hook.dispatcher.stop()
    assert [seen.args for seen in hook.trace] == [(0,), (1,), (2,)]
    assert hook.dispatcher.dropped == 0


def test_a_queue_that_was_full_accepts_methods_again(gate: threading.Event) -> None:
    driver, hook = filled(gate, 1, 0)
    driver.create_share(CONTEXT, "too many")
    gate.set()
    wait_for(lambda: hook.trace, "the method that was in the queue")

    def taken() -> bool:
        driver.create_share(CONTEXT, "again")
        return any(seen.args == ("again",) for seen in hook.trace)

    wait_for(taken, "capacity in the queue")


def test_waiting_and_running_methods_are_pending(gate: threading.Event) -> None:
    hook = held(gate)
    driver = aspects.weave(Driver(), [hook])
    assert hook.dispatcher.pending() == 0
    for number in (1, 2, 3):
        driver.create_share(CONTEXT, number)
        assert hook.dispatcher.pending() == number
    gate.set()
    hook.dispatcher.stop()
    assert hook.dispatcher.pending() == 0


def test_stop_drains_the_queue() -> None:
    hook = deferred(Recorder("hook", enabled=["post"], post=lambda _: time.sleep(0.01)))
    driver = aspects.weave(Driver(), [hook])
    for number in range(20):
        driver.create_share(CONTEXT, number)
    aspects.weaving(driver).stop()
    assert [seen.args for seen in hook.trace] == [(number,) for number in range(20)]
    assert hook.dispatcher.dropped == 0


def test_a_method_that_is_enqueued_during_a_stop_runs_last(
    gate: threading.Event,
) -> None:
    hook = held(gate)
    driver = aspects.weave(Driver(), [hook])
    for number in range(3):
        driver.create_share(CONTEXT, number)
    stopping = threading.Thread(target=hook.dispatcher.stop)
    stopping.start()
    # stop() takes no capacity, so a late call can still enqueue its method.
    time.sleep(0.1)
    driver.create_share(CONTEXT, 3)
    gate.set()
    stopping.join(10)
    assert not stopping.is_alive()
    assert [seen.args for seen in hook.trace] == [(number,) for number in range(4)]
    assert hook.dispatcher.dropped == 0


def test_a_method_that_waits_for_capacity_during_a_stop_still_runs(
    gate: threading.Event,
) -> None:
    hook = held(gate, 1, 30, 0)
    driver = aspects.weave(Driver(), [hook])
    driver.create_share(CONTEXT, 0)
    wait_for(lambda: hook.trace, "the first method")
    late = threading.Thread(target=driver.create_share, args=(CONTEXT, 1))
    late.start()
    time.sleep(0.1)
    hook.dispatcher.stop()
    # The first method still runs: it is not dropped, and stop() did not wait for it.
    assert hook.dispatcher.dropped == 0
    gate.set()
    late.join(10)
    wait_for(lambda: len(hook.trace) == 2, "the late method")
    assert [seen.args for seen in hook.trace] == [(0,), (1,)]


@pytest.mark.slow
def test_stop_drops_the_methods_that_are_left_after_the_drain_time(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    hook = held(gate, drain=0.2)
    driver = aspects.weave(Driver(), [hook])
    for number in range(4):
        driver.create_share(CONTEXT, number)
    wait_for(lambda: hook.trace, "the first method")
    began = time.monotonic()
    aspects.weaving(driver).stop()
    assert time.monotonic() - began >= 0.2
    assert hook.dispatcher.dropped == 3
    (record,) = [r for r in caplog.records if "Dropped" in r.getMessage()]
    for part in ("Dropped 3 ", "slow of alpha", "0.2 s", "so far: 3"):
        assert part in record.getMessage()
    assert (
        "Abandoned a method of hook slow of alpha: it still runs 0.2 s after the hook "
        "was stopped"
    ) in caplog.messages
    # A dropped method never runs.
    gate.set()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the thread")
    assert [seen.args for seen in hook.trace] == [(0,)]
    assert hook.dispatcher.pending() == 0


@pytest.mark.parametrize("gone", [True, False])
def test_a_queue_can_be_used_again_after_a_stop(
    gate: threading.Event, gone: bool
) -> None:
    hook = held(gate, 2, 5, 10 if gone else 0)
    driver = aspects.weave(Driver(), [hook])
    if gone:
        gate.set()
    driver.create_share(CONTEXT, 1)
    wait_for(lambda: hook.trace, "the first method")
    aspects.weaving(driver).stop()
    gate.set()
    # Two methods fill the queue, and one waits for capacity.
    for number in (2, 3, 4):
        driver.create_share(CONTEXT, number)
    wait_for(lambda: len(hook.trace) == 4, "the methods after the stop")
    wait_for(lambda: hook.dispatcher.pending() == 0, "the end of the last method")


def test_stopping_a_queue_that_does_not_run_does_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = deferred(Recorder("hook", enabled=["post"]))
    driver = aspects.weave(Driver(), [hook])
    aspects.weaving(driver).stop()
    driver.create_share(CONTEXT, 1)
    aspects.weaving(driver).stop()
    aspects.weaving(driver).stop()
    assert len(hook.trace) == 1
    assert caplog.records == []


@pytest.mark.slow
def test_no_thread_runs_before_the_first_method() -> None:
    before = set(threading.enumerate())
    hook = deferred(Recorder("hook", enabled=["post"]))
    driver = aspects.weave(Driver(), [hook])
    aspects.weaving(driver).start()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the start")
    driver.create_share(CONTEXT, 1)
    hook.dispatcher.stop()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the thread")


@pytest.mark.slow
def test_a_hook_and_its_thread_are_freed_with_the_driver() -> None:
    before = set(threading.enumerate())
    hook = deferred(Recorder("hook", enabled=["post"]))
    inner = Driver()
    driver = aspects.weave(inner, [hook])
    driver.create_share(CONTEXT, 1)
    trace = hook.trace
    wait_for(lambda: trace, "the method")
    assert set(threading.enumerate()) - before
    references = [
        weakref.ref(thing) for thing in (inner, hook, hook.dispatcher, driver)
    ]
    gc.disable()
    try:
        del hook, inner, driver
        # There is no reference cycle, so the objects are freed without gc.
        wait_for(lambda: not any(ref() for ref in references), "the end of all")
    finally:
        gc.enable()
    gc.collect()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the thread")


@pytest.mark.slow
def test_queued_methods_run_after_the_driver_was_freed(
    gate: threading.Event,
) -> None:
    hook = held(gate)
    driver = aspects.weave(Driver(), [hook])
    for number in range(3):
        driver.create_share(CONTEXT, number)
    trace, reference = hook.trace, weakref.ref(hook)
    del hook, driver
    gc.collect()
    gate.set()
    wait_for(lambda: len(trace) == 3, "the methods in the queue")
    wait_for(lambda: gc.collect() is not None and reference() is None, "the hook's end")

# SPDX-License-Identifier: Apache-2.0
"""A queue whose thread cannot be started, or ends too early."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

import aspects
from aspects.core import dispatch
from tests.support.clock import Clock
from tests.support.drivers import Driver
from tests.support.hooks import Recorder
from tests.support.wait import wait_for

from .common import CONTEXT, deferred, held

# Detects a wait for a thread that does not exist.
pytestmark = pytest.mark.timeout(60)


def woven(hook: Any) -> Any:
    return aspects.weave(Driver(), [hook], "alpha")


def test_a_thread_that_cannot_be_started_costs_one_method(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hook = deferred(Recorder("hook", enabled=["post"]))
    driver = woven(hook)
    start, failures = threading.Thread.start, [RuntimeError("can't start new thread")]

    def fail_once(thread: threading.Thread) -> None:
        if failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    for number in range(5):
        assert driver.create_share(CONTEXT, number) == "result"
    hook.dispatcher.stop()
    assert [seen.args for seen in hook.trace] == [(1,), (2,), (3,), (4,)]
    assert hook.counts() == {"dropped": 1}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "Dropped 1 method(s) of hook hook of alpha: can't start new thread (dropped "
        "so far: 1)"
    )


def end_thread(hook: Any) -> None:
    """End the thread of a hook after the methods in its queue."""
    hook.dispatcher._queue.pool._work_queue.put(("not a work item",))


def wait_for_end(hook: Any) -> None:
    wait_for(hook.dispatcher._queue.is_dead, "the end of the thread")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_costs_the_methods_in_its_queue(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    hook = held(gate)
    driver = woven(hook)
    driver.create_share(CONTEXT, 0)
    end_thread(hook)
    for number in (1, 2):
        driver.create_share(CONTEXT, number)
    gate.set()
    wait_for_end(hook)
    for number in (3, 4):
        driver.create_share(CONTEXT, number)
    aspects.weaving(driver).stop()
    assert [seen.args for seen in hook.trace] == [(0,), (3,), (4,)]
    assert hook.counts() == {"dropped": 2}
    (record,) = [r for r in caplog.records if r.name == dispatch.__name__]
    assert "Dropped 2 method(s) of hook slow of alpha: its thread has ended" in (
        record.getMessage()
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stop_does_not_wait_for_a_thread_that_has_ended(
    gate: threading.Event,
) -> None:
    hook = held(gate, drain=3600.0)
    driver = woven(hook)
    driver.create_share(CONTEXT, 0)
    end_thread(hook)
    driver.create_share(CONTEXT, 1)
    gate.set()
    wait_for_end(hook)
    hook.dispatcher.stop()
    assert hook.counts() == {"dropped": 1}


def test_at_exit_all_queues_share_the_drain_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    waits: list[float] = []

    def close(queue: Any, timeout: float) -> tuple[int, bool]:
        waits.append(timeout)
        clock.advance(timeout)
        queue.closed = True
        return 0, False

    hooks = [
        deferred(Recorder(name, enabled=["post"]), drain=drain)
        for name, drain in (("a", 10.0), ("b", 10.0), ("c", 10.0))
    ]
    driver = aspects.weave(Driver(), hooks, "alpha")
    driver.create_share(CONTEXT, "share")
    monkeypatch.setattr(dispatch, "_to_stop", [hook.dispatcher for hook in hooks])
    monkeypatch.setattr(dispatch, "time", clock)
    monkeypatch.setattr(dispatch._Queue, "close", close)
    dispatch._stop_all()
    assert waits == [10.0, 0.0, 0.0]

# SPDX-License-Identifier: Apache-2.0
"""Hooks that fail to start or to stop, or take too long to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aspects
from aspects.core import lease
from tests.support.drivers import Driver
from tests.support.hooks import Recorder, UpstreamRecorder, methods_of
from tests.support.wait import wait_for

from .common import CONTEXT, Living

# Detects a wait without a limit.
pytestmark = pytest.mark.timeout(60)


class Observer(Living):
    """A hook that observes others."""

    def observe(self, observed: aspects.Observed) -> None:
        """Observe nothing."""


def woven(*hooks: Any) -> tuple[Any, Any]:
    """Return a woven driver and its weaving."""
    driver = aspects.weave(Driver(), hooks, "alpha")
    return driver, aspects.weaving(driver)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """A gate that a hook waits at; it opens at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts to start a hook, none of which takes time."""
    seen: list[float] = []
    wait_for = lease.changed.wait_for

    def skip(condition: Callable[[], bool], timeout: float) -> bool:
        if threading.current_thread().name != "manila-aspects-start":
            return wait_for(condition, timeout)
        seen.append(timeout)
        return condition()

    monkeypatch.setattr(lease.changed, "wait_for", skip)
    return seen


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "aspects.core.lease"
    ]


def test_a_hook_that_fails_to_start_is_started_again_until_it_starts(
    trace: list[Any], pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    failures = [OSError("port in use")] * 9

    def fail(seen: Any) -> None:
        if failures:
            raise failures.pop()

    driver, weaving = woven(Living("late", trace, start=fail), Living("next", trace))
    weaving.start()
    driver.create_share(CONTEXT, "share")
    wait_for(lambda: len(messages(caplog)) == 2, "the start")
    assert methods_of(trace).count("late.start") == 10
    assert methods_of(trace).count("next.start") == 1
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert messages(caplog) == [
        "Failed to start hook late of backend alpha: OSError: port in use; retrying",
        "Started hook late of backend alpha after 9 failed attempt(s)",
    ]
    weaving.stop()
    assert methods_of(trace).count("late.stop") == 1


def test_a_stop_ends_the_attempts_to_start_a_hook(
    trace: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(lease, "FIRST_PAUSE", 3600.0)
    before = set(threading.enumerate())
    _, weaving = woven(Living("late", trace, start=OSError("port in use")))
    for _ in range(2):
        weaving.start()
        weaving.stop()
    # A failed start may have acquired some resources.
    assert methods_of(trace) == ["late.start", "late.stop"] * 2
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the threads")
    # Nothing waited for another attempt, and each stop began a new count.
    failed = (
        "Failed to start hook late of backend alpha: OSError: port in use; retrying"
    )
    assert messages(caplog) == [failed, failed]


def test_a_caller_waits_for_all_starts_together(
    trace: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(lease, "_wait", lambda *args: waits.append(args[-1]))
    _, weaving = woven(Living("a", trace), Living("b", trace))
    weaving.start()
    assert lease.START_TIMEOUT / 2 < waits[1] < waits[0] <= lease.START_TIMEOUT
    assert messages(caplog) == [
        f"Failed to start hook {hook} of backend alpha: not started in 10 s; no longer "
        "waiting for it"
        for hook in ("a", "b")
    ]


def test_each_start_has_at_least_a_second(
    trace: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(lease, "START_TIMEOUT", 0.0)
    monkeypatch.setattr(lease, "_wait", lambda *args: waits.append(args[-1]))
    woven(Living("a", trace), Living("b", trace))[1].start()
    assert waits == [1, 1]


def test_hooks_start_and_stop_in_threads_that_no_exit_waits_for(
    trace: list[Any],
) -> None:
    threads: list[threading.Thread] = []

    def note(seen: Any) -> None:
        threads.append(threading.current_thread())

    _, weaving = woven(Living("hook", trace, start=note, stop=note))
    weaving.start()
    weaving.stop()
    assert [(thread.name, thread.daemon) for thread in threads] == [
        ("manila-aspects-start", True),
        ("manila-aspects-stop", True),
    ]


@pytest.mark.parametrize("kind", [Recorder, UpstreamRecorder])
def test_a_hook_with_nothing_to_start_needs_no_thread(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    monkeypatch.setattr(
        lease, "run_in_thread", lambda verb, *args: threads.append(verb)
    )
    driver, weaving = woven(kind("hook"))
    weaving.start()
    assert driver.create_share(CONTEXT, "share") == "result"
    assert threads == []


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_any_exception_of_a_start_is_retried(
    trace: list[Any], pauses: list[float], error: BaseException
) -> None:
    errors = [error]

    def fail(seen: Any) -> None:
        if errors:
            raise errors.pop()

    _, weaving = woven(Living("late", trace, start=fail))
    weaving.start()
    wait_for(lambda: methods_of(trace) == ["late.start"] * 2, "the second attempt")
    weaving.stop()


@pytest.mark.slow
def test_a_start_that_hangs_delays_neither_the_service_nor_the_other_hooks(
    trace: list[Any],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(lease, "START_TIMEOUT", 0.0)
    started = threading.Event()

    def hang(seen: Any) -> None:
        gate.wait(30)
        started.set()

    driver, weaving = woven(Living("slow", trace, start=hang), Living("next", trace))
    weaving.start()
    assert not started.is_set()
    assert methods_of(trace) == ["slow.start", "next.start"]
    assert messages(caplog) == [
        "Failed to start hook slow of backend alpha: not started in 1 s; no longer "
        "waiting for it"
    ]
    assert driver.create_share(CONTEXT, "share") == "result"
    gate.set()
    assert started.wait(30)
    weaving.stop()
    assert {*methods_of(trace)[-2:]} == {"slow.stop", "next.stop"}


def stopped_during_its_start(
    trace: list[Any], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Any]:
    """Return a hook that still starts although it was stopped, and its weaving."""
    monkeypatch.setattr(lease, "START_TIMEOUT", 0.0)
    monkeypatch.setattr(lease, "_stop_timeout", lambda hooks: 0.1)
    hook = Living("slow", trace, start=lambda seen: gate.wait(30) and None)
    _, weaving = woven(hook)
    weaving.start()
    weaving.stop()
    return hook, weaving


@pytest.mark.slow
def test_a_hook_whose_start_outlasts_the_stop_is_stopped_after_it(
    trace: list[Any],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopped_during_its_start(trace, gate, monkeypatch)
    assert methods_of(trace) == ["slow.start"]
    assert messages(caplog)[1].startswith("Failed to stop hook slow of backend alpha: ")
    gate.set()
    wait_for(lambda: methods_of(trace) == ["slow.start", "slow.stop"], "the stop")


@pytest.mark.slow
def test_a_hook_that_is_taken_back_before_its_start_ends_keeps_running(
    trace: list[Any], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, weaving = stopped_during_its_start(trace, gate, monkeypatch)
    weaving.start()
    gate.set()
    wait_for(lambda: lease.lease_of(hook).settled, "the start")
    assert methods_of(trace) == ["slow.start"]
    weaving.stop()
    wait_for(lambda: methods_of(trace) == ["slow.start", "slow.stop"], "the stop")


def test_all_hooks_stop_at_once(trace: list[Any]) -> None:
    barrier = threading.Barrier(3)

    def meet(seen: Any) -> None:
        # Raises unless the stops of all hooks run at the same time.
        barrier.wait(30)

    _, weaving = woven(*(Living(name, trace, stop=meet) for name in ("a", "b", "c")))
    weaving.start()
    weaving.stop()
    assert not barrier.broken
    assert sorted(methods_of(trace)[3:]) == ["a.stop", "b.stop", "c.stop"]


def test_an_observer_stops_after_the_other_hooks(trace: list[Any]) -> None:
    barrier = threading.Barrier(2)
    ended: list[str] = []

    def meet(seen: Any) -> None:
        barrier.wait(30)
        ended.append("hook")

    _, weaving = woven(
        Living("a", trace, stop=meet),
        Observer("outer", trace, stop=lambda seen: ended.append("outer")),
        Observer("inner", trace, stop=lambda seen: ended.append("inner")),
        Living("b", trace, stop=meet),
    )
    weaving.start()
    weaving.stop()
    assert ended == ["hook", "hook", "inner", "outer"]


@pytest.mark.slow
def test_a_stop_that_hangs_delays_neither_the_service_nor_the_observers(
    trace: list[Any],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(lease, "STOP_TIMEOUT", 0.5)
    hook = Living("slow", trace, stop=lambda seen: gate.wait(30) and None)
    hook.get_config_option = lambda name: 0.5  # type: ignore[method-assign]
    _, weaving = woven(Observer("watch", trace), hook)
    weaving.start()
    weaving.stop()
    assert methods_of(trace)[2:] == ["slow.stop", "watch.stop"]
    assert messages(caplog) == [
        "Failed to stop hook slow of backend alpha: not stopped in 1 s; no longer "
        "waiting for it"
    ]


@pytest.mark.parametrize(
    ("queue", "option", "seconds"),
    [(None, 0.0, 5), (None, 7.0, 12), (8.0, 7.0, 13), (8.0, 9.0, 14), ("odd", 7.0, 12)],
)
def test_a_hook_has_its_drain_time_to_stop(
    trace: list[Any],
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    queue: Any,
    option: float,
    seconds: int,
) -> None:
    options = {"hook_drain_timeout": option}
    hook = Living("slow", trace, stop=lambda seen: gate.wait(30) and None)
    hook.get_config_option = options.get  # type: ignore[method-assign, assignment]
    if queue is not None:
        hook.dispatcher = aspects.Background("slow", drain=queue)
    _, weaving = woven(hook)
    weaving.start()
    # The wait for the stop ends at once.
    monkeypatch.setattr(lease, "_wait", lambda *args: False)
    weaving.stop()
    assert messages(caplog) == [
        f"Failed to stop hook slow of backend alpha: not stopped in {seconds} s; no "
        "longer waiting for it"
    ]


def test_the_queues_of_hooks_that_were_never_started_drain_at_once(
    trace: list[Any],
) -> None:
    barrier = threading.Barrier(3)

    class Dispatcher(aspects.Background):
        def stop(self, end: float | None = None) -> None:
            barrier.wait(30)

    hooks = [Living(name, trace) for name in ("a", "b", "c")]
    for hook in hooks:
        hook.dispatcher = Dispatcher(hook.instance_name)
    woven(*hooks)[1].stop()
    assert not barrier.broken


class Queue:
    """A dispatcher that only notes its stop.

    :param stop: called by the stop
    """

    def __init__(self, stop: Callable[[], Any]) -> None:
        self._stop = stop

    def put(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self._stop()


def test_the_queue_of_a_hook_drains_before_the_hook_stops(trace: list[Any]) -> None:
    hook = Living("hook", trace)
    hook.dispatcher = Queue(lambda: trace.append("queue.stop"))
    _, weaving = woven(hook)
    weaving.start()
    weaving.stop()
    assert methods_of(trace)[:3] == ["hook.start", "queue.stop", "hook.stop"]


@pytest.mark.parametrize("started", [True, False])
def test_the_error_of_a_stop_names_the_hook_and_the_backend(
    trace: list[Any], started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("the queue is lost")

    hook = Living("hook", trace, stop=ValueError("the file is closed"))
    hook.dispatcher = Queue(fail)
    _, weaving = woven(hook)
    if started:
        weaving.start()
    weaving.stop()
    errors = ["OSError: the queue is lost"]
    if started:
        errors.append("ValueError: the file is closed")
    assert messages(caplog)[: len(errors)] == [
        f"Failed to stop hook hook of backend alpha: {error}" for error in errors
    ]


def test_a_process_without_threads_to_spare_starts_and_stops_hooks(
    trace: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    late = Living("late", trace, start=OSError("port in use"))
    _, weaving = woven(late, Living("next", trace))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        weaving.start()
        assert methods_of(trace) == ["late.start", "next.start"]
        # A later start, as at a hot reload, tries again.
        late.answer(start=None)
        weaving.start()
        assert methods_of(trace)[2:] == ["late.start"]
        weaving.stop()
    assert sorted(methods_of(trace)[3:]) == ["late.stop", "next.stop"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, []),
        (
            ("no rule is set", "set guard_rules"),
            ["Hook hook of backend alpha: no rule is set; set guard_rules"],
        ),
    ],
)
def test_a_hook_without_effect_is_reported_when_it_starts(
    trace: list[Any],
    answer: Any,
    expected: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = Living("hook", trace)
    hook.ineffective = lambda: answer  # type: ignore[method-assign]
    woven(hook)[1].start()
    assert caplog.messages == expected


def test_an_error_in_the_report_of_a_hook_without_effect_is_logged(
    trace: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("no such file")

    hook = Living("hook", trace)
    hook.ineffective = fail  # type: ignore[method-assign]
    driver, weaving = woven(hook)
    weaving.start()
    (message,) = caplog.messages
    assert "hook hook" in message
    assert "OSError: no such file" in message
    assert driver.create_share(CONTEXT, "share") == "result"


def test_weavings_are_started_until_they_are_stopped(trace: list[Any]) -> None:
    others = {*aspects.started_weavings()}
    _, first = woven(Living("first", trace))
    _, second = woven(Living("second", trace))
    assert {*aspects.started_weavings()} == others
    first.start()
    second.start()
    first.start()
    assert {*aspects.started_weavings()} - others == {first, second}
    first.stop()
    assert {*aspects.started_weavings()} - others == {second}
    second.stop()

# SPDX-License-Identifier: Apache-2.0
"""Hook methods in the background: order, thread and arguments."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    HookCall,
    Recorder,
    UpstreamRecorder,
    methods_of,
)
from tests.support.wait import wait_for
from tests.support.ways import Way

from .common import CONTEXT, KINDS, deferred, fails, held

# Detects a queue that is never drained.
pytestmark = pytest.mark.timeout(60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_pre_methods_run_in_the_callers_thread_and_completions_in_another(
    way: Way, kind: Any
) -> None:
    threads: list[tuple[str, Any]] = []

    def note(seen: HookCall) -> None:
        threads.append((seen.kind, threading.current_thread()))

    answers = {"pre": note, "post": note, "error": note}
    hook = deferred(kind("hook", **answers))
    way.call(way.driver([hook]), CONTEXT, "share")
    with pytest.raises(RuntimeError):
        way.call(way.driver([hook], fails), CONTEXT, "share")
    hook.dispatcher.stop()
    completions = ["post"] if kind is UpstreamRecorder else ["post", "error"]
    assert sorted(method for method, _ in threads) == sorted(
        ["pre", "pre", *completions]
    )
    here = threading.current_thread()
    assert {thread for kind, thread in threads if kind == "pre"} == {here}
    (there,) = {thread for kind, thread in threads if kind != "pre"}
    assert there is not here


def test_deferred_methods_run_one_after_the_other_in_order(way: Way) -> None:
    running: list[int] = []

    def alone(seen: HookCall) -> None:
        running.append(1)
        time.sleep(0.0005)
        assert len(running) == 1
        running.pop()

    hook = deferred(Recorder("hook", enabled=["post"], post=alone, error=alone))
    driver = way.driver([hook], lambda context, share, _: 1 // (share % 3))
    expected = []
    for number in range(60):
        expected.append(("post" if number % 3 else "error", (number,)))
        try:
            way.call(driver, CONTEXT, number)
        except ZeroDivisionError:
            assert not number % 3
    hook.dispatcher.stop()
    assert [(seen.kind, seen.args) for seen in hook.trace] == expected
    assert not running


def test_the_caller_does_not_wait(way: Way, gate: threading.Event) -> None:
    hook = held(gate, error=lambda seen: gate.wait(30))
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"
    with pytest.raises(RuntimeError, match="no such pool"):
        way.call(way.driver([hook], fails), CONTEXT, "share")
    assert len(hook.trace) <= 1
    gate.set()
    hook.dispatcher.stop()
    assert methods_of(hook.trace) == ["slow.post", "slow.error"]


def test_a_deferred_completion_gets_the_same_arguments_as_inline(way: Way) -> None:
    inline = Recorder("inline", pre="data")
    there = deferred(Recorder("there", pre="data"))
    outcomes: list[Any] = ["result", RuntimeError("no such pool")]
    for outcome in outcomes:

        def body(*args: Any, outcome: Any = outcome) -> Any:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        try:
            way.call(way.driver([inline, there], body), CONTEXT, 1, share_server=2)
        except RuntimeError:
            assert isinstance(outcome, RuntimeError)
    there.dispatcher.stop()
    assert [seen._replace(hook="") for seen in there.trace if seen.kind != "pre"] == [
        seen._replace(hook="") for seen in inline.trace if seen.kind != "pre"
    ]


def test_a_slow_hook_does_not_delay_another(gate: threading.Event) -> None:
    slow, quick = held(gate), deferred(Recorder("quick", enabled=["post"]))
    driver = aspects.weave(Driver(), [slow, quick])
    for number in range(5):
        driver.create_share(CONTEXT, number)
    wait_for(lambda: len(quick.trace) == 5, "the other hook's methods")
    assert len(slow.trace) == 1


def test_a_veto_still_reaches_the_caller(way: Way) -> None:
    hook = deferred(Recorder("hook", pre=aspects.Veto("no")))
    before = deferred(Recorder("before"))
    with pytest.raises(aspects.Veto):
        way.call(way.driver([before, hook]), CONTEXT, "share")
    before.dispatcher.stop()
    assert methods_of(before.trace) == ["before.pre", "before.error"]


@pytest.mark.parametrize("kind", KINDS)
def test_periodic_methods_run_in_the_background_too(
    kind: Any, gate: threading.Event
) -> None:
    hook = deferred(
        kind("hook", enabled=["periodic"], periodic=lambda seen: gate.wait(30))
    )
    driver = aspects.weave(Driver(), [hook])
    assert aspects.tick(driver, CONTEXT, [1]) is True
    assert aspects.tick(driver, CONTEXT, [2]) is True
    gate.set()
    hook.dispatcher.stop()
    assert [(seen.kind, seen.data) for seen in hook.trace] == [
        ("periodic", [1]),
        ("periodic", [2]),
    ]


@pytest.mark.parametrize("kinds", [(), ("periodic",), ("post",), ("error", "periodic")])
def test_a_class_chooses_the_deferred_methods(kinds: tuple[str, ...]) -> None:
    class Choosy(Recorder):
        deferred_methods = kinds

    here = threading.current_thread()
    inline: list[str] = []

    def note(seen: HookCall) -> None:
        if threading.current_thread() is here:
            inline.append(seen.kind)

    every = ("pre", "post", "error", "periodic")
    answers: dict[str, Any] = dict.fromkeys(every, note)
    hook = deferred(Choosy("hook", enabled=every, **answers))
    aspects.weave(Driver(), [hook]).create_share(CONTEXT, "share")
    with pytest.raises(RuntimeError):
        aspects.weave(Driver(fails), [hook]).create_share(CONTEXT, "share")
    aspects.tick(aspects.weave(Driver(), [hook]), CONTEXT, [])
    hook.dispatcher.stop()
    assert set(inline) == set(every) - set(kinds)
    assert {seen.kind for seen in hook.trace} == set(every)


WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who")


def test_a_deferred_method_has_the_context_variables_of_its_caller() -> None:
    seen: list[str] = []
    hook = deferred(
        Recorder("hook", enabled=["post"], post=lambda _: seen.append(WHO.get("?")))
    )
    driver = aspects.weave(Driver(), [hook])
    for who in ("ann", "bob"):

        def call(who: str = who) -> None:
            WHO.set(who)
            driver.create_share(CONTEXT, "share")

        contextvars.copy_context().run(call)
    driver.create_share(CONTEXT, "share")
    hook.dispatcher.stop()
    assert seen == ["ann", "bob", "?"]


def test_calls_of_many_threads_keep_the_order_within_each_thread() -> None:
    hook = deferred(Recorder("hook", enabled=["post"]), size=7, timeout=30)
    driver = aspects.weave(Driver(), [hook])
    together = threading.Barrier(8)

    def calls(name: int) -> None:
        together.wait(10)
        for number in range(40):
            driver.create_share(CONTEXT, (name, number))

    threads = [threading.Thread(target=calls, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    hook.dispatcher.stop()
    done = [seen.args[0] for seen in hook.trace]
    assert len(done) == 8 * 40
    for name in range(8):
        assert [n for thread, n in done if thread == name] == list(range(40))
    assert hook.dispatcher.dropped == 0

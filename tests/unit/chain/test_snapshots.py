# SPDX-License-Identifier: Apache-2.0
"""A call enters a snapshot and leaves it; hooks stop when no snapshot uses them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import aspects
from tests.support.drivers import CoroutineDriver, Driver
from tests.support.wait import wait_for, wait_for_stops

from .common import CONTEXT


class Living(aspects.HookBase):
    """Records its starts, stops and hook methods."""

    def __init__(self, name: str = "hook") -> None:
        super().__init__(None, "node@alpha")
        self.instance_name = name
        self.seen: list[Any] = []
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.suppress_pre_hooks_errors = self.suppress_post_hooks_errors = True

    def start(self) -> None:
        self.seen.append("start")

    def stop(self) -> None:
        self.seen.append("stop")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.seen.append("pre")

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self.seen.append("post")

    def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
        self.seen.append("error")

    def _execute_periodic_hook(self, context, data, *args, **kwargs):
        self.seen.append("periodic")


class Gate:
    """A driver body in which each call waits."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, *args: Any) -> str:
        self.inside.release()
        assert self.open.wait(30)
        return "result"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def in_a_call(woven: Any, gate: Gate) -> threading.Thread:
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, "share"))
    caller.start()
    assert gate.inside.acquire(timeout=30)
    return caller


def started(driver: Any, *hooks: Any) -> Any:
    woven = aspects.weave(driver, hooks, "alpha")
    aspects.weaving(woven).start()
    return woven


def replace(woven: Any, *hooks: Any) -> None:
    aspects.weaving(woven).replace(hooks, lambda: None)


def test_a_removed_hook_stops_after_the_last_call_that_uses_it(
    gate: Gate,
) -> None:
    hook = Living()
    woven = started(Driver(gate), hook)
    caller = in_a_call(woven, gate)
    replace(woven)
    assert hook.seen == ["start", "pre"]
    gate.open.set()
    caller.join(30)
    wait_for_stops()
    assert hook.seen == ["start", "pre", "post", "stop"]


def test_a_hook_that_comes_back_during_its_last_call_is_not_stopped(
    gate: Gate,
) -> None:
    hook = Living()
    woven = started(Driver(gate), hook)
    caller = in_a_call(woven, gate)
    replace(woven)
    replace(woven, hook)
    gate.open.set()
    caller.join(30)
    wait_for_stops()
    woven.create_share(CONTEXT, "share")
    assert hook.seen == ["start", *["pre", "post"] * 2]


def test_a_hook_that_comes_back_after_its_stop_is_started_again() -> None:
    hook = Living()
    woven = started(Driver(), hook)
    replace(woven)
    wait_for_stops()
    replace(woven, hook)
    assert hook.seen == ["start", "stop", "start"]


def test_a_hook_is_not_put_back_while_it_stops() -> None:
    stopping, proceed = threading.Event(), threading.Event()

    class Slow(Living):
        def stop(self) -> None:
            stopping.set()
            assert proceed.wait(30)
            super().stop()

    hook = Slow()
    woven = started(Driver(), hook)
    replace(woven)
    assert stopping.wait(30)
    back = threading.Thread(target=replace, args=(woven, hook))
    back.start()
    woven.create_share(CONTEXT, "share")
    assert hook.seen == ["start"]
    proceed.set()
    back.join(30)
    woven.create_share(CONTEXT, "share")
    assert hook.seen == ["start", "stop", "start", "pre", "post"]


def test_a_hook_in_two_chains_stops_when_it_has_left_both() -> None:
    hook = Living()
    one, two = started(Driver(), hook), started(Driver(), hook)
    replace(one)
    wait_for_stops()
    two.create_share(CONTEXT, "share")
    assert hook.seen == ["start", "pre", "post"]
    aspects.weaving(one).stop()
    assert "stop" not in hook.seen
    aspects.weaving(two).stop()
    assert hook.seen == ["start", "pre", "post", "stop"]


def test_a_kept_error_does_not_delay_the_stop_of_a_hook() -> None:
    kept: list[BaseException] = []

    class Keeping(Living):
        def _execute_pre_hook(self, context, func_name, *args, **kwargs):
            raise aspects.Veto("no")

        def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
            try:
                raise ConnectionError("the receiver is down")
            except ConnectionError as failure:
                kept.append(failure)
                raise

    for driver in (Driver(), CoroutineDriver()):
        first, hook = Keeping("first"), Keeping("second")
        first.pre_hooks_enabled = False
        woven = started(driver, first, hook)
        with pytest.raises(aspects.Veto) as raised:
            made = woven.create_share(CONTEXT, "share")
            if asyncio.iscoroutine(made):
                asyncio.run(made)
        kept.append(raised.value)
        replace(woven)
        wait_for_stops()
        assert first.seen == hook.seen == ["start", "stop"]
    assert len(kept) == 4


def test_a_coroutine_that_is_cancelled_leaves_its_snapshot() -> None:
    hook = Living()

    class Waiting:
        async def create_share(self, context: Any, share: Any) -> None:
            await asyncio.sleep(1000)

    woven = started(Waiting(), hook)

    async def main() -> None:
        task = asyncio.ensure_future(woven.create_share(CONTEXT, "share"))
        await asyncio.sleep(0)
        replace(woven)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_for_stops()
    assert hook.seen == ["start", "pre", "error", "stop"]


def test_a_coroutine_that_never_runs_holds_no_hook() -> None:
    hook = Living()
    woven = started(CoroutineDriver(), hook)
    coroutine = woven.create_share(CONTEXT, "share")
    replace(woven)
    wait_for_stops()
    assert hook.seen == ["start", "stop"]
    coroutine.close()


def test_a_tick_holds_its_hooks() -> None:
    inside, proceed = threading.Event(), threading.Event()

    class Ticking(Living):
        def _execute_periodic_hook(self, context, data, *args, **kwargs):
            inside.set()
            assert proceed.wait(30)
            self.seen.append("periodic")

    hook = Ticking()
    hook.periodic_hooks_enabled = True
    woven = started(Driver(), hook)
    ticking = threading.Thread(target=aspects.tick, args=(woven, CONTEXT, []))
    ticking.start()
    assert inside.wait(30)
    replace(woven)
    assert "stop" not in hook.seen
    proceed.set()
    ticking.join(30)
    wait_for_stops()
    assert hook.seen == ["start", "periodic", "stop"]


def test_a_reload_does_not_wait_for_a_hook_that_stops_slowly() -> None:
    proceed = threading.Event()

    class Slow(Living):
        def stop(self) -> None:
            assert proceed.wait(30)
            super().stop()

    slow, next_ = Slow("slow"), Living("next")
    woven = started(Driver(), slow)
    # Without the thread for stops, this would not return.
    replace(woven, next_)
    woven.create_share(CONTEXT, "share")
    assert next_.seen == ["start", "pre", "post"]
    proceed.set()
    wait_for_stops()
    assert slow.seen == ["start", "stop"]


def test_a_method_taken_before_a_reload_uses_the_hooks_after_it() -> None:
    old, new = Living("old"), Living("new")
    woven = started(Driver(), old)
    method = woven.create_share
    replace(woven, new)
    wait_for_stops()
    method(CONTEXT, "share")
    assert old.seen == ["start", "stop"]
    assert new.seen == ["start", "pre", "post"]


def test_no_hook_runs_after_the_end_of_its_weaving() -> None:
    hook = Living()
    woven = started(Driver(), hook)
    method = woven.create_share
    aspects.weaving(woven).stop()
    assert method(CONTEXT, "share") == woven.create_share(CONTEXT, "share") == "result"
    assert not aspects.tick(woven, CONTEXT, [])
    hook.post_hooks_enabled = False
    woven.create_share(CONTEXT, "share")
    assert hook.seen == ["start", "stop"]


def test_switches_that_two_threads_set_are_both_kept() -> None:
    hooks = [Living(str(number)) for number in range(2)]
    woven = aspects.weave(Driver(), hooks)
    lost: list[str] = []

    def switch(hook: Living) -> None:
        for number in range(300):
            hook.pre_hooks_enabled = bool(number % 2)
            hook.seen.clear()
            aspects.weaving(woven).chain.enter().leave()
            steps = aspects.weaving(woven).chain.snapshot.switches
            enabled = steps[hooks.index(hook)].pre_hooks_enabled
            if enabled is not bool(number % 2):
                lost.append(hook.instance_name)

    threads = [threading.Thread(target=switch, args=(hook,)) for hook in hooks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not lost


def test_a_call_keeps_the_switches_that_it_began_with(gate: Gate) -> None:
    hook = Living()
    woven = aspects.weave(Driver(gate), [hook])
    caller = in_a_call(woven, gate)
    hook.post_hooks_enabled = False
    gate.open.set()
    caller.join(30)
    assert hook.seen == ["pre", "post"]


def test_a_breaker_that_is_reset_during_a_call_does_not_concern_the_call(
    gate: Gate,
) -> None:
    data: list[Any] = []

    class Failing(Living):
        may_veto = False
        fails = True

        def _execute_pre_hook(self, context, func_name, *args, **kwargs):
            if self.fails:
                raise OSError("the receiver is down")
            return "pre"

        def _execute_post_hook(self, context, func_name, pre, results, *args, **kwargs):
            data.append(pre)

    hook = Failing()
    hook.hook_failure_limit = 1
    hook.dispatcher = aspects.Background("hook")
    woven = aspects.weave(Driver(gate), [hook])
    gate.open.set()
    woven.create_share(CONTEXT, "share")
    gate.open.clear()
    # This call skips the hook, so it gets no completion even after the reset.
    gate.inside.acquire(timeout=30)
    caller = in_a_call(woven, gate)
    hook.hook_failure_limit = 0
    hook.fails = False
    gate.open.set()
    caller.join(30)
    hook.dispatcher.stop()
    assert len(data) == 1
    assert isinstance(data[0], OSError)


def test_many_reloads_leave_no_thread() -> None:
    before = set(threading.enumerate())
    woven = started(Driver(), Living())
    for _ in range(50):
        replace(woven, Living())
    aspects.weaving(woven).stop()
    wait_for(lambda: set(threading.enumerate()) <= before, "no thread is left")


def test_a_stop_that_raises_does_not_keep_other_hooks_from_stopping() -> None:
    class Broken(Living):
        def stop(self) -> None:
            raise SystemExit(1)

    hooks = [Living("one"), Broken("two"), Living("three")]
    woven = started(Driver(), *hooks)
    replace(woven)
    wait_for_stops()
    assert hooks[0].seen == hooks[2].seen == ["start", "stop"]


def test_a_hook_that_cannot_start_in_a_reload_is_logged_with_its_backend(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Living):
        def start(self) -> None:
            raise OSError("port in use")

    woven = started(Driver(), Living())
    replace(woven, Failing("metrics"))
    assert "hook metrics of backend alpha: OSError: port in use" in caplog.text
    aspects.weaving(woven).stop()


def test_the_switches_of_a_reload_take_effect_together() -> None:
    one, two = Living("one"), Living("two")
    woven = started(Driver(), one, two)

    def disable_both() -> None:
        one.pre_hooks_enabled = False
        # This call has the switches of before, as the reload is not complete.
        woven.create_share(CONTEXT, "share")
        two.pre_hooks_enabled = False

    aspects.weaving(woven).replace([one, two], disable_both)
    woven.create_share(CONTEXT, "share")
    assert one.seen == two.seen == ["start", "pre", "post", "post"]

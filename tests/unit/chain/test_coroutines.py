# SPDX-License-Identifier: Apache-2.0
"""Driver methods that are coroutine functions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aspects
from tests.support.drivers import CoroutineDriver, Driver
from tests.support.hooks import (
    Recorder,
    methods_of,
)
from tests.support.ways import finish

from .common import CONTEXT, three, tracing


def test_a_coroutine_method_is_awaited_before_its_post_hooks_run(
    trace: list[Any],
) -> None:
    class Slow(Driver):
        async def create_share(self, context: Any, share: Any) -> str:  # type: ignore[override]
            trace.append("begin")
            await asyncio.sleep(0.001)
            trace.append("end")
            return "result"

    woven = aspects.weave(Slow(), three(trace))
    assert asyncio.run(woven.create_share(CONTEXT, "share")) == "result"
    assert methods_of(trace)[3:6] == ["begin", "end", "one.post"]
    assert trace[5].outcome == "result"


@pytest.mark.parametrize("own", [False, True])
def test_hooks_of_a_cancelled_coroutine_get_their_error_method(
    trace: list[Any], own: bool
) -> None:
    class Hanging:
        def __init__(self, hooks: Any) -> None:
            self.hooks = hooks

        async def create_share(self, context: Any, share: Any) -> None:
            await asyncio.sleep(60)

    async def main() -> None:
        hooks = three(trace)
        if own:
            Own = type(
                "Own",
                (Hanging,),
                {"create_share": aspects.add_hooks(Hanging.create_share)},
            )
            driver = Own(hooks)
        else:
            driver = aspects.weave(Hanging(()), hooks)
        task = asyncio.ensure_future(driver.create_share(CONTEXT, "share"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()  # codespell:ignore cancelled

    asyncio.run(main())
    assert methods_of(trace)[3:] == ["three.error", "two.error", "one.error"]
    assert all(isinstance(e.outcome, asyncio.CancelledError) for e in trace[3:])


def test_hooks_of_a_closed_coroutine_get_their_error_method(trace: list[Any]) -> None:
    coroutine = aspects.weave(CoroutineDriver(), three(trace)).create_share(CONTEXT, 1)
    coroutine.send(None)
    coroutine.close()
    assert methods_of(trace)[3:] == ["three.error", "two.error", "one.error"]


def test_no_hook_runs_for_a_coroutine_that_is_never_awaited(trace: list[Any]) -> None:
    woven = aspects.weave(CoroutineDriver(), three(trace))
    woven.create_share(CONTEXT, "share").close()
    assert trace == []


def test_a_vetoed_coroutine_method_is_not_called(trace: list[Any]) -> None:
    woven = aspects.weave(
        CoroutineDriver(tracing(trace)), three(trace, pre=aspects.Veto("no"))
    )
    with pytest.raises(aspects.Veto):
        asyncio.run(woven.create_share(CONTEXT, "share"))
    assert methods_of(trace) == ["one.pre", "two.pre", "one.error"]


def test_calls_of_a_coroutine_method_do_not_mix() -> None:
    hook = Recorder(pre=lambda seen: seen.args)

    class Slow:
        async def create_share(self, context: Any, share: int) -> int:
            await asyncio.sleep(0.001 * (5 - share))
            return share

    async def main() -> list[int]:
        woven = aspects.weave(Slow(), [hook])
        return list(
            await asyncio.gather(*(woven.create_share(CONTEXT, i) for i in range(5)))
        )

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    completions = [seen for seen in hook.trace if seen.kind == "post"]
    assert len(completions) == 5
    assert all(seen.data == seen.args == (seen.outcome,) for seen in completions)


def test_a_coroutine_call_keeps_its_operation_when_the_driver_changes_its_rules() -> (
    None
):
    class Access:
        async def update_access(
            self,
            context: Any,
            share: Any,
            rules: Any,
            add_rules: Any,
            delete_rules: Any,
        ) -> None:
            add_rules.clear()

    hook = Recorder()
    woven = aspects.weave(Access(), [hook])
    finish(woven.update_access(CONTEXT, "share", [], ["rule"], []))
    assert [seen.func_name for seen in hook.trace] == ["allow_access"] * 2


class AsyncCallable:
    async def __call__(self, context: Any, share: Any) -> str:
        await asyncio.sleep(0)
        return "result"


def test_a_callable_object_that_is_a_coroutine_method_is_awaited_too() -> None:
    driver, hook = Driver(), Recorder()
    driver.create_share = AsyncCallable()  # type: ignore[method-assign]
    woven = aspects.weave(driver, [hook])
    assert finish(woven.create_share(CONTEXT, "share")) == "result"
    assert [seen.outcome for seen in hook.trace] == [None, "result"]

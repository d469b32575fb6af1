# SPDX-License-Identifier: Apache-2.0
"""Pre hooks, the driver, post hooks: order, arguments and results."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    HookCall,
    Recorder,
    methods_of,
)
from tests.support.ways import Way

from .common import CONTEXT, three, tracing


def test_pre_hooks_the_driver_and_post_hooks_run_in_configured_order(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver(three(trace), tracing(trace))
    assert way.call(driver, CONTEXT, "share") == "result"
    assert methods_of(trace) == [
        "one.pre",
        "two.pre",
        "three.pre",
        "driver",
        "one.post",
        "two.post",
        "three.post",
    ]


def test_a_pre_hooks_return_value_is_its_pre_hook_data(
    way: Way, trace: list[Any]
) -> None:
    way.call(way.driver(three(trace)), CONTEXT, "share")
    data = {seen.hook: seen.data for seen in trace if seen.kind == "post"}
    assert data == {hook: f"data of {hook}" for hook in ("one", "two", "three")}


@pytest.mark.parametrize("hooks", [0, 1, 2])
def test_the_driver_method_runs_with_exactly_the_callers_arguments(
    woven_way: Way, hooks: int
) -> None:
    driver = Driver()
    driver.create_share = (  # type: ignore[method-assign]
        mock.AsyncMock() if woven_way.coroutine else mock.Mock()
    )
    method = driver.create_share
    woven = aspects.weave(driver, [Recorder() for _ in range(hooks)])
    share, rules = {"id": 1}, ["rule"]
    woven_way.call(woven, CONTEXT, share, rules, share_server=None, context_of="x")
    method.assert_called_once_with(
        CONTEXT, share, rules, share_server=None, context_of="x"
    )
    args, kwargs = method.call_args
    assert args[1] is share
    assert args[2] is rules
    assert list(kwargs) == ["share_server", "context_of"]


def test_the_caller_gets_the_drivers_result(way: Way) -> None:
    result = object()
    driver = way.driver([Recorder()], lambda *args, **kwargs: result)
    assert way.call(driver, CONTEXT, "share") is result


def test_each_post_hook_gets_the_result_with_the_changes_of_earlier_hooks(
    way: Way, trace: list[Any]
) -> None:
    hooks = three(trace, post=aspects.UpdatedResults("updated"))
    assert way.call(way.driver(hooks), CONTEXT, "share") == "updated"
    results = [seen.outcome for seen in trace if seen.kind == "post"]
    assert results == ["result", "result", "updated"]


@pytest.mark.parametrize("value", [None, 0, "", [], RuntimeError("a value")])
def test_updated_results_may_hold_anything(way: Way, value: Any) -> None:
    hook = Recorder(post=aspects.UpdatedResults(value))
    assert way.call(way.driver([hook]), CONTEXT, "share") is value


def test_the_last_of_several_updates_reaches_the_caller(way: Way) -> None:
    hooks = [Recorder(post=aspects.UpdatedResults(n)) for n in range(3)]
    assert way.call(way.driver(hooks), CONTEXT, "share") == 2


@pytest.mark.parametrize(
    "value", [None, False, "other", {"results": 1}, RuntimeError("returned")]
)
def test_any_other_return_value_of_a_post_hook_changes_nothing(
    way: Way, trace: list[Any], value: Any
) -> None:
    hooks = three(trace, post=lambda seen: value)
    assert way.call(way.driver(hooks), CONTEXT, "share") == "result"
    assert trace[-1].outcome == "result"


def test_a_pre_hook_cannot_update_the_result(way: Way) -> None:
    hook = Recorder(pre=aspects.UpdatedResults("too early"))
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


def test_a_chain_may_be_empty(way: Way) -> None:
    assert way.call(way.driver([]), CONTEXT, "share") == "result"


def test_a_hook_may_be_in_a_chain_twice(way: Way, trace: list[Any]) -> None:
    hook = Recorder("it", trace)
    way.call(way.driver([hook, hook]), CONTEXT, "share")
    assert methods_of(trace) == ["it.pre", "it.pre", "it.post", "it.post"]


def test_hooks_get_the_callers_arguments_without_the_context(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver([Recorder("hook", trace)])
    way.call(driver, CONTEXT, "share", "server", more=1)
    way.call(driver, CONTEXT, "share", share_server="server")
    way.call(driver, context=CONTEXT, share="share")
    assert [(seen.context, seen.args, seen.kwargs) for seen in trace] == [
        (CONTEXT, ("share", "server"), {"more": 1}),
        (CONTEXT, ("share", "server"), {"more": 1}),
        (CONTEXT, ("share",), {"share_server": "server"}),
        (CONTEXT, ("share",), {"share_server": "server"}),
        (CONTEXT, (), {"share": "share"}),
        (CONTEXT, (), {"share": "share"}),
    ]


def test_the_error_method_gets_the_callers_arguments(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver([Recorder("hook", trace)], tracing([], RuntimeError()))
    with pytest.raises(RuntimeError):
        way.call(driver, CONTEXT, "share", share_server="server")
    assert trace[-1].kind == "error"
    assert trace[-1].context is CONTEXT
    assert trace[-1].args == ("share",)
    assert trace[-1].kwargs == {"share_server": "server"}


def test_a_hook_that_changes_its_kwargs_does_not_change_those_of_others(
    way: Way, trace: list[Any]
) -> None:
    def change(seen: HookCall) -> None:
        seen.kwargs.clear()

    received = []

    def body(context: Any, share: Any, share_server: Any) -> None:
        received.append(share_server)

    hooks = [Recorder("one", trace, pre=change), Recorder("two", trace)]
    way.call(way.driver(hooks, body), CONTEXT, "share", share_server="server")
    assert received == ["server"]
    assert [seen.kwargs for seen in trace if seen.hook == "two"] == [
        {"share_server": "server"}
    ] * 2

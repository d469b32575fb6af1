# SPDX-License-Identifier: Apache-2.0
"""Every hook whose turn came gets exactly one completion."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import aspects
from tests.support.hooks import (
    NOT_SUPPRESSED,
    HookCall,
    Recorder,
    methods_of,
)
from tests.support.ways import Way

from .common import CONTEXT, three, tracing


@pytest.mark.parametrize("fails", [False, True])
def test_every_hook_whose_turn_came_before_the_driver_gets_exactly_one_completion(
    way: Way, trace: list[Any], fails: bool
) -> None:
    body = tracing(trace, RuntimeError() if fails else "result")
    try:
        way.call(way.driver(three(trace), body), CONTEXT, "share")
    except RuntimeError:
        assert fails
    completions = [seen for seen in trace[4:] if isinstance(seen, HookCall)]
    assert sorted(seen.hook for seen in completions) == ["one", "three", "two"]
    assert {seen.kind for seen in completions} == {"error" if fails else "post"}


@pytest.mark.parametrize("fails", [False, True])
def test_a_completion_has_no_pre_hook_data_if_the_pre_method_is_disabled(
    way: Way, trace: list[Any], fails: bool
) -> None:
    body = tracing(trace, RuntimeError() if fails else "result")
    hook = Recorder("hook", trace, enabled=["post"], pre="never")
    try:
        way.call(way.driver([hook], body), CONTEXT, "share")
    except RuntimeError:
        assert fails
    assert methods_of(trace) == ["driver", "hook.error" if fails else "hook.post"]
    assert trace[-1].data is None


@pytest.mark.parametrize("fails", [False, True])
def test_enable_post_hooks_switches_both_completions(
    way: Way, trace: list[Any], fails: bool
) -> None:
    body = tracing(trace, RuntimeError() if fails else "result")
    hook = Recorder("hook", trace, enabled=["pre"])
    try:
        way.call(way.driver([hook], body), CONTEXT, "share")
    except RuntimeError:
        assert fails
    assert methods_of(trace) == ["hook.pre", "driver"]


def test_a_disabled_pre_method_vetoes_nothing(way: Way, trace: list[Any]) -> None:
    hook = Recorder("hook", trace, enabled=["post"], pre=aspects.Veto())
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


def test_a_hook_with_all_methods_disabled_does_not_run(
    way: Way, trace: list[Any]
) -> None:
    hooks = three(trace, enabled=[])
    way.call(way.driver(hooks), CONTEXT, "share")
    assert methods_of(trace) == ["one.pre", "three.pre", "one.post", "three.post"]
    data = [seen.data for seen in trace if seen.kind == "post"]
    assert data == ["data of one", "data of three"]


def test_error_hooks_run_in_reverse_order_if_the_driver_raises(
    way: Way, trace: list[Any]
) -> None:
    error = RuntimeError("of the driver")
    driver = way.driver(three(trace), tracing(trace, error))
    with pytest.raises(RuntimeError) as caught:
        way.call(driver, CONTEXT, "share")
    assert methods_of(trace)[3:] == ["driver", "three.error", "two.error", "one.error"]
    assert all(seen.outcome is error for seen in trace[4:])
    assert [seen.data for seen in trace[4:]] == [
        "data of three",
        "data of two",
        "data of one",
    ]
    assert caught.value is error


def test_the_drivers_exception_reaches_the_caller_unchanged(way: Way) -> None:
    cause = KeyError("cause")
    error = RuntimeError("of the driver", 1)

    def body(*args: Any, **kwargs: Any) -> None:
        raise error from cause

    driver = way.driver([Recorder(error=RuntimeError("of the hook"))], body)
    with pytest.raises(RuntimeError) as caught:
        way.call(driver, CONTEXT, "share")
    assert caught.value is error
    assert error.args == ("of the driver", 1)
    assert error.__cause__ is cause
    assert error.__context__ is None or error.__context__ is cause
    assert "body" in {entry.name for entry in caught.traceback}


def test_an_error_hook_that_raises_is_logged_and_never_replaces_the_error(
    way: Way, trace: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("of the driver")
    hooks = three(trace, error=ValueError("of the hook"))
    with pytest.raises(RuntimeError) as caught:
        way.call(way.driver(hooks, tracing(trace, error)), CONTEXT, "share")
    assert caught.value is error
    assert methods_of(trace)[-3:] == ["three.error", "two.error", "one.error"]
    assert trace[-1].outcome is error
    (record,) = caplog.records
    assert record.levelno >= logging.WARNING
    for part in (
        *("error method of hook two", "backend alpha", "create_share_instance"),
        *("ValueError", "of the hook"),
    ):
        assert part in record.getMessage()


@pytest.mark.parametrize("end", NOT_SUPPRESSED)
def test_an_error_hook_that_ends_the_thread_does_so_after_the_other_completions(
    way: Way, trace: list[Any], end: type[BaseException]
) -> None:
    error, last = RuntimeError(), end()
    hooks = three(trace, error=last)
    with pytest.raises(end) as caught:
        driver = way.driver(hooks, tracing(trace, error))
        way.call(driver, CONTEXT, "share", share_server="server")
    assert caught.value is last
    assert methods_of(trace)[-3:] == ["three.error", "two.error", "one.error"]
    assert trace[-1] == (
        *("one", "error", CONTEXT, "create_share_instance", "data of one", error),
        *(("share",), {"share_server": "server"}),
    )


def test_the_driver_is_not_called_if_a_pre_hook_raises(
    way: Way, trace: list[Any]
) -> None:
    error = ValueError("of the hook")
    with pytest.raises(ValueError, match="of the hook") as caught:
        way.call(way.driver(three(trace, pre=error), tracing(trace)), CONTEXT, "share")
    assert caught.value is error
    # The hook that raised and the hooks after it get no completion.
    assert methods_of(trace) == ["one.pre", "two.pre", "one.error"]
    assert trace[-1].outcome is error
    assert trace[-1].data == "data of one"


def test_hooks_before_a_raising_pre_hook_get_their_error_method_in_reverse_order(
    way: Way, trace: list[Any]
) -> None:
    hooks = [*three(trace), Recorder("four", trace, pre=ValueError())]
    with pytest.raises(ValueError):  # noqa: PT011
        way.call(way.driver(hooks, tracing(trace)), CONTEXT, "share")
    assert methods_of(trace)[4:] == ["three.error", "two.error", "one.error"]


def test_hooks_after_a_raising_post_hook_get_their_error_method(
    way: Way, trace: list[Any]
) -> None:
    error = ValueError("of the hook")
    hooks = [*three(trace, post=error), Recorder("four", trace)]
    with pytest.raises(ValueError, match="of the hook") as caught:
        way.call(way.driver(hooks, tracing(trace)), CONTEXT, "share")
    assert caught.value is error
    assert methods_of(trace)[4:] == [
        "driver",
        "one.post",
        "two.post",
        "four.error",
        "three.error",
    ]
    assert trace[-1].outcome is error
    assert trace[-1].data == "data of three"

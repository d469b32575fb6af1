# SPDX-License-Identifier: Apache-2.0
"""Hooks with other base classes and other signatures."""

from __future__ import annotations

from typing import Any

import pytest

import aspects
from tests.support.hooks import (
    PlainRecorder,
    Recorder,
    UpstreamRecorder,
    methods_of,
)
from tests.support.ways import Way

from .common import CONTEXT, tracing


@pytest.mark.parametrize("kind", [PlainRecorder, UpstreamRecorder])
def test_a_hook_of_another_base_class_works_in_a_chain(
    way: Way, trace: list[Any], kind: Any
) -> None:
    hook = kind("hook", trace, pre="data", post=aspects.UpdatedResults("updated"))
    driver = way.driver([Recorder("own", trace), hook])
    assert way.call(driver, CONTEXT, "share") == "updated"
    assert methods_of(trace) == ["own.pre", "hook.pre", "own.post", "hook.post"]
    assert trace[-1].data == "data"


def test_a_hook_without_an_error_method_is_skipped_if_the_call_fails(
    way: Way, trace: list[Any]
) -> None:
    hooks = [
        Recorder("one", trace),
        UpstreamRecorder("upstream", trace),
        Recorder("three", trace),
    ]
    error = RuntimeError()
    with pytest.raises(RuntimeError) as caught:
        way.call(way.driver(hooks, tracing(trace, error)), CONTEXT, "share")
    assert caught.value is error
    assert methods_of(trace)[4:] == ["three.error", "one.error"]


class KeywordOnly(PlainRecorder):
    """A hook with keyword-only arguments, which works in Manila."""

    def _execute_pre_hook(  # type: ignore[override]
        self, *args: Any, func_name: Any, context: Any, **kwargs: Any
    ) -> Any:
        return super()._execute_pre_hook(context, func_name, *args, **kwargs)

    def _execute_post_hook(  # type: ignore[override]
        self,
        *args: Any,
        driver_action_results: Any,
        pre_hook_data: Any,
        context: Any,
        func_name: Any,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_post_hook(
            context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
        )

    def _execute_error_hook(  # type: ignore[override]
        self,
        *args: Any,
        error: BaseException,
        func_name: Any,
        pre_hook_data: Any,
        context: Any,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_error_hook(
            context, func_name, pre_hook_data, error, *args, **kwargs
        )


class Reordered(PlainRecorder):
    def _execute_pre_hook(
        self, func_name: Any, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return super()._execute_pre_hook(context, func_name, *args, **kwargs)

    def _execute_post_hook(
        self,
        driver_action_results: Any,
        func_name: Any,
        context: Any,
        pre_hook_data: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_post_hook(
            context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
        )

    def _execute_error_hook(
        self,
        error: Any,
        pre_hook_data: Any,
        func_name: Any,
        context: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_error_hook(
            context, func_name, pre_hook_data, error, *args, **kwargs
        )


class Mixed(PlainRecorder):
    """A hook with some arguments by position, in another order, the rest by keyword."""

    def _execute_pre_hook(
        self, func_name: Any, *args: Any, context: Any, **kwargs: Any
    ) -> Any:
        return super()._execute_pre_hook(context, func_name, *args, **kwargs)

    def _execute_post_hook(  # type: ignore[override]
        self,
        driver_action_results: Any,
        context: Any,
        *args: Any,
        func_name: Any,
        pre_hook_data: Any,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_post_hook(
            context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
        )

    def _execute_error_hook(  # type: ignore[override]
        self,
        error: Any,
        context: Any,
        *args: Any,
        func_name: Any,
        pre_hook_data: Any,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_error_hook(
            context, func_name, pre_hook_data, error, *args, **kwargs
        )


class Renamed(PlainRecorder):
    """A hook with other names for the arguments, which it gets by position."""

    def _execute_pre_hook(self, ctx: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        return super()._execute_pre_hook(ctx, name, *args, **kwargs)

    def _execute_post_hook(
        self, ctx: Any, name: Any, data: Any, results: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return super()._execute_post_hook(ctx, name, data, results, *args, **kwargs)

    def _execute_error_hook(
        self, ctx: Any, name: Any, data: Any, exc: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return super()._execute_error_hook(ctx, name, data, exc, *args, **kwargs)


@pytest.mark.parametrize("kind", [KeywordOnly, Reordered, Mixed, Renamed])
@pytest.mark.parametrize("fails", [False, True])
def test_a_hook_may_have_the_protocols_arguments_keyword_only_or_reordered(
    way: Way, trace: list[Any], kind: Any, fails: bool
) -> None:
    hook = kind("hook", trace, pre="data")
    outcome = RuntimeError() if fails else "result"
    driver = way.driver([hook], tracing([], outcome))
    try:
        way.call(driver, CONTEXT, "share", share_server="server")
    except RuntimeError:
        assert fails
    pre, completion = trace
    common = ("share",), {"share_server": "server"}
    assert pre == ("hook", "pre", CONTEXT, "create_share_instance", None, None, *common)
    assert completion == (
        "hook",
        "error" if fails else "post",
        CONTEXT,
        "create_share_instance",
        "data",
        outcome,
        *common,
    )


class ByKeyword(PlainRecorder):
    """A hook that gets all arguments by keyword, as Manila's decorator passes them."""

    def _execute_pre_hook(self, **kwargs: Any) -> Any:  # type: ignore[override]
        return super()._execute_pre_hook(**kwargs)

    def _execute_post_hook(self, context: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return super()._execute_post_hook(context, **kwargs)

    def _execute_error_hook(self, context: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return super()._execute_error_hook(context, **kwargs)


def test_a_hook_may_take_the_protocols_arguments_in_its_kwargs(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver([ByKeyword("hook", trace, pre="data")])
    way.call(driver, context=CONTEXT, share="share")
    assert [seen.kind for seen in trace] == ["pre", "post"]
    assert trace[1].context is CONTEXT
    assert trace[1].func_name == "create_share_instance"
    assert trace[1].data == "data"
    assert trace[1].outcome == "result"
    assert trace[1].kwargs == {"share": "share"}


class Named(PlainRecorder):
    """A hook that gets the call's arguments by name, without ``*args``."""

    def _execute_pre_hook(  # type: ignore[override]
        self, context: Any, func_name: Any, share: Any = None, **kwargs: Any
    ) -> Any:
        return super()._execute_pre_hook(context, func_name, share=share, **kwargs)

    def _execute_post_hook(  # type: ignore[override]
        self,
        context: Any,
        func_name: Any,
        driver_action_results: Any,
        pre_hook_data: Any,
        share: Any = None,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_post_hook(
            context,
            func_name,
            pre_hook_data,
            driver_action_results,
            share=share,
            **kwargs,
        )

    def _execute_error_hook(  # type: ignore[override]
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *,
        share: Any = None,
        **kwargs: Any,
    ) -> Any:
        return super()._execute_error_hook(
            context, func_name, pre_hook_data, error, share=share, **kwargs
        )


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("by", ["position", "keyword"])
def test_a_hook_may_take_the_calls_arguments_by_name(
    way: Way, trace: list[Any], by: str, fails: bool
) -> None:
    received: list[Any] = []

    def body(*args: Any) -> Any:
        received.append(args)
        if fails:
            raise RuntimeError
        return "result"

    driver = way.driver([Named("hook", trace, pre="data")], body)
    try:
        if by == "position":
            way.call(driver, CONTEXT, "share", "server")
        else:
            way.call(driver, CONTEXT, share="share", share_server="server")
    except RuntimeError:
        assert fails
    expected = {"share": "share", "share_server": "server"}
    assert [(seen.args, seen.kwargs) for seen in trace] == [((), expected)] * 2
    assert trace[1].kind == ("error" if fails else "post")
    assert trace[1].data == "data"
    assert fails or trace[1].outcome == "result"
    assert received == [(CONTEXT, "share", "server")]

# SPDX-License-Identifier: Apache-2.0
"""The context that a hook gets."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from oslo_context import context as oslo_context

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    Recorder,
    methods_of,
)
from tests.support.ways import Way

from .common import CONTEXT, three


class Contexts:
    """A driver whose methods have the context in various positions."""

    def create_share(self, context: Any, share: Any) -> None: ...

    def delete_share(self, share: Any, context: Any) -> None: ...

    def create_snapshot(self, snapshot: Any, server: Any, ctxt: Any = None) -> None: ...

    def delete_snapshot(self, snapshot: Any, *, context: Any = None) -> None: ...

    def allow_access(self, ctx: Any, *rules: Any) -> None: ...

    def deny_access(self, *rules: Any, **more: Any) -> None: ...

    def teardown_server(self, *details: Any, context: Any = None) -> None: ...

    def extend_share(self, share: Any, new_size: int) -> None: ...

    def get_share_stats(self, refresh: bool = False) -> None: ...

    @staticmethod
    def shrink_share(share: Any, context: Any) -> None: ...

    @classmethod
    def do_setup(cls, context: Any) -> None: ...


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "hook_args", "hook_kwargs"),
    [
        ("create_share", (CONTEXT, 1), {}, (1,), {}),
        ("create_share", (), {"context": CONTEXT, "share": 1}, (), {"share": 1}),
        ("create_share", (CONTEXT,), {"share": 1}, (), {"share": 1}),
        ("delete_share", (1, CONTEXT), {}, (1,), {}),
        ("delete_share", (1,), {"context": CONTEXT}, (1,), {}),
        ("create_snapshot", (1, 2, CONTEXT), {}, (1, 2), {}),
        ("create_snapshot", (1, 2), {"ctxt": CONTEXT}, (1, 2), {}),
        ("delete_snapshot", (1,), {"context": CONTEXT}, (1,), {}),
        ("allow_access", (CONTEXT, 1, 2), {}, (1, 2), {}),
        ("deny_access", (1, 2), {"context": CONTEXT}, (1, 2), {}),
        ("teardown_server", (1, 2, 3), {"context": CONTEXT}, (1, 2, 3), {}),
        ("shrink_share", (1, CONTEXT), {}, (1,), {}),
        ("do_setup", (CONTEXT,), {}, (), {}),
    ],
)
def test_the_signature_determines_the_parameter_for_the_context(
    method: str, args: Any, kwargs: Any, hook_args: Any, hook_kwargs: Any
) -> None:
    hook = Recorder()
    woven = aspects.weave(Contexts(), [hook])
    getattr(woven, method)(*args, **kwargs)
    for seen in hook.trace:
        assert seen.context is CONTEXT
        assert seen.args == hook_args
        assert seen.kwargs == hook_kwargs


def test_the_callers_keyword_arguments_are_not_changed() -> None:
    kwargs = {"context": CONTEXT, "share": 1}
    method = mock.Mock()
    driver = Driver()
    driver.create_share = method  # type: ignore[method-assign]
    aspects.weave(driver, [Recorder()]).create_share(**kwargs)
    method.assert_called_once_with(context=CONTEXT, share=1)
    assert kwargs == {"context": CONTEXT, "share": 1}


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        ("extend_share", (1, 2), {}),
        ("get_share_stats", (), {"refresh": True}),
        ("create_snapshot", (1, 2), {}),
        ("create_share", (None, 1), {}),
        ("create_share", (), {"context": None, "share": 1}),
    ],
)
def test_without_a_context_the_hook_gets_the_current_request_context(
    method: str, args: Any, kwargs: Any
) -> None:
    hook = Recorder()
    woven = aspects.weave(Contexts(), [hook])
    current = oslo_context.RequestContext(user_id="user", overwrite=True)
    getattr(woven, method)(*args, **kwargs)
    assert [seen.context for seen in hook.trace] == [current, current]
    assert hook.trace[0].context is current


def test_without_any_context_the_hook_gets_a_fresh_admin_context() -> None:
    hook = Recorder()
    woven = aspects.weave(Contexts(), [hook])
    woven.extend_share(1, 2)
    woven.create_share(None, 1)
    first, _, second, _ = (seen.context for seen in hook.trace)
    assert isinstance(first, oslo_context.RequestContext)
    assert first.is_admin
    assert second.is_admin
    assert first.request_id != second.request_id
    # The driver does not get it as the current context.
    assert oslo_context.get_current() is None


def test_a_context_of_the_call_wins_over_the_current_one() -> None:
    hook = Recorder()
    oslo_context.RequestContext(overwrite=True)
    aspects.weave(Contexts(), [hook]).create_share(CONTEXT, 1)
    assert hook.trace[0].context is CONTEXT


def test_the_driver_does_not_get_a_context_that_the_caller_omitted(
    woven_way: Way,
) -> None:
    def body(context: Any, share: Any, share_server: Any) -> Any:
        return context

    woven = woven_way.driver([Recorder()], body)
    assert woven_way.call(woven, None, "share") is None
    with pytest.raises(TypeError, match="context"):
        woven_way.call(woven, share="share")


def test_all_hooks_of_a_call_get_one_context(way: Way, trace: list[Any]) -> None:
    def body(*args: Any) -> None:
        oslo_context.RequestContext(overwrite=True)

    way.call(way.driver(three(trace), body), None, "share")
    assert len({id(seen.context) for seen in trace}) == 1


def test_the_driver_raises_the_type_error_of_a_call_with_wrong_arguments(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver([Recorder("hook", trace)])
    with pytest.raises(TypeError, match="create_share"):
        way.call(driver, CONTEXT)
    assert methods_of(trace) == ["hook.pre", "hook.error"]

# SPDX-License-Identifier: Apache-2.0
"""The way of one call, sentence by sentence, in each way to have hooks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from oslo_context import context as oslo_context

import aspects

from .fixtures_hooks.threads import in_a_thread
from .helpers import (
    NOT_SUPPRESSED,
    WAYS,
    CoroutineDriver,
    Driver,
    PlainRecorder,
    Recorder,
    Seen,
    UpstreamRecorder,
    Way,
    actions_of,
    finish,
)

CONTEXT = object()


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(
    params=[way for way in WAYS if not way.own], ids=["function", "coroutine"]
)
def woven_way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def trace() -> list[Any]:
    return []


@pytest.fixture(autouse=True)
def _no_current_context() -> Iterator[None]:
    """Leave the thread without a request context, before and after."""
    store = oslo_context._request_store
    before = vars(store).pop("context", None)
    yield
    vars(store).pop("context", None)
    if before is not None:
        store.context = before


def tracing(trace: list[Any], outcome: Any = "result") -> Callable[..., Any]:
    def body(*args: Any, **kwargs: Any) -> Any:
        trace.append("driver")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return body


def three(trace: list[Any], **answers: Any) -> list[Recorder]:
    """Return hooks one, two, three; two answers as told."""
    options = {
        key: answers.pop(key) for key in ("enabled", "suppress") if key in answers
    }
    return [
        Recorder("one", trace, pre="data of one"),
        Recorder("two", trace, **options, **{"pre": "data of two", **answers}),
        Recorder("three", trace, pre="data of three"),
    ]


# When all goes well.


def test_pre_hooks_then_the_driver_then_post_hooks_each_in_configured_order(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver(three(trace), tracing(trace))
    assert way.call(driver, CONTEXT, "share") == "result"
    assert actions_of(trace) == [
        "one.pre",
        "two.pre",
        "three.pre",
        "driver",
        "one.post",
        "two.post",
        "three.post",
    ]


def test_what_a_pre_hook_returns_is_its_pre_hook_data(
    way: Way, trace: list[Any]
) -> None:
    way.call(way.driver(three(trace)), CONTEXT, "share")
    data = {each.hook: each.data for each in trace if each.action == "post"}
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
    (given, kwargs) = method.call_args
    assert given[1] is share
    assert given[2] is rules
    assert list(kwargs) == ["share_server", "context_of"]


def test_what_the_driver_returns_is_what_the_caller_gets(way: Way) -> None:
    result = object()
    driver = way.driver([Recorder()], lambda *args, **kwargs: result)
    assert way.call(driver, CONTEXT, "share") is result


def test_each_post_hook_sees_the_result_as_the_hooks_before_it_left_it(
    way: Way, trace: list[Any]
) -> None:
    hooks = three(trace, post=aspects.UpdatedResults("updated"))
    assert way.call(way.driver(hooks), CONTEXT, "share") == "updated"
    seen = [each.outcome for each in trace if each.action == "post"]
    assert seen == ["result", "result", "updated"]


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


def test_one_hook_may_be_there_twice(way: Way, trace: list[Any]) -> None:
    hook = Recorder("it", trace)
    way.call(way.driver([hook, hook]), CONTEXT, "share")
    assert actions_of(trace) == ["it.pre", "it.pre", "it.post", "it.post"]


def test_args_and_kwargs_are_what_the_caller_passed_less_the_context(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver([Recorder("hook", trace)])
    way.call(driver, CONTEXT, "share", "server", more=1)
    way.call(driver, CONTEXT, "share", share_server="server")
    way.call(driver, context=CONTEXT, share="share")
    assert [(each.context, each.args, each.kwargs) for each in trace] == [
        (CONTEXT, ("share", "server"), {"more": 1}),
        (CONTEXT, ("share", "server"), {"more": 1}),
        (CONTEXT, ("share",), {"share_server": "server"}),
        (CONTEXT, ("share",), {"share_server": "server"}),
        (CONTEXT, (), {"share": "share"}),
        (CONTEXT, (), {"share": "share"}),
    ]


def test_the_error_action_gets_the_same_arguments(way: Way, trace: list[Any]) -> None:
    driver = way.driver([Recorder("hook", trace)], tracing([], RuntimeError()))
    with pytest.raises(RuntimeError):
        way.call(driver, CONTEXT, "share", share_server="server")
    assert trace[-1].action == "error"
    assert trace[-1].context is CONTEXT
    assert trace[-1].args == ("share",)
    assert trace[-1].kwargs == {"share_server": "server"}


def test_a_hook_that_changes_its_kwargs_changes_no_others(
    way: Way, trace: list[Any]
) -> None:
    def change(seen: Seen) -> None:
        seen.kwargs.clear()

    received = []

    def body(context: Any, share: Any, share_server: Any) -> None:
        received.append(share_server)

    hooks = [Recorder("one", trace, pre=change), Recorder("two", trace)]
    way.call(way.driver(hooks, body), CONTEXT, "share", share_server="server")
    assert received == ["server"]
    assert [each.kwargs for each in trace if each.hook == "two"] == [
        {"share_server": "server"}
    ] * 2


# The endings.


@pytest.mark.parametrize("fails", [False, True])
def test_every_hook_whose_turn_came_before_the_driver_gets_exactly_one_ending(
    way: Way, trace: list[Any], fails: bool
) -> None:
    body = tracing(trace, RuntimeError() if fails else "result")
    try:
        way.call(way.driver(three(trace), body), CONTEXT, "share")
    except RuntimeError:
        assert fails
    endings = [each for each in trace[4:] if isinstance(each, Seen)]
    assert sorted(each.hook for each in endings) == ["one", "three", "two"]
    assert {each.action for each in endings} == {"error" if fails else "post"}


@pytest.mark.parametrize("fails", [False, True])
def test_an_ending_without_its_pre_action_has_no_pre_hook_data(
    way: Way, trace: list[Any], fails: bool
) -> None:
    body = tracing(trace, RuntimeError() if fails else "result")
    hook = Recorder("hook", trace, enabled=["post"], pre="never")
    try:
        way.call(way.driver([hook], body), CONTEXT, "share")
    except RuntimeError:
        assert fails
    assert actions_of(trace) == ["driver", "hook.error" if fails else "hook.post"]
    assert trace[-1].data is None


@pytest.mark.parametrize("fails", [False, True])
def test_enable_post_hooks_switches_both_endings(
    way: Way, trace: list[Any], fails: bool
) -> None:
    body = tracing(trace, RuntimeError() if fails else "result")
    hook = Recorder("hook", trace, enabled=["pre"])
    try:
        way.call(way.driver([hook], body), CONTEXT, "share")
    except RuntimeError:
        assert fails
    assert actions_of(trace) == ["hook.pre", "driver"]


def test_a_disabled_pre_action_vetoes_nothing(way: Way, trace: list[Any]) -> None:
    hook = Recorder("hook", trace, enabled=["post"], pre=aspects.Veto())
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


def test_a_hook_that_is_off_altogether_sees_nothing(way: Way, trace: list[Any]) -> None:
    hooks = three(trace, enabled=[])
    way.call(way.driver(hooks), CONTEXT, "share")
    assert actions_of(trace) == ["one.pre", "three.pre", "one.post", "three.post"]
    data = [each.data for each in trace if each.action == "post"]
    assert data == ["data of one", "data of three"]


def test_the_driver_raises_and_error_hooks_run_in_reverse_order(
    way: Way, trace: list[Any]
) -> None:
    error = RuntimeError("of the driver")
    driver = way.driver(three(trace), tracing(trace, error))
    with pytest.raises(RuntimeError) as caught:
        way.call(driver, CONTEXT, "share")
    assert actions_of(trace)[3:] == ["driver", "three.error", "two.error", "one.error"]
    assert all(each.outcome is error for each in trace[4:])
    assert [each.data for each in trace[4:]] == [
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
    assert actions_of(trace)[-3:] == ["three.error", "two.error", "one.error"]
    assert trace[-1].outcome is error
    (record,) = caplog.records
    assert record.levelno >= logging.WARNING
    for part in (
        *("error action of hook two", "backend alpha", "create_share_instance"),
        *("ValueError", "of the hook"),
    ):
        assert part in record.getMessage()


@pytest.mark.parametrize("end", NOT_SUPPRESSED)
def test_the_end_of_a_thread_in_an_error_hook_waits_for_the_other_endings(
    way: Way, trace: list[Any], end: type[BaseException]
) -> None:
    error, ending = RuntimeError(), end()
    hooks = three(trace, error=ending)
    with pytest.raises(end) as caught:
        driver = way.driver(hooks, tracing(trace, error))
        way.call(driver, CONTEXT, "share", share_server="server")
    assert caught.value is ending
    assert actions_of(trace)[-3:] == ["three.error", "two.error", "one.error"]
    assert trace[-1] == (
        *("one", "error", CONTEXT, "create_share_instance", "data of one", error),
        *(("share",), {"share_server": "server"}),
    )


def test_a_pre_hook_raises_and_the_driver_is_not_called(
    way: Way, trace: list[Any]
) -> None:
    error = ValueError("of the hook")
    with pytest.raises(ValueError, match="of the hook") as caught:
        way.call(way.driver(three(trace, pre=error), tracing(trace)), CONTEXT, "share")
    assert caught.value is error
    # It itself and the hooks after it get nothing.
    assert actions_of(trace) == ["one.pre", "two.pre", "one.error"]
    assert trace[-1].outcome is error
    assert trace[-1].data == "data of one"


def test_hooks_before_a_raising_pre_hook_end_in_reverse_order(
    way: Way, trace: list[Any]
) -> None:
    hooks = [*three(trace), Recorder("four", trace, pre=ValueError())]
    with pytest.raises(ValueError):  # noqa: PT011
        way.call(way.driver(hooks, tracing(trace)), CONTEXT, "share")
    assert actions_of(trace)[4:] == ["three.error", "two.error", "one.error"]


def test_a_post_hook_raises_and_the_hooks_after_it_get_their_error_action(
    way: Way, trace: list[Any]
) -> None:
    error = ValueError("of the hook")
    hooks = [*three(trace, post=error), Recorder("four", trace)]
    with pytest.raises(ValueError, match="of the hook") as caught:
        way.call(way.driver(hooks, tracing(trace)), CONTEXT, "share")
    assert caught.value is error
    assert actions_of(trace)[4:] == [
        "driver",
        "one.post",
        "two.post",
        "four.error",
        "three.error",
    ]
    assert trace[-1].outcome is error
    assert trace[-1].data == "data of three"


# Suppression.


def test_a_suppressed_error_stands_in_for_pre_hook_data(
    way: Way, trace: list[Any]
) -> None:
    error = ValueError("of the hook")
    hooks = three(trace, suppress=["pre"], pre=error)
    assert way.call(way.driver(hooks, tracing(trace)), CONTEXT, "share") == "result"
    assert actions_of(trace) == [
        "one.pre",
        "two.pre",
        "three.pre",
        "driver",
        "one.post",
        "two.post",
        "three.post",
    ]
    assert [each.data for each in trace[4:]] == ["data of one", error, "data of three"]


def test_a_suppressed_error_stands_in_for_the_error_action_too(
    way: Way, trace: list[Any]
) -> None:
    error = ValueError("of the hook")
    hook = Recorder("hook", trace, suppress=["pre"], pre=error)
    with pytest.raises(RuntimeError):
        way.call(way.driver([hook], tracing(trace, RuntimeError())), CONTEXT, "share")
    assert trace[-1].action == "error"
    assert trace[-1].data is error


def test_a_suppressed_error_of_a_post_hook_changes_nothing(
    way: Way, trace: list[Any]
) -> None:
    hooks = three(trace, suppress=["post"], post=ValueError())
    assert way.call(way.driver(hooks), CONTEXT, "share") == "result"
    assert actions_of(trace)[-1] == "three.post"
    assert trace[-1].outcome == "result"


@pytest.mark.parametrize(("raising", "suppress"), [("pre", "post"), ("post", "pre")])
def test_each_action_is_suppressed_by_its_own_switch(
    way: Way, raising: str, suppress: str
) -> None:
    error = ValueError()
    hook = Recorder(suppress=[suppress, "periodic"], **{raising: error})
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        way.call(way.driver([hook]), CONTEXT, "share")
    assert caught.value is error


@pytest.mark.parametrize("action", ["pre", "post"])
def test_a_suppressed_error_is_logged_with_hook_backend_and_operation(
    way: Way, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Recorder(
        "quota of ops", suppress=[action], **{action: ValueError("no such server")}
    )
    way.call(way.driver([hook]), CONTEXT, "share")
    (record,) = caplog.records
    assert record.levelno >= logging.WARNING
    message = record.getMessage()
    for part in (
        "quota of ops",
        "alpha",
        "create_share_instance",
        f"{action} action",
        "ValueError",
        "no such server",
    ):
        assert part in message


def test_a_hook_without_a_name_is_logged_with_its_class(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Recorder("", suppress=["pre"], pre=ValueError())
    way.call(way.driver([hook]), CONTEXT, "share")
    assert "Recorder" in caplog.text


@pytest.mark.parametrize("action", ["pre", "post", "error"])
@pytest.mark.parametrize(
    "text",
    ["password=tops3cret", "{'auth_token': 'tops3cret'}", "run --password tops3cret"],
)
def test_secrets_are_masked_in_the_log(
    way: Way, action: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Recorder(suppress=["pre", "post"], **{action: ValueError(f"bad {text}")})
    body = tracing([], RuntimeError() if action == "error" else "result")
    try:
        way.call(way.driver([hook], body), CONTEXT, "share")
    except RuntimeError:
        assert action == "error"
    assert "bad" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize("action", ["pre", "post", "error"])
def test_the_token_of_the_context_is_masked_in_the_log(
    way: Way, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = in_a_thread(oslo_context.RequestContext, auth_token="tops3cret")
    error = ValueError("401 for tops3cret")
    hook = Recorder(suppress=["pre", "post"], **{action: error})
    body = tracing([], RuntimeError() if action == "error" else "result")
    with contextlib.suppress(RuntimeError):
        way.call(way.driver([hook], body), context, "share")
    assert "401 for" in caplog.text
    assert "tops3cret" not in caplog.text


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")


@pytest.mark.parametrize("action", ["pre", "post"])
def test_an_error_that_has_no_text_is_suppressed_all_the_same(
    way: Way, action: str
) -> None:
    hook = Recorder(suppress=[action], **{action: Unspeakable()})
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


def test_an_error_hook_whose_error_has_no_text_never_replaces_it(way: Way) -> None:
    hook = Recorder(error=Unspeakable())
    with pytest.raises(RuntimeError):
        way.call(way.driver([hook], tracing([], RuntimeError())), CONTEXT, "share")


class Quota(aspects.Veto):
    pass


@pytest.mark.parametrize("kind", [aspects.Veto, Quota])
def test_a_veto_of_a_pre_hook_is_never_suppressed(
    way: Way, trace: list[Any], kind: type[aspects.Veto]
) -> None:
    veto = kind("no more shares")
    hooks = three(trace, suppress=["pre", "post"], pre=veto)
    with pytest.raises(kind) as caught:
        way.call(way.driver(hooks, tracing(trace)), CONTEXT, "share")
    assert caught.value is veto
    assert actions_of(trace) == ["one.pre", "two.pre", "one.error"]


def test_a_veto_of_a_post_hook_comes_too_late_and_is_suppressed_as_any_error(
    way: Way,
) -> None:
    hook = Recorder(suppress=["post"], post=aspects.Veto())
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


@pytest.mark.parametrize("kind", NOT_SUPPRESSED)
@pytest.mark.parametrize("where", ["pre", "driver", "post"])
def test_suppression_never_catches_the_end_of_a_thread_and_error_hooks_run_for_it(
    way: Way, trace: list[Any], where: str, kind: type[BaseException]
) -> None:
    end = kind()
    answers = {} if where == "driver" else {where: end}
    hooks = three(trace, suppress=["pre", "post"], **answers)
    body = tracing(trace, end if where == "driver" else "result")
    with pytest.raises(kind) as caught:
        way.call(way.driver(hooks, body), CONTEXT, "share")
    assert caught.value is end
    errors = [each for each in trace if actions_of([each])[0].endswith(".error")]
    assert [each.hook for each in errors] == {
        "pre": ["one"],
        "driver": ["three", "two", "one"],
        "post": ["three"],
    }[where]
    assert all(each.outcome is end for each in errors)


def test_a_greenlets_exit_and_an_eventlet_timeout_are_not_suppressed(way: Way) -> None:
    eventlet = pytest.importorskip("eventlet")
    greenlet = pytest.importorskip("greenlet")
    for end in (eventlet.Timeout(), greenlet.GreenletExit()):
        hook = Recorder(suppress=["pre"], pre=end)
        with pytest.raises(type(end)):
            way.call(way.driver([hook]), CONTEXT, "share")


# The context.


class Contexts:
    """A driver whose methods have the context in various places."""

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
def test_which_parameter_is_the_context_is_read_off_the_signature(
    method: str, args: Any, kwargs: Any, hook_args: Any, hook_kwargs: Any
) -> None:
    hook = Recorder()
    woven = aspects.weave(Contexts(), [hook])
    getattr(woven, method)(*args, **kwargs)
    for seen in hook.trace:
        assert seen.context is CONTEXT
        assert seen.args == hook_args
        assert seen.kwargs == hook_kwargs


def test_the_callers_keyword_arguments_are_left_as_they_are() -> None:
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
    # Nor does it become the current one of what the driver does.
    assert oslo_context.get_current() is None


def test_a_context_of_the_call_wins_over_the_current_one() -> None:
    hook = Recorder()
    oslo_context.RequestContext(overwrite=True)
    aspects.weave(Contexts(), [hook]).create_share(CONTEXT, 1)
    assert hook.trace[0].context is CONTEXT


def test_a_missing_context_is_no_argument_of_the_driver_method(
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


def test_a_call_of_the_wrong_arguments_is_the_drivers_to_refuse(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver([Recorder("hook", trace)])
    with pytest.raises(TypeError, match="create_share"):
        way.call(driver, CONTEXT)
    assert actions_of(trace) == ["hook.pre", "hook.error"]


# Hooks of all kinds.


@pytest.mark.parametrize("kind", [PlainRecorder, UpstreamRecorder])
def test_a_hook_of_another_base_class_works_in_a_chain(
    way: Way, trace: list[Any], kind: Any
) -> None:
    hook = kind("hook", trace, pre="data", post=aspects.UpdatedResults("updated"))
    driver = way.driver([Recorder("own", trace), hook])
    assert way.call(driver, CONTEXT, "share") == "updated"
    assert actions_of(trace) == ["own.pre", "hook.pre", "own.post", "hook.post"]
    assert trace[-1].data == "data"


def test_a_hook_without_an_error_action_is_passed_over(
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
    assert actions_of(trace)[4:] == ["three.error", "one.error"]


class KeywordOnly(PlainRecorder):
    """Manila passes the protocol's arguments by keyword, so this works there."""

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
    """Some by position, in another order, the rest by keyword."""

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
    """By position, whatever they are called."""

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
    pre, ending = trace
    common = ("share",), {"share_server": "server"}
    assert pre == ("hook", "pre", CONTEXT, "create_share_instance", None, None, *common)
    assert ending == (
        "hook",
        "error" if fails else "post",
        CONTEXT,
        "create_share_instance",
        "data",
        outcome,
        *common,
    )


class ByKeyword(PlainRecorder):
    """Takes all by keyword; Manila's own decorator calls hooks that way."""

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
    assert [seen.action for seen in trace] == ["pre", "post"]
    assert trace[1].context is CONTEXT
    assert trace[1].func_name == "create_share_instance"
    assert trace[1].data == "data"
    assert trace[1].outcome == "result"
    assert trace[1].kwargs == {"share": "share"}


class Named(PlainRecorder):
    """Takes the call's arguments by name, without ``*args``."""

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
    given = {"share": "share", "share_server": "server"}
    assert [(seen.args, seen.kwargs) for seen in trace] == [((), given)] * 2
    assert trace[1].action == ("error" if fails else "post")
    assert trace[1].data == "data"
    assert fails or trace[1].outcome == "result"
    assert received == [(CONTEXT, "share", "server")]


# Switches.

KINDS = [Recorder, PlainRecorder]


@pytest.mark.parametrize("kind", KINDS)
def test_switches_take_effect_with_the_next_call(
    way: Way, trace: list[Any], kind: Any
) -> None:
    hook = kind("hook", trace, enabled=[])
    driver = way.driver([Recorder("other", [], enabled=[]), hook])

    def seen() -> list[str]:
        trace.clear()
        way.call(driver, CONTEXT, "share")
        return actions_of(trace)

    assert seen() == []
    hook.pre_hooks_enabled = True
    assert seen() == ["hook.pre"]
    hook.post_hooks_enabled = True
    assert seen() == ["hook.pre", "hook.post"]
    hook.pre_hooks_enabled = False
    assert seen() == ["hook.post"]
    hook.post_hooks_enabled = False
    assert seen() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ["pre", "post"])
def test_suppression_is_switched_with_the_next_call(
    way: Way, kind: Any, action: str
) -> None:
    hook = kind(**{action: ValueError()})
    driver = way.driver([hook])
    with pytest.raises(ValueError):  # noqa: PT011
        way.call(driver, CONTEXT, "share")
    setattr(hook, f"suppress_{action}_hooks_errors", True)
    assert way.call(driver, CONTEXT, "share") == "result"
    setattr(hook, f"suppress_{action}_hooks_errors", False)
    with pytest.raises(ValueError):  # noqa: PT011
        way.call(driver, CONTEXT, "share")


class AlwaysOn(Recorder):
    """A hook author may write a switch into the class."""

    pre_hooks_enabled = True
    post_hooks_enabled = property(  # type: ignore[assignment]
        lambda self: self.ending, lambda self, value: setattr(self, "ending", value)
    )


def test_switches_of_a_subclass_take_effect_with_the_next_call(
    way: Way, trace: list[Any]
) -> None:
    hook = AlwaysOn("hook", trace)
    driver = way.driver([hook])
    hook.pre_hooks_enabled = hook.ending = False
    way.call(driver, CONTEXT, "share")
    assert trace == []
    hook.pre_hooks_enabled = hook.ending = True
    way.call(driver, CONTEXT, "share")
    assert actions_of(trace) == ["hook.pre", "hook.post"]


def test_a_method_got_while_some_action_is_on_follows_the_switches(
    way: Way, trace: list[Any]
) -> None:
    """One got while none is on is the driver's own, as the docs say."""
    hook = Recorder("hook", trace, enabled=["post"])
    method = way.driver([hook]).create_share
    hook.pre_hooks_enabled, hook.post_hooks_enabled = True, False
    result = method(CONTEXT, "share")
    assert (finish(result) if way.coroutine else result) == "result"
    assert actions_of(trace) == ["hook.pre"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fails", [False, True])
def test_a_call_in_flight_ends_with_the_chain_it_began_with(
    way: Way, trace: list[Any], kind: Any, fails: bool
) -> None:
    on, off = kind("on", trace), kind("off", trace, enabled=[])

    def body(*args: Any, **kwargs: Any) -> str:
        on.pre_hooks_enabled = on.post_hooks_enabled = False
        off.pre_hooks_enabled = off.post_hooks_enabled = True
        if fails:
            raise RuntimeError
        return "result"

    driver = way.driver([on, off], body)
    ending = "error" if fails else "post"
    for expected in (["on.pre", f"on.{ending}"], ["off.pre", f"off.{ending}"]):
        trace.clear()
        try:
            way.call(driver, CONTEXT, "share")
        except RuntimeError:
            assert fails
        assert actions_of(trace) == expected


def test_a_hook_that_switches_itself_off_gets_its_ending(
    way: Way, trace: list[Any]
) -> None:
    hook = Recorder("once", trace)
    hook.answers["pre"] = lambda seen: setattr(hook, "post_hooks_enabled", False)
    driver = way.driver([hook])
    way.call(driver, CONTEXT, "share")
    assert actions_of(trace) == ["once.pre", "once.post"]
    way.call(driver, CONTEXT, "share")
    assert actions_of(trace) == ["once.pre", "once.post", "once.pre"]


def test_one_hook_in_two_woven_drivers_is_switched_in_both(
    woven_way: Way, trace: list[Any]
) -> None:
    hook = Recorder("hook", trace, enabled=[])
    drivers = [woven_way.driver([hook]) for _ in range(2)]
    hook.pre_hooks_enabled = True
    for driver in drivers:
        woven_way.call(driver, CONTEXT, "share")
    assert actions_of(trace) == ["hook.pre", "hook.pre"]


# Coroutines.


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
    assert actions_of(trace)[3:6] == ["begin", "end", "one.post"]
    assert trace[5].outcome == "result"


@pytest.mark.parametrize("own", [False, True])
def test_a_cancelled_coroutine_gets_its_error_endings(
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
        assert task.cancelled()

    asyncio.run(main())
    assert actions_of(trace)[3:] == ["three.error", "two.error", "one.error"]
    assert all(isinstance(e.outcome, asyncio.CancelledError) for e in trace[3:])


def test_a_closed_coroutine_gets_its_error_endings(trace: list[Any]) -> None:
    coroutine = aspects.weave(CoroutineDriver(), three(trace)).create_share(CONTEXT, 1)
    coroutine.send(None)
    coroutine.close()
    assert actions_of(trace)[3:] == ["three.error", "two.error", "one.error"]


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
    assert actions_of(trace) == ["one.pre", "two.pre", "one.error"]


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
    endings = [seen for seen in hook.trace if seen.action == "post"]
    assert len(endings) == 5
    assert all(seen.data == seen.args == (seen.outcome,) for seen in endings)


def test_a_coroutine_call_has_one_operation_whatever_becomes_of_its_rules() -> None:
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


# Threads.


def test_calls_in_many_threads_do_not_mix(woven_way: Way) -> None:
    def body(context: Any, share: Any, share_server: Any) -> Any:
        if share % 3 == 0:
            raise RuntimeError(share)
        return share

    hooks = [Recorder(str(n), pre=lambda seen: seen.args) for n in range(3)]
    woven = woven_way.driver(hooks, body)
    wrong = []
    start = threading.Barrier(8)

    def calls(n: int) -> None:
        start.wait()
        for i in range(n * 50, n * 50 + 50):
            try:
                got = woven_way.call(woven, n, i)
            except RuntimeError as error:
                got = error.args[0] if i % 3 == 0 else None
            if got != i:
                wrong.append(i)

    threads = [threading.Thread(target=calls, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for hook in hooks:
        endings = [seen for seen in hook.trace if seen.action != "pre"]
        assert len(endings) == 400
        assert len(hook.trace) == 800
        for seen in endings:
            (share,) = seen.args
            assert seen.data == (share,)
            assert seen.context == share // 50
            assert (seen.action == "error") == (share % 3 == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_switching_in_one_thread_breaks_no_call_of_another(
    woven_way: Way, kind: Any
) -> None:
    hooks = [kind(str(n), pre=lambda seen: seen.hook) for n in range(4)]
    woven = woven_way.driver(hooks)
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            for hook in hooks:
                hook.pre_hooks_enabled = not hook.pre_hooks_enabled

    switching = threading.Thread(target=switch)
    switching.start()
    try:
        for i in range(300):
            assert woven_way.call(woven, CONTEXT, i) == "result"
    finally:
        stop.set()
        switching.join()
    for hook in hooks:
        began = {seen.args for seen in hook.trace if seen.action == "pre"}
        endings = [seen for seen in hook.trace if seen.action == "post"]
        assert [seen.args for seen in endings] == [(i,) for i in range(300)]
        for seen in endings:
            assert seen.data == (hook.instance_name if seen.args in began else None)


# What a call leaves behind.


@pytest.fixture
def _no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Data:
    """What a pre hook returns, and what a weak reference can be made to."""


class Fault(Exception):
    pass


#: Where the error is, and whether it is suppressed.
FAULTS = [
    ("nowhere", False),
    ("pre", True),
    ("pre", False),
    ("post", True),
    ("post", False),
    ("driver", False),
    ("error", False),
]


@pytest.mark.usefixtures("_no_gc")
@pytest.mark.parametrize(("where", "suppress"), FAULTS)
def test_a_call_keeps_nothing_alive(
    way: Way, where: str, suppress: bool, caplog: pytest.LogCaptureFixture
) -> None:
    references: list[weakref.ref[Any]] = []

    def new(kind: Any) -> Any:
        made = kind()
        references.append(weakref.ref(made))
        return made

    class Hook(PlainRecorder):
        def _seen(self, action: str, *given: Any) -> Any:
            if action == where and self.instance_name == "two":
                raise new(Fault)
            return new(Data)

    def body(*args: Any, **kwargs: Any) -> Any:
        if where in ("driver", "error"):
            raise new(Fault)
        return new(Data)

    def call() -> None:
        switches = ["pre", "post"] if suppress else []
        hooks = [Hook(name, suppress=switches) for name in ("one", "two", "three")]
        driver = way.driver(hooks, body)
        references.append(
            weakref.ref(aspects.unweave(driver) if not way.own else driver)
        )
        references.extend(weakref.ref(hook) for hook in hooks)
        try:
            way.call(driver, new(Data), new(Data))
        except Fault:
            assert not suppress

    with caplog.at_level(logging.CRITICAL):
        call()
    assert len(references) > 6
    assert [each() for each in references if each() is not None] == []


class Returns(aspects.HookBase):
    """Makes of its suppressed error the result."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):  # type: ignore
        raise Fault

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):  # type: ignore
        return aspects.UpdatedResults(data)

    def _execute_periodic_hook(self, context, periodic_hook_data, **kwargs):  # type: ignore
        """Nothing to do."""


@pytest.mark.usefixtures("_no_gc")
def test_an_error_that_a_hook_makes_the_result_keeps_nothing_alive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    hook = Returns(None, None)
    hook.pre_hooks_enabled = hook.post_hooks_enabled = True
    hook.suppress_pre_hooks_errors = True
    driver = aspects.weave(Driver(), [hook])
    # Its frames know of this one, which is to keep nothing either.
    driver.create_share(CONTEXT, "share")
    references = [weakref.ref(hook), weakref.ref(driver)]
    del hook, driver
    assert [each() for each in references if each() is not None] == []


@pytest.mark.usefixtures("_no_gc")
def test_a_hook_of_ours_dies_with_its_last_woven_driver(way: Way) -> None:
    hook = Recorder()
    driver = way.driver([hook])
    way.call(driver, CONTEXT, "share")
    references = [weakref.ref(hook), weakref.ref(driver)]
    hook.trace.clear()
    del hook, driver
    assert [each() for each in references if each() is not None] == []


def test_a_hook_outlives_its_woven_driver_and_can_still_be_switched(way: Way) -> None:
    hook = Recorder()
    way.call(way.driver([hook]), CONTEXT, "share")
    gc.collect()
    hook.pre_hooks_enabled = False
    assert not hook.pre_hooks_enabled


# The operations that a hook is for.

HOOK_KINDS = [Recorder, PlainRecorder, UpstreamRecorder]


@pytest.mark.parametrize("kind", HOOK_KINDS)
@pytest.mark.parametrize(
    ("patterns", "runs"),
    [
        (["*"], True),
        (["create_share_instance"], True),
        (("create_*", "delete_*"), True),
        (["delete_*", "create_share_instanc?"], True),
        (["[a-d]*_instance"], True),
        (["delete_*"], False),
        (["[!c]*"], False),
        # The driver's method is not the operation, and case matters.
        (["create_share"], False),
        (["CREATE_*"], False),
        # A pattern is for the whole name.
        (["share"], False),
    ],
)
def test_a_hook_runs_for_its_operations_alone(
    way: Way, trace: list[Any], kind: Any, patterns: Any, runs: bool
) -> None:
    hook = kind("hook", trace)
    hook.hook_operations = patterns
    way.call(way.driver([hook], tracing(trace)), CONTEXT, "share")
    assert actions_of(trace) == (
        ["hook.pre", "driver", "hook.post"] if runs else ["driver"]
    )


@pytest.mark.parametrize("value", [None, 5, "delete", mock.Mock()])
def test_an_attribute_of_that_name_that_is_no_list_is_something_else(
    way: Way, trace: list[Any], value: Any
) -> None:
    """As may be in a hook that was written for Manila."""
    hook = PlainRecorder("hook", trace)
    hook.hook_operations = value  # type: ignore[attr-defined]
    way.call(way.driver([hook]), CONTEXT, "share")
    assert actions_of(trace) == ["hook.pre", "hook.post"]


@pytest.mark.parametrize("action", ["pre", "post"])
def test_a_hook_without_the_switches_has_no_error_suppressed(
    way: Way, action: str
) -> None:
    hook = PlainRecorder(enabled=[action], **{action: ValueError("of the hook")})
    del hook.suppress_pre_hooks_errors, hook.suppress_post_hooks_errors
    with pytest.raises(ValueError, match="of the hook"):
        way.call(way.driver([hook]), CONTEXT, "share")


def test_each_operation_has_the_hooks_that_are_for_it(
    woven_way: Way, trace: list[Any]
) -> None:
    hooks = three(trace)
    hooks[0].hook_operations = ["create_*"]
    hooks[1].hook_operations = ["delete_*", "extend_share"]
    driver = woven_way.driver(hooks)
    calls: list[tuple[Callable[[], Any], list[str]]] = [
        (lambda: woven_way.call(driver, CONTEXT, 1), ["one", "three"]),
        (lambda: driver.delete_share(CONTEXT, 1), ["two", "three"]),
        (lambda: driver.extend_share(1, 2), ["two", "three"]),
    ]
    # Twice, as what is for an operation is remembered.
    for call, names in [*calls, *calls]:
        trace.clear()
        call()
        assert [seen.hook for seen in trace] == names * 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_hook_that_is_not_for_it_gets_no_ending_either(
    way: Way, trace: list[Any], fails: bool
) -> None:
    hooks = three(trace)
    hooks[1].hook_operations = ["delete_*"]
    driver = way.driver(hooks, tracing(trace, RuntimeError() if fails else "result"))
    try:
        way.call(driver, CONTEXT, "share")
    except RuntimeError:
        assert fails
    endings = ["three.error", "one.error"] if fails else ["one.post", "three.post"]
    assert actions_of(trace) == ["one.pre", "three.pre", "driver", *endings]


def test_a_hook_that_is_not_for_it_forbids_nothing(way: Way) -> None:
    hook = Recorder(pre=aspects.Veto("no"))
    hook.hook_operations = ["delete_*"]
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


class Access:
    """A driver whose one method is three operations, by the rules that it gets."""

    def update_access(
        self,
        context: Any,
        share: Any,
        access_rules: Any,
        add_rules: Any,
        delete_rules: Any,
    ) -> str:
        return "updated"


class CoroutineAccess(Access):
    async def update_access(  # type: ignore[override]
        self,
        context: Any,
        share: Any,
        access_rules: Any,
        add_rules: Any,
        delete_rules: Any,
    ) -> str:
        await asyncio.sleep(0)
        return "updated"


@pytest.mark.parametrize("kind", HOOK_KINDS)
@pytest.mark.parametrize("cls", [Access, CoroutineAccess])
@pytest.mark.parametrize(
    ("adds", "deletes", "operation"),
    [
        (["rule"], [], "allow_access"),
        ([], ["rule"], "deny_access"),
        (["rule"], ["rule"], "update_access"),
        ([], [], "update_access"),
    ],
)
def test_update_access_is_for_the_hooks_of_what_its_rules_make_it(
    trace: list[Any], kind: Any, cls: Any, adds: Any, deletes: Any, operation: str
) -> None:
    hooks = []
    for name in ("allow_access", "deny_access", "update_access"):
        hooks.append(kind(name, trace))
        hooks[-1].hook_operations = [name]
    woven = aspects.weave(cls(), hooks)
    names = {"add_rules": adds, "delete_rules": deletes}
    result = woven.update_access(CONTEXT, "share", access_rules=[], **names)
    assert (finish(result) if cls is CoroutineAccess else result) == "updated"
    assert actions_of(trace) == [f"{operation}.pre", f"{operation}.post"]
    assert {seen.func_name for seen in trace} == {operation}


@pytest.mark.parametrize("kind", HOOK_KINDS)
def test_the_operations_of_a_live_hook_take_effect_with_the_next_call(
    way: Way, trace: list[Any], kind: Any
) -> None:
    hook, other = kind("hook", trace), Recorder("other", trace, enabled=["pre"])
    driver = way.driver([hook, other])
    for patterns, runs in [
        (["delete_*"], False),
        (["create_*"], True),
        (["*"], True),
        (["extend_share"], False),
    ]:
        hook.hook_operations = patterns
        trace.clear()
        way.call(driver, CONTEXT, "share")
        expected = ["hook.pre", "other.pre", "hook.post"] if runs else ["other.pre"]
        assert actions_of(trace) == expected


@pytest.mark.parametrize("kind", HOOK_KINDS)
@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_call_in_flight_ends_with_the_operations_it_began_with(
    way: Way, trace: list[Any], kind: Any, runs: bool, fails: bool
) -> None:
    hook = kind("hook", trace)

    def body(*args: Any, **kwargs: Any) -> str:
        hook.hook_operations = ["delete_*" if runs else "create_*"]
        if fails:
            raise RuntimeError
        return "result"

    hook.hook_operations = ["create_*" if runs else "delete_*"]
    driver = way.driver([hook], body)
    ending = "error" if fails else "post"
    told = fails and kind is UpstreamRecorder
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        way.call(driver, CONTEXT, "share")
    expected = ["hook.pre"] if told else ["hook.pre", f"hook.{ending}"]
    assert actions_of(trace) == (expected if runs else [])


@pytest.mark.parametrize("kind", KINDS)
def test_no_call_of_another_thread_has_a_hook_that_is_not_for_it(
    woven_way: Way, kind: Any
) -> None:
    """However often the chain is made anew meanwhile."""
    wrong = kind("wrong")
    wrong.hook_operations = ["delete_*"]
    other = kind("other")
    driver = woven_way.driver([wrong, other])
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            other.pre_hooks_enabled = not other.pre_hooks_enabled

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    switching = threading.Thread(target=switch)
    switching.start()
    try:
        for number in range(1500):
            woven_way.call(driver, CONTEXT, number)
    finally:
        stop.set()
        switching.join()
        sys.setswitchinterval(before)
    assert wrong.trace == []


def test_ticks_are_not_among_the_operations(trace: list[Any]) -> None:
    hook = Recorder("hook", trace, enabled=["pre", "periodic"])
    hook.hook_operations = ["delete_*"]
    driver = aspects.weave(Driver(), [hook])
    assert aspects.tick(driver, CONTEXT, []) is True
    driver.create_share(CONTEXT, "share")
    assert actions_of(trace) == ["hook.periodic"]


# Hooks that watch others.


class Watcher(Recorder):
    """A hook around the actions of all and around the driver."""

    def wrap_action(
        self, hook: Any, kind: str, action: Callable[..., Any]
    ) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.trace.append(f"{self.instance_name}({hook.instance_name}.{kind}")
            try:
                return action(*args, **kwargs)
            finally:
                self.trace.append(")")

        return wrapped

    def wrap_driver(
        self, operation: Any, method: Callable[..., Any]
    ) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.trace.append(f"{self.instance_name}({operation}")
            try:
                return method(*args, **kwargs)
            finally:
                self.trace.append(")")

        return wrapped


@pytest.fixture(params=[way for way in WAYS if not way.coroutine], ids=lambda w: w.name)
def plain_way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", HOOK_KINDS)
def test_a_hook_may_wrap_every_action_and_the_driver(
    plain_way: Way, trace: list[Any], kind: Any
) -> None:
    hooks = [kind("one", trace), Watcher("w", trace, enabled=["post"])]
    plain_way.call(plain_way.driver(hooks, tracing(trace)), CONTEXT, "share")
    assert actions_of(trace) == [
        *("w(one.pre", "one.pre", ")"),
        *("w(create_share_instance", "driver", ")"),
        *("w(one.post", "one.post", ")"),
        # Its own too.
        *("w(w.post", "w.post", ")"),
    ]


def test_error_and_periodic_actions_are_wrapped_too(
    plain_way: Way, trace: list[Any]
) -> None:
    hooks = [Recorder("one", trace, enabled=["post", "periodic"]), Watcher("w", trace)]
    hooks[1].pre_hooks_enabled = hooks[1].post_hooks_enabled = False
    with pytest.raises(RuntimeError):
        plain_way.call(
            plain_way.driver(hooks, tracing(trace, RuntimeError())), CONTEXT, "share"
        )
    aspects.tick(aspects.weave(Driver(), hooks), CONTEXT, [])
    assert actions_of(trace) == [
        *("w(create_share_instance", "driver", ")"),
        *("w(one.error", "one.error", ")"),
        *("w(one.periodic", "one.periodic", ")"),
    ]


def test_coroutine_methods_have_their_actions_and_the_driver_wrapped(
    trace: list[Any],
) -> None:
    woven = aspects.weave(
        CoroutineDriver(tracing(trace)),
        [Recorder("one", trace), Watcher("w", trace, enabled=[])],
    )
    assert finish(woven.create_share(CONTEXT, "share")) == "result"
    told = actions_of(trace)
    assert told[:3] == ["w(one.pre", "one.pre", ")"]
    assert told[-3:] == ["w(one.post", "one.post", ")"]
    # What is wrapped makes the coroutine: it is over before that is awaited.
    assert told[3:-3] == ["w(create_share_instance", ")", "driver"]


def test_of_several_hooks_the_first_is_the_outermost_around_the_driver(
    plain_way: Way, trace: list[Any]
) -> None:
    hooks = [Watcher(name, trace, enabled=[]) for name in "ab"]
    hooks.append(Recorder("one", trace, enabled=["pre"]))  # type: ignore[arg-type]
    plain_way.call(plain_way.driver(hooks, tracing(trace)), CONTEXT, "share")
    around_driver = [
        *("a(create_share_instance", "b(create_share_instance"),
        *("driver", ")", ")"),
    ]
    told = actions_of(trace)
    assert told[5:] == around_driver
    assert sorted(told[:2]) == ["a(one.pre", "b(one.pre"]
    assert told[2:5] == ["one.pre", ")", ")"]


def test_what_is_wrapped_keeps_arguments_answers_and_errors(plain_way: Way) -> None:
    update = Recorder("one", post=aspects.UpdatedResults("new"), pre="data")
    plain = Recorder("two", pre=ValueError("no"), suppress=["pre"])
    watcher = Watcher("w", [], enabled=[])
    driver = plain_way.driver([update, plain, watcher], lambda *args, **kw: (args, kw))
    assert plain_way.call(driver, CONTEXT, 1, share_server=2, size=3) == "new"
    pre, post = update.trace
    assert (pre.args, pre.kwargs) == ((1,), {"share_server": 2, "size": 3})
    assert post[:2] == ("one", "post")
    assert post[2:5] == (CONTEXT, "create_share_instance", "data")
    assert isinstance(plain.trace[1].data, ValueError)
    assert plain.trace[1].outcome == "new"
    vetoing = Recorder("three", pre=aspects.Veto("no"))
    with pytest.raises(aspects.Veto):
        plain_way.call(plain_way.driver([vetoing, watcher]), CONTEXT, 1)


def test_what_is_wrapped_follows_the_switches(trace: list[Any]) -> None:
    made: list[tuple[str, str]] = []

    class Counting(Recorder):
        def wrap_action(self, hook: Any, kind: str, action: Any) -> Any:
            made.append((hook.instance_name, kind))
            return action

    hook = Recorder("one", trace, enabled=[])
    driver = aspects.weave(Driver(), [hook, Counting("w", [], enabled=[])])
    driver.create_share(CONTEXT, "share")
    # What is off is not there to be wrapped.
    assert made == []
    hook.pre_hooks_enabled = True
    driver.create_share(CONTEXT, "share")
    driver.create_share(CONTEXT, "share")
    assert made == [("one", "pre")]
    assert actions_of(trace) == ["one.pre"] * 2


def test_a_deferred_action_is_wrapped_where_it_runs(trace: list[Any]) -> None:
    threads: list[Any] = []

    class Thread(Recorder):
        def wrap_action(self, hook: Any, kind: str, action: Any) -> Any:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                threads.append((kind, threading.current_thread()))
                return action(*args, **kwargs)

            return wrapped

    hook = Recorder("one", trace)
    hook.dispatcher = aspects.Background("one of alpha")
    driver = aspects.weave(Driver(), [hook, Thread("w", [], enabled=[])])
    driver.create_share(CONTEXT, "share")
    hook.dispatcher.stop()
    (pre, here), (post, there) = threads
    assert (pre, post) == ("pre", "post")
    assert here is threading.current_thread() is not there


class Dispatcher:
    """Runs at once what is put, and remembers of what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def put(
        self, hook: Any, kind: str, operation: Any, action: Any, /, *a: Any, **kw: Any
    ) -> None:
        self.told.append((hook.instance_name, kind, operation))
        action(*a, **kw)

    def stop(self) -> None:
        """Nothing is left."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "deferred", [("post", "error", "periodic"), ("error",), ("periodic", "post"), ()]
)
def test_a_dispatcher_gets_the_actions_that_are_deferred(
    trace: list[Any], kind: Any, deferred: tuple[str, ...]
) -> None:
    switches = ["pre", "post", "periodic"]
    hook = kind("hook", trace, enabled=switches, pre="data")
    hook.dispatcher = dispatcher = Dispatcher()
    if len(deferred) < 3:  # else those of the base class
        hook.deferred_actions = deferred
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    woven.create_share(CONTEXT, "share", share_server="server")
    driver.body = tracing([], RuntimeError())
    with pytest.raises(RuntimeError):
        woven.delete_share(CONTEXT, "share")
    aspects.tick(woven, CONTEXT, "instances")
    assert actions_of(trace) == [
        *("hook.pre", "hook.post", "hook.pre", "hook.error", "hook.periodic"),
    ]
    assert trace[1][2:5] == (CONTEXT, "create_share_instance", "data")
    assert trace[1][5:] == ("result", ("share",), {"share_server": "server"})
    operations = {
        "post": "create_share_instance",
        "error": "delete_share_instance",
        "periodic": "periodic",
    }
    assert dispatcher.told == [
        ("hook", action, operation)
        for action, operation in operations.items()
        if action in deferred
    ]


@pytest.mark.parametrize(
    ("deferred", "dispatching", "slow"),
    [
        (("post", "error"), (), ["pre"]),
        ((), (), ["pre", "post"]),
        ((), ("post",), ["pre"]),
    ],
)
def test_what_is_not_deferred_is_timed_unless_the_hook_defers_by_itself(
    deferred: tuple[str, ...],
    dispatching: tuple[str, ...],
    slow: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = Recorder("hook")
    hook.dispatcher, hook.deferred_actions = Dispatcher(), deferred  # type: ignore[misc]
    hook.dispatching_actions = dispatching  # type: ignore[misc]
    hook.hook_slow_seconds = 1e-9
    aspects.weave(Driver(), [hook]).create_share(CONTEXT, "share")
    told = [record.getMessage().split(" ")[1] for record in caplog.records]
    assert told == slow


# Start and stop.


class Living(Recorder):
    """A hook that is told when it starts and stops."""

    def start(self) -> None:
        self._seen("start", None, None)

    def stop(self) -> None:
        self._seen("stop", None, None)


def test_hooks_start_and_stop_in_order(trace: list[Any]) -> None:
    hooks: list[Any] = [Living("one", trace), Living("two", trace, enabled=[])]
    # One without either, and one of another base class.
    about = aspects.weaving(
        aspects.weave(Driver(), [Recorder("r", trace), *hooks, PlainRecorder()])
    )
    assert trace == []
    for _ in range(2):
        about.start()
        about.stop()
    assert actions_of(trace) == ["one.start", "two.start", "two.stop", "one.stop"] * 2


@pytest.mark.parametrize("what", ["start", "stop"])
def test_a_hook_that_cannot_start_or_stop_is_one_error_and_no_hindrance(
    trace: list[Any], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = "cannot bind:\nport 80, password=tops3cret"
    wrong = Living("wrong", trace, **{what: OSError(text)})
    hooks = [Living("one", trace), wrong, Living("two", trace)]
    about = aspects.weaving(aspects.weave(Driver(), hooks, "alpha"))
    about.start()
    about.stop()
    assert actions_of(trace) == [
        *("one.start", "wrong.start", "two.start"),
        *("two.stop", "wrong.stop", "one.stop"),
    ]
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    # In one line, without the secret.
    assert record.getMessage() == (
        f"Hook wrong of backend alpha did not {what}: OSError: cannot bind: port 80, "
        "password=***"
    )
    assert record.exc_info is None


def test_a_hook_stops_after_what_is_in_its_queue(trace: list[Any]) -> None:
    hook = Living("one", trace, enabled=["post"])
    hook.dispatcher = aspects.Background("one of alpha")
    driver = aspects.weave(Driver(), [hook])
    aspects.weaving(driver).start()
    for _ in range(20):
        driver.create_share(CONTEXT, "share")
    aspects.weaving(driver).stop()
    assert actions_of(trace) == ["one.start", *["one.post"] * 20, "one.stop"]


def test_a_hook_that_was_not_started_is_not_stopped(trace: list[Any]) -> None:
    aspects.weaving(aspects.weave(Driver(), [Living("one", trace)])).stop()
    assert trace == []


def test_calls_do_not_wait_for_a_start(trace: list[Any]) -> None:
    driver = aspects.weave(Driver(), [Living("one", trace)])
    driver.create_share(CONTEXT, "share")
    aspects.weaving(driver).start()
    aspects.weaving(driver).stop()
    driver.create_share(CONTEXT, "share")
    pair = ["one.pre", "one.post"]
    assert actions_of(trace) == [*pair, "one.start", "one.stop", *pair]

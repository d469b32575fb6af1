# SPDX-License-Identifier: Apache-2.0
"""Suppressed errors, and what is never suppressed."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest
from oslo_context import context as oslo_context

import aspects
from tests.support.hooks import (
    NOT_SUPPRESSED,
    Recorder,
    methods_of,
)
from tests.support.threads import run_in_thread
from tests.support.ways import Way

from .common import CONTEXT, three, tracing


def test_a_suppressed_error_stands_in_for_pre_hook_data(
    way: Way, trace: list[Any]
) -> None:
    error = ValueError("of the hook")
    hooks = three(trace, suppress=["pre"], pre=error)
    assert way.call(way.driver(hooks, tracing(trace)), CONTEXT, "share") == "result"
    assert methods_of(trace) == [
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
    assert trace[-1].kind == "error"
    assert trace[-1].data is error


def test_a_suppressed_error_of_a_post_hook_changes_nothing(
    way: Way, trace: list[Any]
) -> None:
    hooks = three(trace, suppress=["post"], post=ValueError())
    assert way.call(way.driver(hooks), CONTEXT, "share") == "result"
    assert methods_of(trace)[-1] == "three.post"
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
        f"{action} method",
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
    context = run_in_thread(oslo_context.RequestContext, auth_token="tops3cret")
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
    assert methods_of(trace) == ["one.pre", "two.pre", "one.error"]


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
    errors = [each for each in trace if methods_of([each])[0].endswith(".error")]
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

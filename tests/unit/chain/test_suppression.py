# SPDX-License-Identifier: Apache-2.0
"""Suppressed errors, and exceptions that are never suppressed."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest
from oslo_config import cfg
from oslo_context import context as oslo_context

import aspects
from aspects import testing
from tests.support.hooks import (
    NOT_SUPPRESSED,
    Recorder,
    UnspeakableError,
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
    assert [seen.data for seen in trace[4:]] == ["data of one", error, "data of three"]


def test_a_suppressed_error_is_the_pre_hook_data_of_the_error_method_too(
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
def test_each_kind_of_method_has_its_own_suppression_switch(
    way: Way, raising: str, suppress: str
) -> None:
    error = ValueError()
    hook = Recorder(suppress=[suppress, "periodic"], **{raising: error})
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        way.call(way.driver([hook]), CONTEXT, "share")
    assert caught.value is error


@pytest.mark.parametrize("method", ["pre", "post"])
def test_a_suppressed_error_is_logged_with_hook_backend_and_operation(
    way: Way, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Recorder(
        "quota of ops", suppress=[method], **{method: ValueError("no such server")}
    )
    way.call(way.driver([hook]), CONTEXT, "share")
    (record,) = caplog.records
    assert record.levelno >= logging.WARNING
    message = record.getMessage()
    for part in (
        "quota of ops",
        "alpha",
        "create_share_instance",
        f"{method} method",
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


@pytest.mark.parametrize("method", ["pre", "post", "error"])
@pytest.mark.parametrize(
    "text",
    ["password=tops3cret", "{'auth_token': 'tops3cret'}", "run --password tops3cret"],
)
def test_secrets_are_masked_in_the_log(
    way: Way, method: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Recorder(suppress=["pre", "post"], **{method: ValueError(f"bad {text}")})
    body = tracing([], RuntimeError() if method == "error" else "result")
    try:
        way.call(way.driver([hook], body), CONTEXT, "share")
    except RuntimeError:
        assert method == "error"
    assert "bad" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize("method", ["pre", "post", "error"])
def test_the_token_of_the_context_is_masked_in_the_log(
    way: Way, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = run_in_thread(oslo_context.RequestContext, auth_token="tops3cret")
    error = ValueError("401 for tops3cret")
    hook = Recorder(suppress=["pre", "post"], **{method: error})
    body = tracing([], RuntimeError() if method == "error" else "result")
    with contextlib.suppress(RuntimeError):
        way.call(way.driver([hook], body), context, "share")
    assert "401 for" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize("method", ["post", "error"])
def test_secrets_of_the_drivers_result_are_masked_in_the_log(
    way: Way, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("401 for tops3cret")
    hooks = [Recorder("hook", suppress=["post"], **{method: error})]
    if method == "error":
        # The driver has returned, but a later hook makes the call fail.
        hooks.append(Recorder("later", post=RuntimeError()))
        hooks.reverse()
    body = tracing([], {"export": "/s1", "access_key": "tops3cret"})
    with contextlib.suppress(RuntimeError):
        way.call(way.driver(hooks, body), CONTEXT, "share")
    assert "401 for" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize("method", ["pre", "post", "error"])
def test_secrets_of_the_hooks_options_are_masked_in_the_log(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Hook(testing.Recorder):
        options = (cfg.StrOpt("api_key", secret=True),)

    switches = ("suppress_pre_hooks_errors", "suppress_post_hooks_errors")
    options = {**dict.fromkeys(switches, True), "api_key": "tops3cret"}
    hook = testing.make_hook(Hook, **options)
    hook.answer(**{method: ValueError("401 for tops3cret")})
    driver = testing.FakeDriver()
    if method == "error":
        driver.answer(create_share=RuntimeError())
    with contextlib.suppress(RuntimeError):
        aspects.weave(driver, [hook]).create_share(CONTEXT, {"id": "i1"})
    assert "401 for" in caplog.text
    assert "tops3cret" not in caplog.text


@pytest.mark.parametrize("method", ["pre", "post"])
def test_an_error_whose_str_fails_is_suppressed(way: Way, method: str) -> None:
    hook = Recorder(suppress=[method], **{method: UnspeakableError()})
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


def test_an_error_hook_whose_error_has_no_text_never_replaces_the_drivers_error(
    way: Way,
) -> None:
    hook = Recorder(error=UnspeakableError())
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


def test_a_veto_of_a_post_hook_is_suppressed_like_any_error(
    way: Way,
) -> None:
    hook = Recorder(suppress=["post"], post=aspects.Veto())
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


@pytest.mark.parametrize("kind", NOT_SUPPRESSED)
@pytest.mark.parametrize("where", ["pre", "driver", "post"])
def test_a_base_exception_is_never_suppressed_and_error_hooks_run_for_it(
    way: Way, trace: list[Any], where: str, kind: type[BaseException]
) -> None:
    end = kind()
    answers = {} if where == "driver" else {where: end}
    hooks = three(trace, suppress=["pre", "post"], **answers)
    body = tracing(trace, end if where == "driver" else "result")
    with pytest.raises(kind) as caught:
        way.call(way.driver(hooks, body), CONTEXT, "share")
    assert caught.value is end
    errors = [seen for seen in trace if methods_of([seen])[0].endswith(".error")]
    assert [seen.hook for seen in errors] == {
        "pre": ["one"],
        "driver": ["three", "two", "one"],
        "post": ["three"],
    }[where]
    assert all(seen.outcome is end for seen in errors)


def test_a_greenlets_exit_and_an_eventlet_timeout_are_not_suppressed(way: Way) -> None:
    eventlet = pytest.importorskip("eventlet")
    greenlet = pytest.importorskip("greenlet")
    for end in (eventlet.Timeout(), greenlet.GreenletExit()):
        hook = Recorder(suppress=["pre"], pre=end)
        with pytest.raises(type(end)):
            way.call(way.driver([hook]), CONTEXT, "share")


@pytest.mark.parametrize("method", ["pre", "post", "error"])
@pytest.mark.parametrize("keyword", [True, False])
def test_secrets_of_the_arguments_are_masked_in_the_log(
    way: Way, method: str, keyword: bool, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("bad key tops3cret")
    hook = Recorder(suppress=["pre", "post"], **{method: error})
    body = tracing([], RuntimeError() if method == "error" else "result")
    secret = {"access_key": "tops3cret"}
    call = ((secret,), {}) if not keyword else (("share",), {"share_server": secret})
    with contextlib.suppress(RuntimeError):
        way.call(way.driver([hook], body), CONTEXT, *call[0], **call[1])
    assert "bad key ***" in caplog.text
    assert "tops3cret" not in caplog.text

# SPDX-License-Identifier: Apache-2.0
"""Errors of hook methods in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    NOT_SUPPRESSED,
    HookCall,
    PlainRecorder,
    Recorder,
)
from tests.support.ways import Way

from .common import CONTEXT, KINDS, deferred, fails

# Detects a queue that is never drained.
pytestmark = pytest.mark.timeout(60)


def secrets_in(method: str) -> Callable[[HookCall], None]:
    """Return a method that fails, with secrets of the call in its error."""

    def answer(seen: HookCall) -> None:
        raise OSError(f"tried t0ken-Zq9 and k3y-Zq9 and p4ss-Zq9, {method}")

    return answer


class Guarded(Driver):
    def set_secrets(
        self, context: Any, share: Any, rule: Any, new_password: Any
    ) -> Any:
        return self.body(context, share, rule)


@pytest.mark.parametrize("by", ["position", "keyword"])
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *((kind, "post") for kind in KINDS),
        # Upstream's hooks have no error method.
        (Recorder, "error"),
        (PlainRecorder, "error"),
    ],
)
def test_a_background_error_is_logged_without_secrets_and_does_not_reach_the_caller(
    by: str, kind: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers: Any = {method: secrets_in(method)}
    hook = deferred(kind("quota of ops", enabled=["post"], **answers))
    body = fails if method == "error" else None
    driver = aspects.weave(
        Guarded(body), [hook], "alpha", "node1", hook_methods=["set_secrets"]
    )
    named = {"share": 1, "rule": {"access_key": "k3y-Zq9"}, "new_password": "p4ss-Zq9"}
    try:
        if by == "position":
            driver.set_secrets(CONTEXT, *named.values())
        else:
            driver.set_secrets(CONTEXT, **named)
    except RuntimeError:
        assert method == "error"
    hook.dispatcher.stop()
    (record,) = [r for r in caplog.records if r.name.startswith("aspects")]
    assert record.levelno >= logging.WARNING
    message = record.getMessage()
    for part in ("quota of ops", "alpha", "set_secrets", method, "OSError", "tried"):
        assert part in message
    assert "Zq9" not in message


def test_an_error_of_a_periodic_method_is_logged_without_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = deferred(
        Recorder("hook", enabled=["periodic"], periodic=OSError("tried t0ken-Zq9"))
    )
    assert aspects.tick(aspects.weave(Driver(), [hook], "alpha"), CONTEXT, [])
    hook.dispatcher.stop()
    assert "periodic method of hook hook of backend alpha in periodic" in caplog.text
    assert "tried ***" in caplog.text
    assert "Zq9" not in caplog.text


@pytest.mark.parametrize("kind", [ValueError, *NOT_SUPPRESSED])
def test_no_exception_ends_the_background_thread(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    threads = set()

    def answer(seen: HookCall) -> None:
        threads.add(threading.current_thread())
        if seen.args == (1,):
            raise kind("once")

    hook = deferred(Recorder("hook", enabled=["post"], post=answer))
    driver = aspects.weave(Driver(), [hook])
    for number in range(3):
        driver.create_share(CONTEXT, number)
    hook.dispatcher.stop()
    assert [seen.args for seen in hook.trace] == [(0,), (1,), (2,)]
    assert len(threads) == 1
    assert f"{kind.__name__}: once" in caplog.text


def test_updated_results_in_the_background_are_logged_and_ignored(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    after = Recorder("after")
    hook = deferred(Recorder("late", post=aspects.UpdatedResults("new")))
    assert way.call(way.driver([hook, after]), CONTEXT, "share") == "result"
    hook.dispatcher.stop()
    assert [s.outcome for s in after.trace if s.kind == "post"] == ["result"]
    (message,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert message == (
        "Hook late cannot update the results of create_share_instance: with "
        "hook_dispatch = background the caller already has them"
    )

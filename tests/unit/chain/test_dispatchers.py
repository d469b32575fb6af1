# SPDX-License-Identifier: Apache-2.0
"""Hook methods that a dispatcher defers."""

from __future__ import annotations

from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    Recorder,
    methods_of,
)

from .common import CONTEXT, KINDS, tracing


class Dispatcher:
    """Runs each method immediately, and records it."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def put(
        self, hook: Any, kind: str, operation: Any, method: Any, /, *a: Any, **kw: Any
    ) -> None:
        self.received.append((hook.instance_name, kind, operation))
        method(*a, **kw)

    def stop(self) -> None:
        """Do nothing, as the queue is always empty."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "deferred", [("post", "error", "periodic"), ("error",), ("periodic", "post"), ()]
)
def test_a_dispatcher_gets_the_deferred_methods(
    trace: list[Any], kind: Any, deferred: tuple[str, ...]
) -> None:
    switches = ["pre", "post", "periodic"]
    hook = kind("hook", trace, enabled=switches, pre="data")
    hook.dispatcher = dispatcher = Dispatcher()
    if len(deferred) < 3:  # all three are the default
        hook.deferred_methods = deferred
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    woven.create_share(CONTEXT, "share", share_server="server")
    driver.body = tracing([], RuntimeError())
    with pytest.raises(RuntimeError):
        woven.delete_share(CONTEXT, "share")
    aspects.tick(woven, CONTEXT, "instances")
    assert methods_of(trace) == [
        *("hook.pre", "hook.post", "hook.pre", "hook.error", "hook.periodic"),
    ]
    assert trace[1][2:5] == (CONTEXT, "create_share_instance", "data")
    assert trace[1][5:] == ("result", ("share",), {"share_server": "server"})
    operations = {
        "post": "create_share_instance",
        "error": "delete_share_instance",
        "periodic": "periodic",
    }
    assert dispatcher.received == [
        ("hook", method, operation)
        for method, operation in operations.items()
        if method in deferred
    ]


@pytest.mark.parametrize(
    ("deferred", "dispatching", "slow"),
    [
        (("post", "error"), (), ["pre"]),
        ((), (), ["pre", "post"]),
        ((), ("post",), ["pre"]),
    ],
)
def test_a_method_is_timed_unless_it_is_deferred_or_dispatches_itself(
    deferred: tuple[str, ...],
    dispatching: tuple[str, ...],
    slow: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = Recorder("hook")
    hook.dispatcher, hook.deferred_methods = Dispatcher(), deferred  # type: ignore[misc]
    hook.dispatching_methods = dispatching  # type: ignore[misc]
    hook.hook_slow_seconds = 1e-9
    aspects.weave(Driver(), [hook]).create_share(CONTEXT, "share")
    logged = [record.getMessage().split(" ")[1] for record in caplog.records]
    assert logged == slow

# SPDX-License-Identifier: Apache-2.0
"""Hooks that observe other hooks and the driver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import aspects
from tests.support.drivers import CoroutineDriver, Driver
from tests.support.hooks import (
    Recorder,
    actions_of,
)
from tests.support.ways import WAYS, Way, finish

from .common import CONTEXT, HOOK_KINDS, tracing


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

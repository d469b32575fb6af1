# SPDX-License-Identifier: Apache-2.0
"""Start and stop of hooks, and the lifetime of the objects in a call."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import aspects
from aspects.core import lease
from tests.support.drivers import Driver
from tests.support.hooks import (
    PlainRecorder,
    Recorder,
    methods_of,
)
from tests.support.ways import Way

from .common import CONTEXT, Living

pytestmark = pytest.mark.slow


@pytest.fixture
def _no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Data:
    """The return value of a pre hook, which can be weakly referenced."""


class FaultError(Exception):
    pass


#: The place of the error, and whether it is suppressed.
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
def test_nothing_of_a_call_stays_alive(
    way: Way, where: str, suppress: bool, caplog: pytest.LogCaptureFixture
) -> None:
    references: list[weakref.ref[Any]] = []

    def new(kind: Any) -> Any:
        made = kind()
        references.append(weakref.ref(made))
        return made

    class Hook(PlainRecorder):
        def _record(self, kind: str, *call: Any) -> Any:
            if kind == where and self.instance_name == "two":
                raise new(FaultError)
            return new(Data)

    def body(*args: Any, **kwargs: Any) -> Any:
        if where in ("driver", "error"):
            raise new(FaultError)
        return new(Data)

    def call() -> None:
        switches = ["pre", "post"] if suppress else []
        hooks = [Hook(name, suppress=switches) for name in ("one", "two", "three")]
        driver = way.driver(hooks, body)
        references.append(
            weakref.ref(aspects.unweave(driver) if not way.decorated else driver)
        )
        references.extend(weakref.ref(hook) for hook in hooks)
        try:
            way.call(driver, new(Data), new(Data))
        except FaultError:
            assert not suppress

    with caplog.at_level(logging.CRITICAL):
        call()
    assert len(references) > 6
    assert [ref() for ref in references if ref() is not None] == []


class Returns(aspects.HookBase):
    """A hook that returns its suppressed error as the result."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):  # type: ignore
        raise FaultError

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):  # type: ignore
        return aspects.UpdatedResults(data)

    def _execute_periodic_hook(self, context, periodic_hook_data, **kwargs):  # type: ignore
        """Nothing to do."""


@pytest.mark.usefixtures("_no_gc")
def test_an_error_that_a_hook_returns_as_the_result_keeps_nothing_alive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    hook = Returns(None, None)
    hook.pre_hooks_enabled = hook.post_hooks_enabled = True
    hook.suppress_pre_hooks_errors = True
    driver = aspects.weave(Driver(), [hook])
    # The error's traceback refers to this frame, so its local variables matter too.
    driver.create_share(CONTEXT, "share")
    references = [weakref.ref(hook), weakref.ref(driver)]
    del hook, driver
    # The error and a frame of its traceback refer to each other.
    gc.collect()
    assert [ref() for ref in references if ref() is not None] == []


@pytest.mark.usefixtures("_no_gc")
def test_a_hook_is_freed_with_its_last_woven_driver(way: Way) -> None:
    hook = Recorder()
    driver = way.driver([hook])
    way.call(driver, CONTEXT, "share")
    references = [weakref.ref(hook), weakref.ref(driver)]
    hook.trace.clear()
    del hook, driver
    assert [ref() for ref in references if ref() is not None] == []


def test_a_hook_outlives_its_woven_driver_and_can_still_be_switched(way: Way) -> None:
    hook = Recorder()
    way.call(way.driver([hook]), CONTEXT, "share")
    gc.collect()
    hook.pre_hooks_enabled = False
    assert not hook.pre_hooks_enabled


def test_hooks_start_in_order_before_they_stop(trace: list[Any]) -> None:
    hooks: list[Any] = [Living("one", trace), Living("two", trace, enabled=[])]
    # Recorder has neither start() nor stop(); PlainRecorder has another base class.
    weaving = aspects.weaving(
        aspects.weave(Driver(), [Recorder("r", trace), *hooks, PlainRecorder()])
    )
    assert trace == []
    for _ in range(2):
        trace.clear()
        weaving.start()
        weaving.stop()
        assert methods_of(trace)[:2] == ["one.start", "two.start"]
        assert sorted(methods_of(trace)[2:]) == ["one.stop", "two.stop"]


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_hook_that_fails_to_start_or_stop_is_logged_and_the_others_follow(
    trace: list[Any],
    verb: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "FIRST_PAUSE", 3600.0)
    text = "cannot bind:\nport 80, password=tops3cret"
    wrong = Living("wrong", trace, **{verb: OSError(text)})
    hooks = [Living("one", trace), wrong, Living("two", trace)]
    weaving = aspects.weaving(aspects.weave(Driver(), hooks, "alpha"))
    weaving.start()
    weaving.stop()
    assert methods_of(trace)[:3] == ["one.start", "wrong.start", "two.start"]
    assert sorted(methods_of(trace)[3:]) == ["one.stop", "two.stop", "wrong.stop"]
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    # The message has one line, and the secret is masked.
    assert record.getMessage() == (
        f"Failed to {verb} hook wrong of backend alpha: OSError: cannot bind: port "
        f"80, password=***{'; retrying' if verb == 'start' else ''}"
    )
    assert record.exc_info is None


class Ineffective(Living):
    """A hook that cannot have an effect."""

    def ineffective(self) -> tuple[str, str]:
        return "the hook has no effect, since it has no rule", "set a rule"


class Unsure(Living):
    """A hook that fails to find out whether it has an effect."""

    def ineffective(self) -> tuple[str, str] | None:
        raise ValueError("no such option")


def test_hooks_without_effect_are_logged_at_the_start(
    trace: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    hooks: list[Any] = [
        *(Unsure("unsure", trace), PlainRecorder()),
        *(Ineffective("guard", trace), Living("one", trace)),
    ]
    weaving = aspects.weaving(aspects.weave(Driver(), hooks, "alpha"))
    assert caplog.messages == []
    weaving.start()
    weaving.stop()
    failure, warning = caplog.messages
    assert "ineffective method of hook unsure" in failure
    assert warning == (
        "Hook guard of backend alpha: the hook has no effect, since it has no rule; "
        "set a rule"
    )


def test_a_hook_stops_after_its_queue_is_drained(trace: list[Any]) -> None:
    hook = Living("one", trace, enabled=["post"])
    hook.dispatcher = aspects.Background("one of alpha")
    driver = aspects.weave(Driver(), [hook])
    aspects.weaving(driver).start()
    for _ in range(20):
        driver.create_share(CONTEXT, "share")
    aspects.weaving(driver).stop()
    assert methods_of(trace) == ["one.start", *["one.post"] * 20, "one.stop"]


def test_a_hook_that_was_not_started_is_not_stopped(trace: list[Any]) -> None:
    aspects.weaving(aspects.weave(Driver(), [Living("one", trace)])).stop()
    assert trace == []


def test_hooks_run_before_they_are_started(trace: list[Any]) -> None:
    driver = aspects.weave(Driver(), [Living("one", trace)])
    driver.create_share(CONTEXT, "share")
    aspects.weaving(driver).start()
    aspects.weaving(driver).stop()
    driver.create_share(CONTEXT, "share")
    pair = ["one.pre", "one.post"]
    assert methods_of(trace) == [*pair, "one.start", "one.stop"]


def test_a_chain_runs_again_after_another_start(trace: list[Any]) -> None:
    driver = aspects.weave(Driver(), [Living("one", trace)])
    for _ in range(2):
        aspects.weaving(driver).start()
        driver.create_share(CONTEXT, "share")
        aspects.weaving(driver).stop()
    once = ["one.start", "one.pre", "one.post", "one.stop"]
    assert methods_of(trace) == once * 2

# SPDX-License-Identifier: Apache-2.0
"""Start, stop, and what a call leaves behind."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    PlainRecorder,
    Recorder,
    methods_of,
)
from tests.support.ways import Way

from .common import CONTEXT


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
        def _record(self, kind: str, *given: Any) -> Any:
            if kind == where and self.instance_name == "two":
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
            weakref.ref(aspects.unweave(driver) if not way.decorated else driver)
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
    # The error and the frame that it has passed refer to each other.
    gc.collect()
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


class Living(Recorder):
    """A hook that writes down when it starts and stops, too."""

    def answer(self, **answers: Any) -> None:
        self._answers.update(answers)

    def start(self) -> None:
        self.note("start")

    def stop(self) -> None:
        self.note("stop")


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
    assert methods_of(trace) == ["one.start", "two.start", "two.stop", "one.stop"] * 2


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
    assert methods_of(trace) == [
        *("one.start", "wrong.start", "two.start"),
        *("two.stop", "wrong.stop", "one.stop"),
    ]
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    # In one line, without the secret.
    assert record.getMessage() == (
        f"Failed to {what} hook wrong of backend alpha: OSError: cannot bind: port "
        "80, password=***"
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
    assert methods_of(trace) == ["one.start", *["one.post"] * 20, "one.stop"]


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
    assert methods_of(trace) == [*pair, "one.start", "one.stop"]


def test_a_chain_runs_again_after_another_start(trace: list[Any]) -> None:
    driver = aspects.weave(Driver(), [Living("one", trace)])
    for _ in range(2):
        aspects.weaving(driver).start()
        driver.create_share(CONTEXT, "share")
        aspects.weaving(driver).stop()
    once = ["one.start", "one.pre", "one.post", "one.stop"]
    assert methods_of(trace) == once * 2

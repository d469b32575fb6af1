# SPDX-License-Identifier: Apache-2.0
"""Hooks that observe the driver and other hooks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder, UpstreamRecorder
from tests.support.ways import Way

from .common import CONTEXT, HOOK_KINDS, Access


class Watcher(Recorder):
    """An observer that records the begin and the end of each run, and its error."""

    @contextlib.contextmanager
    def observe(self, observed: aspects.Observed) -> Iterator[None]:
        hook = observed.hook
        name = "driver" if hook is None else aspects.hook_name(hook)
        run = f"{self.instance_name}:{name}.{observed.kind}"
        self.trace.append(f"{run}(")
        try:
            yield
        except BaseException as error:
            self.trace.append(f"{run}){type(error).__name__}")
            raise
        else:
            self.trace.append(f"{run})")


def runs(trace: list[Any]) -> list[str]:
    return [seen for seen in trace if isinstance(seen, str)]


@pytest.mark.parametrize("kind", HOOK_KINDS)
def test_a_hook_observes_the_driver_and_the_other_hooks(
    way: Way, trace: list[Any], kind: Any
) -> None:
    hooks = [kind("one", trace), Watcher("w", trace, enabled=["post"])]
    way.call(way.driver(hooks), CONTEXT, "share")
    assert runs(trace) == [
        *("w:one.pre(", "w:one.pre)"),
        *("w:driver.driver(", "w:driver.driver)"),
        *("w:one.post(", "w:one.post)"),
    ]


def test_an_observer_receives_the_operation_and_the_arguments(way: Way) -> None:
    seen: list[aspects.Observed] = []

    class Hook(Recorder):
        def observe(self, observed: aspects.Observed) -> None:
            seen.append(observed)

    other = Recorder("other")
    driver = way.driver([Hook("w"), other])
    way.call(driver, CONTEXT, "share", share_server="server")
    assert [run.kind for run in seen] == ["pre", "driver", "post"]
    for run in seen:
        assert run.hook is (None if run.kind == "driver" else other)
        assert run.operation == "create_share_instance"
        assert run.operation.method == "create_share"
        assert run.context is CONTEXT
        assert run.args == ("share",)
        assert run.kwargs == {"share_server": "server"}


def test_the_first_of_several_observers_is_the_outermost(
    way: Way, trace: list[Any]
) -> None:
    hooks = [Watcher("a", trace), Watcher("b", trace)]
    way.call(way.driver(hooks), CONTEXT, "share")
    driver = [seen for seen in runs(trace) if "driver" in seen]
    assert driver == [
        *("a:driver.driver(", "b:driver.driver("),
        *("b:driver.driver)", "a:driver.driver)"),
    ]


def test_an_observer_sees_errors_and_the_error_methods(
    way: Way, trace: list[Any]
) -> None:
    def fail(*args: Any) -> None:
        raise OSError("the array is down")

    hooks = [Watcher("w", trace), Recorder("one", trace)]
    with pytest.raises(OSError, match="array"):
        way.call(way.driver(hooks, fail), CONTEXT, "share")
    assert runs(trace) == [
        *("w:one.pre(", "w:one.pre)"),
        *("w:driver.driver(", "w:driver.driver)OSError"),
        *("w:one.error(", "w:one.error)"),
    ]


def test_an_observer_sees_periodic_methods(trace: list[Any]) -> None:
    hooks = [
        Watcher("w", trace, enabled=["post"]),
        Recorder("one", trace, enabled=["periodic"]),
    ]
    woven = aspects.weave(Driver(), hooks, "alpha")
    assert aspects.tick(woven, CONTEXT, [])
    assert runs(trace) == ["w:one.periodic(", "w:one.periodic)"]


def test_a_disabled_hook_observes_nothing_until_it_is_enabled(
    way: Way, trace: list[Any]
) -> None:
    watcher = Watcher("w", trace, enabled=[])
    driver = way.driver([watcher, Recorder("one", trace)])
    way.call(driver, CONTEXT, "share")
    assert runs(trace) == []
    watcher.periodic_hooks_enabled = True
    way.call(driver, CONTEXT, "share")
    assert len(runs(trace)) == 6


def test_an_observer_observes_only_its_operations(trace: list[Any]) -> None:
    watcher = Watcher("w", trace)
    watcher.hook_operations = ["delete_*"]
    woven = aspects.weave(Driver(), [watcher, Recorder("one", trace)])
    woven.create_share(CONTEXT, "share")
    assert runs(trace) == []
    woven.delete_share(CONTEXT, "share")
    assert "w:driver.driver(" in runs(trace)
    assert "w:one.pre(" in runs(trace)


class Broken(Recorder):
    """An observer that fails before and after each run, and swallows its error."""

    def __init__(self, *args: Any, at: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.at = at

    def observe(self, observed: aspects.Observed) -> Any:
        if self.at == "observe":
            raise LookupError("observe is broken")
        return self

    def __enter__(self) -> None:
        if self.at == "enter":
            raise LookupError("enter is broken")

    def __exit__(self, *raised: Any) -> bool:
        if self.at == "exit":
            raise LookupError("exit is broken")
        return True


@pytest.mark.parametrize("at", ["observe", "enter", "exit", "swallow"])
@pytest.mark.parametrize("fails", [True, False])
def test_an_observer_changes_nothing(
    way: Way, trace: list[Any], at: str, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    error = OSError("the array is down")

    def body(*args: Any) -> str:
        if fails:
            raise error
        return "result"

    hooks = [Broken("broken", trace, at=at), Watcher("w", trace)]
    driver = way.driver(hooks, body)
    with caplog.at_level(logging.WARNING):
        if fails:
            with pytest.raises(OSError, match="array") as raised:
                way.call(driver, CONTEXT, "share")
            assert raised.value is error
        else:
            assert way.call(driver, CONTEXT, "share") == "result"
    # Another observer, inside or outside of it, records both the begin and the end.
    assert len([seen for seen in runs(trace) if "w:driver" in seen]) == 2
    completion = "error" if fails else "post"
    assert f"broken.{completion}" in [
        f"{seen.hook}.{seen.kind}" for seen in trace if not isinstance(seen, str)
    ]
    logged = [record.getMessage() for record in caplog.records]
    assert bool(logged) is (at != "swallow")
    assert all("observe method of hook broken" in line for line in logged)


def test_an_observer_is_around_the_run_in_the_background(trace: list[Any]) -> None:
    other = Recorder("one", trace, enabled=["post"])
    other.dispatcher = aspects.Background("one of alpha")
    woven = aspects.weave(Driver(), [Watcher("w", trace, enabled=["post"]), other])
    woven.create_share(CONTEXT, "share")
    other.dispatcher.stop()
    order = [call if isinstance(call, str) else call.hook for call in trace]
    at = order.index("w:one.post(")
    assert order[at : at + 3] == ["w:one.post(", "one", "w:one.post)"]


def test_a_hook_of_manilas_contract_observes_nothing(trace: list[Any]) -> None:
    class Hook(UpstreamRecorder):
        def observe(self, observed: Any) -> None:
            raise AssertionError("not a method of the contract")

    woven = aspects.weave(Driver(), [Hook("own", trace), Recorder("one", trace)])
    woven.create_share(CONTEXT, "share")


def test_a_hook_receives_the_hooks_of_its_chain() -> None:
    chains: list[tuple[Any, ...]] = []

    class Hook(Recorder):
        def chain_changed(self, hooks: tuple[Any, ...]) -> None:
            chains.append(hooks)

    one, two = Hook("one"), Recorder("two")
    woven = aspects.weave(Driver(), [one, two])
    assert chains == [(one, two)]
    aspects.weaving(woven).replace((one,), lambda: None)
    assert chains == [(one, two), (one,)]


def test_a_hook_with_only_its_periodic_method_enabled_observes_calls(
    way: Way, trace: list[Any]
) -> None:
    driver = way.driver([Watcher("w", trace, enabled=["periodic"])])
    way.call(driver, CONTEXT, "share")
    assert runs(trace) == ["w:driver.driver(", "w:driver.driver)"]


class Keeping(Recorder):
    """An observer that keeps each run and its outcome."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observed: list[aspects.Observed] = []
        self.ended: list[tuple[Any, ...]] = []

    def observe(self, observed: aspects.Observed) -> Any:
        self.observed.append(observed)
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *raised: Any) -> None:
        self.ended.append(raised)


@pytest.mark.parametrize("kind", HOOK_KINDS)
def test_an_observer_gets_the_hook_that_is_in_the_chain(kind: Any) -> None:
    other, keeping = kind("other"), Keeping("k")
    woven = aspects.weave(Driver(), [keeping, other], "alpha")
    woven.create_share(CONTEXT, "share")
    assert {seen.hook for seen in keeping.observed} == {other, None}


def test_an_error_method_is_observed_with_the_arguments_of_the_call() -> None:
    def fail(*args: Any) -> None:
        raise OSError("the array is down")

    keeping = Keeping("k")
    woven = aspects.weave(Driver(fail), [keeping, Recorder("one")], "alpha")
    with pytest.raises(OSError, match="array") as raised:
        woven.create_share(CONTEXT, "share", share_server="server")
    error = keeping.observed[-1]
    assert (error.kind, error.context) == ("error", CONTEXT)
    assert (error.args, error.kwargs) == (("share",), {"share_server": "server"})
    # Only the driver's run ended with an error.
    kind, value, traceback = keeping.ended[1]
    assert (kind, value) == (OSError, raised.value)
    assert traceback is not None
    assert keeping.ended[0] == keeping.ended[2] == (None, None, None)


def test_a_tick_is_observed_with_its_backend() -> None:
    keeping = Keeping("k", enabled=["post"])
    hooks = [keeping, Recorder("one", enabled=["periodic"])]
    woven = aspects.weave(Driver(), hooks, "alpha", "node@alpha")
    assert aspects.tick(woven, CONTEXT, [])
    (observed,) = keeping.observed
    assert observed.operation == "periodic"
    assert (observed.operation.backend, observed.operation.host) == (
        "alpha",
        "node@alpha",
    )
    assert (observed.context, observed.args, observed.kwargs) == (CONTEXT, (), {})


def test_an_error_of_an_observer_is_logged_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Revealing(Recorder):
        def observe(self, observed: aspects.Observed) -> None:
            raise OSError(f"cannot send {observed.args[0]['access_key']}")

    woven = aspects.weave(Driver(), [Revealing("t", enabled=["post"])], "alpha")
    with caplog.at_level(logging.WARNING):
        woven.create_share(CONTEXT, {"access_key": "tops3cret-key"})
    (record,) = caplog.records
    assert record.getMessage() == (
        "Suppressed an error of the observe method of hook t of backend alpha in "
        "create_share_instance: OSError: cannot send ***"
    )


def test_a_base_exception_of_an_observer_ends_the_call_and_other_observers(
    way: Way,
) -> None:
    class Exiting(Recorder):
        def observe(self, observed: aspects.Observed) -> None:
            if observed.kind == "driver":
                raise SystemExit(3)

    outer, inner = Keeping("outer"), Keeping("inner")
    driver = way.driver([outer, Exiting("exiting"), inner])
    with pytest.raises(SystemExit):
        way.call(driver, CONTEXT, "share")
    kinds = [seen.kind for seen in outer.observed]
    assert kinds.count("driver") == 1
    assert outer.ended[kinds.index("driver")][0] is SystemExit
    assert "driver" not in [seen.kind for seen in inner.observed]


def test_an_error_that_an_observer_reraises_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Raising(Keeping):
        def __exit__(self, *raised: Any) -> None:
            if raised[1] is not None:
                raise raised[1]

    def fail(*args: Any) -> None:
        raise OSError("the array is down")

    woven = aspects.weave(Driver(fail), [Raising("r"), Keeping("k")], "alpha")
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match="array"):
        woven.create_share(CONTEXT, "share")
    assert caplog.records == []


def test_observed_methods_get_the_keyword_arguments(way: Way, trace: list[Any]) -> None:
    received = []

    def body(context: Any, share: Any, share_server: Any = None) -> None:
        received.append({"share_server": share_server})

    other = Recorder("other", trace)
    driver = way.driver([other, Watcher("w", trace)], body)
    way.call(driver, CONTEXT, "share", share_server="server")
    calls = [seen for seen in trace if not isinstance(seen, str)]
    received += [call.kwargs for call in calls if call.hook == "other"]
    assert received == [{"share_server": "server"}] * 3


def test_an_observer_receives_the_operation_that_the_arguments_decide() -> None:
    observer = Keeping("w")
    woven = aspects.weave(Access(), [observer, Recorder("one")], "alpha")
    woven.update_access(CONTEXT, "share", ["rule"], ["rule"], [])
    assert {run.kind for run in observer.observed} == {"pre", "driver", "post"}
    assert {str(run.operation) for run in observer.observed} == {"allow_access"}


def test_the_end_of_an_outer_observer_receives_the_error_of_an_inner_one() -> None:
    error = SystemExit(3)

    class Exiting(Recorder):
        def observe(self, observed: aspects.Observed) -> None:
            if observed.kind == "driver":
                raise error

    outer = Keeping("outer", enabled=["post"])
    hooks = [outer, Exiting("exiting", enabled=["post"])]
    woven = aspects.weave(Driver(), hooks, "alpha")
    with pytest.raises(SystemExit):
        woven.create_share(CONTEXT, "share")
    kind, value, traceback = outer.ended[0]
    assert (kind, value) == (SystemExit, error)
    assert traceback is not None


def test_an_error_at_the_end_of_an_observer_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Keeping):
        def __exit__(self, *raised: Any) -> None:
            raise OSError("cannot send the span")

    woven = aspects.weave(Driver(), [Failing("w", enabled=["post"])], "alpha")
    woven.create_share(CONTEXT, "share")
    assert "OSError: cannot send the span" in caplog.text

# SPDX-License-Identifier: Apache-2.0
"""Hooks that misbehave have a defined effect."""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import aspects

CONTEXT = object()


class Driver:
    """A share driver that records its arguments."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def create_share(self, context, share, share_server=None):
        self.got.append((context, share, share_server))
        return ["export"]

    def delete_share(self, context, share):
        self.got.append((context, share))


class Hook(aspects.HookBase):
    """A hook with the functions of a test as its methods; it records its runs."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        super().__init__(None, "node1@alpha")
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.periodic_hooks_enabled = True
        self.methods = methods
        self.done: list[str] = []

    def act(self, method: str, *args: Any) -> Any:
        self.done.append(method)
        return self.methods.get(method, lambda *_: None)(*args)

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        return self.act("pre", args, kwargs)

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        return self.act("post", data, results)

    def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
        return self.act("error", data, error)

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        return self.act("periodic")


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*args: Any) -> None:
        raise error

    return act


def suppressing(hook: Hook) -> Hook:
    hook.suppress_pre_hooks_errors = True
    hook.suppress_post_hooks_errors = True
    hook.suppress_periodic_hooks_errors = True
    return hook


class Odd(BaseException):
    """A base exception that is neither an exception nor an exit."""


# Base exceptions


@pytest.mark.parametrize("error", [Odd(), SystemExit(3), KeyboardInterrupt()])
def test_a_base_exception_of_a_pre_method_is_not_suppressed(error):
    first, second = Hook(), suppressing(Hook(pre=raising(error)))
    driver = Driver()
    woven = aspects.weave(driver, [first, second, Hook()])
    with pytest.raises(type(error)) as caught:
        woven.create_share(CONTEXT, {})
    assert caught.value is error
    assert driver.got == []
    assert first.done == ["pre", "error"]


@pytest.mark.parametrize("error", [Odd(), SystemExit(3), KeyboardInterrupt()])
def test_after_a_base_exception_of_a_post_method_the_others_get_their_error_method(
    error,
):
    first, last = Hook(), Hook()
    woven = aspects.weave(
        Driver(), [first, suppressing(Hook(post=raising(error))), last]
    )
    with pytest.raises(type(error)):
        woven.create_share(CONTEXT, {})
    assert first.done == ["pre", "post"]
    assert last.done == ["pre", "error"]


@pytest.mark.parametrize("method", ["pre", "post", "error"])
def test_sys_exit_in_a_hook_ends_the_thread_after_all_completions(method):
    def leave(*args: Any) -> None:
        sys.exit("no more")

    first, leaving = Hook(), suppressing(Hook(**{method: leave}))
    woven = aspects.weave(Driver(), [first, leaving])
    if method == "error":
        woven.create_share = raising(OSError())
    with pytest.raises(SystemExit):
        woven.create_share(CONTEXT, {})
    assert first.done[-1] in ("post", "error")


def test_sys_exit_in_the_background_does_not_end_the_thread():
    hook = Hook(post=lambda *_: sys.exit(1))
    hook.dispatcher = aspects.Background("hook of alpha")
    woven = aspects.weave(Driver(), [hook])
    for _ in range(3):
        woven.create_share(CONTEXT, {})
    hook.dispatcher.stop()
    assert hook.done.count("post") == 3
    assert hook.counts()["suppressed"] == 3


# Calls within calls


def test_a_hook_may_call_the_woven_driver():
    def deleting(*args: Any) -> None:
        woven.delete_share(CONTEXT, "other")

    other = Hook()
    hook = Hook(post=lambda *_: deleting() if len(other.done) == 1 else None)
    woven = aspects.weave(Driver(), [hook, other])
    assert woven.create_share(CONTEXT, {}) == ["export"]
    # The inner call is a separate call, and runs all hook methods.
    assert other.done == ["pre", "pre", "post", "post"]


@pytest.mark.parametrize("suppressed", [False, True])
def test_a_hook_that_calls_itself_endlessly_raises_recursion_error(suppressed):
    hook = Hook(pre=lambda *_: woven.create_share(CONTEXT, {}))
    hook.suppress_pre_hooks_errors = suppressed
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(250)
    try:
        if suppressed:
            assert woven.create_share(CONTEXT, {}) == ["export"]
        else:
            with pytest.raises(RecursionError):
                woven.create_share(CONTEXT, {})
    finally:
        sys.setrecursionlimit(limit)
    # The next call is not affected.
    hook.methods = {}
    del hook.done[:], driver.got[:]
    woven.create_share(CONTEXT, {})
    assert hook.done == ["pre", "post"]
    assert len(driver.got) == 1


def test_a_hook_that_calls_the_unwoven_driver_runs_no_hooks():
    hook = Hook(pre=lambda *_: aspects.unweave(woven).delete_share(CONTEXT, "other"))
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    woven.create_share(CONTEXT, {})
    assert hook.done == ["pre", "post"]
    assert len(driver.got) == 2


# Arguments and answers


def test_a_hook_that_changes_its_own_kwargs_does_not_change_the_drivers():
    def meddle(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kwargs.clear()
        kwargs["share"] = "another"
        args += ("more",)

    driver, second = Driver(), Hook()
    second.methods["pre"] = lambda args, kwargs: kwargs
    woven = aspects.weave(driver, [Hook(pre=meddle), second])
    woven.create_share(CONTEXT, share="mine", share_server=None)
    assert driver.got == [(CONTEXT, "mine", None)]


def test_a_hook_that_changes_an_argument_changes_the_callers_object():
    # As in any Python call, arguments are not copied.
    def tag(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args[0]["tagged"] = True

    driver = Driver()
    share: dict[str, Any] = {}
    aspects.weave(driver, [Hook(pre=tag)]).create_share(CONTEXT, share)
    assert driver.got[0][1] is share
    assert share == {"tagged": True}


def test_a_generator_may_be_pre_hook_data():
    def generate() -> Any:
        seen.append("ran")
        yield 1

    seen: list[Any] = []
    hook = Hook(
        pre=lambda *_: generate(), post=lambda data, results: seen.append(list(data))
    )
    assert aspects.weave(Driver(), [hook]).create_share(CONTEXT, {}) == ["export"]
    assert seen == ["ran", [1]]


class Generating(Hook):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        yield "never run"


class Awaiting(Hook):
    async def _execute_post_hook(self, context, func_name, *args, **kwargs):
        await asyncio.sleep(0)


class AwaitingError(Hook):
    async def _execute_error_hook(self, context, func_name, *args, **kwargs):
        await asyncio.sleep(0)


class AwaitingInTurn(Hook):
    async def _execute_periodic_hook(self, context, periodic_hook_data, **kwargs):
        yield await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("cls", "method"),
    [
        (Generating, "_execute_pre_hook"),
        (AwaitingInTurn, "_execute_periodic_hook"),
        (Awaiting, "_execute_post_hook"),
        (AwaitingError, "_execute_error_hook"),
    ],
)
def test_a_hook_with_a_method_that_would_never_run_is_rejected(cls, method):
    with pytest.raises(TypeError, match=f"{method} would never run"):
        aspects.weave(Driver(), [cls()])


def test_a_result_may_be_anything():
    lock = threading.Lock()
    hook = Hook(post=lambda *_: aspects.UpdatedResults(lock))
    result = aspects.weave(Driver(), [hook]).create_share(CONTEXT, {})
    assert result is lock
    with pytest.raises(TypeError):
        pickle.dumps(result)


@pytest.mark.parametrize("garbage", [None, 0, "audit", object(), Hook, Exception()])
def test_weave_rejects_an_object_that_is_not_a_hook(garbage):
    with pytest.raises(TypeError, match="is not a hook"):
        aspects.weave(Driver(), [Hook(), garbage])


def test_an_error_whose_str_fails_is_logged(caplog):
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    hook = suppressing(Hook(pre=raising(MuteError()), post=raising(MuteError())))
    assert aspects.weave(Driver(), [hook]).create_share(CONTEXT, {}) == ["export"]
    assert caplog.text.count("MuteError: (no text)") == 2


# Locks


def test_a_hook_that_waits_holds_no_lock_that_others_need(monkeypatch):
    # stop() waits this long for the call that hangs.
    monkeypatch.setattr(sys.modules["aspects.weaving"], "DRAIN_TIMEOUT", 0.01)
    entered, free = threading.Event(), threading.Lock()

    def wait(*args: Any) -> None:
        if threading.current_thread() is first:
            entered.set()
            with free:
                pass

    hook = Hook(pre=wait)
    woven = aspects.weave(Driver(), [hook])
    with free:
        first = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
        first.start()
        assert entered.wait(10)
        # If the hook held a lock, one of these would wait forever.
        assert woven.create_share(CONTEXT, {}) == ["export"]
        woven.delete_share(CONTEXT, {})
        hook.post_hooks_enabled = False
        assert aspects.tick(woven, CONTEXT, [])
        woven.create_share = lambda context, share: "another"
        assert woven.create_share(CONTEXT, {}) == "another"
        aspects.weaving(woven).start()
        aspects.weaving(woven).stop()
    first.join(10)
    assert not first.is_alive()
    # The call that waited kept its chain, and so ran its post method.
    assert hook.done.count("post") == 3


def test_a_driver_does_not_wait_for_a_background_hook_that_needs_its_lock():
    lock = threading.Lock()

    def locked(*args: Any) -> None:
        with lock:
            pass

    hook = Hook(post=locked)
    hook.dispatcher = aspects.Background("hook of alpha")
    woven = aspects.weave(Driver(), [hook])
    with lock:
        woven.create_share(CONTEXT, {})
        woven.create_share(CONTEXT, {})
    hook.dispatcher.stop()
    assert hook.done.count("post") == 2


# Return values and errors that cannot be inspected


class Opaque:
    """An object whose special attributes raise errors."""

    @property
    def __class__(self):
        raise LookupError("no class")

    def __bool__(self):
        raise LookupError("no truth")


class OpaqueError(Exception):
    """An error whose attributes cannot be read."""

    @property
    def exceptions(self):
        raise LookupError("no exceptions")


def test_a_return_value_that_cannot_be_inspected_changes_nothing():
    before = Hook()
    hook = Hook(pre=lambda *args: Opaque(), post=lambda *args: Opaque())
    woven = aspects.weave(Driver(), [before, hook])
    assert woven.create_share(CONTEXT, {}) == ["export"]
    assert before.done == hook.done == ["pre", "post"]


def test_an_error_that_cannot_be_inspected_is_handled_like_any_error():
    def fail(*args: Any) -> None:
        raise OpaqueError

    hook = Hook(pre=fail)
    woven = aspects.weave(Driver(), [hook])
    with pytest.raises(OpaqueError):
        woven.create_share(CONTEXT, {})
    hook.suppress_pre_hooks_errors = True
    assert woven.create_share(CONTEXT, {}) == ["export"]

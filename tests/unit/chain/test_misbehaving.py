# SPDX-License-Identifier: Apache-2.0
"""Hooks that misbehave: what happens is decided, and the same each time."""

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
    """A share driver that keeps what it was given."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def create_share(self, context, share, share_server=None):
        self.got.append((context, share, share_server))
        return ["export"]

    def delete_share(self, context, share):
        self.got.append((context, share))


class Hook(aspects.HookBase):
    """Does what a test wants it to do, and notes what it did."""

    def __init__(self, **actions: Callable[..., Any]) -> None:
        super().__init__(None, "node1@alpha")
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.periodic_hooks_enabled = True
        self.actions = actions
        self.done: list[str] = []

    def act(self, action: str, *args: Any) -> Any:
        self.done.append(action)
        return self.actions.get(action, lambda *_: None)(*args)

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
    """Neither an exception nor an exit."""


# Errors that are none


@pytest.mark.parametrize("error", [Odd(), SystemExit(3), KeyboardInterrupt()])
def test_a_base_exception_of_a_pre_action_is_no_error_to_suppress(error):
    first, second = Hook(), suppressing(Hook(pre=raising(error)))
    driver = Driver()
    woven = aspects.weave(driver, [first, second, Hook()])
    with pytest.raises(type(error)) as caught:
        woven.create_share(CONTEXT, {})
    assert caught.value is error
    assert driver.got == []
    assert first.done == ["pre", "error"]


@pytest.mark.parametrize("error", [Odd(), SystemExit(3), KeyboardInterrupt()])
def test_a_base_exception_of_a_post_action_gives_the_others_their_error(error):
    first, last = Hook(), Hook()
    woven = aspects.weave(
        Driver(), [first, suppressing(Hook(post=raising(error))), last]
    )
    with pytest.raises(type(error)):
        woven.create_share(CONTEXT, {})
    assert first.done == ["pre", "post"]
    assert last.done == ["pre", "error"]


@pytest.mark.parametrize("action", ["pre", "post", "error"])
def test_sys_exit_ends_the_thread_of_the_call_after_all_had_their_endings(action):
    def leave(*args: Any) -> None:
        sys.exit("no more")

    first, leaving = Hook(), suppressing(Hook(**{action: leave}))
    woven = aspects.weave(Driver(), [first, leaving])
    if action == "error":
        woven.create_share = raising(OSError())
    with pytest.raises(SystemExit):
        woven.create_share(CONTEXT, {})
    assert first.done[-1] in ("post", "error")


def test_sys_exit_in_the_background_ends_nothing():
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
    # The call within is one of its own, with all its actions.
    assert other.done == ["pre", "pre", "post", "post"]


@pytest.mark.parametrize("suppressed", [False, True])
def test_a_hook_that_calls_itself_without_end_is_a_recursion_error(suppressed):
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
    # Nothing is left of it.
    hook.actions = {}
    del hook.done[:], driver.got[:]
    woven.create_share(CONTEXT, {})
    assert hook.done == ["pre", "post"]
    assert len(driver.got) == 1


def test_a_hook_that_calls_the_driver_unwoven_has_no_hooks():
    hook = Hook(pre=lambda *_: aspects.unweave(woven).delete_share(CONTEXT, "other"))
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    woven.create_share(CONTEXT, {})
    assert hook.done == ["pre", "post"]
    assert len(driver.got) == 2


# Arguments and answers


def test_the_driver_gets_the_callers_arguments_whatever_a_hook_does_to_its_own():
    def meddle(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kwargs.clear()
        kwargs["share"] = "another"
        args += ("more",)

    driver, second = Driver(), Hook()
    second.actions["pre"] = lambda args, kwargs: kwargs
    woven = aspects.weave(driver, [Hook(pre=meddle), second])
    woven.create_share(CONTEXT, share="mine", share_server=None)
    assert driver.got == [(CONTEXT, "mine", None)]


def test_an_object_that_is_changed_is_the_callers_own():
    # As in any call of Python: what is passed is not copied.
    def tag(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args[0]["tagged"] = True

    driver = Driver()
    share: dict[str, Any] = {}
    aspects.weave(driver, [Hook(pre=tag)]).create_share(CONTEXT, share)
    assert driver.got[0][1] is share
    assert share == {"tagged": True}


def test_a_generator_is_data_like_any_other():
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
    ("cls", "action"),
    [
        (Generating, "_execute_pre_hook"),
        (AwaitingInTurn, "_execute_periodic_hook"),
        (Awaiting, "_execute_post_hook"),
        (AwaitingError, "_execute_error_hook"),
    ],
)
def test_an_action_that_would_never_run_is_refused(cls, action):
    with pytest.raises(TypeError, match=f"{action} would never run"):
        aspects.weave(Driver(), [cls()])


def test_a_result_may_be_anything():
    lock = threading.Lock()
    hook = Hook(post=lambda *_: aspects.UpdatedResults(lock))
    result = aspects.weave(Driver(), [hook]).create_share(CONTEXT, {})
    assert result is lock
    with pytest.raises(TypeError):
        pickle.dumps(result)


@pytest.mark.parametrize("garbage", [None, 0, "audit", object(), Hook, Exception()])
def test_garbage_is_refused(garbage):
    with pytest.raises(TypeError, match="is not a hook"):
        aspects.weave(Driver(), [Hook(), garbage])


def test_an_error_without_a_text_is_logged_all_the_same(caplog):
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    hook = suppressing(Hook(pre=raising(Mute()), post=raising(Mute())))
    assert aspects.weave(Driver(), [hook]).create_share(CONTEXT, {}) == ["export"]
    assert caplog.text.count("MuteError: (no text)") == 2


# Locks


def test_a_hook_that_waits_holds_nothing_that_others_need(monkeypatch):
    # The end of a process gives it some time.
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
        # All of these would wait for ever if it did.
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
    # Its call ended with the chain that it began with.
    assert hook.done.count("post") == 3


def test_a_driver_that_holds_a_lock_of_a_background_hook_goes_on():
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


# Answers and errors that break when they are looked at


class Opaque:
    """An object that fails whatever is asked of it."""

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


def test_an_answer_that_cannot_be_looked_at_changes_nothing():
    before = Hook()
    hook = Hook(pre=lambda *args: Opaque(), post=lambda *args: Opaque())
    woven = aspects.weave(Driver(), [before, hook])
    assert woven.create_share(CONTEXT, {}) == ["export"]
    assert before.done == hook.done == ["pre", "post"]


def test_an_error_that_cannot_be_looked_at_is_an_error_like_any_other():
    def fail(*args: Any) -> None:
        raise OpaqueError

    hook = Hook(pre=fail)
    woven = aspects.weave(Driver(), [hook])
    with pytest.raises(OpaqueError):
        woven.create_share(CONTEXT, {})
    hook.suppress_pre_hooks_errors = True
    assert woven.create_share(CONTEXT, {}) == ["export"]

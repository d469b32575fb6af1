# SPDX-License-Identifier: Apache-2.0
"""Hooks that write down what they see, and drivers to put them around."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import aspects


class Timeout(BaseException):
    """Not an Exception, as eventlet's Timeout and greenlet's GreenletExit."""


#: What suppression never catches.
NOT_SUPPRESSED = [KeyboardInterrupt, SystemExit, Timeout, asyncio.CancelledError]


class Seen(NamedTuple):
    """One action of a hook, and what it was given."""

    hook: str
    action: str
    context: Any
    func_name: Any
    data: Any = None
    #: The result for a post action, the error for an error action.
    outcome: Any = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}


def act(answer: Any, seen: Seen) -> Any:
    """Raise an exception, call a function, return anything else."""
    if isinstance(answer, BaseException):
        raise answer
    return answer(seen) if callable(answer) else answer


class Actions:
    """The actions of a hook; each is written down in ``trace``."""

    instance_name: str
    trace: list[Any]
    answers: dict[str, Any]

    def _seen(self, action: str, *given: Any) -> Any:
        seen = Seen(self.instance_name, action, *given)
        self.trace.append(seen)
        return act(self.answers.get(action), seen)

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return self._seen("pre", context, func_name, None, None, args, kwargs)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        return self._seen(
            "post",
            context,
            func_name,
            pre_hook_data,
            driver_action_results,
            args,
            kwargs,
        )

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return self._seen("periodic", context, None, periodic_hook_data)


class ErrorAction(Actions):
    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        return self._seen(
            "error", context, func_name, pre_hook_data, error, args, kwargs
        )


def _set_up(
    hook: Any,
    name: str,
    trace: list[Any] | None,
    answers: dict[str, Any] | None,
    enabled: Iterable[str],
    suppress: Iterable[str],
) -> None:
    hook.instance_name = name
    hook.trace = [] if trace is None else trace
    hook.answers = answers or {}
    for action in ("pre", "post", "periodic"):
        setattr(hook, f"{action}_hooks_enabled", action in enabled)
        setattr(hook, f"suppress_{action}_hooks_errors", action in suppress)


class Recorder(ErrorAction, aspects.HookBase):
    """A hook that writes down its actions.

    :param name: its instance name
    :param trace: what it writes to, shared with others to see the order
    :param enabled: its actions that are on
    :param suppress: its actions whose errors are suppressed
    :param answers: action -> what it does: raise, call or return that
    """

    def __init__(
        self,
        name: str = "hook",
        trace: list[Any] | None = None,
        *,
        enabled: Iterable[str] = ("pre", "post"),
        suppress: Iterable[str] = (),
        **answers: Any,
    ) -> None:
        super().__init__(None, None)
        _set_up(self, name, trace, answers, enabled, suppress)


class PlainRecorder(ErrorAction):
    """The same, with plain attributes for switches."""

    def __init__(
        self,
        name: str = "plain",
        trace: list[Any] | None = None,
        *,
        enabled: Iterable[str] = ("pre", "post"),
        suppress: Iterable[str] = (),
        **answers: Any,
    ) -> None:
        _set_up(self, name, trace, answers, enabled, suppress)


class UpstreamRecorder(Actions):
    """The same as Manila's own hooks are: without an error action."""

    __init__ = PlainRecorder.__init__


class Driver:
    """A share driver of a few methods; ``body`` is what each of them does."""

    def __init__(self, body: Callable[..., Any] | None = None) -> None:
        self.body = body or (lambda *args, **kwargs: "result")

    def create_share(
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> Any:
        """Create a share."""
        return self.body(context, share, share_server, **more)

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        return self.body(context, share, share_server)

    def extend_share(self, share: Any, new_size: int, share_server: Any = None) -> Any:
        return self.body(share, new_size, share_server)

    def helper(self, *args: Any) -> Any:
        return self.body(*args)


class CoroutineDriver(Driver):
    async def create_share(  # type: ignore[override]
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> Any:
        await asyncio.sleep(0)
        return self.body(context, share, share_server, **more)


class OwnDriver(Driver):
    """A driver whose source one owns."""

    hooks: tuple[Any, ...] = ()
    backend = "alpha"
    host = "node@alpha"

    create_share = aspects.add_hooks(Driver.create_share)


class OwnCoroutineDriver(CoroutineDriver):
    hooks: tuple[Any, ...] = ()
    backend = "alpha"
    host = "node@alpha"

    create_share = aspects.add_hooks(CoroutineDriver.create_share)


def finish(coroutine: Any) -> Any:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


class Way(NamedTuple):
    """A way to have hooks around a driver's ``create_share``."""

    name: str
    own: bool
    coroutine: bool

    def driver(self, hooks: Iterable[Any], body: Any = None) -> Any:
        """Return a driver with these hooks; what its method does is ``body``."""
        if self.own:
            driver = (OwnCoroutineDriver if self.coroutine else OwnDriver)(body)
            driver.hooks = tuple(hooks)
            return driver
        plain = (CoroutineDriver if self.coroutine else Driver)(body)
        return aspects.weave(plain, hooks, backend="alpha", host="node@alpha")

    def call(self, driver: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the driver's ``create_share``."""
        result = driver.create_share(*args, **kwargs)
        return finish(result) if self.coroutine else result


WAYS = [
    Way("weave", False, False),
    Way("add_hooks", True, False),
    Way("weave-coroutine", False, True),
    Way("add_hooks-coroutine", True, True),
]


def actions_of(trace: Iterable[Any]) -> list[str]:
    """Return a trace in short: ``one.pre``, ``driver``, ``one.post``, ..."""
    return [
        f"{each.hook}.{each.action}" if isinstance(each, Seen) else each
        for each in trace
    ]

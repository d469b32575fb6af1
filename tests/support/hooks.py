# SPDX-License-Identifier: Apache-2.0
"""Hooks that write down what they see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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


def actions_of(trace: Iterable[Any]) -> list[str]:
    """Return a trace in short: ``one.pre``, ``driver``, ``one.post``, ..."""
    return [
        f"{each.hook}.{each.action}" if isinstance(each, Seen) else each
        for each in trace
    ]

# SPDX-License-Identifier: Apache-2.0
"""Adapt a hook method's signature to the call protocol."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

from aspects.operations import is_coroutine

Action = Callable[..., Any]

#: What the protocol passes to each action, by position, before the arguments
#: of the call.
PRE = ("context", "func_name")
POST = ("context", "func_name", "pre_hook_data", "driver_action_results")
ERROR = ("context", "func_name", "pre_hook_data", "error")
PERIODIC = ("context", "periodic_hook_data")

#: The protocol of each kind of action.
PROTOCOLS = {"pre": PRE, "post": POST, "error": ERROR, "periodic": PERIODIC}


def fitted(action: Action, protocol: tuple[str, ...]) -> Action:
    """Return an action of a hook, ready to be called by position.

    Manila passes everything by keyword, so a hook that was written for it may
    have the protocol's arguments in another order or keyword-only, and may
    take the call's arguments by keyword alone, without ``*args``.

    :param action: a bound action of a hook
    :param protocol: the names of the protocol's arguments, in order
    :return: the action itself, unless it needs one of these
    """
    function = getattr(action, "__func__", action)
    try:
        # Read once a function: the chain of a hook whose switches are plain
        # attributes is made anew at each call.
        fits = _fits.setdefault(function, {})
    except TypeError:
        fits = {}
    if protocol not in fits:
        fits[protocol] = _fit(function, protocol)
    fit = fits[protocol]
    if fit is None:
        return action
    first, by_name, takes_args = fit

    def adapted(*args: Any, **kwargs: Any) -> Any:
        rest = args[len(protocol) :]
        if rest and not takes_args:
            rest, kwargs = (), args[1].arguments(rest, kwargs)
        kwargs.update((protocol[i], args[i]) for i in by_name)
        return action(*(args[i] for i in first), *rest, **kwargs)

    return adapted


Fit = tuple[tuple[int, ...], tuple[int, ...], bool]

_fits: weakref.WeakKeyDictionary[Action, dict[tuple[str, ...], Fit | None]] = (
    weakref.WeakKeyDictionary()
)


def _fit(function: Action, protocol: tuple[str, ...]) -> Fit | None:
    """Read off an action's signature how it takes its arguments.

    :return: which of the protocol's arguments go by position, which by
        keyword, whether it has ``*args``; None if just as they come
    """
    try:
        declared = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    kinds_of = [parameter.kind for parameter in declared.values()]
    # A bound action's own self is one of its function's.
    if kinds_of and inspect.isfunction(function):
        del kinds_of[0]
    takes_args = inspect.Parameter.VAR_POSITIONAL in kinds_of
    first = tuple(
        protocol.index(name)
        for name, parameter in declared.items()
        if name in protocol and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    )
    by_name = tuple(
        i
        for i, name in enumerate(protocol)
        if name in declared and declared[name].kind is inspect.Parameter.KEYWORD_ONLY
    )
    if by_name or first != tuple(sorted(first)):
        return first, by_name, takes_args
    if takes_args:
        return None
    positions = kinds_of.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if positions < len(protocol) and inspect.Parameter.VAR_KEYWORD in kinds_of:
        # The rest of the protocol goes into its **kwargs.
        rest = set(range(len(protocol))) - set(first)
        return first, tuple(sorted(rest)), False
    return tuple(range(len(protocol))), (), False


#: The hook methods that every hook has.
ACTIONS = ("_execute_pre_hook", "_execute_post_hook", "_execute_periodic_hook")


def never_runs(hook: object) -> str | None:
    """Return why an action of a hook would never run; None if all would.

    To call a coroutine or generator function is not to run it.

    :param hook: a hook, or its class
    """
    for name in (*ACTIONS, "_execute_error_hook"):
        action = getattr(hook, name, None)
        if (
            is_coroutine(action)
            or inspect.isgeneratorfunction(action)
            or inspect.isasyncgenfunction(action)
        ):
            return f"{name} would never run: it is a coroutine or generator function"
    return None

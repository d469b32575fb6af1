# SPDX-License-Identifier: Apache-2.0
"""Adapt the signature of a hook method to the call protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from aspects.operations import is_coroutine

Method = Callable[..., Any]

#: The arguments that each hook method gets by position, before those of the call.
PRE = ("context", "func_name")
POST = ("context", "func_name", "pre_hook_data", "driver_action_results")
ERROR = ("context", "func_name", "pre_hook_data", "error")
PERIODIC = ("context", "periodic_hook_data")

#: The protocol of each kind of hook method.
PROTOCOLS = {"pre": PRE, "post": POST, "error": ERROR, "periodic": PERIODIC}


def results_in(kind: str, args: Sequence[Any]) -> Any:
    """Return the driver's result among the arguments of a hook method.

    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param args: the arguments of the method, by position
    :return: the data of a tick for ``periodic``; None if the method has no result
    """
    if kind == "error":
        return getattr(args[1], "results", None) if len(args) > 1 else None
    at = {"post": 3, "periodic": 1}.get(kind, len(args))
    return args[at] if at < len(args) else None


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def adapt_signature(method: Method, protocol: tuple[str, ...]) -> Method:
    """Return a hook method that can be called as ``HookBase`` declares it.

    Manila passes the protocol's arguments by keyword, so a hook written for Manila may
    declare them in any order and under any name. Each argument goes to:

    1. the parameter with its name;
    2. else the positional parameter at its place, if that has another name, such as
       ``ctxt``. This does not apply to a method that names other arguments of the
       protocol and has ``**kwargs`` without ``*args``. As in Manila, ``share`` of
       ``(context, share, **kwargs)`` is an argument of the call;
    3. else ``*args`` if all arguments are in order, or ``**kwargs`` if not.

    The call's positional arguments fill the remaining positional parameters, then
    ``*args``. A method without ``*args`` gets them by the names that the driver method
    gives to its parameters.

    :param method: a bound method of a hook, or any other callable
    :param protocol: the names of the protocol's arguments, in order
    :return: the method itself if it needs no adapting, or has no signature, such as
        some functions written in C
    """
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return method
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    keyword_only = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    takes_args = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    takes_kwargs = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {p.name for p in (*positional, *keyword_only)}.intersection(protocol)
    may_rename = takes_args or not takes_kwargs or not named

    # The protocol's argument for each positional parameter, or None.
    received: list[str | None] = []
    for place, parameter in enumerate(positional):
        argument = None
        if parameter.name in named:
            argument = parameter.name
        elif may_rename and place < len(protocol) and protocol[place] not in named:
            argument = protocol[place]
        received.append(argument)
    in_order = received[: len(protocol)] == list(protocol[: len(received)])
    if takes_args and in_order and named.isdisjoint(p.name for p in keyword_only):
        return method

    def adapted(*args: Any, **kwargs: Any) -> Any:
        by_name = dict(zip(protocol, args))
        rest = args[len(protocol) :]
        if rest and not takes_args:
            rest, kwargs = (), by_name["func_name"].arguments(rest, kwargs)
        ordered = []
        for parameter, argument in zip(positional, received):
            if argument is not None:
                ordered.append(by_name.pop(argument))
            elif rest:
                ordered.append(rest[0])
                rest = rest[1:]
            elif parameter.name in kwargs:
                ordered.append(kwargs.pop(parameter.name))
            elif parameter.default is not parameter.empty:
                ordered.append(parameter.default)
            else:
                # The call raises Python's own error for the missing argument.
                break
        return method(*ordered, *rest, **by_name, **kwargs)

    return adapted


#: The hook methods that every hook has.
HOOK_METHODS = ("_execute_pre_hook", "_execute_post_hook", "_execute_periodic_hook")


def never_runs(hook: object) -> str | None:
    """Return why a method of a hook would never run, or None if all would.

    A call of a coroutine function or generator function does not run its body.

    :param hook: a hook, or its class
    """
    for name in (*HOOK_METHODS, "_execute_error_hook"):
        method = getattr(hook, name, None)
        if (
            is_coroutine(method)
            or inspect.isgeneratorfunction(method)
            or inspect.isasyncgenfunction(method)
        ):
            return f"{name} would never run: it is a coroutine or generator function"
    return None

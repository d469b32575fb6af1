# SPDX-License-Identifier: Apache-2.0
"""Hooks for a class whose source one owns."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import decorator

from aspects.core.chain import around
from aspects.core.snapshot import SingleCallChain
from aspects.operations import operation_of

F = TypeVar("F", bound=Callable[..., Any])


def add_hooks(method: F) -> F:
    """Run the hooks of an object around a method of its class.

    The object has its hooks, in order, in the attribute ``hooks``, and may have
    ``backend`` and ``host``. The chain is the same as that of a woven driver,
    the operation too: that of the driver method's name, else the name itself.
    The decorated method keeps its signature, and its arguments stay as the
    caller passed them (unlike those of upstream's ``add_hooks``, which dies of
    a second positional argument).

    .. code-block:: python

        class MyDriver:
            def __init__(self, hooks):
                self.hooks = hooks

            @aspects.add_hooks
            def create_share(self, context, share, share_server=None): ...

    :param method: a function of a class; may be a coroutine function
    :return: the same, decorated; to call it raises AttributeError if the object has
        no ``hooks``
    """
    name = method.__name__

    is_coroutine = inspect.iscoroutinefunction(method)

    def call(method: F, self: Any, /, *args: Any, **kwargs: Any) -> Any:
        bound = method.__get__(self)
        backend, host = getattr(self, "backend", None), getattr(self, "host", None)
        operation = operation_of(name, bound, backend, host)
        return around(SingleCallChain(self.hooks), operation, bound)(*args, **kwargs)

    async def call_coroutine(method: F, self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await call(method, self, *args, **kwargs)

    caller = call_coroutine if is_coroutine else call
    return decorator.decorate(method, caller, kwsyntax=True)  # type: ignore

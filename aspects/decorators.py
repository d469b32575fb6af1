# SPDX-License-Identifier: Apache-2.0
"""A decorator that adds hooks to the methods of a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import decorator

from aspects.core.chain import around
from aspects.core.snapshot import SingleCallChain
from aspects.operations import DRIVER

F = TypeVar("F", bound=Callable[..., Any])


def add_hooks(method: F) -> F:
    """Run the hooks of an object around a method of its class.

    The object has its hooks, in order, in the attribute ``hooks``, and may have
    ``backend`` and ``host``. The call protocol is that of a woven driver. The
    operation is the one of the method's name, or else the name itself.
    The decorated method keeps its signature, and the arguments reach it as the
    caller passed them. Upstream's ``add_hooks`` fails with a second positional
    argument; this one does not.

    .. code-block:: python

        class MyDriver:
            def __init__(self, hooks):
                self.hooks = hooks

            @aspects.add_hooks
            def create_share(self, context, share, share_server=None): ...

    :param method: a function of a class; may be a coroutine function
    :return: the decorated method; a call raises AttributeError if the object has no
        ``hooks``
    """
    name = method.__name__

    is_coroutine = inspect.iscoroutinefunction(method)

    def call(method: F, self: Any, /, *args: Any, **kwargs: Any) -> Any:
        bound = method.__get__(self)
        backend, host = getattr(self, "backend", None), getattr(self, "host", None)
        operation = DRIVER.operation(name, bound, backend, host)
        return around(SingleCallChain(self.hooks), operation, bound)(*args, **kwargs)

    async def call_coroutine(method: F, self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await call(method, self, *args, **kwargs)

    caller = call_coroutine if is_coroutine else call
    return decorator.decorate(method, caller, kwsyntax=True)  # type: ignore

# SPDX-License-Identifier: Apache-2.0
"""Put the context managers of observers around a driver or hook method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aspects.core.log import log_failure
from aspects.core.signature import PROTOCOLS, results_in
from aspects.hook import HookBase, Method, Observed
from aspects.operations import is_coroutine


def observes(hook: Any) -> bool:
    """Return whether a hook is an observer.

    :param hook: any hook
    """
    return getattr(type(hook), "observe", None) is not HookBase.observe and isinstance(
        hook, HookBase
    )


def observed_method(
    observers: Sequence[HookBase],
    hook: Any,
    kind: str,
    method: Method,
    operation: str,
) -> Method:
    """Wrap a hook method so that each run of it is observed.

    :param observers: the observers, the outermost first
    :param hook: the hook, which does not observe itself
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param method: the hook method, as the protocol calls it
    :param operation: the operation, for a tick
    """
    observers = tuple(observer for observer in observers if observer is not hook)
    own = getattr(hook, "hook", hook)
    protocol = len(PROTOCOLS[kind])

    def run(*args: Any, **kwargs: Any) -> Any:
        name = operation if kind == "periodic" else args[1]
        call = (args[0], args[protocol:], kwargs, results_in(kind, args))
        with Observing(observers, Observed(kind, own, name, *call)):
            return method(*args, **kwargs)

    return run if observers else method


def observed(method: Method, observers: Sequence[HookBase], run: Observed) -> Method:
    """Wrap a driver method so that one run of it is observed.

    :param method: the driver method; a coroutine function is awaited
    :param observers: the observers, the outermost first
    :param run: the run
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        with Observing(observers, run):
            return method(*args, **kwargs)

    async def call_coroutine(*args: Any, **kwargs: Any) -> Any:
        with Observing(observers, run):
            return await method(*args, **kwargs)

    return call_coroutine if is_coroutine(method) else call


class Observing:
    """The context managers of several observers around one run.

    An error of an observer is logged. It changes neither the run nor its exception.

    :param observers: the observers, the outermost first
    :param observed: the run
    """

    __slots__ = ("_entered", "_observed", "_observers")

    def __init__(self, observers: Sequence[HookBase], observed: Observed) -> None:
        self._observers = observers
        self._observed = observed
        self._entered: list[tuple[HookBase, Any]] = []

    def __enter__(self) -> None:
        try:
            for observer in self._observers:
                try:
                    manager = observer.observe(self._observed)
                    if manager is not None:
                        manager.__enter__()
                        self._entered.append((observer, manager))
                except Exception as error:
                    self._log(observer, error)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, *raised: Any) -> None:
        while self._entered:
            observer, manager = self._entered.pop()
            try:
                manager.__exit__(*raised)
            except Exception as error:
                if error is not raised[1]:
                    self._log(observer, error)

    def _log(self, observer: HookBase, error: Exception) -> None:
        _, _, operation, *call = self._observed
        log_failure(observer, "observe", operation, error, *call)

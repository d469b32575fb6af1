# SPDX-License-Identifier: Apache-2.0
"""Weave hooks into a driver instance, and take them out again."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from oslo_log import log

from aspects.core.breaker import hook_name
from aspects.core.chain import Chain, around, around_coroutine
from aspects.core.log import secret_options
from aspects.core.proxy import WovenClass, WovenDriver, WovenMethod, woven_driver
from aspects.core.signature import ACTIONS, never_runs
from aspects.core.step import Step, in_flight
from aspects.errors import AlreadyWoven
from aspects.hook import HookBase
from aspects.operations import (
    ContextFactory,
    Operation,
    is_coroutine,
    new_admin_context,
    operation_of,
    operations_of,
)
from aspects.secrets import text_of

LOG = log.getLogger(__name__)


#: Seconds that the end of a process waits for calls in flight, and for hooks that a
#: reload has left out.
LEAVING = 10.0

# What a driver has that was not called yet; not to be written to.
_no_methods: dict[str, tuple[Any, Any]] = {}


class Weaving:
    """What is woven around one driver.

    ``hooks`` is a tuple, in configured order; ``operations`` maps the woven
    driver methods to their :class:`~aspects.Operation`; ``ticks`` counts the
    ticks so far. ``driver``, ``backend``, ``host``, ``hook_methods``,
    ``periodic_hooks_ticks`` and ``new_context`` are what :func:`weave` was given.
    """

    __slots__ = (
        "__weakref__",
        "_leaving",
        "_running",
        "backend",
        "chain",
        "driver",
        "hook_methods",
        "host",
        "instances",
        "methods",
        "new_context",
        "operations",
        "periodic_hooks_ticks",
        "ticks",
    )

    def __init__(
        self,
        driver: object,
        hooks: tuple[Any, ...],
        backend: str | None,
        host: str | None,
        hook_methods: tuple[str, ...],
        periodic_hooks_ticks: int,
        new_context: ContextFactory,
    ) -> None:
        self.driver = driver
        self.backend = backend
        self.host = host
        self.hook_methods = hook_methods
        self.periodic_hooks_ticks = periodic_hooks_ticks
        self.new_context = new_context
        self.ticks = 0
        self._running = False
        self._leaving: tuple[threading.Thread, ...] = ()
        #: What the backend's section says of its hooks, where they came from one.
        self.instances: Sequence[Any] = ()
        self.chain = Chain(hooks)
        self.operations: Mapping[str, Operation] = operations_of(
            driver, backend, host, hook_methods, new_context
        )
        #: Driver method name -> the method last seen, its woven method.
        self.methods = _no_methods

    @property
    def hooks(self) -> tuple[Any, ...]:
        """The hooks, in configured order."""
        return self.chain.hooks

    def start(self) -> None:
        """Have the hooks get ready, in the process that runs the driver.

        One that cannot is an error in the log: the driver can do without it.
        """
        self._running = True
        for hook in self.hooks:
            self._start(hook)

    def stop(self) -> None:
        """Have the hooks end what they began.

        Calls and ticks in flight have :data:`LEAVING` seconds in all for it.
        """
        started, self._running = self._running, False
        self.chain.refresh()
        end = time.monotonic() + LEAVING
        _wait(in_flight(self.hooks), end)
        for leaving in self._leaving:
            leaving.join(max(0, end - time.monotonic()))
        # A hook may watch those after it to their end.
        for hook in reversed(self.hooks):
            self._stop(hook, started)

    def replace(self, hooks: tuple[Any, ...], set_switches: Callable[[], None]) -> None:
        """Replace the chain as a whole; calls in flight end with the one of before.

        Hooks that are new are started before, if the others are, and those that
        are left out are stopped after, once the last call in flight has ended.

        :param hooks: the hooks, in order; they may be some of before
        :param set_switches: sets their switches
        """
        before = self.hooks
        if self._running:
            for hook in hooks:
                if not any(hook is each for each in before):
                    self._start(hook)
        with self.chain.replaced():
            set_switches()
            self.chain.take(hooks)
        # What the hooks want around the driver's methods is in them.
        self.methods = _no_methods
        left_out = [hook for hook in before if not any(hook is each for each in hooks)]
        if not (self._running and left_out):
            return
        in_use = in_flight(left_out)

        def stop() -> None:
            _wait(in_use)
            for hook in reversed(left_out):
                self._stop(hook)

        if in_use:
            # Their endings are still to come, for which nobody here is to wait.
            leaving = threading.Thread(target=stop, daemon=True)
            alive = filter(threading.Thread.is_alive, self._leaving)
            self._leaving = (*alive, leaving)
            leaving.start()
        else:
            stop()

    def _start(self, hook: object) -> None:
        self._have(hook, "start")

    def _stop(self, hook: object, started: bool = True) -> None:
        dispatcher = getattr(hook, "dispatcher", None)
        if dispatcher is not None:
            dispatcher.stop()
        if started:
            self._have(hook, "stop")

    def _have(self, hook: object, what: str) -> None:
        if not isinstance(hook, HookBase):
            return
        try:
            getattr(hook, what)()
        except Exception as error:
            LOG.error(
                "Hook %(hook)s of backend %(backend)s did not %(what)s: "
                "%(type)s: %(error)s",
                {
                    "hook": hook_name(hook),
                    "backend": self.backend,
                    "what": what,
                    "type": type(error).__name__,
                    "error": text_of(
                        error, None, {"secrets": secret_options(hook.configuration)}
                    ),
                },
            )

    def rewoven(self, driver: object) -> Any:
        """Weave another driver as this one is woven.

        :param driver: e.g. a copy of this one
        """
        return weave(
            driver,
            self.hooks,
            self.backend,
            self.host,
            hook_methods=self.hook_methods,
            periodic_hooks_ticks=self.periodic_hooks_ticks,
            new_context=self.new_context,
        )

    def is_mine(self, method: Any) -> bool:
        """Tell whether a method has these hooks around it."""
        mine = issubclass(type(method), WovenMethod)
        return mine and method._self_chain is self.chain

    def method_of(self, name: str, method: Any) -> Any:
        """Return the woven method for what the driver has under a name.

        :param name: the name
        :param method: what the driver has; returned as it is if it cannot be called
        """
        if not callable(method) or self.is_mine(method):
            return method
        # Of before, should the chain be replaced meanwhile.
        methods = self.methods
        if methods is _no_methods:
            methods = self.methods = {}
        operation = self.operations.get(name) or operation_of(
            name, method, self.backend, self.host, self.new_context
        )
        way = around_coroutine if is_coroutine(method) else around
        woven = (WovenClass if isinstance(method, type) else WovenMethod)(method)
        woven._self_chain = self.chain
        woven._self_call = way(self.chain, operation, method)
        methods[name] = (method, woven)
        return woven


def _wait(steps: Iterable[weakref.ref[Step]], end: float = math.inf) -> None:
    """Wait until the last call that has one of some steps has ended, or time has."""
    while any(step() for step in steps) and time.monotonic() < end:
        time.sleep(0.05)


def weave(
    driver: object,
    hooks: Iterable[Any],
    backend: str | None = None,
    host: str | None = None,
    *,
    hook_methods: Iterable[str] = (),
    periodic_hooks_ticks: int = 1,
    new_context: ContextFactory = new_admin_context,
) -> Any:
    """Put a chain of hooks around a driver instance.

    The woven driver cannot be told from the driver but by :func:`is_woven`.

    :param driver: any share driver instance; it is left as it is
    :param hooks: the hooks, in order; may be empty
    :param backend: the name of the backend section, for hooks and logs
    :param host: the share service's host, for hooks
    :param hook_methods: further driver methods to weave, under their own names
    :param periodic_hooks_ticks: run periodic actions on every so-manieth tick
    :param new_context: makes the context that a hook gets where neither the
        call nor oslo.context has one
    :return: the woven driver
    :raises AlreadyWoven: if the driver is woven
    :raises TypeError: if something that is not a hook is among the hooks, or
        ``hook_methods`` is one name
    :raises ValueError: if ``periodic_hooks_ticks`` is less than 1, or a name among
        ``hook_methods`` cannot be that of a driver method
    """
    if is_woven(driver):
        raise AlreadyWoven(f"{driver!r} is woven already")
    if isinstance(hook_methods, str):
        raise TypeError(f"hook_methods = {hook_methods!r}: it is one name, not several")
    if periodic_hooks_ticks < 1:
        raise ValueError(f"periodic_hooks_ticks = {periodic_hooks_ticks}: less than 1")
    hooks = tuple(hooks)
    for each in hooks:
        if isinstance(each, type) or not all(hasattr(each, n) for n in _CONTRACT):
            raise TypeError(f"{each!r} is not a hook: see aspects.HookBase")
        if wrong := never_runs(each):
            raise TypeError(f"{each!r}: {wrong}")
    hook_methods = tuple(hook_methods)
    for name in hook_methods:
        if wrong := no_driver_method(name):
            raise ValueError(f"hook_methods: {name!r}: {wrong}")
    woven: Any = woven_driver(driver, hook_methods)
    woven._self_weaving = Weaving(
        driver, hooks, backend, host, hook_methods, periodic_hooks_ticks, new_context
    )
    return woven


def no_driver_method(name: str) -> str | None:
    """Return why a name cannot be that of a method to weave; None if it can.

    :param name: the name
    """
    if not name.isidentifier():
        return "it is no name of a method"
    if name.startswith(("__", "_self_")):
        return "it is what an object is made of, and no call of a driver"
    return None


_CONTRACT = (
    *ACTIONS,
    *("pre_hooks_enabled", "post_hooks_enabled", "periodic_hooks_enabled"),
)


def unweave(woven: Any) -> Any:
    """Return the driver that was woven.

    :param woven: a woven driver; it goes on working
    :return: the driver, as it was
    :raises TypeError: if it is not woven
    """
    return weaving(woven).driver


def is_woven(obj: object) -> bool:
    """Tell whether something is a woven driver.

    :param obj: anything
    """
    return issubclass(type(obj), WovenDriver)


def weaving(woven: Any) -> Weaving:
    """Return what is woven around a driver.

    :param woven: a woven driver
    :return: its hooks, operations and ticks
    :raises TypeError: if it is not woven
    """
    if not is_woven(woven):
        raise TypeError(f"{woven!r} is not a woven driver")
    return woven._self_weaving  # type: ignore[no-any-return]

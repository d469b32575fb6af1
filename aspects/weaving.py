# SPDX-License-Identifier: Apache-2.0
"""Weave hooks into a driver instance, and take them out again."""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aspects.core.chain import around
from aspects.core.log import log_failure
from aspects.core.proxy import WovenClass, WovenDriver, WovenMethod, woven_driver
from aspects.core.signature import HOOK_METHODS, never_runs
from aspects.core.snapshot import Chain
from aspects.errors import AlreadyWoven
from aspects.hook import HookBase
from aspects.operations import (
    ContextFactory,
    Operation,
    new_admin_context,
    operation_of,
    operations_of,
)

#: Seconds that the end of a process waits for calls in flight, and for hooks that a
#: reload has left out.
DRAIN_TIMEOUT = 10.0

# Shared by all drivers before their first call; never written to.
_no_methods: dict[str, tuple[Any, Any]] = {}


class Weaving:
    """The hooks around one driver.

    ``hooks`` is a tuple, in configured order; ``operations`` maps the woven
    driver methods to their :class:`~aspects.Operation`; ``ticks`` counts the
    ticks so far. ``driver``, ``backend``, ``host``, ``hook_methods``,
    ``periodic_hooks_ticks`` and ``new_context`` are the arguments of :func:`weave`.
    """

    __slots__ = (
        *("__weakref__", "backend", "chain", "driver", "hook_methods", "host"),
        *("instances", "methods", "new_context", "operations"),
        *("periodic_hooks_ticks", "ticks"),
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
        #: The instances in the backend section, if the hooks came from one.
        self.instances: Sequence[Any] = ()
        self.chain = Chain(hooks, backend)
        self.operations: Mapping[str, Operation] = operations_of(
            driver, backend, host, hook_methods, new_context
        )
        #: Driver method name -> the method last seen, its woven method.
        self.methods = _no_methods
        self._report_chain()

    @property
    def hooks(self) -> tuple[Any, ...]:
        """The hooks, in configured order."""
        return self.chain.hooks

    def start(self) -> None:
        """Start the hooks, in the process that runs the driver.

        An error of a hook's ``start()`` is logged.
        """
        self.chain.start()

    def stop(self) -> None:
        """Stop the hooks; calls that begin later run none.

        Calls and ticks in flight get :data:`DRAIN_TIMEOUT` seconds to end before.
        """
        self.chain.stop(time.monotonic() + DRAIN_TIMEOUT)

    def replace(
        self, hooks: Iterable[Any], set_switches: Callable[[], None] = lambda: None
    ) -> None:
        """Replace the hooks as a whole; calls in flight keep the hooks they have.

        If the chain is started, hooks that are new are started before. Hooks that are
        left out are stopped once the last call that uses them has ended.

        :param hooks: the hooks, in order; current hooks may be among them
        :param set_switches: sets the switches of the hooks
        """
        self.chain.replace(hooks, set_switches)
        self._report_chain()

    def _report_chain(self) -> None:
        for hook in self.hooks:
            if isinstance(hook, HookBase):
                try:
                    hook.chain_changed(self.hooks)
                except Exception as error:
                    log_failure(hook, "chain_changed", "weaving", error)

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

    def wraps_this_chain(self, method: Any) -> bool:
        """Return whether a method has this chain around it."""
        mine = issubclass(type(method), WovenMethod)
        return mine and method._self_chain is self.chain

    def method_of(self, name: str, method: Any) -> Any:
        """Return the woven method for what the driver has under a name.

        :param name: the name
        :param method: what the driver has; returned as it is if it cannot be called
        """
        if not callable(method) or self.wraps_this_chain(method):
            return method
        if self.methods is _no_methods:
            self.methods = {}
        operation = self.operations.get(name)
        if operation is None:
            # The driver did not have the method yet when it was woven.
            operation = operation_of(
                name, method, self.backend, self.host, self.new_context
            )
            self.operations = types.MappingProxyType(
                {**self.operations, name: operation}
            )
        woven = (WovenClass if isinstance(method, type) else WovenMethod)(method)
        woven._self_chain = self.chain
        woven._self_call = around(self.chain, operation, method)
        self.methods[name] = (method, woven)
        return woven


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

    Only :func:`is_woven` distinguishes the woven driver from the original.

    :param driver: any share driver instance; it is left as it is
    :param hooks: the hooks, in order; may be empty
    :param backend: the name of the backend section, for hooks and logs
    :param host: the share service's host, for hooks
    :param hook_methods: further driver methods to weave, under their own names
    :param periodic_hooks_ticks: run the periodic hooks every N ticks
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
        if wrong := invalid_method_name(name):
            raise ValueError(f"hook_methods: {name!r}: {wrong}")
    woven: Any = woven_driver(driver, hook_methods)
    woven._self_weaving = Weaving(
        driver, hooks, backend, host, hook_methods, periodic_hooks_ticks, new_context
    )
    return woven


def invalid_method_name(name: str) -> str | None:
    """Return why a name cannot be that of a method to weave; None if it can.

    :param name: the name
    """
    if not name.isidentifier():
        return "it is no name of a method"
    if name.startswith(("__", "_self_")):
        return "it is what an object is made of, and no call of a driver"
    return None


_CONTRACT = (
    *HOOK_METHODS,
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
    """Return whether an object is a woven driver.

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

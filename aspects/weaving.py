# SPDX-License-Identifier: Apache-2.0
"""Weave hooks into a driver instance, and unweave it."""

from __future__ import annotations

import os
import time
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from oslo_log import log

from aspects.core.chain import around
from aspects.core.log import hook_name, log_failure
from aspects.core.proxy import WovenClass, WovenDriver, WovenMethod, woven_driver
from aspects.core.signature import HOOK_METHODS, never_runs
from aspects.core.snapshot import Chain
from aspects.errors import AlreadyWoven
from aspects.hook import HookBase, Method
from aspects.operations import (
    DRIVER,
    ContextFactory,
    Interface,
    Operation,
    new_admin_context,
    operations_of,
)

LOG = log.getLogger(__name__)

#: Seconds to wait at process exit for calls in flight, and for hooks that a hot reload
#: has removed.
DRAIN_TIMEOUT = 10.0

# The empty table of every driver before its first call; never written to.
_EMPTY_TABLE: dict[str, tuple[Any, Any]] = {}


class Reload(NamedTuple):
    """A hot reload of the hooks around a driver."""

    time: float
    """seconds since 1970"""
    problems: tuple[str, ...]
    """the errors because of which it was rejected; empty if it took effect"""


class Weaving:
    """The hooks around one driver.

    ``hooks`` is a tuple, in configured order; ``operations`` maps the woven
    driver methods to their :class:`~aspects.Operation`; ``ticks`` counts the
    ticks so far; ``last_reload`` has the time and the problems of the last hot
    reload, or is None. ``driver``, ``backend``, ``host``, ``hook_methods``,
    ``periodic_hooks_ticks`` and ``new_context`` are the arguments of :func:`weave`.
    """

    __slots__ = (
        *("__weakref__", "backend", "chain", "driver", "hook_methods", "host"),
        *("instances", "last_reload", "methods", "new_context", "operations"),
        *("periodic_hooks_ticks", "ticks"),
    )

    #: The methods that are operations.
    interface: ClassVar[Interface] = DRIVER

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
        self.last_reload: Reload | None = None
        #: The instances in the backend section, if the hooks came from one.
        self.instances: Sequence[Any] = ()
        self.chain = Chain(hooks, backend)
        self.operations: Mapping[str, Operation] = operations_of(
            driver, backend, host, hook_methods, new_context, self.interface
        )
        #: Driver method name -> the method last seen, its woven method.
        self.methods = _EMPTY_TABLE
        self._report_chain()

    @property
    def hooks(self) -> tuple[Any, ...]:
        """The hooks, in configured order."""
        return self.chain.hooks

    def start(self) -> None:
        """Start the hooks, in the process that runs the driver.

        An error of a hook's ``start()`` is logged, and so is a hook without effect.
        """
        self.chain.start()
        _started[id(self)] = self
        for hook in self.hooks:
            if isinstance(hook, HookBase):
                self._warn_if_ineffective(hook)

    def _warn_if_ineffective(self, hook: HookBase) -> None:
        try:
            found = hook.ineffective()
        except Exception as error:
            log_failure(hook, "ineffective", "weaving", error)
            return
        if found:
            cause, advice = found
            LOG.warning(
                "Hook %(hook)s of backend %(backend)s: %(cause)s; %(advice)s",
                {
                    "hook": hook_name(hook),
                    "backend": self.backend,
                    "cause": cause,
                    "advice": advice,
                },
            )

    def stop(self) -> None:
        """Stop the hooks; calls that begin later run no hooks.

        Calls and ticks in flight have :data:`DRAIN_TIMEOUT` seconds to finish first.
        """
        _started.pop(id(self), None)
        self.chain.stop(time.monotonic() + DRAIN_TIMEOUT)

    def replace(
        self, hooks: Iterable[Any], set_switches: Callable[[], None] = lambda: None
    ) -> None:
        """Replace all hooks at once; calls in flight keep the hooks they have.

        If the chain is started, new hooks are started first. Removed hooks are stopped
        after the last call that uses them.

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
        """Weave another driver with the same arguments.

        :param driver: e.g. a copy of this driver
        """
        return weave(
            driver,
            self.hooks,
            self.backend,
            self.host,
            hook_methods=self.hook_methods,
            periodic_hooks_ticks=self.periodic_hooks_ticks,
            new_context=self.new_context,
            kind=type(self),
        )

    def around(self, operation: Operation, method: Method) -> Method:
        """Put the chain around a driver method.

        :param operation: its operation
        :param method: the driver method
        """
        return around(self.chain, operation, method)

    def wraps_this_chain(self, method: Any) -> bool:
        """Return whether a method has this chain around it."""
        return issubclass(type(method), WovenMethod) and (
            method._self_chain is self.chain
        )

    def method_of(self, name: str, method: Any) -> Any:
        """Return the woven method for an attribute of the driver.

        :param name: the name of the attribute
        :param method: its value; returned unchanged if it is not callable
        """
        if not callable(method) or self.wraps_this_chain(method):
            return method
        if self.methods is _EMPTY_TABLE:
            self.methods = {}
        operation = self.operations.get(name)
        if operation is None:
            # The driver got the method after it was woven.
            operation = self.interface.operation(
                name, method, self.backend, self.host, self.new_context
            )
            self.operations = types.MappingProxyType(
                {**self.operations, name: operation}
            )
        woven = (WovenClass if isinstance(method, type) else WovenMethod)(method)
        woven._self_chain = self.chain
        woven._self_call = self.around(operation, method)
        self.methods[name] = (method, woven)
        return woven


_started: weakref.WeakValueDictionary[int, Weaving] = weakref.WeakValueDictionary()

# A child process starts its hooks itself.
os.register_at_fork(after_in_child=_started.clear)


def started_weavings() -> tuple[Weaving, ...]:
    """Return the weavings of this process whose hooks are started."""
    # This copies all references at once, while another thread may start hooks.
    found = [reference() for reference in _started.valuerefs()]
    return tuple(weaving for weaving in found if weaving is not None)


def weave(
    driver: object,
    hooks: Iterable[Any],
    backend: str | None = None,
    host: str | None = None,
    *,
    hook_methods: Iterable[str] = (),
    periodic_hooks_ticks: int = 1,
    new_context: ContextFactory = new_admin_context,
    kind: type[Weaving] = Weaving,
) -> Any:
    """Put a chain of hooks around a driver instance.

    Only :func:`is_woven` distinguishes the woven driver from the original.

    :param driver: any share driver instance; it is not changed
    :param hooks: the hooks, in order; may be empty
    :param backend: the name of the backend section, for hooks and logs
    :param host: the share service's host, for hooks
    :param hook_methods: further driver methods to weave, under their own names
    :param periodic_hooks_ticks: run the periodic hooks every N ticks
    :param new_context: returns a context for hooks if neither the call nor oslo.context
        has one
    :param kind: the class of the weaving, for objects other than drivers
    :return: the woven driver
    :raises AlreadyWoven: if the driver is woven
    :raises TypeError: if ``hooks`` contains something else, or ``hook_methods`` is a
        string
    :raises ValueError: if ``periodic_hooks_ticks`` is less than 1, or one of
        ``hook_methods`` cannot be the name of a driver method
    """
    if is_woven(driver):
        raise AlreadyWoven(f"{driver!r} is already woven")
    if isinstance(hook_methods, str):
        raise TypeError(f"hook_methods: expected several names, got {hook_methods!r}")
    if periodic_hooks_ticks < 1:
        raise ValueError(
            f"periodic_hooks_ticks: expected at least 1, got {periodic_hooks_ticks}"
        )
    hooks = tuple(hooks)
    for hook in hooks:
        if isinstance(hook, type) or not all(hasattr(hook, n) for n in _CONTRACT):
            raise TypeError(f"{hook!r} is not a hook: see aspects.HookBase")
        if cause := never_runs(hook):
            raise TypeError(f"{hook!r}: {cause}")
    hook_methods = tuple(hook_methods)
    for name in hook_methods:
        if cause := invalid_method_name(name):
            raise ValueError(f"hook_methods: {name!r}: {cause}")
    woven: Any = woven_driver(driver, kind.interface, hook_methods)
    woven._self_weaving = kind(
        driver, hooks, backend, host, hook_methods, periodic_hooks_ticks, new_context
    )
    return woven


def invalid_method_name(name: str) -> str | None:
    """Return why a name cannot be the name of a driver method, or None if it can.

    :param name: the name
    """
    if not name.isidentifier():
        return "not a valid method name"
    if name.startswith(("__", "_self_")):
        return "a special name, which cannot be a driver method"
    return None


_CONTRACT = (
    *HOOK_METHODS,
    *("pre_hooks_enabled", "post_hooks_enabled", "periodic_hooks_enabled"),
)


def unweave(woven: Any) -> Any:
    """Return the original driver of a woven driver.

    :param woven: a woven driver; it keeps working
    :return: the driver, unchanged
    :raises TypeError: if it is not woven
    """
    return weaving(woven).driver


def is_woven(obj: object) -> bool:
    """Return whether an object is a woven driver.

    :param obj: any object
    """
    return issubclass(type(obj), WovenDriver)


def weaving(woven: Any) -> Weaving:
    """Return the weaving of a woven driver.

    :param woven: a woven driver
    :return: its hooks, operations and tick count
    :raises TypeError: if it is not woven
    """
    if not is_woven(woven):
        raise TypeError(f"{woven!r} is not a woven driver")
    return woven._self_weaving  # type: ignore[no-any-return]

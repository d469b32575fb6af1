# SPDX-License-Identifier: Apache-2.0
"""A step: one hook in a chain, with the methods enabled for an operation."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from aspects.core.breaker import breaker_of, record_failure, supervised
from aspects.core.log import hook_name, log_veto
from aspects.core.observe import observed_method
from aspects.core.signature import PROTOCOLS, adapt_signature, results_in
from aspects.errors import Veto
from aspects.hook import HookBase, Method, Switch
from aspects.operations import matches


class Switches(NamedTuple):
    """The switches of one hook at one moment; the names are those of its attributes."""

    pre_hooks_enabled: bool
    post_hooks_enabled: bool
    periodic_hooks_enabled: bool
    suppress_pre_hooks_errors: bool
    suppress_post_hooks_errors: bool
    suppress_periodic_hooks_errors: bool
    hook_operations: Sequence[str]
    hook_enforcement: str
    hook_slow_seconds: float
    hook_failure_limit: int
    hook_failure_pause: float

    @classmethod
    def of(cls, hook: Any) -> Switches:
        """Read the switches of a hook.

        :param hook: a hook of this package, or an adapted one
        """
        return cls(*[getattr(hook, name) for name in cls._fields])

    def enables(self, kind: str) -> bool:
        """Return whether a hook method is enabled.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        """
        if kind == "pre":
            return self.pre_hooks_enabled
        if kind == "periodic":
            return self.periodic_hooks_enabled
        return self.post_hooks_enabled

    def enable(self, *kinds: str) -> bool:
        """Return whether any of several hook methods is enabled.

        :param kinds: ``pre``, ``post``, ``error`` or ``periodic``
        """
        return any(map(self.enables, kinds))

    def suppress(self, kind: str) -> bool:
        """Return whether errors of a hook method are suppressed.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        """
        if kind == "pre":
            return self.suppress_pre_hooks_errors
        if kind == "post":
            return self.suppress_post_hooks_errors
        return kind == "error" or self.suppress_periodic_hooks_errors

    def select(self, operation: str) -> bool:
        """Return whether the hook is for an operation.

        A tick is not an operation; ``enable_periodic_hooks`` alone enables it.

        :param operation: the operation
        """
        return operation == "periodic" or matches(operation, self.hook_operations)


class AdaptedHook:
    """A hook of Manila's contract, with defaults for missing attributes.

    Its switches are plain attributes, which do not report changes, so a chain reads
    them when a call begins.

    :param hook: the hook
    """

    def __init__(self, hook: Any) -> None:
        self.hook = hook
        self._lease: Any = None
        self._breaker = breaker_of(hook)

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self.hook, name)
        except AttributeError:
            default = getattr(HookBase, name)
        return default.default if isinstance(default, Switch) else default

    @property
    def instance_name(self) -> str:
        """The name in ``hook_drivers``, or else the name of the class."""
        return getattr(self.hook, "instance_name", "") or type(self.hook).__name__

    @property
    def hook_operations(self) -> tuple[str, ...]:
        """The patterns of the instance section, or a pattern for all operations.

        A class of Manila's contract may have an unrelated attribute of that name.
        """
        patterns = getattr(self.hook, "hook_operations", None)
        if isinstance(patterns, (list, tuple, set, frozenset)):
            return tuple(patterns)
        return ("*",)

    @property
    def may_veto(self) -> bool:
        """True if an error of the pre method denies the call."""
        return bool(getattr(self.hook, "may_veto", not self.suppress_pre_hooks_errors))


def adapt(hook: Any) -> Any:
    """Return a hook with all attributes that a chain uses.

    :param hook: any hook
    :return: the hook itself if it inherits HookBase, or else an adapted hook
    """
    return hook if isinstance(hook, (HookBase, AdaptedHook)) else AdaptedHook(hook)


def reports_changes(hook: Any) -> bool:
    """Return whether a hook refreshes its chains when a switch is set.

    :param hook: any hook; a subclass may replace switches by plain attributes
    """
    return isinstance(hook, HookBase) and all(
        isinstance(getattr(type(hook), name), Switch) for name in Switches._fields
    )


def may_be_skipped(hook: Any, switches: Switches) -> bool:
    """Return whether the circuit breaker may skip a hook.

    :param hook: the hook, adapted
    :param switches: its switches
    """
    may_veto = switches.pre_hooks_enabled and hook.may_veto
    return bool(switches.hook_failure_limit) and not may_veto


def error_method(hook: Any) -> Method | None:
    """Return the error method of a hook, or None if it does not implement one.

    :param hook: any hook
    """
    method = getattr(hook, "_execute_error_hook", None)
    if getattr(method, "__func__", method) is HookBase._execute_error_hook:
        return None
    return method


_NAMES = {kind: f"_execute_{kind}_hook" for kind in PROTOCOLS}


def disabled(*args: Any, **kwargs: Any) -> None:
    """Do nothing; replaces a disabled hook method."""


class Step:
    """One hook in the calls of one operation.

    :param hook: the hook, adapted
    :param switches: its switches
    :param operation: the operation; ``periodic`` for a tick
    :param observers: the observers of this hook
    """

    __slots__ = ("error", "hook", "periodic", "post", "pre", "skips", "switches")

    def __init__(
        self,
        hook: Any,
        switches: Switches,
        operation: str,
        observers: Sequence[HookBase] = (),
    ) -> None:
        self.hook = hook
        self.switches = switches
        self.pre, self.post, self.error, self.periodic = (
            self._method(kind, operation, observers) for kind in PROTOCOLS
        )
        #: Returns whether the circuit breaker skips the hook; None without one.
        self.skips: Method | None = None
        if may_be_skipped(hook, switches):
            limit, pause = switches.hook_failure_limit, switches.hook_failure_pause
            self.skips = functools.partial(breaker_of(hook).is_open, limit, pause)

    def _method(
        self, kind: str, operation: str, observers: Sequence[HookBase]
    ) -> Method:
        """Return a hook method with the wrappers that its options need."""
        hook = self.hook
        tick = operation == "periodic"
        if (kind == "periodic") is not tick or not self.switches.enables(kind):
            return disabled
        method = error_method(hook) if kind == "error" else getattr(hook, _NAMES[kind])
        if method is None:
            return disabled
        method = adapt_signature(method, PROTOCOLS[kind])
        if observers:
            method = observed_method(observers, hook, kind, method, operation)
        dispatcher = hook.dispatcher
        if dispatcher is None:
            return supervised(hook, kind, method, operation if tick else None)
        if kind in hook.deferred_methods:
            return _deferred(dispatcher, hook, kind, method, operation)
        if kind in hook.dispatching_methods:
            # The dispatcher supervises the part of the work that it gets.
            return method
        return supervised(hook, kind, method, operation if tick else None)

    def attempt(self, kind: str, operation: str, /, *args: Any, **kwargs: Any) -> Any:
        """Run a hook method outside a call.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param operation: the operation
        :param args: the arguments of the method, the context first
        :param kwargs: the keyword arguments of the method
        :return: its return value, or its error if that is suppressed; None for an
            error method that raises
        :raises Exception: an error that is not suppressed
        """
        try:
            return getattr(self, kind)(*args, **kwargs)
        except Exception as error:
            rest = args[len(PROTOCOLS[kind]) :]
            call = (args[0], rest, kwargs, results_in(kind, args))
            if not self.suppresses(kind, error, operation, *call):
                raise
            return None if kind == "error" else error

    def suppresses(
        self,
        kind: str,
        error: Exception,
        operation: Any,
        context: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        results: Any = None,
    ) -> bool:
        """Return whether an error is suppressed, and log it if it is.

        Hooks never keep a backend from working by itself. So errors in a routine
        operation are suppressed. A veto there is suppressed too, unless
        ``hook_operations`` contains the exact name of the operation.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param error: the exception of the hook method
        :param operation: the operation
        :param context: the context of the call
        :param args: the positional arguments of the call, less the context
        :param kwargs: the keyword arguments of the call, less the context
        :param results: the driver's result, if the method had it
        """
        call = (context, args, kwargs)
        # suppress_periodic_hooks_errors applies to a tick, although it is routine.
        routine = kind != "periodic" and not getattr(operation, "requested", True)
        if kind == "pre" and (veto := Veto.within(error)):
            if self._warns(veto):
                reason = "hook_enforcement = warn"
                if veto.enforcement == "warn":
                    reason = "enforcement: warn"
            elif routine and operation not in self.switches.hook_operations:
                reason = f"hook_operations does not name the routine {operation}"
            else:
                _blame(error, self.hook, kind, results)
                return False
            breaker_of(self.hook).count("not_enforced")
            log_veto(self.hook, operation, veto, reason, *call)
        elif routine or self.switches.suppress(kind):
            record_failure(self.hook, kind, operation, error, *call, results)
        else:
            _blame(error, self.hook, kind, results)
            return False
        return True

    def note_veto(self, operation: Any, error: Exception) -> Any:
        """Return the operation with the veto of a hook in warn mode added.

        :param operation: the operation
        :param error: a suppressed error of the pre method
        :return: the operation for the rest of the call; the same one unless the error
            is a veto in warn mode
        """
        veto = Veto.within(error)
        if veto is None or not self._warns(veto):
            return operation
        return operation.with_veto(hook_name(self.hook), _text(veto))

    def _warns(self, veto: Veto) -> bool:
        return "warn" in (self.switches.hook_enforcement, veto.enforcement)


class RaisedBy(NamedTuple):
    """The origin of an error that a hook did not suppress."""

    hook: Any
    kind: str
    """``pre`` or ``post``"""
    results: Any
    """the driver's result, if the method received it"""


def _blame(error: Exception, *origin: Any) -> None:
    """Store the origin of an error in the error, which is about to reach the caller."""
    # An exception of a hook may reject new attributes.
    with contextlib.suppress(Exception):
        error._aspects_raised_by = RaisedBy(*origin)  # type: ignore[attr-defined]


def raised_by(error: Exception) -> RaisedBy | None:
    """Return the origin of an error of a call.

    :param error: an error that a woven method raised
    :return: the hook that raised it; None if it is the error of the driver
    """
    return getattr(error, "_aspects_raised_by", None)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _deferred(
    dispatcher: Any, hook: Any, kind: str, method: Method, operation: str
) -> Method:
    """Return a function that enqueues a hook method instead of running it."""
    tick = operation if kind == "periodic" else None

    def put(*args: Any, **kwargs: Any) -> None:
        dispatcher.put(hook, kind, tick or args[1], method, *args, **kwargs)

    return put


def step_of(hook: Any, operation: Any) -> Step:
    """Return a step to run a hook outside a chain.

    :param hook: the hook
    :param operation: the operation
    """
    return Step(hook, Switches.of(hook), operation)

# SPDX-License-Identifier: Apache-2.0
"""The contract of a hook, the same as Manila's ``manila.share.hook``."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, Protocol

from oslo_config import cfg

from aspects.config.options import SWITCHES, hook_options, instance_options

Method = Callable[..., Any]


class UpdatedArguments:
    """Returned by a pre method to replace arguments of the call.

    :param changes: new values by parameter name, for the hooks after this one and
        for the driver; a name that the driver's method does not take is an error of
        the hook
    :param pre_hook_data: the ``pre_hook_data`` of this hook
    """

    __slots__ = ("changes", "pre_hook_data")

    def __init__(self, changes: Mapping[str, Any], pre_hook_data: Any = None) -> None:
        self.changes = changes
        self.pre_hook_data = pre_hook_data

    def __repr__(self) -> str:
        # Without the values: they may be access keys.
        return f"UpdatedArguments({', '.join(map(str, self.changes))})"


class UpdatedResults:
    """Returned by a post method to replace the driver's result.

    :param results: the result for the next hook and for the caller
    """

    __slots__ = ("results",)

    def __init__(self, results: Any) -> None:
        self.results = results

    def __repr__(self) -> str:
        return f"UpdatedResults({self.results!r})"


class Observed(NamedTuple):
    """One run of a driver method or hook method, for a hook that observes it."""

    kind: str
    """``driver``, ``pre``, ``post``, ``error`` or ``periodic``"""
    hook: Any
    """the hook whose method runs; None for the driver"""
    operation: Any
    """the :class:`~aspects.Operation`; that of a tick is ``periodic``"""
    context: Any
    """the request's context"""
    args: tuple[Any, ...]
    """the positional arguments of the call, less the context"""
    kwargs: Mapping[str, Any]
    """the keyword arguments of the call, less the context"""


class Configuration(Protocol):
    """The options of a hook, e.g. Manila's ``Configuration``."""

    #: The name of the section; None for ``[DEFAULT]``.
    config_group: str | None

    def safe_get(self, key: str, /) -> Any:
        """Return the value of an option, or None where there is none."""

    def append_config_values(self, options: Sequence[cfg.Opt], /) -> None:
        """Register options in the section."""


class Dispatcher(Protocol):
    """Runs hook methods off the caller's thread."""

    def put(
        self,
        hook: object,
        kind: str,
        operation: str,
        method: Method,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Enqueue a hook method: see :meth:`aspects.Background.put`."""

    def stop(self) -> None:
        """Drain the queue. A later :meth:`put` starts a new one."""


def _operations(patterns: Any) -> tuple[str, ...]:
    """Return the patterns of ``hook_operations`` as a tuple.

    :raises TypeError: if it is one string, or not a collection of strings
    """
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Iterable):
        raise TypeError(
            f"hook_operations: expected a list of names or patterns, got {patterns!r}"
        )
    operations = tuple(patterns)
    for operation in operations:
        if not isinstance(operation, str):
            raise TypeError(f"hook_operations: expected strings, got {operation!r}")
    return operations


def _enforcement(value: Any) -> str:
    """Return the value of ``hook_enforcement``.

    :raises ValueError: if it is neither ``deny`` nor ``warn``
    """
    if value not in ("deny", "warn"):
        raise ValueError(f"hook_enforcement: expected deny or warn, got {value!r}")
    return str(value)


class Switch:
    """A switch of a hook; setting it updates the chains that contain the hook.

    :param default: the value until one is set
    :param check: returns the value to keep, or raises
    """

    def __init__(
        self, default: Any = False, check: Callable[[Any], Any] | None = None
    ) -> None:
        self.default = default
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, hook: HookBase | None, owner: type) -> Any:
        if hook is None:
            return self
        return vars(hook).get(self.name, self.default)

    def __set__(self, hook: HookBase, value: Any) -> None:
        vars(hook)[self.name] = value if self.check is None else self.check(value)
        for chain in hook._chains:
            chain.refresh()


class HookBase(abc.ABC):
    """Base class of all hooks.

    Subclass it and implement ``_execute_pre_hook``, ``_execute_post_hook`` and
    ``_execute_periodic_hook``; implement ``_execute_error_hook`` too to learn of
    failures. In each, ``args`` and ``kwargs`` are the caller's arguments to the
    driver, positional ones still positional, without the context.

    :param configuration: the options of this hook instance, or None for those
        of oslo.config's global ``CONF``
    :param host: the share service's host, e.g. ``node1@alpha``
    """

    #: Options of this class, registered beside :data:`hook_options`. Make them
    #: ``mutable`` and read them with :meth:`get_config_option` when needed,
    #: and they follow the file without a restart.
    options: ClassVar[Sequence[cfg.Opt]] = ()

    #: The name of this instance in ``hook_drivers``, empty outside of one.
    instance_name: str = ""

    #: Runs the deferred methods, with ``hook_dispatch = background``.
    dispatcher: Dispatcher | None = None

    #: The hook methods that a dispatcher runs. The pre method is never among them,
    #: as it may veto the call.
    deferred_methods: ClassVar[Sequence[str]] = ("post", "error", "periodic")

    #: The hook methods that hand a part of their work to the dispatcher themselves.
    dispatching_methods: ClassVar[Sequence[str]] = ()

    #: The values of ``hook_dispatch`` that the class supports.
    dispatches: ClassVar[Sequence[str]] = ("inline", "background")

    #: Whether the pre method may raise :class:`Veto`. The circuit breaker never
    #: skips a hook that may.
    may_veto: ClassVar[bool] = True

    hook_operations: Sequence[str] = Switch(("*",), _operations)  # type: ignore[assignment]
    hook_enforcement: str = Switch("deny", _enforcement)  # type: ignore[assignment]
    hook_slow_seconds: float = Switch(0.0)  # type: ignore[assignment]
    hook_failure_limit: int = Switch(0)  # type: ignore[assignment]
    hook_failure_pause: float = Switch(60.0)  # type: ignore[assignment]
    pre_hooks_enabled: bool = Switch()  # type: ignore[assignment]
    post_hooks_enabled: bool = Switch()  # type: ignore[assignment]
    periodic_hooks_enabled: bool = Switch()  # type: ignore[assignment]
    suppress_pre_hooks_errors: bool = Switch()  # type: ignore[assignment]
    suppress_post_hooks_errors: bool = Switch()  # type: ignore[assignment]
    suppress_periodic_hooks_errors: bool = Switch()  # type: ignore[assignment]

    # Kept here by the core: the chains to refresh, the circuit breaker, the lease.
    _chains: Iterable[Any] = ()
    _breaker: Any = None
    _lease: Any = None

    configuration: Configuration | None = None
    host: str | None = None

    def __init__(self, configuration: Configuration | None, host: str | None) -> None:
        # Set here, and not when first used: a later key would double the size of
        # the instance's dict.
        self._chains, self._breaker, self._lease = (), None, None
        self.configuration = configuration
        self.host = host
        options = [*hook_options, *instance_options, *self.options]
        if configuration:
            configuration.append_config_values(options)
        else:
            cfg.CONF.register_opts(options)
        for switch, option in SWITCHES.items():
            # None where the configuration does not know the option.
            if (value := self.get_config_option(option)) is not None:
                setattr(self, switch, value)

    def get_config_option(self, key: str) -> Any:
        """Return the current value of an option.

        :param key: the option's name
        :return: its value, or None where there is no such option
        """
        if self.configuration:
            return self.configuration.safe_get(key)
        try:
            return cfg.CONF[key]
        except cfg.NoSuchOptError:
            return None

    @abc.abstractmethod
    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run before the driver.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :return: the ``pre_hook_data`` of this call, or :class:`UpdatedArguments` to
            replace arguments as well
        :raises Veto: to forbid the call
        """

    @abc.abstractmethod
    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run after the driver returned.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: the value that the pre method of this call returned,
            its error if that was suppressed, None if the pre method is disabled
        :param driver_action_results: the result, as the hooks before left it
        :return: :class:`UpdatedResults` to replace the result; anything else
            changes nothing
        """

    @abc.abstractmethod
    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run on a tick.

        :param context: an admin context
        :param periodic_hook_data: the answer of the driver's
            ``get_periodic_hook_data``, or the share instances where the driver has
            no such method
        """

    def _execute_error_hook(  # noqa: B027 (optional)
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run after the driver or another hook raised. Optional.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: as for :meth:`_execute_post_hook`
        :param error: the exception that the caller will get
        """

    def start(self) -> None:  # noqa: B027 (optional)
        """Get ready to run, in the process that runs the driver. Optional.

        Manila's share service calls it once before it sets the driver up, after it
        has forked: start threads and servers here, not in the constructor.
        """

    def stop(self) -> None:  # noqa: B027 (optional)
        """Release what :meth:`start` acquired. Optional.

        No call or tick uses the hook any more, except one that outlasts the time
        that the end of a process waits.
        """

    def counts(self) -> dict[str, int]:
        """Return counters for the operator's report.

        :return: the hook methods that were ``suppressed``, ``slow`` and ``skipped``,
            the vetoes that were ``not_enforced``, and the methods that the
            dispatcher ``dropped``; those that are 0 may be missing
        """
        counts = {} if self._breaker is None else dict(self._breaker.counts)
        if dropped := getattr(self.dispatcher, "dropped", 0):
            counts["dropped"] = dropped
        return counts

    def observe(self, observed: Observed) -> AbstractContextManager[Any] | None:
        """Observe one run of the driver's method or of another hook's method. Optional.

        It is called before each run while any method of this hook is enabled, for
        the operations in its ``hook_operations``. The run happens inside the context
        manager. An exception that the context manager raises is logged; one that it
        swallows is raised all the same.

        :param observed: the run
        :return: a context manager around the run; None to let it pass
        """
        return None

    def chain_changed(self, hooks: tuple[Any, ...]) -> None:  # noqa: B027 (optional)
        """Learn which hooks share the chain with this one. Optional.

        :param hooks: the hooks of the chain, in order, this one included
        """

    # For callers that run a hook by hand, as Manila's manager does.

    def execute_pre_hook(
        self, context: Any = None, func_name: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Run the pre method if it is enabled.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param args: the positional arguments of the call
        :param kwargs: the keyword arguments of the call
        :return: its return value; its error if that is suppressed; else None
        :raises Exception: an error of the method that is not suppressed
        """
        return self._attempt("pre", func_name, context, func_name, *args, **kwargs)

    def execute_post_hook(
        self,
        context: Any = None,
        func_name: Any = None,
        pre_hook_data: Any = None,
        driver_action_results: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run the post method if it is enabled.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: the return value of :meth:`execute_pre_hook`
        :param driver_action_results: the driver's result
        :param args: the positional arguments of the call
        :param kwargs: the keyword arguments of the call
        :return: its return value; its error if that is suppressed; else None
        :raises Exception: an error of the method that is not suppressed
        """
        protocol = (context, func_name, pre_hook_data, driver_action_results)
        return self._attempt("post", func_name, *protocol, *args, **kwargs)

    def execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run the periodic method if it is enabled.

        :param context: an admin context
        :param periodic_hook_data: the answer of the driver's
            ``get_periodic_hook_data``
        :param args: further arguments for the method
        :param kwargs: further keyword arguments for the method
        :return: its return value; its error if that is suppressed; else None
        :raises Exception: an error of the method that is not suppressed
        """
        protocol = (context, periodic_hook_data)
        return self._attempt("periodic", "periodic", *protocol, *args, **kwargs)

    def execute_error_hook(
        self,
        context: Any = None,
        func_name: Any = None,
        pre_hook_data: Any = None,
        error: BaseException | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run the error method if completions are enabled; log an error of it.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: the return value of :meth:`execute_pre_hook`
        :param error: the exception that the caller gets
        :param args: the positional arguments of the call
        :param kwargs: the keyword arguments of the call
        :return: its return value, or None
        """
        if error is None:
            return None
        protocol = (context, func_name, pre_hook_data, error)
        return self._attempt("error", func_name, *protocol, *args, **kwargs)

    def _attempt(self, kind: str, operation: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The core imports this module, so this one imports the core when it is called.
        from aspects.core.step import step_of

        return step_of(self, operation).attempt(kind, operation, *args, **kwargs)

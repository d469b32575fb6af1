# SPDX-License-Identifier: Apache-2.0
"""The contract of a hook, compatible with Manila's ``manila.share.hook``."""

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
        for the driver; the hook fails if the driver method has no parameter of a name
    :param pre_hook_data: the ``pre_hook_data`` of this hook
    """

    __slots__ = ("changes", "pre_hook_data")

    def __init__(self, changes: Mapping[str, Any], pre_hook_data: Any = None) -> None:
        self.changes = changes
        self.pre_hook_data = pre_hook_data

    def __repr__(self) -> str:
        # The values are left out, because they may be access keys.
        return f"UpdatedArguments({', '.join(map(str, self.changes))})"


class UpdatedResults:
    """Returned by a post method to replace the driver's result.

    :param results: the result for the next hook and for the caller
    """

    __slots__ = ("results",)

    def __init__(self, results: Any) -> None:
        self.results = results

    def __repr__(self) -> str:
        # The value is left out, because it may have access keys.
        return f"UpdatedResults({type(self.results).__name__})"


class Observed(NamedTuple):
    """One run of a driver method or hook method, as an observer receives it."""

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
    results: Any = None
    """the driver's result, if the method receives it; the data of a tick"""


class Configuration(Protocol):
    """The options of a hook, e.g. Manila's ``Configuration``."""

    #: The name of the section; None for ``[DEFAULT]``.
    config_group: str | None

    def safe_get(self, key: str, /) -> Any:
        """Return the value of an option, or None if it is not registered."""

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
    :param check: validates a value, and returns it or a normalized one
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
    ``_execute_periodic_hook``. Implement ``_execute_error_hook`` too if the hook has to
    handle failures. Each method gets the caller's arguments in ``args`` and ``kwargs``,
    without the context. Positional arguments stay positional.

    :param configuration: the options of this hook instance, or None for oslo.config's
        global ``CONF``
    :param host: the share service's host, e.g. ``node1@alpha``
    """

    #: Options of this class, registered in addition to :data:`hook_options`. For hot
    #: reload, make them ``mutable`` and call :meth:`get_config_option` at each use.
    options: ClassVar[Sequence[cfg.Opt]] = ()

    #: The name of this instance in ``hook_drivers``; empty if it comes from elsewhere.
    instance_name: str = ""

    #: Runs the deferred methods if ``hook_dispatch`` is ``background``.
    dispatcher: Dispatcher | None = None

    #: The hook methods that a dispatcher runs. The pre method is never one of them,
    #: because it may veto the call.
    deferred_methods: ClassVar[Sequence[str]] = ("post", "error", "periodic")

    #: The hook methods that themselves pass a part of their work to the dispatcher.
    dispatching_methods: ClassVar[Sequence[str]] = ()

    #: The maximum number of methods that a dispatcher runs at once.
    background_workers: ClassVar[int] = 1

    #: The hook methods without which a hook of the class has no effect. ``post`` means
    #: both completions.
    required_methods: ClassVar[Sequence[str]] = ()

    #: The values of ``hook_dispatch`` that the class supports.
    dispatches: ClassVar[Sequence[str]] = ("inline", "background")

    #: Whether the pre method may raise :class:`Veto`. The circuit breaker never skips
    #: such a hook while its pre method is enabled.
    may_veto: ClassVar[bool] = True

    #: Whether the pre method has effects outside of the service. ``manila-aspects
    #: check`` warns about a guard after such a hook.
    pre_has_effects: ClassVar[bool] = False

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

    # The core stores the chains to refresh, the circuit breaker and the lease here.
    _chains: Iterable[Any] = ()
    _breaker: Any = None
    _lease: Any = None

    configuration: Configuration | None = None
    host: str | None = None

    def __init__(self, configuration: Configuration | None, host: str | None) -> None:
        # Set in the constructor, not at the first use: a later key would double the
        # size of the instance's dict.
        self._chains, self._breaker, self._lease = (), None, None
        self.configuration = configuration
        self.host = host
        options = [*hook_options, *instance_options, *self.options]
        if configuration:
            configuration.append_config_values(options)
        else:
            cfg.CONF.register_opts(options)
        for switch, option in SWITCHES.items():
            # The value is None if the configuration does not have the option.
            if (value := self.get_config_option(option)) is not None:
                setattr(self, switch, value)

    def get_config_option(self, key: str) -> Any:
        """Return the current value of an option.

        :param key: the option's name
        :return: its value, or None if it is not registered
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
        """Run before the driver method.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :return: the ``pre_hook_data`` of this call, or :class:`UpdatedArguments` to
            replace arguments as well
        :raises Veto: to deny the call
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
        """Run after the driver method has returned.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: the value that this hook's pre method returned, its
            suppressed error, or None if the pre method is disabled
        :param driver_action_results: the result, with the changes of earlier hooks
        :return: :class:`UpdatedResults` to replace the result; any other value is
            ignored
        """

    @abc.abstractmethod
    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run on a tick.

        :param context: an admin context
        :param periodic_hook_data: the answer of the driver's
            ``get_periodic_hook_data``, or the share instances if the driver does not
            implement that method
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
        """Run after the driver or another hook has raised. Optional.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: as for :meth:`_execute_post_hook`
        :param error: the exception that the caller will get
        """

    def start(self) -> None:  # noqa: B027 (optional)
        """Get ready to run, in the process that runs the driver. Optional.

        Manila's share service calls it once, after the fork and before the driver's
        ``do_setup``. Start threads and servers here, not in the constructor.
        """

    def stop(self) -> None:  # noqa: B027 (optional)
        """Release what :meth:`start` acquired. Optional.

        No call or tick uses the hook any more, except one that takes longer than the
        drain timeout when the process exits.
        """

    def counts(self) -> dict[str, int]:
        """Return counters for the operator's report.

        :return: the number of errors that were ``suppressed``, of runs that were
            ``slow``, of calls that ``skipped`` the hook, of vetoes that were
            ``not_enforced`` and of methods that the dispatcher ``dropped``; a counter
            that is 0 may be missing
        """
        counts = {} if self._breaker is None else dict(self._breaker.counts)
        if dropped := getattr(self.dispatcher, "dropped", 0):
            counts["dropped"] = dropped
        return counts

    def observe(self, observed: Observed) -> AbstractContextManager[Any] | None:
        """Observe one run of the driver's method or of another hook's method. Optional.

        It is called before each run of an operation in this hook's ``hook_operations``,
        while any method of this hook is enabled. The run happens inside the context
        manager. An exception of the context manager itself is logged. The context
        manager cannot swallow an exception of the run.

        :param observed: the run
        :return: a context manager around the run, or None not to observe it
        """
        return None

    def ineffective(self) -> tuple[str, str] | None:
        """Return why the hook has no effect in its configuration. Optional.

        ``manila-aspects check`` reports it as a problem, and the share service logs it
        when it starts. The default checks :attr:`required_methods`.

        :return: the cause and the correction; None if the hook has an effect
        """
        for kind in self.required_methods:
            if not getattr(self, f"{kind}_hooks_enabled"):
                option = f"enable_{kind}_hooks"
                cause = f"the hook has no effect, since {option} is False"
                return cause, f"set {option} = True"
        return None

    def chain_changed(self, hooks: tuple[Any, ...]) -> None:  # noqa: B027 (optional)
        """Receive the hooks of the chain that this hook is in. Optional.

        :param hooks: the hooks of the chain, in order, this one included
        """

    # Manila's share manager runs hooks through these methods.

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
        # Imported late, because the core imports this module.
        from aspects.core.step import step_of

        return step_of(self, operation).attempt(kind, operation, *args, **kwargs)

# SPDX-License-Identifier: Apache-2.0
"""The contract of a hook, the same as Manila's ``manila.share.hook``."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from oslo_config import cfg

from aspects.config.options import SWITCHES, hook_options, instance_options
from aspects.core.breaker import health_of
from aspects.core.log import log_failure, suppressed

Action = Callable[..., Any]


class UpdatedResults:
    """Returned by a post action to replace what the driver returned.

    :param results: the result for the next hook and for the caller
    """

    __slots__ = ("results",)

    def __init__(self, results: Any) -> None:
        self.results = results

    def __repr__(self) -> str:
        return f"UpdatedResults({self.results!r})"


class Configuration(Protocol):
    """What a hook is configured by, e.g. Manila's ``Configuration``."""

    #: The name of the section; None for ``[DEFAULT]``.
    config_group: str | None

    def safe_get(self, key: str, /) -> Any:
        """Return the value of an option, or None where there is none."""

    def append_config_values(self, options: Sequence[cfg.Opt], /) -> None:
        """Register options in the section."""


class Dispatcher(Protocol):
    """What runs actions off the caller's thread."""

    def put(
        self,
        hook: object,
        kind: str,
        operation: str,
        action: Action,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Have an action run: see :meth:`aspects.Background.put`."""

    def stop(self) -> None:
        """Run what was put, and begin anew with what is put later."""


class _Switch:
    """A switch of a hook: setting it renews the chains that the hook is in.

    So a chain holds only actions that are on, and a call need not ask.

    :param default: the value of one that was not set
    """

    def __init__(self, default: Any = False) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, hook: HookBase | None, owner: type) -> Any:
        if hook is None:
            return self
        return vars(hook).get(self.name, self.default)

    def __set__(self, hook: HookBase, value: Any) -> None:
        vars(hook)[self.name] = value
        for reference in tuple(vars(hook).get("_chains", ())):
            if chain := reference():
                chain.refresh()


class HookBase(abc.ABC):
    """Base of all hooks.

    Inherit it and write ``_execute_pre_hook``, ``_execute_post_hook`` and
    ``_execute_periodic_hook``; write ``_execute_error_hook`` too to learn of
    failures. In each, ``args`` and ``kwargs`` are what the caller passed to
    the driver, positional as positional, less the context.

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

    #: What runs the deferred actions, for ``hook_dispatch = background``.
    dispatcher: Dispatcher | None = None

    #: The actions that a dispatcher runs. A pre action may forbid the call, so
    #: it is none of them.
    deferred_actions: ClassVar[Sequence[str]] = ("post", "error", "periodic")

    #: The actions that hand a part of their work to the dispatcher themselves.
    dispatching_actions: ClassVar[Sequence[str]] = ()

    #: The values of ``hook_dispatch`` that the class can do.
    dispatches: ClassVar[Sequence[str]] = ("inline", "background")

    #: Whether a pre action may raise :class:`Veto`. A hook that may is never
    #: skipped for its failures.
    may_veto: ClassVar[bool] = True

    hook_operations: Sequence[str] = _Switch(("*",))  # type: ignore[assignment]
    hook_enforcement: str = _Switch("deny")  # type: ignore[assignment]
    hook_slow_seconds: float = _Switch(0.0)  # type: ignore[assignment]
    hook_failure_limit: int = _Switch(0)  # type: ignore[assignment]
    hook_failure_pause: float = _Switch(60.0)  # type: ignore[assignment]
    pre_hooks_enabled: bool = _Switch()  # type: ignore[assignment]
    post_hooks_enabled: bool = _Switch()  # type: ignore[assignment]
    periodic_hooks_enabled: bool = _Switch()  # type: ignore[assignment]
    suppress_pre_hooks_errors: bool = _Switch()  # type: ignore[assignment]
    suppress_post_hooks_errors: bool = _Switch()  # type: ignore[assignment]
    suppress_periodic_hooks_errors: bool = _Switch()  # type: ignore[assignment]

    def __init__(self, configuration: Configuration | None, host: str | None) -> None:
        self.configuration = configuration
        self.host = host
        options = [*hook_options, *instance_options, *self.options]
        if configuration:
            configuration.append_config_values(options)
        else:
            cfg.CONF.register_opts(options)
        for switch, option in SWITCHES.items():
            setattr(self, switch, self.get_config_option(option))

    def get_config_option(self, key: str) -> Any:
        """Return the value of an option as it is now.

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
        """Act before the driver is called.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :return: the ``pre_hook_data`` that the ending of this call gets
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
        """Act after the driver returned.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: what the pre action of this call returned, the
            error that it raised if that was suppressed, None if it is off
        :param driver_action_results: the result, as the hooks before left it
        :return: :class:`UpdatedResults` to replace the result; anything else
            changes nothing
        """

    @abc.abstractmethod
    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Act on a tick.

        :param context: an admin context
        :param periodic_hook_data: what the driver's ``get_periodic_hook_data``
            returned, or the share instances where it has no such method
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
        """Act after the driver, or a later hook, raised. Optional.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: as for :meth:`_execute_post_hook`
        :param error: what the caller will get
        """

    def start(self) -> None:  # noqa: B027 (optional)
        """Get ready to run, in the process that runs the driver. Optional.

        Under Manila it is called once before the driver is set up, after the
        service has forked: start threads and servers here, not in the constructor.
        """

    def stop(self) -> None:  # noqa: B027 (optional)
        """End what :meth:`start` began. Optional.

        No call or tick has the hook any more, but for one that takes longer than the
        end of a process waits for.
        """

    def counts(self) -> dict[str, int]:
        """Return how often something happened that an operator wants to know of.

        :return: ``suppressed``, ``slow`` and ``skipped`` actions, and those that
            were ``dropped``, as far as there were any
        """
        counts = dict(health_of(self).counts)
        if dropped := getattr(self.dispatcher, "dropped", 0):
            counts["dropped"] = dropped
        return counts

    def wrap_action(self, hook: object, kind: str, action: Action) -> Action:
        """Return what runs in the place of an action of a hook of the chain.

        Optional, for hooks that watch others: called for every action that is
        on, also this hook's own, whenever the chain is made.

        :param hook: the hook
        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param action: takes the arguments of that kind of action
        """
        return action

    def wrap_driver(self, operation: Any, method: Action) -> Action:
        """Return what runs in the place of a driver method. Optional.

        :param operation: the :class:`~aspects.Operation`
        :param method: the driver's method
        """
        return method

    # The same behind the switches, for those who run a hook by hand as
    # Manila's manager does. A chain calls the actions themselves.

    def execute_pre_hook(
        self, context: Any = None, func_name: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Run the pre action if it is on.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param args: the positional arguments of the call
        :param kwargs: the keyword arguments of the call
        :return: what it returned; its error if that is suppressed; else None
        :raises Exception: what it raised, if that is not suppressed
        """
        if not self.pre_hooks_enabled:
            return None
        try:
            return self._execute_pre_hook(context, func_name, *args, **kwargs)
        except Exception as error:
            switch = self.suppress_pre_hooks_errors
            call = (func_name, context, args, kwargs)
            if not suppressed(switch, self, "pre", error, *call):
                raise
            return error

    def execute_post_hook(
        self,
        context: Any = None,
        func_name: Any = None,
        pre_hook_data: Any = None,
        driver_action_results: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run the post action if it is on.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: what :meth:`execute_pre_hook` returned
        :param driver_action_results: what the driver returned
        :param args: the positional arguments of the call
        :param kwargs: the keyword arguments of the call
        :return: what it returned; its error if that is suppressed; else None
        :raises Exception: what it raised, if that is not suppressed
        """
        if not self.post_hooks_enabled:
            return None
        try:
            return self._execute_post_hook(
                context,
                func_name,
                pre_hook_data,
                driver_action_results,
                *args,
                **kwargs,
            )
        except Exception as error:
            switch = self.suppress_post_hooks_errors
            call = (func_name, context, args, kwargs)
            if not suppressed(switch, self, "post", error, *call):
                raise
            return error

    def execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Run the periodic action if it is on.

        :param context: an admin context
        :param periodic_hook_data: what the driver's ``get_periodic_hook_data``
            returned
        :param args: further arguments for the action
        :param kwargs: further keyword arguments for it
        :return: what it returned; its error if that is suppressed; else None
        :raises Exception: what it raised, if that is not suppressed
        """
        if not self.periodic_hooks_enabled:
            return None
        try:
            return self._execute_periodic_hook(
                context, periodic_hook_data, *args, **kwargs
            )
        except Exception as error:
            switch = self.suppress_periodic_hooks_errors
            if not suppressed(switch, self, "periodic", error, "periodic"):
                raise
            return error

    def execute_error_hook(
        self,
        context: Any = None,
        func_name: Any = None,
        pre_hook_data: Any = None,
        error: BaseException | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run the error action if endings are on; an error of it is logged.

        :param context: the request's context
        :param func_name: the :class:`~aspects.Operation`
        :param pre_hook_data: what :meth:`execute_pre_hook` returned
        :param error: what the caller gets
        :param args: the positional arguments of the call
        :param kwargs: the keyword arguments of the call
        :return: what it returned, or None
        """
        if not self.post_hooks_enabled or error is None:
            return None
        try:
            return self._execute_error_hook(
                context, func_name, pre_hook_data, error, *args, **kwargs
            )
        except Exception as failure:
            log_failure(self, "error", func_name, failure, context, args, kwargs)
            return None

# SPDX-License-Identifier: Apache-2.0
"""The contract of a hook, the same as Manila's ``manila.share.hook``."""

from __future__ import annotations

import abc
import inspect
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from oslo_config import cfg
from oslo_log import log

from aspects.health import health_of, hook_name
from aspects.operations import Operation
from aspects.secrets import text_of

LOG = log.getLogger(__name__)

Action = Callable[..., Any]


class SharedOpt(cfg.Opt):
    """An option that stands in for Manila's own of its name.

    oslo.config refuses a second, unequal option of one name, in whichever
    order the two are registered, and Manila registers its own when its manager
    is imported. This one is equal to any option of its name.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, cfg.Opt) and other.dest == self.dest

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = cfg.Opt.__hash__


class _SharedBoolOpt(SharedOpt, cfg.BoolOpt):
    pass


class _SharedFloatOpt(SharedOpt, cfg.FloatOpt):
    pass


#: Names, types and defaults are those of ``manila.share.hook.hook_options``;
#: ``suppress_periodic_hooks_errors`` is new.
hook_options: list[cfg.Opt] = [
    _SharedBoolOpt(
        "enable_pre_hooks",
        default=False,
        mutable=True,
        help="Whether to run pre actions, before the driver.",
    ),
    _SharedBoolOpt(
        "enable_post_hooks",
        default=False,
        mutable=True,
        help="Whether to run the endings, after the driver: the post action "
        "when it returned, the error action when it raised.",
    ),
    _SharedBoolOpt(
        "enable_periodic_hooks",
        default=False,
        mutable=True,
        help="Whether to run periodic actions.",
    ),
    _SharedBoolOpt(
        "suppress_pre_hooks_errors",
        default=False,
        mutable=True,
        help="Whether an error of a pre action is logged and the driver called "
        "all the same. A veto is never suppressed.",
    ),
    _SharedBoolOpt(
        "suppress_post_hooks_errors",
        default=False,
        mutable=True,
        help="Whether an error of a post action is logged and the driver's "
        "result returned all the same.",
    ),
    _SharedBoolOpt(
        "suppress_periodic_hooks_errors",
        default=False,
        mutable=True,
        help="Whether an error of a periodic action is logged and the next "
        "hook's periodic action run all the same.",
    ),
    _SharedFloatOpt(
        "periodic_hooks_interval",
        default=300.0,
        help="Seconds between two ticks. Read from [DEFAULT] when the share "
        "service starts.",
    ),
]

#: Options of a hook instance that Manila's hooks do not have.
instance_options: list[cfg.Opt] = [
    cfg.ListOpt(
        "hook_operations",
        default=["*"],
        mutable=True,
        help="The operations that the hook is run for: names or glob patterns, as "
        "in create_*, delete_*. Ticks are not among them: they have a switch.",
    ),
    cfg.StrOpt(
        "hook_dispatch",
        default="inline",
        choices=[
            ("inline", "in the caller's thread"),
            (
                "background",
                "endings and periodic actions in order in a thread of their own; "
                "they cannot update results",
            ),
            (
                "durable",
                "of a hook that delivers events: each is on disk before the caller "
                "goes on, and delivered at least once",
            ),
        ],
        help="How the hook is run. A pre action always is in the caller's thread.",
    ),
    cfg.IntOpt(
        "hook_queue_size",
        default=1000,
        min=1,
        max=100_000,
        help="How many actions or events may wait in the background.",
    ),
    cfg.FloatOpt(
        "hook_queue_timeout",
        default=1.0,
        min=0,
        max=86400,
        help="Seconds that a caller waits for room in a full queue before the "
        "action is dropped, which is counted and logged.",
    ),
    cfg.FloatOpt(
        "hook_drain_timeout",
        default=10.0,
        min=0,
        max=86400,
        help="Seconds that a service that stops waits for what is in the queue.",
    ),
    cfg.FloatOpt(
        "hook_slow_seconds",
        default=0.0,
        min=0,
        mutable=True,
        help="An action that takes longer, in seconds, is counted and a warning in "
        "the log; 0 for never.",
    ),
    cfg.IntOpt(
        "hook_failure_limit",
        default=0,
        min=0,
        mutable=True,
        help="After so many suppressed errors in a row the hook is skipped for a "
        "while; 0 for never. A hook that may veto is never skipped.",
    ),
    cfg.FloatOpt(
        "hook_failure_pause",
        default=60.0,
        min=0,
        mutable=True,
        help="Seconds for which it is skipped, before it is tried once more.",
    ),
]

#: The attributes of a hook that make its part in a chain, and the option of each.
SWITCHES = {
    "hook_operations": "hook_operations",
    "hook_slow_seconds": "hook_slow_seconds",
    "hook_failure_limit": "hook_failure_limit",
    "hook_failure_pause": "hook_failure_pause",
    "pre_hooks_enabled": "enable_pre_hooks",
    "post_hooks_enabled": "enable_post_hooks",
    "periodic_hooks_enabled": "enable_periodic_hooks",
    "suppress_pre_hooks_errors": "suppress_pre_hooks_errors",
    "suppress_post_hooks_errors": "suppress_post_hooks_errors",
    "suppress_periodic_hooks_errors": "suppress_periodic_hooks_errors",
}


class UpdatedResults:
    """Returned by a post action to replace what the driver returned.

    :param results: the result for the next hook and for the caller
    """

    __slots__ = ("results",)

    def __init__(self, results: Any) -> None:
        self.results = results

    def __repr__(self) -> str:
        return f"UpdatedResults({self.results!r})"


class Veto(Exception):
    """Raised by a pre action to forbid the call: a decision, not a fault.

    It is never suppressed. The driver is not called, and the caller gets the
    veto.
    """


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


class _Observer(Protocol):
    def refresh(self) -> None: ...


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


#: What the protocol passes to each action, by position, before the arguments
#: of the call.
PRE = ("context", "func_name")
POST = ("context", "func_name", "pre_hook_data", "driver_action_results")
ERROR = ("context", "func_name", "pre_hook_data", "error")
PERIODIC = ("context", "periodic_hook_data")

#: The protocol of each kind of action.
PROTOCOLS = {"pre": PRE, "post": POST, "error": ERROR, "periodic": PERIODIC}


def fitted(action: Action, protocol: tuple[str, ...]) -> Action:
    """Return an action of a hook, ready to be called by position.

    Manila passes everything by keyword, so a hook that was written for it may
    have the protocol's arguments in another order or keyword-only, and may
    take the call's arguments by keyword alone, without ``*args``.

    :param action: a bound action of a hook
    :param protocol: the names of the protocol's arguments, in order
    :return: the action itself, unless it needs one of these
    """
    function = getattr(action, "__func__", action)
    try:
        # Read once a function: the chain of a hook whose switches are plain
        # attributes is made anew at each call.
        fits = _fits.setdefault(function, {})
    except TypeError:
        fits = {}
    if protocol not in fits:
        fits[protocol] = _fit(function, protocol)
    fit = fits[protocol]
    if fit is None:
        return action
    first, by_name, takes_args = fit

    def adapted(*args: Any, **kwargs: Any) -> Any:
        rest = args[len(protocol) :]
        if rest and not takes_args:
            rest, kwargs = (), args[1].arguments(rest, kwargs)
        kwargs.update((protocol[i], args[i]) for i in by_name)
        return action(*(args[i] for i in first), *rest, **kwargs)

    return adapted


Fit = tuple[tuple[int, ...], tuple[int, ...], bool]

_fits: weakref.WeakKeyDictionary[Action, dict[tuple[str, ...], Fit | None]] = (
    weakref.WeakKeyDictionary()
)


def _fit(function: Action, protocol: tuple[str, ...]) -> Fit | None:
    """Read off an action's signature how it takes its arguments.

    :return: which of the protocol's arguments go by position, which by
        keyword, whether it has ``*args``; None if just as they come
    """
    try:
        declared = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    kinds_of = [parameter.kind for parameter in declared.values()]
    # A bound action's own self is one of its function's.
    if kinds_of and inspect.isfunction(function):
        del kinds_of[0]
    takes_args = inspect.Parameter.VAR_POSITIONAL in kinds_of
    first = tuple(
        protocol.index(name)
        for name, parameter in declared.items()
        if name in protocol and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    )
    by_name = tuple(
        i
        for i, name in enumerate(protocol)
        if name in declared and declared[name].kind is inspect.Parameter.KEYWORD_ONLY
    )
    if by_name or first != tuple(sorted(first)):
        return first, by_name, takes_args
    if takes_args:
        return None
    positions = kinds_of.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if positions < len(protocol) and inspect.Parameter.VAR_KEYWORD in kinds_of:
        # The rest of the protocol goes into its **kwargs.
        rest = set(range(len(protocol))) - set(first)
        return first, tuple(sorted(rest)), False
    return tuple(range(len(protocol))), (), False


_observing = threading.Lock()


def observe(hook: object, chain: _Observer) -> bool:
    """Have a chain refreshed whenever a switch of the hook is set.

    :param hook: any hook
    :param chain: what to refresh; it is held weakly
    :return: whether the hook can tell; one whose switches are plain
        attributes, as those of Manila's own base class are, cannot
    """
    if not isinstance(hook, HookBase):
        return False
    for switch in SWITCHES:
        if not isinstance(getattr(type(hook), switch), _Switch):
            return False
    with _observing:
        chains = vars(hook).setdefault("_chains", [])
        if any(each() is chain for each in chains):
            return True
        chains.append(weakref.ref(chain))
        # Now and then, at each doubling, leave out those that are gone.
        if len(chains) & (len(chains) - 1) == 0:
            chains[:] = [each for each in chains if each() is not None]
    return True


def error_action(hook: Any) -> Action | None:
    """Return the error action of a hook, or None where it would do nothing.

    :param hook: any hook; those of upstream have no such action
    """
    action = getattr(hook, "_execute_error_hook", None)
    if getattr(action, "__func__", None) is HookBase._execute_error_hook:
        return None
    return action


def suppressed(
    switch: bool,
    hook: object,
    action: str,
    error: Exception,
    operation: str,
    context: Any = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> bool:
    """Tell whether an error of a hook's action stops here, and log it if so.

    :param switch: whether errors of that action are suppressed; a veto never is
    :param hook: the hook that raised
    :param action: ``pre``, ``post`` or ``periodic``
    :param error: what it raised
    :param operation: the operation, with its backend where it knows one
    :param context: the context that the action had
    :param args: the positional arguments of the call
    :param kwargs: the keyword arguments of the call
    """
    if not switch or (action == "pre" and isinstance(error, Veto)):
        return False
    log_failure(hook, action, operation, error, context, args, kwargs)
    return True


def log_failure(
    hook: object,
    action: str,
    operation: str,
    error: BaseException,
    context: Any = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Log and count an error that goes no further, without the secrets in it.

    :param hook: the hook that raised
    :param action: ``pre``, ``post``, ``error`` or ``periodic``
    :param operation: the operation, with its backend where it knows one
    :param error: what it raised
    :param context: the context that the action had
    :param args: the positional arguments of the call
    :param kwargs: the keyword arguments of the call
    """
    health_of(hook).failed(action)
    LOG.warning(
        "Suppressed an error of the %(action)s action of hook %(hook)s of backend "
        "%(backend)s in %(operation)s: %(type)s: %(error)s",
        {
            "action": action,
            "hook": hook_name(hook),
            "backend": getattr(operation, "backend", None),
            "operation": operation,
            "type": type(error).__name__,
            "error": text_of(
                error,
                context,
                {
                    **arguments_of(operation, args, kwargs),
                    "secrets": secret_options(getattr(hook, "configuration", None)),
                },
            ),
        },
    )


def secret_options(configuration: Any) -> list[str]:
    """Return the values of a hook's secret options, which no log is to have.

    :param configuration: what the hook is configured by
    """
    options = getattr(configuration, "options", None)
    if not isinstance(options, dict):
        return []
    return [
        str(value)
        for option in options.values()
        if option.secret and (value := configuration.safe_get(option.dest))
    ]


def arguments_of(
    operation: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the arguments of a call by name, as far as the names are known.

    :param operation: the operation, which knows the names if it is an Operation
    :param args: the positional arguments of the call
    :param kwargs: its keyword arguments
    """
    named = dict(kwargs or {})
    if isinstance(operation, Operation):
        return operation.arguments(args, named)
    return {**named, "args": args} if args else named

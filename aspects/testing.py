# SPDX-License-Identifier: Apache-2.0
"""Test helpers for hook authors; they need neither Manila nor a test framework.

.. code-block:: python

    driver = aspects.testing.FakeDriver(extend_share=OSError("disk full"))
    hook = aspects.testing.make_hook(MaxSizeHook, max_size_gigabytes=5)
    woven = aspects.weave(driver, [hook])
    with pytest.raises(aspects.Veto):
        woven.create_share(None, {"size": 6})
    assert driver.calls == []
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from oslo_config import cfg, sources

from aspects.config import plan
from aspects.config.options import SWITCHES
from aspects.config.problems import Problem, suggest
from aspects.config.sections import BackendSection, InstanceSection
from aspects.errors import HookConfigError, UnresolvedNameError
from aspects.hook import HookBase
from aspects.signatures import SIGNATURES as SIGNATURES

Hook = TypeVar("Hook")

#: Driver method -> the result by default, if Manila takes None for a failure or expects
#: export locations.
DEFAULT_RESULTS: Mapping[str, Any] = {
    "create_share": ["192.0.2.1:/exports/share"],
    "create_share_from_snapshot": ["192.0.2.1:/exports/share"],
    "manage_existing": {"size": 1},
    "manage_existing_with_server": {"size": 1},
    "create_share_group_from_share_group_snapshot": (None, None),
    "create_share_group_snapshot": (None, None),
    "delete_share_group_snapshot": (None, None),
    "create_backup_continue": {"total_progress": "100"},
    "restore_backup_continue": {"total_progress": "100"},
    "migration_continue": True,
    "share_server_migration_check_compatibility": {"compatible": True},
    "share_server_migration_continue": True,
    "share_server_migration_complete": {},
    "setup_server": {},
    "manage_server": (None, None),
    "update_share_server_network_allocations": {},
}


class DriverCall(NamedTuple):
    """One call of a :class:`FakeDriver`'s method; its ``str`` is the method's name."""

    method: str
    """the driver method's name"""
    arguments: dict[str, Any]
    """the arguments by parameter name, including the context"""

    def __str__(self) -> str:
        return self.method


class HookCall(NamedTuple):
    """One call of a :class:`Recorder`'s method; its ``str`` is e.g. ``after.post``."""

    hook: str
    """the hook's ``instance_name``"""
    kind: str
    """``pre``, ``post``, ``error`` or ``periodic``"""
    context: Any
    func_name: Any
    """the :class:`~aspects.Operation`; None for ``periodic``"""
    data: Any
    """``pre_hook_data``, or ``periodic_hook_data``; None for ``pre``"""
    outcome: Any
    """the driver's result for ``post``, the error for ``error``, else None"""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.hook}.{self.kind}"


def _give(answer: Any, call: Any) -> Any:
    """Raise an answer that is an exception, call a callable one, or return it."""
    raised = isinstance(answer, type) and issubclass(answer, BaseException)
    if raised or isinstance(answer, BaseException):
        raise answer
    return answer(call) if callable(answer) else answer


def _check_names(answers: Iterable[str], names: Iterable[str], what: str) -> None:
    """Raise TypeError for an answer of a method that does not exist."""
    for name in answers:
        if name not in names:
            hint = suggest(name, names)
            raise TypeError(f"{what} has no method {name}" + (hint and f"; {hint}"))


class FakeDriver:
    """A share driver that only records its calls.

    It has the driver methods behind every operation, with the parameters of Manila's
    ``ShareDriver``. Inherit it to add other methods.

    :param calls: the list for its :class:`DriverCall` records; share one with
        :class:`Recorder` to see the order of all calls
    :param answers: as for :meth:`answer`
    """

    calls: list[Any]
    """The calls so far, in order, also those that raised."""

    def __init__(self, *, calls: list[Any] | None = None, **answers: Any) -> None:
        self.calls = [] if calls is None else calls
        self._answers: dict[str, Any] = {}
        self.answer(**answers)

    def answer(self, **answers: Any) -> None:
        """Set the answers of driver methods.

        A method without an answer returns None; one export location, if Manila
        expects export locations; or another success, if None is not one.

        :param answers: driver method -> an exception to raise, a function that gets
            the :class:`DriverCall` and returns the result, or the result itself
        :raises TypeError: if no driver method has the name
        """
        _check_names(answers, SIGNATURES, type(self).__name__)
        self._answers.update(answers)

    if TYPE_CHECKING:
        # The driver methods are added below.
        def __getattr__(self, name: str) -> Any: ...


def _driver_method(name: str, parameters: str) -> Callable[..., Any]:
    """Return a driver method for the fake driver."""
    function = eval(f"lambda self, {parameters}: None")
    function.__qualname__ = f"{FakeDriver.__name__}.{name}"

    def method(self: FakeDriver, *args: Any, **kwargs: Any) -> Any:
        # As with any method, arguments that do not fit raise TypeError.
        function(self, *args, **kwargs)
        arguments = inspect.signature(function).bind(self, *args, **kwargs).arguments
        del arguments["self"]
        arguments.update(arguments.pop("kwargs", {}))
        call = DriverCall(name, arguments)
        self.calls.append(call)
        if name in self._answers:
            return _give(self._answers[name], call)
        return copy.deepcopy(DEFAULT_RESULTS.get(name))

    method.__name__ = name
    method.__qualname__ = function.__qualname__
    method.__doc__ = "Record the call, and answer it."
    # inspect.signature() reads the signature of the wrapped function.
    method.__wrapped__ = function  # type: ignore[attr-defined]
    return method


for _name, _parameters in SIGNATURES.items():
    setattr(FakeDriver, _name, _driver_method(_name, _parameters))


class Recorder(HookBase):
    """A hook that records its calls; put it before or after the hook under test.

    :param configuration: as for :class:`~aspects.HookBase`; sets the switches, if given
    :param host: the share service's host
    :param name: its ``instance_name``
    :param calls: the list for its :class:`HookCall` records; share one with other
        recorders, and a :class:`FakeDriver`, to see the order of all calls
    :param enabled: without a configuration, the methods that are enabled; ``post``
        means both completions
    :param suppress: without a configuration, the methods whose errors are suppressed
    :param answers: as for :meth:`answer`
    """

    calls: list[Any]
    """The calls so far, in order, also those that raised."""

    def __init__(
        self,
        configuration: Any = None,
        host: str | None = None,
        *,
        name: str = "recorder",
        calls: list[Any] | None = None,
        enabled: Iterable[str] = ("pre", "post", "periodic"),
        suppress: Iterable[str] = (),
        **answers: Any,
    ) -> None:
        super().__init__(configuration, host)
        self.instance_name = name
        self.calls = [] if calls is None else calls
        self._answers: dict[str, Any] = {}
        self.answer(**answers)
        if configuration is None:
            for kind in ("pre", "post", "periodic"):
                setattr(self, f"{kind}_hooks_enabled", kind in enabled)
                setattr(self, f"suppress_{kind}_hooks_errors", kind in suppress)

    def answer(self, **answers: Any) -> None:
        """Set the answers of hook methods; a method without one returns None.

        :param answers: ``pre``, ``post``, ``error`` or ``periodic`` -> an exception to
            raise, a function that gets the :class:`HookCall` and returns the result, or
            the result itself
        :raises TypeError: if no method has the name
        """
        methods = ("pre", "post", "error", "periodic")
        _check_names(answers, methods, type(self).__name__)
        self._answers.update(answers)

    def _record(
        self,
        kind: str,
        context: Any,
        func_name: Any,
        data: Any,
        outcome: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        name = self.instance_name
        call = HookCall(name, kind, context, func_name, data, outcome, args, kwargs)
        self.calls.append(call)
        return _give(self._answers.get(kind), call)

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return self._record("pre", context, func_name, None, None, args, kwargs)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        outcome = driver_action_results
        return self._record(
            "post", context, func_name, pre_hook_data, outcome, args, kwargs
        )

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        return self._record(
            "error", context, func_name, pre_hook_data, error, args, kwargs
        )

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return self._record(
            "periodic", context, None, periodic_hook_data, None, args, kwargs
        )


class _Values(sources.ConfigurationSource):  # type: ignore[misc]
    """The options of one section, in memory."""

    def __init__(self, section: str, values: dict[str, Any]) -> None:
        self._section = section
        self._values = values
        self._location = cfg.LocationInfo(cfg.Locations.user, "make_hook")

    def get(self, group_name: str | None, option_name: str, opt: cfg.Opt) -> Any:
        value = None
        if group_name == self._section:
            value = self._values.get(option_name)
        if value is None:
            return sources._NoValue, None
        return value, self._location


def make_hook(
    cls: type[Hook],
    /,
    *,
    name: str | None = None,
    backend: str = "alpha",
    host: str | None = "host@alpha",
    **options: Any,
) -> Hook:
    """Construct a hook as ``manila-share`` does for an entry of ``hook_drivers``.

    All hook methods are enabled, unless an option disables them. The hook is neither
    started nor in a chain. The configuration and the environment of the process are
    ignored, and no file is read or written.

    :param cls: the class of the hook
    :param name: the name of the instance; the name of the class by default
    :param backend: the backend section
    :param host: the share service's host
    :param options: the options of the instance section: the hook's own, and those of
        every hook, e.g. ``enable_post_hooks`` or ``hook_operations``. A value is a
        string as in a file, or has the type of the option; None selects the default
    :return: the hook
    :raises HookConfigError: if an option is unknown, a value is invalid, or the
        constructor raises; the exception of the constructor is the ``__cause__``
    """
    name = name or cls.__name__
    own = f"{backend}:{name}"
    enabled = [option for option in SWITCHES.values() if option.startswith("enable_")]
    values = {**dict.fromkeys(enabled, True), **options}
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[], use_env=False)
    conf._sources.append(_Values(own, values))
    section = InstanceSection(BackendSection(conf, backend), name)
    section.append_config_values(getattr(cls, "options", ()))
    problems, cause = [], None
    try:
        hook: Any = plan.make_hook(cls, section, host)
    except UnresolvedNameError as error:
        cause = error.__cause__
        problems.append(Problem(backend, "hook_drivers", name, error.cause))
    # hook_operations are not checked, as they may name any of a section's hook_methods.
    problems += plan.dispatch_problems(cls, section)
    problems += section.problems()
    for option in options:
        if option not in section.options:
            advice = suggest(option, section.options)
            unknown = "unknown option"
            problems.append(Problem(own, option, str(options[option]), unknown, advice))
    if problems:
        raise HookConfigError(problems) from cause
    if not isinstance(hook, HookBase):
        for switch, option in SWITCHES.items():
            setattr(hook, switch, section.safe_get(option))
    return hook  # type: ignore[no-any-return]

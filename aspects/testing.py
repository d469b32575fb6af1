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

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from oslo_config import cfg, sources

from aspects.config import plan
from aspects.config.options import SWITCHES
from aspects.config.problems import Problem, suggest
from aspects.config.sections import BackendSection, InstanceSection
from aspects.errors import HookConfigError, UnresolvedNameError
from aspects.hook import HookBase

Hook = TypeVar("Hook")

#: Driver method -> its parameters, as in Manila's own ``ShareDriver``.
SIGNATURES = {
    "allocate_admin_network": "context, share_server, count=None, **kwargs",
    "allocate_network": "context, share_server, share_network, share_network_subnet, "
    "count=None, **kwargs",
    "allow_access": "context, share, access, share_server=None",
    "create_backup": "context, share_instance, backup, share_server=None",
    "create_backup_continue": "context, share_instance, backup, share_server=None",
    "create_replica": "context, replica_list, new_replica, access_rules, "
    "replica_snapshots, share_server=None",
    "create_replicated_snapshot": "context, replica_list, replica_snapshots, "
    "share_server=None",
    "create_share": "context, share, share_server=None",
    "create_share_from_snapshot": "context, share, snapshot, share_server=None, "
    "parent_share=None",
    "create_share_group": "context, share_group_dict, share_server=None",
    "create_share_group_from_share_group_snapshot": "context, share_group_dict, "
    "share_group_snapshot_dict, share_server=None",
    "create_share_group_snapshot": "context, snap_dict, share_server=None",
    "create_snapshot": "context, snapshot, share_server=None",
    "deallocate_network": "context, share_server_id, share_network=None, "
    "share_network_subnet=None",
    "delete_backup": "context, backup, share_instance, share_server=None",
    "delete_replica": "context, replica_list, replica_snapshots, replica, "
    "share_server=None",
    "delete_replicated_snapshot": "context, replica_list, replica_snapshots, "
    "share_server=None",
    "delete_share": "context, share, share_server=None",
    "delete_share_group": "context, share_group_dict, share_server=None",
    "delete_share_group_snapshot": "context, snap_dict, share_server=None",
    "delete_snapshot": "context, snapshot, share_server=None",
    "deny_access": "context, share, access, share_server=None",
    "do_setup": "context",
    "ensure_share": "context, share, share_server=None",
    "ensure_shares": "context, shares",
    "extend_share": "share, new_size, share_server=None",
    "get_share_stats": "refresh=False",
    "get_share_status": "share, share_server=None",
    "manage_existing": "share, driver_options",
    "manage_existing_snapshot": "snapshot, driver_options",
    "manage_existing_snapshot_with_server": "snapshot, driver_options, "
    "share_server=None",
    "manage_existing_with_server": "share, driver_options, share_server=None",
    "manage_server": "context, share_server, identifier, driver_options",
    "migration_cancel": "context, source_share, destination_share, source_snapshots, "
    "snapshot_mappings, share_server=None, destination_share_server=None",
    "migration_complete": "context, source_share, destination_share, source_snapshots, "
    "snapshot_mappings, share_server=None, destination_share_server=None",
    "migration_continue": "context, source_share, destination_share, source_snapshots, "
    "snapshot_mappings, share_server=None, destination_share_server=None",
    "migration_start": "context, source_share, destination_share, source_snapshots, "
    "snapshot_mappings, share_server=None, destination_share_server=None",
    "promote_replica": "context, replica_list, replica, access_rules, "
    "share_server=None, quiesce_wait_time=None",
    "restore_backup": "context, backup, share_instance, share_server=None",
    "restore_backup_continue": "context, backup, share_instance, share_server=None",
    "revert_to_replicated_snapshot": "context, active_replica, replica_list, "
    "active_replica_snapshot, replica_snapshots, share_access_rules, "
    "snapshot_access_rules, share_server=None",
    "revert_to_snapshot": "context, snapshot, share_access_rules, "
    "snapshot_access_rules, share_server=None",
    "setup_server": "network_info, metadata=None",
    "share_server_migration_cancel": "context, src_share_server, dest_share_server, "
    "shares, snapshots",
    "share_server_migration_check_compatibility": "context, share_server, dest_host, "
    "old_share_network, new_share_network, shares_request_spec",
    "share_server_migration_complete": "context, src_share_server, dest_share_server, "
    "shares, snapshots, new_network_info",
    "share_server_migration_continue": "context, src_share_server, dest_share_server, "
    "shares, snapshots",
    "share_server_migration_get_progress": "context, src_share_server, "
    "dest_share_server, shares, snapshots",
    "share_server_migration_start": "context, src_share_server, dest_share_server, "
    "shares, snapshots",
    "shrink_share": "share, new_size, share_server=None",
    "snapshot_update_access": "context, snapshot, access_rules, add_rules, "
    "delete_rules, share_server=None",
    "teardown_server": "server_details, security_services=None",
    "transfer_accept": "context, share, new_user, new_project, access_rules=None, "
    "share_server=None",
    "unmanage": "share",
    "unmanage_server": "server_details, security_services=None",
    "unmanage_snapshot": "snapshot",
    "unmanage_snapshot_with_server": "snapshot, share_server=None",
    "unmanage_with_server": "share, share_server=None",
    # Manila 2024.1 does not have update_rules.
    "update_access": "context, share, access_rules, add_rules, delete_rules, "
    "update_rules=None, share_server=None",
    "update_admin_network_allocation": "context, share_server",
    "update_network_allocation": "context, share_server",
    "update_replica_state": "context, replica_list, replica, access_rules, "
    "replica_snapshots, share_server=None",
    "update_replicated_snapshot": "context, replica_list, share_replica, "
    "replica_snapshots, replica_snapshot, share_server=None",
    "update_share_from_metadata": "context, share, metadata, share_server=None",
    "update_share_network_subnet_from_metadata": "context, share_network, "
    "share_network_subnet, share_server, metadata",
    "update_share_server_network_allocations": "context, share_server, "
    "current_network_allocations, new_network_allocations, security_services, "
    "shares, snapshots",
    "update_share_server_security_service": "context, share_server, network_info, "
    "share_instances, share_instance_rules, new_security_service, "
    "current_security_service=None",
}

#: Driver method -> the export locations that it returns by default.
EXPORT_LOCATIONS = dict.fromkeys(
    ("create_share", "create_share_from_snapshot"), ("192.0.2.1:/exports/share",)
)


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

        A method without an answer returns None, or one export location if Manila
        expects export locations.

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
        return list(EXPORT_LOCATIONS[name]) if name in EXPORT_LOCATIONS else None

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

# SPDX-License-Identifier: Apache-2.0
"""Which driver methods are which operations, and what an operation tells."""

from __future__ import annotations

import copy
import functools
import pickle
import runpy
import subprocess
import sys
from typing import Any

import pytest

import aspects
from aspects.operations import METHODS, OPERATIONS, ROUTINE
from tests.support.drivers import CoroutineDriver, Driver
from tests.support.hooks import Recorder
from tests.support.manager_source import releases
from tests.support.pages import DOCS
from tests.support.ways import finish

CONTEXT = object()

DOCUMENTED = {
    "allow_access": ["allow_access"],
    "deny_access": ["deny_access"],
    "create_share_instance": ["create_share", "create_share_from_snapshot"],
    "create_snapshot": ["create_snapshot"],
    "delete_share_instance": ["delete_share"],
    "delete_share_server": ["teardown_server"],
    "delete_snapshot": ["delete_snapshot"],
    "extend_share": ["extend_share"],
    "init_host": ["do_setup"],
    "manage_share": ["manage_existing", "manage_existing_with_server"],
    "publish_service_capabilities": ["get_share_stats"],
    "shrink_share": ["shrink_share"],
    "unmanage_share": ["unmanage", "unmanage_with_server"],
    "create_share_replica": ["create_replica"],
    "promote_share_replica": ["promote_replica"],
    "delete_share_replica": ["delete_replica"],
    "update_share_replica": ["update_replica_state"],
    "create_replicated_snapshot": ["create_replicated_snapshot"],
    "delete_replicated_snapshot": ["delete_replicated_snapshot"],
    "update_replicated_snapshot": ["update_replicated_snapshot"],
}
ADDED = {
    "update_access": ["update_access"],
    "manage_snapshot": [
        "manage_existing_snapshot",
        "manage_existing_snapshot_with_server",
    ],
    "unmanage_snapshot": ["unmanage_snapshot", "unmanage_snapshot_with_server"],
    "revert_to_snapshot": ["revert_to_snapshot", "revert_to_replicated_snapshot"],
    "manage_share_server": ["manage_server"],
    "unmanage_share_server": ["unmanage_server"],
    "share_server_migration_check": ["share_server_migration_check_compatibility"],
    "share_server_migration_start": ["share_server_migration_start"],
    "share_server_migration_driver_continue": ["share_server_migration_continue"],
    "share_server_migration_complete": ["share_server_migration_complete"],
    "share_server_migration_cancel": ["share_server_migration_cancel"],
    "share_server_migration_get_progress": ["share_server_migration_get_progress"],
    "create_share_server": ["setup_server"],
    "create_share_group": [
        "create_share_group",
        "create_share_group_from_share_group_snapshot",
    ],
    "delete_share_group": ["delete_share_group"],
    "create_share_group_snapshot": ["create_share_group_snapshot"],
    "delete_share_group_snapshot": ["delete_share_group_snapshot"],
    "create_backup": ["create_backup"],
    "create_backup_continue": ["create_backup_continue"],
    "delete_backup": ["delete_backup"],
    "restore_backup": ["restore_backup"],
    "restore_backup_continue": ["restore_backup_continue"],
    "migration_start": ["migration_start"],
    "migration_driver_continue": ["migration_continue"],
    "migration_complete": ["migration_complete"],
    "migration_cancel": ["migration_cancel"],
    "snapshot_update_access": ["snapshot_update_access"],
    "transfer_accept": ["transfer_accept"],
    "ensure_shares": ["ensure_shares", "ensure_share"],
    "get_share_status": ["get_share_status"],
    "update_share_network_security_service": ["update_share_server_security_service"],
    "update_share_server_network_allocations": [
        "update_share_server_network_allocations"
    ],
    "allocate_network": ["allocate_network"],
    "allocate_admin_network": ["allocate_admin_network"],
    "update_network_allocation": ["update_network_allocation"],
    "update_admin_network_allocation": ["update_admin_network_allocation"],
    "deallocate_network": ["deallocate_network"],
    "update_share_from_metadata": ["update_share_from_metadata"],
    "update_share_network_subnet_from_metadata": [
        "update_share_network_subnet_from_metadata"
    ],
}
TABLE = {**DOCUMENTED, **ADDED}
#: (driver method, operation); an operation's own name is a driver method too.
PAIRS = sorted(
    {
        (method, operation)
        for operation, methods in TABLE.items()
        for method in (operation, *methods)
    }
)


def driver_with(*names: str) -> Any:
    """Return a plain object that has these methods."""

    def method(self: Any, context: Any, *args: Any, **kwargs: Any) -> str:
        return "result"

    return type("Plain", (), dict.fromkeys(names, method))()


@pytest.fixture
def hook() -> Recorder:
    return Recorder()


def test_the_first_twenty_operations_are_the_documented_ones() -> None:
    assert list(OPERATIONS)[:20] == list(DOCUMENTED)
    assert len(DOCUMENTED) == 20
    assert OPERATIONS.keys() == TABLE.keys()


@pytest.mark.parametrize(("method", "operation"), PAIRS)
def test_a_driver_method_is_its_operation(
    hook: Recorder, method: str, operation: str
) -> None:
    woven = aspects.weave(driver_with(method), [hook])
    assert getattr(woven, method)(CONTEXT, "argument") == "result"
    assert [seen.kind for seen in hook.trace] == ["pre", "post"]
    for seen in hook.trace:
        assert seen.func_name == operation
        assert seen.func_name.method == method
        assert seen.context is CONTEXT
        assert seen.args == ("argument",)
    assert dict(aspects.weaving(woven).operations) == {method: operation}


def test_a_driver_may_have_both_an_operations_own_name_and_a_method_behind_it(
    hook: Recorder,
) -> None:
    woven = aspects.weave(driver_with("create_share", "create_share_instance"), [hook])
    woven.create_share(CONTEXT)
    woven.create_share_instance(CONTEXT)
    assert {seen.func_name for seen in hook.trace} == {"create_share_instance"}
    assert {seen.func_name.method for seen in hook.trace} == {
        "create_share",
        "create_share_instance",
    }


@pytest.mark.parametrize(
    "name",
    [
        "check_for_setup_error",
        "check_update_share_server_security_service",
        "get_periodic_hook_data",
        "get_pool",
        "migration_get_progress",
        "update_replica",
        "update_share_usage_size",
    ],
)
def test_other_driver_methods_are_no_operations(hook: Recorder, name: str) -> None:
    woven = aspects.weave(driver_with(name), [hook])
    getattr(woven, name)(CONTEXT)
    assert hook.trace == []


# Access rules.


class AccessDriver:
    def update_access(
        self,
        context: Any,
        share: Any,
        access_rules: Any,
        add_rules: Any,
        delete_rules: Any,
        update_rules: Any = None,
        share_server: Any = None,
    ) -> str:
        return "result"


@pytest.mark.parametrize(
    ("add", "delete", "update", "operation"),
    [
        (["a"], [], [], "allow_access"),
        (["a", "b"], None, None, "allow_access"),
        ([], ["d"], [], "deny_access"),
        (None, ["d"], None, "deny_access"),
        (["a"], ["d"], [], "update_access"),
        ([], [], [], "update_access"),
        (None, None, None, "update_access"),
        ([], [], ["u"], "update_access"),
        (["a"], [], ["u"], "update_access"),
        ([], ["d"], ["u"], "update_access"),
    ],
)
@pytest.mark.parametrize("by", ["position", "keyword"])
def test_update_access_is_what_its_rules_say(
    hook: Recorder, add: Any, delete: Any, update: Any, operation: str, by: str
) -> None:
    woven = aspects.weave(AccessDriver(), [hook], "alpha", "node@alpha")
    if by == "position":
        woven.update_access(CONTEXT, "share", ["x"], add, delete, update)
    else:
        woven.update_access(
            CONTEXT,
            "share",
            ["x"],
            add_rules=add,
            delete_rules=delete,
            update_rules=update,
            share_server=None,
        )
    assert len(hook.trace) == 2
    for seen in hook.trace:
        assert seen.func_name == operation
        assert isinstance(seen.func_name, aspects.Operation)
        assert seen.func_name.method == "update_access"
        assert seen.func_name.backend == "alpha"
        assert seen.func_name.host == "node@alpha"
        assert seen.func_name.arguments(seen.args, seen.kwargs)["add_rules"] == add


def test_update_access_of_a_driver_without_update_rules(hook: Recorder) -> None:
    class Older:
        def update_access(
            self, context: Any, share: Any, access_rules: Any, add_rules: Any,
            delete_rules: Any, share_server: Any = None,
        ) -> None: ...  # fmt: skip

    woven = aspects.weave(Older(), [hook])
    woven.update_access(CONTEXT, "share", [], [], ["d"])
    assert {seen.func_name for seen in hook.trace} == {"deny_access"}


def test_a_call_has_one_operation_whatever_the_driver_does_to_the_rules(
    hook: Recorder,
) -> None:
    class Emptying(AccessDriver):
        def update_access(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
            kwargs["add_rules"].clear()

    woven = aspects.weave(Emptying(), [hook])
    woven.update_access(CONTEXT, "share", [], add_rules=["a"], delete_rules=[])
    assert [seen.func_name for seen in hook.trace] == ["allow_access"] * 2


def test_one_hook_may_veto_access_alone() -> None:
    def refuse(seen: Any) -> None:
        if seen.func_name == "allow_access":
            raise aspects.Veto("no access")

    woven = aspects.weave(AccessDriver(), [Recorder(pre=refuse)])
    with pytest.raises(aspects.Veto):
        woven.update_access(CONTEXT, "share", [], ["a"], [])
    assert woven.update_access(CONTEXT, "share", [], [], ["d"]) == "result"


# An operation.


def func_name(hook: Recorder, driver: Any, method: str, *args: Any) -> Any:
    woven = aspects.weave(driver, [hook], "alpha", "node@alpha")
    getattr(woven, method)(*args)
    return hook.trace[-1].func_name


def test_an_operation_is_a_str_equal_to_its_name(hook: Recorder) -> None:
    operation = func_name(hook, Driver(), "create_share", CONTEXT, "share")
    assert isinstance(operation, aspects.Operation)
    assert isinstance(operation, str)
    assert operation == "create_share_instance"
    assert hash(operation) == hash("create_share_instance")
    assert str(operation) == f"{operation}" == "create_share_instance"
    assert operation in {"create_share_instance"}
    assert operation.startswith("create")


def test_an_operation_carries_method_backend_and_host(hook: Recorder) -> None:
    operation = func_name(hook, Driver(), "create_share", CONTEXT, "share")
    assert operation.method == "create_share"
    assert operation.backend == "alpha"
    assert operation.host == "node@alpha"


def test_an_operation_without_backend_and_host_has_none(hook: Recorder) -> None:
    aspects.weave(Driver(), [hook]).create_share(CONTEXT, "share")
    assert hook.trace[0].func_name.backend is None
    assert hook.trace[0].func_name.host is None


def test_two_backends_of_one_class_have_operations_of_their_own() -> None:
    hooks = Recorder(), Recorder()
    for hook, backend in zip(hooks, ("alpha", "beta")):
        woven = aspects.weave(Driver(), [hook], backend, f"node@{backend}")
        woven.create_share(CONTEXT, "share")
    for hook, backend in zip(hooks, ("alpha", "beta")):
        assert hook.trace[0].func_name.backend == backend
        assert hook.trace[0].func_name.host == f"node@{backend}"


@pytest.mark.parametrize("driver", [Driver, CoroutineDriver])
def test_an_operation_is_made_once_per_woven_method(
    hook: Recorder, driver: Any
) -> None:
    woven = aspects.weave(driver(), [hook])
    for _ in range(2):
        result = woven.create_share(CONTEXT, "share")
        if driver is CoroutineDriver:
            finish(result)
    operation = aspects.weaving(woven).operations["create_share"]
    assert len(hook.trace) == 4
    assert all(seen.func_name is operation for seen in hook.trace)


class Shapes:
    def create_share(
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> None: ...

    def delete_share(
        self, share: Any, context: Any, /, *, force: bool = False
    ) -> None: ...

    def create_snapshot(self, context: Any = None, *snapshots: Any) -> None: ...

    def extend_share(self, share: Any, new_size: int) -> None: ...

    def do_setup(self, context: Any) -> None: ...


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "arguments"),
    [
        ("create_share", (CONTEXT, 1), {}, {"share": 1}),
        ("create_share", (CONTEXT, 1, 2), {}, {"share": 1, "share_server": 2}),
        (
            "create_share",
            (CONTEXT,),
            {"share_server": 2, "share": 1},
            {"share": 1, "share_server": 2},
        ),
        ("create_share", (), {"context": CONTEXT, "share": 1}, {"share": 1}),
        ("create_share", (CONTEXT, 1), {"extra": 3}, {"share": 1, "extra": 3}),
        ("delete_share", (1, CONTEXT), {"force": True}, {"share": 1, "force": True}),
        ("create_snapshot", (CONTEXT, 1, 2), {}, {"snapshots": (1, 2)}),
        ("extend_share", (1, 2), {}, {"share": 1, "new_size": 2}),
        ("do_setup", (CONTEXT,), {}, {}),
    ],
)
def test_arguments_are_those_of_the_call_by_parameter_name_without_the_context(
    hook: Recorder, method: str, args: Any, kwargs: Any, arguments: Any
) -> None:
    getattr(aspects.weave(Shapes(), [hook]), method)(*args, **kwargs)
    for seen in hook.trace:
        got = seen.func_name.arguments(seen.args, seen.kwargs)
        assert got == arguments
        assert type(got) is dict


def test_arguments_of_a_call_that_does_not_fit_are_still_told(hook: Recorder) -> None:
    woven = aspects.weave(Shapes(), [hook])
    with pytest.raises(TypeError):
        woven.extend_share(1, 2, 3, other=4)
    seen = hook.trace[0]
    arguments = seen.func_name.arguments(seen.args, seen.kwargs)
    assert arguments == {"args": (1, 2, 3), "other": 4}


def test_a_method_without_a_signature_has_a_context_by_keyword(hook: Recorder) -> None:
    driver = Shapes()
    driver.create_share = dict  # type: ignore[assignment,method-assign]
    woven = aspects.weave(driver, [hook])
    assert woven.create_share(context=CONTEXT, share=1) == {
        "context": CONTEXT,
        "share": 1,
    }
    seen = hook.trace[0]
    assert seen.context is CONTEXT
    assert seen.func_name.arguments(seen.args, seen.kwargs) == {"share": 1}


def test_a_decorated_method_has_the_signature_of_what_it_wraps(hook: Recorder) -> None:
    def decorate(method: Any) -> Any:
        @functools.wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return wrapper

    class Decorated:
        @decorate
        def create_share(self, context: Any, share: Any) -> None: ...

    aspects.weave(Decorated(), [hook]).create_share(CONTEXT, 1)
    seen = hook.trace[0]
    assert seen.context is CONTEXT
    assert seen.func_name.arguments(seen.args, seen.kwargs) == {"share": 1}


def passing_on(self: Any, *args: Any, **kwargs: Any) -> None: ...


class PassesOn(Shapes):
    """As the GlusterFS drivers: the names of the arguments are the base class's."""

    def create_share(self, *args: Any, **kwargs: Any) -> None: ...

    # As those of Tegile's: a decorator has put something else there.
    extend_share = passing_on  # type: ignore[assignment]

    def shrink_share(self, *args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("call", "context", "arguments"),
    [
        (lambda d: d.create_share(CONTEXT, "share", "server"), CONTEXT, ("share",)),
        (lambda d: d.create_share(CONTEXT, share="share"), CONTEXT, ("share",)),
        (lambda d: d.extend_share("share", 2), None, ("share", "new_size")),
        # Nobody says what these are.
        (lambda d: d.shrink_share("share", 1), None, ("args",)),
    ],
)
def test_a_method_that_passes_on_what_it_gets_has_the_names_of_its_base_class(
    hook: Recorder, call: Any, context: Any, arguments: tuple[str, ...]
) -> None:
    call(aspects.weave(PassesOn(), [hook]))
    for seen in hook.trace:
        if context is not None:
            assert seen.context is context
        assert context not in seen.args
        told = seen.func_name.arguments(seen.args, seen.kwargs)
        assert set(arguments) <= set(told) <= {*arguments, "share_server"}


def test_arguments_change_neither_the_hooks_nor_the_callers(hook: Recorder) -> None:
    aspects.weave(Shapes(), [hook]).create_share(CONTEXT, share=1)
    seen = hook.trace[0]
    seen.func_name.arguments(seen.args, seen.kwargs)["share"] = 2
    assert seen.kwargs == {"share": 1}


def test_drivers_of_one_class_with_other_methods_have_operations_of_their_own() -> None:
    def delete_share(share: Any, force: bool, context: Any) -> None: ...

    hook, driver = Recorder(), Driver()
    aspects.weave(Driver(), [])
    driver.delete_share = delete_share  # type: ignore[assignment,method-assign]
    aspects.weave(driver, [hook]).delete_share("share", True, CONTEXT)
    seen = hook.trace[0]
    assert seen.context is CONTEXT
    assert seen.func_name.arguments(seen.args, seen.kwargs) == {
        "share": "share",
        "force": True,
    }


def test_operations_cannot_be_changed() -> None:
    operations = aspects.weaving(aspects.weave(Driver(), [])).operations
    with pytest.raises(TypeError):
        operations["helper"] = "helper"  # type: ignore[index]


def test_all_operations_but_those_of_access_are_those_of_every_call() -> None:
    woven = aspects.weave(driver_with(*METHODS), [])
    for method, operation in aspects.weaving(woven).operations.items():
        if method != "update_access":
            assert operation.for_call(([], ["add"]), {"add_rules": [1]}) is operation


# Requested and routine operations.

#: Routine operations that Manila also runs because somebody asks for it.
ALSO_REQUESTED = {
    "publish_service_capabilities": "a scheduler that has started asks for it",
    "update_share_replica": "the API resynchronizes a replica",
    "ensure_shares": "the API ensures the shares of a host",
    "share_server_migration_get_progress": "a client polls a migration",
}


@pytest.mark.parametrize(
    ("method", "operation", "requested"),
    [
        ("do_setup", "init_host", False),
        ("get_share_stats", "publish_service_capabilities", False),
        ("migration_continue", "migration_driver_continue", False),
        ("create_backup_continue", "create_backup_continue", False),
        ("ensure_share", "ensure_shares", False),
        ("create_backup", "create_backup", True),
        ("setup_server", "create_share_server", True),
        ("further", "further", True),
    ],
)
def test_a_hook_sees_whether_a_call_was_requested(
    hook: Recorder, method: str, operation: str, requested: bool
) -> None:
    woven = aspects.weave(driver_with(method), [hook], hook_methods=["further"])
    getattr(woven, method)(CONTEXT)
    assert [seen.func_name for seen in hook.trace] == [operation] * 2
    assert [seen.func_name.requested for seen in hook.trace] == [requested] * 2


def test_access_is_requested_whatever_the_rules(hook: Recorder) -> None:
    woven = aspects.weave(AccessDriver(), [hook])
    for add, delete in ((["a"], []), ([], ["d"]), (["a"], ["d"])):
        woven.update_access(CONTEXT, "share", [], add, delete)
    assert len(hook.trace) == 6
    assert all(seen.func_name.requested is True for seen in hook.trace)


def test_a_tick_is_routine() -> None:
    assert aspects.Operation("periodic").requested is False


# The operations and Manila's source: see tests/support/manager_source.py.

RELEASES = releases()

#: What Manila looks up on a driver beside the methods of operations.
CHANGES_NOTHING = {
    "__class__": "for its name",
    "_stats": "what get_share_stats returned last",
    "admin_network_api": "the network plugin",
    "check_for_setup_error": "a check",
    "check_update_share_server_network_allocations": "a check",
    "check_update_share_server_security_service": "a check",
    "choose_share_server_compatible_with_share": "a choice",
    "choose_share_server_compatible_with_share_group": "a choice",
    "configuration": "its options",
    "connection_get_info": "reads how a share is mounted",
    "dhss_mandatory_security_service_association": "a capability",
    "driver_handles_share_servers": "a capability",
    "encryption_support": "a capability",
    "get_admin_network_allocations_number": "reads a number",
    "get_backend_info": "reads what may have changed since the last start",
    "get_network_allocations_number": "reads a number",
    "get_optional_share_creation_data": "reads metadata of a new share",
    "get_periodic_hook_data": "the data of a tick",
    "get_pool": "reads the pool of a share",
    "get_share_server_network_info": "reads addresses",
    "get_share_server_pools": "reads capabilities of pools",
    "initialized": "set by the manager after do_setup",
    "ipv6_implemented": "a capability",
    "max_share_server_size": "a limit",
    "max_shares_per_share_server": "a limit",
    "migration_check_compatibility": "a check",
    "migration_get_progress": "reads the progress of a migration",
    "network_allocation_update_support": "a capability",
    "network_api": "the network plugin",
    "restore_to_target_support": "a capability",
    "security_service_update_support": "a capability",
    "service_instance_manager": "an object of the generic driver",
    "share_replicas_migration_support": "a capability",
    "update_share_usage_size": "reads how much of the shares is used",
}

#: Where Manila hands on the driver as a whole, or what has the same name.
PASSED = {
    "quota.py: self._driver_cls = CONF.quota.driver",
    "share/access.py: self.driver = driver",
    "share/manager.py: access.ShareInstanceAccess(self.db, self.driver)",
    "share/manager.py: hasattr(self.driver, 'service_instance_manager')",
    "share/manager.py: profiler.trace_cls('driver')(self.driver)",
    "share/manager.py: snapshot_access.ShareSnapshotInstanceAccess"
    "(self.db, self.driver)",
    "share/snapshot_access.py: self.driver = driver",
    "utils.py: set(conf.oslo_messaging_notifications.driver)",
}


def test_every_supported_release_of_manila_was_read() -> None:
    assert [int(release.split(".")[0]) for release in RELEASES] == [*range(18, 24)]


@pytest.mark.parametrize("release", RELEASES)
def test_what_manila_calls_on_a_driver_is_an_operation_or_changes_nothing(
    release: str,
) -> None:
    source = RELEASES[release]
    assert set(source["attributes"]) - METHODS.keys() <= CHANGES_NOTHING.keys()
    assert set(source["passed"]) <= PASSED


@pytest.mark.parametrize("release", RELEASES)
def test_what_manila_has_hooks_for_is_an_operation(release: str) -> None:
    assert len(RELEASES[release]["hooked"]) == 29
    assert set(RELEASES[release]["hooked"]) <= OPERATIONS.keys()


@pytest.mark.parametrize("release", RELEASES)
def test_what_manila_runs_by_itself_alone_is_routine(release: str) -> None:
    by_itself = {
        METHODS[method]
        for method in RELEASES[release]["by_itself"]
        if method in METHODS
    }
    assert by_itself == ROUTINE - {"periodic"} - ALSO_REQUESTED.keys()


def test_every_driver_method_of_an_operation_is_one_that_manila_calls() -> None:
    called = {name for source in RELEASES.values() for name in source["attributes"]}
    for operation, methods in OPERATIONS.items():
        assert set(methods) <= called
        assert methods or operation in called
    assert called >= CHANGES_NOTHING.keys()
    assert not METHODS.keys() & CHANGES_NOTHING.keys()


def test_the_documentation_has_a_table_of_the_operations() -> None:
    table = runpy.run_path(str(DOCS / "conf.py"))["operations_table"]()
    cells = [row.split("\n") for row in table.split("   * - ")[2:]]
    rows = [[cell.strip().removeprefix("- ") for cell in row if cell] for row in cells]
    names = {
        major: f"{major} ({series})"
        for major, series in zip(
            range(18, 24), ("2024.1", "2024.2", "2025.1", "2025.2", "2026.1", "2026.2")
        )
    }
    expected = []
    for operation, methods in OPERATIONS.items():
        majors = [
            int(release.split(".")[0])
            for release, source in RELEASES.items()
            if {operation, *methods} & set(source["attributes"])
        ]
        assert majors == [*range(majors[0], 24)]
        expected.append(
            [
                operation,
                ", ".join((operation, *methods)),
                "routine" if operation in ROUTINE else "requested",
                f"{names[majors[0]]} to {names[23]}",
            ]
        )
    assert rows == expected
    since = {row[0]: row[3] for row in rows}
    assert since["update_share_from_metadata"] == "19 (2024.2) to 23 (2026.2)"
    assert since["create_share_instance"] == "18 (2024.1) to 23 (2026.2)"


# Pickling.


class Odd(AccessDriver):
    """A driver with a default that cannot be pickled."""

    def get_share_stats(
        self, context: Any, refresh: Any, *, key: Any = lambda: 0, **more: Any
    ) -> None: ...


def fields(operation: Any) -> tuple[Any, ...]:
    return (
        type(operation),
        str(operation),
        operation.method,
        operation.backend,
        operation.host,
        operation.requested,
        operation.context_at,
        operation.arguments((1, 2), {"add_rules": 3, "key": 4}),
        operation.arguments((1, 2, 3, 4, 5, 6, 7), {}),
        operation.take_context((1, CONTEXT), {})[1:],
        operation.take_context((), {"context": CONTEXT, "key": 1})[1:],
    )


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("driver", [Odd(), Shapes(), driver_with(*METHODS)])
def test_an_operation_that_was_pickled_knows_the_same(
    driver: Any, protocol: int
) -> None:
    woven = aspects.weave(
        driver, [], "alpha", "node@alpha", new_context=lambda: "of the service"
    )
    operations = aspects.weaving(woven).operations
    assert operations
    for operation in operations.values():
        other = pickle.loads(pickle.dumps(operation, protocol))
        assert other is not operation
        assert other == operation
        assert fields(other) == fields(operation)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_operation_of_access_that_was_pickled_still_follows_the_rules(
    protocol: int,
) -> None:
    woven = aspects.weave(AccessDriver(), [], "alpha", "node@alpha")
    operation = aspects.weaving(woven).operations["update_access"]
    other = pickle.loads(pickle.dumps(operation, protocol))
    for rules in (["a"], []), ([], ["d"]), (["a"], ["d"]):
        args = ("share", [], *rules)
        assert other.for_call(args, {}) == operation.for_call(args, {})
        assert fields(other.for_call(args, {})) == fields(operation.for_call(args, {}))
    assert other.for_call(("share", [], ["a"], []), {}) == "allow_access"


@pytest.mark.slow
def test_an_operation_is_unpickled_without_the_driver_and_manila() -> None:
    woven = aspects.weave(Odd(), [], "alpha", "node@alpha")
    operation = aspects.weaving(woven).operations["get_share_stats"]
    script = f"""
import pickle, sys
operation = pickle.loads({pickle.dumps(operation)!r})
print(operation, operation.method, operation.backend, operation.host)
print(operation.requested, operation.arguments((True,), {{"key": 1}}))
print(operation.current_context().is_admin, "manila" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "publish_service_capabilities get_share_stats alpha node@alpha",
        "False {'refresh': True, 'key': 1}",
        "True False",
    ]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("method", ["update_access", "get_share_stats"])
def test_a_copy_of_an_operation_is_that_operation(copied: Any, method: str) -> None:
    woven = aspects.weave(Odd(), [])
    operation = aspects.weaving(woven).operations[method]
    assert copied(operation) is operation


# Drivers that are not ready before do_setup.


class Connects:
    """A driver that has its methods from a client, once it is set up."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.looked_up: list[str] = []
        self.client: Any = None

    def do_setup(self, context: Any) -> None:
        self.client = Shapes()

    def _of_the_client(self, name: str) -> Any:
        self.looked_up.append(name)
        if self.client is None:
            raise self.error
        return getattr(self.client, name)

    @property
    def create_share(self) -> Any:
        return self._of_the_client("create_share")

    @functools.cached_property
    def delete_share(self) -> Any:
        return self._of_the_client("delete_share")

    def __getattr__(self, name: str) -> Any:
        return self._of_the_client(name)


ERRORS = [RuntimeError("not before do_setup"), AttributeError("client"), KeyError("k")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    ("method", "args", "arguments"),
    [
        ("create_share", (CONTEXT, 1), {"share": 1}),
        ("delete_share", (1, CONTEXT), {"share": 1}),
        ("create_snapshot", (CONTEXT, 1), {"snapshots": (1,)}),
    ],
)
def test_a_method_that_is_there_after_do_setup_is_an_operation_then(
    hook: Recorder, error: Exception, method: str, args: Any, arguments: Any
) -> None:
    woven = aspects.weave(Connects(error), [hook], "alpha", "node@alpha")
    assert dict(aspects.weaving(woven).operations) == {"do_setup": "init_host"}
    with pytest.raises(type(error)):
        getattr(woven, method)
    woven.do_setup(CONTEXT)
    hook.trace.clear()
    for _ in range(2):
        getattr(woven, method)(*args)
    operation = aspects.weaving(woven).operations[method]
    assert operation == METHODS[method]
    assert (operation.backend, operation.host) == ("alpha", "node@alpha")
    assert [seen.kind for seen in hook.trace] == ["pre", "post"] * 2
    for seen in hook.trace:
        assert seen.func_name is operation
        assert seen.context is CONTEXT
        assert operation.arguments(seen.args, seen.kwargs) == arguments


def test_properties_are_not_evaluated_to_weave_a_driver() -> None:
    driver = Connects(RuntimeError("not before do_setup"))
    aspects.weave(driver, [])
    assert not {"create_share", "delete_share"} & set(driver.looked_up)


def test_what_one_driver_has_after_do_setup_is_no_other_drivers(
    hook: Recorder,
) -> None:
    one, two = (aspects.weave(Connects(ERRORS[0]), [hook]) for _ in range(2))
    one.do_setup(CONTEXT)
    one.create_share(CONTEXT, 1)
    assert "create_share" in aspects.weaving(one).operations
    assert "create_share" not in aspects.weaving(two).operations


class Unready:
    """What stands in place of a method and may be called, but not looked at."""

    def __call__(self, context: Any, share: Any) -> str:
        return "result"

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("not before do_setup")


def test_a_driver_whose_methods_raise_when_they_are_looked_at_is_woven() -> None:
    class Raises:
        create_share = Unready()
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("not before do_setup")

        delete_share = classmethod(lambda cls, context: "deleted")  # type: ignore
        extend_share = functools.partialmethod(lambda self, more: "more", 1)

    woven = aspects.weave(Raises(), [])
    assert woven.create_share(CONTEXT, 1) == "result"
    assert woven.delete_share(CONTEXT) == "deleted"
    assert aspects.weaving(woven).operations.keys() >= {"delete_share", "extend_share"}

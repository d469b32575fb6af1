# SPDX-License-Identifier: Apache-2.0
"""Requested and routine operations, compared with the source of Manila."""

from __future__ import annotations

import runpy

import pytest

import aspects
from aspects.operations import METHODS, OPERATIONS, ROUTINE_OPERATIONS
from tests.support.drivers import AccessDriver
from tests.support.hooks import Recorder
from tests.support.manager_source import releases
from tests.support.pages import DOCS

from .common import CONTEXT, driver_with

#: Routine operations that Manila also runs on request -> who requests them.
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


def test_every_operation_of_update_access_is_requested(hook: Recorder) -> None:
    woven = aspects.weave(AccessDriver(), [hook])
    for add, delete in ((["a"], []), ([], ["d"]), (["a"], ["d"])):
        woven.update_access(CONTEXT, "share", [], add, delete)
    assert len(hook.trace) == 6
    assert all(seen.func_name.requested is True for seen in hook.trace)


def test_a_tick_is_routine() -> None:
    assert aspects.Operation("periodic").requested is False


RELEASES = releases()


#: Other driver attributes that Manila reads or calls -> why they change nothing.
CHANGES_NOTHING = {
    "__class__": "for its name",
    "_stats": "the last result of get_share_stats",
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
    "get_backend_info": "reads settings that may have changed since the last start",
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
    "update_share_usage_size": "reads the used size of shares",
}


#: Expressions in which Manila passes the driver itself, or another driver.
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
def test_every_driver_method_that_manila_calls_is_an_operation_or_changes_nothing(
    release: str,
) -> None:
    source = RELEASES[release]
    assert set(source["attributes"]) - METHODS.keys() <= CHANGES_NOTHING.keys()
    assert set(source["passed"]) <= PASSED


@pytest.mark.parametrize("release", RELEASES)
def test_every_method_that_manila_hooks_is_an_operation(release: str) -> None:
    assert len(RELEASES[release]["hooked"]) == 29
    assert set(RELEASES[release]["hooked"]) <= OPERATIONS.keys()


@pytest.mark.parametrize("release", RELEASES)
def test_every_method_that_only_manila_itself_runs_is_routine(release: str) -> None:
    by_itself = {
        METHODS[method]
        for method in RELEASES[release]["by_itself"]
        if method in METHODS
    }
    assert by_itself == ROUTINE_OPERATIONS - {"periodic"} - ALSO_REQUESTED.keys()


def test_manila_calls_every_driver_method_of_an_operation() -> None:
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
                "routine" if operation in ROUTINE_OPERATIONS else "requested",
                f"{names[majors[0]]} to {names[23]}",
            ]
        )
    assert rows == expected
    since = {row[0]: row[3] for row in rows}
    assert since["update_share_from_metadata"] == "19 (2024.2) to 23 (2026.2)"
    assert since["create_share_instance"] == "18 (2024.1) to 23 (2026.2)"

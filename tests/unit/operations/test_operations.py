# SPDX-License-Identifier: Apache-2.0
"""The mapping of driver methods to operations."""

from __future__ import annotations

import pytest

import aspects
from aspects.operations import OPERATIONS
from tests.support.hooks import Recorder

from .common import CONTEXT, driver_with

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


def test_the_first_twenty_operations_are_the_documented_ones() -> None:
    assert list(OPERATIONS)[:20] == list(DOCUMENTED)
    assert len(DOCUMENTED) == 20
    assert OPERATIONS.keys() == TABLE.keys()


@pytest.mark.parametrize(("method", "operation"), PAIRS)
def test_a_driver_method_has_its_operation(
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
def test_other_driver_methods_are_not_operations(hook: Recorder, name: str) -> None:
    woven = aspects.weave(driver_with(name), [hook])
    getattr(woven, name)(CONTEXT)
    assert hook.trace == []

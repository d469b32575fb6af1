# SPDX-License-Identifier: Apache-2.0
"""The signatures of the methods of Manila's own ``ShareDriver``.

A driver may name its parameters differently, but Manila passes arguments in the order
of its own class. A test compares the table with that class.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

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


@functools.cache
def parameters_of(method: str) -> tuple[str, ...]:
    """Return the names of a method's parameters in Manila, without the context.

    :param method: the driver method's name
    :return: the names in order; empty for a method that Manila does not have
    """
    texts = SIGNATURES.get(method, "").split(",")
    names = (text.partition("=")[0].strip() for text in texts)
    return tuple(name for name in names if name not in ("", "context", "**kwargs"))


@functools.cache
def names_in_manila(method: str, names: tuple[str, ...]) -> Mapping[str, str]:
    """Return Manila's names for parameters that a driver names differently.

    :param method: the driver method's name
    :param names: the names of the driver's parameters in order, without the context
    :return: Manila's name of the parameter in the same position, by the driver's name
    """
    own = parameters_of(method)
    return {
        name: known
        for name, known in zip(names, own)
        # A parameter that Manila knows may have another position, as share_server in
        # an update_access() without update_rules.
        if name not in own and known not in names
    }

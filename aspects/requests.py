# SPDX-License-Identifier: Apache-2.0
"""The operations of Manila's share API: the requests that change something."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from aspects.operations import Interface, Operation

#: The section with the hooks of the share API.
SECTION = "share_api"

#: Request operation -> the methods of ``manila.share.api.API`` behind it, in addition
#: to a method of its own name. A test compares them with Manila's source.
REQUESTS: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "create_share": ("create",),
        "manage_share": ("manage",),
        "unmanage_share": ("unmanage",),
        "update_share": ("update",),
        "update_share_from_metadata": (),
        "extend_share": ("extend",),
        "shrink_share": ("shrink",),
        "revert_to_snapshot": (),
        "soft_delete_share": ("soft_delete",),
        "restore_share": ("restore",),
        "delete_share": ("delete",),
        "delete_share_instance": ("delete_instance",),
        "migration_start": (),
        "migration_complete": (),
        "migration_cancel": (),
        "allow_access": (),
        "update_access": (),
        "update_share_access_metadata": (),
        "deny_access": (),
        "create_snapshot": (),
        "manage_snapshot": (),
        "unmanage_snapshot": (),
        "snapshot_update": (),
        "snapshot_allow_access": (),
        "snapshot_deny_access": (),
        "delete_snapshot": (),
        "create_share_replica": (),
        "promote_share_replica": (),
        # Synchronizes a replica again, when a user requests it.
        "update_share_replica": (),
        "delete_share_replica": (),
        "create_share_backup": (),
        "update_share_backup": (),
        "restore_share_backup": (),
        "delete_share_backup": (),
        "manage_share_server": (),
        "unmanage_share_server": (),
        "delete_share_server": (),
        "share_server_migration_check": (),
        "share_server_migration_start": (),
        "share_server_migration_complete": (),
        "share_server_migration_cancel": (),
        "check_share_network_security_service_update": (),
        "update_share_network_security_service": (),
        "check_update_share_server_network_allocations": (),
        "update_share_server_network_allocations": (),
        "update_share_network_subnet_from_metadata": (),
        "create_qos_type": (),
        "update_qos_type": (),
        "delete_qos_type": (),
    }
)


class RequestOperation(Operation):
    """The operation of a method of the share API."""

    __slots__ = ()

    def manila_arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of a call by the names of their parameters.

        A driver has methods of the same names with other parameters.

        :param args: the positional arguments that a hook got
        :param kwargs: the keyword arguments that a hook got
        :return: the arguments without the context
        """
        return self.arguments(args, kwargs)


#: The interface of the share API. None of its operations is routine.
API = Interface(REQUESTS, kind=RequestOperation)

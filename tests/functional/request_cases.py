# SPDX-License-Identifier: Apache-2.0
"""A request to Manila's API for each request operation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from manila import context as manila_context
from manila import db
from manila.common import constants
from manila.tests import db_utils
from oslo_utils import uuidutils

from .test_operations import REPLICATED, World

#: The owner of all resources: not the token's project, whose quota is for requests.
OWNER = {"project_id": "tenant", "user_id": "owner"}

_names = itertools.count()


def new_name() -> str:
    """Return a name that is not in use."""
    return f"name-{next(_names)}"


class Request(NamedTuple):
    """An HTTP request, and the same request by two clients."""

    method: str
    path: str
    body: Any = None
    sdk: Callable[[Any], Any] | None = None
    """makes the request with the openstacksdk proxy, if that has the call"""
    client: Callable[[Any], Any] | None = None
    """makes the request with python-manilaclient, if that has the call"""


class Resources:
    """Create the resources that a request is about.

    :param world: Manila's share managers and its database
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.context = manila_context.get_admin_context()
        self.host = world.manager.host
        self.pool = f"{self.host}#fake_pool_for_alpha"

    def share(self, **values: Any) -> Any:
        """Create a share with all capabilities."""
        capabilities = {
            "snapshot_support": True,
            "revert_to_snapshot_support": True,
            "mount_snapshot_support": True,
            "create_share_from_snapshot_support": True,
        }
        values = {**OWNER, **capabilities, "host": self.pool, "size": 2, **values}
        values.setdefault("share_type_id", self.world.share_type())
        values.setdefault("access_rules_status", constants.STATUS_ACTIVE)
        return db_utils.create_share(status=values.pop("status", "available"), **values)

    def snapshot(self, share: Any = None) -> Any:
        """Create a snapshot."""
        share = share or self.share()
        return db_utils.create_snapshot(
            share_id=share["id"], size=share["size"], status="available", **OWNER
        )

    def access(self, share: Any) -> Any:
        """Create an access rule."""
        return db_utils.create_access(
            share_id=share["id"], access_type="ip", access_to="10.0.0.1", state="active"
        )

    def replica(self) -> Any:
        """Create a replica that is not the active one."""
        type_ = self.world.share_type(replication_type="readable")
        share = self.share(
            replica_state=constants.REPLICA_STATE_ACTIVE,
            share_type_id=type_,
            **REPLICATED,
        )
        return db_utils.create_share_replica(
            share_id=share["id"],
            host=self.pool,
            share_type_id=type_,
            status="available",
            replica_state=constants.REPLICA_STATE_IN_SYNC,
        )

    def backup(self) -> Any:
        """Create a backup."""
        return db_utils.create_backup(
            self.share()["id"], status="available", host=self.host, size=1, **OWNER
        )

    def network(self) -> Any:
        """Create a share network with a default subnet."""
        network = db_utils.create_share_network(**OWNER)
        db_utils.create_share_network_subnet(
            id=uuidutils.generate_uuid(),
            share_network_id=network["id"],
            availability_zone_id=None,
        )
        return db.share_network_get(self.context, network["id"])

    def server(self, network: Any = None, **values: Any) -> Any:
        """Create a share server."""
        network = network or self.network()
        subnets = [network["share_network_subnets"][0]]
        values = {"host": self.world.servers.host, "status": "active", **values}
        return db_utils.create_share_server(share_network_subnets=subnets, **values)

    def service(self) -> Any:
        """Create a security service."""
        return db_utils.create_security_service(**OWNER)

    def qos_type(self) -> Any:
        """Create a QoS type."""
        return db.qos_type_create(self.context, {"name": new_name(), "specs": {}})


def _action(path: str, name: str, body: Any = None, **clients: Any) -> Request:
    return Request("POST", f"{path}/action", {name: body}, **clients)


def create_share(r: Resources) -> Request:
    type_ = r.world.share_type()
    return Request(
        "POST",
        "/shares",
        {"share": {"share_proto": "NFS", "size": 1, "share_type": type_}},
        sdk=lambda sdk: sdk.create_share(
            share_protocol="NFS", size=1, share_type=type_
        ),
        client=lambda c: c.shares.create("NFS", 1, share_type=type_),
    )


def manage_share(r: Resources) -> Request:
    type_ = r.world.share_type()
    path = f"10.0.0.1:/{new_name()}"
    return Request(
        "POST",
        "/shares/manage",
        {
            "share": {
                "service_host": r.pool,
                "export_path": path,
                "protocol": "NFS",
                "share_type": type_,
            }
        },
        sdk=lambda sdk: sdk.manage_share("NFS", path, r.pool, share_type=type_),
        client=lambda c: c.shares.manage(r.pool, "NFS", path, share_type=type_),
    )


def of_share(
    action: str,
    body: Any = None,
    sdk: Callable[[Any, str], Any] | None = None,
    client: Callable[[Any, str], Any] | None = None,
    **values: Any,
) -> Callable[[Resources], Request]:
    """Return a case with an action of a share.

    :param action: the action's name
    :param body: its arguments
    :param sdk: the call of the SDK, given the share's ID
    :param client: the call of the client, given the share's ID
    :param values: values of the share
    """

    def case(r: Resources) -> Request:
        id_ = r.share(**values)["id"]
        return _action(
            f"/shares/{id_}",
            action,
            body,
            sdk=sdk and (lambda proxy: sdk(proxy, id_)),
            client=client and (lambda c: client(c, id_)),
        )

    return case


def update_share(r: Resources) -> Request:
    id_ = r.share()["id"]
    return Request(
        "PUT",
        f"/shares/{id_}",
        {"share": {"display_name": "new"}},
        sdk=lambda sdk: sdk.update_share(id_, display_name="new"),
        client=lambda c: c.shares.update(id_, display_name="new"),
    )


def update_share_from_metadata(r: Resources) -> Request:
    id_ = r.share()["id"]
    return Request(
        "POST",
        f"/shares/{id_}/metadata",
        {"metadata": {"a": "b"}},
        client=lambda c: c.shares.set_metadata(id_, {"a": "b"}),
    )


def revert_to_snapshot(r: Resources) -> Request:
    share = r.share()
    snapshot = r.snapshot(share)["id"]
    return _action(
        f"/shares/{share['id']}",
        "revert",
        {"snapshot_id": snapshot},
        sdk=lambda sdk: sdk.revert_share_to_snapshot(share["id"], snapshot),
        client=lambda c: c.shares.revert_to_snapshot(share["id"], snapshot),
    )


def delete_share(r: Resources) -> Request:
    id_ = r.share()["id"]
    return Request(
        "DELETE",
        f"/shares/{id_}",
        sdk=lambda sdk: sdk.delete_share(id_),
        client=lambda c: c.shares.delete(id_),
    )


def delete_share_instance(r: Resources) -> Request:
    id_ = r.share().instance["id"]
    return _action(
        f"/share_instances/{id_}",
        "force_delete",
        sdk=lambda sdk: sdk.delete_share_instance(id_),
        client=lambda c: c.share_instances.force_delete(id_),
    )


def migration_start(r: Resources) -> Request:
    id_ = r.share()["id"]
    host = f"{r.world.service.managers['plain'].host}#fake_pool_for_plain"
    flags = dict.fromkeys(
        (
            *("force_host_assisted_migration", "preserve_metadata", "writable"),
            *("nondisruptive", "preserve_snapshots"),
        ),
        False,
    )
    return _action(
        f"/shares/{id_}",
        "migration_start",
        {"host": host, **flags},
        client=lambda c: c.shares.migration_start(
            id_, host, False, False, False, False, False
        ),
    )


def update_access(r: Resources) -> Request:
    id_ = r.access(r.share())["id"]
    return Request(
        "PUT",
        f"/share-access-rules/{id_}",
        {"update_access": {"access_level": "ro"}},
    )


def update_share_access_metadata(r: Resources) -> Request:
    id_ = r.access(r.share())["id"]
    return Request(
        "PUT",
        f"/share-access-rules/{id_}/metadata",
        {"metadata": {"a": "b"}},
        client=lambda c: c.share_access_rules.set_metadata(id_, {"a": "b"}),
    )


def deny_access(r: Resources) -> Request:
    share = r.share()
    access = r.access(share)["id"]
    return _action(
        f"/shares/{share['id']}",
        "deny_access",
        {"access_id": access},
        sdk=lambda sdk: sdk.delete_access_rule(access, share["id"]),
        client=lambda c: c.shares.deny(share["id"], access),
    )


def create_snapshot(r: Resources) -> Request:
    id_ = r.share()["id"]
    return Request(
        "POST",
        "/snapshots",
        {"snapshot": {"share_id": id_}},
        sdk=lambda sdk: sdk.create_share_snapshot(share_id=id_),
        client=lambda c: c.share_snapshots.create(id_),
    )


def manage_snapshot(r: Resources) -> Request:
    id_ = r.share()["id"]
    return Request(
        "POST",
        "/snapshots/manage",
        {"snapshot": {"share_id": id_, "provider_location": "there"}},
        client=lambda c: c.share_snapshots.manage(id_, "there"),
    )


def unmanage_snapshot(r: Resources) -> Request:
    id_ = r.snapshot()["id"]
    return _action(
        f"/snapshots/{id_}",
        "unmanage",
        client=lambda c: c.share_snapshots.unmanage(id_),
    )


def snapshot_update(r: Resources) -> Request:
    id_ = r.snapshot()["id"]
    return Request(
        "PUT",
        f"/snapshots/{id_}",
        {"snapshot": {"display_name": "new"}},
        sdk=lambda sdk: sdk.update_share_snapshot(id_, display_name="new"),
        client=lambda c: c.share_snapshots.update(id_, display_name="new"),
    )


def snapshot_allow_access(r: Resources) -> Request:
    id_ = r.snapshot()["id"]
    return _action(
        f"/snapshots/{id_}",
        "allow_access",
        {"access_type": "ip", "access_to": "10.0.0.1"},
        client=lambda c: c.share_snapshots.allow(id_, "ip", "10.0.0.1"),
    )


def snapshot_deny_access(r: Resources) -> Request:
    id_ = r.snapshot()["id"]
    access = db_utils.create_snapshot_access(
        share_snapshot_id=id_, access_type="ip", access_to="10.0.0.1"
    )["id"]
    return _action(
        f"/snapshots/{id_}",
        "deny_access",
        {"access_id": access},
        client=lambda c: c.share_snapshots.deny(id_, access),
    )


def delete_snapshot(r: Resources) -> Request:
    id_ = r.snapshot()["id"]
    return Request(
        "DELETE",
        f"/snapshots/{id_}",
        sdk=lambda sdk: sdk.delete_share_snapshot(id_),
        client=lambda c: c.share_snapshots.delete(id_),
    )


def create_share_replica(r: Resources) -> Request:
    id_ = r.replica()["share_id"]
    return Request(
        "POST",
        "/share-replicas",
        {"share_replica": {"share_id": id_}},
        client=lambda c: c.share_replicas.create(id_),
    )


def promote_share_replica(r: Resources) -> Request:
    id_ = r.replica()["id"]
    return _action(
        f"/share-replicas/{id_}",
        "promote",
        client=lambda c: c.share_replicas.promote(id_),
    )


def update_share_replica(r: Resources) -> Request:
    id_ = r.replica()["id"]
    return _action(
        f"/share-replicas/{id_}",
        "resync",
        client=lambda c: c.share_replicas.resync(id_),
    )


def delete_share_replica(r: Resources) -> Request:
    id_ = r.replica()["id"]
    return Request(
        "DELETE",
        f"/share-replicas/{id_}",
        client=lambda c: c.share_replicas.delete(id_),
    )


def create_share_backup(r: Resources) -> Request:
    id_ = r.share()["id"]
    return Request(
        "POST",
        "/share-backups",
        {"share_backup": {"share_id": id_, "name": "b"}},
        client=lambda c: c.share_backups.create(id_),
    )


def update_share_backup(r: Resources) -> Request:
    id_ = r.backup()["id"]
    return Request(
        "PUT",
        f"/share-backups/{id_}",
        {"share_backup": {"name": "new"}},
        client=lambda c: c.share_backups.update(id_, name="new"),
    )


def restore_share_backup(r: Resources) -> Request:
    id_ = r.backup()["id"]
    return _action(
        f"/share-backups/{id_}",
        "restore",
        client=lambda c: c.share_backups.restore(id_),
    )


def delete_share_backup(r: Resources) -> Request:
    id_ = r.backup()["id"]
    return Request(
        "DELETE",
        f"/share-backups/{id_}",
        client=lambda c: c.share_backups.delete(id_),
    )


def manage_share_server(r: Resources) -> Request:
    network, host = r.network()["id"], r.world.servers.host
    return Request(
        "POST",
        "/share-servers/manage",
        {
            "share_server": {
                "host": host,
                "share_network_id": network,
                "identifier": "server",
                "driver_options": {},
            }
        },
        client=lambda c: c.share_servers.manage(host, network, "server"),
    )


def unmanage_share_server(r: Resources) -> Request:
    id_ = r.server()["id"]
    return _action(
        f"/share-servers/{id_}",
        "unmanage",
        {"force": False},
        client=lambda c: c.share_servers.unmanage(id_),
    )


def delete_share_server(r: Resources) -> Request:
    id_ = r.server()["id"]
    return Request(
        "DELETE",
        f"/share-servers/{id_}",
        client=lambda c: c.share_servers.delete(id_),
    )


def server_migration(action: str) -> Callable[[Resources], Request]:
    """Return a case with an action that begins a migration of a share server."""

    def case(r: Resources) -> Request:
        id_, host = r.server()["id"], r.world.servers.host
        flags = dict.fromkeys(
            ("writable", "nondisruptive", "preserve_snapshots"), False
        )
        return _action(
            f"/share-servers/{id_}",
            action,
            {"host": host, **flags},
            client=lambda c: getattr(c.share_servers, action)(
                id_, host, False, False, False
            ),
        )

    return case


def of_server(action: str) -> Callable[[Resources], Request]:
    """Return a case with an action of a share server."""

    def case(r: Resources) -> Request:
        id_ = r.server()["id"]
        return _action(
            f"/share-servers/{id_}",
            action,
            client=lambda c: getattr(c.share_servers, action)(id_),
        )

    return case


def add_security_service(action: str, method: str) -> Callable[[Resources], Request]:
    """Return a case that adds a security service to a share network.

    :param action: the action of the request
    :param method: the method of the client
    """

    def case(r: Resources) -> Request:
        network, service = r.network()["id"], r.service()["id"]
        return _action(
            f"/share-networks/{network}",
            action,
            {"security_service_id": service},
            client=lambda c: getattr(c.share_networks, method)(network, service),
        )

    return case


def check_subnet(r: Resources) -> Request:
    network = r.network()
    r.server(network)
    subnet = {"neutron_net_id": None, "neutron_subnet_id": None}
    return _action(
        f"/share-networks/{network['id']}",
        "share_network_subnet_create_check",
        subnet,
        client=lambda c: c.share_networks.share_network_subnet_create_check(
            network["id"]
        ),
    )


def add_subnet(r: Resources) -> Request:
    network = r.network()
    r.server(network)
    return Request(
        "POST",
        f"/share-networks/{network['id']}/subnets",
        {"share-network-subnet": {}},
        client=lambda c: c.share_network_subnets.create(share_network_id=network["id"]),
    )


def update_subnet_from_metadata(r: Resources) -> Request:
    network = r.network()
    subnet = network["share_network_subnets"][0]["id"]
    return Request(
        "POST",
        f"/share-networks/{network['id']}/subnets/{subnet}/metadata",
        {"metadata": {"a": "b"}},
    )


def create_qos_type(r: Resources) -> Request:
    name = new_name()
    return Request(
        "POST",
        "/qos-types",
        {"qos_type": {"name": name}},
        client=lambda c: c.qos_types.create(name),
    )


def update_qos_type(r: Resources) -> Request:
    id_ = r.qos_type()["id"]
    return Request("PUT", f"/qos-types/{id_}", {"qos_type": {"description": "new"}})


def delete_qos_type(r: Resources) -> Request:
    id_ = r.qos_type()["id"]
    return Request(
        "DELETE",
        f"/qos-types/{id_}",
        client=lambda c: c.qos_types.delete(id_),
    )


#: Request operation -> its case.
CASES: dict[str, Callable[[Resources], Request]] = {
    "create_share": create_share,
    "manage_share": manage_share,
    "unmanage_share": of_share(
        "unmanage",
        sdk=lambda sdk, id_: sdk.unmanage_share(id_),
        client=lambda c, id_: c.shares.unmanage(id_),
    ),
    "update_share": update_share,
    "update_share_from_metadata": update_share_from_metadata,
    "extend_share": of_share(
        "extend",
        {"new_size": 3},
        sdk=lambda sdk, id_: sdk.resize_share(id_, 3),
        client=lambda c, id_: c.shares.extend(id_, 3),
    ),
    "shrink_share": of_share(
        "shrink",
        {"new_size": 1},
        sdk=lambda sdk, id_: sdk.resize_share(id_, 1),
        client=lambda c, id_: c.shares.shrink(id_, 1),
    ),
    "revert_to_snapshot": revert_to_snapshot,
    "soft_delete_share": of_share(
        "soft_delete", client=lambda c, id_: c.shares.soft_delete(id_)
    ),
    "restore_share": of_share(
        "restore", client=lambda c, id_: c.shares.restore(id_), is_soft_deleted=True
    ),
    "delete_share": delete_share,
    "delete_share_instance": delete_share_instance,
    "migration_start": migration_start,
    "migration_complete": of_share(
        "migration_complete", client=lambda c, id_: c.shares.migration_complete(id_)
    ),
    "migration_cancel": of_share(
        "migration_cancel", client=lambda c, id_: c.shares.migration_cancel(id_)
    ),
    "allow_access": of_share(
        "allow_access",
        {"access_type": "ip", "access_to": "10.0.0.1"},
        sdk=lambda sdk, id_: sdk.create_access_rule(
            id_, access_type="ip", access_to="10.0.0.1", access_level="rw"
        ),
        client=lambda c, id_: c.shares.allow(id_, "ip", "10.0.0.1", "rw"),
    ),
    "update_access": update_access,
    "update_share_access_metadata": update_share_access_metadata,
    "deny_access": deny_access,
    "create_snapshot": create_snapshot,
    "manage_snapshot": manage_snapshot,
    "unmanage_snapshot": unmanage_snapshot,
    "snapshot_update": snapshot_update,
    "snapshot_allow_access": snapshot_allow_access,
    "snapshot_deny_access": snapshot_deny_access,
    "delete_snapshot": delete_snapshot,
    "create_share_replica": create_share_replica,
    "promote_share_replica": promote_share_replica,
    "update_share_replica": update_share_replica,
    "delete_share_replica": delete_share_replica,
    "create_share_backup": create_share_backup,
    "update_share_backup": update_share_backup,
    "restore_share_backup": restore_share_backup,
    "delete_share_backup": delete_share_backup,
    "manage_share_server": manage_share_server,
    "unmanage_share_server": unmanage_share_server,
    "delete_share_server": delete_share_server,
    "share_server_migration_check": server_migration("migration_check"),
    "share_server_migration_start": server_migration("migration_start"),
    "share_server_migration_complete": of_server("migration_complete"),
    "share_server_migration_cancel": of_server("migration_cancel"),
    "check_share_network_security_service_update": add_security_service(
        "add_security_service_check", "add_security_service_check"
    ),
    "update_share_network_security_service": add_security_service(
        "add_security_service", "add_security_service"
    ),
    "check_update_share_server_network_allocations": check_subnet,
    "update_share_server_network_allocations": add_subnet,
    "update_share_network_subnet_from_metadata": update_subnet_from_metadata,
    "create_qos_type": create_qos_type,
    "update_qos_type": update_qos_type,
    "delete_qos_type": delete_qos_type,
}

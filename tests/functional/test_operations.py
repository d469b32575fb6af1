# SPDX-License-Identifier: Apache-2.0
"""Hooks run around the first twenty operations, on a plain object and in Manila."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from manila import context as manila_context
from manila import db
from manila.common import constants
from manila.tests import db_utils
from oslo_utils import uuidutils

import aspects

from . import recorder

REPLICATED = {"replication_type": "readable", "replication_domain": "test"}


class World:
    """Manila's share managers, and the database records that their calls need."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.context = manila_context.get_admin_context()
        self.manager = service.managers["alpha"]
        self.servers = service.managers["servers"]

    def share(self, status: str = "available", **values: Any) -> Any:
        values.setdefault("host", f"{self.manager.host}#fake_pool_for_alpha")
        values.setdefault("share_type_id", self.share_type())
        share = db_utils.create_share(size=1, status=status, **values)
        self.manager.driver.private_storage.update(share.instance["id"], {"a": "b"})
        return share

    def share_type(self, **specs: str) -> str:
        return db.share_type_create(
            self.context,
            {
                "name": f"type-{len(db.share_type_get_all(self.context))}",
                "extra_specs": {"driver_handles_share_servers": "False", **specs},
            },
        )["id"]

    def access(self, share: Any, state: str) -> None:
        db_utils.create_access(
            share_id=share["id"], access_type="ip", access_to="10.0.0.1", state=state
        )
        self.manager.update_access(self.context, share.instance["id"])

    def snapshot(self, share: Any) -> Any:
        return db_utils.create_snapshot(share_id=share["id"], size=1)

    def replica(self, replica_state: str) -> tuple[Any, Any]:
        """Create a share with an active replica and a second replica."""
        share = self.share(
            replica_state=constants.REPLICA_STATE_ACTIVE,
            share_type_id=self.share_type(replication_type="readable"),
            **REPLICATED,
        )
        replica = db_utils.create_share_replica(
            share_id=share["id"],
            host=share["host"],
            share_type_id=share.instance["share_type_id"],
            status=constants.STATUS_AVAILABLE,
            replica_state=replica_state,
            availability_zone_id=self.zone()["id"],
        )
        return share, replica

    def zone(self) -> Any:
        """Return the availability zone of the share services."""
        return db.service_get_all(self.context)[0]["availability_zone"]

    def subnet(self, network_id: str) -> Any:
        """Add a subnet to a share network."""
        return db_utils.create_share_network_subnet(
            id=uuidutils.generate_uuid(),
            share_network_id=network_id,
            availability_zone_id=self.zone()["id"],
        )

    def share_on_server(self) -> tuple[Any, Any]:
        """Create a share on a new share server of ``servers``, and the server."""
        network = db_utils.create_share_network()
        subnet = self.subnet(network["id"])
        share = self.share(
            "creating",
            host=f"{self.servers.host}#fake_pool_for_servers",
            share_network_id=network["id"],
            availability_zone=self.zone()["name"],
            share_type_id=self.share_type(driver_handles_share_servers="True"),
        )
        self.servers.create_share_instance(self.context, share.instance["id"])
        share = db.share_get(self.context, share["id"])
        server = db.share_server_get(self.context, share.instance["share_server_id"])
        assert subnet["id"] in server["share_network_subnet_ids"]
        return share, server

    def replicated_snapshot(self, status: str) -> tuple[Any, Any]:
        share, replica = self.replica(constants.REPLICA_STATE_IN_SYNC)
        snapshot = self.snapshot(share)
        db.share_snapshot_instance_update(
            self.context, snapshot.instance["id"], {"status": "available"}
        )
        db_utils.create_snapshot_instance(
            snapshot["id"], share_instance_id=replica["id"], status=status
        )
        return share, snapshot


def delete_share_server(world: World) -> None:
    """Create a share on a share server, then delete the share and the server."""
    share, server = world.share_on_server()
    world.servers.delete_share_instance(world.context, share.instance["id"])
    recorder.SEEN.clear()
    world.servers.delete_share_server(world.context, server)


def export(world: World, share: Any) -> str:
    """Give a share the export location that the driver expects, and return it."""
    instance = share.instance["id"]
    path = f"10.0.0.10:/path/to/fake/share/share_{share['id']}_{instance}".replace(
        "-", "_"
    )
    db.export_locations_update(world.context, instance, [path], False)
    return path


def unmanaged_share(world: World) -> Any:
    """Return an unmanaged share that is about to be managed again."""
    share = world.share("unmanaging")
    path = export(world, share)
    world.manager.unmanage_share(world.context, share["id"])
    again = world.share("manage_starting")
    db.export_locations_update(world.context, again.instance["id"], [path], False)
    return again


def replica_call(
    method: str, state: str = constants.REPLICA_STATE_IN_SYNC
) -> Callable[[World], None]:
    """Return a function that passes a new replica to a method of the manager."""

    def run(world: World) -> None:
        share, replica = world.replica(state)
        recorder.SEEN.clear()
        getattr(world.manager, method)(
            world.context, replica["id"], share_id=share["id"]
        )

    return run


def snapshot_call(method: str, status: str = "available") -> Callable[[World], None]:
    """Return a function that passes a replicated snapshot to a manager's method."""

    def run(world: World) -> None:
        share, snapshot = world.replicated_snapshot(status)
        getattr(world.manager, method)(
            world.context, snapshot["id"], share_id=share["id"]
        )

    return run


#: Operation -> its method of the DummyDriver, and a function that makes Manila call it.
TABLE: dict[str, tuple[str, Callable[[World], Any]]] = {
    "allow_access": (
        "update_access",
        lambda w: w.access(w.share(), constants.ACCESS_STATE_QUEUED_TO_APPLY),
    ),
    "create_share_instance": (
        "create_share",
        lambda w: w.manager.create_share_instance(
            w.context, w.share("creating").instance["id"]
        ),
    ),
    "create_snapshot": (
        "create_snapshot",
        lambda w: w.manager.create_snapshot(
            w.context, (share := w.share())["id"], w.snapshot(share)["id"]
        ),
    ),
    "delete_share_instance": (
        "delete_share",
        lambda w: w.manager.delete_share_instance(
            w.context, w.share("deleting").instance["id"]
        ),
    ),
    "delete_share_server": ("teardown_server", delete_share_server),
    "delete_snapshot": (
        "delete_snapshot",
        lambda w: w.manager.delete_snapshot(w.context, w.snapshot(w.share())["id"]),
    ),
    "deny_access": (
        "update_access",
        lambda w: w.access(w.share(), constants.ACCESS_STATE_QUEUED_TO_DENY),
    ),
    "extend_share": (
        "extend_share",
        lambda w: w.manager.extend_share(w.context, w.share()["id"], 2, None),
    ),
    "init_host": (
        "do_setup",
        lambda w: w.manager.init_host(w.manager.service_id),
    ),
    "manage_share": (
        "manage_existing",
        lambda w: w.manager.manage_share(w.context, unmanaged_share(w)["id"], {}),
    ),
    "publish_service_capabilities": (
        "get_share_stats",
        lambda w: w.manager.publish_service_capabilities(w.context),
    ),
    "shrink_share": (
        "shrink_share",
        lambda w: w.manager.shrink_share(w.context, w.share()["id"], 1),
    ),
    "unmanage_share": (
        "unmanage",
        lambda w: w.manager.unmanage_share(w.context, w.share("unmanaging")["id"]),
    ),
    "create_share_replica": (
        "create_replica",
        replica_call("create_share_replica", constants.REPLICA_STATE_OUT_OF_SYNC),
    ),
    "promote_share_replica": ("promote_replica", replica_call("promote_share_replica")),
    "delete_share_replica": ("delete_replica", replica_call("delete_share_replica")),
    "update_share_replica": (
        "update_replica_state",
        replica_call("update_share_replica"),
    ),
    "create_replicated_snapshot": (
        "create_replicated_snapshot",
        snapshot_call("create_replicated_snapshot"),
    ),
    "delete_replicated_snapshot": (
        "delete_replicated_snapshot",
        snapshot_call("delete_replicated_snapshot"),
    ),
    "update_replicated_snapshot": (
        "update_replicated_snapshot",
        lambda w: (
            w.replicated_snapshot("creating"),
            w.manager.periodic_share_replica_snapshot_update(w.context),
        ),
    ),
}


@pytest.fixture
def world(manila: Any) -> World:
    world = World(manila)
    recorder.SEEN.clear()
    return world


def test_the_table_has_the_first_twenty_operations() -> None:
    from aspects.operations import OPERATIONS

    assert sorted(TABLE) == sorted(list(OPERATIONS)[:20])


@pytest.mark.parametrize("operation", TABLE)
def test_hooks_run_around_a_method_of_a_plain_object(
    operation: str, manila: Any
) -> None:
    def method(self: Any, context: Any, thing: str) -> str:
        return f"{operation} of {thing}"

    plain = type("Plain", (), {operation: method})()
    hook = recorder.Recorder(None, "node")
    hook.pre_hooks_enabled = hook.post_hooks_enabled = True
    recorder.SEEN.clear()
    woven = aspects.weave(plain, [hook], "alpha", "node@alpha")

    assert getattr(woven, operation)("the context", "a share") == (
        f"{operation} of a share"
    )

    pre, post = (s for s in recorder.SEEN if s.hook is hook)
    assert (pre.kind, post.kind) == ("pre", "post")
    for seen in (pre, post):
        assert seen.operation == operation
        assert seen.operation.method == operation
        assert seen.context == "the context"
        assert seen.args == ("a share",)
    assert post.received == (operation, f"{operation} of a share")


@pytest.mark.parametrize("operation", TABLE)
def test_hooks_run_around_a_driver_method_that_manila_calls(
    operation: str, world: World
) -> None:
    method, run = TABLE[operation]

    run(world)

    backend = "servers" if operation == "delete_share_server" else "alpha"
    seen = [
        (s.kind, s.operation.method, s.operation.backend)
        for s in recorder.SEEN
        if s.operation == operation and isinstance(s.hook, recorder.Recorder)
    ]
    # Operations on replicas may call the driver for several replicas.
    assert seen[:2] == [("pre", method, backend), ("post", method, backend)]
    # Other operations may fail: when it starts, Manila calls ensure_shares, which the
    # driver does not implement.
    failed = [s.operation for s in recorder.SEEN if s.kind == "error"]
    assert operation not in failed

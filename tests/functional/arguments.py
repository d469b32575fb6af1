# SPDX-License-Identifier: Apache-2.0
"""Record the arguments and results of real calls of Manila.

``python -m tests.functional.arguments FILE`` starts a Manila, makes it call operations,
and writes what a hook receives. Other tests would leave other shares in it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

# It prepares the process before Manila is imported.
from tests.functional.conftest import woven_manila

# isort: split

from manila import db
from manila.common import constants
from manila.db.sqlalchemy import models
from manila.tests import db_utils

import aspects
from tests.functional.test_operations import TABLE, World, export

#: Parameter -> what its dicts, or those in its list, describe.
DICTS = {
    **dict.fromkeys(
        (
            *("active_replica", "new_replica", "parent_share", "replica"),
            *("replica_list", "share", "share_replica", "shares"),
        ),
        "share instance",
    ),
    **dict.fromkeys(
        (
            *("active_replica_snapshot", "replica_snapshot", "replica_snapshots"),
            "snapshot",
        ),
        "snapshot instance",
    ),
    "access_rules": "access rule",
    "driver_options": "options of the request",
    "metadata": "metadata",
    "new_network_info": "network",
    "shares_request_spec": "scheduler request",
    "snapshot_mappings": "snapshot instances by ID",
    "network_info": "network",
    "server_details": "details of a share server",
    "share_group_dict": "share group",
    "share_server": "share server",
    "snap_dict": "share group snapshot",
}

#: What is described by its keys. Other dicts have the keys of a user or a driver.
DESCRIBED = {
    *("network", "share instance", "share group snapshot", "snapshot instance"),
    *("ShareBackup", "ShareGroup", "ShareInstance", "ShareInstanceAccessMapping"),
    *("ShareNetwork", "ShareNetworkSubnet", "ShareServer"),
    *("ShareSnapshotInstance", "ShareSnapshotInstanceAccessMapping"),
}

#: Keys that Manila has had only since 19 or 21.
NEWER = {"share_instance_metadata", "share_replicas_migration_support"}

#: Driver method -> the reason why no call of it is recorded.
UNRECORDED = {
    "update_share_server_security_service": (
        "Manila 23.0 looks up the share servers with an invalid query, and fails"
    ),
}

#: Relationships of models that hooks may read, in addition to their columns.
RELATED = {
    "ShareInstance": ("export_locations", "share_type"),
    "ShareSnapshotInstance": ("share", "snapshot"),
    "ShareGroupSnapshot": ("share_group_snapshot_members",),
}


def group(world: World, status: str = "creating", **values: Any) -> Any:
    return db_utils.create_share_group(
        host=f"{world.manager.host}#fake_pool_for_alpha", status=status, **values
    )


def group_snapshot(world: World) -> Any:
    snapshot = db_utils.create_share_group_snapshot(group(world, "available")["id"])
    db_utils.create_share_group_snapshot_member(
        snapshot["id"],
        share_instance_id=world.share().instance["id"],
        size=1,
    )
    return snapshot


def from_snapshot(world: World) -> None:
    snapshot = world.snapshot(world.share())
    db.share_snapshot_instance_update(
        world.context, snapshot.instance["id"], {"status": "available"}
    )
    share = world.share("creating", snapshot_id=snapshot["id"])
    world.manager.create_share_instance(
        world.context, share.instance["id"], snapshot_id=snapshot["id"]
    )


def snapshot_access(world: World) -> None:
    snapshot = world.snapshot(world.share())
    instance = snapshot.instance["id"]
    db_utils.create_snapshot_access(
        share_snapshot_id=snapshot["id"],
        access_type="ip",
        access_to="10.0.0.1",
    )
    world.manager.snapshot_update_access(world.context, instance)


def backup(method: str) -> Callable[[World], None]:
    def run(world: World) -> None:
        share = world.share()
        made = db_utils.create_backup(share["id"], host=world.manager.host)
        more = (share["id"],) if method == "restore_backup" else ()
        getattr(world.manager, method)(world.context, made, *more)

    return run


def group_from_snapshot(world: World) -> None:
    snapshot = group_snapshot(world)
    created = group(world, source_share_group_snapshot_id=snapshot["id"])
    stored = db.share_group_snapshot_get(world.context, snapshot["id"])
    member = stored["share_group_snapshot_members"][0]
    world.share(
        "creating",
        share_group_id=created["id"],
        source_share_group_snapshot_member_id=member["id"],
    )
    world.manager.create_share_group(world.context, created["id"])


def replicated_revert(world: World) -> None:
    share, snapshot = world.replicated_snapshot("available")
    db.share_update(world.context, share["id"], {"status": "reverting"})
    world.manager.revert_to_snapshot(world.context, snapshot["id"], None)


def create_backup_continue(world: World) -> None:
    db_utils.create_backup(
        world.share("backup_creating")["id"],
        host=world.manager.host,
        topic="manila-share",
    )
    world.manager.create_backup_continue(world.context)


def restore_backup_continue(world: World) -> None:
    made = db_utils.create_backup(
        world.share()["id"],
        host=world.manager.host,
        topic="manila-share",
        status="restoring",
    )
    world.share("backup_restoring", source_backup_id=made["id"])
    world.manager.restore_backup_continue(world.context)


def fallback(state: str) -> Callable[[World], None]:
    """Return a function that changes access to a driver without update_access."""

    def run(world: World) -> None:
        driver = world.manager.driver
        with mock.patch.object(
            driver, "update_access", side_effect=NotImplementedError
        ):
            world.access(world.share(), state)

    return run


# -- share servers ---------------------------------------------------------------------


def managed_on_server(world: World) -> None:
    """Unmanage a share on a share server and a snapshot, then manage them again."""
    share, server = world.share_on_server()
    snapshot = world.snapshot(share)
    world.servers.create_snapshot(world.context, share["id"], snapshot["id"])
    location = db.share_snapshot_get(world.context, snapshot["id"]).instance[
        "provider_location"
    ]
    world.servers.unmanage_snapshot(world.context, snapshot["id"])
    again = world.snapshot(share)
    db.share_snapshot_instance_update(
        world.context, again.instance["id"], {"provider_location": location}
    )
    world.servers.manage_snapshot(world.context, again["id"], {})
    on_server = {
        "host": share["host"],
        "share_network_id": server["share_network_id"],
        "share_server_id": server["id"],
        "share_type_id": share.instance["share_type_id"],
    }
    share = world.share("unmanaging", **on_server)
    path = export(world, share)
    world.servers.unmanage_share(world.context, share["id"])
    share = world.share("manage_starting", **on_server)
    db.export_locations_update(world.context, share.instance["id"], [path], False)
    world.servers.manage_share(world.context, share["id"], {})


def managed_server(world: World) -> None:
    """Unmanage a share server, then manage it again."""
    _, server = world.share_on_server()
    subnets, identifier = server["share_network_subnets"], server["identifier"]
    world.servers.unmanage_share_server(world.context, server["id"])
    again = db.share_server_create(
        world.context,
        {
            "host": world.servers.host,
            "status": "manage_starting",
            "share_network_subnets": subnets,
        },
    )
    world.servers.manage_share_server(world.context, again["id"], identifier, {})


def network_allocations(world: World) -> None:
    _, server = world.share_on_server()
    network = server["share_network_id"]
    # The share API creates the new subnet in this way.
    (subnet,) = db.share_network_subnets_get_all_by_availability_zone_id(
        world.context, network, world.zone()["id"]
    )
    subnet = db.share_network_subnet_create(
        world.context,
        {
            "share_network_id": network,
            "availability_zone_id": world.zone()["id"],
            "share_servers": subnet["share_servers"],
        },
    )
    world.servers.update_share_server_network_allocations(
        world.context, network, subnet["id"]
    )


def subnet_metadata(world: World) -> None:
    _, server = world.share_on_server()
    world.servers.update_share_network_subnet_from_metadata(
        world.context,
        server["share_network_id"],
        server["share_network_subnet_ids"][0],
        server["id"],
        {"key": "value"},
    )


# -- migration -------------------------------------------------------------------------


def migrating(world: World) -> tuple[Any, Any]:
    """Start the migration of a share, and return the IDs of its two instances."""
    share = world.share()
    snapshot = world.snapshot(share)
    db.share_snapshot_instance_update(
        world.context, snapshot.instance["id"], {"status": "available"}
    )
    db.share_instance_update(
        world.context, share.instance["id"], {"status": "migrating"}
    )
    world.manager.migration_start(
        world.context,
        share["id"],
        share["host"],
        *(False, True, True, False, True),
        new_share_type_id=share.instance["share_type_id"],
    )
    share = db.share_get(world.context, share["id"])
    return world.manager.share_api.get_migrating_instances(share)


def migration(world: World) -> None:
    source, destination = migrating(world)
    # The dummy driver needs two calls.
    for _ in range(2):
        world.manager.migration_driver_continue(world.context)
    world.manager.migration_complete(world.context, source, destination)


def cancelled_migration(world: World) -> None:
    world.manager.migration_cancel(world.context, *migrating(world))


def migrating_server(world: World) -> tuple[Any, Any]:
    """Start the migration of a share server, and return the IDs of both servers."""
    share, server = world.share_on_server()
    world.snapshot(share)
    db.share_server_update(world.context, server["id"], {"status": "server_migrating"})
    request = (
        world.context,
        server["id"],
        world.servers.host,
        *(True, False, True, server["share_network_id"]),
    )
    world.servers.share_server_migration_check(*request)
    world.servers.share_server_migration_start(*request)
    (destination,) = db.share_server_get_all_with_filters(
        world.context, {"source_share_server_id": server["id"]}
    )
    return server["id"], destination["id"]


def server_migration(world: World) -> None:
    servers = migrating_server(world)
    world.servers.share_server_migration_get_progress(world.context, *servers)
    world.servers.share_server_migration_driver_continue(world.context)
    world.servers.share_server_migration_complete(world.context, *servers)


def cancelled_server_migration(world: World) -> None:
    world.servers.share_server_migration_cancel(world.context, *migrating_server(world))


#: Operation -> a function that makes Manila call it, beyond the documented twenty.
MORE: dict[str, Callable[[World], Any]] = {
    "create_share_instance from a snapshot": from_snapshot,
    "revert_to_snapshot": lambda w: w.manager.revert_to_snapshot(
        w.context, w.snapshot(w.share())["id"], None
    ),
    "manage_snapshot": lambda w: w.manager.manage_snapshot(
        w.context, w.snapshot(w.share())["id"], {}
    ),
    "unmanage_snapshot": lambda w: w.manager.unmanage_snapshot(
        w.context, w.snapshot(w.share())["id"]
    ),
    "snapshot_update_access": snapshot_access,
    "create_share_group": lambda w: w.manager.create_share_group(
        w.context, group(w)["id"]
    ),
    "delete_share_group": lambda w: w.manager.delete_share_group(
        w.context, group(w)["id"]
    ),
    "create_share_group_snapshot": lambda w: w.manager.create_share_group_snapshot(
        w.context, group_snapshot(w)["id"]
    ),
    "delete_share_group_snapshot": lambda w: w.manager.delete_share_group_snapshot(
        w.context, group_snapshot(w)["id"]
    ),
    "create_backup": backup("create_backup"),
    "delete_backup": backup("delete_backup"),
    "restore_backup": backup("restore_backup"),
    "transfer_accept": lambda w: w.manager.transfer_accept(
        w.context, w.share()["id"], "u2", "p2", False
    ),
    "get_share_status": lambda w: (
        w.share(constants.STATUS_CREATING_FROM_SNAPSHOT),
        w.manager.periodic_share_status_update(w.context),
    ),
    "update_share_from_metadata": lambda w: w.manager.update_share_from_metadata(
        w.context, w.share()["id"], {"key": "value"}
    ),
    "create_share_group from a snapshot": group_from_snapshot,
    "revert_to_snapshot of a replica": replicated_revert,
    "create_backup_continue": create_backup_continue,
    "restore_backup_continue": restore_backup_continue,
    "allow_access without update_access": fallback("queued_to_apply"),
    "deny_access without update_access": fallback("queued_to_deny"),
    "manage_share on a share server": managed_on_server,
    "manage_share_server": managed_server,
    "update_share_server_network_allocations": network_allocations,
    "update_share_network_subnet_from_metadata": subnet_metadata,
    "migration_complete": migration,
    "migration_cancel": cancelled_migration,
    "share_server_migration_complete": server_migration,
    "share_server_migration_cancel": cancelled_server_migration,
}


class Calls(aspects.testing.Recorder):
    """A hook that records the shapes of arguments and results."""

    def __init__(self) -> None:
        super().__init__(name="calls")
        self.arguments: dict[str, dict[str, set[str]]] = defaultdict(dict)
        self.results: dict[str, set[str]] = defaultdict(set)
        self.keys: dict[str, list[set[str]]] = defaultdict(list)
        self.operations: set[str] = set()

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        self.operations.add(str(func_name))
        shapes = self.arguments[func_name.method]
        for name, value in func_name.manila_arguments(args, kwargs).items():
            shapes.setdefault(name, set()).add(self._shape(value, DICTS.get(name)))

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self.results[func_name.method].add(self._shape(driver_action_results, None))

    def _shape(self, value: Any, what: str | None) -> str:
        """Return the kind of a value, and record its keys if it describes something."""
        if value is None:
            return "None"
        if isinstance(value, (list, tuple)):
            shapes = {self._shape(one, what) for one in value}
            return f"list of {', '.join(sorted(shapes))}" if shapes else "list"
        if isinstance(value, models.BASE):
            kind = type(value).__name__
            proxied = getattr(value, "_proxified_properties", ())
            self._note(kind, value, [*dict(value), *proxied, *RELATED.get(kind, ())])
            return f"model {kind}"
        if isinstance(value, Mapping):
            if what is None:
                keys = sorted(key for key in value if not key.startswith("fake_key"))
                return f"dict with {', '.join(keys)}" if keys else "dict"
            self._note(what, value, value)
            return f"dict: {what}"
        return type(value).__name__

    def _note(self, kind: str, thing: Any, names: Iterable[str]) -> None:
        found = set()
        for name in names:
            # A model may fail to load a relationship, as it does for a hook.
            with contextlib.suppress(Exception):
                if thing[name] is not None:
                    found.add(name)
        self.keys[kind].append(found)

    def table(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {
            "methods": {
                method: {
                    "arguments": {n: sorted(kinds) for n, kinds in shapes.items()},
                    "results": sorted(self.results[method]),
                }
                for method, shapes in sorted(self.arguments.items())
            },
            "keys": {
                kind: {
                    "always": sorted(always := set.intersection(*seen) - NEWER),
                    "sometimes": sorted(set.union(*seen) - always),
                }
                for kind, seen in sorted(self.keys.items())
                if kind in DESCRIBED
            },
            "unrecorded": UNRECORDED,
        }


def record(manila: Any) -> dict[str, Any]:
    """Return the shapes of the arguments and results of Manila's calls.

    :param manila: the running Manila
    """
    hook = Calls()
    world = World(manila)
    for manager in (world.manager, world.servers):
        woven = aspects.weave(aspects.unweave(manager.driver), [hook])
        manager.driver = woven
        for helper in (manager.access_helper, manager.snapshot_access_helper):
            helper.driver = woven
    for _, run in TABLE.values():
        run(world)
    for run in MORE.values():
        # Manila may fail after the call, or the driver lack the method.
        with contextlib.suppress(Exception):
            run(world)
    return hook.table()


if __name__ == "__main__":
    with woven_manila() as service:
        Path(sys.argv[1]).write_text(
            json.dumps(record(service), indent=1) + "\n", "utf-8"
        )

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

# It prepares the process before Manila is imported.
from tests.functional.conftest import woven_manila

# isort: split

from manila import db
from manila.common import constants
from manila.db.sqlalchemy import models
from manila.tests import db_utils

import aspects
from tests.functional.test_operations import TABLE, World

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
    *("ShareServer", "ShareSnapshotInstance", "ShareSnapshotInstanceAccessMapping"),
}

#: Keys that Manila has had only since 19 or 21.
NEWER = {"share_instance_metadata", "share_replicas_migration_support"}

#: Relationships of models that hooks may read, in addition to their columns.
RELATED = {
    "ShareInstance": ("export_locations", "share_type"),
    "ShareSnapshotInstance": ("share", "snapshot"),
    "ShareGroupSnapshot": ("share_group_snapshot_members",),
}


def group(world: World, status: str = "creating") -> Any:
    return db_utils.create_share_group(
        host=f"{world.manager.host}#fake_pool_for_alpha", status=status
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

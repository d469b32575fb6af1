# SPDX-License-Identifier: Apache-2.0
"""The life of a share, step by step, and the join points each step owes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aspects.demo import backends
from aspects.demo.client import Unexpected, until
from aspects.demo.service import HOST, ManilaService


@dataclass(frozen=True)
class Due:
    """A join point that a step owes."""

    backend: str
    operation: str
    method: str
    ending: str = "post"
    """``post``, ``error`` or the name of the hook that vetoes it"""


class Life:
    """What the steps share: the service, its client, what was created."""

    def __init__(self, service: ManilaService, client: Any) -> None:
        """Begin with nothing.

        :param service: the running service
        :param client: the SDK's proxy for the share API
        """
        self.service = service
        self.client = client
        self.share: Any = None
        self.copy: Any = None
        self.snapshot: Any = None
        self.rule: Any = None
        self.replica: Any = None
        self.former: str = ""
        """the id of the replica that was active before"""
        self.path: str = ""
        """the export path of the share that was unmanaged"""

    # -- asking Manila ---------------------------------------------------------

    def create(self, name: str, share_type: str, size: int = 1, **more: Any) -> Any:
        """Ask for a share."""
        return self.client.create_share(
            name=name, share_protocol="NFS", share_type=share_type, size=size, **more
        )

    def reached(self, share: Any, status: str, **more: Any) -> Any:
        """Wait until a share has a status and other attributes.

        :returns: the share as it is then
        :raises Unexpected: if it ends in another status, or does not in time
        """
        wanted = {"status": status, **more}

        def read() -> dict[str, Any]:
            found = self.client.get_share(share.id)
            return {name: getattr(found, name) for name in wanted}

        def done(found: dict[str, Any]) -> bool:
            if "error" in found["status"] and "error" not in status:
                raise Unexpected(f"share {share.name}: {found}, should be {wanted}")
            return found == wanted

        until(read, done, f"share {share.name}: {wanted}")
        return self.client.get_share(share.id)

    def gone(self, share: Any) -> None:
        """Wait until there is no such share."""
        until(
            lambda: [s.id for s in self.client.shares(details=False)],
            lambda ids: share.id not in ids,
            f"share {share.name}: gone",
        )

    def rule_state(self, rule: Any, state: str) -> None:
        """Wait until an access rule has a state."""
        until(
            lambda: str(self.client.get_access_rule(rule.id).state),
            lambda found: found == state,
            f"access rule {rule.access_to}: {state}",
        )

    def allow(self, kind: str, whom: str) -> Any:
        """Ask for access to the share."""
        return self.client.create_access_rule(
            self.share.id, access_type=kind, access_to=whom, access_level="rw"
        )

    def deny(self, rule: Any) -> None:
        """Take back a rule and wait until it is gone."""
        self.client.delete_access_rule(rule.id, self.share.id)
        until(
            lambda: [r.id for r in self.client.access_rules(self.share)],
            lambda ids: rule.id not in ids,
            f"access rule {rule.access_to}: gone",
        )

    def take_snapshot(self) -> Any:
        """Ask for a snapshot of the share and wait for it."""
        snapshot = self.client.create_share_snapshot(
            share_id=self.share.id, name=f"{self.share.name}-snapshot"
        )
        until(
            lambda: str(self.client.get_share_snapshot(snapshot.id).status),
            lambda status: status == "available",
            "snapshot: available",
        )
        return snapshot

    def delete_snapshot(self) -> None:
        """Delete the snapshot and wait until it is gone."""
        self.client.delete_share_snapshot(self.snapshot.id)
        until(
            lambda: [s.id for s in self.client.share_snapshots()],
            lambda ids: self.snapshot.id not in ids,
            "snapshot: gone",
        )

    def paths(self) -> list[str]:
        """Return the share's export paths for users."""
        locations = self.client.export_locations(self.share.id)
        return [e.path for e in locations if not e.is_admin]


# -- the steps: each returns what it saw ---------------------------------------


def create_types(life: Life) -> str:
    for name, specs in {
        **{name: {"share_backend_name": name} for name in backends.backends()},
        "replicated": {"replication_type": "readable"},
    }.items():
        extra_specs = {
            "driver_handles_share_servers": "False",
            "snapshot_support": "True",
            "create_share_from_snapshot_support": "True",
            "revert_to_snapshot_support": "True",
            **specs,
        }
        # Not with create_share_type: the name of the attribute "is public" in
        # what is sent depends on the SDK's version.
        answer = life.client.post(
            "/types",
            json={
                "share_type": {
                    "name": name,
                    "share_type_access:is_public": True,
                    "extra_specs": extra_specs,
                }
            },
        )
        if answer.status_code != 200:
            raise Unexpected(f"share type {name}: {answer.text}")
    return "4 share types"


def create(life: Life) -> str:
    life.share = life.create("life", "alpha")
    life.share = life.reached(life.share, "available")
    return f"available on {life.share.host}"


def allow(life: Life) -> str:
    life.rule = life.allow("ip", "192.0.2.1")
    life.rule_state(life.rule, "active")
    return "rule active"


def deny(life: Life) -> str:
    life.deny(life.rule)
    return "rule gone"


def fail(life: Life) -> str:
    life.rule = life.allow("user", "somebody")
    life.rule_state(life.rule, "error")
    life.reached(life.share, "available", access_rules_status="error")
    return "rule in error: the driver refuses users on NFS"


def recover(life: Life) -> str:
    life.deny(life.rule)
    life.reached(life.share, "available", access_rules_status="active")
    return "rule gone, access rules of the share active again"


def veto(life: Life) -> str:
    refused = life.create("too-large", "alpha", size=backends.LIMIT + 4)
    life.reached(refused, "error")
    # A driver that was called has noted where it put the share.
    storage = life.service.managers["alpha"].driver.private_storage
    for instance in life.client.share_instances():
        if instance.share_id == refused.id and storage.get(instance.id):
            raise Unexpected("the driver was called in spite of the veto")
    life.copy = refused
    return "share in error, the driver knows nothing of it"


def forget(life: Life) -> str:
    life.client.delete_share(life.copy.id)
    life.gone(life.copy)
    return "gone"


def snapshot(life: Life) -> str:
    life.snapshot = life.take_snapshot()
    return "snapshot available"


def from_snapshot(life: Life) -> str:
    life.copy = life.create("copy", "alpha", snapshot_id=life.snapshot.id)
    life.copy = life.reached(life.copy, "available")
    return "available"


def revert(life: Life) -> str:
    life.client.revert_share_to_snapshot(life.share.id, life.snapshot.id)
    life.reached(life.share, "available")
    until(
        lambda: str(life.client.get_share_snapshot(life.snapshot.id).status),
        lambda status: status == "available",
        "snapshot: available",
    )
    return "available"


def delete_snapshot(life: Life) -> str:
    life.delete_snapshot()
    return "snapshot gone"


def resize(size: int) -> Callable[[Life], str]:
    def run(life: Life) -> str:
        life.client.resize_share(life.share.id, size)
        life.reached(life.share, "available", size=size)
        return f"{size} GiB"

    return run


def unmanage(life: Life) -> str:
    life.path = life.paths()[0]
    life.client.unmanage_share(life.share.id)
    life.gone(life.share)
    return "gone from Manila"


def manage(life: Life) -> str:
    life.share = life.client.manage_share(
        "NFS",
        life.path,
        f"{HOST}@alpha#fake_pool_for_alpha",
        share_type="alpha",
        name="life-again",
    )
    life.share = life.reached(life.share, "available")
    return f"available again, {life.share.size} GiB"


def delete_both(life: Life) -> str:
    for share in (life.share, life.copy):
        life.client.delete_share(share.id)
        life.gone(share)
    return "gone"


def create_on_beta(life: Life) -> str:
    life.share = life.create("named", "beta")
    life.share = life.reached(life.share, "available")
    wrong = [path for path in life.paths() if not path.startswith(backends.ALIAS)]
    if wrong or not life.paths():
        raise Unexpected(f"export paths without {backends.ALIAS}: {wrong}")
    return f"the client sees {life.paths()[0].partition(':')[0]}"


def create_replicated(life: Life) -> str:
    life.share = life.create("twin", "replicated", availability_zone="zone-alpha")
    life.share = life.reached(life.share, "available")
    return f"available on {life.share.host}"


def replica_reached(life: Life, state: str) -> None:
    until(
        lambda: life.client.get_share_replica(life.replica.id),
        lambda found: found.status == "available" and found.replica_state == state,
        f"replica: available, {state}",
    )


def create_replica(life: Life) -> str:
    life.replica = life.client.create_share_replica(
        life.share.id, availability_zone="zone-beta"
    )
    replica_reached(life, "in_sync")
    return "in sync on beta"


def replicated_snapshot(life: Life) -> str:
    life.snapshot = life.take_snapshot()
    return "snapshot available"


def resync(life: Life) -> str:
    # The state to come is the state that is: a wrong one is put in between.
    life.client.reset_share_replica_state(life.replica.id, "out_of_sync")
    life.client.resync_share_replica(life.replica.id)
    replica_reached(life, "in_sync")
    return "in sync again"


def promote(life: Life) -> str:
    both = {r.id for r in life.client.share_replicas(share_id=life.share.id)}
    (life.former,) = both - {life.replica.id}
    life.client.promote_share_replica(life.replica.id)
    replica_reached(life, "active")
    return "active on beta"


def delete_replica(life: Life) -> str:
    life.client.delete_share_replica(life.former)
    until(
        lambda: [r.id for r in life.client.share_replicas(share_id=life.share.id)],
        lambda ids: life.former not in ids,
        "replica: gone",
    )
    return "gone from alpha"


def delete(life: Life) -> str:
    life.client.delete_share(life.share.id)
    life.gone(life.share)
    return "gone"


def create_on_gamma(life: Life) -> str:
    life.share = life.create("plain", backends.PLAIN)
    life.share = life.reached(life.share, "available")
    return f"available on {life.share.host}"


def nothing_left(life: Life) -> str:
    left = [share.name for share in life.client.shares()]
    if left:
        raise Unexpected(f"shares are left: {', '.join(left)}")
    return "no share is left"


@dataclass(frozen=True)
class Step:
    """One step: what is done, and the join points that are due for it."""

    title: str
    run: Callable[[Life], str]
    due: Sequence[Due] = field(default=())


def _due(backend: str, operation: str, method: str = "", ending: str = "post") -> Due:
    return Due(backend, operation, method or operation, ending)


#: When the share services start.
START = tuple(_due(name, "init_host", "do_setup") for name in backends.WOVEN)

STEPS = (
    Step("create share types", create_types),
    Step(
        "create a share",
        create,
        [_due("alpha", "create_share_instance", "create_share")],
    ),
    Step("allow access", allow, [_due("alpha", "allow_access", "update_access")]),
    Step("deny access", deny, [_due("alpha", "deny_access", "update_access")]),
    Step(
        "allow access that the driver refuses",
        fail,
        [_due("alpha", "allow_access", "update_access", "error")],
    ),
    Step(
        "take that rule back",
        recover,
        [_due("alpha", "deny_access", "update_access")],
    ),
    Step(
        "create a share that a hook vetoes",
        veto,
        [_due("alpha", "create_share_instance", "create_share", "guard")],
    ),
    Step(
        "delete it",
        forget,
        [_due("alpha", "delete_share_instance", "delete_share")],
    ),
    Step("take a snapshot", snapshot, [_due("alpha", "create_snapshot")]),
    Step(
        "create a share from it",
        from_snapshot,
        [_due("alpha", "create_share_instance", "create_share_from_snapshot")],
    ),
    Step("revert to it", revert, [_due("alpha", "revert_to_snapshot")]),
    Step("delete the snapshot", delete_snapshot, [_due("alpha", "delete_snapshot")]),
    Step("extend to 3 GiB", resize(3), [_due("alpha", "extend_share")]),
    Step("shrink to 2 GiB", resize(2), [_due("alpha", "shrink_share")]),
    Step("unmanage", unmanage, [_due("alpha", "unmanage_share", "unmanage")]),
    Step("manage again", manage, [_due("alpha", "manage_share", "manage_existing")]),
    Step(
        "delete both shares",
        delete_both,
        [_due("alpha", "delete_share_instance", "delete_share")] * 2,
    ),
    Step(
        "create a share whose paths a hook rewrites",
        create_on_beta,
        [_due("beta", "create_share_instance", "create_share")],
    ),
    Step("delete it", delete, [_due("beta", "delete_share_instance", "delete_share")]),
    Step(
        "create a replicated share",
        create_replicated,
        [_due("alpha", "create_share_instance", "create_share")],
    ),
    Step(
        "create a replica",
        create_replica,
        [_due("beta", "create_share_replica", "create_replica")],
    ),
    Step(
        "take a snapshot of both",
        replicated_snapshot,
        [_due("alpha", "create_replicated_snapshot")],
    ),
    Step(
        "resynchronize the replica",
        resync,
        [_due("beta", "update_share_replica", "update_replica_state")],
    ),
    Step(
        "promote the replica",
        promote,
        [_due("beta", "promote_share_replica", "promote_replica")],
    ),
    Step(
        "delete the snapshot",
        delete_snapshot,
        [_due("beta", "delete_replicated_snapshot")],
    ),
    Step(
        "delete the former active replica",
        delete_replica,
        [_due("alpha", "delete_share_replica", "delete_replica")],
    ),
    Step(
        "delete the share",
        delete,
        [_due("beta", "delete_share_instance", "delete_share")],
    ),
    Step("create a share without hooks", create_on_gamma),
    Step("delete it", delete),
    Step("look what is left", nothing_left),
)

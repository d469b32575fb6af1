# SPDX-License-Identifier: Apache-2.0
"""The steps of the demo, and the join points that each has to cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aspects
from aspects.demo import backends, releases
from aspects.demo.client import ScenarioError, until
from aspects.demo.service import HOST, ManilaService
from aspects.requests import SECTION


@dataclass(frozen=True)
class Expected:
    """A join point that a step has to cause."""

    backend: str
    operation: str
    method: str
    completion: str = "post"
    """``post``, ``error`` or the name of the hook that vetoes the call"""


class Life:
    """The state of the scenario: service, client and created resources."""

    def __init__(self, service: ManilaService, client: Any) -> None:
        """Start without resources.

        :param service: the running service
        :param client: the SDK's proxy for the share API
        """
        self.service = service
        self.client = client
        self.share: Any = None
        self.copy: Any = None
        self.snapshot: Any = None
        self.rule: Any = None
        self.replica: str = ""
        """the ID of the replica on beta"""
        self.former: str = ""
        """the ID of the replica that was active before"""
        self.path: str = ""
        """the export path of the unmanaged share"""

    # -- requests --------------------------------------------------------------

    def create(self, name: str, share_type: str, size: int = 1, **more: Any) -> Any:
        """Request a share."""
        return self.client.create_share(
            name=name, share_protocol="NFS", share_type=share_type, size=size, **more
        )

    def wait_for_status(self, share: Any, status: str, **more: Any) -> Any:
        """Wait until a share has a status and other attributes.

        :returns: the share with these attributes
        :raises ScenarioError: if its status is an error, or at the timeout
        """
        wanted = {"status": status, **more}

        def read() -> dict[str, Any]:
            found = self.client.get_share(share.id)
            return {name: getattr(found, name) for name in wanted}

        def done(found: dict[str, Any]) -> bool:
            if "error" in found["status"] and "error" not in status:
                raise ScenarioError(
                    f"share {share.name}: expected {wanted}, got {found}"
                )
            return found == wanted

        until(read, done, f"share {share.name}: waiting for {wanted}")
        return self.client.get_share(share.id)

    def wait_until_deleted(self, share: Any) -> None:
        """Wait until a share is deleted."""
        until(
            lambda: [s.id for s in self.client.shares(details=False)],
            lambda ids: share.id not in ids,
            f"share {share.name}: waiting for its deletion",
        )

    def wait_for_rule(self, rule: Any, state: str) -> None:
        """Wait until an access rule has a state."""
        until(
            lambda: str(self.client.get_access_rule(rule.id).state),
            lambda found: found == state,
            f"access rule {rule.access_to}: waiting for state {state}",
        )

    def allow(self, kind: str, client: str) -> Any:
        """Request access to the share."""
        return self.client.create_access_rule(
            self.share.id, access_type=kind, access_to=client, access_level="rw"
        )

    def deny(self, rule: Any) -> None:
        """Delete an access rule and wait until it is deleted."""
        from openstack import exceptions

        # The SDK's own method sends the request twice in old releases, such as 3.0.
        answer = self.client.post(
            f"/shares/{self.share.id}/action",
            json={"deny_access": {"access_id": rule.id}},
        )
        exceptions.raise_from_response(answer)
        until(
            lambda: [r.id for r in self.client.access_rules(self.share)],
            lambda ids: rule.id not in ids,
            f"access rule {rule.access_to}: waiting for its deletion",
        )

    def take_snapshot(self) -> Any:
        """Create a snapshot of the share and wait for it."""
        snapshot = self.client.create_share_snapshot(
            share_id=self.share.id, name=f"{self.share.name}-snapshot"
        )
        until(
            lambda: str(self.client.get_share_snapshot(snapshot.id).status),
            lambda status: status == "available",
            "snapshot: waiting for status available",
        )
        return snapshot

    def delete_snapshot(self) -> None:
        """Delete the snapshot and wait until it is deleted."""
        self.client.delete_share_snapshot(self.snapshot.id)
        until(
            lambda: [s.id for s in self.client.share_snapshots()],
            lambda ids: self.snapshot.id not in ids,
            "snapshot: waiting for its deletion",
        )

    def request_replica(self, method: str, path: str = "", **body: Any) -> Any:
        """Send a request about share replicas, and return the answer.

        The SDK has methods for them only since 4.15, of 2026.

        :param method: the HTTP method
        :param path: the rest of the path
        :param body: the JSON object to send
        """
        from openstack import exceptions

        answer = self.client.request(
            f"/share-replicas{path}", method, json=body or None
        )
        exceptions.raise_from_response(answer)
        return answer.json() if answer.content else None

    def replicas(self) -> dict[str, dict[str, Any]]:
        """Return the replicas of the share by ID."""
        found = self.request_replica("GET", f"/detail?share_id={self.share.id}")
        return {replica["id"]: replica for replica in found["share_replicas"]}

    def act_on_replica(self, action: str, **arguments: Any) -> None:
        """Request an action of the replica on beta."""
        self.request_replica(
            "POST", f"/{self.replica}/action", **{action: arguments or None}
        )

    def paths(self) -> list[str]:
        """Return the share's export paths for users."""
        locations = self.client.export_locations(self.share.id)
        return [location.path for location in locations if not location.is_admin]


# -- the steps: each returns a line for the screen ------------------------------


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
        # create_share_type sends the attribute "is public" under a name that depends
        # on the SDK's version.
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
            raise ScenarioError(f"share type {name}: {answer.text}")
    return "4 share types"


def create(life: Life) -> str:
    life.share = life.create("life", "alpha")
    life.share = life.wait_for_status(life.share, "available")
    return f"available on {life.share.host}"


def allow(life: Life) -> str:
    life.rule = life.allow("ip", "192.0.2.1")
    life.wait_for_rule(life.rule, "active")
    return "rule active"


def deny(life: Life) -> str:
    life.deny(life.rule)
    return "rule deleted"


def allow_rejected(life: Life) -> str:
    life.rule = life.allow("user", "alice")
    life.wait_for_rule(life.rule, "error")
    life.wait_for_status(life.share, "available", access_rules_status="error")
    return "rule in error: the driver rejects users on NFS"


def delete_rejected_rule(life: Life) -> str:
    life.deny(life.rule)
    life.wait_for_status(life.share, "available", access_rules_status="active")
    return "rule deleted, access rules of the share active again"


def veto(life: Life) -> str:
    vetoed = life.create("too-large", "alpha", size=backends.LIMIT + 4)
    life.wait_for_status(vetoed, "error")
    # The driver stores the location of each share that it creates.
    storage = life.service.managers["alpha"].driver.private_storage
    for instance in life.client.share_instances():
        if instance.share_id == vetoed.id and storage.get(instance.id):
            raise ScenarioError("the driver was called despite the veto")
    life.copy = vetoed
    return "share in error, the driver was not called"


def delete_vetoed(life: Life) -> str:
    life.client.delete_share(life.copy.id)
    life.wait_until_deleted(life.copy)
    return "deleted"


def snapshot(life: Life) -> str:
    life.snapshot = life.take_snapshot()
    return "snapshot available"


def from_snapshot(life: Life) -> str:
    life.copy = life.create("copy", "alpha", snapshot_id=life.snapshot.id)
    life.copy = life.wait_for_status(life.copy, "available")
    return "available"


def revert(life: Life) -> str:
    life.client.revert_share_to_snapshot(life.share.id, life.snapshot.id)
    life.wait_for_status(life.share, "available")
    until(
        lambda: str(life.client.get_share_snapshot(life.snapshot.id).status),
        lambda status: status == "available",
        "snapshot: waiting for status available",
    )
    return "available"


def delete_snapshot(life: Life) -> str:
    life.delete_snapshot()
    return "snapshot deleted"


def resize(size: int) -> Callable[[Life], str]:
    def run(life: Life) -> str:
        life.client.resize_share(life.share.id, size)
        life.wait_for_status(life.share, "available", size=size)
        return f"{size} GiB"

    return run


def unmanage(life: Life) -> str:
    life.path = life.paths()[0]
    life.client.unmanage_share(life.share.id)
    life.wait_until_deleted(life.share)
    return "removed from Manila"


def manage(life: Life) -> str:
    life.share = life.client.manage_share(
        "NFS",
        life.path,
        f"{HOST}@alpha#fake_pool_for_alpha",
        share_type="alpha",
        name="life-again",
    )
    life.share = life.wait_for_status(life.share, "available")
    return f"available again, {life.share.size} GiB"


def delete_both(life: Life) -> str:
    for share in (life.share, life.copy):
        life.client.delete_share(share.id)
        life.wait_until_deleted(share)
    return "deleted"


def create_on_beta(life: Life) -> str:
    life.share = life.create("named", "beta")
    life.share = life.wait_for_status(life.share, "available")
    wrong = [path for path in life.paths() if not path.startswith(backends.ALIAS)]
    if wrong or not life.paths():
        raise ScenarioError(f"export paths without {backends.ALIAS}: {wrong}")
    return f"the client sees {life.paths()[0].partition(':')[0]}"


def create_replicated(life: Life) -> str:
    life.share = life.create("twin", "replicated", availability_zone="zone-alpha")
    life.share = life.wait_for_status(life.share, "available")
    return f"available on {life.share.host}"


def wait_for_replica(life: Life, state: str) -> None:
    def read() -> tuple[str, str]:
        found = life.replicas()[life.replica]
        return found["status"], found["replica_state"]

    until(
        read,
        lambda found: found == ("available", state),
        f"replica: waiting for status available and state {state}",
    )


def create_replica(life: Life) -> str:
    replica = {"share_id": life.share.id, "availability_zone": "zone-beta"}
    created = life.request_replica("POST", share_replica=replica)
    life.replica = created["share_replica"]["id"]
    wait_for_replica(life, "in_sync")
    return "in sync on beta"


def replicated_snapshot(life: Life) -> str:
    life.snapshot = life.take_snapshot()
    return "snapshot available"


def resync(life: Life) -> str:
    # The replica is in sync already, so set another state first.
    life.act_on_replica("reset_replica_state", replica_state="out_of_sync")
    life.act_on_replica("resync")
    wait_for_replica(life, "in_sync")
    return "in sync again"


def promote(life: Life) -> str:
    (life.former,) = set(life.replicas()) - {life.replica}
    life.act_on_replica("promote")
    wait_for_replica(life, "active")
    return "active on beta"


def delete_replica(life: Life) -> str:
    life.request_replica("DELETE", f"/{life.former}")
    until(
        lambda: list(life.replicas()),
        lambda ids: life.former not in ids,
        "replica: waiting for its deletion",
    )
    return "deleted from alpha"


def delete(life: Life) -> str:
    life.client.delete_share(life.share.id)
    life.wait_until_deleted(life.share)
    return "deleted"


def create_on_gamma(life: Life) -> str:
    life.share = life.create("plain", backends.PLAIN)
    life.share = life.wait_for_status(life.share, "available")
    return f"available on {life.share.host}"


def create_completed(life: Life) -> str:
    life.share = life.create("database", "alpha", metadata={"protected": "true"})
    metadata = {"protected": "true", "owner": "admin"}
    life.share = life.wait_for_status(life.share, "available", metadata=metadata)
    return f"its metadata: {metadata}"


def delete_protected(life: Life) -> str:
    from openstack import exceptions

    reason = (
        f"share {life.share.name} is protected; first remove its metadata "
        f'"protected" (rule protected)'
    )
    try:
        life.client.delete_share(life.share.id, ignore_missing=False)
    except exceptions.ForbiddenException as error:
        if reason not in str(error):
            raise ScenarioError(f"expected {reason!r}, got {error}") from error
    else:
        raise ScenarioError("the request to delete a protected share was accepted")
    life.wait_for_status(life.share, "available")
    return "refused with HTTP 403 and the reason, the share is still available"


def create_warned(life: Life) -> str:
    life.copy = life.create("test", "alpha")
    life.copy = life.wait_for_status(life.copy, "available")
    return "available, despite the rule"


def wait_for_violations(life: Life, number: int) -> None:
    driver = life.service.managers["alpha"].driver
    (guard,) = (
        hook
        for hook in aspects.weaving(driver).hooks
        if aspects.hook_name(hook) == "guard"
    )
    until(
        guard.violations,
        lambda found: found == {"naming": number},
        f"audit: waiting for {number} shares that violate the rule naming",
        # The audit runs on ticks, which a busy machine delays.
        timeout=60,
    )


def wait_for_violation(life: Life) -> str:
    wait_for_violations(life, 1)
    return "1 share violates the rule naming"


def delete_unprotected(life: Life) -> str:
    answer = life.client.delete(f"/shares/{life.share.id}/metadata/protected")
    if answer.status_code != 200:
        raise ScenarioError(f"metadata of {life.share.name}: {answer.text}")
    delete_both(life)
    wait_for_violations(life, 0)
    return "deleted, no share violates a rule"


def check_nothing_left(life: Life) -> str:
    left = [share.name for share in life.client.shares()]
    if left:
        raise ScenarioError(f"remaining shares: {', '.join(left)}")
    return "no share remains"


@dataclass(frozen=True)
class Step:
    """A step of the scenario, and the join points that it has to cause."""

    title: str
    run: Callable[[Life], str]
    expected: Sequence[Expected] = field(default=())
    violations: Sequence[str] = field(default=())
    """``appeared`` or ``resolved``, for each violation that the audit reports"""


def _expect(
    backend: str, operation: str, method: str = "", completion: str = "post"
) -> Expected:
    return Expected(backend, operation, method or operation, completion)


def _request(operation: str, method: str = "", completion: str = "post") -> Expected:
    return _expect(SECTION, operation, method, completion)


_CREATE = _request("create_share", "create")
_DELETE = _request("delete_share", "delete")


#: The expected join points of the start of the share services.
START = tuple(_expect(name, "init_host", "do_setup") for name in backends.WOVEN)

_DECIDED_BY_RULES = (
    Step(
        "delete it, which a rule denies",
        delete_protected,
        [_request("delete_share", "delete", "guard")],
    ),
    Step(
        "create a share that a rule warns about",
        create_warned,
        [_CREATE, _expect("alpha", "create_share_instance", "create_share")],
    ),
    Step("audit the existing shares", wait_for_violation, violations=["appeared"]),
    Step(
        "remove the protection, and delete both",
        delete_unprotected,
        [_DELETE, _expect("alpha", "delete_share_instance", "delete_share")] * 2,
        violations=["resolved"],
    ),
)

_WITHOUT_RULES = (
    Step(
        "delete it",
        delete,
        [_DELETE, _expect("alpha", "delete_share_instance", "delete_share")],
    ),
)

STEPS = (
    Step("create share types", create_types),
    Step(
        "create a share",
        create,
        [_CREATE, _expect("alpha", "create_share_instance", "create_share")],
    ),
    Step(
        "allow access",
        allow,
        [_request("allow_access"), _expect("alpha", "allow_access", "update_access")],
    ),
    Step(
        "deny access",
        deny,
        [_request("deny_access"), _expect("alpha", "deny_access", "update_access")],
    ),
    Step(
        "allow access that the driver rejects",
        allow_rejected,
        [
            _request("allow_access"),
            _expect("alpha", "allow_access", "update_access", "error"),
        ],
    ),
    Step(
        "delete that rule",
        delete_rejected_rule,
        [_request("deny_access"), _expect("alpha", "deny_access", "update_access")],
    ),
    Step(
        "create a share that a hook vetoes",
        veto,
        [_CREATE, _expect("alpha", "create_share_instance", "create_share", "guard")],
    ),
    Step(
        "delete it",
        delete_vetoed,
        [_DELETE, _expect("alpha", "delete_share_instance", "delete_share")],
    ),
    Step(
        "take a snapshot",
        snapshot,
        [_request("create_snapshot"), _expect("alpha", "create_snapshot")],
    ),
    Step(
        "create a share from it",
        from_snapshot,
        [
            _CREATE,
            _expect("alpha", "create_share_instance", "create_share_from_snapshot"),
        ],
    ),
    Step(
        "revert to it",
        revert,
        [_request("revert_to_snapshot"), _expect("alpha", "revert_to_snapshot")],
    ),
    Step(
        "delete the snapshot",
        delete_snapshot,
        [_request("delete_snapshot"), _expect("alpha", "delete_snapshot")],
    ),
    Step(
        "extend to 3 GiB",
        resize(3),
        [_request("extend_share", "extend"), _expect("alpha", "extend_share")],
    ),
    Step(
        "shrink to 2 GiB",
        resize(2),
        [_request("shrink_share", "shrink"), _expect("alpha", "shrink_share")],
    ),
    Step(
        "unmanage",
        unmanage,
        [
            _request("unmanage_share", "unmanage"),
            _expect("alpha", "unmanage_share", "unmanage"),
        ],
    ),
    Step(
        "manage again",
        manage,
        [
            _request("manage_share", "manage"),
            _expect("alpha", "manage_share", "manage_existing"),
        ],
    ),
    Step(
        "delete both shares",
        delete_both,
        [_DELETE, _expect("alpha", "delete_share_instance", "delete_share")] * 2,
    ),
    Step(
        "create a share whose export paths a hook rewrites",
        create_on_beta,
        [_CREATE, _expect("beta", "create_share_instance", "create_share")],
    ),
    Step(
        "delete it",
        delete,
        [_DELETE, _expect("beta", "delete_share_instance", "delete_share")],
    ),
    Step(
        "create a replicated share",
        create_replicated,
        [_CREATE, _expect("alpha", "create_share_instance", "create_share")],
    ),
    Step(
        "create a replica",
        create_replica,
        [
            _request("create_share_replica"),
            _expect("beta", "create_share_replica", "create_replica"),
        ],
    ),
    Step(
        "take a snapshot of both",
        replicated_snapshot,
        [_request("create_snapshot"), _expect("alpha", "create_replicated_snapshot")],
    ),
    Step(
        "resynchronize the replica",
        resync,
        [
            _request("update_share_replica"),
            _expect("beta", "update_share_replica", "update_replica_state"),
        ],
    ),
    Step(
        "promote the replica",
        promote,
        [
            _request("promote_share_replica"),
            _expect("beta", "promote_share_replica", "promote_replica"),
        ],
    ),
    Step(
        "delete the snapshot",
        delete_snapshot,
        [_request("delete_snapshot"), _expect("beta", "delete_replicated_snapshot")],
    ),
    Step(
        "delete the former active replica",
        delete_replica,
        [
            _request("delete_share_replica"),
            _expect("alpha", "delete_share_replica", "delete_replica"),
        ],
    ),
    Step(
        "delete the share",
        delete,
        [_DELETE, _expect("beta", "delete_share_instance", "delete_share")],
    ),
    Step("create a share on a backend without hooks", create_on_gamma, [_CREATE]),
    Step("delete it", delete, [_DELETE]),
    Step(
        "create a share whose metadata a hook completes",
        create_completed,
        [_CREATE, _expect("alpha", "create_share_instance", "create_share")],
    ),
    *(_DECIDED_BY_RULES if releases.has_rules() else _WITHOUT_RULES),
    Step("check that no share remains", check_nothing_left),
)

# SPDX-License-Identifier: Apache-2.0
"""The outcome of a result is what Manila's share manager makes of it.

The share manager gets a result from its driver. What it then stores in its database is
compared with the outcome that the hooks report.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from manila import db, exception
from manila.common import constants
from manila.tests import db_utils

import aspects
from hooks.events import outcome
from tests.support import releases

from . import recorder
from .test_operations import World, unmanaged_share, world  # noqa: F401 (a fixture)

#: Statuses of work that Manila has not finished.
UNFINISHED = {
    *("creating", "deleting", "applying", "out_of_sync"),
    *("creating_from_snapshot", "reverting_to_snapshot"),
}

#: Returns a result for the arguments of the driver method.
Answer = Callable[[dict[str, Any]], Any]


def stored_outcome(statuses: list[str]) -> str:
    """Return the outcome that the statuses in Manila's database amount to."""
    failed = ["error" in status for status in statuses]
    if any(failed):
        return "failure" if all(failed) else "partial"
    return "pending" if UNFINISHED & {*statuses} else "success"


def access(w: World) -> list[str]:
    share = w.share()
    for host in ("10.0.0.1", "10.0.0.2"):
        db_utils.create_access(
            share_id=share["id"], access_type="ip", access_to=host, access_level="rw"
        )
    instance = share.instance["id"]
    with contextlib.suppress(Exception):
        w.manager.update_access(w.context, instance)
    rules = db.share_access_get_all_for_instance(w.context, instance)
    return sorted(str(rule["state"]) for rule in rules)


def share_from_snapshot(w: World) -> list[str]:
    snapshot = w.snapshot(w.share())
    instance = w.share("creating", snapshot_id=snapshot["id"]).instance["id"]
    with contextlib.suppress(Exception):
        w.manager.create_share_instance(w.context, instance, snapshot_id=snapshot["id"])
    return [db.share_instance_get(w.context, instance)["status"]]


def share_status(w: World) -> list[str]:
    share = w.share("creating_from_snapshot")
    with contextlib.suppress(Exception):
        w.manager.periodic_share_status_update(w.context)
    return [db.share_instance_get(w.context, share.instance["id"])["status"]]


def revert(w: World) -> list[str]:
    share = w.share("reverting")
    snapshot = w.snapshot(share)
    with contextlib.suppress(Exception):
        w.manager.revert_to_snapshot(w.context, snapshot["id"], None)
    return [db.share_get(w.context, share["id"])["status"]]


def snapshot(w: World) -> list[str]:
    share = w.share()
    created = w.snapshot(share)
    w.manager.create_snapshot(w.context, share["id"], created["id"])
    return [db.share_snapshot_get(w.context, created["id"])["status"]]


def replicas(method: str, *columns: str) -> Callable[[World], list[str]]:
    def run(w: World) -> list[str]:
        share, replica = w.replica(constants.REPLICA_STATE_IN_SYNC)
        with contextlib.suppress(Exception):
            getattr(w.manager, method)(w.context, replica["id"], share_id=share["id"])
        stored = db.share_replicas_get_all_by_share(w.context, share["id"])
        both = method == "promote_share_replica"
        return [
            # The state of the other replica is that of the replication that follows.
            "in_sync" if both and row[column] == "out_of_sync" else row[column]
            for row in stored
            for column in columns
            if both or row["id"] == replica["id"]
        ]

    return run


def replicated_snapshot(method: str, status: str) -> Callable[[World], list[str]]:
    def run(w: World) -> list[str]:
        share, created = w.replicated_snapshot(status)
        instances = db.share_snapshot_instance_get_all_with_filters(
            w.context, {"snapshot_ids": [created["id"]]}
        )
        for instance in instances:
            db.share_snapshot_instance_update(
                w.context, instance["id"], {"status": status}
            )
        with contextlib.suppress(Exception):
            getattr(w.manager, method)(w.context, created["id"], share_id=share["id"])
        return [
            row["status"]
            for row in db.share_snapshot_instance_get_all_with_filters(
                w.context, {"snapshot_ids": [created["id"]]}
            )
        ]

    return run


def replica_snapshot(w: World) -> list[str]:
    _, created = w.replicated_snapshot("creating")
    w.manager.periodic_share_replica_snapshot_update(w.context)
    rows = db.share_snapshot_instance_get_all_with_filters(
        w.context, {"snapshot_ids": [created["id"]]}
    )
    # That of the other replica is available already.
    return [row["status"] for row in rows if row["id"] != created.instance["id"]]


def deleted_replica_snapshot(w: World) -> list[str]:
    _, created = w.replicated_snapshot("deleting")
    w.manager.periodic_share_replica_snapshot_update(w.context)
    rows = db.share_snapshot_instance_get_all_with_filters(
        w.context, {"snapshot_ids": [created["id"]]}
    )
    return [row["status"] for row in rows if row["id"] != created.instance["id"]]


def backup(method: str) -> Callable[[World], list[str]]:
    def run(w: World) -> list[str]:
        share = w.share("backup_creating")
        created = db_utils.create_backup(
            share["id"], status="creating", host=w.manager.host, topic="manila-share"
        )
        with contextlib.suppress(Exception):
            if method == "create_backup":
                w.manager.create_backup(w.context, created)
            else:
                w.manager.create_backup_continue(w.context)
        return [db.share_backup_get(w.context, created["id"])["status"]]

    return run


def managed(w: World) -> list[str]:
    share = unmanaged_share(w)
    with contextlib.suppress(Exception):
        w.manager.manage_share(w.context, share["id"], {})
    return [db.share_get(w.context, share["id"])["status"]]


def group_snapshot(w: World) -> list[str]:
    group = db_utils.create_share_group(host=w.manager.host, status="available")
    created = db_utils.create_share_group_snapshot(group["id"])
    for _ in range(2):
        share = w.share(share_group_id=group["id"])
        db_utils.create_share_group_snapshot_member(
            created["id"], share_instance_id=share.instance["id"]
        )
    with contextlib.suppress(Exception):
        w.manager.create_share_group_snapshot(w.context, created["id"])
    stored = db.share_group_snapshot_get(w.context, created["id"])
    if "error" in stored["status"]:
        return [stored["status"]]
    return [row["status"] for row in stored["share_group_snapshot_members"]]


class Case(NamedTuple):
    """A result, and the call of the share manager that gets it from the driver."""

    method: str
    run: Callable[[World], list[str]]
    answer: Answer
    outcome: str


def rules(*states: Any, key: str = "access_id") -> Answer:
    def answer(arguments: dict[str, Any]) -> dict[Any, Any]:
        listed = arguments["access_rules"]
        return {
            rule[key]: {"state": state} if isinstance(state, str) else state[0]
            for rule, state in zip(listed, states, strict=False)
        }

    return answer


def each(name: str, key: str, *states: str | None) -> Answer:
    """Return the states of the first items of an argument; None leaves one out."""

    def answer(arguments: dict[str, Any]) -> list[dict[str, Any]]:
        pairs = zip(arguments[name], states, strict=False)
        return [{"id": item["id"], key: state} for item, state in pairs if state]

    return answer


def promoted(own: str, other: str) -> Answer:
    def answer(arguments: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "id": replica["id"],
                "replica_state": (
                    own if replica["id"] == arguments["replica"]["id"] else other
                ),
            }
            for replica in arguments["replica_list"]
        ]

    return answer


def members(*states: str) -> Answer:
    def answer(arguments: dict[str, Any]) -> Any:
        listed = arguments["snap_dict"]["share_group_snapshot_members"]
        pairs = zip(listed, states, strict=False)
        return None, [{"id": item["id"], "status": state} for item, state in pairs]

    return answer


def fixed(result: Any) -> Answer:
    return lambda arguments: result


def raised(error: Exception) -> Answer:
    def answer(arguments: dict[str, Any]) -> Any:
        raise error

    return answer


CREATE = ("create_replicated_snapshot", "creating")
DELETE = ("delete_replicated_snapshot", "deleting")
STATE = "replica_state"

CASES = {
    "rules_refused": Case("update_access", access, rules("error", "error"), "failure"),
    "rule_refused": Case("update_access", access, rules("error", "active"), "partial"),
    "one_rule_refused": Case("update_access", access, rules("error"), "partial"),
    "rules_unknown": Case("update_access", access, rules("error", key="id"), "failure"),
    "rules_texts": Case("update_access", access, rules(["error"]), "failure"),
    "rules_unchanged": Case("update_access", access, rules("applying"), "success"),
    "rules": Case("update_access", access, fixed(None), "success"),
    **{
        f"share_{number}": Case(
            "create_share_from_snapshot", share_from_snapshot, *case
        )
        for number, case in enumerate(
            [
                (fixed({"status": "creating_from_snapshot"}), "pending"),
                (fixed({"status": "available"}), "success"),
                (fixed({"status": "error"}), "failure"),
                (fixed({"status": "creating"}), "failure"),
                (fixed({"export_locations": []}), "failure"),
                (fixed([]), "success"),
                (fixed("/path"), "failure"),
                (fixed(None), "failure"),
            ]
        )
    },
    **{
        f"status_{number}": Case("get_share_status", share_status, *case)
        for number, case in enumerate(
            [
                (fixed({"status": "creating_from_snapshot"}), "pending"),
                (fixed({"status": "available"}), "success"),
                (fixed({"status": "error"}), "failure"),
                (fixed(None), "pending"),
                (fixed({}), "pending"),
            ]
        )
    },
    "snapshot": Case("create_snapshot", snapshot, fixed(None), "success"),
    "snapshot_error": Case(
        "create_snapshot", snapshot, fixed({"status": "error"}), "failure"
    ),
    **{
        f"new_replica_{state}": Case(
            "create_replica",
            replicas("create_share_replica", STATE),
            fixed({STATE: state}),
            expected,
        )
        for state, expected in [
            ("error", "failure"),
            ("out_of_sync", "pending"),
            ("in_sync", "success"),
        ]
    },
    **{
        f"promotion_{own}_{other}": Case(
            "promote_replica",
            replicas("promote_share_replica", STATE),
            promoted(own, other),
            expected,
        )
        for own, other, expected in [
            ("active", "out_of_sync", "success"),
            ("active", "error", "partial"),
            ("error", "error", "failure"),
        ]
    },
    **{
        f"replica_state_{state}": Case(
            "update_replica_state",
            replicas("update_share_replica", STATE),
            fixed(state),
            expected,
        )
        for state, expected in [
            ("error", "failure"),
            ("out_of_sync", "pending"),
            ("in_sync", "success"),
            # It stays as it is, in sync.
            (None, "success"),
            ("active", "success"),
        ]
    },
    **{
        f"{method}_{'_'.join(map(str, states))}": Case(
            method,
            replicated_snapshot(method, status),
            each("replica_snapshots", "status", *states),
            expected,
        )
        for (method, status), states, expected in [
            (CREATE, ("available", "available"), "success"),
            (CREATE, ("available", "error"), "partial"),
            (CREATE, ("error", "error"), "failure"),
            (CREATE, ("available", None), "pending"),
            (DELETE, ("deleted", "deleted"), "success"),
            (DELETE, ("deleted", None), "pending"),
        ]
    },
    **{
        f"replica_snapshot_{state}": Case(
            "update_replicated_snapshot",
            replica_snapshot,
            fixed(state and {"status": state}),
            expected,
        )
        for state, expected in [
            ("error", "failure"),
            ("available", "success"),
            (None, "pending"),
        ]
    },
    "replica_snapshot_gone": Case(
        "update_replicated_snapshot",
        deleted_replica_snapshot,
        raised(exception.SnapshotResourceNotFound(name="snapshot")),
        "success",
    ),
    "replica_snapshot_not_found": Case(
        "update_replicated_snapshot",
        replica_snapshot,
        raised(exception.SnapshotResourceNotFound(name="snapshot")),
        "failure",
    ),
    "backup_started": Case(
        "create_backup", backup("create_backup"), fixed(None), "pending"
    ),
    **{
        f"backup_{number}": Case(
            "create_backup_continue", backup("create_backup_continue"), *case
        )
        for number, case in enumerate(
            [
                (fixed({"total_progress": "40"}), "pending"),
                (fixed({"total_progress": "100"}), "success"),
                (fixed({"total_progress": 100}), "pending"),
            ]
        )
    },
    "managed": Case("manage_existing", managed, fixed({"size": 1}), "success"),
    "managed_without_size": Case("manage_existing", managed, fixed({}), "failure"),
    "group_snapshot": Case(
        "create_share_group_snapshot", group_snapshot, members("available"), "success"
    ),
    "group_snapshot_member": Case(
        "create_share_group_snapshot", group_snapshot, members("error"), "partial"
    ),
    "group_snapshot_members": Case(
        "create_share_group_snapshot",
        group_snapshot,
        members("error", "error"),
        "failure",
    ),
    "group_snapshot_no_pair": Case(
        "create_share_group_snapshot", group_snapshot, fixed(None), "failure"
    ),
}
if releases.MANILA >= 21:
    # Before, Manila fails to format its message about the failure.
    CASES["backup_none"] = Case(
        "create_backup_continue",
        backup("create_backup_continue"),
        fixed(None),
        "failure",
    )
if releases.MANILA >= 23:
    CASES |= {
        f"revert_{number}": Case("revert_to_snapshot", revert, *case)
        for number, case in enumerate(
            [
                (fixed({"status": "reverting_to_snapshot"}), "pending"),
                (fixed({"status": "error"}), "failure"),
                (fixed(None), "success"),
                (fixed(1), "success"),
            ]
        )
    }


@pytest.mark.parametrize("name", CASES)
def test_the_outcome_is_that_of_manila(
    world: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    case = CASES[name]
    driver = aspects.unweave(world.manager.driver)
    original = getattr(driver, case.method)
    signature = inspect.signature(original)
    read: list[str] = []

    @functools.wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        operation = aspects.weaving(world.manager.driver).operations[case.method]
        _, *call = operation.take_context(args, kwargs)
        try:
            result = case.answer(signature.bind(*args, **kwargs).arguments)
        except Exception as error:
            read.append(outcome.of_error(operation, *call, error).name)
            raise
        # Read before the share manager changes the result.
        read.append(outcome.of_results(operation, *call, result).name)
        return result

    monkeypatch.setattr(driver, case.method, method)
    stored = stored_outcome(case.run(world))
    assert recorder.SEEN, "the hooks ran"
    assert read, "Manila called the method"
    assert (read[-1], stored) == (case.outcome, case.outcome)

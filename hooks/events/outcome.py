# SPDX-License-Identifier: Apache-2.0
"""Read the outcome of a call from the driver's result or from an exception.

Many driver methods report a failure, or unfinished work, in their result. Each reader
below reads the result of some methods as Manila's share manager does. The page
"Outcomes" of the documentation has a table of all results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import aspects
from hooks.events.values import get

SUCCESS, PENDING, PARTIAL = "success", "pending", "partial"
FAILURE, VETO = "failure", "veto"

#: All outcomes of a call.
OUTCOMES = (SUCCESS, PENDING, PARTIAL, FAILURE, VETO)

#: Statuses, states and replica states of unfinished work. Those with ``error`` in them
#: are failures, and the others are final.
_UNFINISHED = frozenset(
    {
        "creating",
        "creating_from_snapshot",
        "deleting",
        "out_of_sync",
        "reverting",
        "reverting_to_snapshot",
        "syncing",
    }
)

#: Statuses of a share that is created from a snapshot. Manila accepts no others.
_CREATED = ("available", "creating_from_snapshot")

#: Parameters of ``update_access`` with the rules that a call changes.
_CHANGES = ("add_rules", "delete_rules", "update_rules")


class Outcome(NamedTuple):
    """The outcome of a call.

    :param name: one of :data:`OUTCOMES`
    :param failed_items: the IDs of the items that failed, such as access rules or
        replicas; empty if the call did not fail, or failed as a whole
    :param reason: the reason for a failure that the result reports, else None; it may
        repeat secrets of the result
    """

    name: str
    failed_items: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def failed(self) -> bool:
        """Return whether the result reports a failure, at least of one item."""
        return self.name in (FAILURE, PARTIAL)


Arguments = Mapping[str, Any]
Reader = Callable[[Any, Arguments], Outcome]


def of_error(
    operation: aspects.Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    error: BaseException,
) -> Outcome:
    """Return the outcome of a call that raised an exception.

    :param operation: the operation
    :param args: the positional arguments that the hook received
    :param kwargs: the keyword arguments that the hook received
    :param error: the exception that the caller gets
    :return: ``veto`` or ``failure``; ``success`` if Manila takes it for one
    """
    if aspects.Veto.within(error):
        return Outcome(VETO)
    if (
        operation.method == "update_replicated_snapshot"
        # Manila's class, which must not be imported here.
        and type(error).__name__ == "SnapshotResourceNotFound"
    ):
        # So drivers report that a snapshot has been deleted from a replica.
        snapshot = operation.manila_arguments(args, kwargs).get("replica_snapshot")
        if get(snapshot, "status") == "deleting":
            return Outcome(SUCCESS)
    return Outcome(FAILURE)


def of_results(
    operation: aspects.Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    results: Any,
) -> Outcome:
    """Return the outcome of a call that returned.

    It never raises an exception. It reads dicts, lists and tuples alone, so that no
    iterator loses its items.

    :param operation: the operation
    :param args: the positional arguments that the hook received
    :param kwargs: the keyword arguments that the hook received
    :param results: the driver's result
    :return: ``success``, ``pending``, ``partial`` or ``failure``
    """
    reader = READERS.get(operation.method)
    if reader is None:
        return Outcome(SUCCESS)
    try:
        return reader(results, operation.manila_arguments(args, kwargs))
    except Exception:
        # Readers access a result as Manila's share manager does, which fails as well.
        kind = type(results).__name__
        return _failure(f"Manila cannot use the driver's result, of type {kind}")


def _failure(reason: str, *failed_items: str) -> Outcome:
    return Outcome(FAILURE, failed_items, reason)


def _of_statuses(statuses: Mapping[Any, Any], items: Iterable[Any] = ()) -> Outcome:
    """Return the outcome of a call with a status for each item.

    :param statuses: the statuses by the items' IDs
    :param items: the IDs of all items of the call, if they may be more; the call has
        failed if all of them have
    """
    failed = {
        str(key): str(status)
        for key, status in statuses.items()
        if isinstance(status, str) and "error" in status
    }
    if failed:
        whole = {str(key) for key in items or statuses} <= failed.keys()
        reason = f"status {', '.join(sorted({*failed.values()}))}"
        return Outcome(FAILURE if whole else PARTIAL, tuple(failed), reason)
    unfinished = any(
        isinstance(status, str) and status in _UNFINISHED
        for status in statuses.values()
    )
    return Outcome(PENDING if unfinished else SUCCESS)


def _of_status(status: Any) -> Outcome:
    """Return the outcome of a call with one status, which may be None."""
    return _of_statuses({"": status})._replace(failed_items=())


def _partial(outcome: Outcome) -> Outcome:
    """Return the outcome of a call whose main work is done."""
    return outcome._replace(name=PARTIAL) if outcome.name == FAILURE else outcome


def _dict(value: Any) -> Mapping[Any, Any]:
    """Return a value that Manila uses as a dict.

    :raises TypeError: if it is not one
    """
    if not isinstance(value, Mapping):
        raise TypeError("not a dict")
    return value


def _pair(value: Any) -> tuple[Mapping[Any, Any], list[Any]]:
    """Return the updates of a group and of its members.

    :raises ValueError: if the value does not have two items
    :raises TypeError: if it is not a tuple or list, or if the first item is not a dict
    """
    if not isinstance(value, (list, tuple)):
        raise TypeError("not a pair")
    group, members = value
    return _dict(group or {}), _list(members)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _ids(things: Any) -> list[str]:
    return [str(get(thing, "id")) for thing in _list(things)]


# -- access rules ----------------------------------------------------------------------


def access_id(rule: Any) -> str:
    """Return the ID of an access rule, as Manila's API has it.

    :param rule: a rule that a driver gets
    """
    # The rule's own ID is that of the rule for one share instance.
    return str(get(rule, "access_id") or get(rule, "id"))


def _access_ids(arguments: Arguments, *names: str) -> list[str]:
    return [access_id(rule) for name in names for rule in _list(arguments.get(name))]


def _changed(arguments: Arguments) -> list[str]:
    """Return the IDs of the rules that a call changes; all rules if it sets them."""
    return _access_ids(arguments, *_CHANGES) or _access_ids(arguments, "access_rules")


def _update_access(results: Any, arguments: Arguments) -> Outcome:
    updates = _dict(results or {})
    states = {rule: update.get("state") for rule, update in updates.items()}
    changed = _changed(arguments)
    known = {*changed, *_access_ids(arguments, "access_rules")}
    if not known.issuperset(map(str, states)):
        # Manila finds no such rule, and sets all rules of the call to "error".
        return _failure("the driver returned an unknown access ID", *changed)
    return _of_statuses(states, changed)


def _snapshot_update_access(results: Any, arguments: Arguments) -> Outcome:
    # Manila ignores the result, and sets all rules to "active".
    states = {
        rule: get(update, "state")
        for rule, update in (results.items() if isinstance(results, Mapping) else ())
    }
    return _of_statuses(states, _changed(arguments))


def _security_service(results: Any, arguments: Arguments) -> Outcome:
    updates = [_dict(rules) for rules in _dict(results or {}).values()]
    # The server itself has the security service, whatever became of the rules.
    return _partial(
        _of_statuses(
            {
                rule: update.get("state")
                for rules in updates
                for rule, update in rules.items()
            }
        )
    )


# -- shares and snapshots --------------------------------------------------------------


def _share_from_snapshot(results: Any, arguments: Arguments) -> Outcome:
    # A list has the export locations.
    if isinstance(results, list):
        return Outcome(SUCCESS)
    status = _dict(results).get("status")
    if status not in _CREATED:
        return _failure(f"status {status}" if status else "no status")
    return _of_status(status)


def _share_status(results: Any, arguments: Arguments) -> Outcome:
    # Manila asks again, unless the status is final.
    status = _dict(results or {}).get("status")
    return Outcome(SUCCESS) if status == "available" else _asked_again(status)


def _asked_again(status: Any) -> Outcome:
    outcome = _of_status(status)
    return outcome if outcome.failed else Outcome(PENDING)


def _revert(results: Any, arguments: Arguments) -> Outcome:
    # Other results are the size of the share.
    return _of_status(results.get("status") if isinstance(results, Mapping) else None)


def _model_update(results: Any, arguments: Arguments) -> Outcome:
    return _of_status(_dict(results or {}).get("status"))


def _manage(results: Any, arguments: Arguments) -> Outcome:
    return Outcome(SUCCESS) if _dict(results or {}).get("size") else _failure("no size")


def _ensure_shares(results: Any, arguments: Arguments) -> Outcome:
    updates = _dict(results or {})
    statuses = {share: update.get("status") for share, update in updates.items()}
    return _of_statuses(statuses, _ids(arguments.get("shares")))


# -- replicas --------------------------------------------------------------------------


def _create_replica(results: Any, arguments: Arguments) -> Outcome:
    update = _dict(results or {})
    # Without a state, Manila leaves the replica in the status "creating".
    outcome = _of_status(update.get("replica_state") or "creating")
    rules_status = update.get("access_rules_status")
    if outcome.failed or rules_status in (None, "active"):
        return outcome
    rules = {
        rule["id"]: rule["state"] for rule in _list(update.get("share_access_rules"))
    }
    replica = get(arguments.get("new_replica"), "id")
    rules_outcome = _partial(_of_statuses(rules or {replica: rules_status}))
    return outcome if rules_outcome.name == SUCCESS else rules_outcome


def _promote_replica(results: Any, arguments: Arguments) -> Outcome:
    replica = str(get(arguments.get("replica"), "id"))
    updates = {str(update["id"]): update for update in _list(results)}
    statuses = {
        key: "error"
        for key, update in updates.items()
        if "error" in (update.get("replica_state"), update.get("access_rules_status"))
    }
    outcome = _of_statuses(statuses)
    own = updates.get(replica, {})
    if own.get("replica_state") == "error":
        return outcome
    if outcome.failed:
        return _partial(outcome)
    # The states of the other replicas are those of the replication that follows.
    return _of_status(own.get("access_rules_status"))


def _replica_state(results: Any, arguments: Arguments) -> Outcome:
    if results in ("in_sync", "out_of_sync", "error"):
        return _of_status(results)
    # Manila leaves the state as it is.
    return _of_status(get(arguments.get("replica"), "replica_state") or "out_of_sync")


def _replicated_snapshot(unfinished: str) -> Reader:
    def read(results: Any, arguments: Arguments) -> Outcome:
        # Manila leaves snapshots that are not in the result as they are.
        snapshots = _ids(arguments.get("replica_snapshots"))
        statuses = dict.fromkeys(snapshots, unfinished)
        for update in _list(results):
            statuses[str(update["id"])] = update["status"]
        return _of_statuses(statuses)

    return read


def _update_replicated_snapshot(results: Any, arguments: Arguments) -> Outcome:
    # Manila asks again until the status is final.
    return _of_status(_dict(results or {}).get("status") or "creating")


# -- groups ----------------------------------------------------------------------------


def _group_from_snapshot(results: Any, arguments: Arguments) -> Outcome:
    group, shares = _pair(results)
    statuses = {share["id"]: share.get("status", "available") for share in shares}
    refused = {key: st for key, st in statuses.items() if st not in _CREATED}
    if refused:
        # Manila sets all shares of the group to "error".
        reason = f"status {', '.join(sorted({*map(str, refused.values())}))}"
        return _failure(reason, *map(str, refused))
    outcome = _of_status(group.get("status"))
    return outcome if outcome.failed else _of_statuses(statuses)


def _group_snapshot(results: Any, arguments: Arguments) -> Outcome:
    group, members = _pair(results)
    statuses = {
        member["id"]: member.get("status") for member in members if member.get("id")
    }
    snapshot = arguments.get("snap_dict")
    items = _ids(get(snapshot, "share_group_snapshot_members"))
    outcome = _of_statuses(statuses, items)
    own = _of_status(group.get("status"))
    if own.failed:
        return own._replace(failed_items=outcome.failed_items)
    return outcome if outcome.name != SUCCESS else own


# -- work that a later call continues --------------------------------------------------


def _started(results: Any, arguments: Arguments) -> Outcome:
    return Outcome(PENDING)


def _finished(results: Any, arguments: Arguments) -> Outcome:
    return Outcome(SUCCESS if results else PENDING)


def _progress(results: Any, arguments: Arguments) -> Outcome:
    # Manila compares it with this text.
    finished = _dict(results).get("total_progress") == "100"
    return Outcome(SUCCESS if finished else PENDING)


# -- share servers ---------------------------------------------------------------------


def _details(results: Any, arguments: Arguments) -> Outcome:
    _dict(results)
    return Outcome(SUCCESS)


def _manage_server(results: Any, arguments: Arguments) -> Outcome:
    _identifier, _backend_details = (
        results if isinstance(results, (list, tuple)) else ()
    )
    return Outcome(SUCCESS)


def _server_update(results: Any, arguments: Arguments) -> Outcome:
    updates = _dict(_dict(results).get("snapshot_updates") or {})
    statuses = {snapshot: update.get("status") for snapshot, update in updates.items()}
    return _partial(_of_statuses(statuses))


def _compatibility(results: Any, arguments: Arguments) -> Outcome:
    if _dict(results).get("compatible"):
        return Outcome(SUCCESS)
    return _failure("not compatible")


#: Driver method -> the reader of its result. Manila reads no outcome from the results
#: of the other methods.
READERS: Mapping[str, Reader] = {
    "update_access": _update_access,
    "snapshot_update_access": _snapshot_update_access,
    "create_share_from_snapshot": _share_from_snapshot,
    "get_share_status": _share_status,
    "create_snapshot": _model_update,
    "revert_to_snapshot": _revert,
    "manage_existing": _manage,
    "manage_existing_with_server": _manage,
    "manage_existing_snapshot": _model_update,
    "manage_existing_snapshot_with_server": _model_update,
    "ensure_shares": _ensure_shares,
    "create_replica": _create_replica,
    "promote_replica": _promote_replica,
    "update_replica_state": _replica_state,
    "create_replicated_snapshot": _replicated_snapshot("creating"),
    "delete_replicated_snapshot": _replicated_snapshot("deleting"),
    "update_replicated_snapshot": _update_replicated_snapshot,
    "create_share_group": _model_update,
    "create_share_group_from_share_group_snapshot": _group_from_snapshot,
    "delete_share_group": _model_update,
    "create_share_group_snapshot": _group_snapshot,
    "delete_share_group_snapshot": _group_snapshot,
    "create_backup": _started,
    "create_backup_continue": _progress,
    "restore_backup": _started,
    "restore_backup_continue": _progress,
    "migration_start": _started,
    "migration_continue": _finished,
    "setup_server": _details,
    "manage_server": _manage_server,
    "share_server_migration_check_compatibility": _compatibility,
    "share_server_migration_start": _started,
    "share_server_migration_continue": _finished,
    "share_server_migration_complete": _server_update,
    "update_share_server_security_service": _security_service,
    "update_share_server_network_allocations": _server_update,
}

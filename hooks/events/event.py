# SPDX-License-Identifier: Apache-2.0
"""Events that report calls and ticks, without secrets.

An event is a dict with the attributes of CloudEvents 1.0 and plain data, ready for
JSON: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import datetime
import urllib.parse
import uuid
from collections.abc import Mapping
from typing import Any

import aspects
from aspects import without_secrets
from hooks.events import facts
from hooks.events.errors import text_of
from hooks.events.outcome import SUCCESS, Outcome, of_error
from hooks.events.values import get

#: Prefix of the ``type`` of each event, before ``share.<operation>.<phase>`` or
#: ``share.periodic``.
TYPE_PREFIX = "org.openstack.manila."

#: Phases of a call that an event may report.
START, END, ERROR = "start", "end", "error"

#: Driver parameter -> fields in which its parent's ID and its own ID are reported.
_IDS = (
    ("share", "share_id", "share_instance_id"),
    ("snapshot", "snapshot_id", "snapshot_instance_id"),
    ("replica", "share_id", "replica_id"),
    ("new_replica", "share_id", "replica_id"),
    ("share_replica", "share_id", "replica_id"),
    ("active_replica", "share_id", "replica_id"),
    ("replica_list", "share_id", None),
    ("replica_snapshot", "snapshot_id", "snapshot_instance_id"),
    ("active_replica_snapshot", "snapshot_id", "snapshot_instance_id"),
    ("replica_snapshots", "snapshot_id", None),
    ("share_instance", "share_id", "share_instance_id"),
    ("source_share", "share_id", "share_instance_id"),
    ("share_group_dict", None, "share_group_id"),
    ("share_group_snapshot_dict", None, "share_group_snapshot_id"),
    ("snap_dict", None, "share_group_snapshot_id"),
    ("backup", None, "backup_id"),
    ("share_network", None, "share_network_id"),
    ("share_network_subnet", None, "share_network_subnet_id"),
    ("share_server", None, "share_server_id"),
    ("src_share_server", None, "share_server_id"),
    # As the share API names it.
    ("server", None, "share_server_id"),
)

#: Driver parameters that are lists of access rules.
_RULES = ("access_rules", "add_rules", "delete_rules", "update_rules")

#: Driver methods that take one access rule -> the list that reports it.
_ONE_RULE = {"allow_access": "add_rules", "deny_access": "delete_rules"}

#: Fields of an access rule that are reported. Its ID, state and key are not.
_RULE_FIELDS = ("access_type", "access_to", "access_level")


def event_of(phase: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the event for one phase of a call.

    :param phase: :data:`START`, :data:`END` or :data:`ERROR`
    :param data: the data of the call, from :func:`data_of`
    :return: attributes of CloudEvents 1.0, with the data under ``data``
    """
    return _event(f"share.{data['operation']}.{phase}", data)


def key_of(event: Mapping[str, Any]) -> str:
    """Return the key of an event; the events of one key are delivered in order.

    :param event: the event
    :return: the ID of the share, else of the snapshot, the share server, else the name
        of the backend
    """
    return str(event.get("subject") or get(event.get("data"), "backend") or "")


def periodic_event_of(
    context: Any, hook_data: Any, backend: str | None, host: str | None
) -> dict[str, Any]:
    """Return the event for a tick.

    :param context: the context of the tick
    :param hook_data: the periodic hook data; a list of share instances is reported by
        its IDs, anything else is left out
    :param backend: the backend section
    :param host: the share service's host
    :return: attributes of CloudEvents 1.0, with the data under ``data``
    """
    data = {**_origin_of(context), "backend": backend, "host": host}
    if isinstance(hook_data, (list, tuple)):
        ids = [get(instance, "id") for instance in hook_data]
        data["share_instance_ids"] = [str(id_) for id_ in ids if id_ is not None]
    return _event("share.periodic", data)


def violation_event_of(
    state: str,
    violation: Mapping[str, Any],
    context: Any,
    backend: str | None,
    host: str | None,
) -> dict[str, Any]:
    """Return the event for a share that begins or ceases to violate a rule.

    :param state: ``appeared`` or ``resolved``
    :param violation: the fields of the violation, with the ``share_id``
    :param context: the context of the tick
    :param backend: the backend section
    :param host: the share service's host
    :return: attributes of CloudEvents 1.0, with the data under ``data``
    """
    origin = {**_origin_of(context), "backend": backend, "host": host}
    return _event(f"share.violation.{state}", {**origin, **violation})


def _event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    source = "/manila/" + urllib.parse.quote(str(data["host"] or data["backend"] or ""))
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": source,
        "type": TYPE_PREFIX + kind,
        "time": data["time"],
        "datacontenttype": "application/json",
        "data": data,
    }
    for subject in ("share_id", "snapshot_id", "share_server_id"):
        if subject in data:
            event["subject"] = data[subject]
            break
    return facts.limited(event)


def _origin_of(context: Any) -> dict[str, Any]:
    return {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "request_id": getattr(context, "request_id", None),
        "project_id": getattr(context, "project_id", None),
        "user_id": getattr(context, "user_id", None),
    }


def data_of(
    context: Any,
    operation: aspects.Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    error: BaseException | None = None,
    duration: float | None = None,
    configuration: Any = None,
    results: Any = None,
    outcome: Outcome | None = None,
) -> dict[str, Any]:
    """Return the data that an event reports of a call.

    :param context: the request's context
    :param operation: the operation
    :param args: the positional arguments that the hook received
    :param kwargs: the keyword arguments that the hook received
    :param error: the exception that the caller gets instead of a result
    :param duration: seconds since the call began, or None if unknown
    :param configuration: the hook's configuration, whose secrets the error may repeat
    :param results: the driver's result, whose secrets the error may repeat; None for
        that of the operation
    :param outcome: the outcome that the driver's result reports; None for a call that
        raised, or has not ended
    :return: plain data, ready for JSON
    """
    arguments = operation.manila_arguments(args, kwargs)
    ended = results if error is None else None
    if outcome is None:
        call = (operation, args, kwargs)
        outcome = Outcome(SUCCESS) if error is None else of_error(*call, error)
    data = {
        **_origin_of(context),
        "backend": operation.backend,
        "host": operation.host,
        "operation": str(operation),
        "method": operation.method,
        **facts.facts_of(context, operation.method, arguments, ended),
        **ids_of(arguments),
        **access_of(operation, arguments),
        "outcome": outcome.name,
        "duration": None if duration is None else round(duration, 6),
    }
    if results is None:
        results = operation.results

    def safe(text: str) -> str:
        known = {**arguments, "the driver's result": results}
        return without_secrets(text, context, known, configuration=configuration)

    if operation.vetoes:
        data["would_deny"] = [
            {"hook": hook, "reason": safe(reason)} for hook, reason in operation.vetoes
        ]
    if error is not None:
        data["error_type"] = type(error).__name__
        data["error"] = safe(text_of(error))
    if outcome.reason:
        data["error"] = safe(f"{operation.method} returned: {outcome.reason}")
        data["failed_items"] = list(outcome.failed_items)
    return data


def ids_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the IDs of the share, snapshot, replica or server in a call.

    The ``share`` that a driver receives is a share *instance*, with the ID of its
    share and an ID of its own. The same is true of ``snapshot``.

    :param arguments: the call's arguments by name
    :return: the IDs by the field that reports them
    """
    ids: dict[str, str] = {}
    for argument, parent_field, own_field in _IDS:
        value = arguments.get(argument)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        if value is None:
            continue
        parent = get(value, parent_field) if parent_field else None
        if parent_field and (parent or own_field):
            ids.setdefault(parent_field, str(parent or get(value, "id")))
        if own_field and (parent or not parent_field):
            ids[own_field] = str(get(value, "id"))
        if argument == "snapshot":
            # The share_id of Manila's snapshot instances is that of a share instance.
            share = get(get(value, "share"), "share_id") or get(value, "share_id")
            if share:
                ids.setdefault("share_id", str(share))
    return {name: value for name, value in ids.items() if value != "None"}


def access_of(
    operation: aspects.Operation, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the access rules of a call.

    :param operation: the operation
    :param arguments: the call's arguments by name
    :return: lists of rules without their keys, named as the parameters of
        ``update_access``; empty for a call without access rules
    """
    rules = {name: arguments[name] for name in _RULES if arguments.get(name)}
    if operation.method in _ONE_RULE and "access" in arguments:
        rules[_ONE_RULE[operation.method]] = [arguments["access"]]
    elif operation.method == "allow_access" and "access_to" in arguments:
        # The share API has the fields of the new rule as its arguments.
        rules["add_rules"] = [arguments]
    return {
        name: [{field: get(rule, field) for field in _RULE_FIELDS} for rule in listed]
        for name, listed in rules.items()
    }

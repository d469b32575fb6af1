# SPDX-License-Identifier: Apache-2.0
"""What a hook tells of a join point: an event, without secrets.

An event is a dict with the attributes of CloudEvents 1.0 and plain data, ready for
JSON: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import datetime
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import aspects
from aspects import without_secrets

#: What the ``type`` of each event begins with; ``<operation>.<phase>`` follows.
TYPE_PREFIX = "org.openstack.manila."

#: The phases of a join point that an event may tell of.
START, END, ERROR = "start", "end", "error"

#: Which id of which driver argument is told under which name.
_IDS = (
    ("share", "share_id", "share_instance_id"),
    ("snapshot", "snapshot_id", "snapshot_instance_id"),
    ("replica", "share_id", "replica_id"),
    ("new_replica", "share_id", "replica_id"),
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
)


#: The parameters of the driver's methods that are lists of access rules, and one.
_RULES = ("access_rules", "add_rules", "delete_rules", "update_rules")
_ONE_RULE = {"allow_access": "add_rules", "deny_access": "delete_rules"}

#: What is told of an access rule: all but its id, its state and its key.
_RULE_FIELDS = ("access_type", "access_to", "access_level")


def event_of(phase: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the event for what happened in a join point.

    :param phase: :data:`START`, :data:`END` or :data:`ERROR`
    :param data: what :func:`data_of` told of it
    :return: attributes of CloudEvents 1.0, with the data under ``data``
    """
    return _event(f"share.{data['operation']}.{phase}", data)


def periodic_event_of(
    context: Any, hook_data: Any, backend: str | None, host: str | None
) -> dict[str, Any]:
    """Return the event for a tick.

    :param context: the context of the tick
    :param hook_data: the periodic hook data; the ids of what is a list of share
        instances are told
    :param backend: the backend section
    :param host: the share service's host
    """
    data = {**_origin_of(context), "backend": backend, "host": host}
    if isinstance(hook_data, (list, tuple)):
        ids = [value_of(instance, "id") for instance in hook_data]
        data["share_instance_ids"] = [str(each) for each in ids if each is not None]
    return _event("share.periodic", data)


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
    return event


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
) -> dict[str, Any]:
    """Return what there is to tell of a join point.

    :param context: the request's context
    :param operation: the operation
    :param args: the positional arguments that the hook got
    :param kwargs: the keyword arguments that the hook got
    :param error: what the caller gets instead of a result
    :param duration: seconds since the join point began, or None if unknown
    :return: plain data, ready for JSON
    """
    arguments = operation.arguments(args, kwargs)
    data = {
        **_origin_of(context),
        "backend": operation.backend,
        "host": operation.host,
        "operation": str(operation),
        "method": operation.method,
        **ids_of(arguments),
        **access_of(operation, arguments),
        "outcome": outcome_of(error),
        "duration": None if duration is None else round(duration, 6),
    }
    if operation.vetoes:
        data["would_deny"] = [
            {
                "hook": hook,
                "reason": without_secrets(reason, context, arguments),
            }
            for hook, reason in operation.vetoes
        ]
    if error is not None:
        data["error_type"] = type(error).__name__
        data["error"] = without_secrets(_text(error), context, arguments)
    return data


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def outcome_of(error: BaseException | None) -> str:
    """Return ``success``, ``veto`` or ``failure``."""
    if error is None:
        return "success"
    return "veto" if aspects.Veto.within(error) else "failure"


def ids_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of the share, snapshot, replica or server in a call.

    A driver gets a share *instance* as ``share`` (and the instance of a
    snapshot as ``snapshot``), which has the id of the share beside its own.

    :param arguments: the call's arguments by name
    """
    ids: dict[str, str] = {}
    for argument, whole, own in _IDS:
        value = arguments.get(argument)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        if value is None:
            continue
        parent = value_of(value, whole) if whole else None
        if whole and (parent or own):
            ids.setdefault(whole, str(parent or value_of(value, "id")))
        if own and (parent or not whole):
            ids[own] = str(value_of(value, "id"))
        if argument == "snapshot" and (share := value_of(value, "share_id")):
            ids.setdefault("share_id", str(share))
    return {name: value for name, value in ids.items() if value != "None"}


def value_of(thing: Any, name: str) -> Any:
    """Return a value of a dict, of a model or of any object; None without it.

    :param thing: what has the value
    :param name: the key or attribute
    """
    # A database model may have to load a column and fail: a value that is not
    # to be had must not make a hook fail.
    try:
        return thing[name] if hasattr(thing, "__getitem__") else getattr(thing, name)
    except Exception:
        return None


def access_of(
    operation: aspects.Operation, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return who is allowed or denied access to what; nothing for other calls.

    :param operation: the operation
    :param arguments: the call's arguments by name
    :return: lists of rules, without their keys, under the names that
        ``update_access`` has for them; the share's protocol and export paths
    """
    rules = {name: arguments[name] for name in _RULES if arguments.get(name)}
    if operation.method in _ONE_RULE and "access" in arguments:
        rules[_ONE_RULE[operation.method]] = [arguments["access"]]
    if not rules:
        return {}
    told: dict[str, Any] = {
        name: [
            {field: value_of(rule, field) for field in _RULE_FIELDS} for rule in each
        ]
        for name, each in rules.items()
    }
    share = arguments.get("share")
    told["share_proto"] = value_of(share, "share_proto")
    told["export_locations"] = [
        str(path)
        for location in _each(value_of(share, "export_locations"))
        if (path := value_of(location, "path"))
        and not value_of(location, "is_admin_only")
    ]
    return told


def _each(value: Any) -> Iterable[Any]:
    try:
        return list(value)
    except Exception:
        return ()

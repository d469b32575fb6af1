# SPDX-License-Identifier: Apache-2.0
"""Facts in an event: what the call is about, as far as the call has it.

``event.schema.json``, beside this module, describes each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aspects
from aspects import without_secrets
from hooks.events.values import get

#: Maximum size of an event as JSON, in bytes.
MAX_SIZE = 64 * 1024

#: Parameters of Manila's drivers with the share of a call; the first one counts.
_SHARES = (
    *("share", "share_instance", "new_replica", "replica", "share_replica"),
    *("active_replica", "source_share"),
)

#: Parameters with the snapshot of a call; the first one counts.
_SNAPSHOTS = (
    *("snapshot", "replica_snapshot", "active_replica_snapshot"),
    *("replica_snapshots", "share_group_snapshot_dict", "snap_dict"),
)

#: Driver methods that return export locations.
_EXPORTING = ("create_share", "create_share_from_snapshot", "ensure_share")

Read = Callable[[Any], Any]


def items(value: Any) -> Iterable[Any]:
    """Return the items of a list; none if they cannot be read.

    :param value: a list, or anything else
    """
    try:
        return () if isinstance(value, (str, bytes, Mapping)) else list(value)
    except Exception:
        return ()


def text(value: Any) -> str | None:
    """Return a value as text without secrets; None for None.

    :param value: the value
    """
    return None if value is None else without_secrets(str(value), None, {})


def number(value: Any) -> int | None:
    """Return a value as a whole number; None if it is not one.

    :param value: the value
    """
    try:
        return int(value)
    except Exception:
        return None


def paths(locations: Any) -> list[str]:
    """Return the export paths that users see.

    :param locations: models, dicts with ``path``, or texts
    """
    listed = [locations] if isinstance(locations, str) else items(locations)
    found = []
    for location in listed:
        path = location if isinstance(location, str) else get(location, "path")
        if path and not get(location, "is_admin_only"):
            found.append(text(path) or "")
    return found


#: Field of an event -> the share's key, and the function that reads its value.
_SHARE_FIELDS: Mapping[str, tuple[str, Read]] = {
    "share_name": ("display_name", text),
    "share_size": ("size", number),
    "share_proto": ("share_proto", text),
    "share_project_id": ("project_id", text),
    "share_user_id": ("user_id", text),
    "availability_zone": ("availability_zone", text),
    "replica_state": ("replica_state", text),
    "source_snapshot_id": ("snapshot_id", text),
    "share_group_id": ("share_group_id", text),
    "share_network_id": ("share_network_id", text),
    "share_server_id": ("share_server_id", text),
}

#: Field of an event -> the argument of the share API that creates a share.
_NEW_SHARE_FIELDS: Mapping[str, tuple[str, Read]] = {
    "share_name": ("name", text),
    "share_size": ("size", number),
    "share_proto": ("share_proto", text),
    "availability_zone": ("availability_zone", text),
    "source_snapshot_id": ("snapshot_id", text),
    "share_group_id": ("share_group_id", text),
    "share_network_id": ("share_network_id", text),
}


def facts_of(
    context: Any, method: str, arguments: Mapping[str, Any], results: Any = None
) -> dict[str, Any]:
    """Return the facts of a call.

    :param context: the request's context
    :param method: the driver method's name
    :param arguments: the call's arguments, by the names of Manila's own driver class
    :param results: the driver's result; None if the call has not ended, or failed
    :return: plain data, ready for JSON; a fact that the call does not have is left out
    """
    snapshot = _first(arguments, _SNAPSHOTS)
    share = _first(arguments, _SHARES) or get(snapshot, "share")
    facts: dict[str, Any] = {}
    if share is not None:
        for field, (key, read) in _SHARE_FIELDS.items():
            facts[field] = read(get(share, key))
        facts["export_locations"] = paths(get(share, "export_locations")) or None
        facts.update(_looked_up(context, share))
    elif "share_proto" in arguments:
        # The share API creates a share, which is not in the database yet.
        for field, (argument, read) in _NEW_SHARE_FIELDS.items():
            facts[field] = read(arguments.get(argument))
        share_type, metadata = arguments.get("share_type"), arguments.get("metadata")
        facts["share_type_id"] = text(get(share_type, "id"))
        facts["share_type_name"] = text(get(share_type, "name"))
        facts["metadata"] = _safe(metadata or {})
    if snapshot is not None:
        facts["snapshot_name"] = text(_display_name(snapshot, "snapshot"))
        facts["snapshot_size"] = number(get(snapshot, "size"))
    group = arguments.get("share_group_dict")
    facts["share_group_name"] = text(get(group, "name"))
    facts["new_size"] = number(arguments.get("new_size"))
    for field, argument in (
        ("new_project_id", "new_project"),
        ("new_user_id", "new_user"),
        ("destination_host", "dest_host"),
    ):
        facts[field] = text(arguments.get(argument))
    for field, thing, key in (
        ("source_share_id", arguments.get("parent_share"), "share_id"),
        ("destination_share_instance_id", arguments.get("destination_share"), "id"),
        ("destination_share_server_id", arguments.get("dest_share_server"), "id"),
    ):
        facts[field] = text(get(thing, key))
    shares = arguments.get("shares") or get(group, "shares")
    ids = [text(get(one, "id")) for one in items(shares)]
    facts["share_instance_ids"] = [id_ for id_ in ids if id_] or None
    facts["result"] = _result(method, results) or None
    return {name: value for name, value in facts.items() if value is not None}


def _first(arguments: Mapping[str, Any], names: Iterable[str]) -> Any:
    for name in names:
        value = arguments.get(name)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        if value is not None:
            return value
    return None


def _display_name(thing: Any, parent: str) -> Any:
    return get(thing, "display_name") or get(get(thing, parent), "display_name")


def _looked_up(context: Any, share: Any) -> dict[str, Any]:
    """Return the metadata and the type of a share, which Manila's database has."""
    try:
        metadata = aspects.share_metadata(context, share)
        share_type = aspects.share_type(context, share)
    except Exception:
        # The event is worth more than the two.
        return {
            "share_type_id": text(get(share, "share_type_id")),
            "incomplete": ["metadata", "share_type_name"],
        }
    return {
        "share_type_id": text(share_type.id),
        "share_type_name": text(share_type.name),
        "metadata": _safe(metadata),
    }


def _safe(metadata: Mapping[str, Any]) -> dict[str, str] | None:
    return dict(_without_secret(*item) for item in metadata.items()) or None


def _without_secret(key: Any, value: Any) -> tuple[str, str]:
    # The name of a value may mark it as secret.
    prefix = f"{key}="
    masked = without_secrets(f"{prefix}{value}", None, {})
    if not masked.startswith(prefix):
        return text(key) or "", "***"
    return str(key), masked.removeprefix(prefix)


def _result(method: str, results: Any) -> dict[str, Any]:
    """Return the facts in a driver's result."""
    result: dict[str, Any] = {}
    if isinstance(results, Mapping):
        result["export_locations"] = paths(results.get("export_locations")) or None
        result["size"] = number(results.get("size"))
        result["replica_state"] = text(results.get("replica_state"))
    elif method in _EXPORTING:
        result["export_locations"] = paths(results) or None
    elif method == "update_replica_state":
        result["replica_state"] = text(results)
    return {name: value for name, value in result.items() if value is not None}


def limited(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event that is not larger than :data:`MAX_SIZE`.

    The largest field of its data is halved until the event fits. The field
    ``incomplete`` has the names of the fields that were.

    :param event: an event, with a dict ``data`` that is ready for JSON
    """
    data = event["data"]
    while len(json.dumps(event)) > MAX_SIZE:
        sizes = {name: len(json.dumps(value)) for name, value in data.items()}
        largest = max(sizes, key=sizes.__getitem__)
        incomplete = sorted({*data.get("incomplete", ()), largest})
        data = {**data, largest: _half(data[largest]), "incomplete": incomplete}
        event = {**event, "data": data}
    return event


def _half(value: Any) -> Any:
    if isinstance(value, (str, list)):
        return value[: len(value) // 2]
    if isinstance(value, dict):
        return dict([*value.items()][: len(value) // 2])
    return None

# SPDX-License-Identifier: Apache-2.0
"""Events of calls in CADF format, for the ``audit`` hook.

CADF is DMTF's Cloud Auditing Data Federation (DSP0262). pycadf builds the events, as
it does for Keystone and OpenStack's API middleware:
https://docs.openstack.org/pycadf/latest/
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from pycadf import attachment, cadftaxonomy, event, reason, resource

from hooks.events.event import TYPE_PREFIX

#: Type URI of the share service.
SERVICE = "service/storage/share"

#: Targets of operations: a word in the operation's name, the data field with the
#: target's ID, the target's type URI. The first match wins.
_TARGETS = (
    ("group_snapshot", "share_group_snapshot_id", "storage/share/group/snapshot"),
    ("group", "share_group_id", "storage/share/group"),
    ("backup", "backup_id", "storage/share/backup"),
    ("snapshot", "snapshot_id", "storage/share/snapshot"),
    ("replica", "replica_id", "storage/share/replica"),
    ("server", "share_server_id", "storage/share/server"),
    ("", "share_id", "storage/share"),
)

#: Data field with the ID of a target -> that with its name.
_NAMES = {
    "share_id": "share_name",
    "snapshot_id": "snapshot_name",
    "share_group_id": "share_group_name",
}

#: CADF action of an operation, by the operation's name or its first word.
_ACTIONS = {
    "allocate": cadftaxonomy.ACTION_CREATE,
    "allow": "allow",
    "create": cadftaxonomy.ACTION_CREATE,
    "deallocate": cadftaxonomy.ACTION_DELETE,
    "delete": cadftaxonomy.ACTION_DELETE,
    "deny": "deny",
    "ensure": cadftaxonomy.ACTION_UPDATE,
    "extend": cadftaxonomy.ACTION_UPDATE,
    "get": "monitor",
    "init": "start",
    "manage": "enable",
    "migration": cadftaxonomy.ACTION_UPDATE,
    "promote": cadftaxonomy.ACTION_UPDATE,
    "publish": "monitor",
    "restore": "restore",
    "revert": "restore",
    "share": cadftaxonomy.ACTION_UPDATE,
    "share_server_migration_check": cadftaxonomy.ACTION_EVALUATE,
    "share_server_migration_get_progress": "monitor",
    "shrink": cadftaxonomy.ACTION_UPDATE,
    "snapshot": cadftaxonomy.ACTION_UPDATE,
    "transfer": cadftaxonomy.ACTION_UPDATE,
    "unmanage": "disable",
    "update": cadftaxonomy.ACTION_UPDATE,
}

#: Outcomes that CADF has too. A veto and a partial failure are failures in CADF, each
#: with a reason of its own.
_OUTCOMES = {
    "success": cadftaxonomy.OUTCOME_SUCCESS,
    "pending": cadftaxonomy.OUTCOME_PENDING,
}

#: Data fields with a CADF field of their own; the attachment has the others.
_MAPPED = ("time", "request_id", "project_id", "user_id", "operation", "outcome")


def event_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the CADF event of a call.

    :param data: the data of the call, from :func:`hooks.events.event.data_of`
    :return: the event, ready for JSON
    """
    operation = data["operation"]
    service = _service(data)
    cadf_event = event.Event(
        eventTime=data["time"],
        action=_ACTIONS.get(operation)
        or _ACTIONS.get(operation.partition("_")[0], cadftaxonomy.UNKNOWN),
        outcome=_OUTCOMES.get(data["outcome"], cadftaxonomy.OUTCOME_FAILURE),
        initiator=_initiator(data, service),
        target=_target(data, service),
        observer=service,
        name=operation,
    )
    if data["outcome"] not in _OUTCOMES:
        kind = TYPE_PREFIX + data["outcome"]
        # A failure that the driver's result reports has no exception.
        cadf_event.reason = reason.Reason(kind, data.get("error_type", "result"))
    rest = {name: value for name, value in data.items() if name not in _MAPPED}
    cadf_event.add_attachment(
        attachment.Attachment("mime:application/json", rest, "share_driver_call")
    )
    return cadf_event.as_dict()  # type: ignore[no-any-return]


def _service(data: Mapping[str, Any]) -> Any:
    """Return the share service, which observes every call."""
    name = str(data["host"] or data["backend"] or "manila-share")
    # CADF requires a UUID. One made from the name is the same in all events of a host.
    return resource.Resource(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"/manila/{name}")),
        typeURI=SERVICE,
        name=name,
    )


def _initiator(data: Mapping[str, Any], service: Any) -> Any:
    """Return the user who made the request, or the service if it acts by itself."""
    if data["user_id"]:
        user = str(data["user_id"])
        initiator = resource.Resource(user, cadftaxonomy.ACCOUNT_USER)
    else:
        initiator = resource.Resource(service.id, service.typeURI, service.name)
    # Keystone's CADF events have these two fields as well.
    for name in ("project_id", "request_id"):
        if data[name]:
            setattr(initiator, name, str(data[name]))
    return initiator


def _target(data: Mapping[str, Any], service: Any) -> Any:
    """Return the resource that a call works on, or the service if it has no ID."""
    for word, name, kind in _TARGETS:
        if word in data["operation"] and name in data:
            label = data.get(_NAMES.get(name, ""))
            return resource.Resource(id=data[name], typeURI=kind, name=label)
    return service

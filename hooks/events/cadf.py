# SPDX-License-Identifier: Apache-2.0
"""What is told of a join point as an event of CADF, for the ``audit`` hook.

CADF is DMTF's Cloud Auditing Data Federation, DSP0262, in pycadf's reading, as
Keystone and the API middleware of OpenStack write it:
https://docs.openstack.org/pycadf/latest/
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from pycadf import attachment, cadftaxonomy, event, reason, resource

from hooks.events.event import TYPE_PREFIX

#: The type of the service, and of what its operations are on.
SERVICE = "service/storage/share"

#: What an operation is on: a word in its name, the id that is told, its type.
_TARGETS = (
    ("group_snapshot", "share_group_snapshot_id", "storage/share/group/snapshot"),
    ("group", "share_group_id", "storage/share/group"),
    ("backup", "backup_id", "storage/share/backup"),
    ("snapshot", "snapshot_id", "storage/share/snapshot"),
    ("replica", "replica_id", "storage/share/replica"),
    ("server", "share_server_id", "storage/share/server"),
    ("", "share_id", "storage/share"),
)

#: The action of an operation, by its name or the first word of it.
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

#: What has a place of its own in the event.
_TOLD = ("time", "request_id", "project_id", "user_id", "operation", "outcome")


def event_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the CADF event for a join point.

    :param data: what :func:`hooks.events.event.data_of` told of it
    :return: the event, ready for JSON
    """
    operation = data["operation"]
    service = _service(data)
    told = event.Event(
        eventTime=data["time"],
        action=_ACTIONS.get(operation)
        or _ACTIONS.get(operation.partition("_")[0], cadftaxonomy.UNKNOWN),
        # A veto is a failure for a reason of its own.
        outcome=cadftaxonomy.OUTCOME_SUCCESS
        if data["outcome"] == "success"
        else cadftaxonomy.OUTCOME_FAILURE,
        initiator=_initiator(data, service),
        target=_target(data, service),
        observer=service,
        name=operation,
    )
    if data["outcome"] != "success":
        told.reason = reason.Reason(TYPE_PREFIX + data["outcome"], data["error_type"])
    rest = {name: value for name, value in data.items() if name not in _TOLD}
    told.add_attachment(
        attachment.Attachment("mime:application/json", rest, "share_driver_call")
    )
    return told.as_dict()  # type: ignore[no-any-return]


def _service(data: Mapping[str, Any]) -> Any:
    """Return the share service: what saw it all."""
    name = str(data["host"] or data["backend"] or "manila-share")
    # The same for all events of one host, and a UUID as CADF wants it.
    return resource.Resource(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"/manila/{name}")),
        typeURI=SERVICE,
        name=name,
    )


def _initiator(data: Mapping[str, Any], service: Any) -> Any:
    """Return the user who asked for it; the service for what it does by itself."""
    if data["user_id"]:
        user = str(data["user_id"])
        initiator = resource.Resource(user, cadftaxonomy.ACCOUNT_USER)
    else:
        initiator = resource.Resource(service.id, service.typeURI, service.name)
    # As Keystone tells them.
    for name in ("project_id", "request_id"):
        if data[name]:
            setattr(initiator, name, str(data[name]))
    return initiator


def _target(data: Mapping[str, Any], service: Any) -> Any:
    """Return what the operation is on; the service where that has no id."""
    for word, name, kind in _TARGETS:
        if word in data["operation"] and name in data:
            return resource.Resource(id=data[name], typeURI=kind)
    return service

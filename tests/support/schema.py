# SPDX-License-Identifier: Apache-2.0
"""Validate events against the schema of the package."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema

SCHEMA = json.loads(
    (resources.files("hooks.events") / "event.schema.json").read_text("utf-8")
)
_EVENT = jsonschema.Draft202012Validator(SCHEMA)
_CALL = _EVENT.evolve(schema={"$ref": "#/$defs/call", "$defs": SCHEMA["$defs"]})


#: An event, for tests of its delivery.
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/manila/node1%40alpha",
    "type": "org.openstack.manila.share.create_share_instance.end",
    "time": "2026-01-02T03:04:05+00:00",
    "datacontenttype": "application/json",
    "subject": "s1",
    "data": {
        "time": "2026-01-02T03:04:05+00:00",
        "request_id": "r1",
        "project_id": "p1",
        "user_id": "u1",
        "backend": "alpha",
        "host": "node1@alpha",
        "operation": "create_share_instance",
        "method": "create_share",
        "share_id": "s1",
        "share_name": "größer",
        "outcome": "success",
        "duration": 0.1,
    },
}


def validated(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event as a receiver gets it.

    :raises jsonschema.ValidationError: if it does not fit the schema
    """
    received: dict[str, Any] = json.loads(json.dumps(event))
    _EVENT.validate(received)
    return received


def validated_line(line: str) -> dict[str, Any]:
    """Return the data of a line of an audit log.

    :raises jsonschema.ValidationError: if they do not fit the schema
    """
    data: dict[str, Any] = json.loads(line)
    _CALL.validate(data)
    return data

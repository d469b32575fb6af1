# SPDX-License-Identifier: Apache-2.0
"""Events of real calls have the facts that Manila's database has.

Each event is validated against the schema, as in all tests.
"""

from __future__ import annotations

from typing import Any

import pytest
from manila import db

import aspects
from hooks.events.hook import EventHook

from .test_operations import TABLE
from .test_shares import METADATA, Described

#: Operations about no share, whose events have no facts of one.
WITHOUT_SHARE = {"delete_share_server", "init_host", "publish_service_capabilities"}


class Events(EventHook):
    """A hook that keeps its events."""

    def __init__(self) -> None:
        super().__init__(None, "host")
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.events: list[dict[str, Any]] = []

    def _emit(self, kind: str, event: dict[str, Any], *call: Any) -> None:
        self.events.append(event)


def events_of(
    operation: str, manila: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run an operation in Manila, and return the data of its first two events."""
    described = Described(manila)
    hook = Events()
    for manager in (described.manager, described.servers):
        plain = aspects.unweave(manager.driver)
        woven = aspects.weave(plain, [hook], backend="alpha")
        monkeypatch.setattr(manager, "driver", woven)
        monkeypatch.setattr(manager.access_helper, "driver", woven)
    TABLE[operation][1](described)
    start, end = (
        next(
            event["data"]
            for event in hook.events
            if event["type"].endswith(f"share.{operation}.{phase}")
        )
        for phase in ("start", "end")
    )
    return start, end


@pytest.mark.parametrize("operation", TABLE)
def test_the_events_of_a_call_have_the_facts_of_its_share(
    operation: str, manila: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = events_of(operation, manila, monkeypatch)

    assert "incomplete" not in end
    if operation in WITHOUT_SHARE:
        assert not [name for name in end if name.startswith("share_")]
        return
    share = db.share_get(Described(manila).context, end["share_id"], read_deleted="yes")
    for data in (start, end):
        assert data["share_size"] == 1
        assert data["share_proto"] == share["share_proto"] == "NFS"
        assert data["share_project_id"] == share["project_id"]
        assert data["share_user_id"] == share["user_id"]
        assert data["share_type_name"].startswith("type-")
        # Manila itself adds metadata to a managed share.
        assert data["metadata"].items() >= METADATA.items()
    if "snapshot" in operation:
        assert end["snapshot_id"]
    if "replica" in operation and "snapshot" not in operation:
        assert end["replica_id"]
        assert start["replica_state"]


@pytest.mark.parametrize(
    ("operation", "field", "value"),
    [
        ("extend_share", "new_size", 2),
        ("shrink_share", "new_size", 1),
        (
            "allow_access",
            "add_rules",
            [{"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}],
        ),
    ],
)
def test_an_event_has_what_the_call_changes(
    operation: str,
    field: str,
    value: Any,
    manila: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, end = events_of(operation, manila, monkeypatch)
    assert start[field] == end[field] == value


@pytest.mark.parametrize(
    "operation", ["create_share_instance", "create_share_replica", "manage_share"]
)
def test_the_last_event_has_the_export_locations_that_the_driver_returned(
    operation: str, manila: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = events_of(operation, manila, monkeypatch)
    assert "result" not in start
    paths = end["result"]["export_locations"]
    assert paths
    locations = db.export_location_get_all_by_share_id(
        Described(manila).context, end["share_id"]
    )
    # The driver's paths for administrators are not for events.
    known = {one["path"]: one["is_admin_only"] for one in locations}
    assert not any(known[path] for path in paths)

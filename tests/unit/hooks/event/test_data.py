# SPDX-License-Identifier: Apache-2.0
"""Tests of the data that an event reports of a call."""

import datetime
import json

import pytest

from hooks.events import event
from tests.support.models import Unloaded, kinds

from .common import operation


def test_the_data_of_a_call_have_all_fields(context):
    before = datetime.datetime.now(datetime.timezone.utc)
    share = {"id": "i1", "share_id": "s1"}
    data = event.data_of(context, operation(), (share,), {}, None, 1.23456789)
    after = datetime.datetime.now(datetime.timezone.utc)
    time = datetime.datetime.fromisoformat(data.pop("time"))
    assert before <= time <= after
    assert time.utcoffset() == datetime.timedelta(0)
    assert data == {
        "request_id": "req-1",
        "project_id": "p1",
        "user_id": "u1",
        "backend": "alpha",
        "host": "node1@alpha",
        "operation": "create_share_instance",
        "method": "create_share",
        "share_id": "s1",
        "share_instance_id": "i1",
        "outcome": "success",
        "duration": pytest.approx(1.234568, abs=1e-6),
    }
    assert type(data["operation"]) is str
    json.dumps(data)


def test_a_failure_has_the_type_and_text_of_its_error(context):
    error = LookupError("no such pool")
    data = event.data_of(context, operation(), (), {"share": {"id": "s1"}}, error)
    assert data["outcome"] == "failure"
    assert data["error_type"] == "LookupError"
    assert data["error"] == "no such pool"
    assert data["duration"] is None


def test_a_success_has_no_error_fields(context):
    data = event.data_of(context, operation(), ({"id": "s1"},), {})
    assert not {"error", "error_type"} & set(data)


def test_the_ids_of_a_context_without_a_request_are_null(context):
    data = event.data_of(object(), operation("get_share_stats"), (), {"refresh": True})
    assert data["request_id"] is data["project_id"] is data["user_id"] is None
    assert not [name for name in data if name.endswith("_id") and data[name]]


@kinds
@pytest.mark.parametrize(
    ("argument", "columns", "ids"),
    [
        (
            "share",
            {"id": "i1", "share_id": "s1"},
            {"share_id": "s1", "share_instance_id": "i1"},
        ),
        ("share", {"id": "s1"}, {"share_id": "s1"}),
        ("share", {"id": 7}, {"share_id": "7"}),
        ("share", {"name": "nameless"}, {}),
        ("share", {"id": None, "share_id": None}, {}),
        (
            "snapshot",
            {"id": "n1i", "snapshot_id": "n1", "share_id": "s1"},
            {"snapshot_id": "n1", "snapshot_instance_id": "n1i", "share_id": "s1"},
        ),
        ("snapshot", {"id": "n1"}, {"snapshot_id": "n1"}),
        (
            "snapshot",
            {"id": "n1", "share_id": "s1"},
            {"snapshot_id": "n1", "share_id": "s1"},
        ),
        (
            "replica",
            {"id": "r1", "share_id": "s1"},
            {"share_id": "s1", "replica_id": "r1"},
        ),
        (
            "new_replica",
            {"id": "r2", "share_id": "s1"},
            {"share_id": "s1", "replica_id": "r2"},
        ),
        ("share_server", {"id": "v1"}, {"share_server_id": "v1"}),
        (
            "share_instance",
            {"id": "i1", "share_id": "s1"},
            {"share_id": "s1", "share_instance_id": "i1"},
        ),
        (
            "source_share",
            {"id": "i1", "share_id": "s1"},
            {"share_id": "s1", "share_instance_id": "i1"},
        ),
        ("share_group_dict", {"id": "g1"}, {"share_group_id": "g1"}),
        ("share_group_snapshot_dict", {"id": "p1"}, {"share_group_snapshot_id": "p1"}),
        (
            "snap_dict",
            {"id": "p1", "share_group_id": "g1"},
            {"share_group_snapshot_id": "p1"},
        ),
        ("backup", {"id": "b1", "share_id": "s1"}, {"backup_id": "b1"}),
        ("share_network", {"id": "w1"}, {"share_network_id": "w1"}),
        ("share_network_subnet", {"id": "u1"}, {"share_network_subnet_id": "u1"}),
        ("unrelated", {"id": "x"}, {}),
        ("share", None, {}),
    ],
)
def test_the_argument_decides_which_ids_are_reported(kind, argument, columns, ids):
    value = None if columns is None else kind(**columns)
    assert event.ids_of({argument: value}) == ids


@kinds
def test_a_list_of_snapshots_has_the_id_of_their_snapshot(kind):
    snapshots = [kind(id="n1i", snapshot_id="n1"), kind(id="n2i", snapshot_id="n1")]
    assert event.ids_of({"replica_snapshots": snapshots})["snapshot_id"] == "n1"
    assert event.ids_of({"replica_snapshots": []}) == {}


@pytest.mark.parametrize("value", [Unloaded(id="s1"), "text", 3, object(), b"", [[]]])
def test_arguments_without_ids_report_none(value):
    assert event.ids_of({"share": value, "snapshot": value, "replica": value}) == {}


@kinds
def test_a_snapshot_of_manila_has_the_id_of_its_share(kind):
    # As Manila's manager passes it to a driver.
    share = kind(id="i1", share_id="s1")
    snapshot = kind(
        id="n1i", snapshot_id="n1", share_id="i1", share_instance_id="i1", share=share
    )
    assert event.ids_of({"snapshot": snapshot})["share_id"] == "s1"


def test_a_share_from_a_snapshot_has_the_id_of_the_new_share():
    arguments = {
        "share": {"id": "i2", "share_id": "s2"},
        "snapshot": {"id": "n1i", "snapshot_id": "n1", "share_id": "s1"},
    }
    # share_id is that of the new share, not that of the snapshot's share.
    assert event.ids_of(arguments) == {
        "share_id": "s2",
        "share_instance_id": "i2",
        "snapshot_id": "n1",
        "snapshot_instance_id": "n1i",
    }


@pytest.mark.parametrize("by_name", [True, False])
def test_ids_are_found_by_parameter_name(context, by_name):
    replica = {"id": "r1", "share_id": "s1"}
    args = ([replica], replica, [])
    kwargs = {}
    if by_name:
        args, kwargs = (), dict(zip(("replica_list", "replica", "access_rules"), args))
    data = event.data_of(context, operation("promote_replica"), args, kwargs)
    assert (data["share_id"], data["replica_id"]) == ("s1", "r1")

# SPDX-License-Identifier: Apache-2.0
"""What a hook tells of a join point, and that it tells no secrets."""

import datetime
import json
import urllib.parse
import uuid
from types import SimpleNamespace

import pytest
from oslo_context import context as oslo_context

import aspects
from hooks import event

from .fixtures_hooks.threads import in_a_thread


class Driver:
    def create_share(self, context, share, share_server=None):
        pass

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        pass

    def allow_access(self, context, share, access, share_server=None):
        pass

    def deny_access(self, context, share, access, share_server=None):
        pass

    def create_snapshot(self, context, snapshot, share_server=None):
        pass

    def create_replica(
        self, context, replica_list, new_replica, access_rules, replica_snapshots
    ):
        pass

    def promote_replica(self, context, replica_list, replica, access_rules):
        pass

    def create_replicated_snapshot(self, context, replica_list, replica_snapshots):
        pass

    def teardown_server(self, server_details, security_services=None):
        pass

    def get_share_stats(self, refresh=False):
        pass


class Model:
    """An object-style model, as a database has: attributes, and to_dict()."""

    def __init__(self, **columns):
        vars(self).update(columns)

    def to_dict(self):
        return dict(vars(self))


class Indexed(Model):
    """A model that can be indexed too, as Manila's can."""

    def __getitem__(self, key):
        return getattr(self, key)


class Unloaded(Model):
    """A model that is no longer attached to its session."""

    def __getattribute__(self, name):
        if not name.startswith("__") and name != "to_dict":
            raise LookupError(f"{name} is not loaded")
        return super().__getattribute__(name)


kinds = pytest.mark.parametrize("kind", [dict, Model, Indexed, SimpleNamespace])


def operation(method="create_share"):
    woven = aspects.weave(Driver(), [], "alpha", "node1@alpha")
    return aspects.weaving(woven).operations[method]


@pytest.fixture
def context():
    return in_a_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        request_id="req-1",
        auth_token="t0ken",
    )


def test_fields(context):
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


def test_failure_has_type_and_text(context):
    error = LookupError("no such pool")
    data = event.data_of(context, operation(), (), {"share": {"id": "s1"}}, error)
    assert data["outcome"] == "failure"
    assert data["error_type"] == "LookupError"
    assert data["error"] == "no such pool"
    assert data["duration"] is None


def test_success_has_no_error(context):
    data = event.data_of(context, operation(), ({"id": "s1"},), {})
    assert not {"error", "error_type"} & set(data)


def test_context_without_request(context):
    data = event.data_of(object(), operation("get_share_stats"), (), {"refresh": True})
    assert data["request_id"] is data["project_id"] is data["user_id"] is None
    assert not [name for name in data if name.endswith("_id") and data[name]]


class Quota(aspects.Veto):
    pass


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "success"),
        (aspects.Veto("no"), "veto"),
        (Quota("no"), "veto"),
        (ValueError("no"), "failure"),
        (KeyboardInterrupt(), "failure"),
    ],
)
def test_outcome(error, outcome):
    assert event.outcome_of(error) == outcome


# Ids


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
def test_ids(kind, argument, columns, ids):
    value = None if columns is None else kind(**columns)
    assert event.ids_of({argument: value}) == ids


@kinds
def test_ids_of_snapshots_in_a_list(kind):
    snapshots = [kind(id="n1i", snapshot_id="n1"), kind(id="n2i", snapshot_id="n1")]
    assert event.ids_of({"replica_snapshots": snapshots})["snapshot_id"] == "n1"
    assert event.ids_of({"replica_snapshots": []}) == {}


@pytest.mark.parametrize("value", [Unloaded(id="s1"), "text", 3, object(), b"", [[]]])
def test_ids_of_something_odd_are_none(value):
    assert event.ids_of({"share": value, "snapshot": value, "replica": value}) == {}


def test_ids_of_a_share_and_a_snapshot():
    arguments = {
        "share": {"id": "i2", "share_id": "s2"},
        "snapshot": {"id": "n1i", "snapshot_id": "n1", "share_id": "s1"},
    }
    # The share that is made, not the one that the snapshot is of.
    assert event.ids_of(arguments) == {
        "share_id": "s2",
        "share_instance_id": "i2",
        "snapshot_id": "n1",
        "snapshot_instance_id": "n1i",
    }


@pytest.mark.parametrize("by_name", [True, False])
def test_ids_are_found_by_parameter_not_by_place(context, by_name):
    replica = {"id": "r1", "share_id": "s1"}
    args = ([replica], replica, [])
    kwargs = {}
    if by_name:
        args, kwargs = (), dict(zip(("replica_list", "replica", "access_rules"), args))
    data = event.data_of(context, operation("promote_replica"), args, kwargs)
    assert (data["share_id"], data["replica_id"]) == ("s1", "r1")


# Access


RULE = {
    "id": "r1",
    "access_type": "cephx",
    "access_to": "joe",
    "access_level": "rw",
    "state": "queued",
    "access_key": "hunter2-Zq9",
}
TOLD = {"access_type": "cephx", "access_to": "joe", "access_level": "rw"}


def access_of(method, *args, **kwargs):
    about = operation(method)
    return event.access_of(about, about.arguments(args, kwargs))


@kinds
@pytest.mark.parametrize("many", [list, tuple])
def test_access_of_rules(kind, many):
    rules = many([kind(**RULE)])
    told = access_of("update_access", {"id": "s1"}, rules, rules, [])
    # What is empty says nothing.
    assert told["add_rules"] == told["access_rules"] == [TOLD]
    assert "delete_rules" not in told
    assert "hunter2" not in json.dumps(told)


@kinds
@pytest.mark.parametrize(
    ("method", "name"), [("allow_access", "add_rules"), ("deny_access", "delete_rules")]
)
def test_access_of_one_rule(kind, method, name):
    told = access_of(method, {"id": "s1"}, kind(**RULE))
    assert told[name] == [TOLD]
    assert set(told) == {name, "share_proto", "export_locations"}


@kinds
def test_access_tells_how_to_mount_the_share(kind):
    locations = [
        kind(path="host:/one", is_admin_only=False),
        kind(path="host:/admin", is_admin_only=True),
        kind(path=None, is_admin_only=False),
        kind(path="host:/two"),
    ]
    share = kind(id="s1", share_proto="NFS", export_locations=locations)
    told = access_of("allow_access", share, RULE)
    assert told["share_proto"] == "NFS"
    assert told["export_locations"] == ["host:/one", "host:/two"]


@pytest.mark.parametrize("locations", [None, 5, [], [None], ["text"], Unloaded(id="x")])
def test_odd_export_locations_are_none(locations):
    told = access_of("allow_access", {"export_locations": locations}, RULE)
    assert told["export_locations"] == []
    assert told["share_proto"] is None


def test_calls_without_rules_tell_of_no_access():
    assert access_of("create_share", {"id": "s1", "share_proto": "NFS"}) == {}
    assert access_of("update_access", {"id": "s1"}, [], [], []) == {}


def test_rule_that_cannot_be_read_is_told_without_what_it_has():
    told = access_of("allow_access", {"id": "s1"}, Unloaded(access_to="joe"))
    assert told["add_rules"] == [dict.fromkeys(TOLD)]


def test_access_is_a_part_of_the_data(context):
    args = ({"id": "s1"}, [RULE], [RULE], [])
    data = event.data_of(context, operation("update_access"), args, {})
    assert data["add_rules"] == [TOLD]
    assert "hunter2" not in json.dumps(data)


# Events


@pytest.fixture
def data(context):
    share = {"id": "i1", "share_id": "s1"}
    return event.data_of(context, operation(), (share,), {})


@pytest.mark.parametrize("phase", [event.START, event.END, event.ERROR])
def test_event_of(data, phase):
    told = event.event_of(phase, data)
    assert told.pop("data") is data
    uuid.UUID(told.pop("id"))
    assert told == {
        "specversion": "1.0",
        "source": "/manila/node1%40alpha",
        "type": f"org.openstack.manila.share.create_share_instance.{phase}",
        "time": data["time"],
        "datacontenttype": "application/json",
        "subject": "s1",
    }
    json.dumps(told)


def test_each_event_has_an_id_of_its_own(data):
    assert event.event_of("end", data)["id"] != event.event_of("end", data)["id"]


@pytest.mark.parametrize(
    ("method", "args", "subject"),
    [
        ("create_share", ({"id": "i1", "share_id": "s1"},), "s1"),
        ("create_snapshot", ({"id": "n1"},), "n1"),
        ("create_snapshot", ({"id": "n1", "share_id": "s1"},), "s1"),
        ("get_share_stats", (), None),
    ],
)
def test_subject_of_an_event(context, method, args, subject):
    data = event.data_of(context, operation(method), args, {})
    assert event.event_of("end", data).get("subject") == subject


@pytest.mark.parametrize("host", ["node1@alpha", "a b", "é/?#", None, ""])
def test_source_of_an_event_is_a_uri(data, host):
    source = event.event_of("end", {**data, "host": host})["source"]
    path = urllib.parse.urlsplit(source).path
    assert source.isascii()
    assert urllib.parse.unquote(path) == f"/manila/{host or 'alpha'}"


def test_event_of_a_failure_has_no_secret(context):
    error = OSError("tried t0ken and hunter2-Zq9")
    args = ({"id": "s1"}, [RULE], [RULE], [])
    data = event.data_of(context, operation("update_access"), args, {}, error)
    text = json.dumps(event.event_of("error", data))
    assert "tried *** and ***" in text
    assert "t0ken" not in text
    assert "hunter2" not in text


@kinds
def test_event_of_a_tick(kind, context):
    instances = [kind(id="i1", access_key="hunter2"), kind(id="i2"), kind(name="none")]
    told = event.periodic_event_of(context, instances, "alpha", "node1@alpha")
    assert told["type"] == "org.openstack.manila.share.periodic"
    assert told["source"] == "/manila/node1%40alpha"
    assert told["data"].pop("time") == told["time"]
    assert told["data"] == {
        "request_id": "req-1",
        "project_id": "p1",
        "user_id": "u1",
        "backend": "alpha",
        "host": "node1@alpha",
        "share_instance_ids": ["i1", "i2"],
    }
    assert "hunter2" not in json.dumps(told)


@pytest.mark.parametrize("hook_data", [None, {"s1": "hunter2"}, "hunter2", object()])
def test_hook_data_of_a_tick_that_is_no_list_is_not_told(context, hook_data):
    told = event.periodic_event_of(context, hook_data, "alpha", None)
    assert "share_instance_ids" not in told["data"]
    assert "hunter2" not in json.dumps(told)

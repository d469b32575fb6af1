# SPDX-License-Identifier: Apache-2.0
"""Tests of the facts in an event."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aspects
from aspects import shares
from aspects.testing import FakeDriver
from hooks.events import event, facts
from tests.support.models import Unloaded, kinds
from tests.support.schema import SCHEMA, validated

from .common import RULE, operation

SHARE = {
    "id": "i1",
    "share_id": "s1",
    "display_name": "reports",
    "size": 3,
    "share_proto": "NFS",
    "share_type_id": "t1",
    "share_type_name": "gold",
    "project_id": "owner",
    "user_id": "creator",
    "metadata": {"team": "blue"},
    "availability_zone": "north",
    "replica_state": None,
    "share_group_id": "g1",
    "share_server_id": "v1",
    "share_network_id": "w1",
    "snapshot_id": "n0",
    "export_locations": [
        {"path": "host:/one", "is_admin_only": False},
        {"path": "host:/admin", "is_admin_only": True},
        {"path": None},
    ],
}
REPORTED = {
    "share_id": "s1",
    "share_instance_id": "i1",
    "share_name": "reports",
    "share_size": 3,
    "share_proto": "NFS",
    "share_type_id": "t1",
    "share_type_name": "gold",
    "share_project_id": "owner",
    "share_user_id": "creator",
    "metadata": {"team": "blue"},
    "availability_zone": "north",
    "share_group_id": "g1",
    "share_server_id": "v1",
    "share_network_id": "w1",
    "source_snapshot_id": "n0",
    "export_locations": ["host:/one"],
}
#: The fields of each call, which other tests are about.
COMMON = {
    *("time", "request_id", "project_id", "user_id", "backend", "host"),
    *("operation", "method", "outcome", "duration"),
}


def data_of(context, method, *args, results=None, error=None, **kwargs):
    called = operation(method)
    data = event.data_of(context, called, args, kwargs, error, results=results)
    validated(event.event_of("error" if error else "end", data))
    return {name: value for name, value in data.items() if name not in COMMON}


@kinds
def test_an_event_has_the_facts_of_the_share(kind, context):
    share = kind(**SHARE)
    assert data_of(context, "delete_share", share) == REPORTED


@kinds
def test_an_extension_has_the_old_and_the_new_size(kind, context):
    data = data_of(context, "extend_share", kind(id="i1", size=3), 5)
    assert (data["share_size"], data["new_size"]) == (3, 5)


def test_a_driver_that_renames_its_parameters_has_the_same_facts(context):
    class Quobyte(FakeDriver):
        def extend_share(self, ext_share, ext_size, share_server=None):
            """Name the parameters as the driver for Quobyte."""

        def create_share_group(self, context, sg_dict, share_server=None):
            """Name the parameters as the driver for CephFS."""

    woven = aspects.weave(Quobyte(), [], "alpha", "node1@alpha")
    operations = aspects.weaving(woven).operations
    data = event.data_of(context, operations["extend_share"], (SHARE, 5), {})
    assert REPORTED.items() <= data.items()
    assert data["new_size"] == 5
    group = {"id": "g1", "name": "pair"}
    data = event.data_of(context, operations["create_share_group"], (group,), {})
    assert (data["share_group_id"], data["share_group_name"]) == ("g1", "pair")


@kinds
def test_a_snapshot_has_its_own_facts_and_those_of_its_share(kind, context):
    snapshot = kind(
        id="n1i", snapshot_id="n1", display_name="friday", size=2, share=kind(**SHARE)
    )
    data = data_of(context, "create_snapshot", snapshot)
    del data["snapshot_id"], data["snapshot_instance_id"]
    assert data.pop("snapshot_name") == "friday"
    assert data.pop("snapshot_size") == 2
    assert data == {k: v for k, v in REPORTED.items() if k != "share_instance_id"}


def test_a_share_from_a_snapshot_has_its_source(context):
    snapshot = {"id": "n1i", "snapshot_id": "n1", "share": {"share_id": "s0"}}
    parent = {"id": "i0", "share_id": "s0"}
    data = data_of(
        context, "create_share_from_snapshot", SHARE, snapshot, parent_share=parent
    )
    assert data["share_id"] == "s1"
    assert data["snapshot_id"] == "n1"
    assert data["source_share_id"] == "s0"


def test_a_migration_has_source_and_destination(context):
    destination = {"id": "i2", "share_id": "s1"}
    data = data_of(context, "migration_start", SHARE, destination, [], {})
    assert data["share_instance_id"] == "i1"
    assert data["destination_share_instance_id"] == "i2"
    servers = {"id": "v1"}, {"id": "v2"}
    data = data_of(context, "share_server_migration_start", *servers, [SHARE], [])
    assert data["share_server_id"] == "v1"
    assert data["destination_share_server_id"] == "v2"
    assert data["share_instance_ids"] == ["i1"]


def test_a_transfer_has_the_new_owner(context):
    data = data_of(context, "transfer_accept", SHARE, "u2", "p2")
    assert (data["share_project_id"], data["new_project_id"]) == ("owner", "p2")
    assert data["new_user_id"] == "u2"


def test_a_replica_has_its_state_before_and_after(context):
    replica = {**SHARE, "replica_state": "out_of_sync"}
    args = ([replica], replica, [], [])
    data = data_of(context, "update_replica_state", *args, results="in_sync")
    assert data["replica_state"] == "out_of_sync"
    assert data["result"] == {"replica_state": "in_sync"}


@pytest.mark.parametrize(
    ("method", "results", "result"),
    [
        ("create_share", "host:/new", {"export_locations": ["host:/new"]}),
        ("create_share", ["host:/a", "host:/b"], ["host:/a", "host:/b"]),
        (
            "create_share",
            [{"path": "a", "is_admin_only": False}, {"path": "b", "is_admin_only": 1}],
            ["a"],
        ),
        (
            "create_share_from_snapshot",
            {"status": "creating_from_snapshot", "export_locations": [{"path": "a"}]},
            ["a"],
        ),
        (
            "manage_existing",
            {"size": 7, "export_locations": ["a"]},
            {"size": 7, "export_locations": ["a"]},
        ),
        ("create_share", None, None),
        ("delete_share", "a text", None),
        ("delete_share", ["a text"], None),
        ("get_share_stats", {"pools": []}, None),
    ],
)
def test_the_result_has_export_locations_and_size(context, method, results, result):
    if isinstance(result, list):
        result = {"export_locations": result}
    data = data_of(context, method, SHARE, results=results)
    assert data.get("result") == result


def test_a_failed_call_has_no_result(context):
    error = ValueError("no")
    data = data_of(context, "create_share", SHARE, results=["host:/a"], error=error)
    assert "result" not in data


@pytest.mark.parametrize("locations", [None, 5, [], [None], {}, Unloaded(id="x")])
def test_unreadable_values_are_left_out(locations, context):
    share = {"id": "i1", "size": "large", "export_locations": locations}
    assert data_of(context, "delete_share", share) == {"share_id": "i1"}
    assert data_of(context, "delete_share", Unloaded(id="i1")) == {}
    assert data_of(context, "extend_share", share, "much") == {"share_id": "i1"}


SECRETS = ("hunter2-Zq9", "tr0ub4dor&3")


def test_secrets_in_texts_of_users_are_masked(context):
    share = {
        **SHARE,
        "display_name": f"password={SECRETS[0]}",
        "metadata": {
            "db_password": SECRETS[0],
            "note": f"the password is '{SECRETS[1]}'",
            f"token={SECRETS[1]}": "x",
            "team": "blue",
        },
        "export_locations": [{"path": f"//host/share?password={SECRETS[0]}"}],
    }
    data = data_of(context, "update_access", share, [RULE], [RULE], [])
    text = json.dumps(data)
    assert not [secret for secret in SECRETS if secret in text]
    assert data["metadata"]["db_password"] == "***"
    assert data["metadata"]["team"] == "blue"
    assert data["share_size"] == 3


def test_an_unreadable_database_leaves_the_event_incomplete(context, monkeypatch):
    class Failing:
        def metadata(self, share):
            raise OSError("no database")

        share_type = metadata

    monkeypatch.setattr(shares, "_source", Failing())
    data = data_of(context, "delete_share", SHARE)
    assert data["incomplete"] == ["metadata", "share_type_name"]
    assert data["share_type_id"] == "t1"
    assert data["share_size"] == 3
    assert "metadata" not in data


# -- the limit ------------------------------------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.integers(),
    st.booleans(),
    st.builds(
        lambda n, text: text * n, st.integers(0, 90_000), st.sampled_from("aé\n\x00😀")
    ),
    st.builds(
        lambda n, one: [one] * n,
        st.integers(0, 30_000),
        st.sampled_from(["i1", {"a": "b"}, ""]),
    ),
    st.dictionaries(st.text(max_size=5), st.text(max_size=20)),
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from("abcdefgh"), VALUES))
def test_no_event_exceeds_the_limit_and_the_rest_is_complete(data):
    before = {"id": "1", "data": dict(data)}
    after = facts.limited(before)
    assert before == {"id": "1", "data": data}
    assert len(json.dumps(after)) <= facts.MAX_SIZE
    incomplete = after["data"].pop("incomplete", [])
    changed = [name for name in data if after["data"][name] != data[name]]
    assert sorted(changed) == incomplete
    for name in changed:
        assert len(after["data"][name]) < len(data[name])
    fits = len(json.dumps(before)) <= facts.MAX_SIZE
    assert fits == (not changed)


def test_a_large_event_says_what_was_cut(context):
    rules = [{**RULE, "access_to": f"10.0.{n // 256}.{n % 256}"} for n in range(2000)]
    data = event.data_of(
        context, operation("update_access"), (SHARE, rules, rules[:1], []), {}
    )
    made = validated(event.event_of("end", data))
    assert made["data"]["incomplete"] == ["access_rules"]
    assert 0 < len(made["data"]["access_rules"]) < 2000
    assert made["data"]["add_rules"] == data["add_rules"]


def test_an_incomplete_fact_stays_named_beside_a_cut_one(context):
    data = {"error": "x" * 100_000, "incomplete": ["metadata"]}
    after = facts.limited({"data": data})["data"]
    assert after["incomplete"] == ["error", "metadata"]


# -- the schema -----------------------------------------------------------------------


def test_the_schema_describes_each_field():
    for definition in ("call", "tick", "rule"):
        for name, field in SCHEMA["$defs"][definition]["properties"].items():
            assert field["description"].endswith("."), name


def test_the_facts_of_the_share_are_fields_of_the_schema():
    assert set(facts._SHARE_FIELDS) <= set(SCHEMA["$defs"]["call"]["properties"])


def test_a_new_share_of_the_share_api_has_the_facts_that_the_user_asks_for():
    arguments = {
        "share_proto": "NFS",
        "size": "3",
        "name": "data",
        "description": None,
        "share_type": {"id": "t1", "name": "gold"},
        "metadata": {"tier": "bulk", "db_password": "hunter2"},
    }
    assert facts.facts_of(None, "create", arguments) == {
        "share_name": "data",
        "share_size": 3,
        "share_proto": "NFS",
        "share_type_id": "t1",
        "share_type_name": "gold",
        "metadata": {"tier": "bulk", "db_password": "***"},
    }

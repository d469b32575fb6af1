# SPDX-License-Identifier: Apache-2.0
"""Access rules and export locations in an event."""

import json

import pytest

from hooks.events import event
from tests.support.models import Unloaded, kinds

from .common import RULE, operation

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

# SPDX-License-Identifier: Apache-2.0
"""Tests of access rules in an event."""

import json

import pytest

from hooks.events import event
from tests.support.models import Unloaded, kinds

from .common import RULE, operation

REPORTED_RULE = {"access_type": "cephx", "access_to": "joe", "access_level": "rw"}


def access_of(method, *args, **kwargs):
    called = operation(method)
    return event.access_of(called, called.arguments(args, kwargs))


@kinds
@pytest.mark.parametrize("sequence", [list, tuple])
def test_rules_are_reported_without_their_keys(kind, sequence):
    rules = sequence([kind(**RULE)])
    access = access_of("update_access", {"id": "s1"}, rules, rules, [])
    assert access["add_rules"] == access["access_rules"] == [REPORTED_RULE]
    # Empty lists are left out.
    assert "delete_rules" not in access
    assert "hunter2" not in json.dumps(access)


@kinds
@pytest.mark.parametrize(
    ("method", "name"), [("allow_access", "add_rules"), ("deny_access", "delete_rules")]
)
def test_a_single_rule_is_reported_as_a_list(kind, method, name):
    access = access_of(method, {"id": "s1"}, kind(**RULE))
    assert access[name] == [REPORTED_RULE]
    assert set(access) == {name}


def test_calls_without_rules_report_no_access():
    assert access_of("create_share", {"id": "s1", "share_proto": "NFS"}) == {}
    assert access_of("update_access", {"id": "s1"}, [], [], []) == {}


def test_an_unreadable_rule_is_reported_with_null_fields():
    access = access_of("allow_access", {"id": "s1"}, Unloaded(access_to="joe"))
    assert access["add_rules"] == [dict.fromkeys(REPORTED_RULE)]


def test_the_data_of_a_call_include_its_access(context):
    args = ({"id": "s1"}, [RULE], [RULE], [])
    data = event.data_of(context, operation("update_access"), args, {})
    assert data["add_rules"] == [REPORTED_RULE]
    assert "hunter2" not in json.dumps(data)

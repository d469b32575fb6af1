# SPDX-License-Identifier: Apache-2.0
"""Tests of the CloudEvents attributes of an event."""

import json
import urllib.parse
import uuid

import pytest

from hooks.events import event
from tests.support.models import kinds

from .common import RULE, operation


@pytest.mark.parametrize("phase", [event.START, event.END, event.ERROR])
def test_an_event_has_the_attributes_of_cloudevents(data, phase):
    made = event.event_of(phase, data)
    assert made.pop("data") is data
    uuid.UUID(made.pop("id"))
    assert made == {
        "specversion": "1.0",
        "source": "/manila/node1%40alpha",
        "type": f"org.openstack.manila.share.create_share_instance.{phase}",
        "time": data["time"],
        "datacontenttype": "application/json",
        "subject": "s1",
    }
    json.dumps(made)


def test_each_event_has_a_new_id(data):
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
def test_the_subject_is_the_share_or_else_the_snapshot(context, method, args, subject):
    data = event.data_of(context, operation(method), args, {})
    assert event.event_of("end", data).get("subject") == subject


@pytest.mark.parametrize("host", ["node1@alpha", "a b", "é/?#", None, ""])
def test_the_source_is_a_uri_with_the_host_or_else_the_backend(data, host):
    source = event.event_of("end", {**data, "host": host})["source"]
    path = urllib.parse.urlsplit(source).path
    assert source.isascii()
    assert urllib.parse.unquote(path) == f"/manila/{host or 'alpha'}"


def test_an_event_of_a_failure_has_no_secrets(context):
    error = OSError("tried t0ken and hunter2-Zq9")
    args = ({"id": "s1"}, [RULE], [RULE], [])
    data = event.data_of(context, operation("update_access"), args, {}, error)
    text = json.dumps(event.event_of("error", data))
    assert "tried *** and ***" in text
    assert "t0ken" not in text
    assert "hunter2" not in text


@kinds
def test_an_event_of_a_tick_has_the_ids_of_the_share_instances(kind, context):
    instances = [kind(id="i1", access_key="hunter2"), kind(id="i2"), kind(name="none")]
    tick = event.periodic_event_of(context, instances, "alpha", "node1@alpha")
    assert tick["type"] == "org.openstack.manila.share.periodic"
    assert tick["source"] == "/manila/node1%40alpha"
    assert tick["data"].pop("time") == tick["time"]
    assert tick["data"] == {
        "request_id": "req-1",
        "project_id": "p1",
        "user_id": "u1",
        "backend": "alpha",
        "host": "node1@alpha",
        "share_instance_ids": ["i1", "i2"],
    }
    assert "hunter2" not in json.dumps(tick)


@pytest.mark.parametrize("hook_data", [None, {"s1": "hunter2"}, "hunter2", object()])
def test_periodic_hook_data_other_than_a_list_are_not_reported(context, hook_data):
    tick = event.periodic_event_of(context, hook_data, "alpha", None)
    assert "share_instance_ids" not in tick["data"]
    assert "hunter2" not in json.dumps(tick)

# SPDX-License-Identifier: Apache-2.0
"""One JSON line for each completion of a call."""

import datetime

import pytest
from oslo_context import context as oslo_context

import aspects
from tests.support.drivers import BusyDriver

from .common import SECRET, SHARE, Next, lines_in

# A lock that nobody gives back is to be seen soon.
pytestmark = pytest.mark.timeout(60)


FIELDS = {
    "time",
    "request_id",
    "project_id",
    "user_id",
    "backend",
    "host",
    "operation",
    "method",
    "outcome",
    "duration",
}


def test_success(woven, path, context, clock):
    before = datetime.datetime.now(datetime.timezone.utc)
    woven(BusyDriver(lambda: clock.advance(1.5))).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert set(line) == FIELDS | {"share_id", "share_instance_id"}
    ended = datetime.datetime.fromisoformat(line.pop("time"))
    assert before <= ended <= datetime.datetime.now(datetime.timezone.utc)
    assert line.pop("duration") == 1.5
    assert line == {
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
    }


def test_failure_of_the_driver(woven, path, context):
    with pytest.raises(LookupError):
        woven(BusyDriver(LookupError("no such pool"))).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert set(line) == FIELDS | {
        "share_id",
        "share_instance_id",
        "error_type",
        "error",
    }
    assert line["outcome"] == "failure"
    assert line["error_type"] == "LookupError"
    assert line["error"] == "no such pool"
    assert line["duration"] >= 0


@pytest.mark.parametrize(
    ("where", "error", "outcome"),
    [
        ("pre", aspects.Veto("over quota"), "veto"),
        ("pre", LookupError("over quota"), "failure"),
        ("post", LookupError("over quota"), "success"),
    ],
)
def test_ending_by_a_later_hook(woven, path, context, where, error, outcome):
    with pytest.raises(type(error)):
        woven(None, Next(where, error)).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert line["outcome"] == outcome
    if outcome != "success":
        assert line["error_type"] == type(error).__name__
        assert line["error"] == "over quota"


@pytest.mark.parametrize("where", ["pre", "post"])
def test_suppressed_error_of_a_later_hook_is_no_failure(woven, path, context, where):
    woven(None, Next(where, OSError("no"), True)).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert line["outcome"] == "success"


def test_what_is_no_exception_is_told_too(woven, path, context):
    with pytest.raises(KeyboardInterrupt):
        woven(BusyDriver(KeyboardInterrupt())).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert (line["outcome"], line["error_type"]) == ("failure", "KeyboardInterrupt")


def test_a_line_for_each_join_point(woven, path, context, monkeypatch):
    driver = woven()
    # A call without a context has the current one.
    monkeypatch.setattr(oslo_context, "get_current", lambda: context)
    snapshot = {"id": "n1i", "snapshot_id": "n1", "share_id": "s0"}
    replica = {"id": "r1", "share_id": "s1"}
    rule = {"access_to": "joe", "access_key": SECRET}
    driver.create_share(context, share={"id": "s1"})
    driver.create_share_from_snapshot(context, SHARE, snapshot)
    driver.update_access(context, SHARE, [rule], [rule], [])
    driver.create_replica(context, [replica], replica, [rule], [])
    driver.get_share_stats(True)
    told = [
        {
            name: value
            for name, value in line.items()
            if name in ("operation", "method") or (name.endswith("_id") and value)
        }
        for line in lines_in(path)
    ]
    who = {"request_id": "req-1", "project_id": "p1", "user_id": "u1"}
    ids = {"share_id": "s1", "share_instance_id": "i1"}
    assert told == [
        who
        | {
            "operation": "create_share_instance",
            "method": "create_share",
            "share_id": "s1",
        },
        who
        | ids
        | {
            "operation": "create_share_instance",
            "method": "create_share_from_snapshot",
            "snapshot_id": "n1",
            "snapshot_instance_id": "n1i",
        },
        who | ids | {"operation": "allow_access", "method": "update_access"},
        who
        | {
            "operation": "create_share_replica",
            "method": "create_replica",
            "share_id": "s1",
            "replica_id": "r1",
        },
        who
        | {"operation": "publish_service_capabilities", "method": "get_share_stats"},
    ]


def test_duration_is_unknown_without_pre_actions(configured, woven, path, context):
    woven(file=configured("enable_post_hooks = True\n")).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert line["duration"] is None


def test_no_endings_no_lines(configured, woven, path, context):
    driver = woven(file=configured("enable_pre_hooks = True\n"))
    driver.create_share(context, SHARE)
    assert not path.exists()


def test_a_tick_is_no_join_point(configured, woven, path, context):
    driver = woven(file=configured("enable_periodic_hooks = True\n"))
    assert aspects.tick(driver, context, [SHARE]) is True
    assert not path.exists()


def test_lines_are_appended_to_what_is_there(woven, path, context):
    path.write_text('{"old": true}\n')
    woven().create_share(context, SHARE)
    assert [line.get("old") for line in lines_in(path)] == [True, None]


def test_text_of_several_lines_is_one_line(woven, path, context):
    text = "first\nsecond\r\u2028third é"
    with pytest.raises(OSError, match="first"):
        woven(BusyDriver(OSError(text))).create_share(context, SHARE)
    assert path.read_bytes().count(b"\n") == 1
    (line,) = lines_in(path)
    assert line["error"] == text

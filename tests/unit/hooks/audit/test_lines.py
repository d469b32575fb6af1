# SPDX-License-Identifier: Apache-2.0
"""Tests of the JSON line of each completed call."""

import datetime

import pytest
from oslo_context import context as oslo_context

import aspects
from aspects.testing import FakeDriver
from tests.support.drivers import BusyDriver
from tests.support.results import ADD

from .common import SECRET, SHARE, NextHook, lines_in, warning

# A lock that is never released must fail a test soon.
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


def test_a_successful_call_is_one_line(woven, path, context, clock):
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


def test_a_failure_of_the_driver_is_one_line_with_the_error(woven, path, context):
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
def test_the_outcome_includes_errors_of_later_pre_methods(
    woven, path, context, where, error, outcome
):
    with pytest.raises(type(error)):
        woven(None, NextHook(where, error)).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert line["outcome"] == outcome
    if outcome != "success":
        assert line["error_type"] == type(error).__name__
        assert line["error"] == "over quota"


@pytest.mark.parametrize("where", ["pre", "post"])
def test_a_suppressed_error_of_a_later_hook_is_not_a_failure(
    woven, path, context, where
):
    woven(None, NextHook(where, OSError("no"), True)).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert line["outcome"] == "success"


@pytest.mark.parametrize(
    ("states", "outcome", "failed"),
    [
        (["error", "error"], "failure", ["r1", "r2"]),
        (["active", "error"], "partial", ["r2"]),
        (["active", "active"], "success", None),
    ],
)
def test_the_outcome_is_that_of_the_drivers_result(
    woven, path, context, states, outcome, failed
):
    rules = dict(zip(["r1", "r2"], states, strict=True))
    result = {name: {"state": state, "key": SECRET} for name, state in rules.items()}
    driver = woven(FakeDriver(update_access=result))
    driver.update_access(context, SHARE, **ADD)
    (line,) = lines_in(path)
    assert (line["operation"], line["outcome"]) == ("allow_access", outcome)
    assert line.get("failed_items") == failed
    assert line.get("error") == (failed and "update_access returned: status error")
    assert "error_type" not in line
    assert SECRET not in str(line)


def test_work_that_a_later_call_continues_is_pending(woven, path, context):
    driver = woven(FakeDriver())
    driver.create_backup(context, SHARE, {"id": "b1"})
    driver.create_backup_continue(context, SHARE, {"id": "b1"})
    lines = lines_in(path)
    assert [line["outcome"] for line in lines] == ["pending", "success"]
    assert {line["backup_id"] for line in lines} == {"b1"}


def test_a_secret_in_a_result_is_not_in_the_reason_of_a_failure(woven, path, context):
    status = f"error: bad password {SECRET}"
    result = {"status": status, "password": SECRET}
    driver = woven(FakeDriver(create_share_from_snapshot=result))
    driver.create_share_from_snapshot(context, SHARE, {"id": "n1"})
    (line,) = lines_in(path)
    assert line["outcome"] == "failure"
    assert line["error"].startswith("create_share_from_snapshot returned: status error")
    assert SECRET not in str(line)


def test_a_veto_in_warn_mode_is_in_the_line(woven, path, context):
    woven(None, warning(f"frozen {SECRET}")).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert line["outcome"] == "success"
    (denied,) = line["would_deny"]
    assert denied["hook"] == "freeze"
    assert denied["reason"].startswith("frozen ")
    assert SECRET not in denied["reason"]


def test_a_keyboard_interrupt_is_a_failure(woven, path, context):
    with pytest.raises(KeyboardInterrupt):
        woven(BusyDriver(KeyboardInterrupt())).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert (line["outcome"], line["error_type"]) == ("failure", "KeyboardInterrupt")


def test_each_driver_method_makes_a_line_with_its_ids(
    woven, path, context, monkeypatch
):
    driver = woven()
    # A driver method without a context parameter gets the current context.
    monkeypatch.setattr(oslo_context, "get_current", lambda: context)
    snapshot = {"id": "n1i", "snapshot_id": "n1", "share_id": "s0"}
    replica = {"id": "r1", "share_id": "s1"}
    rule = {"access_to": "joe", "access_key": SECRET}
    driver.create_share(context, share={"id": "s1"})
    driver.create_share_from_snapshot(context, SHARE, snapshot)
    driver.update_access(context, SHARE, [rule], [rule], [])
    driver.create_replica(context, [replica], replica, [rule], [])
    driver.get_share_stats(True)
    found = [
        {
            name: value
            for name, value in line.items()
            if name in ("operation", "method") or (name.endswith("_id") and value)
        }
        for line in lines_in(path)
    ]
    origin = {"request_id": "req-1", "project_id": "p1", "user_id": "u1"}
    ids = {"share_id": "s1", "share_instance_id": "i1"}
    assert found == [
        origin
        | {
            "operation": "create_share_instance",
            "method": "create_share",
            "share_id": "s1",
        },
        origin
        | ids
        | {
            "operation": "create_share_instance",
            "method": "create_share_from_snapshot",
            "snapshot_id": "n1",
            "snapshot_instance_id": "n1i",
        },
        origin | ids | {"operation": "allow_access", "method": "update_access"},
        origin
        | {
            "operation": "create_share_replica",
            "method": "create_replica",
            "share_id": "s1",
            "replica_id": "r1",
        },
        origin
        | {"operation": "publish_service_capabilities", "method": "get_share_stats"},
    ]


def test_the_duration_is_null_without_pre_hooks(configured, woven, path, context):
    woven(file=configured("enable_post_hooks = True\n")).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert line["duration"] is None


def test_there_are_no_lines_without_post_hooks(configured, woven, path, context):
    driver = woven(file=configured("enable_pre_hooks = True\n"))
    driver.create_share(context, SHARE)
    assert not path.exists()


def test_a_tick_makes_no_line(configured, woven, path, context):
    driver = woven(file=configured("enable_periodic_hooks = True\n"))
    assert aspects.tick(driver, context, [SHARE]) is True
    assert not path.exists()


def test_lines_are_appended_to_an_existing_file(woven, path, context):
    path.write_text('{"old": true}\n')
    woven().create_share(context, SHARE)
    assert [line.get("old") for line in lines_in(path)] == [True, None]


def test_an_error_text_with_line_breaks_is_one_line(woven, path, context):
    text = "first\nsecond\r\u2028third é"
    with pytest.raises(OSError, match="first"):
        woven(BusyDriver(OSError(text))).create_share(context, SHARE)
    assert path.read_bytes().count(b"\n") == 1
    (line,) = lines_in(path)
    assert line["error"] == text

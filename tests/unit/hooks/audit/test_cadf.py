# SPDX-License-Identifier: Apache-2.0
"""Tests of audit lines in CADF format."""

import datetime
import inspect
import sys
import uuid

import pytest
from oslo_context import context as oslo_context

import aspects
from aspects.operations import METHODS
from aspects.testing import FakeDriver
from hooks import audit
from tests.support.drivers import BusyDriver
from tests.support.results import ADD
from tests.support.threads import run_in_thread

from .common import ON, SECRET, SHARE, NextHook, lines_in, problem_of, warning

# A lock that is never released must fail a test soon.
pytestmark = pytest.mark.timeout(60)


USER, PROJECT, SHARE_ID, OTHER_ID = (uuid.UUID(int=n).hex for n in range(1, 5))


@pytest.fixture
def cadf(configured):
    """Return a function that weaves a driver with an audit hook that writes CADF."""
    pytest.importorskip("pycadf")

    def weave(driver=None, *others):
        file = configured(f"{ON}audit_format = cadf\n")
        section = aspects.BackendSection(file.conf, "alpha")
        hook = audit.AuditHook(section, "node1@alpha")
        return aspects.weave(
            driver or BusyDriver(), [hook, *others], "alpha", "node1@alpha"
        )

    return weave


@pytest.fixture
def request_context():
    return run_in_thread(
        oslo_context.RequestContext,
        user_id=USER,
        project_id=PROJECT,
        request_id="req-1",
        auth_token=SECRET,
    )


def validated(line):
    """Check that pycadf makes the same event of a line, and return the line."""
    from pycadf import attachment, event, reason, resource

    parts = dict(line)
    assert parts.pop("typeURI") == event.TYPE_URI_EVENT
    attachments = parts.pop("attachments")
    for name in ("initiator", "target", "observer"):
        more = dict(parts[name])
        kept = {key: more.pop(key) for key in ("id", "typeURI", "name") if key in more}
        parts[name] = resource.Resource(**kept)
        assert parts[name].is_valid()
        vars(parts[name]).update(more)
    if "reason" in parts:
        parts["reason"] = reason.Reason(**parts["reason"])
        assert parts["reason"].is_valid()
    parsed = event.Event(**parts)
    for fields in attachments:
        parsed.add_attachment(attachment.Attachment(**fields))
    assert parsed.is_valid()
    assert parsed.as_dict() == line
    return line


def test_a_successful_call_is_a_cadf_event(cadf, path, request_context):
    before = datetime.datetime.now(datetime.timezone.utc)
    share = {"id": OTHER_ID, "share_id": SHARE_ID}
    cadf().create_share(request_context, share)
    (line,) = map(validated, lines_in(path))
    assert before <= datetime.datetime.fromisoformat(line["eventTime"])
    assert line["eventType"] == "activity"
    assert line["action"] == "create"
    assert line["name"] == "create_share_instance"
    assert line["outcome"] == "success"
    assert "reason" not in line
    assert line["initiator"] == {
        "id": USER,
        "typeURI": "service/security/account/user",
        "project_id": PROJECT,
        "request_id": "req-1",
    }
    assert line["target"] == {"id": SHARE_ID, "typeURI": "storage/share"}
    assert line["observer"]["typeURI"] == "service/storage/share"
    assert line["observer"]["name"] == "node1@alpha"
    uuid.UUID(line["observer"]["id"])
    (attached,) = line["attachments"]
    assert attached["content"].pop("duration") >= 0
    assert attached["content"] == {
        "backend": "alpha",
        "host": "node1@alpha",
        "method": "create_share",
        "share_id": SHARE_ID,
        "share_instance_id": OTHER_ID,
    }


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(LookupError("no such pool"), "failure"), (aspects.Veto("no"), "veto")],
)
def test_a_failure_and_a_veto_have_a_reason_in_cadf(
    cadf, path, request_context, error, outcome
):
    others = [NextHook("pre", error)]
    with pytest.raises(type(error)):
        cadf(None, *others).create_share(request_context, {"id": SHARE_ID})
    (line,) = map(validated, lines_in(path))
    assert line["outcome"] == "failure"
    assert line["reason"] == {
        "reasonType": f"org.openstack.manila.{outcome}",
        "reasonCode": type(error).__name__,
    }
    (attached,) = line["attachments"]
    assert attached["content"]["error"] == str(error)


@pytest.mark.parametrize(
    ("states", "outcome", "reason"),
    [
        (["error", "error"], "failure", "failure"),
        (["active", "error"], "failure", "partial"),
        (["active", "active"], "success", None),
    ],
)
def test_the_outcome_in_cadf_is_that_of_the_drivers_result(
    cadf, path, request_context, states, outcome, reason
):
    rules = dict(zip(["r1", "r2"], states, strict=True))
    result = {name: {"state": state} for name, state in rules.items()}
    driver = cadf(FakeDriver(update_access=result))
    driver.update_access(request_context, {"id": SHARE_ID}, **ADD)
    (line,) = map(validated, lines_in(path))
    assert line["outcome"] == outcome
    kind = f"org.openstack.manila.{reason}"
    expected = reason and {"reasonType": kind, "reasonCode": "result"}
    assert line.get("reason") == expected
    (attached,) = line["attachments"]
    failed = [name for name, state in rules.items() if state == "error"]
    assert attached["content"].get("failed_items", []) == failed


def test_unfinished_work_is_pending_in_cadf(cadf, path, request_context):
    cadf(FakeDriver()).create_backup(
        request_context, {"id": SHARE_ID}, {"id": OTHER_ID}
    )
    (line,) = map(validated, lines_in(path))
    assert line["outcome"] == "pending"
    assert "reason" not in line


def test_a_veto_in_warn_mode_is_in_the_attachment(cadf, path, request_context):
    cadf(None, warning("frozen")).create_share(request_context, {"id": SHARE_ID})
    (line,) = map(validated, lines_in(path))
    assert line["outcome"] == "success"
    (attached,) = line["attachments"]
    denied = [{"hook": "freeze", "reason": "frozen"}]
    assert attached["content"]["would_deny"] == denied


SNAPSHOT = {"id": OTHER_ID, "snapshot_id": OTHER_ID, "share_id": SHARE_ID}


@pytest.mark.parametrize(
    ("method", "arguments", "action", "kind", "target"),
    [
        ("create_share", [{"id": SHARE_ID}], "create", "storage/share", SHARE_ID),
        (
            "create_share_from_snapshot",
            [{"id": SHARE_ID}, SNAPSHOT],
            *("create", "storage/share", SHARE_ID),
        ),
        (
            "create_snapshot",
            [SNAPSHOT],
            *("create", "storage/share/snapshot", OTHER_ID),
        ),
        (
            "create_replica",
            [[], {"id": OTHER_ID, "share_id": SHARE_ID}, [], []],
            *("create", "storage/share/replica", OTHER_ID),
        ),
        (
            "update_access",
            [{"id": SHARE_ID}, [], [{"access_to": "joe"}], []],
            *("allow", "storage/share", SHARE_ID),
        ),
        (
            "update_access",
            [{"id": SHARE_ID}, [], [], [{"access_to": "joe"}]],
            *("deny", "storage/share", SHARE_ID),
        ),
        (
            "update_access",
            [{"id": SHARE_ID}, [], [], []],
            *("update", "storage/share", SHARE_ID),
        ),
        ("extend_share", [{"id": SHARE_ID}, 2], "update", "storage/share", SHARE_ID),
        ("teardown_server", [{"x": 1}], "delete", "service/storage/share", None),
        ("get_share_stats", [], "monitor", "service/storage/share", None),
        ("further", [], "unknown", "service/storage/share", None),
    ],
)
def test_the_operation_decides_action_and_target_in_cadf(
    configured, path, request_context, method, arguments, action, kind, target
):
    pytest.importorskip("pycadf")

    class Whole(BusyDriver):
        def further(self, context):
            pass

    options = f"{ON}audit_format = cadf\nhook_methods = further\n"
    section = aspects.BackendSection(configured(options).conf, "alpha")
    driver = aspects.weave_from_config(Whole(), section, "node1@alpha")
    function = getattr(driver, method)
    has_context = "context" in names_of(function)
    function(*([request_context, *arguments] if has_context else arguments))
    (line,) = map(validated, lines_in(path))
    assert (line["action"], line["target"]["typeURI"]) == (action, kind)
    assert line["target"]["id"] == (target or line["observer"]["id"])
    if not has_context:
        # Without a context, the service acts by itself.
        assert line["initiator"]["id"] == line["observer"]["id"]


def names_of(function):
    return inspect.signature(function).parameters


def test_every_operation_has_a_cadf_action():
    cadf_module = pytest.importorskip("hooks.events.cadf")
    data = {"time": "2026-01-01T00:00:00+00:00", "host": None, "backend": "alpha"}
    data |= dict.fromkeys(("request_id", "project_id", "user_id"))
    for operation in METHODS.values():
        event = cadf_module.event_of(
            {**data, "operation": operation, "outcome": "success"}
        )
        assert validated(event)["action"] != "unknown", operation


def test_all_cadf_events_of_a_host_have_the_same_observer(cadf, path, request_context):
    for driver in (cadf(), cadf()):
        driver.create_share(request_context, {"id": SHARE_ID})
    one, two = map(validated, lines_in(path))
    assert one["observer"] == two["observer"]
    assert one["id"] != two["id"]


def test_the_format_is_mutable(configured, path, context):
    pytest.importorskip("pycadf")
    file = configured()
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    text = file.path.read_text()
    for more in ("", "audit_format = cadf\n", "audit_format = json\n"):
        file.mutate(text + more)
        driver.create_share(context, SHARE)
    assert ["typeURI" in line for line in lines_in(path)] == [False, True, False]


def test_cadf_without_pycadf_is_a_configuration_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycadf", None)
    monkeypatch.delitem(sys.modules, "hooks.events.cadf", raising=False)
    problem = problem_of(
        tmp_path, f"audit_log_path = {tmp_path}/a.log\naudit_format = cadf"
    )
    for part in ("audit_format = cadf", "pycadf", "manila-aspects[audit]"):
        assert part in problem.cause
    assert "Traceback" not in problem.cause


def test_json_does_not_need_pycadf(configured, path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycadf", None)
    monkeypatch.delitem(sys.modules, "hooks.events.cadf", raising=False)
    section = aspects.BackendSection(configured().conf, "alpha")
    aspects.weave_from_config(BusyDriver(), section, "node1@alpha").get_share_stats()
    assert len(lines_in(path)) == 1


def test_an_unknown_format_is_a_configuration_error(tmp_path):
    lines = f"audit_log_path = {tmp_path}/a.log\naudit_format = xml"
    assert problem_of(tmp_path, lines)[:3] == ("alpha", "audit_format", "xml")

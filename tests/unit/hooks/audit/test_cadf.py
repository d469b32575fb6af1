# SPDX-License-Identifier: Apache-2.0
"""Lines as CADF events."""

import datetime
import inspect
import sys
import uuid

import pytest
from oslo_context import context as oslo_context

import aspects
from aspects.operations import METHODS
from hooks import audit
from tests.support.drivers import BusyDriver
from tests.support.threads import run_in_thread

from .common import ON, SECRET, SHARE, Next, lines_in, wrong

# A lock that nobody gives back is to be seen soon.
pytestmark = pytest.mark.timeout(60)


USER, PROJECT, SHARE_ID, OTHER_ID = (uuid.UUID(int=n).hex for n in range(1, 5))


@pytest.fixture
def cadf(configured):
    """Return what weaves a driver with an audit hook that writes CADF."""
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


def valid(line):
    """Have pycadf make an event of a line, and return the line."""
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
    made = event.Event(**parts)
    for each in attachments:
        made.add_attachment(attachment.Attachment(**each))
    assert made.is_valid()
    assert made.as_dict() == line
    return line


def test_cadf_of_a_success(cadf, path, request_context):
    before = datetime.datetime.now(datetime.timezone.utc)
    share = {"id": OTHER_ID, "share_id": SHARE_ID}
    cadf().create_share(request_context, share)
    (line,) = map(valid, lines_in(path))
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
def test_cadf_of_a_failure(cadf, path, request_context, error, outcome):
    others = [Next("pre", error)]
    with pytest.raises(type(error)):
        cadf(None, *others).create_share(request_context, {"id": SHARE_ID})
    (line,) = map(valid, lines_in(path))
    assert line["outcome"] == "failure"
    assert line["reason"] == {
        "reasonType": f"org.openstack.manila.{outcome}",
        "reasonCode": type(error).__name__,
    }
    (attached,) = line["attachments"]
    assert attached["content"]["error"] == str(error)


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
def test_cadf_of_each_operation(
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
    given = {"context": request_context} if "context" in names_of(function) else {}
    function(*given.values(), *arguments)
    (line,) = map(valid, lines_in(path))
    assert (line["action"], line["target"]["typeURI"]) == (action, kind)
    assert line["target"]["id"] == (target or line["observer"]["id"])
    if not given:
        # What the service does by itself.
        assert line["initiator"]["id"] == line["observer"]["id"]


def names_of(function):
    return inspect.signature(function).parameters


def test_every_operation_has_an_action_of_cadf():
    cadf_module = pytest.importorskip("hooks.events.cadf")
    data = {"time": "2026-01-01T00:00:00+00:00", "host": None, "backend": "alpha"}
    data |= dict.fromkeys(("request_id", "project_id", "user_id"))
    for operation in METHODS.values():
        told = cadf_module.event_of(
            {**data, "operation": operation, "outcome": "success"}
        )
        assert valid(told)["action"] != "unknown", operation


def test_cadf_of_one_host_has_one_observer(cadf, path, request_context):
    for driver in (cadf(), cadf()):
        driver.create_share(request_context, {"id": SHARE_ID})
    one, two = map(valid, lines_in(path))
    assert one["observer"] == two["observer"]
    assert one["id"] != two["id"]


def test_format_follows_the_file(configured, path, context):
    pytest.importorskip("pycadf")
    file = configured()
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    text = file.path.read_text()
    for more in ("", "audit_format = cadf\n", "audit_format = json\n"):
        file.mutate(text + more)
        driver.create_share(context, SHARE)
    assert ["typeURI" in line for line in lines_in(path)] == [False, True, False]


def test_cadf_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycadf", None)
    monkeypatch.delitem(sys.modules, "hooks.events.cadf", raising=False)
    problem = wrong(tmp_path, f"audit_log_path = {tmp_path}/a.log\naudit_format = cadf")
    for part in ("audit_format = cadf", "pycadf", "manila-aspects[audit]"):
        assert part in problem.cause
    assert "Traceback" not in problem.cause


def test_the_library_of_cadf_is_only_needed_for_it(configured, path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycadf", None)
    monkeypatch.delitem(sys.modules, "hooks.events.cadf", raising=False)
    section = aspects.BackendSection(configured().conf, "alpha")
    aspects.weave_from_config(BusyDriver(), section, "node1@alpha").get_share_stats()
    assert len(lines_in(path)) == 1


def test_wrong_format(tmp_path):
    lines = f"audit_log_path = {tmp_path}/a.log\naudit_format = xml"
    assert wrong(tmp_path, lines)[:3] == ("alpha", "audit_format", "xml")

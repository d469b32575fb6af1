# SPDX-License-Identifier: Apache-2.0
"""The audit hook: one JSON line for each ending of a join point."""

import datetime
import inspect
import json
import os
import subprocess
import sys
import threading
import time
import uuid

import pytest
from oslo_config import cfg
from oslo_context import context as oslo_context

import aspects
from aspects.operations import METHODS
from hooks import audit

from ..functional.parts import wait_for
from .fixtures_hooks.config_file import ConfigFile
from .fixtures_hooks.threads import in_a_thread

# A lock that nobody gives back is to be seen soon.
pytestmark = pytest.mark.timeout(60)

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}
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


class Driver:
    def __init__(self, fails=None, during=lambda: None):
        self.fails = fails
        self.during = during

    def _do(self):
        self.during()
        if self.fails:
            raise self.fails

    def create_share(self, context, share, share_server=None):
        self._do()

    def create_share_from_snapshot(self, context, share, snapshot, share_server=None):
        self._do()

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        self._do()

    def create_replica(self, context, replica_list, new_replica, access_rules):
        self._do()

    def get_share_stats(self, refresh=False):
        self._do()

    def teardown_server(self, server_details, security_services=None):
        self._do()


class Next(aspects.HookBase):
    """A hook after the audit hook that fails where it is told to."""

    def __init__(self, fails_in, error, suppress=False):
        self.fails_in = fails_in
        self.error = error
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.suppress_pre_hooks_errors = self.suppress_post_hooks_errors = suppress

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        if self.fails_in == "pre":
            raise self.error

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        if self.fails_in == "post":
            raise self.error

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


@pytest.fixture
def context():
    return in_a_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        request_id="req-1",
        auth_token=SECRET,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def configured(tmp_path, path):
    def write(options="enable_pre_hooks = True\nenable_post_hooks = True\n"):
        text = f"[alpha]\nhook_drivers = audit\naudit_log_path = {path}\n{options}"
        return ConfigFile(tmp_path / "service.conf", text)

    return write


@pytest.fixture
def woven(configured):
    """Return what weaves a driver with the audit hook, and maybe others."""

    def weave(driver=None, *others, file=None):
        section = aspects.BackendSection((file or configured()).conf, "alpha")
        host = "node1@alpha"
        hook = audit.AuditHook(section, host)
        return aspects.weave(driver or Driver(), [hook, *others], "alpha", host)

    return weave


def lines_in(path):
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_success(woven, path, context):
    before = datetime.datetime.now(datetime.timezone.utc)
    woven(Driver(during=lambda: time.sleep(0.02))).create_share(context, SHARE)
    (line,) = lines_in(path)
    assert set(line) == FIELDS | {"share_id", "share_instance_id"}
    ended = datetime.datetime.fromisoformat(line.pop("time"))
    assert before <= ended <= datetime.datetime.now(datetime.timezone.utc)
    assert 0.02 <= line.pop("duration") < 5
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
        woven(Driver(LookupError("no such pool"))).create_share(context, SHARE)
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
        woven(Driver(KeyboardInterrupt())).create_share(context, SHARE)
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
    driver.create_replica(context, [replica], replica, [rule])
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
        woven(Driver(OSError(text))).create_share(context, SHARE)
    assert path.read_bytes().count(b"\n") == 1
    (line,) = lines_in(path)
    assert line["error"] == text


# At once


def test_threads_write_whole_lines(woven, path, context):
    driver = woven()
    together = threading.Barrier(8)

    def many(name):
        together.wait(10)
        for number in range(50):
            driver.create_share(context, {"id": f"{name}-{number}"})

    run_threads(many)
    ids = [line["share_id"] for line in lines_in(path)]
    assert sorted(ids) == sorted(f"{t}-{n}" for t in range(8) for n in range(50))


def run_threads(target):
    threads = [threading.Thread(target=target, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_write_that_the_system_cuts_short(woven, path, context, monkeypatch):
    # As it may on a disk that is nearly full, or for a signal. The line is to
    # be whole all the same, and no other thread's line is to be within it.
    driver = woven()
    write = os.write

    def short(file, data):
        written = write(file, data[:40])
        time.sleep(0.0005)
        return written

    monkeypatch.setattr(os, "write", short)

    def some(name):
        for number in range(3):
            driver.create_share(context, {"id": f"{name}-{number}"})

    run_threads(some)
    ids = [line["share_id"] for line in lines_in(path)]
    assert sorted(ids) == sorted(f"{t}-{n}" for t in range(8) for n in range(3))


PROCESS = """
import os, sys, threading
import aspects
from aspects.operations import METHODS
from hooks import audit

path, name = sys.argv[1:]

class Given:
    config_group = "alpha"
    values = {"audit_log_path": path, "enable_pre_hooks": True,
              "enable_post_hooks": True}
    def safe_get(self, key):
        return self.values.get(key, False)
    def append_config_values(self, options):
        pass

class Driver:
    def create_share(self, context, share):
        pass

driver = aspects.weave(Driver(), [audit.AuditHook(Given(), "node1")], "alpha")
write = os.write
# In pieces, so that processes that do not wait for each other are seen to.
os.write = lambda file, data: write(file, data[:100])

def many(thread):
    for number in range(25):
        driver.create_share(None, {"id": f"{name}-{thread}-{number}"})

threads = [threading.Thread(target=many, args=(t,)) for t in range(2)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_processes_write_whole_lines(path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), str(name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(30) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    ids = [line["share_id"] for line in lines_in(path)]
    assert sorted(ids) == sorted(
        f"{p}-{t}-{n}" for p in range(4) for t in range(2) for n in range(25)
    )


# The file


def test_rotation_needs_no_signal(woven, path, context):
    driver = woven()
    driver.create_share(context, {"id": "1"})
    rotated = path.rename(path.with_suffix(".1"))
    driver.create_share(context, {"id": "2"})
    assert [line["share_id"] for line in lines_in(rotated)] == ["1"]
    assert [line["share_id"] for line in lines_in(path)] == ["2"]


def test_no_file_stays_open(woven, path, context):
    driver = woven()
    count = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        driver.create_share(context, SHARE)
    assert len(os.listdir("/proc/self/fd")) <= count


def test_file_is_not_for_everybody(woven, path, context):
    woven().create_share(context, SHARE)
    assert not path.stat().st_mode & 0o007


def test_path_follows_the_file(configured, path, context):
    file = configured()
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    driver.create_share(context, {"id": "1"})
    other = path.with_name("other.log")
    file.mutate(file.path.read_text().replace(str(path), str(other)))
    driver.create_share(context, {"id": "2"})
    assert [line["share_id"] for line in lines_in(path)] == ["1"]
    assert [line["share_id"] for line in lines_in(other)] == ["2"]


def test_each_instance_has_a_path_of_its_own(tmp_path, context):
    text = "\n".join(
        [
            "[DEFAULT]",
            "enable_post_hooks = True",
            f"audit_log_path = {tmp_path}/all.log",
            "[alpha]",
            "hook_drivers = audit, second=audit",
            "[alpha:second]",
            f"audit_log_path = {tmp_path}/second.log",
        ]
    )
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    driver.create_share(context, SHARE)
    for name in ("all.log", "second.log"):
        assert len(lines_in(tmp_path / name)) == 1


def wrong(tmp_path, line):
    text = f"[alpha]\nhook_drivers = log=audit\n{line}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(Driver(), section, "node1@alpha")
    (problem,) = caught.value.problems
    assert problem.section == "alpha"
    assert problem.value
    return problem


@pytest.mark.parametrize("line", ["", "audit_log_path =", "[DEFAULT]\nverbose = 1"])
def test_path_that_is_not_set(tmp_path, line):
    problem = wrong(tmp_path, line)
    assert "audit_log_path" in f"{problem.option} {problem.cause}"
    assert "not set" in problem.cause


@pytest.mark.parametrize("where", ["missing/audit.log", "", "service.conf/audit.log"])
def test_path_that_cannot_be_written(tmp_path, where):
    path = f"{tmp_path}/{where}"
    problem = wrong(tmp_path, f"audit_log_path = {path}")
    assert path in f"{problem.value} {problem.cause}"
    assert "Error" in problem.cause


def test_file_without_permission(tmp_path, path, monkeypatch):
    # Not with the file's mode, which does not stop root.
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    section = aspects.BackendSection(cfg.ConfigOpts(), "alpha")
    section.conf([], default_config_files=[], default_config_dirs=[])
    section.append_config_values(audit.AuditHook.options)
    section.conf.set_override("audit_log_path", str(path), group="alpha")
    with pytest.raises(PermissionError):
        audit.AuditHook(section, "node1@alpha")


def test_folder_without_permission(configured, path, monkeypatch):
    section = aspects.BackendSection(configured().conf, "alpha")
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(PermissionError, match=r"audit\.log"):
        audit.AuditHook(section, "node1@alpha")


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_written_before_the_first_line(woven, path, context, there):
    if there:
        path.write_text("old\n")
        os.utime(path, (1, 1))
    driver = woven()
    about = aspects.weaving(driver)
    about.start()
    about.stop()
    if there:
        assert (path.read_text(), path.stat().st_mtime) == ("old\n", 1)
    assert path.exists() == there
    driver.create_share(context, SHARE)
    assert len(path.read_text().splitlines()) == 1 + there


def test_path_may_be_relative(tmp_path, path, context, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "[alpha]\nhook_drivers = audit\naudit_log_path = audit.log\n"
    file = ConfigFile(tmp_path / "service.conf", f"{text}enable_post_hooks = True\n")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    driver.create_share(context, SHARE)
    assert len(lines_in(path)) == 1


# In the background

ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"


def test_a_line_of_the_background_tells_of_the_callers_moment(
    configured, path, context
):
    file = configured(f"{ON}hook_dispatch = background\n")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    (hook,) = aspects.weaving(driver).hooks
    gate = threading.Event()
    # What is before the lines in the queue.
    hook.dispatcher.put(hook, "post", "any", lambda _: gate.wait(30), None)
    began = time.monotonic()
    for number in range(5):
        driver.create_share(context, {"id": str(number)})
    ended = datetime.datetime.now(datetime.timezone.utc)
    longest = time.monotonic() - began
    wait_for(lambda: time.monotonic() > began + longest + 0.05, "some time")
    assert not path.exists()
    gate.set()
    aspects.weaving(driver).stop()
    lines = lines_in(path)
    assert [line["share_id"] for line in lines] == list("01234")
    for line in lines:
        assert line["duration"] <= longest
        assert datetime.datetime.fromisoformat(line["time"]) <= ended


def test_a_line_of_the_background_that_cannot_be_written_is_logged(
    configured, path, context, caplog
):
    file = configured(f"{ON}hook_dispatch = background\n")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    path.mkdir()
    driver.create_share(context, SHARE)
    aspects.weaving(driver).stop()
    (record,) = caplog.records
    for part in ("audit", "alpha", "create_share_instance", "IsADirectoryError"):
        assert part in record.getMessage()


# CADF

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
            driver or Driver(), [hook, *others], "alpha", "node1@alpha"
        )

    return weave


@pytest.fixture
def request_context():
    return in_a_thread(
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
            [[], {"id": OTHER_ID, "share_id": SHARE_ID}, []],
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

    class Whole(Driver):
        def create_snapshot(self, context, snapshot, share_server=None):
            pass

        def extend_share(self, share, new_size, share_server=None):
            pass

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
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
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
    aspects.weave_from_config(Driver(), section, "node1@alpha").get_share_stats()
    assert len(lines_in(path)) == 1


def test_wrong_format(tmp_path):
    lines = f"audit_log_path = {tmp_path}/a.log\naudit_format = xml"
    assert wrong(tmp_path, lines)[:3] == ("alpha", "audit_format", "xml")


# No secrets


class Model:
    """An object-style model: attributes, and to_dict()."""

    def __init__(self, **columns):
        vars(self).update(columns)

    def to_dict(self):
        return dict(vars(self))


@pytest.mark.parametrize("kind", [dict, Model])
@pytest.mark.parametrize("where", ["args", "kwargs"])
@pytest.mark.parametrize("ending", ["success", "failure", "veto", "post"])
@pytest.mark.parametrize("format_", ["json", "cadf"])
def test_no_secret_is_ever_in_a_line(
    configured, woven, path, monkeypatch, kind, where, ending, format_
):
    secrets = {
        name: f"{SECRET}-{name}"
        for name in ("token", "rule", "server", "service", "nested", "text")
    }
    context = in_a_thread(
        oslo_context.RequestContext, auth_token=secrets["token"], request_id="req-1"
    )
    # That of a call that has none.
    monkeypatch.setattr(oslo_context, "get_current", lambda: context)
    server = kind(
        id="v1",
        backend_details={"vserver": "v1", "password": secrets["server"]},
        network_info=[{"security_services": [{"password": secrets["nested"]}]}],
    )
    services = [kind(type="ldap", user="u", password=secrets["service"])]
    rules = [kind(access_to="joe", access_type="cephx", access_key=secrets["rule"])]
    text = f"tried {' and '.join(secrets.values())}"
    text = text.replace(secrets["text"], f"password={secrets['text']}")
    error = {"veto": aspects.Veto}.get(ending, OSError)(text)
    others = [Next({"veto": "pre"}.get(ending, ending), error)]
    inner = Driver(error if ending == "failure" else None)
    driver = woven(inner, *others, file=configured(f"{ON}audit_format = {format_}\n"))
    calls = [
        ("update_access", (SHARE, rules, rules, []), ("share", *RULES)),
        ("create_replica", ([], kind(id="r1"), rules), REPLICA),
        ("create_share", (SHARE, server), ("share", "share_server")),
    ]
    for method, args, names in calls:
        kwargs = {}
        if where == "kwargs":
            args, kwargs = (), dict(zip(names, args))
        error.args = (text_of(text, secrets, method),)
        call(getattr(driver, method), context, *args, **kwargs)
    error.args = (text_of(text, secrets, "teardown_server"),)
    details = {"vserver": "v1", "admin_password": secrets["server"]}
    if where == "args":
        call(driver.teardown_server, details, services)
    else:
        call(driver.teardown_server, server_details=details, security_services=services)
    assert len(lines_in(path)) == 4
    assert SECRET not in path.read_text("utf-8")


RULES = ("access_rules", "add_rules", "delete_rules")
REPLICA = ("replica_list", "new_replica", "access_rules")
KNOWN = {
    "update_access": ("token", "rule"),
    "create_replica": ("token", "rule"),
    "create_share": ("token", "server", "nested"),
    "teardown_server": ("token", "server", "service"),
}


def text_of(text, secrets, method):
    """Leave in an error's text the secrets of the call that raises it."""
    for name, secret in secrets.items():
        if name not in KNOWN[method] and name != "text":
            text = text.replace(secret, "nothing")
    return text


def call(method, *args, **kwargs):
    try:
        method(*args, **kwargs)
    except (OSError, aspects.Veto):
        return


def test_values_of_the_call_are_not_in_a_line(woven, path, context):
    share = SHARE | {"name": "payroll", "access_key": SECRET}
    woven().create_share(context, share)
    text = path.read_text()
    assert "payroll" not in text
    assert SECRET not in text

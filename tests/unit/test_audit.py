# SPDX-License-Identifier: Apache-2.0
"""The audit hook: one JSON line for each ending of a join point."""

import datetime
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from oslo_config import cfg
from oslo_context import context as oslo_context

import aspects
from hooks import audit

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
    assert lines_in(path) == []


def test_a_tick_is_no_join_point(configured, woven, path, context):
    driver = woven(file=configured("enable_periodic_hooks = True\n"))
    assert aspects.tick(driver, context, [SHARE]) is True
    assert lines_in(path) == []


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
def test_no_secret_is_ever_in_a_line(woven, path, monkeypatch, kind, where, ending):
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
    driver = woven(Driver(error if ending == "failure" else None), *others)
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

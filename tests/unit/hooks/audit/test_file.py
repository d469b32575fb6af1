# SPDX-License-Identifier: Apache-2.0
"""Tests of the file that the audit hook writes, from threads and processes too."""

import datetime
import os
import subprocess
import sys
import threading
import time

import pytest
from oslo_config import cfg

import aspects
from hooks import audit
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver

from .common import ON, SHARE, lines_in, problem_of

# A lock that is never released must fail a test soon.
pytestmark = pytest.mark.timeout(60)


def test_lines_of_several_threads_do_not_mix(woven, path, context):
    driver = woven()
    together = threading.Barrier(8)

    def create_50_shares(name):
        together.wait(10)
        for number in range(50):
            driver.create_share(context, {"id": f"{name}-{number}"})

    run_threads(create_50_shares)
    ids = [line["share_id"] for line in lines_in(path)]
    assert sorted(ids) == sorted(f"{t}-{n}" for t in range(8) for n in range(50))


def run_threads(target):
    threads = [threading.Thread(target=target, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_a_line_is_whole_after_short_writes(woven, path, context, monkeypatch):
    # A nearly full disk or a signal may cut a write short. No line of another thread
    # may get between the parts.
    driver = woven()
    write = os.write

    def short(file, data):
        written = write(file, data[:40])
        time.sleep(0.0005)
        return written

    monkeypatch.setattr(os, "write", short)

    def create_3_shares(name):
        for number in range(3):
            driver.create_share(context, {"id": f"{name}-{number}"})

    run_threads(create_3_shares)
    ids = [line["share_id"] for line in lines_in(path)]
    assert sorted(ids) == sorted(f"{t}-{n}" for t in range(8) for n in range(3))


PROCESS = """
import os, sys, threading
import aspects
from aspects.testing import FakeDriver, make_hook
from hooks import audit

path, name = sys.argv[1:]
hook = make_hook(audit.AuditHook, audit_log_path=path)
driver = aspects.weave(FakeDriver(), [hook], "alpha")
write = os.write
# Writes in pieces, which mix if the processes do not lock the file.
os.write = lambda file, data: write(file, data[:100])

def create_25_shares(thread):
    for number in range(25):
        driver.create_share(None, {"id": f"{name}-{thread}-{number}"})

threads = [threading.Thread(target=create_25_shares, args=(t,)) for t in range(2)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.slow
def test_lines_of_several_processes_do_not_mix(path):
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


def test_log_rotation_needs_no_signal(woven, path, context):
    driver = woven()
    driver.create_share(context, {"id": "1"})
    rotated = path.rename(path.with_suffix(".1"))
    driver.create_share(context, {"id": "2"})
    assert [line["share_id"] for line in lines_in(rotated)] == ["1"]
    assert [line["share_id"] for line in lines_in(path)] == ["2"]


def test_the_file_is_closed_after_each_line(woven, path, context):
    driver = woven()
    count = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        driver.create_share(context, SHARE)
    assert len(os.listdir("/proc/self/fd")) <= count


def test_other_users_cannot_read_the_file(woven, path, context):
    woven().create_share(context, SHARE)
    assert not path.stat().st_mode & 0o007


def test_the_path_is_mutable(configured, path, context):
    file = configured()
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    driver.create_share(context, {"id": "1"})
    other = path.with_name("other.log")
    file.mutate(file.path.read_text().replace(str(path), str(other)))
    driver.create_share(context, {"id": "2"})
    assert [line["share_id"] for line in lines_in(path)] == ["1"]
    assert [line["share_id"] for line in lines_in(other)] == ["2"]


def test_each_instance_may_have_its_own_path(tmp_path, context):
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
    driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    driver.create_share(context, SHARE)
    for name in ("all.log", "second.log"):
        assert len(lines_in(tmp_path / name)) == 1


@pytest.mark.parametrize("line", ["", "audit_log_path =", "[DEFAULT]\nverbose = 1"])
def test_a_missing_path_is_a_configuration_error(tmp_path, line):
    problem = problem_of(tmp_path, line)
    assert "audit_log_path" in f"{problem.option} {problem.cause}"
    assert "not set" in problem.cause


@pytest.mark.parametrize("where", ["missing/audit.log", "", "service.conf/audit.log"])
def test_a_path_that_cannot_be_written_is_a_configuration_error(tmp_path, where):
    path = f"{tmp_path}/{where}"
    problem = problem_of(tmp_path, f"audit_log_path = {path}")
    assert path in f"{problem.value} {problem.cause}"
    assert "Error" in problem.cause


def test_a_file_without_write_permission_fails_the_constructor(
    tmp_path, path, monkeypatch
):
    # The mode of the file would not stop root.
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    section = aspects.BackendSection(cfg.ConfigOpts(), "alpha")
    section.conf([], default_config_files=[], default_config_dirs=[])
    section.append_config_values(audit.AuditHook.options)
    section.conf.set_override("audit_log_path", str(path), group="alpha")
    with pytest.raises(PermissionError):
        audit.AuditHook(section, "node1@alpha")


def test_a_directory_without_write_permission_fails_the_constructor(
    configured, path, monkeypatch
):
    section = aspects.BackendSection(configured().conf, "alpha")
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(PermissionError, match=r"audit\.log"):
        audit.AuditHook(section, "node1@alpha")


@pytest.mark.parametrize("exists", [True, False])
def test_the_file_is_not_touched_before_the_first_line(woven, path, context, exists):
    if exists:
        path.write_text("old\n")
        os.utime(path, (1, 1))
    driver = woven()
    weaving = aspects.weaving(driver)
    weaving.start()
    weaving.stop()
    if exists:
        assert (path.read_text(), path.stat().st_mtime) == ("old\n", 1)
    assert path.exists() == exists
    weaving.start()
    driver.create_share(context, SHARE)
    assert len(path.read_text().splitlines()) == 1 + exists


def test_the_path_may_be_relative(tmp_path, path, context, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "[alpha]\nhook_drivers = audit\naudit_log_path = audit.log\n"
    file = ConfigFile(tmp_path / "service.conf", f"{text}enable_post_hooks = True\n")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    driver.create_share(context, SHARE)
    assert len(lines_in(path)) == 1


def test_a_line_in_the_background_has_the_time_of_the_call(
    configured, path, context, clock
):
    file = configured(f"{ON}hook_dispatch = background\n")
    section = aspects.BackendSection(file.conf, "alpha")
    plain = BusyDriver(lambda: clock.advance(1.5))
    driver = aspects.weave_from_config(plain, section, "node1@alpha")
    (hook,) = aspects.weaving(driver).hooks
    gate = threading.Event()
    # The lines wait in the queue behind this.
    hook.dispatcher.put(hook, "post", "any", lambda _: gate.wait(30), None)
    for number in range(5):
        driver.create_share(context, {"id": str(number)})
    ended = datetime.datetime.now(datetime.timezone.utc)
    clock.advance(60)
    assert not path.exists()
    gate.set()
    aspects.weaving(driver).stop()
    lines = lines_in(path)
    assert [line["share_id"] for line in lines] == list("01234")
    for line in lines:
        assert line["duration"] == 1.5
        assert datetime.datetime.fromisoformat(line["time"]) <= ended


def test_a_failed_write_in_the_background_is_logged(configured, path, context, caplog):
    file = configured(f"{ON}hook_dispatch = background\n")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    path.mkdir()
    driver.create_share(context, SHARE)
    aspects.weaving(driver).stop()
    (record,) = caplog.records
    for part in ("audit", "alpha", "create_share_instance", "IsADirectoryError"):
        assert part in record.getMessage()

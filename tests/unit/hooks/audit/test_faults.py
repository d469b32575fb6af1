# SPDX-License-Identifier: Apache-2.0
"""The audit file on a full disk, under locks, and replaced by other kinds of files."""

import contextlib
import fcntl
import json
import os
import socket
import stat
import subprocess
import sys

import pytest

import aspects
from hooks.audit import file as audit_file
from tests.support.config import ConfigFile
from tests.support.disk import fill, small_disk
from tests.support.drivers import BusyDriver

from .common import ON, SHARE, lines_in, problem_of

# A wait without a bound must fail a test soon.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def lock(path):
    return path.with_name("audit.log.lock")


# Files that are not regular


def fifo(path):
    os.mkfifo(path)
    return contextlib.nullcontext()


def read_fifo(path):
    os.mkfifo(path)
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def unix_socket(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


def device(path):
    path.symlink_to("/dev/null")
    return contextlib.nullcontext()


ODD = pytest.mark.parametrize("odd", [fifo, read_fifo, unix_socket, device])


@ODD
def test_a_path_to_no_regular_file_is_a_configuration_error(tmp_path, path, odd):
    with odd(path):
        problem = problem_of(tmp_path, f"audit_log_path = {path}")
    assert "not a regular file" in problem.cause
    assert str(path) in problem.cause


@ODD
def test_no_call_waits_for_a_file_that_is_not_regular(woven, path, context, odd):
    driver = woven()
    driver.create_share(context, SHARE)
    path.unlink()
    with odd(path), pytest.raises(OSError, match=r"not a regular file.*audit\.log"):
        driver.create_share(context, SHARE)
    path.unlink()
    driver.create_share(context, SHARE)
    assert len(lines_in(path)) == 1


# Locks


HOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]))
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path, kind):
    """Hold a lock on a file, in another process."""
    command = [sys.executable, "-c", HOLDER, str(path), str(int(kind))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"locked\n"
        yield
        process.kill()


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_a_lock_of_a_reader_of_the_file_delays_no_call(
    woven, path, context, clock, kind
):
    driver = woven()
    driver.create_share(context, SHARE)
    with held(path, kind):
        driver.create_share(context, SHARE)
    assert clock.slept == []
    assert len(lines_in(path)) == 2


def test_only_the_service_can_open_the_lock_file(woven, path, context, lock):
    woven().create_share(context, SHARE)
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_a_line_is_written_after_a_bounded_wait_for_the_lock(
    woven, path, context, clock, lock, caplog
):
    driver = woven()
    driver.create_share(context, SHARE)
    began = clock.now
    with held(lock, fcntl.LOCK_EX):
        driver.create_share(context, SHARE)
    assert audit_file.LOCK_TIMEOUT <= clock.now - began < 2 * audit_file.LOCK_TIMEOUT
    assert len(lines_in(path)) == 2
    (record,) = caplog.records
    assert str(lock) in record.getMessage()


def test_a_line_waits_for_the_lock_of_another_line(
    woven, path, context, clock, lock, monkeypatch
):
    driver = woven()
    driver.create_share(context, SHARE)
    with contextlib.ExitStack() as stack:
        stack.enter_context(held(lock, fcntl.LOCK_EX))

        def sleep(seconds):
            assert len(lines_in(path)) == 1
            stack.close()

        monkeypatch.setattr(clock, "sleep", sleep)
        driver.create_share(context, SHARE)
    assert len(lines_in(path)) == 2


def test_a_line_is_written_where_there_are_no_locks(
    woven, path, context, lock, monkeypatch
):
    driver = woven()
    lock.mkdir()
    driver.create_share(context, SHARE)
    lock.rmdir()

    def refused(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refused)
    driver.create_share(context, SHARE)
    assert len(lines_in(path)) == 2


def test_a_child_process_does_not_keep_the_lock(
    woven, path, context, clock, monkeypatch
):
    driver = woven()
    write, (reader, writer) = os.write, os.pipe()
    children = []

    def write_and_fork(file, data):
        if not children:
            children.append(os.fork())
            if children == [0]:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
        return write(file, data)

    monkeypatch.setattr(os, "write", write_and_fork)
    try:
        driver.create_share(context, SHARE)
        driver.create_share(context, SHARE)
    finally:
        os.close(writer)
        os.waitpid(children[0], 0)
        os.close(reader)
    assert clock.slept == []
    assert len(lines_in(path)) == 2


# Lines that are cut off


def whole_lines_in(path):
    """Return the lines that are JSON, and the number of those that are not."""
    whole, torn = [], 0
    for line in path.read_text("utf-8").splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            torn += 1
    return whole, torn


def test_a_full_disk_costs_no_line_but_the_one_that_did_not_fit(tmp_path, context):
    text = f"[alpha]\nhook_drivers = audit\naudit_log_path = {{}}\n{ON}"
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "audit.log"
        file = ConfigFile(tmp_path / "service.conf", text.format(path))
        section = aspects.BackendSection(file.conf, "alpha")
        driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
        written, failed = 0, []
        driver.create_share(context, {"id": "first"})
        filler = fill(disk)
        # The file's last block still has space for some lines.
        while not failed:
            size = path.stat().st_size
            try:
                driver.create_share(context, {"id": str(written)})
                written += 1
            except OSError as error:
                failed.append(str(error))
        assert written
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                driver.create_share(context, {"id": "lost"})
        filler.unlink()
        for number in range(3):
            driver.create_share(context, {"id": f"after-{number}"})
        assert str(path) in failed[0]
        whole, torn = whole_lines_in(path)
    ids = ["first", *map(str, range(written)), "after-0", "after-1", "after-2"]
    assert [line["share_id"] for line in whole] == ids
    # The last line that fit may have ended with the block.
    assert torn == bool(size % os.sysconf("SC_PAGE_SIZE"))


@pytest.mark.parametrize("rest", ['{"time": "2026', "\0\0\0", '{"old": 1}'])
def test_a_line_begins_after_the_rest_of_a_line_that_was_cut_off(
    woven, path, context, rest
):
    path.write_text(f'{{"old": 0}}\n{rest}')
    driver = woven()
    driver.create_share(context, SHARE)
    driver.create_share(context, SHARE)
    first, cut, *others = path.read_text().splitlines()
    assert (first, cut) == ('{"old": 0}', rest)
    assert [json.loads(line)["share_id"] for line in others] == ["s1", "s1"]


@pytest.fixture
def unreadable(path, monkeypatch):
    """Permit the service to write the audit file but not to read it."""
    opened = os.open

    # The mode of the file would not stop root.
    def refused(file, flags, *args):
        if str(file) == str(path) and flags & os.O_ACCMODE != os.O_WRONLY:
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, flags, *args)

    monkeypatch.setattr(os, "open", refused)


@pytest.mark.usefixtures("unreadable")
def test_a_file_that_the_service_cannot_read_gets_its_lines(woven, path, context):
    driver = woven()
    driver.create_share(context, SHARE)
    driver.create_share(context, SHARE)
    assert len(lines_in(path)) == 2


@pytest.mark.usefixtures("unreadable")
def test_no_call_waits_for_a_reader_of_a_fifo(woven, path, context):
    driver = woven()
    os.mkfifo(path)
    # Without a reader, a FIFO that is opened only to write blocks.
    with pytest.raises(OSError, match="not a regular file"):
        driver.create_share(context, SHARE)


def test_a_write_error_names_the_file(woven, path, context, monkeypatch):
    def failing(file, data):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", failing)
    with pytest.raises(OSError, match=r"Input/output error.*audit\.log"):
        woven().create_share(context, SHARE)


@pytest.mark.parametrize("format_", ["json", "cadf"])
def test_an_error_text_of_megabytes_is_cut_in_a_line(
    configured, woven, path, context, format_
):
    text = "a line that a tool wrote, with key = value in it\n" * 160_000
    file = configured(f"{ON}audit_format = {format_}\n")
    if format_ == "cadf":
        pytest.importorskip("pycadf")
    driver = woven(BusyDriver(OSError(text)), file=file)
    with pytest.raises(OSError, match="a tool wrote"):
        driver.create_share(context, SHARE)
    (line,) = lines_in(path)
    assert path.stat().st_size < 100_000
    data = line["attachments"][0]["content"] if format_ == "cadf" else line
    assert data["incomplete"] == ["error"]
    assert text.startswith(data["error"][:1000])


def test_a_file_that_exists_keeps_its_mode(woven, path, context):
    path.touch(0o644)
    path.chmod(0o644)
    woven().create_share(context, SHARE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644

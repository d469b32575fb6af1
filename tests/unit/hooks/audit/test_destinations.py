# SPDX-License-Identifier: Apache-2.0
"""Tests of audit lines on standard output, in the journal and in syslog."""

import contextlib
import datetime
import json
import os
import re
import socket
import struct
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aspects
from hooks import audit
from hooks.audit import connection
from hooks.audit.messages import FIELDS, journal_entry
from tests.support.drivers import BusyDriver
from tests.support.receiver import SilentServer
from tests.support.wait import wait_for

from .common import ON, SHARE, lines_in, problem_of

# A wait without a bound must fail a test soon.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let messages wait for longer on a busy machine."""
    monkeypatch.setattr(connection, "TIMEOUT", 30)


@pytest.fixture
def daemon_path(tmp_path, monkeypatch):
    """Return the path of a socket, in place of that of journald too."""
    # The path of a socket has at most 107 characters.
    monkeypatch.chdir(tmp_path)
    path = "/proc/self/cwd/socket"
    monkeypatch.setattr(audit, "JOURNAL", path)
    return path


def bound(kind, address):
    """Return a socket that receives on an address."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    receiving = socket.socket(family, kind)
    receiving.bind(address)
    receiving.settimeout(30)
    if kind == socket.SOCK_STREAM:
        receiving.listen()
    return receiving


@pytest.fixture
def daemon(daemon_path):
    with bound(socket.SOCK_DGRAM, daemon_path) as receiving:
        yield receiving


@pytest.fixture
def to(woven, configured):
    """Return a function that weaves a driver with a destination of its audit lines."""
    with contextlib.ExitStack() as stack:

        def weave(options, driver=None, *others):
            file = configured(f"{ON}{options}\n")
            made = woven(driver, *others, file=file)
            aspects.weaving(made).start()
            stack.callback(aspects.weaving(made).stop)
            return made

        yield weave


# Standard output


def test_lines_on_standard_output(to, path, context, capsys):
    driver = to("audit_destination = stdout")
    for _ in range(2):
        driver.create_share(context, SHARE)
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["share_id"] for line in lines] == ["s1", "s1"]
    assert err == ""
    assert not path.exists()


def test_a_service_without_standard_output_is_a_configuration_error(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "stdout", None)
    problem = problem_of(tmp_path, "audit_destination = stdout")
    assert "audit_destination = stdout: the service has no" in problem.cause


# The journal


def fields_of(entry):
    """Return the fields of an entry, by the rules of the protocol."""
    fields = {}
    while entry:
        name, rest = entry.split(b"\n", 1)
        if b"=" in name:
            name, value = name.split(b"=", 1)
        else:
            (size,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]*", name)
        assert name not in fields
        fields[name.decode()] = value
        entry = rest
    return fields


@pytest.mark.parametrize("error", [None, LookupError("no such pool")])
def test_a_line_is_an_entry_of_the_journal(to, daemon, context, error):
    with contextlib.suppress(LookupError):
        to("audit_destination = journald", BusyDriver(error)).create_share(
            context, SHARE
        )
    fields = fields_of(daemon.recv(65536))
    line = json.loads(fields.pop("MESSAGE"))
    assert line["share_instance_id"] == "i1"
    assert fields == {
        "PRIORITY": b"4" if error else b"6",
        "SYSLOG_FACILITY": b"13",
        "SYSLOG_IDENTIFIER": b"manila-aspects",
        "MANILA_REQUEST_ID": b"req-1",
        "MANILA_PROJECT_ID": b"p1",
        "MANILA_USER_ID": b"u1",
        "MANILA_BACKEND": b"alpha",
        "MANILA_OPERATION": b"create_share_instance",
        "MANILA_OUTCOME": b"failure" if error else b"success",
        "MANILA_SHARE_ID": b"s1",
    }


@given(data=st.fixed_dictionaries({name: st.text() for name in FIELDS}))
def test_no_value_adds_a_field_to_an_entry(data):
    fields = fields_of(journal_entry(data, b"{}"))
    for name in FIELDS:
        sent = fields.pop(f"MANILA_{name.upper()}", b"")
        assert sent == data[name].encode(errors="replace")
    assert set(fields) == {
        "MESSAGE",
        "PRIORITY",
        "SYSLOG_FACILITY",
        "SYSLOG_IDENTIFIER",
    }


def test_the_largest_line_is_an_entry_of_the_journal(to, daemon, context):
    driver = to("audit_destination = journald", BusyDriver(OSError("x" * 1_000_000)))
    with pytest.raises(OSError, match="xxx"):
        driver.create_share(context, SHARE)
    fields = fields_of(daemon.recv(1_000_000))
    assert 30_000 < len(fields["MESSAGE"]) <= 65_536
    assert json.loads(fields["MESSAGE"])["incomplete"] == ["error"]


# Syslog


HEADER = re.compile(
    rb"<(\d+)>1 (\S+) (\S+) manila-aspects (\d+) audit - (\{.*\})", re.DOTALL
)


def parsed(message):
    """Return the priority, the time, the host, the process and the line."""
    priority, time, host, process, line = HEADER.fullmatch(message).groups()
    time = datetime.datetime.fromisoformat(time.decode())
    return int(priority), time, host.decode(), int(process), json.loads(line)


@pytest.mark.parametrize("kind", ["unix", "udp"])
@pytest.mark.parametrize(
    ("error", "severity"), [(None, 6), (LookupError("no"), 4), (aspects.Veto("no"), 4)]
)
def test_a_line_is_a_message_of_rfc_5424(
    to, daemon_path, context, kind, error, severity
):
    address = daemon_path if kind == "unix" else ("127.0.0.1", 0)
    with bound(socket.SOCK_DGRAM, address) as receiving:
        if kind == "udp":
            address = f"udp://127.0.0.1:{receiving.getsockname()[1]}"
        driver = to(
            f"audit_destination = syslog\naudit_syslog_address = {address}",
            BusyDriver(error),
        )
        with contextlib.suppress(LookupError, aspects.Veto):
            driver.create_share(context, SHARE)
        priority, time, host, process, line = parsed(receiving.recv(65536))
    assert divmod(priority, 8) == (13, severity)
    assert time == datetime.datetime.fromisoformat(line["time"])
    assert host == socket.gethostname()
    assert process == os.getpid()
    assert line["share_id"] == "s1"


def read_message(stream):
    """Return the next message of a connection, after its length."""
    size = b""
    while (byte := stream.read(1)) != b" ":
        assert byte.isdigit()
        size += byte
    return parsed(stream.read(int(size)))


@pytest.fixture
def tcp():
    with bound(socket.SOCK_STREAM, ("127.0.0.1", 0)) as listening:
        yield listening


def tcp_options(listening):
    port = listening.getsockname()[1]
    return f"audit_destination = syslog\naudit_syslog_address = tcp://127.0.0.1:{port}"


def test_messages_of_several_threads_share_a_connection(to, tcp, context):
    driver = to(tcp_options(tcp))

    def create_10_shares(name):
        for number in range(10):
            driver.create_share(context, {"id": f"{name}-{number}"})

    threads = [threading.Thread(target=create_10_shares, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    connected, _ = tcp.accept()
    with connected, connected.makefile("rb") as stream:
        ids = [read_message(stream)[-1]["share_id"] for _ in range(40)]
        for thread in threads:
            thread.join(30)
        aspects.weaving(driver).stop()
        assert stream.read() == b""
    assert sorted(ids) == sorted(f"{t}-{n}" for t in range(4) for n in range(10))


def test_no_message_is_lost_after_the_daemon_has_closed_the_connection(
    to, tcp, context
):
    driver = to(tcp_options(tcp))
    for number in range(3):
        driver.create_share(context, {"id": str(number)})
        connected, _ = tcp.accept()
        with connected, connected.makefile("rb") as stream:
            assert read_message(stream)[-1]["share_id"] == str(number)
        # The end of the connection arrives at the hook.
        (opened,) = aspects.weaving(driver).hooks[0]._connections.values()
        wait_for(lambda opened=opened: connection._is_closed(opened._socket), "end", 60)


def test_a_child_process_opens_its_own_connection(to, tcp, context):
    driver = to(tcp_options(tcp))
    driver.create_share(context, {"id": "parent"})
    first, _ = tcp.accept()
    child = os.fork()
    if child == 0:
        try:
            driver.create_share(context, {"id": "child"})
        finally:
            os._exit(0)
    second, _ = tcp.accept()
    os.waitpid(child, 0)
    driver.create_share(context, {"id": "parent"})
    for connected, ids in ((first, ["parent", "parent"]), (second, ["child"])):
        with connected, connected.makefile("rb") as stream:
            assert [read_message(stream)[-1]["share_id"] for _ in ids] == ids


@pytest.mark.parametrize("option", ["journald", "syslog"])
def test_a_daemon_that_was_restarted_gets_the_next_line(
    to, daemon_path, context, option
):
    receiving = bound(socket.SOCK_DGRAM, daemon_path)
    driver = to(f"audit_destination = {option}\naudit_syslog_address = {daemon_path}")
    for number in range(3):
        driver.create_share(context, {"id": f"call-{number}"})
        assert f"call-{number}".encode() in receiving.recv(65536)
        receiving.close()
        os.unlink(daemon_path)
        with pytest.raises(OSError, match=rf"^{daemon_path}: .*No such file"):
            driver.create_share(context, {"id": "lost"})
        receiving = bound(socket.SOCK_DGRAM, daemon_path)
    receiving.close()


@pytest.mark.slow
def test_a_call_waits_for_a_daemon_that_hangs_for_a_bounded_time(
    to, context, monkeypatch
):
    monkeypatch.setattr(connection, "TIMEOUT", 0.05)
    server = SilentServer(full=True)
    address = f"tcp://127.0.0.1:{server.port}"
    try:
        driver = to(f"audit_destination = syslog\naudit_syslog_address = {address}")
        with pytest.raises(OSError, match=f"^{address}: timed out"):
            driver.create_share(context, SHARE)
    finally:
        server.close()


def test_a_call_waits_for_other_calls_for_a_bounded_time(to, tcp, context, monkeypatch):
    driver = to(tcp_options(tcp))
    driver.create_share(context, SHARE)
    monkeypatch.setattr(connection, "TIMEOUT", 0.05)
    (opened,) = aspects.weaving(driver).hooks[0]._connections.values()
    with opened._lock, pytest.raises(OSError, match="other messages are waiting"):
        driver.create_share(context, SHARE)


def test_a_datagram_that_is_too_large_is_an_error_that_names_the_daemon(to, context):
    with bound(socket.SOCK_DGRAM, ("127.0.0.1", 0)) as receiving:
        address = f"udp://127.0.0.1:{receiving.getsockname()[1]}"
        options = f"audit_destination = syslog\naudit_syslog_address = {address}"
        # An event has at most 65,536 bytes, and a datagram 65,507.
        driver = to(options)
        hook = aspects.weaving(driver).hooks[0]
        data = {"time": "2026-01-01T00:00:00+00:00", "outcome": "success"}
        with pytest.raises(OSError, match=rf"^{address}: .*too long"):
            hook._write({**data, "error": "x" * 65_400})


# Options


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "dev/log",
        "udp://127.0.0.1",
        "udp://127.0.0.1:0",
        "udp://127.0.0.1:99999",
        "udp://127.0.0.1:port",
        "udp://127.0.0.1:514/",
        "udp://joe@127.0.0.1:514",
        "tls://127.0.0.1:514",
        "tcp://:514",
        "tcp://[::1:514",
    ],
)
def test_an_invalid_address_is_a_configuration_error(tmp_path, address):
    lines = f"audit_destination = syslog\naudit_syslog_address = {address}"
    cause = problem_of(tmp_path, lines).cause
    assert f"audit_syslog_address {address}: not an address; write" in cause


@pytest.mark.parametrize("address", ["udp://[::1]:514", "tcp://logs.invalid:601"])
def test_a_host_is_not_looked_up_when_the_service_starts(to, address):
    to(f"audit_destination = syslog\naudit_syslog_address = {address}")
    made = connection.address_of(address)
    assert (made.host, made.port) in {("::1", 514), ("logs.invalid", 601)}


@pytest.mark.parametrize(
    ("option", "subject"),
    [
        ("journald", "audit_destination = journald: {}"),
        ("syslog", "audit_syslog_address {}"),
    ],
)
def test_a_missing_socket_is_a_configuration_error(
    tmp_path, daemon_path, option, subject
):
    lines = f"audit_destination = {option}\naudit_syslog_address = {daemon_path}"
    subject = subject.format(daemon_path)
    assert f"{subject}: No such file" in problem_of(tmp_path, lines).cause
    (tmp_path / "socket").touch()
    assert f"{subject}: not a socket" in problem_of(tmp_path, lines).cause


def test_the_destination_is_mutable(configured, daemon, daemon_path, path, context):
    file = configured(ON)
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    text = file.path.read_text()
    for name, more in (
        ("1", ""),
        ("2", f"audit_destination = syslog\naudit_syslog_address = {daemon_path}\n"),
        ("3", "audit_destination = journald\n"),
        ("4", ""),
    ):
        file.mutate(text + more)
        driver.create_share(context, {"id": name})
    aspects.weaving(driver).stop()
    assert [line["share_id"] for line in lines_in(path)] == ["1", "4"]
    assert parsed(daemon.recv(65536))[-1]["share_id"] == "2"
    assert fields_of(daemon.recv(65536))["MANILA_SHARE_ID"] == b"3"


# Synchronized files


@pytest.fixture
def synced(path, monkeypatch):
    """Return the names of synchronized files, and of those that exist at that time."""
    found = []

    def fsync(file):
        name = os.readlink(f"/proc/self/fd/{file}")
        found.append((name, path.read_text() if path.exists() else None))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_a_line_is_on_the_disk_before_the_call_proceeds(to, path, context, synced):
    driver = to("audit_fsync = True")
    for name in "12":
        driver.create_share(context, {"id": name})
    first, second = path.read_text().splitlines(keepends=True)
    assert synced == [
        (str(path), first),
        # The file is new.
        (str(path.parent), first),
        (str(path), first + second),
    ]


def test_files_are_not_synchronized_by_default(to, path, context, synced):
    to("").create_share(context, SHARE)
    assert synced == []


def test_a_disk_that_fails_is_an_error_of_the_call(to, path, context, monkeypatch):
    def fsync(file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"Input/output error.*audit\.log"):
        to("audit_fsync = True").create_share(context, SHARE)

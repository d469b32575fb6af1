# SPDX-License-Identifier: Apache-2.0
"""Tests of the versions, the size, the modes and the start of files that last."""

import contextlib
import json
import os
import sqlite3
import stat

import pytest

from hooks.events import store
from hooks.events.outbox import FILE, OVERFLOW_FILE
from hooks.events.store import START, VERSION, EventStore
from tests.support.wait import wait_for

from .common import ids_in

pytestmark = pytest.mark.timeout(60)

COLUMNS = "_id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, timestamp FLOAT"


def event(name, share=None):
    sent = {"id": name, "data": {"backend": "alpha"}}
    return {**sent, "subject": share} if share else sent


def query(path, text, file=FILE):
    with contextlib.closing(sqlite3.connect(path / file)) as connection:
        return connection.execute(text).fetchall()


def test_a_child_process_deletes_nothing_that_its_parent_has_delivered(path):
    events = EventStore(path / FILE, lambda: 2.0)
    events.append([json.dumps(["", event("a")])])
    events.settle(*events.read(START, 1))
    pid = os.fork()
    if not pid:
        os._exit(events.undeleted)
    assert os.waitpid(pid, 0)[1] == 0
    assert events.undeleted == 1


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_an_action_that_raises_leaves_no_transaction(path, error):
    events = EventStore(path / FILE, lambda: 0.0)

    def fail(connection):
        connection.execute("BEGIN IMMEDIATE")
        raise error

    with pytest.raises(type(error)):
        events._use(fail, 0)
    other = EventStore(path / FILE, lambda: 0.0)
    other.append([json.dumps(["", event("a")])])
    events.append([json.dumps(["", event("b")])])
    assert ids_in(path) == ["a", "b"]


def test_a_failed_delete_is_logged_after_one_that_met_a_lock(path, monkeypatch, caplog):
    events = EventStore(path / FILE, lambda: 2.0)
    events.append([json.dumps(["", event("a")])])
    events.settle(*events.read(START, 1))
    errors = [TimeoutError("locked"), OSError("I/O error"), OSError("I/O error")]
    for error in errors:
        monkeypatch.setattr(events, "_use", raising(error))
        events.delete_settled(timeout=1)
    assert caplog.text.count("Failed to delete delivered events") == 1


def raising(error):
    def fail(*args):
        raise error

    return fail


# Versions


@pytest.fixture
def version_1(path):
    """Write a file of version 1, with five rows and a dead letter."""
    path.mkdir(parents=True)
    rows = [event("a", "s1"), event("b"), {"id": "c"}, [1], event("d", "s1")]
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute(f"CREATE TABLE queue_waiting ({COLUMNS})")
        connection.execute(f"CREATE TABLE queue_dead_letters ({COLUMNS}, reason TEXT)")
        for table, found in (("waiting", rows), ("dead_letters", [event("e", "s2")])):
            connection.executemany(
                f"INSERT INTO queue_{table} (data, timestamp) VALUES (?, 1.5)",
                [(json.dumps(row).encode(),) for row in found],
            )
        connection.execute("INSERT INTO queue_waiting (data) VALUES ('{torn')")
        connection.execute("PRAGMA user_version = 1")


def test_a_file_of_version_1_gets_keys(path, version_1):
    EventStore(path / FILE, lambda: 2.0).open()
    assert query(path, "PRAGMA user_version") == [(VERSION,)]
    keys = query(path, "SELECT key FROM queue_waiting ORDER BY _id")
    assert [key for (key,) in keys] == ["s1", "alpha", "", "", "s1", ""]
    assert query(path, "SELECT key FROM queue_dead_letters") == [("s2",)]


def test_a_file_of_version_1_is_delivered(new, path, receiver, version_1):
    outbox = new()
    outbox.put(event("f", "s1"))
    wait_for(lambda: len(receiver.ids) == 5, "all are delivered")
    assert [id_ for id_ in receiver.ids if id_ in "adf"] == ["a", "d", "f"]
    wait_for(lambda: ids_in(path) == [], "all are deleted")
    assert outbox.unreadable == 2


def test_an_upgrade_that_fails_changes_nothing(path, version_1, monkeypatch):
    def fail(connection):
        store._add_keys(connection)
        raise OSError("power loss")

    monkeypatch.setattr(store, "_UPGRADES", (store._create_tables, fail))
    with pytest.raises(OSError, match="power loss"):
        EventStore(path / FILE, lambda: 2.0).open()
    assert query(path, "PRAGMA user_version") == [(1,)]
    columns = query(path, "PRAGMA table_info(queue_waiting)")
    assert [name for _, name, *_ in columns] == ["_id", "data", "timestamp"]


# Start


@pytest.mark.slow
def test_a_start_does_not_read_all_events(new, path, receiver, monkeypatch):
    count, connect, steps = 20_000, sqlite3.connect, []
    entries = [json.dumps([f"s{n % 100}", event(f"{n}", "s")]) for n in range(count)]
    filled = EventStore(path / FILE, lambda: 2.0)
    filled.append(entries)
    filled.close()

    def counted(*args, **kwargs):
        connection = connect(*args, **kwargs)
        # Called after every 100 instructions of SQLite's virtual machine.
        connection.set_progress_handler(lambda: steps.append(None), 100)
        return connection

    monkeypatch.setattr(sqlite3, "connect", counted)
    receiver.open.clear()
    outbox = new()
    outbox.start()
    wait_for(lambda: receiver.attempts, "the first events are tried")
    # Reading each row once would take at least one instruction each.
    assert len(steps) * 100 < count
    monkeypatch.undo()
    assert outbox.pending() == count


# Size


def test_the_log_is_limited_while_another_program_reads(new, path, receiver, caplog):
    outbox = new(timeout=0.1)
    outbox.events._largest_log = 200_000
    outbox.put({"id": "first"})
    receiver.wait("first")
    log = path / f"{FILE}-wal"
    with contextlib.closing(sqlite3.connect(path / FILE)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM queue_waiting").fetchone()
        for n in range(200):
            outbox.put({"id": f"{n}", "data": "x" * 5000})
        # A log of all events would be five times as long.
        assert log.stat().st_size < 300_000
        assert query(path, "SELECT count(*) > 0 FROM queue_waiting", OVERFLOW_FILE)
        assert "end its transaction" in caplog.text
        ids = ["first", *(f"{n}" for n in range(200))]
        receiver.wait(*ids)
    wait_for(lambda: ids_in(path) == [], "all are deleted")
    assert log.stat().st_size < 300_000
    wait_for(lambda: ids_in(path, file=OVERFLOW_FILE) == [], "all are deleted")
    receiver.open.clear()
    outbox.put({"id": "last"})
    assert ids_in(path) == ["last"]


def test_checks_of_a_file_that_others_change_take_little_time(path, monkeypatch):
    monkeypatch.setattr(store, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(store, "CHECK_SHARE", 1e-9)
    connect, checks = sqlite3.connect, []

    def traced(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(
            lambda text: "quick_check" in text and checks.append(text)
        )
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    events = EventStore(path / FILE, lambda: 2.0)
    other = EventStore(path / FILE, lambda: 2.0)
    for n in range(20):
        other.append([json.dumps(["", event(f"{n}")])])
        with contextlib.closing(connect(path / FILE)) as connection:
            # This changes the file itself.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert len(events.read(START, 100)) == n + 1
    assert 1 <= len(checks) <= 2
    events.close()
    other.close()


# Modes


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o777, 0o2770])
def test_files_have_one_mode_whatever_the_directory_has(path, umask, mode):
    path.mkdir(parents=True)
    path.chmod(mode)
    before = os.umask(umask)
    try:
        events = EventStore(path / FILE, lambda: 2.0)
        events.append([json.dumps(["", event("a")])])
    finally:
        os.umask(before)
    modes = {f.name: oct(stat.S_IMODE(f.stat().st_mode)) for f in path.iterdir()}
    events.close()
    names = (FILE, f"{FILE}-wal", f"{FILE}-shm")
    assert modes == dict.fromkeys(names, "0o640")

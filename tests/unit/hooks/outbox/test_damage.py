# SPDX-License-Identifier: Apache-2.0
"""Tests of files that are removed or damaged, and of rows that are not events."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys

import pytest

from hooks.events import deliverer
from hooks.events.deliverer import LONGEST_TEXT
from hooks.events.errors import RejectedError
from hooks.events.outbox import FILE
from hooks.events.store import EventStore
from tests.support.wait import wait_for

from .common import Receiver, event, ids_in, transaction

pytestmark = pytest.mark.timeout(60)

PAGE = pathlib.Path(__file__).parents[4] / "doc" / "source" / "admin/durable.rst"


@pytest.fixture
def blocked(new, receiver):
    """Return an outbox whose only event cannot be delivered yet."""
    receiver.open.clear()
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "a is tried")
    return outbox


def renamed(path):
    """Return the damaged file, which was renamed."""
    (file,) = path.glob("events.damaged-*.sqlite")
    return file


# Removed files


def remove_directory(path):
    shutil.rmtree(path)


def remove_all(path):
    for file in path.iterdir():
        file.unlink()


def remove(name):
    def remove_file(path):
        (path / name).unlink()

    return remove_file


def replace(path):
    (path / FILE).unlink()
    (path / FILE).write_bytes(b"")


REMOVALS = pytest.mark.parametrize(
    "damage",
    [remove(FILE), remove_all, remove_directory, replace],
    ids=["file", "all", "directory", "replaced"],
)


@REMOVALS
def test_a_removed_file_is_noticed_at_the_next_write(
    blocked, path, receiver, caplog, damage
):
    damage(path)
    blocked.put(event("b"))
    assert ids_in(path) == ["b"]
    assert f"{path / FILE} was removed while it was in use, with at most" in caplog.text
    receiver.open.set()
    # The first event was read before the file was removed.
    receiver.wait("a", "b")
    wait_for(lambda: ids_in(path) == [], "b is deleted")
    blocked.put(event("c"))
    receiver.wait("a", "b", "c")


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_no_event_is_lost_if_only_a_log_of_sqlite_is_removed(
    blocked, path, receiver, caplog, suffix
):
    # Without this program, SQLite itself copies the log when the file is closed.
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1])\n"
    code += "print(c.execute('SELECT * FROM queue_waiting').fetchall(), flush=True)\n"
    code += "sys.stdin.read()"
    command = [sys.executable, "-c", code, str(path / FILE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as other:
        other.stdout.readline()
        (path / f"{FILE}{suffix}").unlink()
        blocked.put(event("b"))
        other.communicate(timeout=30)
    assert set(ids_in(path)) == {"a", "b"}
    assert "no pending event is lost" in caplog.text
    receiver.open.set()
    wait_for(lambda: not blocked.pending(), "nothing is pending")
    assert set(receiver.ids) == {"a", "b"}


def test_a_removed_file_does_not_make_the_outbox_delete_new_events(new, path, receiver):
    outbox = new()
    for name in "abcd":
        outbox.put(event(name))
    receiver.wait("a", "b", "c", "d")
    receiver.open.clear()
    # The IDs of the new file start at 1 again.
    remove_all(path)
    outbox.put(event("e"))
    outbox.put(event("f"))
    assert outbox.pending() == 2
    receiver.open.set()
    receiver.wait("a", "b", "c", "d", "e", "f")


@REMOVALS
def test_events_arrive_after_a_file_without_events_was_removed(
    new, path, receiver, caplog, damage
):
    outbox = new()
    for name in "abcd":
        outbox.put(event(name))
    receiver.wait("a", "b", "c", "d")
    wait_for(lambda: ids_in(path) == [], "all are deleted")
    damage(path)
    wait_for(lambda: "no pending event is lost" in caplog.text, "it is noticed")
    outbox.put(event("e"))
    receiver.wait("a", "b", "c", "d", "e")
    wait_for(lambda: outbox.pending() == 0, "e is deleted")


def test_a_file_that_was_removed_after_a_stop_is_replaced(new, path, receiver):
    outbox = new()
    for name in "ab":
        outbox.put(event(name))
    outbox.stop(20)
    remove_all(path)
    outbox.put(event("c"))
    receiver.wait("a", "b", "c")


def test_a_failure_to_read_is_logged_once(new, path, receiver, caplog, monkeypatch):
    outbox = new()
    outbox.start()
    failures = []

    def fail(store, after, count):
        failures.append(count)
        raise OSError("disk I/O error")

    monkeypatch.setattr(EventStore, "read", fail)
    monkeypatch.setattr(deliverer, "READ_PAUSE", 0.01)
    wait_for(lambda: len(failures) > 3, "it is retried")
    monkeypatch.undo()
    outbox.put(event("a"))
    receiver.wait("a")
    assert caplog.text.count("Failed to read the outbox") == 1
    assert "OSError: disk I/O error" in caplog.text


@pytest.mark.slow
def test_one_outbox_delivers_after_the_lock_was_removed(new, path, caplog):
    first, second = Receiver(), Receiver()
    one, two = new(first), new(second)
    one.put(event("a"))
    first.wait("a")
    wait_for(lambda: ids_in(path) == [], "a is deleted")
    two.start()
    (path / "lock").unlink()
    wait_for((path / "lock").exists, "one of them creates the file again")
    for name in "bcd":
        one.put(event(name))
    wait_for(lambda: not one.pending(), "all are delivered")
    assert sorted(first.ids + second.ids) == ["a", "b", "c", "d"]
    wait_for(lambda: "lock was removed while" in caplog.text, "the first one notices")


# Damaged files


def write_text(file):
    file.write_text("not a database " * 5000)


def truncate(file):
    os.truncate(file, 4096)


def empty(file):
    os.truncate(file, 0)


def zero_pages(file):
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (before.st_size - 4096))
    # Two writes at once may get the same time from a file system with a coarse clock.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))


def fill(outbox, path):
    """Write events and have SQLite copy them from its log to the file."""
    for n in range(40):
        outbox.put({"id": f"{n}", "data": "x" * 1000})
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    # SQLite has pages of the new file in its cache, and does not read them again.
    outbox.put({"id": "cached"})


@pytest.mark.parametrize("damage", [write_text, truncate, empty, zero_pages])
def test_a_file_that_is_damaged_in_use_is_renamed(
    blocked, path, receiver, caplog, damage
):
    fill(blocked, path)
    damage(path / FILE)
    blocked.put(event("b"))
    receiver.open.set()
    wait_for(lambda: "b" in receiver.ids, "the new event is delivered")
    assert f"{path / FILE} is damaged" in caplog.text
    assert "removed" not in caplog.text
    assert renamed(path).name in caplog.text
    assert "Damaged file" in caplog.text
    assert "Damaged file" in PAGE.read_text("utf-8")
    wait_for(lambda: ids_in(path) == [], "the new file is empty")


@pytest.mark.parametrize("damage", [write_text, truncate, empty, zero_pages])
def test_events_arrive_after_another_process_has_renamed_a_damaged_file(
    new, path, receiver, damage
):
    outbox = new()
    fill(outbox, path)
    wait_for(lambda: len(receiver.ids) == 41, "all are delivered")
    wait_for(lambda: ids_in(path) == [], "all are deleted")
    other = EventStore(path / FILE, lambda: 2.0)
    other.open()
    damage(path / FILE)
    other.append([json.dumps(["", event("e")])])
    outbox.put(event("f"))
    wait_for(lambda: {"e", "f"} <= {*receiver.ids}, "the new events are delivered")
    wait_for(lambda: outbox.pending() == 0, "they are deleted")


@pytest.mark.parametrize("damage", [write_text, truncate, zero_pages])
def test_a_file_that_is_damaged_before_the_start_is_renamed(
    new, path, receiver, caplog, damage
):
    receiver.errors["0"] = ConnectionError("refused")
    outbox = new()
    fill(outbox, path)
    outbox.stop(0)
    damage(path / FILE)
    later = new()
    later.start()
    later.put(event("b"))
    wait_for(lambda: "b" in receiver.ids, "the new event is delivered")
    assert renamed(path).exists()
    assert caplog.text.count("is damaged") == 1


def test_two_outboxes_rename_a_damaged_file_once(new, path, receiver):
    receiver.open.clear()
    one, two = new(), new()
    one.put(event("a"))
    two.put(event("b"))
    fill(one, path)
    write_text(path / FILE)
    one.put(event("c"))
    two.put(event("d"))
    one.put(event("e"))
    assert renamed(path).exists()
    assert ids_in(path) == ["c", "d", "e"]


def test_a_file_that_another_process_has_replaced_is_not_renamed(path, monkeypatch):
    file = path / FILE
    path.mkdir(parents=True)
    write_text(file)
    store = EventStore(file, lambda: 2.0)

    def replaced_meanwhile():
        monkeypatch.undo()
        file.rename(path / "renamed")
        EventStore(file, lambda: 2.0).append(['["", {"id": "a"}]'])
        raise sqlite3.DatabaseError("file is not a database")

    monkeypatch.setattr(store, "_connect", replaced_meanwhile)
    store.open()
    store.close()
    assert ids_in(path) == ["a"]
    assert not list(path.glob("*damaged*"))


def test_a_dropped_table_is_created_again(blocked, path, receiver, caplog):
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.execute("DROP TABLE queue_waiting")
    blocked.put(event("b"))
    receiver.open.set()
    receiver.wait("a", "b")
    assert "A table of the outbox" in caplog.text


@pytest.mark.slow
def test_the_documented_commands_recover_a_damaged_file(new, path, receiver, tmp_path):
    if not shutil.which("sqlite3"):
        pytest.skip("needs the program sqlite3")
    receiver.errors["0"] = ConnectionError("refused")
    outbox = new()
    fill(outbox, path)
    outbox.stop(0)
    # Damage one of the pages of events.
    with (path / FILE).open("r+b") as opened:
        opened.seek(6 * 4096)
        opened.write(b"\xff" * 4096)
    receiver.errors.clear()
    later = new()
    later.start()
    wait_for(lambda: list(path.glob("*damaged*")), "the damage is noticed")
    later.put(event("b"))
    receiver.wait("b")
    pattern = r"^    \$ (sqlite3 (events\.damaged-\S*)(?:.*\|\n +)+.*)"
    (found,) = re.findall(pattern, PAGE.read_text("utf-8"), re.M)
    command, name = found
    command = command.replace(name, renamed(path).name)
    subprocess.run(command, shell=True, cwd=path, check=True, timeout=50)
    # A page has three events.
    wait_for(lambda: receiver.ids[-1] == "cached", "the other events are delivered")
    recovered = [int(id_) for id_ in receiver.ids[1:-1]]
    assert len(recovered) > 36
    assert recovered == sorted(recovered)


# Rows


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("CAST('{\"id\":' AS BLOB)", b'{"id":'),
        ("X'FF00FE'", b"\xff\x00\xfe"),
        ("NULL", None),
        ("5", 5),
        ("'[1]'", "[1]"),
        ("CAST(X'22FF22' AS TEXT)", b'"\xff"'),
    ],
    ids=["torn", "binary", "null", "number", "list", "not-utf-8"],
)
def test_a_row_that_is_not_an_event_becomes_a_dead_letter(
    new, path, receiver, caplog, value, kept
):
    receiver.open.clear()
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "a is tried")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute(f"INSERT INTO queue_waiting (data) VALUES ({value})")
    outbox.put(event("b"))
    receiver.open.set()
    receiver.wait("a", "b")
    wait_for(lambda: ids_in(path) == [], "nothing is pending")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.text_factory = bytes
        query = "SELECT data, reason FROM queue_dead_letters"
        ((data, reason),) = connection.execute(query)
    assert data == (kept.encode() if isinstance(kept, str) else kept)
    assert reason
    assert (outbox.unreadable, outbox.rejected, outbox.delivered) == (1, 0, 2)
    assert "Row 2 is not an event, kept as a dead letter" in caplog.text


@pytest.mark.slow
def test_a_row_that_is_changed_while_an_event_is_retried_is_read_again(
    new, path, receiver
):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new()
    # All are read at once.
    outbox.start()
    with transaction(path) as connection:
        for name in "abc":
            data = json.dumps(event(name)).encode()
            insert = "INSERT INTO queue_waiting (data, timestamp) VALUES (?, 1.5)"
            connection.execute(insert, (data,))
        connection.commit()
    wait_for(lambda: receiver.attempts, "a is tried")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute("UPDATE queue_waiting SET data = 'torn' WHERE _id = 2")
    receiver.errors.clear()
    receiver.wait("a", "c")
    assert outbox.unreadable == 1


def test_the_reason_of_a_dead_letter_is_short_and_has_no_secret(
    new, path, receiver, caplog
):
    text = f"token=hunter2 {'x' * 8_000_000}"
    receiver.errors["a"] = RejectedError(text)
    outbox = new()
    outbox.put(event("a"))
    wait_for(outbox.dead_letters, "a is rejected")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        ((reason,),) = connection.execute("SELECT reason FROM queue_dead_letters")
    assert reason.startswith("token=")
    assert len(reason) == LONGEST_TEXT
    assert len(caplog.text) < 10_000
    assert "hunter2" not in reason + caplog.text


# Schema


def test_a_file_without_a_version_is_upgraded(new, path, receiver):
    path.mkdir(parents=True)
    columns = "_id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, timestamp FLOAT"
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        for table in ("waiting", "dead_letters"):
            connection.execute(f"CREATE TABLE queue_{table} ({columns})")
            insert = f"INSERT INTO queue_{table} (data, timestamp) VALUES (?, 1.5)"
            connection.execute(insert, (json.dumps(event(table)).encode(),))
    receiver.errors["b"] = RejectedError("never")
    outbox = new()
    outbox.put(event("b"))
    receiver.wait("waiting")
    wait_for(lambda: outbox.dead_letters() == 2, "b is rejected")
    assert ids_in(path, "queue_dead_letters") == ["dead_letters", "b"]


def test_a_file_of_a_newer_version_is_an_error(new, path):
    outbox = new()
    outbox.start()
    outbox.stop(20)
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(OSError, match=r"a newer version .* upgrade manila-aspects"):
        new().start()
    assert not list(path.glob("*damaged*"))

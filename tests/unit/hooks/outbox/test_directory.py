# SPDX-License-Identifier: Apache-2.0
"""The directory, start and stop, and the documented commands."""

import contextlib
import datetime
import json
import os
import pathlib
import re
import sqlite3
import threading

import pytest

from hooks.events.errors import RejectedError
from hooks.events.outbox import FILE, Outbox
from tests.support.wait import wait_for

from .common import event

pytestmark = pytest.mark.timeout(60)


def test_the_constructor_leaves_the_disk_alone(new, path, tmp_path):
    outbox = new()
    assert list(tmp_path.iterdir()) == []
    assert outbox.pending() == 0
    outbox.start()
    assert (path / FILE).exists()
    # What is told of shares is not for everybody.
    assert not path.stat().st_mode & 0o007


def test_a_directory_below_a_file(tmp_path, receiver):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NotADirectoryError, match=f"{file} is not a directory"):
        Outbox(file / "alpha.ops", receiver)


def test_a_directory_that_cannot_be_made(tmp_path, receiver, monkeypatch):
    # Not with the directory's mode, which does not stop root.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(PermissionError, match=f"cannot write to {tmp_path}"):
        Outbox(tmp_path / "state" / "alpha.ops", receiver)


def broken(path):
    """Have the file of a path in a way that nobody can read."""
    for each in path.iterdir():
        each.unlink()
    (path / FILE).mkdir()


def test_how_many_are_pending_is_unknown_in_a_file_that_cannot_be_read(new, path):
    path.mkdir(parents=True)
    (path / FILE).write_text("no database " * 100)
    assert new().pending() is None
    broken(path)
    assert new().pending() is None


@pytest.mark.slow
def test_stop_with_a_file_that_cannot_be_read(new, path, receiver, caplog):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "it is tried")
    broken(path)
    outbox.stop(0.2)
    assert "Unknown how many event(s)" in caplog.text


@pytest.mark.slow
def test_stop_waits_for_what_there_is(new, receiver):
    receiver.open.clear()
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    threading.Timer(0.3, receiver.open.set).start()
    outbox.stop(20)
    assert receiver.ids == ["a", "b", "c"]


def test_nothing_stays_open_after_a_stop(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    outbox.stop(20)
    names = {each.name for each in path.iterdir()}
    assert names == {FILE, "lock"}
    open_files = [
        os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
    ]
    assert not [each for each in open_files if each.startswith(str(path))]


def test_what_is_left_at_a_stop_is_delivered_after_a_start(new, receiver, caplog):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    outbox.stop(0.1)
    assert "2 event(s)" in caplog.text
    receiver.errors.clear()
    outbox.start()
    receiver.wait("a", "b")


def test_an_event_after_a_stop_is_delivered(new, receiver):
    outbox = new()
    outbox.put(event("a"))
    outbox.stop(20)
    outbox.put(event("b"))
    receiver.wait("a", "b")


def test_stop_without_a_start(new, path):
    new().stop(20)
    assert not path.exists()


def documented_commands():
    page = pathlib.Path(__file__).parents[4] / "doc" / "source" / "admin/durable.rst"
    pattern = r'^    \$ sqlite3 events\.sqlite "([^"]*)"'
    return re.findall(pattern, page.read_text("utf-8"), re.M)


def test_the_documented_commands(new, path, receiver):
    count, refused, again = documented_commands()
    receiver.errors["a"] = RejectedError("never")
    receiver.errors["b"] = ConnectionError("down")
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    wait_for(lambda: outbox.refused == 1 and outbox.pending() == 2, "b is tried")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        told, since = connection.execute(count).fetchone()
        assert told == 2
        assert datetime.date.fromisoformat(since[:10])
        ((data,),) = connection.execute(refused)
        assert json.loads(data) == event("a")
        del receiver.errors["a"]
        connection.executescript(again)
        assert connection.execute(refused).fetchall() == []
    del receiver.errors["b"]
    receiver.wait("b", "c", "a")

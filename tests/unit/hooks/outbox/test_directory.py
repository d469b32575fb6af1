# SPDX-License-Identifier: Apache-2.0
"""Tests of the directory, of start and stop, and of the documented commands."""

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


def test_start_and_not_the_constructor_creates_the_directory(new, path, tmp_path):
    outbox = new()
    assert list(tmp_path.iterdir()) == []
    assert outbox.pending() == 0
    outbox.start()
    assert (path / FILE).exists()
    # Other users must not read who has access to a share.
    assert not path.stat().st_mode & 0o007


def test_a_directory_below_a_file_is_an_error(tmp_path, receiver):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NotADirectoryError, match=f"{file} is not a directory"):
        Outbox(file / "alpha.ops", receiver)


def test_a_directory_that_cannot_be_created_is_an_error(
    tmp_path, receiver, monkeypatch
):
    # The mode of the directory would not stop root.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(PermissionError, match=f"cannot write to {tmp_path}"):
        Outbox(tmp_path / "state" / "alpha.ops", receiver)


def break_file(path):
    """Replace the database file with a directory, which SQLite cannot read."""
    for file in path.iterdir():
        file.unlink()
    (path / FILE).mkdir()


def test_pending_is_none_if_the_file_is_unreadable(new, path):
    path.mkdir(parents=True)
    (path / FILE).write_text("not a database " * 100)
    assert new().pending() is None
    break_file(path)
    assert new().pending() is None


@pytest.mark.slow
def test_stop_with_an_unreadable_file_logs_an_unknown_number(
    new, path, receiver, caplog
):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "the event is tried")
    break_file(path)
    outbox.stop(0.2)
    assert "an unknown number of undelivered event(s)" in caplog.text


@pytest.mark.slow
def test_stop_delivers_pending_events(new, receiver):
    receiver.open.clear()
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    threading.Timer(0.3, receiver.open.set).start()
    outbox.stop(20)
    assert receiver.ids == ["a", "b", "c"]


def test_no_file_is_open_after_a_stop(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    outbox.stop(20)
    names = {file.name for file in path.iterdir()}
    assert names == {FILE, "lock"}
    open_files = [
        os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
    ]
    assert not [name for name in open_files if name.startswith(str(path))]


def test_events_left_at_a_stop_are_delivered_after_the_next_start(
    new, receiver, caplog
):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    outbox.stop(0.1)
    assert "2 undelivered event(s)" in caplog.text
    receiver.errors.clear()
    outbox.start()
    receiver.wait("a", "b")


def test_put_after_a_stop_starts_delivering_again(new, receiver):
    outbox = new()
    outbox.put(event("a"))
    outbox.stop(20)
    outbox.put(event("b"))
    receiver.wait("a", "b")


def test_stop_without_a_start_creates_nothing(new, path):
    new().stop(20)
    assert not path.exists()


def documented_commands():
    page = pathlib.Path(__file__).parents[4] / "doc" / "source" / "admin/durable.rst"
    pattern = r'^    \$ sqlite3 events\.sqlite "([^"]*)"'
    return re.findall(pattern, page.read_text("utf-8"), re.M)


def test_the_documented_commands_show_and_retry_dead_letters(new, path, receiver):
    count, dead_letters, retry = documented_commands()
    receiver.errors["a"] = RejectedError("never")
    receiver.errors["b"] = ConnectionError("down")
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    wait_for(lambda: outbox.rejected == 1 and outbox.pending() == 2, "b is tried")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        waiting, since = connection.execute(count).fetchone()
        assert waiting == 2
        assert datetime.date.fromisoformat(since[:10])
        ((data,),) = connection.execute(dead_letters)
        assert json.loads(data) == event("a")
        del receiver.errors["a"]
        connection.executescript(retry)
        assert connection.execute(dead_letters).fetchall() == []
    del receiver.errors["b"]
    receiver.wait("b", "c", "a")

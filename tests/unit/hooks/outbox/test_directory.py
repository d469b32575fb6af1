# SPDX-License-Identifier: Apache-2.0
"""Tests of the directory, and of start and stop."""

import json
import os
import stat
import threading

import pytest

from hooks.events import deliverer, store
from hooks.events.errors import DeliveryFailedError
from hooks.events.outbox import FILE, OVERFLOW_FILE, Outbox
from tests.support.wait import wait_for

from .common import event, ids_in, transaction

pytestmark = pytest.mark.timeout(60)

#: Ends of the names of the files that SQLite uses.
SQLITE_FILES = ("", "-wal", "-shm")


def test_start_and_not_the_constructor_creates_the_directory(new, path, tmp_path):
    outbox = new()
    assert list(tmp_path.iterdir()) == []
    assert outbox.pending() == 0
    outbox.start()
    assert (path / FILE).exists()
    # Other users must not read who has access to a share.
    assert not path.stat().st_mode & 0o007


def modes_in(path):
    files = [path, *path.iterdir()]
    return {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in files}


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_other_users_cannot_read_an_existing_directory(
    new, path, receiver, usual_umask
):
    path.mkdir(parents=True)
    path.chmod(0o777)
    for name in (FILE, "lock"):
        (path / name).write_bytes(b"")
    receiver.open.clear()
    outbox = new(timeout=0.1)
    outbox.put(event("a"))
    with transaction(path):
        outbox.put(event("b"))
    files = [f"{name}{end}" for name in (FILE, OVERFLOW_FILE) for end in SQLITE_FILES]
    modes = dict.fromkeys(files, "0o640") | {"lock": "0o600", path.name: "0o750"}
    # The thread that delivers opens the lock.
    wait_for(lambda: modes_in(path) == modes, f"{modes} are set")


def test_stricter_modes_are_kept(new, path, receiver):
    path.mkdir(parents=True)
    path.chmod(0o700)
    (path / FILE).write_bytes(b"")
    (path / FILE).chmod(0o600)
    new().put(event("a"))
    receiver.wait("a")
    assert modes_in(path)[path.name] == "0o700"
    assert modes_in(path)[FILE] == "0o600"


@pytest.mark.parametrize(("mode", "refused"), [(0o755, True), (0o770, False)])
def test_a_directory_that_stays_open_to_other_users_is_an_error(
    new, path, receiver, monkeypatch, mode, refused
):
    def chmod(path, mode):
        raise PermissionError(1, "Operation not permitted", str(path))

    path.mkdir(parents=True)
    path.chmod(mode)
    # The owner of the directory would not stop root.
    monkeypatch.setattr(store.os, "chmod", chmod)
    if refused:
        with pytest.raises(PermissionError) as caught:
            new().start()
        assert f"{path}: other users have access (mode 0755)" in str(caught.value)
        assert "run chmod 0750" in str(caught.value)
        assert list(path.iterdir()) == []
    else:
        new().put(event("a"))
        receiver.wait("a")


def test_a_directory_below_a_file_is_an_error(tmp_path, receiver):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NotADirectoryError, match=f"{file} is not a directory"):
        Outbox(file / "alpha.ops", receiver)


def test_a_link_to_a_missing_directory_is_an_error(tmp_path, receiver):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "missing")
    with pytest.raises(NotADirectoryError, match=f"{link} is not a directory"):
        Outbox(link / "alpha.ops", receiver)


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
def test_stop_ends_when_an_attempt_fails(new, path, receiver):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for(lambda: receiver.attempts, "the event is tried")
    stopping = threading.Thread(target=outbox.stop, args=(3600,))
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()
    assert ids_in(path) == ["a", "b"]


def test_stop_makes_an_attempt_before_the_pause_is_over(new, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "LONGEST_PAUSE", 3600.0)
    receiver.errors["a"] = DeliveryFailedError("busy", retry_after=3600)
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for(lambda: receiver.attempts, "the event is tried")
    receiver.errors.clear()
    attempts = len(receiver.attempts)
    stopping = threading.Thread(target=outbox.stop, args=(3600,))
    stopping.start()
    stopping.join(30)
    assert receiver.ids == ["a", "b"]
    assert len(receiver.attempts) == attempts + 2


@pytest.mark.slow
def test_no_event_is_delivered_after_the_time_to_drain(
    new, path, receiver, monkeypatch
):
    # All events are read at once.
    monkeypatch.setattr(deliverer, "POLL_INTERVAL", 100.0)
    receiver.open.clear()
    outbox = new()
    outbox.start()
    with transaction(path) as connection:
        for name in "abc":
            data = json.dumps(event(name)).encode()
            connection.execute("INSERT INTO queue_waiting (data) VALUES (?)", (data,))
        connection.commit()
    outbox.put(event("d"))
    wait_for(lambda: receiver.attempts, "the first event is tried")
    (thread,) = [t for t in threading.enumerate() if t.name == f"outbox-{path.name}"]
    outbox.stop(0)
    receiver.open.set()
    thread.join(30)
    assert receiver.ids == ["a"]
    assert ids_in(path) == ["b", "c", "d"]


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

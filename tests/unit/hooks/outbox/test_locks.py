# SPDX-License-Identifier: Apache-2.0
"""Tests that waits for locks of other programs and threads are bounded."""

import fcntl
import logging
import os
import threading

import pytest

from hooks.events import store
from hooks.events.outbox import FILE, OVERFLOW_FILE
from tests.support.wait import wait_for

from .common import event, ids_in, transaction

pytestmark = pytest.mark.timeout(60)


def warnings_in(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.fixture
def waits(monkeypatch):
    """Return the list of the waits for a locked file, which grows."""
    waits = []
    sleep = store.time.sleep

    def recorded(seconds):
        if threading.current_thread() is threading.main_thread():
            waits.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(store.time, "sleep", recorded)
    return waits


def test_a_locked_file_does_not_fail_put(new, path, receiver, waits, caplog):
    receiver.open.clear()
    outbox = new(timeout=0.1)
    outbox.put(event("a"))
    with transaction(path):
        outbox.put(event("b"))
        assert ids_in(path, file=OVERFLOW_FILE) == ["b"]
        assert outbox.pending() == 2
        (warning,) = warnings_in(caplog)
        assert f"{path / FILE}: another program has locked the file" in warning
        assert "end its transaction" in warning
        assert OVERFLOW_FILE in warning
        assert waits
        # Only the first call waits, and only one warning is logged.
        waits.clear()
        outbox.put(event("c"))
        assert not waits
        assert len(warnings_in(caplog)) == 1
        receiver.open.set()
        receiver.wait("a", "b", "c")
        # The same holds after the second file is empty again.
        wait_for(lambda: not outbox.pending(), "nothing is pending")
        waits.clear()
        outbox.put(event("d"))
        assert not waits
        receiver.wait("a", "b", "c", "d")


def test_events_stay_in_order_after_the_file_is_unlocked(new, path, receiver):
    receiver.open.clear()
    outbox = new(timeout=0.1)
    outbox.put(event("a"))
    with transaction(path):
        outbox.put(event("b"))
    outbox.put(event("c"))
    # The event behind those in the second file must not overtake them.
    assert ids_in(path, file=OVERFLOW_FILE) == ["b", "c"]
    receiver.open.set()
    receiver.wait("a", "b", "c")
    wait_for(lambda: ids_in(path) == [], "a is deleted")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    receiver.open.clear()
    outbox.put(event("d"))
    assert ids_in(path) == ["d"]


def test_events_in_the_second_file_are_delivered_after_a_restart(new, path, receiver):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new(timeout=0.1)
    outbox.put(event("a"))
    with transaction(path):
        outbox.put(event("b"))
        outbox.stop(0)
    receiver.errors.clear()
    # It starts without start(), at its first event.
    new().put(event("c"))
    receiver.wait("a", "b", "c")


@pytest.mark.slow
def test_put_fails_in_time_if_both_files_are_locked(new, path, receiver):
    outbox = new(timeout=0.1)
    outbox.put(event("a"))
    receiver.wait("a")
    with transaction(path):
        outbox.put(event("b"))
        receiver.wait("a", "b")
        error = pytest.raises(TimeoutError, match=rf"{OVERFLOW_FILE}: another .* 0.1 s")
        with transaction(path, OVERFLOW_FILE), error:
            outbox.put(event("c"))
    outbox.put(event("d"))
    receiver.wait("a", "b", "d")


@pytest.mark.slow
def test_start_does_not_fail_if_the_file_is_locked(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    receiver.wait("a")
    outbox.stop(20)
    # An exclusive lock blocks even readers.
    holder = store.sqlite3.connect(path / FILE)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    later = new(timeout=0.1)
    later.start()
    later.put(event("b"))
    holder.rollback()
    holder.close()
    receiver.wait("a", "b")


def test_deliveries_do_not_wait_for_a_locked_file(new, path, receiver, caplog):
    receiver.open.clear()
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    with transaction(path):
        receiver.open.set()
        receiver.wait("a", "b", "c")
        wait_for(lambda: outbox.pending() == 0, "nothing is pending")
        assert ids_in(path) == ["a", "b", "c"]
    outbox.stop(20)
    assert ids_in(path) == []
    assert receiver.ids == ["a", "b", "c"]
    assert not warnings_in(caplog)


def test_a_lock_on_the_directory_does_not_block_start(new, path, receiver):
    path.mkdir(parents=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        new().put(event("a"))
        receiver.wait("a")
    finally:
        os.close(descriptor)


def test_put_waits_only_for_a_time_while_another_thread_starts(new, path):
    outbox = new(timeout=0.1)
    with outbox._starting, pytest.raises(TimeoutError) as caught:
        outbox.put(event("a"))
    assert str(caught.value).startswith(f"{path}: another thread has been starting")


def test_put_does_not_need_the_delivery_thread(
    new, path, receiver, monkeypatch, caplog
):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    outbox = new()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        outbox.put(event("a"))
        outbox.put(event("b"))
    assert ids_in(path) == ["a", "b"]
    (logged,) = [r.getMessage() for r in caplog.records]
    assert "Failed to start the thread" in logged
    assert "can't start new thread" in logged
    outbox.put(event("c"))
    receiver.wait("a", "b", "c")

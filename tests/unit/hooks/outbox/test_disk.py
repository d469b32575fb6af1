# SPDX-License-Identifier: Apache-2.0
"""Tests that events are on disk, so that no end of the process loses them."""

import contextlib
import math
import sqlite3
import threading

import pytest

from hooks.events.outbox import FILE
from hooks.events.store import EventStore
from tests.support.wait import wait_for

from .common import event, ids_in, run

pytestmark = pytest.mark.timeout(60)


def test_an_event_is_on_disk_when_put_returns(new, path, receiver):
    receiver.open.clear()
    outbox = new()
    for name in "ab":
        outbox.put(event(name))
    assert ids_in(path) == ["a", "b"]
    # 2 is FULL, SQLite's default: each commit waits for the disk.
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_only_writes_wait_for_the_disk(new, receiver, monkeypatch):
    connect, levels, ran = sqlite3.connect, [], []

    def trace(statement):
        if statement.startswith("PRAGMA synchronous"):
            levels.append(statement.rpartition(" ")[2])
        elif statement.startswith(("INSERT", "DELETE")):
            ran.append((statement.split()[0], levels[-1]))

    def traced(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(trace)
        return connection

    outbox = new()
    outbox.start()
    outbox.stop(20)
    monkeypatch.setattr(sqlite3, "connect", traced)
    outbox.put(event("a"))
    wait_for(lambda: len(ran) == 2, "the event is delivered and deleted")
    outbox.put(event("b"))
    wait_for(lambda: len(ran) == 4, "the event is delivered and deleted")
    assert ran == [("INSERT", "FULL"), ("DELETE", "NORMAL")] * 2


@pytest.mark.parametrize(
    "text",
    [
        "größer",
        "\ud800",
        "\0",
        'a "b"\\c',
        "\u2028",
        "😀",
        "x" * 100_000,
        "'; --",
        "1e5",
    ],
)
def test_an_event_is_delivered_unchanged(new, path, receiver, text):
    sent = {"id": "a", text: [text, {"n": [1, 0.1, 2**70, True, None, [], {}, ""]}]}
    new().put(sent)
    receiver.wait("a")
    assert receiver.attempts == [sent]


def test_an_event_that_is_not_plain_data_fails_without_affecting_others(new, receiver):
    outbox = new()
    errors = []

    def puts(data):
        try:
            outbox.put(data)
        except (TypeError, ValueError) as error:
            errors.append(error)

    events = [event("a"), {"id": object()}, event("b"), {"id": math.nan}]
    threads = [threading.Thread(target=puts, args=(data,)) for data in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    wait_for(lambda: sorted(receiver.ids) == ["a", "b"], "the others are delivered")


@pytest.mark.slow
def test_concurrent_callers_share_a_write(new, path, receiver, monkeypatch):
    """A caller waits for two writes at most, even on a slow disk."""
    written = []
    append = EventStore.append

    def slow(store, texts, timeout=None):
        written.append(len(texts))
        threading.Event().wait(0.2)
        append(store, texts, timeout)

    outbox = new()
    outbox.start()
    monkeypatch.setattr(EventStore, "append", slow)
    threads = [
        threading.Thread(target=outbox.put, args=(event(f"{n}"),)) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == 20
    assert len(written) <= 5
    wait_for(lambda: len(set(receiver.ids)) == 20, "all are delivered")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_caller_does_not_lose_the_events_of_others(new, receiver, monkeypatch):
    append, written = EventStore.append, []

    def kills_the_second(store, texts, timeout=None):
        written.append(len(texts))
        if len(written) == 1:
            # The other two events share the second write.
            waiting = outbox._commits._pending_writes
            wait_for(lambda: len(waiting) == 2, "the other two wait")
        if len(written) == 2:
            raise SystemExit
        append(store, texts, timeout)

    outbox = new()
    outbox.start()
    monkeypatch.setattr(EventStore, "append", kills_the_second)
    threads = [
        threading.Thread(target=outbox.put, args=(event(name),)) for name in "abc"
    ]
    for thread in threads:
        thread.start()
        wait_for(lambda: written, "the first write begins")
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert written == [1, 2, 2]
    wait_for(lambda: sorted(receiver.ids) == ["a", "b", "c"], "all are delivered")


@pytest.mark.slow
def test_the_events_of_a_killed_process_are_delivered_later(new, path, receiver):
    code = """
        import os, pathlib, sys, threading
        from hooks.events.outbox import Outbox

        taken = []

        def deliver(event):
            taken.append(event["id"])
            if event["id"] == "c":
                os.kill(os.getpid(), 9)

        outbox = Outbox(pathlib.Path(sys.argv[1]), deliver)
        for name in "abcd":
            outbox.put({"id": name})
        threading.Event().wait()
    """
    assert run(code, path).returncode == -9
    waiting = ids_in(path)
    # It was killed before it could delete c, and maybe before it deleted those before.
    assert "c" in waiting
    new().start()
    receiver.wait(*waiting)


@pytest.mark.slow
def test_put_fails_on_a_full_disk_and_earlier_events_are_delivered(path):
    code = """
        import pathlib, resource, sqlite3, sys, threading
        from hooks.events.outbox import Outbox

        allowed, delivered = threading.Event(), []

        def deliver(event):
            allowed.wait()
            delivered.append(event["id"])

        outbox = Outbox(pathlib.Path(sys.argv[1]), deliver)
        put = []
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, -1))
        try:
            for n in range(100):
                outbox.put({"id": n, "data": "x" * 50_000})
                put.append(n)
        except sqlite3.Error as error:
            print(error, end=": ")
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        outbox.put({"id": "last"})
        allowed.set()
        outbox.stop(20)
        print(len(put) > 0, delivered == [*put, "last"], outbox.pending())
    """
    ran = run(code, path)
    assert "disk" in ran.stdout, ran.stderr
    assert ran.stdout.endswith(": True True 0\n"), ran.stderr

# SPDX-License-Identifier: Apache-2.0
"""What is put is on disk, whatever becomes of the process."""

import contextlib
import math
import sqlite3
import threading

import pytest
from persistqueue import SQLiteQueue

from hooks.events.outbox import FILE
from tests.support.wait import wait_for

from .common import event, ids_in, run

pytestmark = pytest.mark.timeout(60)


def test_what_is_put_is_on_disk(new, path, receiver):
    receiver.open.clear()
    outbox = new()
    for name in "ab":
        outbox.put(event(name))
    assert ids_in(path) == ["a", "b"]
    # Each commit is synced, which is SQLite's default.
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_disk_is_waited_for_by_writes_and_not_by_deletes(
    new, receiver, monkeypatch
):
    connect, ran = sqlite3.connect, []

    def traced(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(lambda told: ran.append((connection, told)))
        return connection

    def levels(word):
        made = [connection for connection, statement in ran if word in statement]
        query = "PRAGMA synchronous"
        return {connection.execute(query).fetchone() for connection in made}

    monkeypatch.setattr(sqlite3, "connect", traced)
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: levels("DELETE"), "it is delivered and deleted")
    assert levels("INSERT") == {(2,)}
    assert levels("DELETE") == {(1,)}


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
def test_an_event_comes_as_it_was_put(new, path, receiver, text):
    told = {"id": "a", text: [text, {"n": [1, 0.1, 2**70, True, None, [], {}, ""]}]}
    new().put(told)
    receiver.wait("a")
    assert receiver.attempts == [told]


def test_what_is_no_plain_data_fails_alone(new, receiver):
    outbox = new()
    errors = []

    def puts(told):
        try:
            outbox.put(told)
        except (TypeError, ValueError) as error:
            errors.append(error)

    told = [event("a"), {"id": object()}, event("b"), {"id": math.nan}]
    threads = [threading.Thread(target=puts, args=(each,)) for each in told]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(errors) == 2
    wait_for(lambda: sorted(receiver.ids) == ["a", "b"], "the others are delivered")


@pytest.mark.slow
def test_callers_at_once_share_a_write(new, path, receiver, monkeypatch):
    """However slow the disk is, nobody waits for more than two writes."""
    written = []
    put = SQLiteQueue.put

    def slow(queue, texts):
        written.append(len(texts))
        threading.Event().wait(0.2)
        put(queue, texts)

    outbox = new()
    outbox.start()
    monkeypatch.setattr(SQLiteQueue, "put", slow)
    threads = [
        threading.Thread(target=outbox.put, args=(event(f"{n}"),)) for n in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(written) == 20
    assert len(written) <= 5
    wait_for(lambda: len(set(receiver.ids)) == 20, "all are delivered")


@pytest.mark.slow
def test_a_caller_that_is_killed_does_not_take_others_with_it(
    new, receiver, monkeypatch
):
    put, written = SQLiteQueue.put, []

    def kills_the_second(queue, texts):
        written.append(len(texts))
        # The first is slow: those after it come together.
        threading.Event().wait(0.5)
        if len(written) == 2:
            raise SystemExit
        put(queue, texts)

    outbox = new()
    outbox.start()
    monkeypatch.setattr(SQLiteQueue, "put", kills_the_second)
    threads = [
        threading.Thread(target=outbox.put, args=(event(name),)) for name in "abc"
    ]
    for each in threads:
        each.start()
        wait_for(lambda: written, "the first writes")
    for each in threads:
        each.join(10)
        assert not each.is_alive()
    assert written == [1, 2, 2]
    wait_for(lambda: sorted(receiver.ids) == ["a", "b", "c"], "all are delivered")


@pytest.mark.slow
def test_what_a_killed_process_has_left_is_delivered(new, path, receiver):
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
    # Killed before it could note that c was delivered.
    assert waiting[0] == "c"
    new().start()
    receiver.wait(*waiting)


@pytest.mark.slow
def test_put_fails_on_a_full_disk_and_what_is_on_it_is_delivered(path):
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

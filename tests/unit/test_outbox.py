# SPDX-License-Identifier: Apache-2.0
"""The outbox: what is put is on disk, in order, until it was delivered."""

import contextlib
import datetime
import json
import logging
import math
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest
from persistqueue import SQLiteQueue

from hooks.events.errors import NotDelivered, Refused
from hooks.events.outbox import FILE, Outbox
from tests.functional.parts import wait_for

pytestmark = pytest.mark.timeout(60)


class Receiver:
    """Takes events, and fails as it is told to."""

    def __init__(self):
        self.ids = []
        self.attempts = []
        #: What it raises for the id of an event.
        self.errors = {}
        self.open = threading.Event()
        self.open.set()

    def __call__(self, event):
        self.attempts.append(event)
        assert self.open.wait(30)
        if event["id"] in self.errors:
            raise self.errors[event["id"]]
        self.ids.append(event["id"])

    def wait(self, *ids):
        wait_for(lambda: self.ids == list(ids), f"{ids} are delivered", 20)


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "alpha.ops"


@pytest.fixture
def new(path, receiver):
    made = []

    def outbox(deliver=receiver):
        made.append(Outbox(path, deliver))
        return made[-1]

    yield outbox
    receiver.open.set()
    for each in made:
        each.stop(0)


def event(name):
    return {"id": name, "data": {"share_id": "größer"}}


def ids_in(path, table="queue_waiting"):
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        query = f"SELECT json_extract(CAST(data AS TEXT), '$.id') FROM {table}"
        return [each for (each,) in connection.execute(f"{query} ORDER BY _id")]


def run(code, *args):
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=50,
    )


# Delivery


def test_events_are_delivered_in_order(new, receiver):
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    receiver.wait("a", "b", "c")
    assert receiver.attempts[0] == event("a")
    assert outbox.delivered == 3


def test_what_is_delivered_leaves_the_file(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    receiver.wait("a")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    assert ids_in(path) == []


def test_events_of_each_of_many_threads_are_in_order(new, receiver):
    outbox = new()

    def puts(thread):
        for n in range(50):
            outbox.put(event(f"{thread}-{n}"))

    threads = [threading.Thread(target=puts, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    wait_for(lambda: len(receiver.ids) == 400, "all are delivered", 30)
    for thread in range(8):
        mine = [each for each in receiver.ids if each.startswith(f"{thread}-")]
        assert mine == [f"{thread}-{n}" for n in range(50)]


def test_one_that_fails_is_tried_until_it_is_delivered(new, path, receiver, caplog):
    receiver.errors["a"] = ConnectionError("refused, password=hunter2")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for(lambda: len(receiver.attempts) > 3, "it is tried again and again")
    # It holds up those after it: they are to stay in order.
    assert ids_in(path) == ["a", "b"]
    assert outbox.pending() == 2
    del receiver.errors["a"]
    receiver.wait("a", "b")
    assert {each["id"] for each in receiver.attempts[:-1]} == {"a"}
    (told,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "Event a was not delivered" in told.getMessage()
    assert "ConnectionError: refused" in told.getMessage()
    assert "hunter2" not in caplog.text


def test_the_other_end_may_ask_to_wait(new, receiver):
    receiver.errors["a"] = NotDelivered("busy", retry_after=1.5)
    began = threading.Event()
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "it is tried")
    began.wait(1)
    assert len(receiver.attempts) == 1
    wait_for(lambda: len(receiver.attempts) == 2, "it is tried again")


def test_one_that_is_refused_is_kept_apart(new, path, receiver, caplog):
    receiver.errors["a"] = Refused("unknown type, token=hunter2")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    receiver.wait("b")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    assert ids_in(path, "queue_refused") == ["a"]
    assert (outbox.delivered, outbox.refused) == (1, 1)
    assert "Event a was refused" in caplog.text
    assert "unknown type" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_row_that_is_no_event_does_not_end_it(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    receiver.wait("a")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute(
            "INSERT INTO queue_waiting (data) VALUES (CAST('?' AS BLOB))"
        )
    outbox.put(event("b"))
    receiver.wait("a", "b")


# On disk


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


# The folder


def test_the_constructor_leaves_the_disk_alone(new, path, tmp_path):
    outbox = new()
    assert list(tmp_path.iterdir()) == []
    assert outbox.pending() == 0
    outbox.start()
    assert (path / FILE).exists()
    # What is told of shares is not for everybody.
    assert not path.stat().st_mode & 0o007


def test_a_folder_below_a_file(tmp_path, receiver):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NotADirectoryError, match=f"{file} is not a folder"):
        Outbox(file / "alpha.ops", receiver)


def test_a_folder_that_cannot_be_made(tmp_path, receiver, monkeypatch):
    # Not with the folder's mode, which does not stop root.
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


def test_stop_with_a_file_that_cannot_be_read(new, path, receiver, caplog):
    receiver.errors["a"] = ConnectionError("refused")
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "it is tried")
    broken(path)
    outbox.stop(0.2)
    assert "Unknown how many event(s)" in caplog.text


# Start and stop


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


# Several processes


def test_of_two_one_delivers_and_the_other_takes_over(new, path):
    first, second = Receiver(), Receiver()
    one, two = new(first), new(second)
    one.put(event("a"))
    first.wait("a")
    two.put(event("b"))
    one.put(event("c"))
    first.wait("a", "b", "c")
    one.stop(20)
    two.put(event("d"))
    second.wait("d")
    assert first.ids == ["a", "b", "c"]


def test_a_child_process_delivers_when_the_parent_is_gone(path, tmp_path):
    # The parent has it all open when it forks, and is killed.
    code = """
        import os, pathlib, signal, sys, time
        from hooks.events.outbox import Outbox

        def deliver(event):
            with open(sys.argv[2], "a") as file:
                file.write(f"{event['id']} by {'parent' if parent else 'child'}\\n")

        parent = True
        outbox = Outbox(pathlib.Path(sys.argv[1]), deliver)
        outbox.put({"id": "a"})
        while outbox.pending():
            time.sleep(0.01)
        ready, tell = os.pipe()
        killed = os.getpid()
        child = os.fork()
        if child:
            # What the child puts, the parent delivers.
            os.read(ready, 1)
            while outbox.pending():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        parent = False
        outbox.put({"id": "b"})
        os.write(tell, b".")
        while os.getppid() == killed:
            time.sleep(0.01)
        outbox.put({"id": "c"})
        outbox.stop(20)
        os._exit(0)
    """
    told = tmp_path / "told"
    ran = run(code, path, told)
    assert (ran.returncode, ran.stderr) == (-9, "")
    # It has waited for the child as well, which has its output.
    expected = ["a by parent", "b by parent", "c by child"]
    assert told.read_text().splitlines() == expected


def test_many_processes_that_start_at_once(path, tmp_path):
    code = """
        import os, pathlib, sys
        from hooks.events.outbox import Outbox

        def deliver(event):
            file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, (event["id"] + "\\n").encode())
            os.close(file)

        children = []
        for child in range(4):
            pid = os.fork()
            if pid:
                children.append(pid)
                continue
            try:
                outbox = Outbox(pathlib.Path(sys.argv[1]), deliver)
                for n in range(20):
                    outbox.put({"id": f"{child}-{n}"})
                outbox.stop(30)
            except BaseException as error:
                print(repr(error), flush=True)
            os._exit(0)
        for pid in children:
            os.waitpid(pid, 0)
    """
    told = tmp_path / "told"
    ran = run(code, path, told)
    assert (ran.stdout, ran.stderr) == ("", "")
    ids = told.read_text().split()
    assert len(ids) == len(set(ids)) == 80
    for child in range(4):
        mine = [each for each in ids if each.startswith(f"{child}-")]
        assert mine == [f"{child}-{n}" for n in range(20)]


# Eventlet


def test_under_eventlet(path):
    code = """
        import eventlet
        eventlet.monkey_patch()
        import pathlib, sys, time
        from hooks.events.outbox import Outbox

        delivered, turns = [], []

        def deliver(event):
            # As a server that takes its time.
            time.sleep(0.02)
            if event["id"] == (0, 0) and len(turns) < 20:
                raise ConnectionError("refused")
            delivered.append(event["id"])

        def others():
            while True:
                turns.append(None)
                eventlet.sleep(0.01)

        outbox = Outbox(pathlib.Path(sys.argv[1]), deliver)
        eventlet.spawn(others)

        def puts(thread):
            for n in range(5):
                outbox.put({"id": (thread, n)})
                eventlet.sleep(0)

        for each in [eventlet.spawn(puts, thread) for thread in range(8)]:
            each.wait()
        outbox.stop(30)
        print(len(delivered), outbox.pending(), len(turns) > 20)
        for thread in range(8):
            assert [n for t, n in delivered if t == thread] == [0, 1, 2, 3, 4]
    """
    ran = run(code, path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["40", "0", "True"], ran.stderr


# The documented commands


def documented_commands():
    page = pathlib.Path(__file__).parents[2] / "doc" / "source" / "durable.rst"
    pattern = r'^    \$ sqlite3 events\.sqlite "([^"]*)"'
    return re.findall(pattern, page.read_text("utf-8"), re.M)


def test_the_documented_commands(new, path, receiver):
    count, refused, again = documented_commands()
    receiver.errors["a"] = Refused("never")
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

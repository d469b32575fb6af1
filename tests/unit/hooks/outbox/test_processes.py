# SPDX-License-Identifier: Apache-2.0
"""Tests of several processes with one outbox, and of eventlet."""

import contextlib
import os
import signal
import sqlite3
import threading

import pytest

from hooks.events.outbox import FILE
from tests.support.wait import wait_for

from .common import Receiver, event, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_one_outbox_delivers_and_a_second_takes_over_when_it_stops(new, path):
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


def test_a_child_process_delivers_after_its_parent_is_killed(path, tmp_path):
    # The parent forks with open connections and is then killed.
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
        ready, signal_parent = os.pipe()
        killed = os.getpid()
        child = os.fork()
        if child:
            # The parent delivers the child's event while both are alive.
            os.read(ready, 1)
            while outbox.pending():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        parent = False
        outbox.put({"id": "b"})
        os.write(signal_parent, b".")
        while os.getppid() == killed:
            time.sleep(0.01)
        outbox.put({"id": "c"})
        outbox.stop(20)
        os._exit(0)
    """
    delivered = tmp_path / "delivered"
    ran = run(code, path, delivered)
    assert (ran.returncode, ran.stderr) == (-9, "")
    # The child has the pipes too, so run() has waited for both processes.
    first = {}
    for line in delivered.read_text().splitlines():
        # An event that the parent was about to delete arrives again.
        first.setdefault(line[0], line)
    assert list(first.values()) == ["a by parent", "b by parent", "c by child"]


def test_processes_that_start_at_once_deliver_each_event_once(path, tmp_path):
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
    delivered = tmp_path / "delivered"
    ran = run(code, path, delivered)
    assert (ran.stdout, ran.stderr) == ("", "")
    ids = delivered.read_text().split()
    assert len(ids) == len(set(ids)) == 80
    for child in range(4):
        own = [id_ for id_ in ids if id_.startswith(f"{child}-")]
        assert own == [f"{child}-{n}" for n in range(20)]


def test_processes_that_write_all_the_time_do_not_starve_the_one_that_delivers(
    new, path, tmp_path
):
    code = """
        import itertools, os, pathlib, sys
        from hooks.events.outbox import Outbox

        writers, end = [], pathlib.Path(sys.argv[2])
        for writer in range(4):
            if not (pid := os.fork()):
                outbox = Outbox(pathlib.Path(sys.argv[1]), print)
                for n in itertools.count():
                    if end.exists():
                        os._exit(0)
                    outbox.put({"id": f"{writer}-{n}", "subject": f"{writer}-{n % 9}"})
            writers.append(pid)
        for pid in writers:
            os.waitpid(pid, 0)
    """
    outbox, end, ran = new(lambda sent: None), tmp_path / "end", []
    outbox.start()
    running = threading.Thread(target=lambda: ran.append(run(code, path, end)))
    running.start()

    def query(text):
        with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
            return connection.execute(text).fetchone()[0]

    try:
        written = "SELECT seq FROM sqlite_sequence WHERE name = 'queue_waiting'"
        wait_for(lambda: query(written) > 500, "the processes write", 50)
        last = query(written)
        left = f"SELECT count(*) FROM queue_waiting WHERE _id <= {last}"
        wait_for(lambda: query(left) == 0, "these are delivered and deleted", 50)
        assert not end.exists()
    finally:
        end.touch()
        running.join()
    assert (ran[0].returncode, ran[0].stdout) == (0, ""), ran[0].stderr


def test_an_outbox_works_under_eventlet(path):
    code = """
        import eventlet
        eventlet.monkey_patch()
        import pathlib, sys, time
        from hooks.events.outbox import Outbox

        delivered, turns = [], []

        def deliver(event):
            # A slow server.
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

        for caller in [eventlet.spawn(puts, thread) for thread in range(8)]:
            caller.wait()
        outbox.stop(30)
        print(len(delivered), outbox.pending(), len(turns) > 20)
        for thread in range(8):
            assert [n for t, n in delivered if t == thread] == [0, 1, 2, 3, 4]
    """
    ran = run(code, path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["40", "0", "True"], ran.stderr


def test_a_child_process_does_not_keep_the_lock_of_its_killed_parent(
    new, path, receiver
):
    # The child does not use the outbox, like a worker of multiprocessing.
    code = """
        import os, pathlib, signal, sys, time
        from hooks.events.outbox import Outbox

        outbox = Outbox(pathlib.Path(sys.argv[1]), print)
        outbox.put({"id": "a"})
        while outbox.pending():
            time.sleep(0.01)
        child = os.fork()
        if not child:
            os.close(1), os.close(2)
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ran = run(code, path)
    child = int(ran.stdout.split()[-1])
    try:
        new().put(event("b"))
        # An event that the parent was about to delete arrives again.
        wait_for(lambda: "b" in receiver.ids, "b is delivered", 60)
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_children_that_are_forked_during_writes_can_write(path, tmp_path):
    # A child that forks before its parent has the lock delivers events itself.
    code = """
        import os, pathlib, sys, threading
        from hooks.events.outbox import Outbox

        def deliver(event):
            file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, f"{event['id']}\\n".encode())
            os.close(file)

        outbox = Outbox(pathlib.Path(sys.argv[1]), deliver)
        done = threading.Event()

        def puts(thread):
            while not done.is_set():
                outbox.put({"id": "parent"})

        threads = [threading.Thread(target=puts, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for child in range(30):
            pid = os.fork()
            if not pid:
                # End the child if it waits for a lock that is never released.
                import signal
                signal.alarm(20)
                try:
                    outbox.put({"id": child})
                    os._exit(0)
                except BaseException as error:
                    print(child, repr(error), flush=True)
                    os._exit(1)
            _, status = os.waitpid(pid, 0)
            if status:
                print(child, status, flush=True)
                break
        done.set()
        for thread in threads:
            thread.join()
        outbox.stop(30)
        print(outbox.pending())
    """
    delivered = tmp_path / "delivered"
    ran = run(code, path, delivered)
    assert ran.stdout == "0\n", ran.stdout + ran.stderr
    children = {str(child) for child in range(30)}
    assert set(delivered.read_text().split()) == children | {"parent"}


FORK_DURING_A_WRITE = """
    import os, pathlib, sys, threading, time
    from hooks.events import store
    from hooks.events.outbox import Outbox

    store.FORK_TIMEOUT = float(sys.argv[2])
    outbox = Outbox(pathlib.Path(sys.argv[1]), lambda event: None)
    outbox.start()
    writing = threading.Event()

    def write(connection):
        connection.execute("BEGIN IMMEDIATE")
        writing.set()
        time.sleep(1)
        connection.execute("COMMIT")

    threading.Thread(target=outbox.events._use, args=(write, 0)).start()
    writing.wait()
    pid = os.fork()
    if not pid:
        try:
            outbox.put({"id": "child"})
            print("stored", flush=True)
        except OSError as error:
            print(error, outbox.pending(), threading.active_count(), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    outbox.put({"id": "parent"})
    outbox.stop(20)
    print(outbox.delivered, outbox.pending())
"""


def test_a_fork_waits_for_a_write(path):
    ran = run(FORK_DURING_A_WRITE, path, 30)
    assert ran.stdout == "stored\n2 0\n", ran.stderr


def test_a_child_that_was_forked_during_a_long_write_gets_an_error(path):
    ran = run(FORK_DURING_A_WRITE, path, 0.1)
    child, parent = ran.stdout.splitlines()
    assert "events.sqlite: cannot be used in this process" in child, ran.stderr
    # It neither counts the events nor starts to deliver them: it could not read them.
    assert child.endswith(" None 1")
    assert parent == "1 0"

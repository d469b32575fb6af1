# SPDX-License-Identifier: Apache-2.0
"""Tests of several processes with one outbox, and of eventlet."""

import pytest

from .common import Receiver, event, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


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
    expected = ["a by parent", "b by parent", "c by child"]
    assert delivered.read_text().splitlines() == expected


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

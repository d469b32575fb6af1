# SPDX-License-Identifier: Apache-2.0
"""Several processes on one outbox, and eventlet."""

import pytest

from .common import Receiver, event, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


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

# SPDX-License-Identifier: Apache-2.0
"""The dispatch at the exit of a process, after a fork and with eventlet."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Detects a queue that is never drained.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


ROOT = Path(__file__).parents[3]

SCRIPT = """
import os, sys, threading, time
import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder

def say(*words):
    print(*words, flush=True)

def woven(size=1000, timeout=1.0, drain=10.0, **options):
    hook = Recorder("hook", enabled=["post"], **options)
    hook.dispatcher = aspects.Background("hook of alpha", size, timeout, drain)
    return aspects.weave(Driver(), [hook], "alpha")

"""
EVENTLET = "import eventlet; eventlet.monkey_patch()\n"


@pytest.fixture(params=["", EVENTLET], ids=["threads", "eventlet"])
def run(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Return a function that runs a script and returns the lines that it printed."""

    def run_(script: str, timeout: float = 30) -> list[str]:
        text = request.param + SCRIPT + textwrap.dedent(script)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", text],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line for line in (done.stdout + done.stderr).splitlines() if line]

    return run_


def test_each_process_drains_its_queue_at_exit(run: Any) -> None:
    printed = run(
        """
        def slowly(seen):
            time.sleep(0.01)
            say(name, "did", seen.args[0])

        driver = woven(post=slowly)
        child = os.fork()
        name = "parent" if child else "child"
        if child:
            os.waitpid(child, 0)
        for number in range(10):
            driver.create_share(None, number)
        """
    )
    assert printed == [
        f"{name} did {number}" for name in ("child", "parent") for number in range(10)
    ]


def test_the_interpreter_waits_for_the_drain_time_only(run: Any) -> None:
    printed = run(
        """
        driver = woven(drain=0.2, post=lambda seen: time.sleep(1000))
        driver.create_share(None, 1)
        """
    )
    assert "Abandoned a method of hook hook of alpha" in printed[-1]


def test_after_a_fork_each_process_runs_its_own_methods(run: Any) -> None:
    printed = run(
        """
        open_ = threading.Event()

        def note(seen):
            open_.wait(10)
            say(name, "did", seen.args[0])

        name = "parent"
        driver = woven(post=note)
        driver.create_share(None, 1)
        driver.create_share(None, 2)
        child = os.fork()
        if not child:
            name = "child"
            open_.set()
            for number in (3, 4):
                driver.create_share(None, number)
            aspects.weaving(driver).stop()
            # The processes of a service exit like this.
            os._exit(0)
        os.waitpid(child, 0)
        open_.set()
        driver.create_share(None, 5)
        """
    )
    assert printed == [
        "child did 3",
        "child did 4",
        "parent did 1",
        "parent did 2",
        "parent did 5",
    ]


def test_eventlet_and_threads_give_the_same_results(run: Any) -> None:
    printed = run(
        """
        go = threading.Event()
        here = threading.get_ident()
        done = []

        def note(seen):
            go.wait(10)
            done.append((seen.args[0], threading.get_ident() != here))

        driver = woven(2, 0.2, post=note)
        for number in range(2):
            driver.create_share(None, number)
        began = time.monotonic()
        driver.create_share(None, "too many")
        say("waited", time.monotonic() - began >= 0.2, done)
        (hook,) = aspects.weaving(driver).hooks
        say("dropped", hook.dispatcher.dropped)
        go.set()
        aspects.weaving(driver).stop()
        say("stopped", done)

        driver = woven(3, 30, post=note)
        done.clear()

        def calls(name):
            for number in range(20):
                driver.create_share(None, (name, number))

        threads = [threading.Thread(target=calls, args=(name,)) for name in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        aspects.weaving(driver).stop()
        say(len(done), [
            [n for (thread, n), _ in done if thread == name] == list(range(20))
            for name in range(5)
        ])
        """
    )
    assert [line for line in printed if not line.startswith("Dropped")] == [
        "waited True []",
        "dropped 1",
        "stopped [(0, True), (1, True)]",
        f"100 {[True] * 5}",
    ]


@pytest.mark.parametrize("run", [EVENTLET], ids=["eventlet"], indirect=True)
def test_with_eventlet_methods_run_in_a_green_thread(run: Any) -> None:
    printed = run(
        """
        native = eventlet.patcher.original("threading")
        there = []
        driver = woven(post=lambda seen: there.append(native.get_ident()))
        driver.create_share(None, 1)
        aspects.weaving(driver).stop()
        say(there == [native.get_ident()])
        """
    )
    assert printed == ["True"]

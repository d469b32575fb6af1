# SPDX-License-Identifier: Apache-2.0
"""A child process works although another thread held a lock at the fork."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]

SCRIPT = """
import logging, os, signal, sys, threading
{eventlet}
# Python's own lock of standard error is not released in a child, so nothing is logged.
logging.disable(logging.CRITICAL)
import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder

class Hook(Recorder):
    def start(self):
        self.note("start")

    def stop(self):
        self.note("stop")

hook = Hook("hook", enabled=["pre", "post", "periodic"], suppress=["pre"])
hook._answers["pre"] = ValueError
hook.hook_failure_limit = 2
hook.hook_failure_pause = 3600
hook.may_veto = False
hook.dispatcher = aspects.Background("hook of alpha")
driver = aspects.weave(Driver(), [hook], "alpha")
weaving = aspects.weaving(driver)

def use():
    seen = len(hook.trace)
    weaving.start()
    assert len(hook.trace) > seen, "the hook was not started"
    for _ in range(3):
        driver.create_share(None, "share")
        aspects.tick(driver, None, [])
    hook.post_hooks_enabled = not hook.post_hooks_enabled
    weaving.stop()

def child_uses():
    child = os.fork()
    if not child:
        # Ends a child that hangs.
        signal.alarm(20)
        use()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def run(script: str, eventlet: str = "") -> None:
    """Run a script, and check that it ends with status 0."""
    text = SCRIPT.format(eventlet=eventlet) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "lock",
    [
        "aspects.core.lease.changed",
        "aspects.core.breaker.Breaker._lock",
        "aspects.core.dispatch.Background._starting",
        "aspects.periodic._counting",
    ],
)
def test_a_child_works_after_a_fork_while_a_thread_held_a_lock(lock: str) -> None:
    run(
        f"""
        import time
        import aspects.periodic

        held = threading.Event()

        def hold():
            with {lock}:
                held.set()
                time.sleep(0.3)

        threading.Thread(target=hold).start()
        assert held.wait(10)
        sys.exit(child_uses())
        """
    )


@pytest.mark.parametrize(
    "eventlet",
    ["", "import eventlet; eventlet.monkey_patch()"],
    ids=["threads", "eventlet"],
)
def test_a_child_works_after_a_fork_in_the_middle_of_calls(eventlet: str) -> None:
    run(
        """
        import time

        done = []

        def calls():
            while not done:
                driver.create_share(None, "share")
                hook.periodic_hooks_enabled = not hook.periodic_hooks_enabled
                time.sleep(0)

        weaving.start()
        threads = [threading.Thread(target=calls) for _ in range(2)]
        for thread in threads:
            thread.start()
        status = 0
        for _ in range(20):
            status = status or child_uses()
        done.append(True)
        for thread in threads:
            thread.join()
        weaving.stop()
        sys.exit(status)
        """,
        eventlet,
    )


def test_a_child_does_not_wait_for_calls_of_its_parent() -> None:
    run(
        """
        # Beyond the time after which the alarm ends the child.
        sys.modules["aspects.weaving"].DRAIN_TIMEOUT = 60
        inside, released = threading.Event(), threading.Event()

        def wait(*args, **kwargs):
            if threading.current_thread() is caller:
                inside.set()
                released.wait(60)

        driver = aspects.weave(Driver(wait), [hook], "alpha")
        weaving = aspects.weaving(driver)
        caller = threading.Thread(target=driver.create_share, args=(None, "share"))
        caller.start()
        assert inside.wait(10)
        status = child_uses()
        released.set()
        caller.join()
        sys.exit(status)
        """
    )


def test_a_child_works_after_a_fork_while_a_hook_starts() -> None:
    run(
        """
        class Slow(Hook):
            def start(self):
                super().start()
                if os.getpid() == parent:
                    inside.set()
                    released.wait(60)

        parent = os.getpid()
        inside, released = threading.Event(), threading.Event()
        hook = Slow("slow", enabled=["pre", "post"])
        driver = aspects.weave(Driver(), [hook], "alpha")
        weaving = aspects.weaving(driver)
        starting = threading.Thread(target=weaving.start)
        starting.start()
        assert inside.wait(10)
        status = child_uses()
        released.set()
        starting.join()
        sys.exit(status)
        """
    )


def test_a_child_has_started_only_its_own_weavings() -> None:
    run(
        """
        weaving.start()
        child = os.fork()
        if not child:
            before = aspects.started_weavings()
            weaving.start()
            os._exit((before, aspects.started_weavings()) != ((), (weaving,)))
        assert os.waitpid(child, 0)[1] == 0
        assert aspects.started_weavings() == (weaving,)
        """
    )

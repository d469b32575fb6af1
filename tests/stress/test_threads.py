# SPDX-License-Identifier: Apache-2.0
"""Every call has the endings that the rules give for the chain it began with."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import pytest

from tests.stress.world import World

THREADS = 8
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quiet() -> object:
    """Keep a million lines of log out of the memory."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def shares_of(calls: int) -> list[range]:
    """Divide the numbers of the calls among the threads."""
    return [range(first, calls, THREADS) for first in range(THREADS)]


def test_threads(calls: int, tmp_path: Path) -> None:
    world = World(tmp_path)
    stop = threading.Event()
    unrest = threading.Thread(
        target=world.unrest, args=(stop, lambda: time.sleep(0.001))
    )
    before = sys.getswitchinterval()
    # As often as can be, so that threads meet in the middle of things.
    sys.setswitchinterval(1e-5)
    unrest.start()
    try:
        with futures.ThreadPoolExecutor(THREADS) as pool:
            made = [
                pool.submit(world.make, iter(numbers), lambda: time.sleep(0))
                for numbers in shares_of(calls)
            ]
            for each in made:
                each.result()
    finally:
        stop.set()
        unrest.join()
        sys.setswitchinterval(before)
    assert world.reloads > 1
    assert world.switched > 10


GREEN = """
import eventlet
eventlet.monkey_patch()
import logging, pathlib, sys, threading
from tests.stress.test_threads import shares_of
from tests.stress.world import World
logging.disable(logging.CRITICAL)
world = World(pathlib.Path(sys.argv[1]))
stop = threading.Event()
pause = lambda: eventlet.sleep(0)
unrest = eventlet.spawn(world.unrest, stop, pause)
made = [
    eventlet.spawn(world.make, iter(numbers), pause)
    for numbers in shares_of(int(sys.argv[2]))
]
for each in made:
    each.wait()
stop.set()
unrest.wait()
assert world.reloads > 1 and world.switched > 10
"""


def test_green_threads(calls: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREEN, str(tmp_path), str(calls)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

# SPDX-License-Identifier: Apache-2.0
"""Each call runs the completions that the model predicts for its chain."""

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
    """Disable logging: pytest would keep a million lines in memory."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def batches_of(calls: int) -> list[range]:
    """Divide the numbers of the calls among the threads."""
    return [range(first, calls, THREADS) for first in range(THREADS)]


def test_calls_match_the_model_with_threads(calls: int, tmp_path: Path) -> None:
    world = World(tmp_path)
    stop = threading.Event()
    churn = threading.Thread(target=world.churn, args=(stop, lambda: time.sleep(0.001)))
    before = sys.getswitchinterval()
    # Switch threads as often as possible, so that they interleave within a call.
    sys.setswitchinterval(1e-5)
    churn.start()
    try:
        with futures.ThreadPoolExecutor(THREADS) as pool:
            jobs = [
                pool.submit(world.make_calls, iter(numbers), lambda: time.sleep(0))
                for numbers in batches_of(calls)
            ]
            for job in jobs:
                job.result()
    finally:
        stop.set()
        churn.join()
        sys.setswitchinterval(before)
    assert world.reloads > 1
    assert world.switched > 10


GREEN = """
import eventlet
eventlet.monkey_patch()
import logging, pathlib, sys, threading
from tests.stress.test_threads import batches_of
from tests.stress.world import World
logging.disable(logging.CRITICAL)
world = World(pathlib.Path(sys.argv[1]))
stop = threading.Event()
pause = lambda: eventlet.sleep(0)
churn = eventlet.spawn(world.churn, stop, pause)
jobs = [
    eventlet.spawn(world.make_calls, iter(numbers), pause)
    for numbers in batches_of(int(sys.argv[2]))
]
for job in jobs:
    job.wait()
stop.set()
churn.wait()
assert world.reloads > 1 and world.switched > 10
"""


def test_calls_match_the_model_with_green_threads(calls: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREEN, str(tmp_path), str(calls)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

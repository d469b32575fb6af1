# SPDX-License-Identifier: Apache-2.0
"""Worker process that a test kills while it delivers events durably.

``python durable_worker.py <manila.conf> <directory>`` makes calls in several threads.
Each thread logs the calls that have returned in a file of its own. After a restart, it
continues after the last call in its file.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from oslo_config import cfg
from oslo_context import context as oslo_context

import aspects

THREADS, SHARES, CALLS = 8, 64, 10_000

#: Maximum time, in seconds, to wait until all events are delivered.
DRAIN = 300

#: Duration of a driver call, in seconds.
WORK = 0.02


class ReturnedCall(NamedTuple):
    """A call that has returned to its caller."""

    share: str
    sequence: int
    #: Seconds that the call spent outside the driver.
    seconds: float
    #: Seconds that the driver's sleep was late, which measures the load of the machine.
    late: float


class Driver:
    def __init__(self) -> None:
        self.spent = threading.local()

    def create_snapshot(self, context: Any, snapshot: dict[str, str]) -> None:
        began = time.perf_counter()
        time.sleep(WORK)
        self.spent.seconds = time.perf_counter() - began


def returned_calls(directory: Path) -> list[list[ReturnedCall]]:
    """Return the calls that each thread has logged, in order.

    :param directory: the directory of the worker
    """
    threads = []
    for thread in range(THREADS):
        file = directory / f"thread-{thread}"
        # A killed worker may leave an incomplete last line.
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        fields = [line.split() for line in lines]
        threads.append(
            [ReturnedCall(a, int(b), float(c), float(d)) for a, b, c, d in fields]
        )
    return threads


def work(driver: Any, spent: Any, thread: int, done: int, file: int) -> None:
    """Make the calls of one thread, which has its own shares.

    :param driver: the woven driver
    :param spent: thread-local duration of the last driver call, in seconds
    :param thread: number of the thread
    :param done: number of calls that the thread has made before
    :param file: descriptor of the file to log the calls in
    """
    context = oslo_context.RequestContext(overwrite=False)
    for number in range(thread + done * THREADS, CALLS, THREADS):
        share, sequence = f"share-{number % SHARES}", number // SHARES
        snapshot = {"id": f"{share}.{sequence}", "share_id": share}
        began = time.perf_counter()
        driver.create_snapshot(context, snapshot)
        seconds = time.perf_counter() - began - spent.seconds
        late = spent.seconds - WORK
        os.write(file, f"{share} {sequence} {seconds:.6f} {late:.6f}\n".encode())


def probe(file: int) -> None:
    """Write and sync a file periodically, and log the duration of each sync in it.

    :param file: descriptor of the file
    """
    seconds = 0.0
    while True:
        began = time.perf_counter()
        os.write(file, f"{seconds:.6f}\n".encode())
        os.fsync(file)
        seconds = time.perf_counter() - began
        time.sleep(0.1)


def main(config_file: str, directory: Path) -> None:
    conf = cfg.ConfigOpts()
    conf(["--config-file", config_file], project="manila", default_config_dirs=[])
    driver = Driver()
    section = aspects.BackendSection(conf, "alpha")
    woven = aspects.weave_from_config(driver, section, "node1@alpha")
    weaving = aspects.weaving(woven)
    weaving.start()
    threads = []
    for thread, returned in enumerate(returned_calls(directory)):
        path = directory / f"thread-{thread}"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.truncate(file, path.read_bytes().rfind(b"\n") + 1)
        args = (woven, driver.spent, thread, len(returned), file)
        threads.append(threading.Thread(target=work, args=args))
    file = os.open(directory / "syncs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    threading.Thread(target=probe, args=(file,), daemon=True).start()
    for running in threads:
        running.start()
    for running in threads:
        running.join()
    # A stop leaves events on disk while the receiver is down.
    (hook,) = weaving.hooks
    deadline = time.monotonic() + DRAIN
    while hook.counts()["pending"] and time.monotonic() < deadline:
        time.sleep(0.1)
    weaving.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

# SPDX-License-Identifier: Apache-2.0
"""The process that is killed while it delivers durably.

``python durable_worker.py <manila.conf> <directory>`` makes join points in several
threads, and tells in a file of each thread which of them have returned. Started again,
it goes on where its files end.
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

THREADS, SHARES, JOIN_POINTS = 8, 64, 10_000

#: Seconds that the driver takes for a call.
WORK = 0.02


class Returned(NamedTuple):
    """A join point that has returned to its caller."""

    share: str
    sequence: int
    #: Seconds of it that were not the driver's.
    seconds: float
    #: Seconds that the driver's own sleep was late: what the machine alone does.
    late: float


class Driver:
    def __init__(self) -> None:
        self.spent = threading.local()

    def create_snapshot(self, context: Any, snapshot: dict[str, str]) -> None:
        began = time.perf_counter()
        time.sleep(WORK)
        self.spent.seconds = time.perf_counter() - began


def returned_in(directory: Path) -> list[list[Returned]]:
    """Return the join points that each thread has told of, in order.

    :param directory: the directory of the worker
    """
    threads = []
    for thread in range(THREADS):
        file = directory / f"thread-{thread}"
        # The last line of one that was killed may have no end.
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        fields = [line.split() for line in lines]
        threads.append(
            [Returned(a, int(b), float(c), float(d)) for a, b, c, d in fields]
        )
    return threads


def work(driver: Any, spent: Any, thread: int, done: int, file: int) -> None:
    """Make the join points of one thread, which has its own shares.

    :param driver: the woven driver
    :param spent: has the seconds that the driver took
    :param thread: the thread's number
    :param done: how many it has made before
    :param file: where to tell of them
    """
    context = oslo_context.RequestContext(overwrite=False)
    for number in range(thread + done * THREADS, JOIN_POINTS, THREADS):
        share, sequence = f"share-{number % SHARES}", number // SHARES
        snapshot = {"id": f"{share}.{sequence}", "share_id": share}
        began = time.perf_counter()
        driver.create_snapshot(context, snapshot)
        seconds = time.perf_counter() - began - spent.seconds
        late = spent.seconds - WORK
        os.write(file, f"{share} {sequence} {seconds:.6f} {late:.6f}\n".encode())


def probe(file: int) -> None:
    """Write and sync a file now and then, and tell in it how long each took.

    :param file: the file
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
    about = aspects.weaving(woven)
    about.start()
    threads = []
    for thread, returned in enumerate(returned_in(directory)):
        path = directory / f"thread-{thread}"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.truncate(file, path.read_bytes().rfind(b"\n") + 1)
        args = (woven, driver.spent, thread, len(returned), file)
        threads.append(threading.Thread(target=work, args=args))
    file = os.open(directory / "syncs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    threading.Thread(target=probe, args=(file,), daemon=True).start()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    # Waits for hook_drain_timeout.
    about.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

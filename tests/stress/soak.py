# SPDX-License-Identifier: Apache-2.0
"""Process of the soak test: a woven driver, and calls in several threads.

``python -m tests.stress.soak <manila.conf> <directory> <calls>`` writes files to the
directory: ``calls`` has a line for each call that has returned, ``stored-<hook>`` a
line for each event that an outbox has confirmed, and ``end`` the metrics, and what
remains when all hooks have stopped. The file ``pace`` has two numbers: before each
call, a thread waits until the number of the call is less than the first one, and each
outbox has at most as many pending events as the second one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_context import context as oslo_context
from oslo_log import log

import aspects
from tests.support.drivers import AccessDriver
from tests.support.wait import wait_for

THREADS, SHARES = 8, 64

#: Size of shares, in GiB, and the size that the guard forbids.
SIZE, FORBIDDEN_SIZE = 1, 500

#: Seconds to wait for the receivers to accept all events, and for threads to end.
DRAIN_TIMEOUT, END_TIMEOUT = 600, 30


def method_of(number: int) -> str:
    """Return the driver method of a call.

    :param number: the number of the call
    """
    # Seven and SHARES have no common factor, so each share has calls of each method.
    methods = {0: "extend_share", 1: "update_access", 2: "create_share"}
    return methods.get(number % 7, "create_snapshot")


def outcome_of(number: int) -> str:
    """Return how a call ends if no receiver and no disk fails.

    :param number: the number of the call
    """
    method = method_of(number)
    if method == "extend_share" and number % 5 == 0:
        return "veto"
    if method == "create_share" and number % 3 == 0:
        return "failure"
    return "success"


class Driver(AccessDriver):
    """Fails in some calls, and measures its own time."""

    # Manila takes it for the success of all rules.
    result = None

    def __init__(self) -> None:
        self.spent = threading.local()

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        if share["fails"]:
            raise LookupError("no such pool")

    def create_snapshot(
        self, context: Any, snapshot: Any, share_server: Any = None
    ) -> None:
        """Create a snapshot."""

    def extend_share(self, share: Any, new_size: int, share_server: Any = None) -> None:
        """Extend a share."""


def call(driver: Any, number: int) -> None:
    """Make one call.

    :param driver: the woven driver
    :param number: the number of the call, which its request ID contains
    """
    # Current in this thread, because extend_share has no context.
    context = oslo_context.RequestContext(
        request_id=f"req-{number}", project_id="p", user_id="u", overwrite=True
    )
    name, outcome = f"share-{number % SHARES}", outcome_of(number)
    share = {"id": f"{name}.i", "share_id": name, "size": SIZE}
    method = method_of(number)
    if method == "create_share":
        driver.create_share(context, {**share, "fails": outcome == "failure"})
    elif method == "extend_share":
        driver.extend_share(share, FORBIDDEN_SIZE if outcome == "veto" else SIZE + 1)
    elif method == "update_access":
        rule = {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}
        driver.update_access(context, share, [rule], [rule], [])
    else:
        driver.create_snapshot(context, {"id": f"snapshot-{number}", "share_id": name})


def work(driver: Any, numbers: range, pause: Callable[[int], None], file: int) -> None:
    """Make the calls of one thread, which has its own shares.

    :param driver: the woven driver
    :param numbers: the numbers of the calls
    :param pause: waits before a call, whose number it receives
    :param file: descriptor of the file to record the calls in
    """
    for number in numbers:
        pause(number)
        outcome, error = "success", ""
        began = time.monotonic()
        try:
            call(driver, number)
        except aspects.Veto:
            outcome = "veto"
        except LookupError:
            outcome = "failure"
        except Exception as caught:
            outcome, error = "error", f"{type(caught).__name__}: {caught}"
        seconds = time.monotonic() - began
        line = json.dumps([number, outcome, began, seconds, error])
        os.write(file, f"{line}\n".encode())


def record_stored(outbox: Any, path: Path) -> None:
    """Record each event that an outbox has confirmed.

    :param outbox: the outbox of a hook
    :param path: the file for the ID of each event, and the time at which its write
        began
    """
    file, put = open_to_append(path), outbox.put

    def put_and_record(event: dict[str, Any]) -> None:
        began = time.monotonic()
        put(event)
        os.write(file, f"{event['id']} {began}\n".encode())

    outbox.put = put_and_record


def open_to_append(path: Path) -> int:
    """Open a file, and return its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def open_files() -> dict[str, str]:
    """Return what each file descriptor of this process refers to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    # The list itself needs one.
    return {n: path for n, path in found.items() if not path.endswith("/fd")}


def children() -> Iterator[str]:
    """Yield the processes that this process has started and not reaped."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            yield from (task / "children").read_text().split()


def main(config_file: str, directory: Path, calls: int) -> None:
    """Make the calls, and report what remains.

    :param config_file: the configuration
    :param directory: the directory for the results
    :param calls: the number of calls
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf(["--config-file", config_file], project="manila", default_config_dirs=[])
    log.setup(conf, "manila")
    record = open_to_append(directory / "calls")
    threads, files = set(threading.enumerate()), open_files()
    section = aspects.BackendSection(conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    weaving = aspects.weaving(woven)
    weaving.start()
    outboxes = {}
    for hook in weaving.hooks:
        if outbox := getattr(hook, "outbox", None):
            outboxes[hook.instance_name] = outbox
            record_stored(outbox, directory / f"stored-{hook.instance_name}")
    files.update((n, path) for n, path in open_files().items() if "/stored-" in path)

    def pause(number: int) -> None:
        while True:
            limit, pending = map(int, (directory / "pace").read_text().split())
            counts = [outbox.pending() or 0 for outbox in outboxes.values()]
            if number < limit and max(counts) <= pending:
                return
            time.sleep(0.02)

    running = [
        threading.Thread(
            target=work, args=(woven, range(first, calls, THREADS), pause, record)
        )
        for first in range(THREADS)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    wait_for(
        lambda: all(outbox.pending() == 0 for outbox in outboxes.values()),
        "the receivers have all events",
        DRAIN_TIMEOUT,
    )
    url = f"http://127.0.0.1:{conf['alpha:metrics'].metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=END_TIMEOUT) as response:
        metrics = response.read().decode()
    began = time.monotonic()
    weaving.stop()
    stopped = time.monotonic() - began

    def left() -> list[str]:
        # oslo.messaging leaves a closed connection to the garbage collector.
        gc.collect()
        opened = open_files()
        return [
            *(f"thread {one.name}" for one in set(threading.enumerate()) - threads),
            *(f"file {path}" for n, path in opened.items() if files.get(n) != path),
            *(f"process {pid}" for pid in children()),
        ]

    with contextlib.suppress(AssertionError):
        wait_for(lambda: not left(), "nothing remains", END_TIMEOUT)
    end = {"metrics": metrics, "left": left(), "seconds to stop": stopped}
    (directory / "end").write_text(json.dumps(end))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

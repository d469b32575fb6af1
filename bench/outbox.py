# SPDX-License-Identifier: Apache-2.0
"""Measure durable delivery: ``python -m bench.outbox``.

It prints how many events a second arrive at a receiver that takes 50 ms, and how long a
caller waits for the outbox beside a plain commit of SQLite.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

import aspects
from hooks.events.outbox import Outbox
from hooks.webhook import WebhookHook

#: Seconds that the receiver takes for an event.
LATENCY = 0.05

#: The number of shares that the events are about.
SHARES = 200

#: The receiver, which is a process of its own.
RECEIVER = f"""
import http.server, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep({LATENCY})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def event(number: int) -> dict[str, Any]:
    """Return an event of the usual size.

    :param number: its number, which decides about its share
    """
    share = str(uuid.UUID(int=number % SHARES))
    data = {
        "time": "2026-07-04T12:00:00.000000+00:00",
        "request_id": f"req-{uuid.UUID(int=number)}",
        "project_id": "5f1c2a0b" * 4,
        "user_id": "77aa03de" * 4,
        "backend": "alpha",
        "host": "node1@alpha",
        "operation": "create_snapshot",
        "method": "create_snapshot",
        "share_id": share,
        "snapshot_id": str(uuid.UUID(int=number)),
        "outcome": "success",
        "duration": 0.012345,
    }
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/manila/node1%40alpha",
        "type": "org.openstack.manila.share.create_snapshot.end",
        "time": data["time"],
        "datacontenttype": "application/json",
        "subject": share,
        "data": data,
    }


# -- deliveries ------------------------------------------------------------------------


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """Run the receiver, and return its URL."""
    command = [sys.executable, "-c", RECEIVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
        finally:
            process.kill()


def deliveries(url: str, directory: Path, workers: int, count: int) -> float:
    """Return the number of events a second that a webhook delivers from its outbox.

    :param url: the receiver
    :param directory: for the outbox
    :param workers: ``hook_delivery_workers``
    :param count: the number of events
    """
    file = directory / f"{workers}.conf"
    file.write_text(
        f"[alpha]\nhook_drivers = webhook\nwebhook_url = {url}\n"
        f"hook_dispatch = durable\nhook_outbox_path = {directory}/{workers}\n"
        f"hook_delivery_workers = {workers}\n"
    )
    conf = cfg.ConfigOpts()
    conf(args=[], default_config_files=[str(file)])
    hook = WebhookHook(aspects.BackendSection(conf, "alpha"), "node1@alpha")
    outbox: Outbox = hook.outbox
    for number in range(count):
        outbox.put(event(number))
    # Only the deliveries are measured, not the calls.
    began, before = time.monotonic(), outbox.delivered
    while outbox.delivered < count:
        time.sleep(0.001)
    seconds = time.monotonic() - began
    hook.stop()
    return (count - before) / seconds


# -- callers ---------------------------------------------------------------------------


def plain_commit(file: Path) -> Callable[[dict[str, Any]], None]:
    """Return a function that writes an event by a plain commit of SQLite.

    Each thread has its own connection.

    :param file: the database file
    """
    local = threading.local()

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(file, timeout=60, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    with contextlib.closing(connect()) as connection:
        connection.execute(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, data BLOB, timestamp FLOAT)"
        )

    def write(event: dict[str, Any]) -> None:
        if not hasattr(local, "connection"):
            local.connection = connect()
        local.connection.execute(
            "INSERT INTO events (data, timestamp) VALUES (?, ?)",
            (json.dumps(event).encode(), time.time()),
        )

    return write


def times(
    write: Callable[[dict[str, Any]], None], threads: int, count: int
) -> list[float]:
    """Return the seconds that each call of a function takes.

    :param write: the function
    :param threads: the number of threads that call it at once
    :param count: the number of calls of each thread
    """
    taken: list[float] = []

    def call(thread: int) -> None:
        for number in range(count):
            sent = event(thread * count + number)
            began = time.perf_counter()
            write(sent)
            taken.append(time.perf_counter() - began)

    running = [threading.Thread(target=call, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return taken


def callers(directory: Path, threads: int, count: int, rounds: int) -> list[float]:
    """Return the mean seconds of a plain commit and of the outbox, side by side.

    :param directory: for the files
    :param threads: the number of threads
    :param count: the number of events of each thread in each round
    :param rounds: the number of rounds, in which the two take turns
    """
    plain = plain_commit(directory / f"plain{threads}.sqlite")
    # The receiver is slow, so events are delivered all the time.
    outbox = Outbox(directory / f"outbox{threads}", lambda event: time.sleep(LATENCY))
    outbox.start()
    means: list[list[float]] = [[], []]
    for _ in range(rounds):
        for found, write in zip(means, (plain, outbox.put), strict=True):
            found.append(statistics.mean(times(write, threads, count)))
    outbox.stop(0)
    return [statistics.median(found) for found in means]


def show(line: str) -> None:
    """Print a line of the results."""
    print(line, flush=True)  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    :param arguments: its arguments; those of the process by default
    """
    parser = argparse.ArgumentParser(prog="python -m bench.outbox")
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    # A file system in memory would not wait for a disk.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, receiver() as url:
        directory = Path(name)
        show(f"receiver of {LATENCY * 1000:g} ms: events a second")
        for workers in (1, 16, 32):
            count = options.events // (16 if workers == 1 else 1)
            rate = deliveries(url, directory, workers, count)
            show(f"  {workers:2} workers  {rate:7.0f}")
        show("time of a caller, mean: plain commit, outbox, ratio")
        for threads in (1, 32):
            count = max(options.events // 10 // threads, 1)
            plain, put = callers(directory, threads, count, options.rounds)
            show(
                f"  {threads:2} threads  {plain * 1000:7.2f} ms  {put * 1000:7.2f} ms"
                f"  {put / plain:5.2f}"
            )


if __name__ == "__main__":
    main()

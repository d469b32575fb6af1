# SPDX-License-Identifier: Apache-2.0
"""Measure durable delivery: ``python -m bench.outbox``.

It prints how many events a second arrive at a receiver that takes 50 ms for a request,
how long a caller waits for the outbox beside a plain commit of SQLite, how long a start
takes when events wait, and how many events are delivered while processes write.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

from oslo_config import cfg

import aspects
from hooks.events.deliverer import Settings
from hooks.events.event import key_of
from hooks.events.outbox import Outbox
from hooks.webhook import WebhookHook

#: Seconds that the receiver takes for a request.
LATENCY = 0.05

#: The number of shares that the events are about.
SHARES = 1000

#: The measurements of deliveries: ``hook_delivery_workers``, ``webhook_batch_size`` and
#: the number of events, as a factor of ``--events``.
DELIVERIES = ((1, 1, 0.02), (20, 1, 0.5), (20, 100, 5.0))

#: The share whose events always fail, and the number of its events.
FAILING, FAILURES = "share-that-fails", 100

#: The number of events that are written at once to fill a file.
FILL_SIZE = 10_000

#: The number of processes that write to one outbox.
WRITERS = 4

#: The receiver, which is a process of its own.
RECEIVER = f"""
import http.server, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep({LATENCY})
        self.send_response(500 if b"{FAILING}" in body else 204)
        self.send_header("Content-Length", "0")
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


def deliveries(
    url: str,
    directory: Path,
    workers: int,
    size: int,
    count: int,
    failures: int = 0,
) -> float:
    """Return the number of events a second that a webhook delivers from its outbox.

    All events wait when it starts.

    :param url: the receiver
    :param directory: for the outbox
    :param workers: ``hook_delivery_workers``
    :param size: ``webhook_batch_size``
    :param count: the number of events that are delivered
    :param failures: the number of events of a share that always fails, before those
    """
    name = f"{workers}-{size}-{failures}"
    file = directory / f"{name}.conf"
    file.write_text(
        f"[alpha]\nhook_drivers = webhook\nwebhook_url = {url}\n"
        f"hook_dispatch = durable\nhook_outbox_path = {directory / name}\n"
        f"hook_delivery_workers = {workers}\nwebhook_batch_size = {size}\n"
    )
    conf = cfg.ConfigOpts()
    conf(args=[], default_config_files=[str(file)])
    hook = WebhookHook(aspects.BackendSection(conf, "alpha"), "node1@alpha")
    outbox: Outbox = hook.outbox
    failing = [{**event(number), "subject": FAILING} for number in range(failures)]
    events = [*failing, *(event(number) for number in range(count))]
    outbox.events.append([json.dumps([key_of(sent), sent]) for sent in events])
    began = time.monotonic()
    hook.start()
    while outbox.delivered < count:
        time.sleep(0.01)
    seconds = time.monotonic() - began
    hook.stop()
    return count / seconds


# -- starts and processes ------------------------------------------------------------


def starts(directory: Path, count: int) -> tuple[float, float]:
    """Return the seconds that a start takes, and those until the first delivery.

    :param directory: for the outbox
    :param count: the number of events that wait
    """
    delivered = threading.Event()
    outbox = Outbox(directory / "waiting", lambda sent: delivered.set())
    for first in range(0, count, FILL_SIZE):
        events = [event(number) for number in range(first, first + FILL_SIZE)]
        outbox.events.append([json.dumps([key_of(sent), sent]) for sent in events])
    outbox.events.close()
    began = time.monotonic()
    outbox.start()
    started = time.monotonic()
    delivered.wait()
    seconds = started - began, time.monotonic() - began
    outbox.stop(0)
    return seconds


def write(directory: Path, size: int, seconds: float) -> tuple[int, int]:
    """Write events as fast as possible, and return the written and delivered ones.

    :param directory: of the outbox
    :param size: the number of events in a batch
    :param seconds: how long to write
    """
    settings = Settings(batch_size=size)
    outbox = Outbox(directory, lambda *sent: None, lambda: settings)
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        outbox.put(event(number))
        number += 1
    return number, outbox.delivered


def writers(directory: Path, size: int, seconds: float) -> tuple[int, int]:
    """Return how many events processes write, and how many are delivered meanwhile.

    :param directory: for the outbox
    :param size: the number of events in a batch
    :param seconds: how long to write
    """
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(WRITERS, mp_context=context) as pool:
        path = directory / f"writers{size}"
        running = [pool.submit(write, path, size, seconds) for _ in range(WRITERS)]
        counts = [one.result() for one in running]
    return sum(written for written, _ in counts), sum(sent for _, sent in counts)


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
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args(arguments)
    # A file system in memory would not wait for a disk.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, receiver() as url:
        directory = Path(name)
        show(f"receiver of {LATENCY * 1000:g} ms: events a second")
        for workers, size, factor in DELIVERIES:
            count = max(int(options.events * factor), 1)
            rate = deliveries(url, directory, workers, size, count)
            show(f"  {workers:2} workers, batches of {size:3}  {rate:7.0f}")
        show("beside a share whose events always fail")
        for workers, size, factor in DELIVERIES[1:]:
            count = max(int(options.events * factor), 1)
            rate = deliveries(url, directory, workers, size, count, FAILURES)
            show(f"  {workers:2} workers, batches of {size:3}  {rate:7.0f}")
        show("time of a caller, mean: plain commit, outbox, ratio")
        for threads in (1, 32):
            count = max(options.events // 20 // threads, 1)
            plain, put = callers(directory, threads, count, options.rounds)
            show(
                f"  {threads:2} threads  {plain * 1000:7.2f} ms  {put * 1000:7.2f} ms"
                f"  {put / plain:5.2f}"
            )
        show(f"{options.waiting:,} events wait: start, first delivery")
        started, first = starts(directory, options.waiting)
        show(f"  {started * 1000:7.1f} ms  {first * 1000:7.1f} ms")
        show(f"{WRITERS} processes write for {options.seconds:g} s: written, delivered")
        for size in (1, 100):
            written, sent = writers(directory, size, options.seconds)
            show(f"  batches of {size:3}  {written:7}  {sent:7}")


if __name__ == "__main__":
    main()

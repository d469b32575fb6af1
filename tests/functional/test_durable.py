# SPDX-License-Identifier: Apache-2.0
"""Tests of the guarantees of ``hook_dispatch = durable``, while processes are killed.

``pytest -s`` shows the figures for doc/source/admin/durable.rst.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
import operator
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import rabbit, receiver
from tests.support.pages import example
from tests.support.programs import Program, free_port
from tests.support.schema import validated
from tests.support.wait import wait_for

from . import durable_worker

#: Fraction of the calls that have returned -> the process to kill.
KILLS = (
    (0.08, "receiver"),
    (0.18, "worker"),
    (0.30, "receiver"),
    (0.42, "receiver"),
    (0.55, "worker"),
    (0.65, "receiver"),
    (0.80, "receiver"),
)

#: Number of calls that return while the receiver is down.
CALLS_WHILE_DOWN = 300

#: Maximum time that a caller may spend in hooks, in seconds, and as a multiple of the
#: longest delay that the machine imposes on a sync or a sleep.
LONGEST, MOST_DELAYS = 0.1, 10

#: URL in the documentation's example.
URL = "https://ops.example.com/manila"


class Receiver(abc.ABC):
    """A receiver that a test kills and starts again."""

    @abc.abstractmethod
    def start(self) -> None: ...

    @abc.abstractmethod
    def kill(self) -> None: ...

    @abc.abstractmethod
    def close(self) -> None: ...

    @abc.abstractmethod
    def events(self) -> list[dict[str, Any]]:
        """Return the events that have arrived so far, in order, with repeats."""

    @abc.abstractmethod
    def configuration(self, outbox: Path) -> str:
        """Return the documented configuration, for this receiver.

        :param outbox: directory of the outboxes
        """


class Server(Receiver):
    """An HTTP server in a separate process."""

    def __init__(self, directory: Path) -> None:
        self.taken = directory / "taken"
        self.log = directory / "receiver.log"
        self.port = free_port()
        self._running: Program | None = None

    def start(self) -> None:
        command = [sys.executable, str(receiver.__file__)]
        command += [str(self.port), str(self.taken)]
        self._running = Program(command, self.log)

    def kill(self) -> None:
        if self._running:
            self._running.kill()

    close = kill

    def events(self) -> list[dict[str, Any]]:
        return receiver.events_in(self.taken)

    def configuration(self, outbox: Path) -> str:
        url = f"http://127.0.0.1:{self.port}/events"
        return example(
            "admin/durable.rst", {"/var/lib/manila/outbox": str(outbox), URL: url}
        )


class Broker(Receiver):
    """RabbitMQ, and a consumer of its durable queue."""

    def __init__(self, directory: Path) -> None:
        self._rabbit = rabbit.Rabbit(directory)
        self._inbox: rabbit.Inbox | None = None

    def start(self) -> None:
        self._rabbit.start()
        if self._inbox is None:
            # The consumer creates the queue before the first event.
            self._inbox = rabbit.Inbox(self._rabbit.url, durable=True)
            self._inbox.__enter__()

    def kill(self) -> None:
        self._rabbit.kill()

    def close(self) -> None:
        if self._inbox is not None:
            self._inbox.__exit__()
        self._rabbit.stop()

    def events(self) -> list[dict[str, Any]]:
        assert self._inbox is not None
        return [message.payload for message in self._inbox.messages]

    def configuration(self, outbox: Path) -> str:
        url = f"notification_transport_url = {self._rabbit.url}"
        text = example(
            "admin/durable.rst",
            {
                "/var/lib/manila/outbox": str(outbox),
                "ops=webhook": "ops=notification",
                f"webhook_url = {URL}": url,
            },
        )
        # The page of the hook requires durable queues.
        durable = "[oslo_messaging_rabbit]\namqp_durable_queues = True\n"
        return f"[DEFAULT]\ncontrol_exchange = durable\n{durable}{text}"


class Worker:
    """The process that makes the calls."""

    def __init__(self, configuration: str, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "manila.conf"
        self._file.write_text(configuration)
        self._running: Program | None = None

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", str(durable_worker.__file__)]
        command += [str(self._file), str(self.directory)]
        self._running = Program(command, self.directory / "worker.log")

    def kill(self) -> None:
        if self._running:
            self._running.kill()

    def ended(self) -> bool:
        assert self._running
        status = self._running.process.poll()
        assert not status, (self.directory / "worker.log").read_text()
        return status is not None

    def count(self) -> int:
        """Return the number of calls that have returned."""
        if self.ended():
            return durable_worker.CALLS
        return sum(map(len, durable_worker.returned_calls(self.directory)))

    def wait_for(self, count: int) -> None:
        """Wait until at least a number of calls have returned."""
        text = f"{count} calls have returned"
        wait_for(lambda: self.count() >= count, text, timeout=200)


class Run(NamedTuple):
    """The result of a run."""

    #: The calls that have returned to their callers.
    calls: list[durable_worker.ReturnedCall]
    #: The events that have arrived, in order, with repeats.
    events: list[dict[str, Any]]
    #: Duration of the longest sync of another file meanwhile, in seconds.
    sync: float
    #: Total duration, in seconds.
    seconds: float

    def expected(self) -> set[tuple[str, str]]:
        """Return the events that have to arrive, as snapshots and phases."""
        names = [f"{call.share}.{call.sequence}" for call in self.calls]
        return {(name, phase) for name in names for phase in ("start", "end")}

    def first(self) -> dict[str, dict[str, Any]]:
        """Return the events by their IDs, in the order of their first arrivals."""
        first: dict[str, dict[str, Any]] = {}
        for event in self.events:
            first.setdefault(event["id"], event)
        return first


@pytest.fixture(scope="module", params=[Server, Broker])
def run(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Run:
    """Return the result of a run with one kind of receiver."""
    directory = tmp_path_factory.mktemp("durable")
    target: Receiver = request.param(directory)
    worker = Worker(target.configuration(directory / "outbox"), directory)
    began = time.monotonic()
    try:
        target.start()
        worker.start()
        for part, process in KILLS:
            worker.wait_for(int(part * durable_worker.CALLS))
            if process == "receiver":
                target.kill()
                # On a slow machine, all calls may have returned already.
                meanwhile = worker.count() + CALLS_WHILE_DOWN
                worker.wait_for(min(meanwhile, durable_worker.CALLS))
                target.start()
            else:
                worker.kill()
                worker.start()
        wait_for(worker.ended, "all events are delivered", timeout=320)
        calls = [call for t in durable_worker.returned_calls(directory) for call in t]
        syncs = map(float, (directory / "syncs").read_text().split("\n")[:-1])
        done = Run(calls, [], max(syncs), time.monotonic() - began)
        # The consumer may need a moment. If events are missing, a test fails later.
        with contextlib.suppress(AssertionError):
            wait_for(
                lambda: (
                    done.expected() <= {phase_of(event) for event in target.events()}
                ),
                "every event of every call that returned has arrived",
                timeout=120,
                pause=1,
            )
        return done._replace(events=[validated(event) for event in target.events()])
    finally:
        worker.kill()
        target.close()


@pytest.mark.timeout(600)
def test_every_event_of_a_call_that_returned_arrives_in_order(
    run: Run, record_property: Callable[[str, object], None]
) -> None:
    first = run.first()
    expected = run.expected()
    assert len(expected) == 2 * durable_worker.CALLS
    assert expected - {phase_of(event) for event in first.values()} == set()
    # A repeat equals the first arrival.
    assert [event for event in run.events if first[event["id"]] != event] == []
    check_order(first.values())
    report(
        record_property,
        {
            "calls that returned": len(run.calls),
            "events that arrived": len(first),
            "events of calls that were killed": len(first) - len(expected),
            "events that arrived again": len(run.events) - len(first),
            "total seconds": round(run.seconds, 1),
        },
    )


@pytest.mark.timeout(600)
def test_no_caller_waits_for_the_receiver(
    run: Run, record_property: Callable[[str, object], None]
) -> None:
    """A call waits a few times for the disk and for the interpreter."""
    seconds = sorted(call.seconds for call in run.calls)
    late = max(call.late for call in run.calls)
    figures = {
        "time in hooks, median, ms": round(statistics.median(seconds) * 1000, 2),
        "time in hooks, 99 %, ms": round(seconds[len(seconds) * 99 // 100] * 1000, 2),
        "time in hooks, maximum, ms": round(seconds[-1] * 1000, 2),
        "longest sync of another file, ms": round(run.sync * 1000, 2),
        "maximum delay of a sleep, ms": round(late * 1000, 2),
    }
    report(record_property, figures)
    assert seconds[-1] <= max(LONGEST, MOST_DELAYS * max(run.sync, late)), figures


def report(
    record_property: Callable[[str, object], None], figures: dict[str, float]
) -> None:
    for name, value in figures.items():
        record_property(name, value)
        print(f"{name}: {value}")  # noqa: T201


def phase_of(event: dict[str, Any]) -> tuple[str, str]:
    """Return the snapshot of an event, and the phase that the event reports."""
    return event["data"]["snapshot_id"], event["type"].rpartition(".")[2]


def check_order(events: Iterable[dict[str, Any]]) -> None:
    """Check that the events of each share arrived in the order of their creation.

    :param events: the events in the order of their first arrivals
    """
    shares: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for event in events:
        snapshot, phase = phase_of(event)
        share, _, sequence = snapshot.partition(".")
        shares[share].append((int(sequence), phase))
    assert len(shares) == durable_worker.SHARES
    for arrived in shares.values():
        assert [n for n, _ in arrived] == sorted(n for n, _ in arrived)
        for _, call in itertools.groupby(arrived, key=operator.itemgetter(0)):
            # A killed call is repeated. The killed one has a start, and maybe an end.
            phases = " ".join(phase for _, phase in call)
            assert re.fullmatch(r"(start (end )?){0,2}start end", phases), arrived

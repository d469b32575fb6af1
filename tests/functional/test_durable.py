# SPDX-License-Identifier: Apache-2.0
"""What ``hook_dispatch = durable`` promises, while both ends are killed.

What is promised of events is checked always, and what callers wait in a test of its
own: the machine may be too busy for that. They print their figures, for
doc/source/admin/durable.rst: ``pytest -s`` shows them.
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

from tests.support import receiver
from tests.support.pages import example
from tests.support.programs import Program, free_port
from tests.support.wait import wait_for

from . import durable_worker, rabbit

#: What is killed when so many of all join points have returned.
KILLS = (
    (0.08, "end"),
    (0.18, "worker"),
    (0.30, "end"),
    (0.42, "end"),
    (0.55, "worker"),
    (0.65, "end"),
    (0.80, "end"),
)

#: How many join points return while the other end is down.
MEANWHILE = 300

#: Seconds that no caller may wait for hooks.
LONGEST = 0.1

#: In the documentation's example.
URL = "https://ops.example.com/manila"

#: In the section of the hook: it is to deliver all before it ends.
MORE = "\nhook_drain_timeout = 300\n"


class End(abc.ABC):
    """The other end of the deliveries, which may be killed and started again."""

    @abc.abstractmethod
    def start(self) -> None: ...

    @abc.abstractmethod
    def kill(self) -> None: ...

    @abc.abstractmethod
    def close(self) -> None: ...

    @abc.abstractmethod
    def events(self) -> list[dict[str, Any]]:
        """Return what has arrived so far, in order, with repeats."""

    @abc.abstractmethod
    def configuration(self, outbox: Path) -> str:
        """Return the documented configuration, for this end.

        :param outbox: where the events are to be kept
        """


class Server(End):
    """An HTTP server of its own process."""

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


class Broker(End):
    """RabbitMQ, and a consumer of its durable queue."""

    def __init__(self, directory: Path) -> None:
        self._rabbit = rabbit.Rabbit(directory)
        self._inbox: rabbit.Inbox | None = None

    def start(self) -> None:
        self._rabbit.start()
        if self._inbox is None:
            # It makes the queue, before there is an event.
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
        # As the documentation of the hook says.
        durable = "[oslo_messaging_rabbit]\namqp_durable_queues = True\n"
        return f"[DEFAULT]\ncontrol_exchange = durable\n{durable}{text}"


class Worker:
    """The process that makes the join points."""

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
        """Return how many join points have returned."""
        if self.ended():
            return durable_worker.JOIN_POINTS
        return sum(map(len, durable_worker.returned_in(self.directory)))

    def wait_for(self, count: int) -> None:
        """Wait until so many join points have returned."""
        text = f"{count} join points have returned"
        wait_for(lambda: self.count() >= count, text, timeout=200)


class Run(NamedTuple):
    """What came of it."""

    #: The join points that have returned to their callers.
    made: list[durable_worker.Returned]
    #: What has arrived, in order, with repeats.
    events: list[dict[str, Any]]
    #: Seconds that the longest sync of another file took meanwhile.
    sync: float
    #: Seconds in all.
    seconds: float

    def expected(self) -> set[tuple[str, str]]:
        """Return what the events are of that have to arrive."""
        names = [f"{each.share}.{each.sequence}" for each in self.made]
        return {(name, phase) for name in names for phase in ("start", "end")}

    def first(self) -> dict[str, dict[str, Any]]:
        """Return the events in the order of their first arrivals, by their ids."""
        first: dict[str, dict[str, Any]] = {}
        for event in self.events:
            first.setdefault(event["id"], event)
        return first


@pytest.fixture(scope="module", params=[Server, Broker])
def run(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Run:
    """What came of it with one kind of other end."""
    directory = tmp_path_factory.mktemp("durable")
    end: End = request.param(directory)
    worker = Worker(end.configuration(directory / "outbox") + MORE, directory)
    began = time.monotonic()
    try:
        end.start()
        worker.start()
        for part, what in KILLS:
            worker.wait_for(int(part * durable_worker.JOIN_POINTS))
            if what == "end":
                end.kill()
                # On a slow machine all of them may be made by then.
                meanwhile = worker.count() + MEANWHILE
                worker.wait_for(min(meanwhile, durable_worker.JOIN_POINTS))
                end.start()
            else:
                worker.kill()
                worker.start()
        wait_for(worker.ended, "all is made and delivered", timeout=320)
        made = [each for t in durable_worker.returned_in(directory) for each in t]
        syncs = map(float, (directory / "syncs").read_text().split("\n")[:-1])
        done = Run(made, [], max(syncs), time.monotonic() - began)
        # The consumer may need a moment; if it is not enough, the test says so.
        with contextlib.suppress(AssertionError):
            wait_for(
                lambda: done.expected() <= {what_of(event) for event in end.events()},
                "every event of every join point that returned has arrived",
                timeout=120,
                pause=1,
            )
        return done._replace(events=end.events())
    finally:
        worker.kill()
        end.close()


@pytest.mark.timeout(600)
def test_every_event_of_a_join_point_that_returned_arrives_in_order(
    run: Run, record_property: Callable[[str, object], None]
) -> None:
    first = run.first()
    expected = run.expected()
    assert len(expected) == 2 * durable_worker.JOIN_POINTS
    assert expected - {what_of(event) for event in first.values()} == set()
    # One that comes again is the same.
    assert [each for each in run.events if first[each["id"]] != each] == []
    check_order(first.values())
    tell(
        record_property,
        {
            "join points": len(run.made),
            "events that arrived": len(first),
            "of them of calls that were killed": len(first) - len(expected),
            "events that came again": len(run.events) - len(first),
            "seconds in all": round(run.seconds, 1),
        },
    )


@pytest.mark.timeout(600)
def test_no_caller_waits_long_for_hooks(
    run: Run, record_property: Callable[[str, object], None]
) -> None:
    seconds = sorted(each.seconds for each in run.made)
    late = max(each.late for each in run.made)
    figures = {
        "hooks, median, ms": round(statistics.median(seconds) * 1000, 2),
        "hooks, 99 %, ms": round(seconds[len(seconds) * 99 // 100] * 1000, 2),
        "hooks, longest, ms": round(seconds[-1] * 1000, 2),
        "longest sync of another file, ms": round(run.sync * 1000, 2),
        "longest that a sleep was late, ms": round(late * 1000, 2),
    }
    tell(record_property, figures)
    if seconds[-1] > LONGEST and max(run.sync, late) > LONGEST:
        pytest.skip(f"this machine itself takes longer than {LONGEST} s: {figures}")
    assert seconds[-1] <= LONGEST, figures


def tell(
    record_property: Callable[[str, object], None], figures: dict[str, float]
) -> None:
    for name, value in figures.items():
        record_property(name, value)
        print(f"{name}: {value}")  # noqa: T201


def what_of(event: dict[str, Any]) -> tuple[str, str]:
    """Return the snapshot that an event is of, and its phase."""
    return event["data"]["snapshot_id"], event["type"].rpartition(".")[2]


def check_order(events: Iterable[dict[str, Any]]) -> None:
    """Check that the events of each share came in the order in which they were made.

    :param events: the events in the order of their first arrivals
    """
    shares: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for event in events:
        snapshot, phase = what_of(event)
        share, _, sequence = snapshot.partition(".")
        shares[share].append((int(sequence), phase))
    assert len(shares) == durable_worker.SHARES
    for told in shares.values():
        assert [n for n, _ in told] == sorted(n for n, _ in told)
        for _, each in itertools.groupby(told, key=operator.itemgetter(0)):
            # A call that was killed is made again: it began, and may have ended.
            phases = " ".join(phase for _, phase in each)
            assert re.fullmatch(r"(start (end )?){0,2}start end", phases), told

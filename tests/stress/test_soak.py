# SPDX-License-Identifier: Apache-2.0
"""All hooks at once, while receivers die, the disk fills up and a file is removed.

A process makes calls in several threads (``tests/stress/soak.py``). Meanwhile this
process kills and restarts the receivers, fills and empties the disk with the outboxes
and the audit file, and removes the file of an outbox. ``pytest -s`` shows the figures
for doc/source/contributor/evidence.rst.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import otlp, rabbit, receiver
from tests.support.disk import fill, small_disk
from tests.support.programs import Program, free_port
from tests.support.wait import wait_for

from . import soak

#: Maximum duration of a call, in seconds. It exceeds the sum of the documented bounds:
#: those of four events in outboxes, of two programs, of the queue and of the lock.
LONGEST_CALL = 30

#: Maximum duration of the stop of all hooks, in seconds. It exceeds hook_drain_timeout.
LONGEST_STOP = 120

#: Maximum number of calls that return during one fault.
CALLS_IN_FAULT = 300

#: Number of pending events above which calls wait: they must not fill the disk.
MOST_PENDING = 2000

#: Number of calls in which each fault happens once.
ROUND = 10_000

#: Phases of a call's events, in order.
PHASES = ("start", "end", "error")

CONFIGURATION = """
[DEFAULT]
control_exchange = durable

[oslo_messaging_rabbit]
amqp_durable_queues = True

[alpha]
hook_drivers = tracing, metrics, audit, webhook, notification, automount, command, guard
enable_pre_hooks = True
enable_post_hooks = True
suppress_pre_hooks_errors = True
suppress_post_hooks_errors = True
hook_outbox_path = {disk}/outbox
hook_drain_timeout = 60
notification_transport_url = {broker}

[alpha:audit]
audit_log_path = {disk}/audit.log

[alpha:automount]
hook_dispatch = background

[alpha:command]
command = {program}
hook_operations = extend_share

[alpha:guard]
guard_max_size = 100

[alpha:metrics]
metrics_port = {port}

[alpha:notification]
hook_dispatch = durable
hook_operations = !create_snapshot

[alpha:tracing]
tracing_endpoint = {collector}

[alpha:webhook]
hook_dispatch = durable
webhook_url = {webhook}
# The caller learns that an event was not stored.
suppress_pre_hooks_errors = False
suppress_post_hooks_errors = False
"""

#: The program of the command hook appends the event.
PROGRAM = "#!/bin/sh\nexec cat >> {file}\n"


class Call(NamedTuple):
    """A call that has returned to its caller."""

    number: int
    #: ``success``, ``failure``, ``veto``, or ``error`` for an error of a hook.
    outcome: str
    #: Time on the monotonic clock, which all processes share, and duration.
    began: float
    seconds: float
    error: str


class HttpServer:
    """An HTTP server in a process of its own, which can be killed.

    :param directory: the directory for its files
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._program: Program | None = None
        self.url = f"http://127.0.0.1:{self._port}/events"

    def start(self) -> None:
        command = [sys.executable, str(receiver.__file__), str(self._port)]
        command.append(str(self._directory / "received"))
        self._program = Program(command, self._directory / "receiver.out")

    def kill(self) -> None:
        if self._program:
            self._program.kill()

    def events(self) -> list[dict[str, Any]]:
        return receiver.events_in(self._directory / "received")


class Collector(otlp.Collector):
    """A collector that only counts spans, because there are millions."""

    def __init__(self) -> None:
        super().__init__()
        #: The number of join points by operation.
        self.join_points: Counter[str] = Counter()

    def take(self, body: bytes) -> None:
        super().take(body)
        self.join_points.update(span.name for span in self.spans if not span.parent_id)
        self.spans.clear()
        self.bodies.clear()


class Worker:
    """The process that makes the calls.

    :param configuration: its configuration
    :param directory: the directory for its files
    :param calls: the number of calls
    """

    def __init__(self, configuration: str, directory: Path, calls: int) -> None:
        self.directory = directory
        (directory / "manila.conf").write_text(configuration, "utf-8")
        (directory / "calls").touch()
        self.set_pace(0)
        command = [sys.executable, "-m", f"{__package__}.soak"]
        command += [str(directory / "manila.conf"), str(directory), str(calls)]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._program = Program(command, directory / "log", env)
        self._returned = 0
        self._calls = (directory / "calls").open("rb")

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text("utf-8", "replace")

    def returned(self) -> int:
        """Return the number of calls that have returned."""
        self._returned += self._calls.read().count(b"\n")
        return self._returned

    def wait_for_calls(self, count: int) -> None:
        """Wait until a number of calls have returned.

        :param count: the number since the beginning
        """

        def enough() -> bool:
            return self.returned() >= count or self._program.process.poll() is not None

        wait_for(enough, f"{count} calls", timeout=3600)
        assert self.returned() >= count, self.log[-5000:]

    def set_pace(self, limit: int, pending: int = MOST_PENDING) -> None:
        """Let the calls with lower numbers proceed, unless too many events are pending.

        :param limit: the number of the first call that has to wait
        :param pending: the number of pending events in an outbox
        """
        new = self.directory / "pace.new"
        new.write_text(f"{limit} {pending}")
        new.replace(self.directory / "pace")

    def wait_for_end(self) -> dict[str, Any]:
        """Wait until the process has ended, and return its results."""
        process = self._program.process
        assert process.wait(soak.DRAIN_TIMEOUT + 300) == 0, self.log[-5000:]
        end: dict[str, Any] = json.loads((self.directory / "end").read_text())
        return end

    def calls(self) -> list[Call]:
        """Return the calls in the order of their returns."""
        lines = (self.directory / "calls").read_text().splitlines()
        return [Call(*json.loads(line)) for line in lines]

    def stored(self, hook: str) -> dict[str, float]:
        """Return the events that the outbox of a hook has confirmed.

        :param hook: the name of the hook
        :returns: ID -> time at which the write began, on the monotonic clock
        """
        lines = (self.directory / f"stored-{hook}").read_text().splitlines()
        return {id_: float(began) for id_, began in map(str.split, lines)}

    def kill(self) -> None:
        self._program.kill()
        self._calls.close()


class Soak:
    """The world of the soak, and its faults.

    :param calls: the number of calls
    :param directory: the directory for all files
    """

    def __init__(self, calls: int, directory: Path) -> None:
        self.number = calls
        self.directory = directory
        self.removed = directory / "disk" / "removed.sqlite"
        self.removed_at = 0.0
        #: The times at which the disk began and ceased to be full.
        self.full: list[tuple[float, float]] = []
        with contextlib.ExitStack() as stack:
            # For the outboxes, and for audit lines of 500 bytes.
            size = f"{24 + calls // 1000}m"
            self.disk = stack.enter_context(small_disk(directory / "disk", size))
            (directory / "broker").mkdir()
            self.broker = stack.enter_context(rabbit.Rabbit(directory / "broker"))
            self.inbox, self.automount_inbox = (
                stack.enter_context(rabbit.Inbox(self.broker.url, topic, durable=True))
                for topic in ("notifications", "manila_aspects_automount")
            )
            self.collector = Collector()
            stack.enter_context(self.collector)
            self.http = HttpServer(directory)
            self.http.start()
            stack.callback(self.http.kill)
            self.worker = Worker(self._configuration(), directory, calls)
            stack.callback(self.worker.kill)
            self._stack = stack.pop_all()

    def __enter__(self) -> Soak:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _configuration(self) -> str:
        program = self.directory / "program"
        program.write_text(PROGRAM.format(file=self.directory / "commands"))
        program.chmod(0o755)
        return CONFIGURATION.format(
            disk=self.disk,
            broker=self.broker.url,
            program=program,
            port=free_port(),
            collector=f"http://127.0.0.1:{self.collector.port}/v1/traces",
            webhook=self.http.url,
        )

    def outbox(self, hook: str) -> Path:
        """Return the file of an outbox."""
        return self.disk / "outbox" / f"alpha.{hook}" / "events.sqlite"

    # -- faults ----------------------------------------------------------------------

    def make_faults(self) -> None:
        """Make each fault once in each round, and remove the outbox in the first."""
        rounds = max(1, self.number // ROUND)
        size = self.number // rounds
        faults = [
            (first + int(share * size), fault)
            for first in range(0, rounds * size, size)
            for share, fault in (
                (0.1, self.http_server_down),
                (0.3, self.broker_down),
                (0.5, self.disk_full),
                (0.7, self.outbox_removed),
            )
            if first == 0 or share < 0.7
        ]
        calls = min(size // 10, CALLS_IN_FAULT)
        for start, fault in faults:
            # Some calls run while the fault begins, and the others after that.
            limit = start + calls // 2
            self.worker.set_pace(limit)
            self.worker.wait_for_calls(start)
            with fault(limit, calls):
                # A receiver that is down accepts no events, so do not wait for it.
                self.worker.set_pace(limit + calls, pending=10**9)
                self.worker.wait_for_calls(limit + calls // 2)
        self.worker.set_pace(self.number)

    @contextlib.contextmanager
    def http_server_down(self, limit: int, calls: int) -> Iterator[None]:
        self.http.kill()
        yield
        self.http.start()

    @contextlib.contextmanager
    def broker_down(self, limit: int, calls: int) -> Iterator[None]:
        self.broker.kill()
        yield
        self.broker.start()

    @contextlib.contextmanager
    def disk_full(self, limit: int, calls: int) -> Iterator[None]:
        # The log of SQLite would otherwise have room for hundreds of events.
        for hook in ("webhook", "notification"):
            file = sqlite3.connect(self.outbox(hook), timeout=30, isolation_level=None)
            with contextlib.closing(file) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        began = time.monotonic()
        filler = fill(self.disk)
        yield
        filler.unlink()
        self.full.append((began, time.monotonic()))

    @contextlib.contextmanager
    def outbox_removed(self, limit: int, calls: int) -> Iterator[None]:
        """Remove the file of the webhook's outbox while events are pending in it."""
        self.http.kill()
        self.worker.set_pace(limit + calls // 2, pending=10**9)
        self.worker.wait_for_calls(limit + calls // 4)
        file = self.outbox("webhook")
        for suffix in ("", "-wal", "-shm"):
            # A second link keeps the file, so that its events can be compared.
            os.link(f"{file}{suffix}", f"{self.removed}{suffix}")
            os.unlink(f"{file}{suffix}")
        self.removed_at = time.monotonic()
        yield
        self.http.start()

    def met_full_disk(self, call: Call) -> bool:
        """Return whether the disk was full at some time during a call."""
        ended = call.began + call.seconds
        return any(began <= ended and call.began <= end for began, end in self.full)

    # -- results ---------------------------------------------------------------------

    def events_removed(self) -> dict[str, dict[str, Any]]:
        """Return the events in the removed file by their IDs."""
        with contextlib.closing(sqlite3.connect(self.removed)) as connection:
            rows = connection.execute("SELECT data FROM queue_waiting").fetchall()
        events = [json.loads(data) for (data,) in rows]
        return {event["id"]: event for event in events}


def number_of(event: dict[str, Any]) -> int:
    """Return the number of the call that an event or an audit line reports."""
    data = event.get("data", event)
    return int(data["request_id"].removeprefix("req-"))


def phase_of(event: dict[str, Any]) -> str:
    phase: str = event["type"].rpartition(".")[2]
    return phase


def first_arrivals(events: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the first arrival of each event by its ID; check that repeats are equal.

    :param events: the events in the order of their arrivals
    """
    first: dict[str, dict[str, Any]] = {}
    for event in events:
        assert first.setdefault(event["id"], event) == event
    calls = Counter((number_of(event), phase_of(event)) for event in first.values())
    assert [call for call, count in calls.items() if count > 1] == []
    return first


def check_order(events: Iterable[dict[str, Any]]) -> None:
    """Check that the events of each share arrived in the order of their creation.

    :param events: the events in the order of their first arrivals
    """
    shares: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        number = number_of(event)
        moment = number, PHASES.index(phase_of(event))
        shares[number % soak.SHARES].append(moment)
    for moments in shares.values():
        assert moments == sorted(moments)


@pytest.mark.timeout(7200)
def test_faults_around_all_hooks_neither_lose_nor_delay(
    calls: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    number = 50_000 if calls >= 50_000 else min(calls, 2_000)
    with Soak(number, tmp_path) as world:
        world.make_faults()
        end = world.worker.wait_for_end()
        made = world.worker.calls()
        figures = {
            **check_calls(world, made),
            **check_webhook(world, made),
            **check_notifications(world),
            **check_automount(world, made),
            **check_audit(world, made),
            **check_commands(world, made),
            **check_end(world, end),
        }
    for name, figure in figures.items():
        record_property(name, figure)
        # pytest -s shows it.
        sys.stdout.write(f"{name}: {figure}\n")


def check_calls(world: Soak, made: list[Call]) -> dict[str, object]:
    """Check that each call returned in time, and failed only for a full disk."""
    assert sorted(call.number for call in made) == list(range(world.number))
    errors = [call for call in made if call.outcome == "error"]
    assert errors, "no call met the full disk"
    assert [
        call
        for call in errors
        if not (world.met_full_disk(call) and is_full_disk(call.error))
    ] == []
    unexpected = [
        call
        for call in made
        if call.outcome not in ("error", soak.outcome_of(call.number))
    ]
    assert unexpected == []
    seconds = sorted(call.seconds for call in made)
    assert seconds[-1] < LONGEST_CALL
    return {
        "calls": len(made),
        "calls that failed, all on the full disk": len(errors),
        "median seconds of a call": seconds[len(seconds) // 2],
        "maximum seconds of a call": seconds[-1],
    }


def is_full_disk(error: str) -> bool:
    return "disk is full" in error or "No space left" in error


def outside_full_disk(world: Soak, made: list[Call]) -> list[int]:
    """Return the numbers of the calls that have not met a full disk."""
    return [call.number for call in made if not world.met_full_disk(call)]


def events_of(number: int) -> set[tuple[int, str]]:
    """Return the phases that the events of a call report, with its number."""
    success = soak.outcome_of(number) == "success"
    return {(number, "start"), (number, "end" if success else "error")}


def check_webhook(world: Soak, made: list[Call]) -> dict[str, object]:
    """Check that only events in the removed file are lost, and that the log says so."""
    sent, stored = world.http.events(), world.worker.stored("webhook")
    arrived, removed = first_arrivals(sent), world.events_removed()
    lost = stored.keys() - arrived.keys()
    assert lost, "the removed file had no event"
    assert lost <= removed.keys()
    assert [id_ for id_ in lost if stored[id_] > world.removed_at] == []
    (reported,) = re.findall(r"was removed while .* at most (\d+)", world.worker.log)
    assert int(reported) >= len(lost)
    check_order(arrived.values())
    found = {
        (number_of(event), phase_of(event))
        for event in (*arrived.values(), *removed.values())
    }
    for number in outside_full_disk(world, made):
        assert events_of(number) <= found
    return {
        "events that the webhook's outbox confirmed": len(stored),
        "events that arrived again": len(sent) - len(arrived),
        "events lost with the removed file": len(lost),
    }


def check_notifications(world: Soak) -> dict[str, object]:
    """Check that no notification is lost."""
    stored = world.worker.stored("notification")

    def sent() -> list[dict[str, Any]]:
        return [message.payload for message in list(world.inbox.messages)]

    wait_for(
        lambda: stored.keys() <= {event["id"] for event in sent()},
        "all stored notifications",
    )
    arrived = first_arrivals(sent())
    # They are in two queues, and their order is that of each queue.
    for failed in (False, True):
        check_order(
            event
            for event in arrived.values()
            if (phase_of(event) == "error") is failed
        )
    return {
        "notifications that the outbox confirmed": len(stored),
        "notifications that arrived again": len(sent()) - len(arrived),
    }


def check_automount(world: Soak, made: list[Call]) -> dict[str, object]:
    """Check that each notification arrived, or that the log has its failure."""
    updates = [
        call.number
        for call in made
        if soak.method_of(call.number) == "update_access" and call.outcome == "success"
    ]
    failures = len(re.findall(r"hook automount of", world.worker.log))

    def sent() -> list[dict[str, Any]]:
        return [message.payload for message in list(world.automount_inbox.messages)]

    wait_for(
        lambda: len({event["id"] for event in sent()}) >= len(updates) - failures,
        "all notifications of access",
    )
    arrived = first_arrivals(sent())
    assert {number_of(event) for event in arrived.values()} <= set(updates)
    return {
        "notifications of access": len(arrived),
        "notifications of access that failed": len(updates) - len(arrived),
    }


def check_audit(world: Soak, made: list[Call]) -> dict[str, object]:
    """Check that each call has a line; on a full disk, it may be cut off or missing."""
    lines, torn = [], 0
    for line in (world.disk / "audit.log").read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            torn += 1
    numbers = Counter(map(number_of, lines))
    assert [number for number, count in numbers.items() if count > 1] == []
    assert set(outside_full_disk(world, made)) <= numbers.keys()
    failures = len(re.findall(r"hook audit of", world.worker.log))
    missing = world.number - len(lines)
    assert max(missing, torn) <= failures
    return {"audit lines missing": missing, "audit lines cut off": torn}


def check_commands(world: Soak, made: list[Call]) -> dict[str, object]:
    """Check that the program ran once before and once after each of its calls."""
    lines = (world.directory / "commands").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    runs = Counter((number_of(event), phase_of(event)) for event in events)
    assert set(runs.values()) == {1}
    for number in outside_full_disk(world, made):
        if soak.method_of(number) == "extend_share":
            assert events_of(number) <= runs.keys()
    return {"runs of the program": len(events)}


def check_end(world: Soak, end: dict[str, Any]) -> dict[str, object]:
    """Check that nothing remains, and that metrics and traces have the calls."""
    assert end["left"] == []
    assert end["seconds to stop"] < LONGEST_STOP
    counts = re.findall(r"manila_aspects_calls_total\{.*\} (\S+)", end["metrics"])
    assert sum(map(float, counts)) == world.number
    join_points = world.collector.join_points
    assert set(join_points) == {
        "create_share_instance",
        "create_snapshot",
        "extend_share",
        # update_access, when it only adds rules.
        "allow_access",
    }
    assert "Traceback" not in world.worker.log
    return {
        "traces": sum(join_points.values()),
        "seconds to stop": round(end["seconds to stop"], 1),
    }

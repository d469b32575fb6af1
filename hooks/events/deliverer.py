# SPDX-License-Identifier: Apache-2.0
"""Delivers the events of an outbox: in order for each key, in parallel otherwise."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tenacity
from oslo_log import log

from aspects import without_secrets
from hooks.events.errors import RejectedError, text_of
from hooks.events.lanes import LANE_SIZE, Lane, Lanes
from hooks.events.store import (
    START,
    EventStore,
    StoredEvent,
    count,
    inode_of,
    prepare_directory,
    stat_of,
)

LOG = log.getLogger(__name__)

#: Seconds between attempts to deliver an event, which double up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

#: Maximum pause, in seconds, that a receiver may ask for.
LONGEST_RETRY_AFTER = 3600.0

#: Seconds between checks for events of other processes, and for their end.
POLL_INTERVAL = 0.5

#: Seconds before another attempt to read events.
READ_PAUSE = 1.0

#: Minimum time, in seconds, between the starts of two attempts. With a fast receiver,
#: many attempts at once would only delay callers, who need the interpreter too.
START_INTERVAL = 0.002

#: Number of events that are read at once.
READ_SIZE = 100

#: Number of delivered events that are deleted together, so that callers seldom wait for
#: deletes, and number beyond which nothing is delivered. A kill repeats them.
MANY_UNDELETED, MOST_UNDELETED = 20, 100_000

#: Number of attempts that fail in a row before the receiver counts as down, and further
#: failures are not logged.
LOGGED_FAILURES = 10

#: Maximum length of an error in the log and in a dead letter, in characters.
LONGEST_TEXT = 1000


class Settings(NamedTuple):
    """The settings of an outbox, which may change at any time."""

    timeout: float = 2.0
    """seconds to wait for each file that another program has locked"""
    workers: int = 20
    """maximum number of deliveries at once"""
    batch_size: int = 1
    """maximum number of events in a delivery"""
    attempts: int = 0
    """number of failed attempts after which an event is given up; 0 for never"""
    max_age: float = 0.0
    """age in seconds from which on a failed attempt is the last one; 0 for never"""

    def end_retries(self, event: StoredEvent, failures: int) -> bool:
        """Return whether to give up an event.

        :param event: the event
        :param failures: the number of attempts that have failed
        """
        if self.attempts and failures >= self.attempts:
            return True
        # Another program may have written anything.
        if not self.max_age or not isinstance(event.written, (int, float)):
            return False
        return time.time() - event.written >= self.max_age


@dataclasses.dataclass
class Counts:
    """Numbers of events that this process took from the outbox."""

    delivered: int = 0
    rejected: int = 0
    """events that the receiver rejected"""
    given_up: int = 0
    """events that were retried for long enough"""
    unreadable: int = 0
    """rows that are not events"""


class _DeliveryLock:
    """The right to deliver from a directory, which one process has at a time.

    :param file: path of the lock file
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor: int | None = None
        self._inode: tuple[int, int] | None = None

    def acquire(self) -> bool:
        """Acquire the lock without waiting, unless it is held already.

        :return: whether it is held
        :raises OSError: if the file cannot be created
        """
        if self._descriptor is not None:
            if self._is_in_directory():
                return True
            # Another process may hold the lock on a new file.
            LOG.warning(
                "%(file)s was removed while it was in use; creating it again. Stop the "
                "service before you remove files of the outbox",
                {"file": self.file},
            )
            self.release()
        prepare_directory(self.file.parent)
        # Only Manila's user may open it, and so lock it.
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, 0o600)
            # The kernel releases the lock however the process ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._descriptor, self._inode = descriptor, inode_of(os.fstat(descriptor))
        # It may have been removed in the meantime.
        return self._is_in_directory()

    def release(self) -> None:
        """Release the lock in this process; a child process keeps nothing of it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_in_directory(self) -> bool:
        return inode_of(stat_of(self.file)) == self._inode


class _Attempt(NamedTuple):
    """A finished attempt to deliver the first event of each of some lanes."""

    lanes: list[Lane]
    error: BaseException | None


class Deliverer:
    """Delivers the events of an outbox in one process, from a start to a stop.

    One thread reads the events, decides which are next, and deletes what is delivered.
    Others, as many as are needed at once, attempt to deliver them.

    :param path: the directory
    :param stores: the files with the events. All events in the first one are earlier
        than those in the second one, from the same process
    :param deliver: delivers the events that are its arguments, or raises
    :param settings: returns the current settings
    :param counts: counts the events
    :param close: called with the deliverer when it has ended
    :param configuration: the hook's ``configuration``, whose secret options are masked
        in errors
    """

    def __init__(
        self,
        path: Path,
        stores: tuple[EventStore, EventStore],
        deliver: Callable[..., None],
        settings: Callable[[], Settings],
        counts: Counts,
        close: Callable[[Deliverer], None],
        configuration: Any = None,
    ) -> None:
        self.lock = _DeliveryLock(path / "lock")
        #: Set when there may be something to do.
        self.wakeup = threading.Event()
        #: Whether there may be events that have not been read.
        self.unread = True
        #: Whether to read them at once.
        self.needs_events = True
        #: Set to end as soon as nothing is pending or the receiver is down.
        self.draining = threading.Event()
        #: Set to end as soon as the attempts that run have finished.
        self.stopping = threading.Event()
        #: Whether nothing was left to this process at the end.
        self.drained = False
        self._path = path
        self._stores = stores
        self._deliver = deliver
        self._settings = settings
        self._counts = counts
        self._close = close
        self._configuration = configuration
        self._process = os.getpid()
        self._lanes = Lanes()
        # The lanes whose first events a worker is to deliver, and how many workers
        # there are.
        self._tasks: collections.deque[list[Lane]] = collections.deque()
        self._ready = threading.Semaphore(0)
        self._workers = 0
        self._finished: collections.deque[_Attempt] = collections.deque()
        # Whether another process may have delivered events that are in the lanes.
        self._outdated = True
        self._waiting = False
        # The last error of a read, if no read has succeeded since.
        self._problem = ""
        self._next_poll = self._next_start = 0.0
        self._released = False
        # The number of attempts that have failed in a row.
        self._failures = 0
        # The error of the last batch, if none has been delivered since.
        self._batch_problem = ""
        self.thread = threading.Thread(
            target=self._run, name=f"outbox-{path.name}", daemon=True
        )

    def _run(self) -> None:
        try:
            while not self._is_over():
                try:
                    self._advance()
                except Exception as error:
                    self._pause_after(error)
        finally:
            if not self._is_inherited():
                self._end()

    def _pause_after(self, error: Exception) -> None:
        problem = f"{type(error).__name__}: {self._text(error)}"
        if problem != self._problem:
            LOG.error(
                "Failed to read the outbox %(path)s, retrying: %(error)s",
                {"path": self._path, "error": problem},
            )
        self._problem, self.unread = problem, True
        if self.draining.is_set():
            self.stopping.set()
        self.draining.wait(READ_PAUSE)

    def _is_over(self) -> bool:
        if self._is_inherited():
            return True
        return self.stopping.is_set() and not (self._lanes.running or self._finished)

    def _is_inherited(self) -> bool:
        # A green thread survives a fork.
        return os.getpid() != self._process

    def _end(self) -> None:
        for _ in range(self._workers):
            # Without a task, a worker ends.
            self._ready.release()
        for store in self._stores:
            # The next process must not deliver these events again.
            store.delete_settled(self._settings().timeout)
        self._close(self)
        self.lock.release()

    # -- one round -------------------------------------------------------------------

    def _advance(self) -> None:
        """Do what can be done at once, and wait until there is more."""
        self.wakeup.clear()
        while self._finished:
            self._record(self._finished.popleft())
        if self.stopping.is_set():
            if self._lanes.running:
                self._wait()
        elif not self.lock.acquire():
            self._outdated = True
            self._wait_for_other_process()
        elif not self._outdated:
            self._continue()
        elif self._lanes.running:
            self._wait()
        else:
            self._lanes, self._outdated, self.unread = Lanes(), False, True
            for store in self._stores:
                store.delete_settled()
                store.unsettle()

    def _wait(self, seconds: float = math.inf) -> None:
        self.wakeup.wait(min(seconds, POLL_INTERVAL))

    def _wait_for_other_process(self) -> None:
        if not self._waiting:
            LOG.info(
                "Another process delivers the events in %(path)s; this one takes over "
                "when that ends",
                {"path": self._path},
            )
        self._waiting = True
        if not self.draining.is_set():
            self.draining.wait(POLL_INTERVAL)
        else:
            # The other process delivers the events of this one too.
            self.drained = True
            self.stopping.set()

    def _continue(self) -> None:
        """Start the attempts that can be made, and delete what is delivered."""
        settings = self._settings()
        workers, size = settings.workers, settings.batch_size
        draining = self.draining.is_set()
        if draining and not self._released:
            # The first event of each key gets one more attempt.
            self._released, self._failures = True, 0
            self._lanes.release()
        if polls := time.monotonic() >= self._next_poll:
            # Other processes do not report their events.
            self.unread, self._next_poll = True, time.monotonic() + POLL_INTERVAL
        down = draining and self._failures >= workers
        undeleted = sum(store.undeleted for store in self._stores)
        may_start = not down and undeleted < MOST_UNDELETED
        if may_start:
            if self.unread and self._lanes.need_events(workers * size):
                self._read()
            if (now := time.monotonic()) >= self._next_start and (
                lanes := self._lanes.take(now, workers, size)
            ):
                self._next_start = now + START_INTERVAL
                self._start(lanes)
        if polls or undeleted >= MANY_UNDELETED or not self._lanes.running:
            for store in self._stores:
                store.delete_settled()
        now = time.monotonic()
        delay = max(self._lanes.delay(now, workers), self._next_start - now)
        self.needs_events = may_start and self._lanes.need_events(workers * size)
        if self.needs_events and self.unread:
            return
        if draining and not self._lanes.running and (down or delay == math.inf):
            self._finish_draining(down)
        else:
            self._wait(delay if may_start else math.inf)

    def _finish_draining(self, down: bool) -> None:
        left = count(self._stores)
        self.drained = left == 0
        if left and self._lanes.is_empty() and not down:
            # Another process has just written them.
            self.unread = True
            self._wait(0.01)
        else:
            self.stopping.set()

    # -- from disk to the lanes ------------------------------------------------------

    def _read(self) -> None:
        """Add the next events to the lanes.

        Those in the overflow file are later than all in the first one.
        """
        self.unread = False
        scanned = self._lanes.scanned
        events, overflow = self._stores
        # Read before the first file, which then has all earlier ones.
        later = []
        if overflow.file.exists():
            later = overflow.read(scanned.get(overflow, START), READ_SIZE)
        found = events.read(scanned.get(events, START), READ_SIZE) or later
        self._problem = ""
        if found:
            self._lanes.add(found)
            self.unread = True

    def _load(self, lane: Lane) -> None:
        """Read the first events of a lane, which has none in memory."""
        found: list[StoredEvent] = []
        for store in self._stores:
            if store in self._lanes.scanned:
                found += store.read_key(
                    lane.key,
                    lane.passed.get(store, START),
                    self._lanes.scanned[store],
                    LANE_SIZE - len(found),
                )
        lane.events.extend(found)
        lane.more = len(found) == LANE_SIZE

    # -- attempts --------------------------------------------------------------------

    def _start(self, lanes: list[Lane]) -> None:
        """Start an attempt to deliver the first event of each of some lanes."""
        try:
            for lane in lanes:
                if not lane.events:
                    self._load(lane)
        except BaseException:
            self._lanes.running -= 1
            for lane in lanes:
                self._lanes.hold(lane, READ_PAUSE, time.monotonic())
            raise
        for lane in lanes:
            if not lane.events:
                # An operator has removed them.
                self._lanes.drop(lane)
        if not (lanes := [lane for lane in lanes if lane.events]):
            self._lanes.running -= 1
            return
        self._tasks.append(lanes)
        if self._workers >= self._lanes.running:
            self._ready.release()
            return
        name = f"{self.thread.name}-worker"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:
            # The interpreter exits, or the process has too many threads.
            self._attempt(self._tasks.pop())
        else:
            self._workers += 1

    def _work(self) -> None:
        """Attempt to deliver events, in a thread of its own."""
        while self._tasks and not self._is_inherited():
            self._attempt(self._tasks.popleft())
            self._ready.acquire()

    def _attempt(self, lanes: list[Lane]) -> None:
        error: BaseException | None = None
        try:
            self._deliver(*[_parsed(lane.events[0]) for lane in lanes])
        except BaseException as caught:
            error = caught
        self._finished.append(_Attempt(lanes, error))
        self.wakeup.set()

    def _record(self, attempt: _Attempt) -> None:
        """Settle the events of an attempt, or have their lanes wait for another one."""
        lanes, error = attempt
        self._lanes.running -= 1
        failed = error is not None and not isinstance(
            error, (RejectedError, _NotAnEventError)
        )
        self._failures = self._failures + 1 if failed else 0
        if error is None:
            self._counts.delivered += len(lanes)
            for lane in lanes:
                lane.events[0].store.settle(lane.events[0])
                self._lanes.pass_on(lane)
            if len(lanes) > 1:
                self._batch_problem = ""
        elif len(lanes) > 1:
            self._split(lanes, error)
        else:
            self._record_failure(lanes[0], error)

    def _split(self, lanes: list[Lane], error: BaseException) -> None:
        """Deliver the events of a batch that failed one by one.

        If the receiver asks for a pause, they wait for it.
        """
        problem = f"{type(error).__name__}: {self._text(error)}"
        if problem != self._batch_problem:
            LOG.warning(
                "Failed to deliver a batch of %(count)d events, delivering them one by "
                "one: %(error)s",
                {"count": len(lanes), "error": problem},
            )
        self._batch_problem = problem
        pause = 0.0 if self.draining.is_set() else _retry_after(error)
        if not pause:
            self._lanes.split(lanes)
            return
        for lane in lanes:
            # Lanes that were held are tried one by one.
            self._lanes.hold(lane, pause, time.monotonic())

    def _record_failure(self, lane: Lane, error: BaseException) -> None:
        """Settle an event that failed, or have its lane wait for the next attempt."""
        try:
            settled = self._settle_failure(lane, error)
        except BaseException:
            self._lanes.hold(lane, READ_PAUSE, time.monotonic())
            raise
        if settled:
            self._lanes.pass_on(lane)
        else:
            draining = self.draining.is_set()
            pause = math.inf if draining else _pause(error, lane.failures)
            self._lanes.hold(lane, pause, time.monotonic())

    def _settle_failure(self, lane: Lane, error: BaseException) -> bool:
        """Settle an event that failed for good.

        :return: whether it did; False if there is to be another attempt
        """
        event = lane.events[0]
        if isinstance(error, _NotAnEventError):
            self._counts.unreadable += 1
            self._bury(event, f"row {event.position[1]} is not an event", error)
        elif isinstance(error, RejectedError):
            self._counts.rejected += 1
            self._bury(event, f"{_name(event)} was rejected", error)
        elif self._settings().end_retries(event, failures := lane.count_failure()):
            self._counts.given_up += 1
            problem = f"{_name(event)} was given up after {failures} failed attempt(s)"
            self._bury(event, problem, error)
        else:
            if failures == 1 and self._failures <= LOGGED_FAILURES:
                # Further failures of an event, and those of all, would only repeat it.
                LOG.warning(
                    "Failed to deliver %(event)s, retrying: %(type)s: %(error)s",
                    {
                        "event": _name(event),
                        "type": type(error).__name__,
                        "error": self._text(error),
                    },
                )
            return False
        return True

    def _bury(self, event: StoredEvent, problem: str, error: BaseException) -> None:
        reason = self._text(error) or type(error).__name__
        event.store.settle(event, reason)
        LOG.error(
            "%(problem)s, kept as a dead letter in %(path)s: %(error)s",
            {
                "problem": problem[0].upper() + problem[1:],
                "path": self._path,
                "error": reason,
            },
        )

    def _text(self, error: BaseException) -> str:
        """Return the text of an error, with secrets masked; empty if it has none."""
        # The first cut bounds the time to search for secrets, and may cut one in two.
        # The second cut removes that part.
        text = text_of(error)[: 10 * LONGEST_TEXT]
        masked = without_secrets(text, None, {}, configuration=self._configuration)
        return masked[:LONGEST_TEXT]


class _NotAnEventError(Exception):
    """Raised when a row does not have an event."""


def _parsed(event: StoredEvent) -> dict[str, Any]:
    try:
        parsed = json.loads(event.data)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError) as error:
        raise _NotAnEventError(str(error)) from error
    if not isinstance(parsed, dict):
        raise _NotAnEventError(f"expected an object, got {type(parsed).__name__}")
    return parsed


def _name(event: StoredEvent) -> str:
    return f"event {_parsed(event).get('id')}"


def _pause(error: BaseException, failures: int) -> float:
    """Return the seconds to wait before the next attempt to deliver an event.

    :param error: the error of the last attempt
    :param failures: the number of attempts that have failed
    """
    state = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = failures
    backoff = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)
    return max(backoff(state), _retry_after(error))


def _retry_after(error: BaseException) -> float:
    """Return the seconds that the receiver asks to wait; 0 if it does not."""
    asked = getattr(error, "retry_after", None)
    # Errors of libraries may have such an attribute of any type.
    if not isinstance(asked, (int, float)) or math.isnan(asked):
        return 0.0
    return min(float(asked), LONGEST_RETRY_AFTER)

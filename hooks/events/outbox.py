# SPDX-License-Identifier: Apache-2.0
"""Durable delivery: events stay on disk until the receiver has them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import tenacity
from oslo_log import log

from aspects import without_secrets
from hooks.events.errors import RejectedError
from hooks.events.store import (
    EventStore,
    StoredEvent,
    alive,
    inode_of,
    prepare_directory,
    stat_of,
)

LOG = log.getLogger(__name__)

#: Names of the database files in the directory of an outbox. The second one has the
#: events that were written while another program had locked the first one.
FILE, OVERFLOW_FILE = "events.sqlite", "overflow.sqlite"

#: Seconds between attempts to deliver an event, which double up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

#: Maximum pause, in seconds, that a receiver may ask for.
LONGEST_RETRY_AFTER = 3600.0

#: Seconds between checks for events of other processes, and for their end.
POLL_INTERVAL = 0.5

#: Seconds before another attempt to read events.
READ_PAUSE = 1.0

#: Number of events that are read at once, and may arrive again after a kill.
READ_SIZE = 20

#: Maximum length of an error in the log and in a dead letter, in characters.
LONGEST_TEXT = 1000

_Number = TypeVar("_Number", int, float)


class _PendingWrite:
    """An event whose caller waits until it is on disk."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.done = False
        self.error: Exception | None = None


class _GroupCommit:
    """Writes the events of concurrent callers together.

    One of the callers writes the events of all, in one commit. So a caller waits for
    two writes at most: the one in progress, and the one with its own event.

    :param write: writes a batch of events in JSON, and returns when it is on disk
    """

    def __init__(self, write: Callable[[list[str]], None]) -> None:
        self._write_texts = write
        self._pending_writes: list[_PendingWrite] = []
        self._writing = False
        self._written = threading.Condition()

    def write(self, text: str) -> None:
        """Write an event, and wait until it is on disk.

        :param text: the event in JSON
        :raises Exception: the error of the write
        """
        own = _PendingWrite(text)
        with self._written:
            self._pending_writes.append(own)
            while self._writing and not own.done:
                self._written.wait()
            if not own.done:
                self._writing = True
                batch, self._pending_writes = self._pending_writes, []
        if not own.done:
            self._write(batch)
        if own.error:
            raise own.error

    def _write(self, batch: list[_PendingWrite]) -> None:
        error = None
        try:
            self._write_texts([write.text for write in batch])
        except Exception as caught:
            error = caught
        except BaseException:
            # Only this thread ends, so another one must write the batch.
            with self._written:
                self._pending_writes = batch + self._pending_writes
                self._writing = False
                self._written.notify_all()
            raise
        with self._written:
            for write in batch:
                write.done, write.error = True, error
            self._writing = False
            self._written.notify_all()


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


class _Delivery:
    """The delivery thread of one process, from its start to its stop."""

    def __init__(self, lock: _DeliveryLock, run: Callable[[_Delivery], None]) -> None:
        self.lock = lock
        self.process = os.getpid()
        #: Set when there may be something to do.
        self.wakeup = threading.Event()
        #: Set when the thread should end as soon as nothing is pending or an attempt
        #: fails.
        self.draining = threading.Event()
        #: Set when the thread should end at once.
        self.stopping = threading.Event()
        #: Whether nothing was pending when the thread ended.
        self.drained = False
        self.thread = threading.Thread(
            target=run,
            args=(self,),
            name=f"outbox-{lock.file.parent.name}",
            daemon=True,
        )

    def check(self) -> None:
        """Raise :class:`_StoppedError` if the thread should end at once."""
        # A green thread survives a fork.
        if self.stopping.is_set() or os.getpid() != self.process:
            raise _StoppedError

    def pause(self, seconds: float) -> None:
        """Wait before the next attempt, which is the last one once the outbox drains.

        :raises _StoppedError: if the outbox was draining before this attempt failed
        """
        self.check()
        if self.draining.is_set():
            raise _StoppedError
        self.draining.wait(seconds)
        self.check()


class Outbox:
    """A queue of events in a SQLite file, and the thread that delivers them.

    An event is on disk when :meth:`put` returns, and stays there until it is delivered.
    Delivery is at least once: a process that is killed after a delivery, but before the
    event is deleted, leaves it to be delivered again. One thread delivers all events in
    order. An event that the receiver rejects, or that cannot be read, becomes a dead
    letter in another table.

    If several processes use one directory, as during a restart of the service, one of
    them delivers. Another takes over when that process ends.

    :param path: the directory, which :meth:`start` creates if it is missing
    :param deliver: delivers one event, or raises
    :param timeout: returns the seconds to wait for each file that another program has
        locked
    :raises OSError: if the directory cannot be created or written to
    """

    def __init__(
        self,
        path: Path,
        deliver: Callable[[dict[str, Any]], None],
        timeout: Callable[[], float] = lambda: 2.0,
    ) -> None:
        self.path = path
        self.deliver = deliver
        #: Number of events that this process delivered.
        self.delivered = 0
        #: Number of events that this process sent and the receiver rejected.
        self.rejected = 0
        #: Number of rows that this process could not read.
        self.unreadable = 0
        self._timeout = timeout
        self._events = EventStore(path / FILE, timeout)
        self._overflow = EventStore(path / OVERFLOW_FILE, timeout)
        # Whether new events must be written behind those in the overflow file.
        self._overflowing = False
        # Whether the last attempt to write to the first file found it locked.
        self._locked = False
        self._thread_failed = False
        self._renew()
        # A wrong path must fail the start-up, not the first call.
        nearest = next(
            parent for parent in (path, *path.parents) if os.path.lexists(parent)
        )
        if not nearest.is_dir():
            raise NotADirectoryError(f"{nearest} is not a directory")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write to {nearest}")
        _outboxes[id(self)] = self

    def _renew(self) -> None:
        """Create what a child process must not inherit."""
        self._starting = threading.Lock()
        self._commits = _GroupCommit(self._write)
        self._delivery: _Delivery | None = None

    def put(self, event: dict[str, Any]) -> None:
        """Write an event to disk, for delivery after the events before it.

        :param event: plain data
        :raises TypeError, ValueError: if the event is not plain data
        :raises TimeoutError: if other programs have locked the files for too long
        :raises OSError, sqlite3.Error: if the event cannot be written
        """
        text = json.dumps(event, allow_nan=False)
        self._ensure_started()
        self._commits.write(text)

    def start(self) -> None:
        """Start delivering in the calling process, which may be a fork.

        :raises OSError: if the directory cannot be created, or if other users can read
            it
        :raises sqlite3.Error: if the file cannot be opened
        """
        try:
            self._events.open()
        except TimeoutError as error:
            LOG.warning("%(error)s", {"error": error})
        self._ensure_started()

    def _ensure_started(self) -> None:
        """Start the delivery thread, unless it runs or cannot be started for now."""
        if self._running():
            return
        if not self._starting.acquire(timeout=self._timeout()):
            raise TimeoutError(
                f"{self.path}: another thread has been starting the outbox for "
                f"{self._timeout():g} s"
            )
        try:
            if self._running():
                return
            prepare_directory(self.path)
            # Events that an earlier process has left must be delivered first.
            self._overflowing = self._overflow.count() != 0
            delivery = _Delivery(_DeliveryLock(self.path / "lock"), self._run)
            try:
                delivery.thread.start()
            except RuntimeError as error:
                # The events can be written, and delivered later.
                if not self._thread_failed:
                    LOG.error(
                        "Failed to start the thread that delivers events from "
                        "%(path)s, retrying at the next event: %(error)s",
                        {"path": self.path, "error": error},
                    )
                self._thread_failed = True
            else:
                self._delivery, self._thread_failed = delivery, False
        finally:
            self._starting.release()

    def _running(self) -> _Delivery | None:
        delivery = self._delivery
        return delivery if delivery and delivery.thread.is_alive() else None

    def _write(self, texts: list[str]) -> None:
        """Write a batch of events. Only one thread at a time runs this."""
        self._write_in_order(texts)
        if delivery := self._delivery:
            delivery.wakeup.set()

    def _write_in_order(self, texts: list[str]) -> None:
        if self._overflowing:
            self._overflowing = self._overflow.count() != 0
        if not self._overflowing:
            try:
                # While it is known to be locked, callers do not wait for it.
                self._events.append(texts, timeout=0 if self._locked else None)
            except TimeoutError as error:
                if not self._locked:
                    LOG.warning(
                        "%(error)s. Meanwhile, events are written to %(name)s",
                        {"error": error, "name": OVERFLOW_FILE},
                    )
                self._locked = self._overflowing = True
            else:
                self._locked = False
                return
        self._overflow.append(texts)

    def pending(self) -> int | None:
        """Return the number of events that wait for delivery, from any process.

        :return: the number; None if a file cannot be read
        """
        counts = self._of_both(EventStore.count)
        return counts and sum(counts)

    def oldest_age(self) -> float | None:
        """Return the time since the oldest event that waits was written.

        :return: seconds; 0 if no event waits; None if a file cannot be read
        """
        ages = self._of_both(EventStore.oldest_age)
        return ages and max(ages)

    def dead_letters(self) -> int | None:
        """Return the number of dead letters, from any process.

        :return: the number; None if a file cannot be read
        """
        counts = self._of_both(EventStore.dead_letters)
        return counts and sum(counts)

    def _of_both(
        self, read: Callable[[EventStore], _Number | None]
    ) -> tuple[_Number, _Number] | None:
        """Return the numbers of both files, or None if one of them cannot be read."""
        first, second = read(self._events), read(self._overflow)
        return None if first is None or second is None else (first, second)

    def stop(self, timeout: float) -> None:
        """Stop delivering; events that are left wait on disk for the next start.

        :param timeout: seconds to continue delivering while events are pending. It
            ends early if an attempt fails, because the receiver is down
        """
        delivery = self._running()
        if delivery is None:
            self._close()
            return
        delivery.draining.set()
        delivery.wakeup.set()
        delivery.thread.join(timeout)
        delivery.stopping.set()
        delivery.wakeup.set()
        # The thread's only long wait is a delivery, which is bounded.
        delivery.thread.join(1.0)
        if self._delivery is delivery:
            self._delivery = None
        # Other processes may have written more events since.
        if not delivery.drained and (left := self.pending()) != 0:
            LOG.warning(
                "Stopped with %(left)s undelivered event(s) in %(path)s; they will be "
                "delivered after the next start",
                {"left": "an unknown number of" if left is None else left}
                | {"path": self.path},
            )

    def _leave_parent(self) -> None:
        """Give up the thread and the lock of the parent process after a fork."""
        if self._delivery:
            # An open copy would keep the lock after the parent has ended.
            self._delivery.lock.release()
        self._renew()

    # -- the thread --------------------------------------------------------------

    def _run(self, delivery: _Delivery) -> None:
        failure = ""
        try:
            while True:
                try:
                    self._wait_for_lock(delivery)
                    self._deliver_batch(delivery)
                    failure = ""
                except _StoppedError:
                    raise
                except Exception as error:
                    text = f"{type(error).__name__}: {_text(error)}"
                    if text != failure:
                        LOG.error(
                            "Failed to read the outbox %(path)s, retrying: %(error)s",
                            {"path": self.path, "error": text},
                        )
                    failure = text
                    delivery.pause(READ_PAUSE)
        except _StoppedError:
            pass
        finally:
            if os.getpid() == delivery.process:
                self._end(delivery)

    def _end(self, delivery: _Delivery) -> None:
        for store in (self._events, self._overflow):
            # The next process must not deliver these events again.
            store.delete_settled(wait=True, timeout=self._timeout())
        # A later delivery may have begun to use the files.
        if self._delivery in (delivery, None):
            self._close()
        delivery.lock.release()

    def _close(self) -> None:
        for store in (self._events, self._overflow):
            store.close()

    def _wait_for_lock(self, delivery: _Delivery) -> None:
        """Wait until no other process delivers from this directory.

        :raises _StoppedError: if the outbox is stopped first
        """
        waiting = False
        while not delivery.lock.acquire():
            if not waiting:
                LOG.info(
                    "Another process delivers the events in %(path)s; this one takes "
                    "over when that ends",
                    {"path": self.path},
                )
                waiting = True
            delivery.check()
            if not delivery.draining.is_set():
                delivery.draining.wait(POLL_INTERVAL)
            elif self.pending() == 0:
                delivery.drained = True
                raise _StoppedError
            else:
                delivery.stopping.wait(0.05)
        delivery.check()

    def _deliver_batch(self, delivery: _Delivery) -> None:
        """Deliver the next events, or wait for one.

        :raises _StoppedError: if the outbox is stopped first
        """
        delivery.wakeup.clear()
        store, events = self._events, self._events.read(READ_SIZE)
        # The events in the overflow file are later than all in the first one.
        if not events and self._overflow.file.exists():
            store, events = self._overflow, self._overflow.read(READ_SIZE)
        read = time.monotonic()
        for event in events:
            delivery.check()
            if not delivery.lock.acquire():
                return
            retried = self._deliver(store, event, delivery)
            store.delete_settled(wait=False)
            # An operator may have changed the next rows meanwhile.
            if retried or time.monotonic() - read > POLL_INTERVAL:
                return
        # Also while nothing is pending, if earlier deletes have failed.
        for settled in (self._events, self._overflow):
            settled.delete_settled(wait=True)
        if events:
            return
        if not delivery.draining.is_set():
            delivery.wakeup.wait(POLL_INTERVAL)
        elif self.pending() == 0:
            delivery.drained = True
            raise _StoppedError

    def _deliver(
        self, store: EventStore, stored: StoredEvent, delivery: _Delivery
    ) -> bool:
        """Retry until an event is delivered or becomes a dead letter.

        :return: whether an attempt has failed
        :raises _StoppedError: if the outbox is stopped first
        """
        try:
            event = json.loads(stored.data)  # type: ignore[arg-type]
            if not isinstance(event, dict):
                raise TypeError(f"expected an object, got {type(event).__name__}")
        except (ValueError, TypeError, RecursionError) as error:
            self._bury(store, stored, f"row {stored.id} is not an event", error)
            self.unreadable += 1
            return False

        def pause(seconds: float) -> None:
            # This attempt may be the last one for a long time.
            store.delete_settled(wait=True)
            delivery.pause(seconds)

        def warn_once(state: tenacity.RetryCallState) -> None:
            # Further failures of the same event would only repeat the warning.
            if state.attempt_number == 1 and state.outcome:
                error = state.outcome.exception()
                LOG.warning(
                    "Failed to deliver event %(id)s, retrying until it is delivered: "
                    "%(type)s: %(error)s",
                    {
                        "id": event.get("id"),
                        "type": type(error).__name__,
                        "error": _text(error),
                    },
                )

        retrying = tenacity.Retrying(
            wait=_pause,
            retry=tenacity.retry_if_exception(_may_be_retried),
            before_sleep=warn_once,
            sleep=pause,
            reraise=True,
        )
        try:
            retrying(self.deliver, event)
        except RejectedError as error:
            self._bury(store, stored, f"event {event.get('id')} was rejected", error)
            self.rejected += 1
        else:
            self.delivered += 1
            store.settle(stored)
        return bool(retrying.statistics.get("attempt_number", 1) > 1)

    def _bury(
        self, store: EventStore, stored: StoredEvent, problem: str, error: Exception
    ) -> None:
        reason = _text(error)
        store.settle(stored, reason or type(error).__name__)
        store.delete_settled(wait=True)
        LOG.error(
            "%(problem)s, kept as a dead letter in %(path)s: %(error)s",
            {
                "problem": problem[0].upper() + problem[1:],
                "path": self.path,
                "error": reason,
            },
        )


def _may_be_retried(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, RejectedError)


_backoff = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait before the next attempt to deliver an event."""
    error = state.outcome and state.outcome.exception()
    asked = min(getattr(error, "retry_after", 0.0), LONGEST_RETRY_AFTER)
    return max(_backoff(state), asked)


def _text(error: BaseException | None) -> str:
    # The first cut bounds the time to search for secrets, and may cut one in two. The
    # second cut removes that part.
    text = str(error)[: 10 * LONGEST_TEXT]
    return without_secrets(text, None, {})[:LONGEST_TEXT]


class _StoppedError(Exception):
    """Raised in the delivery thread to end it."""


# -- forks -----------------------------------------------------------------------------

_outboxes: weakref.WeakValueDictionary[int, Outbox] = weakref.WeakValueDictionary()


def _after_fork_in_child() -> None:
    for outbox in alive(_outboxes):
        outbox._leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)

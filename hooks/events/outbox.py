# SPDX-License-Identifier: Apache-2.0
"""Durable delivery: events stay on disk until the receiver has them."""

from __future__ import annotations

import json
import math
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from oslo_log import log

from hooks.events.deliverer import Counts, Deliverer, Settings
from hooks.events.event import key_of
from hooks.events.store import (
    FILE,
    OVERFLOW_FILE,
    EventStore,
    alive,
    count,
    prepare_directory,
)

LOG = log.getLogger(__name__)

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


class Outbox:
    """A queue of events in a SQLite file, and the thread that delivers them.

    An event is on disk when :meth:`put` returns, and stays there until it is delivered.
    Delivery is at least once: a process that is killed after a delivery, but before the
    event is deleted, leaves it to be delivered again. Events with the same key, as
    returned by :func:`~hooks.events.event.key_of`, are delivered in order; others are
    delivered at the same time. An event that the receiver rejects, or that cannot be
    read, becomes a dead letter in another table.

    If several processes use one directory, as during a restart of the service, one of
    them delivers. Another takes over when that process ends.

    :param path: the directory, which :meth:`start` creates if it is missing
    :param deliver: delivers the events that are its arguments, or raises. It may be
        called from several threads at once
    :param settings: returns the current settings
    :param configuration: the hook's ``configuration``, whose secret options are masked
        in errors
    :raises OSError: if the directory cannot be created or written to
    """

    def __init__(
        self,
        path: Path,
        deliver: Callable[..., None],
        settings: Callable[[], Settings] = Settings,
        configuration: Any = None,
    ) -> None:
        self.path = path
        self.deliver = deliver
        self.settings = settings
        self.configuration = configuration
        self._counts = Counts()
        self.events = EventStore(path / FILE, self._timeout)
        # If its log were limited too, events would be lost.
        self.overflow = EventStore(path / OVERFLOW_FILE, self._timeout, math.inf)
        self._stores = (self.events, self.overflow)
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
        self._deliverer: Deliverer | None = None

    def _timeout(self) -> float:
        return self.settings().timeout

    def put(self, event: dict[str, Any]) -> None:
        """Write an event to disk, for delivery after the events before it.

        :param event: plain data
        :raises TypeError, ValueError: if the event is not plain data
        :raises TimeoutError: if other programs have locked the files for too long
        :raises OSError, sqlite3.Error: if the event cannot be written
        """
        entry = json.dumps([key_of(event), event], allow_nan=False)
        self._ensure_started()
        self._commits.write(entry)

    def start(self) -> None:
        """Start delivering in the calling process, which may be a fork.

        :raises OSError: if the directory cannot be created, or if other users can read
            it
        :raises sqlite3.Error: if the file cannot be opened
        """
        try:
            self.events.open()
        except TimeoutError as error:
            LOG.warning("%(error)s", {"error": error})
        self._ensure_started()

    def _ensure_started(self) -> None:
        """Start the delivery thread, unless it runs or cannot be started for now."""
        if self._running() or any(store.unusable for store in self._stores):
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
            if not self.overflow.is_empty():
                self._overflowing = True
            deliverer = Deliverer(
                self.path,
                self._stores,
                self.deliver,
                self.settings,
                self._counts,
                self._close_after,
                self.configuration,
            )
            try:
                deliverer.thread.start()
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
                self._deliverer, self._thread_failed = deliverer, False
        finally:
            self._starting.release()

    def _running(self) -> Deliverer | None:
        deliverer = self._deliverer
        return deliverer if deliverer and deliverer.thread.is_alive() else None

    def _write(self, entries: list[str]) -> None:
        """Write a batch of events. Only one thread at a time runs this."""
        self._write_in_order(entries)
        if deliverer := self._deliverer:
            deliverer.unread = True
            if deliverer.needs_events:
                deliverer.wakeup.set()

    def _write_in_order(self, entries: list[str]) -> None:
        if self._overflowing:
            self._overflowing = not self.overflow.is_empty()
        if not self._overflowing:
            try:
                # While it is known to be locked, callers do not wait for it.
                self.events.append(entries, timeout=0 if self._locked else None)
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
        self.overflow.append(entries)

    @property
    def delivered(self) -> int:
        """The number of events that this process delivered."""
        return self._counts.delivered

    @property
    def rejected(self) -> int:
        """The number of events that this process sent and the receiver rejected."""
        return self._counts.rejected

    @property
    def given_up(self) -> int:
        """The number of events that this process gave up."""
        return self._counts.given_up

    @property
    def unreadable(self) -> int:
        """The number of rows that this process could not read."""
        return self._counts.unreadable

    def pending(self) -> int | None:
        """Return the number of events that wait for delivery, from any process.

        :return: the number; None if a file cannot be read
        """
        return count(self._stores)

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
        first, second = (read(store) for store in self._stores)
        return None if first is None or second is None else (first, second)

    def stop(self, timeout: float) -> None:
        """Stop delivering; events that are left wait on disk for the next start.

        :param timeout: seconds to continue delivering while events are pending. It
            ends early if an attempt fails, because the receiver is down
        """
        deliverer = self._running()
        if deliverer is None:
            self._close()
            return
        deliverer.draining.set()
        deliverer.wakeup.set()
        deliverer.thread.join(timeout)
        deliverer.stopping.set()
        deliverer.wakeup.set()
        # The thread only waits for attempts, which are bounded.
        deliverer.thread.join(1.0)
        if self._deliverer is deliverer:
            self._deliverer = None
        # Other processes may have written more events since.
        if not deliverer.drained and (left := self.pending()) != 0:
            LOG.warning(
                "Stopped with %(left)s undelivered event(s) in %(path)s; they will be "
                "delivered after the next start",
                {"left": "an unknown number of" if left is None else left}
                | {"path": self.path},
            )

    def _close_after(self, deliverer: Deliverer) -> None:
        # A later deliverer may have begun to use the files.
        if self._deliverer in (deliverer, None):
            self._close()

    def _close(self) -> None:
        for store in self._stores:
            store.close()

    def _leave_parent(self) -> None:
        """Give up the thread and the lock of the parent process after a fork."""
        if self._deliverer:
            # An open copy would keep the lock after the parent has ended.
            self._deliverer.lock.release()
        self._renew()


# -- forks -----------------------------------------------------------------------------

_outboxes: weakref.WeakValueDictionary[int, Outbox] = weakref.WeakValueDictionary()


def _after_fork_in_child() -> None:
    for outbox in alive(_outboxes):
        outbox._leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)

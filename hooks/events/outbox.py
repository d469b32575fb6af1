# SPDX-License-Identifier: Apache-2.0
"""Durable delivery: events stay on disk until the receiver has them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import tenacity
from oslo_log import log
from persistqueue import Empty, SQLiteQueue

from aspects import without_secrets
from hooks.events.errors import RejectedError

LOG = log.getLogger(__name__)

#: Name of the database file in the directory of an outbox.
FILE = "events.sqlite"

#: Seconds between attempts to deliver an event, which double up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

#: Maximum pause, in seconds, that a receiver may ask for.
LONGEST_RETRY_AFTER = 3600.0

#: Seconds between checks for events of other processes, and for their end.
POLL_INTERVAL = 0.5


class _PendingWrite:
    """An event whose caller waits until it is on disk."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.done = False
        self.error: Exception | None = None


class _JsonBatchSerializer:
    """Serializer of a queue: writes a batch of JSON texts, reads one event."""

    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(texts: Iterable[str]) -> bytes:
        return f"[{','.join(texts)}]".encode()


class _Queue(SQLiteQueue):  # type: ignore[misc]
    """A table of events in the database file, one row an event.

    When several callers write at once, one of them writes the events of all, in one
    commit. So a caller waits for two writes at most: the one in progress, and the one
    with its own event.

    :param directory: the directory of the database file
    :param table: the table's name without its prefix ``queue_``
    """

    # The library passes the batch as one item; this makes a row of each text in it.
    _SQL_INSERT = (
        "INSERT INTO {table_name} (data, timestamp) SELECT CAST(value AS BLOB), ?2"
        " FROM json_each(CAST(?1 AS TEXT)) ORDER BY key"
    )

    def __init__(self, directory: Path, table: str) -> None:
        #: Set when the delivery thread has something to do.
        self.wakeup = threading.Event()
        self._pending_writes: list[_PendingWrite] = []
        self._writing = False
        self._written = threading.Condition()
        # SQLite fails in one of two processes that create the file at once.
        opening = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(opening, fcntl.LOCK_EX)
            super().__init__(
                str(directory),
                name=table,
                # An event that was read stays in the file until task_done().
                auto_commit=False,
                multithreading=True,
                serializer=_JsonBatchSerializer,
                db_file_name=FILE,
            )
        finally:
            os.close(opening)
        # The library deletes on the connection that writes, and callers would wait for
        # the disk then too. A delete that a power loss undoes only repeats an event, so
        # task_done() deletes on the other connection, which does not wait for the disk.
        self._putter.execute("PRAGMA synchronous = FULL")
        self._getter.execute("PRAGMA synchronous = NORMAL")

    def task_done(self) -> None:
        """Delete all events up to the one that was read last.

        :raises sqlite3.Error: if the file cannot be written
        """
        delete = self._SQL_DELETE.format(
            table_name=self._table_name, key_column=self._key_column, op="<="
        )
        with self.tran_lock, self._getter:
            self._getter.execute(delete, (self.cursor,))

    def append(self, event: dict[str, Any]) -> None:
        """Write an event, and wait until it is on disk.

        :param event: plain data
        :raises TypeError, ValueError: if the event is not plain data
        :raises sqlite3.Error: if the file cannot be written
        """
        own = _PendingWrite(json.dumps(event, allow_nan=False))
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
            self.put([write.text for write in batch])
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
        self.wakeup.set()


class Outbox:
    """A queue of events in a SQLite file, and the thread that delivers them.

    An event is on disk when :meth:`put` returns, and stays there until it is delivered.
    Delivery is at least once: a process that is killed after a delivery, but before the
    event is deleted, leaves it to be delivered again. One thread delivers all events in
    order. An event that the receiver rejects becomes a dead letter in another table.

    If several processes use one directory, as during a restart of the service, one of
    them delivers. Another takes over when that process ends.

    :param path: the directory, which :meth:`start` creates if it is missing
    :param deliver: delivers one event, or raises
    :raises OSError: if the directory cannot be created or written to
    """

    def __init__(self, path: Path, deliver: Callable[[dict[str, Any]], None]) -> None:
        self.path = path
        self.deliver = deliver
        #: Number of events that this process delivered.
        self.delivered = 0
        #: Number of events that this process sent and the receiver rejected.
        self.rejected = 0
        self._starting = threading.Lock()
        self._process: int | None = None
        self._inherited: list[Any] = []
        self._queue: _Queue | None = None
        self._lock: IO[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # A wrong path must fail the start-up, not the first call.
        nearest = next(parent for parent in (path, *path.parents) if parent.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(f"{nearest} is not a directory")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write to {nearest}")

    def put(self, event: dict[str, Any]) -> None:
        """Write an event to disk, for delivery after the events before it.

        :param event: plain data
        :raises OSError: if the directory cannot be created
        :raises sqlite3.Error: if the file cannot be written
        """
        # A concurrent stop() clears self._queue, so the queue is used from here.
        self._started().append(event)

    def start(self) -> None:
        """Start delivering in the calling process, which may be a fork.

        :raises OSError: if the directory cannot be created
        :raises sqlite3.Error: if the file cannot be opened
        """
        self._started()

    def _started(self) -> _Queue:
        if (queue := self._running_queue()) is not None:
            return queue
        with self._starting:
            if (queue := self._running_queue()) is not None:
                return queue
            if self._process not in (None, os.getpid()):
                self._abandon_inherited()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o750)
            queue = _Queue(self.path, "waiting")
            # The thread closes it.
            lock = open(self.path / "lock", "w")  # noqa: SIM115
            stopping = threading.Event()
            thread = threading.Thread(
                target=self._run,
                args=(queue, lock, stopping),
                name=f"outbox-{self.path.name}",
                daemon=True,
            )
            thread.start()
            self._queue, self._lock, self._stopping = queue, lock, stopping
            self._process, self._thread = os.getpid(), thread
            return queue

    def _running_queue(self) -> _Queue | None:
        """Return the queue, if a thread of this process delivers from it."""
        queue, thread = self._queue, self._thread
        alive = thread is not None and thread.is_alive()
        return queue if alive and self._process == os.getpid() else None

    def _abandon_inherited(self) -> None:
        """Give up the connections and the lock of the parent process."""
        # A child process must not even close an SQLite connection of its parent.
        self._inherited.append(self._queue)
        # An open copy would keep the lock after the parent has ended.
        if self._lock is not None:
            self._lock.close()

    def pending(self) -> int | None:
        """Return the number of events that wait for delivery, from any process.

        :return: the number; None if the file cannot be read, which makes :meth:`put`
            raise
        """
        file = self.path / FILE
        try:
            if not file.exists():
                return 0
            # The IDs have no gaps, so their range is the count. count(*) would read
            # all rows.
            with contextlib.closing(sqlite3.connect(file)) as connection:
                (count,) = connection.execute(
                    "SELECT coalesce((SELECT max(_id) FROM queue_waiting)"
                    " - (SELECT min(_id) FROM queue_waiting) + 1, 0)"
                ).fetchone()
        except (OSError, sqlite3.Error):
            return None
        return int(count)

    def stop(self, timeout: float) -> None:
        """Stop delivering; events that are left wait on disk for the next start.

        :param timeout: seconds to continue delivering while events are pending
        """
        queue, thread = self._running_queue(), self._thread
        if queue is None or thread is None:
            return
        deadline = time.monotonic() + timeout
        # Delivery may work even if the file cannot be counted.
        while (left := self.pending()) != 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopping.set()
        queue.wakeup.set()
        # The thread's only long wait is a delivery, which is bounded.
        thread.join(timeout=max(deadline - time.monotonic(), 1.0))
        # The connections close when the last call or thread that uses them drops them.
        self._queue = self._thread = None
        if left != 0:
            LOG.warning(
                "Stopped with %(left)s undelivered event(s) in %(path)s; they will be "
                "delivered after the next start",
                {"left": "an unknown number of" if left is None else left}
                | {"path": self.path},
            )

    # -- the thread --------------------------------------------------------------

    def _run(self, queue: _Queue, lock: IO[str], stopping: threading.Event) -> None:
        with lock, contextlib.suppress(_StoppedError):
            self._wait_for(lock, stopping)
            while not stopping.is_set():
                try:
                    self._next(queue, stopping)
                except _StoppedError:
                    raise
                except Exception as error:
                    # For example a full disk. If the event was delivered but not
                    # deleted, the next delete includes it; after a restart it repeats.
                    LOG.error(
                        "Failed to read or write the outbox %(path)s, retrying: "
                        "%(type)s: %(error)s",
                        {
                            "path": self.path,
                            "type": type(error).__name__,
                            "error": _text(error),
                        },
                    )
                    stopping.wait(1.0)

    def _wait_for(self, lock: IO[str], stopping: threading.Event) -> None:
        """Wait until no other process delivers from this directory.

        :raises _StoppedError: if the outbox is stopped first
        """
        while True:
            try:
                # The kernel releases the lock however the process ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if stopping.wait(POLL_INTERVAL):
                    raise _StoppedError from None

    def _next(self, queue: _Queue, stopping: threading.Event) -> None:
        """Deliver the next event, or wait for one.

        :raises _StoppedError: if the outbox is stopped first
        """
        queue.wakeup.clear()
        try:
            event = queue.get_nowait()
        except Empty:
            queue.wakeup.wait(POLL_INTERVAL)
            return
        self._deliver(event, stopping)
        # This also deletes earlier events whose delete failed.
        queue.task_done()

    def _deliver(self, event: dict[str, Any], stopping: threading.Event) -> None:
        """Retry until an event is delivered or rejected.

        :raises _StoppedError: if the outbox is stopped first
        """

        def pause(seconds: float) -> None:
            if stopping.wait(seconds):
                raise _StoppedError

        def warn_once(state: tenacity.RetryCallState) -> None:
            # Further failures of the same event would only repeat the warning.
            if state.attempt_number == 1 and state.outcome:
                error = state.outcome.exception()
                LOG.warning(
                    "Failed to deliver event %(id)s, retrying until it is delivered: "
                    "%(type)s: %(error)s",
                    {
                        "id": event["id"],
                        "type": type(error).__name__,
                        "error": _text(error),
                    },
                )

        for attempt in tenacity.Retrying(
            wait=_pause,
            retry=tenacity.retry_if_exception_type(Exception),
            before_sleep=warn_once,
            sleep=pause,
        ):
            with attempt:
                self._deliver_once(event)

    def _deliver_once(self, event: dict[str, Any]) -> None:
        try:
            self.deliver(event)
        except RejectedError as error:
            # If this write fails, as on a full disk, the event is tried again.
            _Queue(self.path, "dead_letters").append(event)
            self.rejected += 1
            LOG.error(
                "Event %(id)s was rejected, kept as a dead letter in %(path)s: "
                "%(error)s",
                {"id": event["id"], "path": self.path, "error": _text(error)},
            )
        else:
            self.delivered += 1


_backoff = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait before the next attempt to deliver an event."""
    error = state.outcome and state.outcome.exception()
    asked = min(getattr(error, "retry_after", 0.0), LONGEST_RETRY_AFTER)
    return max(_backoff(state), asked)


def _text(error: BaseException | None) -> str:
    return without_secrets(str(error), None, {})


class _StoppedError(Exception):
    """Raised in the delivery thread to end it."""

# SPDX-License-Identifier: Apache-2.0
"""Events on disk until they are delivered: ``hook_dispatch = durable``."""

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

#: The file, in the directory of an outbox.
FILE = "events.sqlite"

#: Seconds between the attempts to deliver an event: doubled up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

#: Seconds between two looks for events that another process has put.
LOOK_EVERY = 0.5


class _Put:
    """An event that a caller waits for to be on disk."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.done = False
        self.error: Exception | None = None


class _Texts:
    """How a queue writes the texts of several events, and reads one of them."""

    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(texts: Iterable[str]) -> bytes:
        return f"[{','.join(texts)}]".encode()


class _Queue(SQLiteQueue):  # type: ignore[misc]
    """The events in a table of a file, in a row each.

    Of several callers at once, one writes the events of all: with one commit, and
    one wait for the disk. So nobody waits for more writes than the one before and that
    of his own event, however many there are.

    :param directory: the directory of the file
    :param table: the table, without ``queue_`` before it
    """

    # Of a list of texts, which the library takes for one item.
    _SQL_INSERT = (
        "INSERT INTO {table_name} (data, timestamp) SELECT CAST(value AS BLOB), ?2"
        " FROM json_each(CAST(?1 AS TEXT)) ORDER BY key"
    )

    def __init__(self, directory: Path, table: str) -> None:
        #: Set when there is something to see to.
        self.news = threading.Event()
        self._puts: list[_Put] = []
        self._writing = False
        self._written = threading.Condition()
        # Of two processes that make the file at once, SQLite refuses one.
        opening = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(opening, fcntl.LOCK_EX)
            super().__init__(
                str(directory),
                name=table,
                # What was got stays until task_done(); what is put is there at once.
                auto_commit=False,
                multithreading=True,
                serializer=_Texts,
                db_file_name=FILE,
            )
        finally:
            os.close(opening)
        # The library deletes as it writes, with a wait for the disk each time, which
        # callers had to wait for as well. A delete that a loss of power undoes is but
        # a repeat, so it is done on the other connection, which does not wait.
        self._putter.execute("PRAGMA synchronous = FULL")
        self._getter.execute("PRAGMA synchronous = NORMAL")

    def task_done(self) -> None:
        """Take all up to the event that was got last out of the file.

        :raises sqlite3.Error: if that is not possible
        """
        delete = self._SQL_DELETE.format(
            table_name=self._table_name, key_column=self._key_column, op="<="
        )
        with self.tran_lock, self._getter:
            self._getter.execute(delete, (self.cursor,))

    def append(self, event: dict[str, Any]) -> None:
        """Write an event to disk.

        :param event: plain data
        :raises TypeError, ValueError: if it is not
        :raises sqlite3.Error: if it cannot be written
        """
        mine = _Put(json.dumps(event, allow_nan=False))
        with self._written:
            self._puts.append(mine)
            while self._writing and not mine.done:
                self._written.wait()
            if not mine.done:
                self._writing = True
                puts, self._puts = self._puts, []
        if not mine.done:
            self._write(puts)
        if mine.error:
            raise mine.error

    def _write(self, puts: list[_Put]) -> None:
        error = None
        try:
            self.put([each.text for each in puts])
        except Exception as caught:
            error = caught
        except BaseException:
            # The end of this thread alone: another is to write for the rest.
            with self._written:
                self._puts = puts + self._puts
                self._writing = False
                self._written.notify_all()
            raise
        with self._written:
            for each in puts:
                each.done, each.error = True, error
            self._writing = False
            self._written.notify_all()
        self.news.set()


class Outbox:
    """A queue of events in a SQLite file, and the thread that delivers them.

    An event is on disk when :meth:`put` returns, and stays there until it was
    delivered: at least once, since a process may be killed between the delivery
    and the note of it. One thread delivers all of them in order, so the events of
    each share are in order as well; one that the other end refuses for good is
    kept in a table of its own.

    Of several processes with one directory, as while a service restarts, one
    delivers and the others wait for it to end.

    :param path: the directory; :meth:`start` makes it when needed
    :param deliver: delivers one event, or raises
    :raises OSError: if the directory cannot be written to or made
    """

    def __init__(self, path: Path, deliver: Callable[[dict[str, Any]], None]) -> None:
        self.path = path
        self.deliver = deliver
        #: How many events were delivered by this process.
        self.delivered = 0
        #: How many events the other end refused, by this process.
        self.refused = 0
        self._starting = threading.Lock()
        self._process: int | None = None
        self._inherited: list[Any] = []
        self._queue: _Queue | None = None
        self._lock: IO[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # An operator is to know at start-up, not at the first share.
        nearest = next(each for each in (path, *path.parents) if each.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(f"{nearest} is not a directory")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write to {nearest}")

    def put(self, event: dict[str, Any]) -> None:
        """Write an event to disk, to be delivered after those before it.

        :param event: plain data
        :raises OSError: if the directory cannot be made
        :raises sqlite3.Error: if it cannot be written
        """
        # Kept here: a stop() meanwhile lets go of it.
        self._started().append(event)

    def start(self) -> None:
        """Begin to deliver, in the process that calls; again after a fork.

        :raises OSError: if the directory cannot be made
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
                self._disinherit()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o750)
            queue = _Queue(self.path, "waiting")
            lock = open(self.path / "lock", "w")  # noqa: SIM115 (the thread's)
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
        """Return the queue that a thread of this process delivers from."""
        queue, thread = self._queue, self._thread
        alive = thread is not None and thread.is_alive()
        return queue if alive and self._process == os.getpid() else None

    def _disinherit(self) -> None:
        """Let go of what is the parent's."""
        # SQLite's connections must not even be closed in a child.
        self._inherited.append(self._queue)
        # While it is open here, it stays locked when the parent is gone.
        if self._lock is not None:
            self._lock.close()

    def pending(self) -> int | None:
        """Return how many events wait for delivery, whoever has put them.

        :return: None if the file cannot be read, of which :meth:`put` tells
        """
        file = self.path / FILE
        try:
            if not file.exists():
                return 0
            # Counted by the ids, of which none is left out: a count of the rows
            # would read them all.
            with contextlib.closing(sqlite3.connect(file)) as connection:
                (count,) = connection.execute(
                    "SELECT coalesce((SELECT max(_id) FROM queue_waiting)"
                    " - (SELECT min(_id) FROM queue_waiting) + 1, 0)"
                ).fetchone()
        except (OSError, sqlite3.Error):
            return None
        return int(count)

    def stop(self, timeout: float) -> None:
        """Stop delivering; what is not delivered by then is for the next time.

        :param timeout: seconds to go on while there are events
        """
        queue, thread = self._running_queue(), self._thread
        if queue is None or thread is None:
            return
        deadline = time.monotonic() + timeout
        # Where it cannot be told, it may deliver all the same.
        while (left := self.pending()) != 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopping.set()
        queue.news.set()
        # It waits for nothing long but a delivery, which is bounded.
        thread.join(timeout=max(deadline - time.monotonic(), 1.0))
        # It is closed by the last who has it: a call, or the thread.
        self._queue = self._thread = None
        if left != 0:
            LOG.warning(
                "%(left)s event(s) in %(path)s are left to be delivered at the next "
                "start",
                {"left": "Unknown how many" if left is None else left}
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
                    # A full disk, say. What was not noted as delivered is so with
                    # the next event, or delivered again after a start.
                    LOG.error(
                        "%(path)s: %(type)s: %(error)s",
                        {
                            "path": self.path,
                            "type": type(error).__name__,
                            "error": _text(error),
                        },
                    )
                    stopping.wait(1.0)

    def _wait_for(self, lock: IO[str], stopping: threading.Event) -> None:
        """Wait until no other process delivers from this directory.

        :raises _StoppedError: if it is to stop before
        """
        while True:
            try:
                # Given back by the system, whichever way the process ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if stopping.wait(LOOK_EVERY):
                    raise _StoppedError from None

    def _next(self, queue: _Queue, stopping: threading.Event) -> None:
        """Deliver the next event, if there is one.

        :raises _StoppedError: if it is to stop before
        """
        queue.news.clear()
        try:
            event = queue.get_nowait()
        except Empty:
            queue.news.wait(LOOK_EVERY)
            return
        self._deliver(event, stopping)
        # Takes all up to this one out of the file, in one commit.
        queue.task_done()

    def _deliver(self, event: dict[str, Any], stopping: threading.Event) -> None:
        """Try until an event is delivered, or refused.

        :raises _StoppedError: if it is to stop before
        """

        def pause(seconds: float) -> None:
            if stopping.wait(seconds):
                raise _StoppedError

        def told(state: tenacity.RetryCallState) -> None:
            # One line when it begins; the rest of an outage says nothing new.
            if state.attempt_number == 1 and state.outcome:
                error = state.outcome.exception()
                LOG.warning(
                    "Event %(id)s was not delivered, and will be tried until it is: "
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
            before_sleep=told,
            sleep=pause,
        ):
            with attempt:
                self._deliver_once(event)

    def _deliver_once(self, event: dict[str, Any]) -> None:
        try:
            self.deliver(event)
        except RejectedError as error:
            # Should this fail, as on a full disk, it counts as not delivered.
            _Queue(self.path, "refused").append(event)
            self.refused += 1
            LOG.error(
                "Event %(id)s was refused, and is kept in %(path)s: %(error)s",
                {"id": event["id"], "path": self.path, "error": _text(error)},
            )
        else:
            self.delivered += 1


_backoff = tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next attempt to deliver an event."""
    error = state.outcome and state.outcome.exception()
    asked = min(getattr(error, "retry_after", 0.0), LONGEST_PAUSE)
    return max(_backoff(state), asked)


def _text(error: BaseException | None) -> str:
    return without_secrets(str(error), None, {})


class _StoppedError(Exception):
    """The thread that delivers is to end."""

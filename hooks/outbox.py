# SPDX-License-Identifier: Apache-2.0
"""Events on disk until they are delivered: ``hook_dispatch = durable``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tenacity
from oslo_log import log
from persistqueue import Empty, SQLiteAckQueue
from persistqueue.serializers import json as json_serializer

from hooks.delivery import Refused

LOG = log.getLogger(__name__)

#: Seconds between the attempts to deliver an event: doubled up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

#: After how many deliveries those that are done are taken out of the file.
TIDY_EVERY = 200


class Outbox:
    """A queue of events in a SQLite file, and the thread that delivers them.

    An event is on disk when :meth:`put` returns, and stays there until it was
    delivered: at least once, since a process may be killed between the delivery
    and the note of it. One thread delivers all of them in order, so the events of
    each share are in order as well; one that the other end refuses for good is
    left in the file, marked as failed.

    Of several processes with one folder, as while a service restarts, one
    delivers and the others wait for it to end.

    :param path: the folder; made when needed
    :param deliver: delivers one event, or raises
    :raises OSError: if the folder cannot be written to
    """

    def __init__(self, path: Path, deliver: Callable[[dict[str, Any]], None]) -> None:
        self.path = path
        self.deliver = deliver
        #: How many events were delivered by this process.
        self.delivered = 0
        #: How many events the other end refused, by this process.
        self.refused = 0
        self._starting = threading.Lock()
        # The library's own count is not kept by several threads at once.
        self._counting = threading.Lock()
        self._waiting = 0
        self._process: int | None = None
        self._queue: Any = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # An operator is to know at start-up, not at the first share.
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write to {path}")

    def put(self, event: dict[str, Any]) -> None:
        """Write an event to disk, to be delivered after those before it.

        :param event: plain data
        :raises sqlite3.Error: if it cannot be written
        """
        self.start()
        with self._counting:
            self._queue.put(event)
            self._waiting += 1

    def start(self) -> None:
        """Begin to deliver, in the process that calls; again after a fork."""
        if self._runs():
            return
        with self._starting:
            if self._runs():
                return
            # SQLite's connections and threads do not survive a fork.
            self._queue = SQLiteAckQueue(
                str(self.path),
                auto_resume=False,
                multithreading=True,
                serializer=json_serializer,
                db_file_name="events.sqlite",
            )
            self._stopping = threading.Event()
            self._process = os.getpid()
            self._thread = threading.Thread(
                target=self._run, name=f"outbox-{self.path.name}", daemon=True
            )
            self._thread.start()

    def _runs(self) -> bool:
        alive = self._thread is not None and self._thread.is_alive()
        return alive and self._process == os.getpid()

    def pending(self) -> int:
        """Return how many events this process knows to wait for delivery."""
        return self._waiting

    def stop(self, timeout: float) -> None:
        """Stop delivering; what is not delivered by then is for the next time.

        :param timeout: seconds to go on while there are events
        """
        thread = self._thread
        if thread is None or not self._runs():
            return
        deadline = time.monotonic() + timeout
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopping.set()
        # It waits for nothing long but a delivery, which is bounded.
        thread.join(timeout=max(deadline - time.monotonic(), 1.0))
        if self._waiting:
            LOG.warning(
                "%(left)d event(s) in %(path)s are left to be delivered at the next "
                "start",
                {"left": self._waiting, "path": self.path},
            )
        with self._starting:
            self._thread = None

    # -- the thread --------------------------------------------------------------

    def _run(self) -> None:
        queue, stopping = self._queue, self._stopping
        with contextlib.suppress(_Stopped), self._alone(stopping):
            with self._counting:
                # Those that a process was killed with, and those put while
                # another process delivered.
                queue.resume_unack_tasks()
                self._waiting = queue.size
            while not stopping.is_set():
                try:
                    self._next(queue, stopping)
                except sqlite3.Error as error:
                    # A full disk, say. The event stays, and is delivered again
                    # after a start.
                    LOG.error(
                        "%(path)s: %(error)s", {"path": self.path, "error": error}
                    )
                    stopping.wait(1.0)

    def _next(self, queue: Any, stopping: threading.Event) -> None:
        """Deliver the next event, if there is one.

        :raises _Stopped: if it is to stop before
        """
        try:
            item = queue.get(timeout=0.5, raw=True)
        except Empty:
            return
        try:
            self._deliver(item["data"], stopping)
        except _Stopped:
            queue.nack(id=item["pqid"])
            raise
        except Refused as error:
            queue.ack_failed(id=item["pqid"])
            self.refused += 1
            LOG.error(
                "Event %(id)s was refused, and stays in %(path)s: %(error)s",
                {"id": item["data"]["id"], "path": self.path, "error": error},
            )
        else:
            queue.ack(id=item["pqid"])
            self.delivered += 1
            if self.delivered % TIDY_EVERY == 0:
                queue.clear_acked_data(max_delete=0, keep_latest=0)
        with self._counting:
            self._waiting -= 1

    @contextlib.contextmanager
    def _alone(self, stopping: threading.Event) -> Any:
        """Wait until no other process delivers from this folder.

        :raises _Stopped: if it is to stop before
        """
        with open(self.path / "lock", "w") as lock:
            while True:
                try:
                    # Given back by the system, whichever way the process ends.
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stopping.wait(0.5):
                        raise _Stopped from None
            yield

    def _deliver(self, event: dict[str, Any], stopping: threading.Event) -> None:
        """Try until an event is delivered.

        :raises Refused: if it never will be
        :raises _Stopped: if it is to stop before
        """

        def pause(seconds: float) -> None:
            if stopping.wait(seconds):
                raise _Stopped

        def told(state: tenacity.RetryCallState) -> None:
            # One line when it begins; the rest of an outage says nothing new.
            if state.attempt_number == 1 and state.outcome:
                error = state.outcome.exception()
                LOG.warning(
                    "Event %(id)s was not delivered, and will be tried until it is: "
                    "%(type)s: %(error)s",
                    {"id": event["id"], "type": type(error).__name__, "error": error},
                )

        for attempt in tenacity.Retrying(
            wait=tenacity.wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE),
            retry=tenacity.retry_if_exception_type(Exception)
            & tenacity.retry_if_not_exception_type((Refused, _Stopped)),
            before_sleep=told,
            sleep=pause,
            reraise=True,
        ):
            with attempt:
                self.deliver(event)


class _Stopped(Exception):
    """The thread that delivers is to end."""

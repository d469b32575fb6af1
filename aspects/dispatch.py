# SPDX-License-Identifier: Apache-2.0
"""Actions off the caller's thread: ``hook_dispatch = background``."""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import time
import weakref
from typing import Any

from oslo_log import log

from aspects.health import guarded
from aspects.hook import PROTOCOLS, Action, UpdatedResults, hook_name, log_failure

LOG = log.getLogger(__name__)


class Background:
    """Runs actions of one hook in order, in one thread that is not the caller's.

    It runs on futurist's executor: on native threads and, where eventlet has
    patched the process, on green ones. The thread begins with the first action,
    in the process of that action. It needs the extra ``background``.

    :param name: what the log calls the hook
    :param size: how many actions may wait
    :param timeout: seconds that a caller waits for room before an action is
        dropped
    :param drain: seconds that :meth:`stop` waits for the actions in the queue
    :raises ImportError: if futurist is not installed
    """

    def __init__(
        self,
        name: str,
        size: int = 1000,
        timeout: float = 1.0,
        drain: float = 10.0,
    ) -> None:
        import futurist

        self.name = name
        self._new_pool = futurist.ThreadPoolExecutor
        self._size = size
        self._timeout = timeout
        self._drain = drain
        self._starting = threading.Lock()
        self._pool: Any = None
        self._process: int | None = None
        self._room = threading.Semaphore(size)
        #: How many actions were dropped.
        self.dropped = 0
        self._counting = threading.Lock()
        self._pending = 0

    def put(
        self,
        hook: object,
        kind: str,
        operation: str,
        action: Action,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Have an action run after those that were put before it.

        It runs with the caller's context variables. What it raises is logged:
        there is no caller left to get it.

        :param hook: the hook, for the log
        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param operation: the operation
        :param action: what to run
        :param args: its arguments
        :param kwargs: its keyword arguments
        """
        pool = self._running_pool()
        # Read once: a process that has forked gets a semaphore of its own.
        room = self._room
        if not room.acquire(timeout=self._timeout):
            self._drop(1, f"its queue was full for {self._timeout:g} s")
            return
        in_context = contextvars.copy_context().run
        action = guarded(hook, kind, action)
        process = os.getpid()

        def run() -> None:
            if os.getpid() != process:
                # A green thread lives on in a process that forks.
                return
            try:
                answer = in_context(action, *args, **kwargs)
            except BaseException as error:
                given = args[len(PROTOCOLS[kind]) :]
                log_failure(hook, kind, operation, error, args[0], given, kwargs)
            else:
                if isinstance(answer, UpdatedResults):
                    LOG.warning(
                        "Hook %(hook)s cannot update the results of %(operation)s: "
                        "with hook_dispatch = background they are the caller's "
                        "already",
                        {"hook": hook_name(hook), "operation": operation},
                    )
            finally:
                self._count(-1, room)
                room.release()

        self._count(+1, room)
        try:
            pool.submit(run)
        except RuntimeError:
            self._count(-1, room)
            room.release()
            self._drop(1, "its queue is closed")

    def pending(self) -> int:
        """Return how many actions wait or run."""
        return self._pending

    def _count(self, more: int, room: threading.Semaphore) -> None:
        with self._counting:
            # Those of a queue that was dropped are not of this one.
            if room is self._room:
                self._pending += more

    def stop(self) -> None:
        """Wait for the actions in the queue, and drop those that take too long."""
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is None or self._process != os.getpid():
            return
        deadline = time.monotonic() + self._drain
        # The whole room is free when none waits and none runs.
        taken = 0
        while taken < self._size:
            left = max(deadline - time.monotonic(), 0)
            if not self._room.acquire(timeout=left):
                break
            taken += 1
        from futurist import _thread

        pool.shutdown(wait=False)
        with self._counting:
            self._room, self._pending = threading.Semaphore(self._size), 0
        if taken < self._size:
            # One that hangs would have futurist wait for it for ever when the
            # interpreter ends; there is no public way to tell it not to.
            for worker in pool._workers:
                _thread._to_be_cleaned.pop(worker, None)
            self._drop(
                self._size - taken, f"it stopped, and they took over {self._drain:g} s"
            )

    def _running_pool(self) -> Any:
        with self._starting:
            if self._pool is None or self._process != os.getpid():
                self._pool = self._new_pool(max_workers=1)
                self._process = os.getpid()
                self._room = threading.Semaphore(self._size)
                self._pending = 0
                # After futurist's own, so that it is run before.
                if not _to_stop:
                    atexit.register(_stop_all)
                _to_stop.add(self)
            return self._pool

    def _drop(self, count: int, cause: str) -> None:
        self.dropped += count
        LOG.warning(
            "Dropped %(count)d action(s) of hook %(hook)s: %(cause)s (dropped so far: "
            "%(dropped)d)",
            {
                "count": count,
                "hook": self.name,
                "cause": cause,
                "dropped": self.dropped,
            },
        )


_to_stop: weakref.WeakSet[Background] = weakref.WeakSet()


def _stop_all() -> None:
    for background in tuple(_to_stop):
        background.stop()

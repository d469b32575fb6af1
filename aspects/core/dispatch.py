# SPDX-License-Identifier: Apache-2.0
"""Actions off the caller's thread: ``hook_dispatch = background``."""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import weakref
from typing import Any

from oslo_log import log

from aspects.core.breaker import guarded, hook_name
from aspects.core.log import log_failure
from aspects.core.signature import PROTOCOLS
from aspects.hook import Action, UpdatedResults

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
        self._queue: _Queue | None = None
        #: How many actions were dropped.
        self.dropped = 0

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
        in_context = contextvars.copy_context().run
        action = guarded(hook, kind, action, operation)
        entered = False
        # Another one, should it be closed while this action waits for room.
        while not entered:
            queue = self._running_queue()
            if not queue.room.acquire(timeout=self._timeout):
                self._drop(1, f"its queue was full for {self._timeout:g} s")
                return
            entered = queue.enter()

        def run() -> None:
            if os.getpid() != queue.process:
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
                queue.leave()

        try:
            queue.pool.submit(run)
        except RuntimeError:
            # It was closed meanwhile, and this one dropped with the rest of it.
            queue.leave()

    def pending(self) -> int:
        """Return how many actions wait or run."""
        queue = self._queue
        return 0 if queue is None else queue.pending

    def stop(self) -> None:
        """Wait for the actions in the queue, and drop those that take too long.

        Those that are put meanwhile are among them.
        """
        queue = self._queue
        if queue is None or queue.process != os.getpid():
            return
        left = queue.close(self._drain)
        with self._starting:
            if self._queue is queue:
                self._queue = None
        queue.pool.shutdown(wait=False)
        if left:
            # One that hangs would have futurist wait for it for ever when the
            # interpreter ends; there is no public way to tell it not to.
            from futurist import _thread

            for worker in queue.pool._workers:
                _thread._to_be_cleaned.pop(worker, None)
            self._drop(left, f"it stopped, and they took over {self._drain:g} s")

    def _running_queue(self) -> _Queue:
        with self._starting:
            queue = self._queue
            if queue is None or queue.closed or queue.process != os.getpid():
                queue = self._queue = _Queue(self._new_pool(max_workers=1), self._size)
                # After futurist's own, so that it is run before.
                if not _to_stop:
                    atexit.register(_stop_all)
                _to_stop.add(self)
            return queue

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


class _Queue:
    """The thread of one process, and the actions that wait for it, until it stops.

    :param pool: runs one action after the other
    :param size: how many may wait or run
    """

    def __init__(self, pool: Any, size: int) -> None:
        self.pool = pool
        self.process = os.getpid()
        self.room = threading.Semaphore(size)
        #: How many actions wait or run.
        self.pending = 0
        self.closed = False
        self._changed = threading.Condition()

    def enter(self) -> bool:
        """Count an action for which there is room.

        :return: whether it may be put in; False for a queue that is closed
        """
        with self._changed:
            if not self.closed:
                self.pending += 1
                return True
        self.room.release()
        return False

    def leave(self) -> None:
        """Count one out that is done."""
        with self._changed:
            self.pending -= 1
            self._changed.notify_all()
        self.room.release()

    def close(self, timeout: float) -> int:
        """Wait until it is empty, and take no more.

        :param timeout: seconds to wait
        :return: how many actions are left
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.pending, timeout)
            self.closed = True
            return self.pending


_to_stop: weakref.WeakSet[Background] = weakref.WeakSet()


def _stop_all() -> None:
    for background in tuple(_to_stop):
        background.stop()

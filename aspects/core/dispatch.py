# SPDX-License-Identifier: Apache-2.0
"""Run hook methods off the caller's thread: ``hook_dispatch = background``."""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import weakref
from typing import Any

from oslo_log import log

from aspects.core.breaker import record_failure, supervised
from aspects.core.log import hook_name
from aspects.core.signature import PROTOCOLS, results_in
from aspects.core.step import adapt
from aspects.hook import Method, UpdatedResults

LOG = log.getLogger(__name__)


class Background:
    """Runs the methods of one hook in order, in a thread of its own.

    It uses futurist's executor, with native threads, or green threads if eventlet has
    patched the process. The thread starts with the first method, in the process of
    that call. It needs the extra ``background``.

    :param name: the hook's name, for the log
    :param size: the number of methods that may wait
    :param timeout: seconds that a caller waits for capacity before a method is
        dropped
    :param drain: seconds that :meth:`stop` waits for the methods in the queue
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
        #: The number of methods that were dropped.
        self.dropped = 0

    def put(
        self,
        hook: object,
        kind: str,
        operation: str,
        method: Method,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Enqueue a hook method, to run after those in the queue.

        It runs with the caller's context variables. Its errors are logged, because the
        caller no longer waits for them.

        :param hook: the hook
        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param operation: the operation
        :param method: the method
        :param args: its arguments
        :param kwargs: its keyword arguments
        """
        in_context = contextvars.copy_context().run
        hook = adapt(hook)
        method = supervised(hook, kind, method, operation)
        entered = False
        # Another thread may close the queue while this call waits for capacity.
        while not entered:
            queue = self._running_queue()
            if not queue.room.acquire(timeout=self._timeout):
                self._drop(1, f"its queue was full for {self._timeout:g} s")
                return
            entered = queue.enter()

        def run() -> None:
            if not queue.begin():
                return
            try:
                answer = in_context(method, *args, **kwargs)
            except BaseException as error:
                rest = args[len(PROTOCOLS[kind]) :]
                call = (args[0], rest, kwargs, results_in(kind, args))
                record_failure(hook, kind, operation, error, *call)
            else:
                if isinstance(answer, UpdatedResults):
                    LOG.warning(
                        "Hook %(hook)s cannot update the results of %(operation)s: "
                        "with hook_dispatch = background the caller already has them",
                        {"hook": hook_name(hook), "operation": operation},
                    )
            finally:
                queue.leave()

        try:
            queue.pool.submit(run)
        except RuntimeError:
            # A concurrent stop() closed the queue, and dropped this method too.
            queue.leave()

    def pending(self) -> int:
        """Return the number of methods that wait or run."""
        queue = self._queue
        return 0 if queue is None else queue.pending

    def stop(self) -> None:
        """Drain the queue, and drop the methods that have not begun in time.

        Methods that are enqueued in the meantime are drained as well. A method that
        runs too long is abandoned: it keeps running, but nothing waits for it.
        """
        queue = self._queue
        if queue is None or queue.process != os.getpid():
            return
        waiting, running = queue.close(self._drain)
        with self._starting:
            if self._queue is queue:
                self._queue = None
        queue.pool.shutdown(wait=False)
        if running:
            # At exit, futurist waits for all its threads, even for one that hangs. It
            # has no public API to exclude one.
            from futurist import _thread

            for worker in queue.pool._workers:
                _thread._to_be_cleaned.pop(worker, None)
            LOG.warning(
                "Abandoned a method of hook %(hook)s: it still runs %(drain)g s after "
                "the hook was stopped",
                {"hook": self.name, "drain": self._drain},
            )
        if waiting:
            self._drop(waiting, f"not begun {self._drain:g} s after it was stopped")

    def _running_queue(self) -> _Queue:
        with self._starting:
            queue = self._queue
            if queue is None or queue.closed or queue.process != os.getpid():
                queue = self._queue = _Queue(self._new_pool(max_workers=1), self._size)
                # Handlers run in reverse order: this one before futurist's own.
                if not _to_stop:
                    atexit.register(_stop_all)
                _to_stop.add(self)
            return queue

    def _drop(self, count: int, cause: str) -> None:
        self.dropped += count
        LOG.warning(
            "Dropped %(count)d method(s) of hook %(hook)s: %(cause)s (dropped so far: "
            "%(dropped)d)",
            {
                "count": count,
                "hook": self.name,
                "cause": cause,
                "dropped": self.dropped,
            },
        )


class _Queue:
    """The queued methods of one process.

    :param pool: runs one method after the other
    :param size: the number of methods that may wait or run
    """

    def __init__(self, pool: Any, size: int) -> None:
        self.pool = pool
        self.process = os.getpid()
        self.room = threading.Semaphore(size)
        #: The number of methods that wait or run.
        self.pending = 0
        self.closed = False
        self._running = False
        self._changed = threading.Condition()

    def enter(self) -> bool:
        """Count a method that has acquired capacity as pending.

        :return: whether it may be enqueued; False if the queue is closed
        """
        with self._changed:
            if not self.closed:
                self.pending += 1
                return True
        self.room.release()
        return False

    def begin(self) -> bool:
        """Return whether the next method may run.

        It may not if the queue was closed, as that dropped it, nor in a child process,
        where a green thread survives the fork.
        """
        with self._changed:
            self._running = not self.closed and os.getpid() == self.process
            return self._running

    def leave(self) -> None:
        """Remove a finished method from the count."""
        with self._changed:
            self._running = False
            self.pending -= 1
            self._changed.notify_all()
        self.room.release()

    def close(self, timeout: float) -> tuple[int, bool]:
        """Wait until the queue is empty, then neither accept nor begin methods.

        :param timeout: seconds to wait
        :return: the number of methods that have not begun, and whether one runs
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.pending, timeout)
            self.closed = True
            return self.pending - self._running, self._running


_to_stop: weakref.WeakSet[Background] = weakref.WeakSet()


def _stop_all() -> None:
    for background in tuple(_to_stop):
        background.stop()

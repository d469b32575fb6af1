# SPDX-License-Identifier: Apache-2.0
"""Run hook methods off the caller's thread: ``hook_dispatch = background``."""

from __future__ import annotations

import atexit
import collections
import contextvars
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from oslo_log import log

from aspects.core.breaker import record_failure, supervised
from aspects.core.forks import fork_safe_lock
from aspects.core.log import hook_name
from aspects.core.signature import PROTOCOLS, results_in
from aspects.core.step import adapt
from aspects.hook import Method, UpdatedResults

LOG = log.getLogger(__name__)


class Background:
    """Runs the methods of one hook off the caller's thread.

    Methods with the same key run in order, one at a time. It uses futurist's executor,
    with native threads, or green threads if eventlet has patched the process. The
    threads start with the first methods, in the process of that call. It needs the
    extra ``background``.

    :param name: the hook's name, for the log
    :param size: the number of methods that may wait
    :param timeout: seconds that a caller waits for capacity before a method is
        dropped
    :param drain: seconds that :meth:`stop` waits for the methods in the queue
    :param workers: maximum number of methods that run at once
    :raises ImportError: if futurist is not installed
    """

    _starting = fork_safe_lock()

    def __init__(
        self,
        name: str,
        size: int = 1000,
        timeout: float = 1.0,
        drain: float = 10.0,
        workers: int = 1,
    ) -> None:
        import futurist

        self.name = name
        self._new_pool = futurist.ThreadPoolExecutor
        self._size = size
        self._timeout = timeout
        self.drain = drain
        self._workers = workers
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
        """Enqueue a hook method, to run after those with no key.

        It runs with the caller's context variables. Its errors are logged, because the
        caller no longer waits for them.

        :param hook: the hook
        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param operation: the operation
        :param method: the method
        :param args: its arguments
        :param kwargs: its keyword arguments
        """
        self.put_keyed("", hook, kind, operation, method, *args, **kwargs)

    def put_keyed(
        self,
        key: str,
        hook: object,
        kind: str,
        operation: str,
        method: Method,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Enqueue a hook method, to run after those with the same key.

        :param key: the key
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
            try:
                queue = self._running_queue()
            except RuntimeError as error:
                self._drop(1, str(error))
                return
            if not queue.room.acquire(timeout=self._timeout):
                self._drop(1, f"its queue was full for {self._timeout:g} s")
                return
            entered = queue.enter()

        def run() -> None:
            if not queue.begin():
                # Callers that wait for capacity then use another queue.
                queue.room.release()
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

        queue.submit(key, run)

    def pending(self) -> int:
        """Return the number of methods that wait or run."""
        queue = self._queue
        return 0 if queue is None or queue.is_inherited() else queue.pending

    def stop(self, end: float | None = None) -> None:
        """Drain the queue, and drop the methods that have not begun in time.

        Methods that are enqueued in the meantime are drained as well. A method that
        runs too long is abandoned: it keeps running, but nothing waits for it.

        :param end: the time on :func:`time.monotonic` until which to wait; after the
            drain time by default
        """
        queue = self._queue
        if queue is None or queue.is_inherited():
            return
        timeout = self.drain if end is None else max(0.0, end - time.monotonic())
        if queue.is_dead():
            timeout = 0.0
        waiting, running = queue.close(timeout)
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
                {"hook": self.name, "drain": self.drain},
            )
        self._drop(waiting, f"not begun {self.drain:g} s after it was stopped")

    def _running_queue(self) -> _Queue:
        """Return the queue of this process, with its thread.

        :raises RuntimeError: if the thread cannot be started
        """
        queue = self._queue
        if queue is not None and queue.is_open():
            return queue
        with self._starting:
            queue = self._queue
            if queue is None or not queue.is_open():
                if queue is not None and queue.is_dead():
                    lost, _ = queue.close(0)
                    self._drop(lost, "its thread has ended")
                queue = _Queue(self._new_pool(max_workers=self._workers), self._size)
                # The first submission starts the thread. Where that fails, futurist
                # never tries again, so the next call needs a new pool.
                queue.pool.submit(int)
                self._queue = queue
                # Handlers run in reverse order: this one before futurist's own.
                if not _to_stop:
                    atexit.register(_stop_all)
                _to_stop.add(self)
            return queue

    def _drop(self, count: int, cause: str) -> None:
        if not count:
            return
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

    :param pool: runs the methods
    :param size: the number of methods that may wait or run
    """

    def __init__(self, pool: Any, size: int) -> None:
        self.pool = pool
        self.process = os.getpid()
        self.room = threading.Semaphore(size)
        #: The number of methods that wait or run.
        self.pending = 0
        self.closed = False
        self._running = 0
        self._changed = threading.Condition()
        # Key -> the methods that wait for one with the same key.
        self._waiting: dict[str, collections.deque[Callable[[], None]]] = {}

    def is_inherited(self) -> bool:
        """Return whether the queue, and so its threads, are the parent process's."""
        return self.process != os.getpid()

    def is_dead(self) -> bool:
        """Return whether all threads have ended, although the queue was not closed.

        On eventlet, ``select`` in a hook method may end one: it may wake up a thread
        that has left it and waits for the next method.
        """
        # futurist has no public API for this.
        alive = any(worker.is_alive() for worker in tuple(self.pool._workers))
        return not (self.closed or self.is_inherited() or alive)

    def is_open(self) -> bool:
        """Return whether the queue accepts methods of this process, and runs them."""
        return not (self.closed or self.is_inherited() or self.is_dead())

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

    def submit(self, key: str, run: Callable[[], None]) -> None:
        """Make a method run after those with the same key.

        :param key: the key
        :param run: runs the method, if it may still begin
        """
        with self._changed:
            if key in self._waiting:
                self._waiting[key].append(run)
                return
            self._waiting[key] = collections.deque()
        try:
            self.pool.submit(self._run, key, run)
        except RuntimeError:
            # A concurrent stop() closed the queue, and dropped this method too. Or the
            # process has too many threads, so the caller runs it.
            self._run(key, run)

    def _run(self, key: str, run: Callable[[], None]) -> None:
        """Run a method, and enqueue the next one with its key behind other keys."""
        while True:
            run()
            with self._changed:
                if not self._waiting[key]:
                    del self._waiting[key]
                    return
                run = self._waiting[key].popleft()
            try:
                self.pool.submit(self._run, key, run)
            except RuntimeError:
                # No further thread can start, or the queue is closed.
                continue
            return

    def begin(self) -> bool:
        """Return whether the next method may run.

        It may not if the queue was closed, as that dropped it, nor in a child process,
        where a green thread survives the fork.
        """
        with self._changed:
            begins = not (self.closed or self.is_inherited())
            self._running += begins
            return begins

    def leave(self) -> None:
        """Remove a finished method from the count."""
        with self._changed:
            self._running -= 1
            self.pending -= 1
            self._changed.notify_all()
        self.room.release()

    def close(self, timeout: float) -> tuple[int, bool]:
        """Wait until the queue is empty, then neither accept nor begin methods.

        :param timeout: seconds to wait
        :return: the number of methods that have not begun, and whether any runs
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.pending, timeout)
            self.closed = True
            return self.pending - self._running, self._running > 0


_to_stop: weakref.WeakSet[Background] = weakref.WeakSet()


def _stop_all() -> None:
    began = time.monotonic()
    # Each queue has a thread of its own, so all of them drain meanwhile.
    for background in tuple(_to_stop):
        background.stop(began + background.drain)

# SPDX-License-Identifier: Apache-2.0
"""Count slow and failing runs of a hook, and skip one that keeps failing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from oslo_log import log

from aspects.core.forks import fork_safe_lock
from aspects.core.log import hook_name, log_failure

LOG = log.getLogger(__name__)

Method = Callable[..., Any]


class Breaker:
    """The circuit breaker of one hook instance, shared by all threads.

    It is closed while the hook works. After a number of consecutive failures it opens,
    and the hook is skipped. After each pause, one call tries the hook again.
    """

    _lock = fork_safe_lock()

    def __init__(self) -> None:
        #: Counters by event: ``suppressed``, ``slow``, ``skipped``, ``not_enforced``.
        self.counts: Counter[str] = Counter()
        #: The number of consecutive failures.
        self.failures = 0
        # Only a success of one of these kinds shows that the hook works again.
        self._failing_kinds: set[str] = set()
        # The time of the last failure or the last trial.
        self._since = 0.0

    def count(self, event: str) -> None:
        """Count an event.

        :param event: its name in :attr:`counts`
        """
        with self._lock:
            self.counts[event] += 1

    def failed(self, kind: str) -> None:
        """Count a suppressed error.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        """
        with self._lock:
            self.counts["suppressed"] += 1
            self.failures += 1
            self._failing_kinds.add(kind)
            self._since = time.monotonic()

    def worked(self, kind: str) -> None:
        """Reset the consecutive failures if they include a method of this kind.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        """
        # Read without the lock, because there are hardly ever failures.
        if self.failures:
            with self._lock:
                if kind in self._failing_kinds:
                    self._failing_kinds.clear()
                    self.failures = 0

    def is_open(self, limit: int, pause: float) -> bool:
        """Return whether to skip the hook in this call; count the skipped call.

        :param limit: the number of consecutive failures after which the breaker opens
        :param pause: seconds between two trials of a failing hook
        """
        if self.failures < limit:
            return False
        with self._lock:
            now = time.monotonic()
            if self.failures >= limit and now < self._since + pause:
                self.counts["skipped"] += 1
                return True
            # This call is the trial; the others skip the hook for another pause.
            self._since = now
            return False

    def state(self, limit: int, pause: float) -> str:
        """Return ``closed``, ``open``, or ``half-open`` if the next call is a trial.

        :param limit: the number of consecutive failures after which the breaker opens
        :param pause: seconds between two trials of a failing hook
        """
        with self._lock:
            if self.failures < limit:
                return "closed"
            paused = time.monotonic() < self._since + pause
            return "open" if paused else "half-open"


def breaker_of(hook: Any) -> Breaker:
    """Return the circuit breaker of a hook instance.

    :param hook: a hook; one with ``__slots__`` gets a new breaker each time
    """
    breaker = getattr(hook, "_breaker", None)
    if not isinstance(breaker, Breaker):
        breaker = Breaker()
        try:
            hook._breaker = breaker
        except AttributeError:
            return breaker
    return breaker


def record_failure(
    hook: Any, kind: str, operation: str, error: BaseException, *call: Any
) -> None:
    """Count and log an error of a hook method that does not reach the caller.

    :param hook: the hook that raised
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param operation: the operation
    :param error: the exception
    :param call: the context, the positional and the keyword arguments of the call, and
        the driver's result, if the method had it
    """
    breaker_of(hook).failed(kind)
    log_failure(hook, kind, operation, error, *call)


def supervised(
    hook: Any, kind: str, method: Method, operation: str | None = None
) -> Method:
    """Wrap a hook method to log slow runs and to close the breaker after a success.

    :param hook: the hook
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param method: the hook method
    :param operation: the operation; None if it is the method's second argument
    :return: the method itself if the hook's options need neither
    """
    slow, limit = hook.hook_slow_seconds, hook.hook_failure_limit
    if not slow and not limit:
        return method
    breaker = breaker_of(hook)

    def run(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        try:
            answer = method(*args, **kwargs)
        finally:
            seconds = time.monotonic() - began
            if slow and seconds > slow:
                breaker.count("slow")
                _log_slow(hook, kind, operation or args[1], seconds)
        breaker.worked(kind)
        return answer

    return run


def _log_slow(hook: Any, kind: str, operation: str, seconds: float) -> None:
    LOG.warning(
        "The %(kind)s method of hook %(hook)s of backend %(backend)s took "
        "%(seconds).3f s in %(operation)s",
        {
            "kind": kind,
            "hook": hook_name(hook),
            "backend": getattr(operation, "backend", None),
            "operation": "a tick" if kind == "periodic" else operation,
            "seconds": seconds,
        },
    )

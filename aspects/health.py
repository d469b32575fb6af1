# SPDX-License-Identifier: Apache-2.0
"""What a hook costs those that it must not: slow actions, failures in a row."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from oslo_log import log

LOG = log.getLogger(__name__)


class Health:
    """What was seen of one hook instance, by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: How often something happened: ``suppressed``, ``slow``, ``skipped``.
        self.counts: Counter[str] = Counter()
        #: How many actions failed since the last that did not.
        self.failures = 0
        # When it failed last, or was tried again.
        self._since = 0.0

    def count(self, what: str) -> None:
        """Count something that happened."""
        with self._lock:
            self.counts[what] += 1

    def failed(self) -> None:
        """Count an error that was suppressed."""
        with self._lock:
            self.counts["suppressed"] += 1
            self.failures += 1
            self._since = time.monotonic()

    def worked(self) -> None:
        """Forget the failures in a row."""
        # Nearly always there are none, and a look needs no lock.
        if self.failures:
            with self._lock:
                self.failures = 0

    def skips(self, limit: int, pause: float) -> bool:
        """Tell whether an action is to be skipped.

        After each pause one action is let through, to see whether it works.

        :param limit: the failures in a row after which the hook pauses
        :param pause: seconds
        """
        if self.failures < limit:
            return False
        with self._lock:
            now = time.monotonic()
            if self.failures >= limit and now < self._since + pause:
                self.counts["skipped"] += 1
                return True
            # This one tries; the others are skipped for another pause.
            self._since = now
            return False


def health_of(hook: Any) -> Health:
    """Return the health of a hook instance."""
    health = getattr(hook, "_health", None)
    if not isinstance(health, Health):
        health = Health()
        try:
            hook._health = health
        except AttributeError:
            # It has slots: nothing can be remembered of it.
            return health
    return health


def guarded(hook: Any, kind: str, action: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs an action and sees to what the hook's options say.

    :param hook: the hook
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param action: the action
    :return: the action itself where no option wants anything
    """
    slow = getattr(hook, "hook_slow_seconds", 0)
    limit = getattr(hook, "hook_failure_limit", 0)
    pause = getattr(hook, "hook_failure_pause", 0)
    if may_veto(hook):
        limit = 0
    if not slow and not limit:
        return action
    health = health_of(hook)

    def run(*args: Any, **kwargs: Any) -> Any:
        if limit and health.skips(limit, pause):
            return None
        began = time.monotonic()
        try:
            answer = action(*args, **kwargs)
        finally:
            seconds = time.monotonic() - began
            if slow and seconds > slow:
                health.count("slow")
                operation = "a tick" if kind == "periodic" else args[1]
                _log_slow(hook, kind, operation, seconds)
        health.worked()
        return answer

    return run


def may_veto(hook: Any) -> bool:
    """Tell whether a pre action of a hook may forbid a call.

    One of Manila's own contract does so with an error that is not suppressed.
    """
    if not hook.pre_hooks_enabled:
        return False
    suppressed = getattr(hook, "suppress_pre_hooks_errors", False)
    return bool(getattr(hook, "may_veto", not suppressed))


def _log_slow(hook: Any, kind: str, operation: Any, seconds: float) -> None:
    backend = getattr(getattr(hook, "configuration", None), "config_group", None)
    LOG.warning(
        "The %(action)s action of hook %(hook)s of backend %(backend)s took "
        "%(seconds).3f s in %(operation)s",
        {
            "action": kind,
            "hook": getattr(hook, "instance_name", None) or type(hook).__name__,
            "backend": getattr(operation, "backend", backend),
            "operation": operation,
            "seconds": seconds,
        },
    )

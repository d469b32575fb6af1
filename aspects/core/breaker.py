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
        #: How many actions failed in a row.
        self.failures = 0
        # Their kinds: that one of another kind works says nothing of what is broken.
        self._failing: set[str] = set()
        # When it failed last, or was tried again.
        self._since = 0.0

    def count(self, what: str) -> None:
        """Count something that happened."""
        with self._lock:
            self.counts[what] += 1

    def failed(self, kind: str) -> None:
        """Count an error that was suppressed.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        """
        with self._lock:
            self.counts["suppressed"] += 1
            self.failures += 1
            self._failing.add(kind)
            self._since = time.monotonic()

    def worked(self, kind: str) -> None:
        """Forget the failures in a row, if one was of this kind of action.

        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        """
        # Nearly always there are none, and a look needs no lock.
        if self.failures:
            with self._lock:
                if kind in self._failing:
                    self._failing.clear()
                    self.failures = 0

    def skips(self, limit: int, pause: float) -> bool:
        """Tell whether the hook is to be skipped.

        After each pause it is tried once, to see whether it works.

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
            # This call tries; the others are skipped for another pause.
            self._since = now
            return False


#: The ``pre_hook_data`` of a call in which the hook is skipped.
SKIPPED = object()


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


def guarded(
    hook: Any, kind: str, action: Callable[..., Any], operation: str | None = None
) -> Callable[..., Any]:
    """Return what runs an action and sees to what the hook's options say.

    :param hook: the hook
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param action: the action
    :param operation: the operation; None if it is the second argument of the action
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
    # A call has all actions of a hook or none: the first of them decides. What a hook
    # dispatches itself does so each time.
    decides = (
        kind in ("pre", "periodic")
        or not hook.pre_hooks_enabled
        or kind in getattr(hook, "dispatching_actions", ())
    )

    def run(*args: Any, **kwargs: Any) -> Any:
        if limit and decides and health.skips(limit, pause):
            return SKIPPED
        if not decides and args[2] is SKIPPED:
            return None
        began = time.monotonic()
        try:
            answer = action(*args, **kwargs)
        finally:
            seconds = time.monotonic() - began
            if slow and seconds > slow:
                health.count("slow")
                _log_slow(hook, kind, operation or args[1], seconds)
        health.worked(kind)
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


def _log_slow(hook: Any, kind: str, operation: str, seconds: float) -> None:
    LOG.warning(
        "The %(action)s action of hook %(hook)s of backend %(backend)s took "
        "%(seconds).3f s in %(operation)s",
        {
            "action": kind,
            "hook": hook_name(hook),
            "backend": getattr(operation, "backend", None),
            "operation": "a tick" if kind == "periodic" else operation,
            "seconds": seconds,
        },
    )


def hook_name(hook: object) -> str:
    """Return the name of a hook instance as an operator knows it.

    :param hook: a hook; also one of Manila's contract
    :return: what it is called in ``hook_drivers``, else the name of its class
    """
    return getattr(hook, "instance_name", None) or type(hook).__name__

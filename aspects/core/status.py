# SPDX-License-Identifier: Apache-2.0
"""Return the state of a hook, for reports and metrics."""

from __future__ import annotations

from typing import Any

from aspects.core.breaker import breaker_of
from aspects.core.log import hook_name
from aspects.core.step import Switches, adapt, may_be_skipped

#: The counters of each hook, even if they are 0.
COUNTS = ("suppressed", "slow", "skipped", "not_enforced")


def hook_status(hook: Any) -> dict[str, Any]:
    """Return the state of a hook, as plain data without secrets.

    :param hook: any hook
    :return: its name as ``hook``, ``class``, the ``enabled`` methods, ``operations``,
        ``enforcement``, ``dispatch``, the state of the circuit ``breaker`` (``closed``,
        ``open`` or ``half-open``; None without one), and ``counts``: the number of
        errors that were ``suppressed``, of runs that were ``slow``, of calls that
        ``skipped`` the hook, and of vetoes that were ``not_enforced``
    """
    adapted = adapt(hook)
    switches, breaker = Switches.of(adapted), breaker_of(hook)
    state = None
    if may_be_skipped(adapted, switches):
        limit, pause = switches.hook_failure_limit, switches.hook_failure_pause
        state = breaker.state(limit, pause)
    return {
        "hook": hook_name(hook),
        "class": f"{type(hook).__module__}:{type(hook).__qualname__}",
        "enabled": [
            kind for kind in ("pre", "post", "periodic") if switches.enables(kind)
        ],
        "operations": [*switches.hook_operations],
        "enforcement": switches.hook_enforcement,
        "dispatch": dispatch_of(hook),
        "breaker": state,
        "counts": {name: breaker.counts[name] for name in COUNTS},
    }


def dispatch_of(hook: Any) -> str:
    """Return the dispatch of a hook: ``inline``, ``background`` or ``durable``.

    :param hook: any hook
    """
    if getattr(hook, "outbox", None) is not None:
        return "durable"
    return "inline" if getattr(hook, "dispatcher", None) is None else "background"

# SPDX-License-Identifier: Apache-2.0
"""The hooks of a process in the guru meditation report (``SIGUSR2``)."""

from __future__ import annotations

import weakref
from typing import Any

from oslo_reports import guru_meditation_report
from oslo_reports.models import with_default_views

from aspects.core.breaker import breaker_of
from aspects.core.log import hook_name
from aspects.hook import HookBase
from aspects.weaving import Weaving, is_woven, weaving

#: The share managers of this process. A service makes them before it forks.
managers: weakref.WeakSet[Any] = weakref.WeakSet()

_ACTIONS = ("pre", "post", "periodic")

#: What is told of each hook, also where there is nothing to tell.
_COUNTS = ("suppressed", "slow", "skipped", "dropped")


def report(woven: Weaving) -> dict[str, Any]:
    """Return what there is to tell of what is woven around one driver.

    :param woven: the return value of :func:`aspects.weaving`
    :return: plain data: the host, the ticks so far, and the chain in order: of
        each hook its name, class, the actions that are on, the operations that
        it is for, how it is dispatched, and what was counted
    """
    return {
        "host": woven.host,
        "ticks": woven.ticks,
        "periodic_hooks_ticks": woven.periodic_hooks_ticks,
        "chain": {
            f"{turn}. {hook_name(hook)}": _hook(hook)
            for turn, hook in enumerate(woven.hooks, 1)
        },
    }


def _hook(hook: Any) -> dict[str, Any]:
    on = [action for action in _ACTIONS if getattr(hook, f"{action}_hooks_enabled")]
    counts = hook.counts() if isinstance(hook, HookBase) else breaker_of(hook).counts
    return {
        "class": f"{type(hook).__module__}:{type(hook).__qualname__}",
        "on": ", ".join(on) or "nothing",
        "operations": ", ".join(getattr(hook, "hook_operations", "*")) or "none",
        "dispatch": dispatch_of(hook),
        "counts": {**dict.fromkeys(_COUNTS, 0), **counts},
    }


def dispatch_of(hook: Any) -> str:
    """Return how a hook is run: ``inline``, ``background`` or ``durable``."""
    if getattr(hook, "outbox", None) is not None:
        return "durable"
    return "inline" if getattr(hook, "dispatcher", None) is None else "background"


def _report() -> with_default_views.ModelWithDefaultViews:
    """Return the section of the report."""
    # The managers of all backends are made before the service forks.
    here = [m.driver for m in tuple(managers) if m._hooks_started]
    woven = [driver for driver in here if is_woven(driver)]
    data = {str(weaving(driver).backend): report(weaving(driver)) for driver in woven}
    return with_default_views.ModelWithDefaultViews(data=data)


guru_meditation_report.TextGuruMeditation.register_section(
    "Share driver hooks", _report
)

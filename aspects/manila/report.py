# SPDX-License-Identifier: Apache-2.0
"""What a woven driver's hooks are and did, for a report."""

from __future__ import annotations

from typing import Any

from aspects.core.breaker import breaker_of
from aspects.core.log import hook_name
from aspects.hook import HookBase
from aspects.weaving import Weaving

_ACTIONS = ("pre", "post", "periodic")

#: What is told of each hook, also where there is nothing to tell.
_COUNTS = ("suppressed", "slow", "skipped", "dropped")


def report(weaving: Weaving) -> dict[str, Any]:
    """Return what there is to tell of what is woven around one driver.

    :param weaving: what :func:`aspects.weaving` returned
    :return: plain data: the host, the ticks so far, and the chain in order: of
        each hook its name, class, the actions that are on, the operations that
        it is for, how it is dispatched, and what was counted
    """
    return {
        "host": weaving.host,
        "ticks": weaving.ticks,
        "periodic_hooks_ticks": weaving.periodic_hooks_ticks,
        "chain": {
            f"{turn}. {hook_name(hook)}": _hook(hook)
            for turn, hook in enumerate(weaving.hooks, 1)
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

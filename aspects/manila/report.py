# SPDX-License-Identifier: Apache-2.0
"""Add the hooks of a process to the guru meditation report (``SIGUSR2``)."""

from __future__ import annotations

from typing import Any

from oslo_reports import guru_meditation_report
from oslo_reports.models import with_default_views

from aspects.core.log import hook_name
from aspects.core.status import hook_status
from aspects.hook import HookBase
from aspects.operations import DRIVER
from aspects.weaving import Weaving, started_weavings


def report(woven: Weaving) -> dict[str, Any]:
    """Return the status of a woven driver.

    :param woven: the return value of :func:`aspects.weaving`
    :return: plain data: the host, the ticks so far, and the chain in order. Each hook
        has its name, class, enabled methods, operations, dispatch, the state of its
        circuit breaker, and counters
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
    status = hook_status(hook)
    counts = hook.counts() if isinstance(hook, HookBase) else {}
    return {
        "class": status["class"],
        "enabled": ", ".join(status["enabled"]) or "none",
        "operations": ", ".join(status["operations"]) or "none",
        "dispatch": status["dispatch"],
        "breaker": status["breaker"] or "none",
        "counts": {"dropped": 0, **status["counts"], **counts},
    }


def _report() -> with_default_views.ModelWithDefaultViews:
    """Return the section of the report."""
    # A service weaves the drivers of all backends before it forks, but each process
    # starts the hooks of its own backend only.
    drivers = [woven for woven in started_weavings() if woven.interface is DRIVER]
    data = {str(woven.backend): report(woven) for woven in drivers}
    return with_default_views.ModelWithDefaultViews(data=data)


guru_meditation_report.TextGuruMeditation.register_section(
    "Share driver hooks", _report
)

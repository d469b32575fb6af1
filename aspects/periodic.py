# SPDX-License-Identifier: Apache-2.0
"""Count ticks, and run the periodic methods of hooks."""

from __future__ import annotations

from typing import Any

from aspects.core.forks import fork_safe_lock
from aspects.core.step import Step
from aspects.operations import Operation
from aspects.weaving import Weaving, weaving

_counting = fork_safe_lock()


def tick(woven: Any, context: Any, share_instances: Any) -> bool:
    """Count one tick, and run the periodic hooks on every N-th tick.

    N is ``periodic_hooks_ticks``. On such a tick, the driver's
    ``get_periodic_hook_data(context, share_instances)`` is called. Each hook whose
    periodic method is enabled gets the answer, in configured order. If the driver does
    not implement that method, hooks get the share instances themselves, as with
    Manila's ``ShareDriver``.

    :param woven: a woven driver
    :param context: the context for driver and hooks, or None for an admin context
    :param share_instances: the share instances of this backend, or a function that
        returns them, called only when periodic hooks run
    :return: whether periodic hooks ran; False also if none is enabled
    :raises TypeError: if the driver is not woven
    :raises Exception: an error of the driver, or an error of a hook that is not
        suppressed; later hooks do not run
    """
    weaving_ = weaving(woven)
    with _counting:
        weaving_.ticks += 1
        ticks = weaving_.ticks
    if ticks % weaving_.periodic_hooks_ticks:
        return False
    operation = Operation("periodic", backend=weaving_.backend, host=weaving_.host)
    snapshot = weaving_.chain.enter()
    try:
        steps = snapshot.plans[operation].steps
        if steps:
            _run(weaving_, operation, steps, context, share_instances)
        return bool(steps)
    finally:
        snapshot.leave()


def _run(
    weaving: Weaving,
    operation: Operation,
    steps: tuple[Step, ...],
    context: Any,
    share_instances: Any,
) -> None:
    if context is None:
        context = weaving.new_context()
    data = share_instances() if callable(share_instances) else share_instances
    get_data = getattr(weaving.driver, "get_periodic_hook_data", None)
    if get_data is not None:
        data = get_data(context, data)
    for step in steps:
        if not (step.skips and step.skips()):
            step.attempt("periodic", operation, context, data)

# SPDX-License-Identifier: Apache-2.0
"""The tick counter."""

from __future__ import annotations

import threading
from typing import Any

from aspects.core.step import Step
from aspects.operations import Operation
from aspects.weaving import Weaving, weaving

_counting = threading.Lock()


def tick(woven: Any, context: Any, share_instances: Any) -> bool:
    """Count one tick, and run the periodic hooks when their turn has come.

    On every ``periodic_hooks_ticks``-th tick the driver is asked for
    ``get_periodic_hook_data(context, share_instances)``, and every hook whose
    periodic method is enabled gets the answer, in configured order. Without that
    method on the driver, hooks get the share instances themselves, as with Manila's
    ``ShareDriver``.

    :param woven: a woven driver
    :param context: the context for driver and hooks, or None for an admin context
    :param share_instances: the share instances of this backend, or a function that
        returns them, called only when periodic hooks run
    :return: whether periodic hooks ran; False also when none is enabled
    :raises TypeError: if the driver is not woven
    :raises Exception: an error of the driver, or one of a hook that is not
        suppressed; the hooks after it do not run
    """
    weaving_ = weaving(woven)
    with _counting:
        weaving_.ticks += 1
        ticks = weaving_.ticks
    if ticks % weaving_.periodic_hooks_ticks:
        return False
    operation = Operation("periodic", backend=weaving_.backend, host=weaving_.host)
    snapshot, plan = weaving_.chain.enter(operation)
    try:
        if plan.steps:
            _run(weaving_, operation, plan.steps, context, share_instances)
        return bool(plan.steps)
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

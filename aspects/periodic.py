# SPDX-License-Identifier: Apache-2.0
"""The tick counter."""

from __future__ import annotations

import threading
from typing import Any

from aspects.core.log import suppressed
from aspects.core.step import Step, action_of, in_use
from aspects.operations import Operation
from aspects.weaving import Weaving, weaving

_counting = threading.Lock()


def tick(woven: Any, context: Any, share_instances: Any) -> bool:
    """Count one tick, and run the periodic hooks when their turn has come.

    On every ``periodic_hooks_ticks``-th tick the driver is asked for its
    ``get_periodic_hook_data(context, share_instances)``, and every hook whose
    periodic action is on gets the answer, in configured order. A driver
    without that method has the share instances themselves given to the hooks,
    as Manila's ``ShareDriver`` does.

    :param woven: a woven driver
    :param context: the context for driver and hooks, or None for an admin one
    :param share_instances: the share instances of this backend, or what returns
        them: it is not called on a tick without periodic hooks
    :return: whether the periodic hooks ran; False also when none is on
    :raises TypeError: if the driver is not woven
    :raises Exception: what the driver, or a hook that is not suppressed, raised;
        the hooks after it do not run
    """
    about = weaving(woven)
    with _counting:
        about.ticks += 1
        ticks = about.ticks
    if ticks % about.periodic_hooks_ticks:
        return False
    hooks = [hook for hook in about.hooks if hook.periodic_hooks_enabled]
    if not hooks:
        return False
    # None of them is stopped before.
    busy = in_use(Step(hook, None, None, None) for hook in hooks)
    try:
        _run(about, hooks, context, share_instances)
    finally:
        del busy
    return True


def _run(about: Weaving, hooks: list[Any], context: Any, share_instances: Any) -> None:
    if context is None:
        context = about.new_context()
    data = share_instances() if callable(share_instances) else share_instances
    ask = getattr(about.driver, "get_periodic_hook_data", None)
    if ask is not None:
        data = ask(context, data)
    operation = Operation("periodic", backend=about.backend, host=about.host)
    for hook in hooks:
        own = hook._execute_periodic_hook
        action = action_of(about.hooks, hook, "periodic", own, operation)
        try:
            action(context, data)
        except Exception as error:
            switch = getattr(hook, "suppress_periodic_hooks_errors", False)
            if not suppressed(switch, hook, "periodic", error, operation, context):
                raise

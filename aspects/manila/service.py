# SPDX-License-Identifier: Apache-2.0
"""Stop the hooks when a share service stops."""

from __future__ import annotations

from typing import Any

import wrapt
from manila import exception, service

from aspects.core.lease import run_in_thread
from aspects.manila.shutdown import wait_for_last_call
from aspects.weaving import is_woven, weaving


@wrapt.patch_function_wrapper(service.Service, "stop")  # type: ignore[untyped-decorator]
def _stop_with_hooks(
    stop: Any, stopped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Stop a share service and its hooks.

    Manila does not notify managers of its stop, and its processes call ``os._exit`` as
    soon as this function returns. The hooks stop even if the service raises an error or
    hangs: on eventlet, Manila since 21 with ``enabled_share_backends`` waits for a
    thread that its fork has ended, until ``graceful_shutdown_timeout`` kills it.
    """
    thread = run_in_thread("stop", _stop_hooks, stopped)
    try:
        _stop_service(stop, stopped, *args, **kwargs)
    finally:
        if thread is not None:
            thread.join()


def _stop_hooks(stopped: Any) -> None:
    """Stop the hooks of a service after its last RPC call."""
    driver = getattr(stopped.manager, "driver", None)
    if driver is None or not is_woven(driver):
        return
    if stopped.rpcserver is not None:
        wait_for_last_call(stopped.rpcserver)
    weaving(driver).stop()


def _stop_service(stop: Any, stopped: Any, *args: Any, **kwargs: Any) -> None:
    """Stop a service as Manila does.

    Until 20 Manila also stops the service in the parent process, where it was never
    started, and does not find it in the database. The error would end the parent before
    its children, which run the hooks, are stopped.
    """
    try:
        stop(*args, **kwargs)
    except exception.NotFound:
        if getattr(stopped, "service_id", None) is not None:
            raise

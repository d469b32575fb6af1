# SPDX-License-Identifier: Apache-2.0
"""Stop the hooks when a share service stops."""

from __future__ import annotations

from typing import Any

import wrapt
from manila import exception, service

from aspects.manila.shutdown import wait_for_last_call
from aspects.weaving import is_woven, weaving


@wrapt.patch_function_wrapper(service.Service, "stop")  # type: ignore[untyped-decorator]
def _stop_hooks(
    stop: Any, stopped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Stop the hooks after a share service has stopped.

    Manila does not notify managers of its stop, and its processes call ``os._exit`` as
    soon as this function returns. The hooks stop even if the service raises an error.
    """
    try:
        _stop_service(stop, stopped, *args, **kwargs)
        if stopped.rpcserver is not None:
            wait_for_last_call(stopped.rpcserver)
    finally:
        driver = getattr(stopped.manager, "driver", None)
        if driver is not None and is_woven(driver):
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

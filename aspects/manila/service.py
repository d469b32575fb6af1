# SPDX-License-Identifier: Apache-2.0
"""Stop the hooks when a share service stops."""

from __future__ import annotations

from typing import Any

import wrapt
from manila import exception, service
from oslo_log import log

from aspects.core.lease import run_in_thread
from aspects.secrets import text_of
from aspects.weaving import is_woven, weaving

LOG = log.getLogger(__name__)

#: Seconds to wait for RPC calls in flight. Manila ends the process after its
#: ``graceful_shutdown_timeout`` of 60 seconds, and the hooks have to stop before.
RPC_TIMEOUT = 25.0


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
            _wait_for_last_call(stopped.rpcserver)
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


def _wait_for_last_call(rpcserver: Any) -> None:
    """Wait for the RPC calls in flight, but not for one that hangs."""
    thread = run_in_thread("wait", _wait, rpcserver)
    if thread is not None:
        thread.join(RPC_TIMEOUT)
        if thread.is_alive():
            LOG.warning(
                "Stopping hooks without waiting for the last call: it still runs "
                "%(timeout)g s after the service was stopped",
                {"timeout": RPC_TIMEOUT},
            )


def _wait(rpcserver: Any) -> None:
    try:
        rpcserver.wait()
    except Exception as error:
        LOG.warning(
            "Stopping hooks without waiting for the last call: %(type)s: %(error)s",
            {"type": type(error).__name__, "error": text_of(error)},
        )

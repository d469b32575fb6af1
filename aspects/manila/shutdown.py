# SPDX-License-Identifier: Apache-2.0
"""Wait for the last call before the hooks stop."""

from __future__ import annotations

from typing import Any

from oslo_log import log

from aspects.core.lease import run_in_thread
from aspects.secrets import text_of

LOG = log.getLogger(__name__)

#: Seconds to wait for calls in flight. Manila ends the process after its
#: ``graceful_shutdown_timeout`` of 60 seconds, and the hooks have to stop before.
TIMEOUT = 25.0


def wait_for_last_call(server: Any) -> None:
    """Stop a server, and wait for the calls in flight, but not for one that hangs.

    :param server: an RPC server or a WSGI server
    """
    thread = run_in_thread("wait", _wait, server)
    if thread is not None:
        thread.join(TIMEOUT)
        if thread.is_alive():
            LOG.warning(
                "Stopping hooks without waiting for the last call: it still runs "
                "%(timeout)g s after the service was stopped",
                {"timeout": TIMEOUT},
            )


def _wait(server: Any) -> None:
    try:
        # Manila stops the server at the same time; only the first has an effect.
        server.stop()
        server.wait()
    except Exception as error:
        LOG.warning(
            "Stopping hooks without waiting for the last call: %(type)s: %(error)s",
            {"type": type(error).__name__, "error": text_of(error)},
        )

# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of metrics and status, with a limited number of connections."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from oslo_log import log
from prometheus_client import CollectorRegistry, MetricsHandler

LOG = log.getLogger(__name__)

#: Maximum number of connections to the server at the same time.
MAX_CONNECTIONS = 10

#: Seconds that a connection may wait for its client.
CLIENT_TIMEOUT = 10.0

#: Path of the status; all other paths have the metrics.
STATUS = "/status"


class _Handler(MetricsHandler):
    """Answers a request with the metrics or the status."""

    status: Callable[[], Any]

    def do_GET(self) -> None:
        if urllib.parse.urlsplit(self.path).path != STATUS:
            super().do_GET()
            return
        body = json.dumps(type(self).status()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# Not a subclass of HTTPServer, which looks up the name of its address: a DNS server
# that does not answer would delay the start.
class Server(socketserver.ThreadingTCPServer):
    """An HTTP server of metrics and status, with a limited number of connections.

    Each connection takes a thread and a file of the share service. If too many are
    open, a new one replaces the oldest, so that idle clients do not keep Prometheus
    from scraping.

    :param host: the address to listen on
    :param port: the port to listen on; 0 for any free one
    :param registry: the metrics
    :param status: returns the status, as data for JSON
    :raises OSError: if it cannot listen, e.g. because the port is in use
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        status: Callable[[], Any],
    ) -> None:
        self._connections: dict[Any, None] = {}
        self._capacity = threading.Semaphore(MAX_CONNECTIONS)
        (self.address_family, _, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        handler = type(
            "Handler",
            (_Handler,),
            {"registry": registry, "status": staticmethod(status)},
        )
        super().__init__(address, handler)  # type: ignore[arg-type]

    def get_request(self) -> Any:
        try:
            connection, address = super().get_request()
        except OSError:
            # If the process has too many open files, the connection stays in the
            # queue, and the next attempt would follow at once.
            time.sleep(0.5)
            raise
        connection.settimeout(CLIENT_TIMEOUT)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._acquire():
            self.shutdown_request(request)
            return
        self._connections[request] = None
        super().process_request(request, client_address)

    def _acquire(self) -> bool:
        """Acquire capacity for a connection; close the oldest ones if necessary."""
        if self._capacity.acquire(blocking=False):
            return True
        for connection in [*self._connections]:
            self._interrupt(connection)
            # The thread of the connection releases its capacity, unless it is busy.
            if self._capacity.acquire(timeout=0.1):
                return True
        return False

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        if self._connections.pop(request, self) is None:
            self._capacity.release()

    @staticmethod
    def _interrupt(connection: Any) -> None:
        """End the waits of the thread of a connection."""
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # A client may disconnect at any time.
        if not isinstance(error, OSError):
            LOG.warning(
                "Failed to serve metrics: %(type)s: %(error)s",
                {"type": type(error).__name__, "error": error},
            )

    def server_close(self) -> None:
        super().server_close()
        for connection in [*self._connections]:
            self._interrupt(connection)

    def abandon(self) -> None:
        """Close the sockets that a child process has inherited."""
        self.socket.close()
        for connection in self._connections:
            connection.close()

# SPDX-License-Identifier: Apache-2.0
"""A real HTTP(S) server that receives events, and can fail, hang or close.

:class:`Receiver` runs it in the process of the tests, and validates the events at its
end. A test that has to kill it runs ``python -m tests.support.receiver <port> <file>``,
which appends each event to the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple


class Request(NamedTuple):
    """A request that the server received."""

    path: str
    headers: Any
    body: bytes
    #: The client's address and port, the same for all requests of a connection.
    client: tuple[str, int]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def events(self) -> list[dict[str, Any]]:
        content = json.loads(self.body)
        return content if self.is_batch else [content]

    @property
    def is_event(self) -> bool:
        return self.headers["Content-Type"] == "application/cloudevents+json"

    @property
    def is_batch(self) -> bool:
        return self.headers["Content-Type"] == "application/cloudevents-batch+json"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm would delay answers.
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        request = Request(self.path, self.headers, body, self.client_address)
        answer = self.server.taken(request)
        with contextlib.suppress(OSError):
            answer(self)

    def log_message(self, *args: Any) -> None:
        """Do not log requests."""

    def raw(self, data: bytes) -> None:
        """Send bytes without HTTP, and close the connection."""
        self.close_connection = True
        self.connection.sendall(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    taken: Callable[[Request], Answer]

    def handle_error(self, *args: Any) -> None:
        """Do not log errors, which come from clients that disconnect."""


#: A function that answers a request.
Answer = Callable[[Handler], None]


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status.

    :param code: the status
    :param body: the body
    :param headers: headers, with ``_`` for ``-``
    """

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        if code != 204:
            handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def close(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.raw(b"")


class Receiver:
    """A server in this process.

    It answers each request with the next of :attr:`answers`, or else with 204. The end
    of the context raises an exception if an event does not fit the schema.

    :param tls: the TLS context for HTTPS; None for HTTP
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        #: Set at the end, so that answers that hang return.
        self.ended = threading.Event()
        # The program that a test kills is not in a package.
        from tests.support.programs import free_port

        self._server = _Server(("127.0.0.1", free_port()), Handler)
        self._server.taken = self._taken
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}/events"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def _taken(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else status(204)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in request.events]

    def hang(self, handler: Handler) -> None:
        """Send no answer until the end."""
        self.ended.wait()

    def trickle(self, first: bytes, then: bytes) -> Answer:
        """Return an answer that sends bytes slowly and endlessly.

        :param first: the bytes to send at once
        :param then: the bytes to send one at a time, repeatedly
        """

        def answer(handler: Handler) -> None:
            handler.raw(first)
            while True:
                for byte in then:
                    handler.raw(bytes([byte]))
                    if self.ended.wait(0.05):
                        return

        return answer

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        # The program that a test kills does not need the library.
        from tests.support.schema import validated

        for request in self.requests:
            if request.is_event or request.is_batch:
                for event in request.events:
                    validated(event)


class SilentServer:
    """A server that accepts connections, but never answers.

    :param full: accept no connection, so that clients wait
    """

    def __init__(self, full: bool = False) -> None:
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self.port = self._listening.getsockname()[1]
        self._waiting: list[socket.socket] = []
        if full:
            self._fill()

    def _fill(self) -> None:
        # The kernel accepts connections until the queue of the socket is full.
        for _ in range(4):
            client = socket.socket()
            client.settimeout(0.1)
            self._waiting.append(client)
            with contextlib.suppress(TimeoutError):
                client.connect(("127.0.0.1", self.port))

    def close(self) -> None:
        for connection in (*self._waiting, self._listening):
            connection.close()


def main(port: int, path: str) -> None:
    """Receive events without end; write each to the file before its answer.

    :param port: the port to listen on
    :param path: the file, with a line for each event
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    server = _Server(("127.0.0.1", port), Handler)

    def taken(request: Request) -> Answer:
        # A server that was killed may have left an incomplete line.
        os.write(file, b"\n" + request.body + b"\n")
        return status(204)

    server.taken = taken
    server.serve_forever()


def events_in(path: Path) -> list[dict[str, Any]]:
    """Return the events in the file of a server.

    :param path: the file
    """
    events = []
    for line in path.read_bytes().splitlines():
        # An event in an incomplete line was never answered.
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    return events


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

# SPDX-License-Identifier: Apache-2.0
"""A collector of OpenTelemetry's: takes OTLP over HTTP and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.wait import wait_for

UNSET, OK, ERROR = 0, 1, 2


class Span(NamedTuple):
    """One span, as it came over the wire; ids in hex, times in nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    status: int
    text: str
    #: The attributes of each exception that was recorded.
    exceptions: list[dict[str, str]]
    began: int
    ended: int
    service: str


def _plain(attributes: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}


class Collector:
    """A collector on a free port of loopback.

    :param answer: called for each request with its path; returns the status
    :param port: the port to listen on, instead of a free one
    """

    def __init__(
        self, answer: Callable[[str], int] = lambda path: 200, port: int = 0
    ) -> None:
        self.spans: list[Span] = []
        #: The whole of the requests, to look for what must not be in them.
        self.bodies: list[bytes] = []
        #: The connections that they came on, by the sender's port.
        self.connections: list[int] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            # Connections are kept, as by any real collector.
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.bodies.append(body)
                collector.connections.append(self.client_address[1])
                status = answer(self.path)
                if status == 200:
                    collector.take(body)
                reply = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(
            target=self.server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> Collector:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def take(self, body: bytes) -> None:
        """Decode a request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            _plain(span.attributes),
                            span.status.code,
                            span.status.message,
                            [_plain(each.attributes) for each in span.events],
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            service,
                        )
                    )

    def wait_for(self, count: int) -> list[Span]:
        """Wait until there are so many spans, and return them."""
        wait_for(lambda: len(self.spans) >= count, f"{count} spans")
        return list(self.spans)

    def tree(self) -> list[str]:
        """Return the names of all spans, each after those above it: ``a / b``."""
        by_id = {span.span_id: span for span in self.spans}

        def path(span: Span) -> str:
            above = by_id.get(span.parent_id)
            return f"{path(above)} / {span.name}" if above else span.name

        return sorted(map(path, self.spans))

    def named(self, name: str) -> Span:
        """Return the one span of a name."""
        (span,) = (each for each in self.spans if each.name == name)
        return span

# SPDX-License-Identifier: Apache-2.0
"""Run an OpenTelemetry collector that receives OTLP over HTTP and keeps the spans."""

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
    """A received span; its IDs are in hexadecimal, its times in nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    status: int
    text: str
    #: The attributes of each recorded exception.
    exceptions: list[dict[str, str]]
    began: int
    ended: int
    service: str


def _plain(attributes: Any) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in attributes}


class Collector:
    """A collector on a loopback port.

    :param answer: called with the path of each request; returns the HTTP status
    :param port: the port to listen on; 0 selects a free port
    """

    def __init__(
        self, answer: Callable[[str], int] = lambda path: 200, port: int = 0
    ) -> None:
        self.spans: list[Span] = []
        #: The bodies of the requests, in which tests search for secrets.
        self.bodies: list[bytes] = []
        #: The sender's port of each request, which identifies its connection.
        self.connections: list[int] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            # Keeps connections open, as a real collector does.
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
                            [_plain(event.attributes) for event in span.events],
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            service,
                        )
                    )

    def wait_for(self, count: int) -> list[Span]:
        """Wait for a number of spans, and return all spans."""
        wait_for(lambda: len(self.spans) >= count, f"{count} spans")
        return list(self.spans)

    def tree(self) -> list[str]:
        """Return the paths of all spans, sorted, as in ``parent / child``."""
        by_id = {span.span_id: span for span in self.spans}

        def path(span: Span) -> str:
            parent = by_id.get(span.parent_id)
            return f"{path(parent)} / {span.name}" if parent else span.name

        return sorted(map(path, self.spans))

    def named(self, name: str) -> Span:
        """Return the only span with a name."""
        (found,) = (span for span in self.spans if span.name == name)
        return found

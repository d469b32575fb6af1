# SPDX-License-Identifier: Apache-2.0
"""Receive the output of the demo's hooks, and compare it with the hooks' runs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from cheroot import wsgi
from prometheus_client.parser import text_string_to_metric_families

from aspects.demo import releases
from aspects.demo.journal import COMPLETIONS, Call, Run

LOG = logging.getLogger(__name__)

#: Seconds to wait, after the scenario, for events that are not delivered yet.
TIMEOUT = 10.0

#: Hook method -> last part of the type of the event that it sends.
PHASES = {"pre": "start", "post": "end", "error": "error", "periodic": "periodic"}

_PREFIX = "org.openstack.manila.share."


def free_port() -> int:
    """Return an unused port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Receiver:
    """An HTTP server for the events of the webhook hook.

    :param secret: the secret with which the hook signs its events, ``whsec_...``
    """

    def __init__(self, secret: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._lock = threading.Lock()
        #: The events with a valid signature, in order of arrival.
        self.events: list[dict[str, Any]] = []
        #: The number of requests without a valid signature.
        self.forged = 0
        self._server = wsgi.Server(("127.0.0.1", 0), self._receive, numthreads=2)
        self._server.shutdown_timeout = 2
        releases.adjust_server(self._server)

    def __enter__(self) -> Receiver:
        self._server.prepare()
        self._thread = threading.Thread(
            target=self._server.serve, name="receiver", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join(10)

    @property
    def url(self) -> str:
        """Return the URL to which events are posted."""
        return f"http://127.0.0.1:{self._server.bind_addr[1]}/events"

    def _receive(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        id_, timestamp, signature = (
            environ.get(f"HTTP_WEBHOOK_{name}", "")
            for name in ("ID", "TIMESTAMP", "SIGNATURE")
        )
        content = f"{id_}.{timestamp}.".encode() + body
        digest = base64.b64encode(hmac.digest(self._key, content, hashlib.sha256))
        if not hmac.compare_digest(signature.encode(), b"v1," + digest):
            with self._lock:
                self.forged += 1
            start_response("401 Unauthorized", [])
            return [b""]
        with self._lock:
            self.events.append(json.loads(body))
        start_response("204 No Content", [])
        return [b""]

    def types(self) -> Counter[str]:
        """Count the received events by type; repeats of an event ID count once."""
        with self._lock:
            types = {event["id"]: event["type"] for event in self.events}
        return Counter(types.values())


def scrape(port: int) -> dict[str, list[Any]]:
    """Read the metrics hook's endpoint, as Prometheus does.

    :param port: the port of the endpoint
    :returns: metric name -> samples; empty if the endpoint does not answer
    """
    address = f"http://127.0.0.1:{port}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=10) as page:
            text = page.read().decode()
    except OSError:
        return {}
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


class Arrivals:
    """Compare the output that was received with the runs of a backend's hooks.

    :param calls: the calls and ticks of all backends
    :param backend: the backend whose hooks have receivers
    :param audit_log: the audit hook's file
    :param receiver: the receiver of the webhook hook's events
    :param metrics_port: the port of the metrics hook
    :param violations: ``appeared`` or ``resolved``, for each event about a violation
        that the guard hook reports
    """

    def __init__(
        self,
        calls: Sequence[Call],
        backend: str,
        audit_log: Path,
        receiver: Receiver,
        metrics_port: int,
        violations: Sequence[str] = (),
    ) -> None:
        self._calls = [call for call in calls if call.backend == backend]
        self._audit_log = audit_log
        self._receiver = receiver
        self._port = metrics_port
        self._violations = violations

    def _of(self, hook: str, *kinds: str) -> list[tuple[Call, Run]]:
        """Return the runs of methods of one hook, each with its call."""
        return [(c, run) for c in self._calls for run in c.hook_runs(hook, *kinds)]

    def _vetoes(self) -> list[str]:
        runs = self._of("guard", "pre")
        return [run.failure.text for _, run in runs if run.failure]

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield hook, destination and content; wait for events in flight."""
        yield "audit", str(self._audit_log.name), _counted("line", self._outcomes())
        vetoes = self._vetoes()
        yield "guard", "the caller", f"{len(vetoes)} veto: {'; '.join(vetoes)}"
        types = Counter(kind.rpartition(".")[2] for kind in self._received().elements())
        yield "webhook", self._receiver.url, _counted("signed event", types)
        samples = scrape(self._port).get("manila_aspects_calls_total", [])
        calls: Counter[str] = Counter()
        for sample in samples:
            calls[sample.labels["outcome"]] += int(sample.value)
        place = f"http://127.0.0.1:{self._port}/metrics"
        yield "metrics", place, _counted("call", calls)

    def _outcomes(self) -> Counter[str]:
        if not self._audit_log.exists():
            return Counter()
        lines = self._audit_log.read_text("utf-8").splitlines()
        return Counter(json.loads(line)["outcome"] for line in lines)

    def _expected(self) -> Counter[str]:
        """Count the events that the webhook hook has to send, by type."""
        expected = Counter(f"{_PREFIX}violation.{state}" for state in self._violations)
        for call, run in self._of("webhook", *PHASES):
            operation = "" if run.kind == "periodic" else f"{call.operation}."
            expected[f"{_PREFIX}{operation}{PHASES[run.kind]}"] += 1
        return expected

    def _received(self) -> Counter[str]:
        deadline = time.monotonic() + TIMEOUT
        while (
            self._receiver.types() != self._expected() and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        return self._receiver.types()

    def differences(self) -> Iterator[str]:
        """Yield the differences between received and expected output."""
        expected = sorted(
            (call.operation, call.method) for call, _ in self._of("audit", *COMPLETIONS)
        )
        try:
            lines = self._audit_log.read_text("utf-8").splitlines()
            # A thread may write its line and its run after another thread's, so the
            # order may differ.
            written = sorted(
                (line["operation"], line["method"]) for line in map(json.loads, lines)
            )
        except (OSError, ValueError) as error:
            yield f"audit log: {error}"
        else:
            if written != expected:
                yield (
                    f"audit log: expected a line for each of {len(expected)} calls, "
                    f"got {len(written)} lines"
                )
        due, received = self._expected(), self._received()
        for kind in sorted(due.keys() | received.keys()):
            if due[kind] != received[kind]:
                yield (
                    f"webhook: events of type {kind}: "
                    f"expected {due[kind]}, got {received[kind]}"
                )
        if self._receiver.forged:
            yield f"webhook: {self._receiver.forged} events without a valid signature"
        yield from self._metrics_differences()

    def _metrics_differences(self) -> Iterator[str]:
        found = scrape(self._port)

        def total(metric: str, **labels: str) -> int:
            samples = found.get(f"manila_aspects_{metric}", [])
            wanted = labels.items()
            return sum(int(s.value) for s in samples if wanted <= s.labels.items())

        calls = Counter(
            (call.operation, call.method, run.kind == "post")
            for call, run in self._of("metrics", *COMPLETIONS)
        )
        for (operation, method, successful), expected in sorted(calls.items()):
            labels = {"operation": operation, "method": method}
            count = sum(
                total("calls_total", outcome=outcome, **labels)
                for outcome in ("success", "pending")
            )
            if not successful:
                count = total("calls_total", **labels) - count
            if count != expected:
                outcome = "successful" if successful else "other"
                yield (
                    f"metrics: {outcome} calls of {method}: "
                    f"expected {expected}, got {count}"
                )
        for metric, expected in (
            ("vetoes_total", len(self._vetoes())),
            ("ticks_total", len(self._of("metrics", "periodic"))),
        ):
            if total(metric) != expected:
                yield f"metrics: {metric}: expected {expected}, got {total(metric)}"


def _counted(noun: str, counts: Counter[str]) -> str:
    """Return counts as text, such as ``3 lines: 2 success, 1 veto``."""
    total = sum(counts.values())
    parts = ", ".join(f"{n} {name}" for name, n in counts.most_common() if n)
    return f"{total} {noun}{'' if total == 1 else 's'}: {parts}"

# SPDX-License-Identifier: Apache-2.0
"""What arrived at the other ends of the demo's hooks."""

from __future__ import annotations

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

from aspects.demo.journal import ENDINGS, Action

LOG = logging.getLogger(__name__)

#: Seconds that events may take to arrive when all is done.
PATIENCE = 10.0

#: The last part of the type of the event that each action sends.
PHASES = {"pre": "start", "post": "end", "error": "error", "periodic": "periodic"}


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Receiver:
    """An HTTP server that takes the events of the webhook hook.

    :param secret: what they are signed with
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._lock = threading.Lock()
        #: The events that arrived with a good signature, in order.
        self.events: list[dict[str, Any]] = []
        #: How many arrived without.
        self.forged = 0
        self._server = wsgi.Server(("127.0.0.1", 0), self._take, numthreads=2)
        self._server.shutdown_timeout = 2

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
        """Where to send events to."""
        return f"http://127.0.0.1:{self._server.bind_addr[1]}/events"

    def _take(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        digest = hmac.digest(self._secret, body, hashlib.sha256).hex()
        given = environ.get("HTTP_X_MANILA_ASPECTS_SIGNATURE", "")
        if not hmac.compare_digest(given, f"sha256={digest}"):
            with self._lock:
                self.forged += 1
            start_response("401 Unauthorized", [])
            return [b""]
        with self._lock:
            self.events.append(json.loads(body))
        start_response("204 No Content", [])
        return [b""]

    def types(self) -> Counter[str]:
        """Count the events that arrived by type, each of an id once."""
        with self._lock:
            types = {event["id"]: event["type"] for event in self.events}
        return Counter(types.values())


def scrape(port: int) -> dict[str, list[Any]]:
    """Read what the metrics hook counts, as Prometheus does.

    :param port: the port of its endpoint
    :returns: the samples by the name of their metric; none if nothing listens
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
    """What arrived, compared with what the hooks of a backend did.

    :param actions: all actions that were seen
    :param backend: the backend whose hooks have other ends
    :param audit_log: the audit hook's file
    :param receiver: takes the webhook hook's events
    :param metrics_port: the port of the metrics hook
    """

    def __init__(
        self,
        actions: Sequence[Action],
        backend: str,
        audit_log: Path,
        receiver: Receiver,
        metrics_port: int,
    ) -> None:
        self._actions = [action for action in actions if action.backend == backend]
        self._audit_log = audit_log
        self._receiver = receiver
        self._port = metrics_port

    def _of(self, hook: str, *kinds: str) -> list[Action]:
        return [a for a in self._actions if a.hook == hook and a.kind in kinds]

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield what arrived where: hook, place, what; wait for what is under way."""
        yield "audit", str(self._audit_log.name), _counted("line", self._outcomes())
        vetoes = [a.raised for a in self._of("guard", "pre") if a.raised]
        yield "guard", "the caller", f"{len(vetoes)} veto: {'; '.join(vetoes)}"
        types = Counter(kind.rpartition(".")[2] for kind in self._arrived().elements())
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

    def _due(self) -> Counter[str]:
        """Count the events that the webhook hook's actions owe, by type."""
        due: Counter[str] = Counter()
        for action in self._of("webhook", *PHASES):
            what = "" if action.kind == "periodic" else f"{action.operation}."
            due[f"org.openstack.manila.share.{what}{PHASES[action.kind]}"] += 1
        return due

    def _arrived(self) -> Counter[str]:
        deadline = time.monotonic() + PATIENCE
        while self._receiver.types() != self._due() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._receiver.types()

    def differences(self) -> Iterator[str]:
        """Yield each difference between what arrived and what was due."""
        wanted = sorted((a.operation, a.method) for a in self._of("audit", *ENDINGS))
        try:
            lines = self._audit_log.read_text("utf-8").splitlines()
            # Two threads may be between the action and its note: no order is told.
            told = sorted(
                (line["operation"], line["method"]) for line in map(json.loads, lines)
            )
        except (OSError, ValueError) as error:
            yield f"audit log: {error}"
        else:
            if told != wanted:
                yield f"audit log: {len(told)} lines for {len(wanted)} endings"
        due, arrived = self._due(), self._arrived()
        for kind in sorted(due.keys() | arrived.keys()):
            if due[kind] != arrived[kind]:
                yield f"webhook: {arrived[kind]} events {kind}, due {due[kind]}"
        if self._receiver.forged:
            yield f"webhook: {self._receiver.forged} events without a good signature"
        yield from self._of_metrics()

    def _of_metrics(self) -> Iterator[str]:
        found = scrape(self._port)

        def total(metric: str, **labels: str) -> int:
            samples = found.get(f"manila_aspects_{metric}", [])
            wanted = labels.items()
            return sum(int(s.value) for s in samples if wanted <= s.labels.items())

        calls = Counter(
            (a.operation, a.method, a.kind == "post")
            for a in self._of("metrics", *ENDINGS)
        )
        for (operation, method, good), due in sorted(calls.items()):
            labels = {"operation": operation, "method": method}
            counted = total("calls_total", outcome="success", **labels)
            if not good:
                counted = total("calls_total", **labels) - counted
            if counted != due:
                outcome = "successful" if good else "other"
                yield f"metrics: {counted} {outcome} calls of {method}, due {due}"
        vetoes = sum(1 for a in self._of("guard", "pre") if a.raised)
        for metric, due in (
            ("vetoes_total", vetoes),
            ("ticks_total", len(self._of("metrics", "periodic"))),
        ):
            if total(metric) != due:
                yield f"metrics: {metric} is {total(metric)}, due {due}"


def _counted(what: str, counts: Counter[str]) -> str:
    """Write ``3 lines: 2 success, 1 veto``."""
    total = sum(counts.values())
    parts = ", ".join(f"{n} {each}" for each, n in counts.most_common() if n)
    return f"{total} {what}{'' if total == 1 else 's'}: {parts}"

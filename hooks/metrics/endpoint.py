# SPDX-License-Identifier: Apache-2.0
"""A registry of metrics, the status of the hooks, and their HTTP server."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from oslo_log import log
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import aspects
from hooks.metrics.server import Server
from hooks.metrics.status import status_of, value_of

LOG = log.getLogger(__name__)

PREFIX = "manila_aspects"

#: Upper bounds, in seconds. Driver methods take from milliseconds to many minutes.
DRIVER_BUCKETS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900)

#: Upper bounds, in seconds. Hook methods take microseconds, or a network round trip.
HOOK_BUCKETS = (0.0001, 0.001, 0.01, 0.1, 1, 10)

#: The metrics of queues and outboxes, read on each scrape: attribute of the hook,
#: attribute or method of that, name, type and help text of the metric.
QUEUES: tuple[tuple[str, str, str, Any, str], ...] = (
    (
        "dispatcher",
        "pending",
        "hook_queue_pending",
        GaugeMetricFamily,
        "Hook methods that wait in the background queue or run.",
    ),
    (
        "dispatcher",
        "dropped",
        "hook_queue_dropped",
        CounterMetricFamily,
        "Hook methods dropped because the queue was full or did not drain in time.",
    ),
    (
        "outbox",
        "pending",
        "hook_outbox_pending",
        GaugeMetricFamily,
        "Events that wait for delivery.",
    ),
    (
        "outbox",
        "oldest_age",
        "hook_outbox_oldest_age_seconds",
        GaugeMetricFamily,
        "Time since the oldest event that waits was written; 0 if none waits.",
    ),
    (
        "outbox",
        "dead_letters",
        "hook_outbox_dead_letters",
        GaugeMetricFamily,
        "Events that are kept as dead letters.",
    ),
    (
        "outbox",
        "delivered",
        "hook_outbox_delivered",
        CounterMetricFamily,
        "Events delivered by this process.",
    ),
    (
        "outbox",
        "rejected",
        "hook_outbox_rejected",
        CounterMetricFamily,
        "Events that the receiver rejected permanently.",
    ),
    (
        "outbox",
        "given_up",
        "hook_outbox_given_up",
        CounterMetricFamily,
        "Events that were given up after too many attempts, or at an age.",
    ),
    (
        "outbox",
        "unreadable",
        "hook_outbox_unreadable",
        CounterMetricFamily,
        "Rows of the outbox that are not an event, seen by this process.",
    ),
)

#: The metrics of the counters of each hook: name in its status, help text.
COUNTS = {
    "suppressed": "Errors of hook methods that were logged and not raised.",
    "skipped": "Calls in which the circuit breaker skipped the hook.",
}


def label(text: str) -> str:
    """Return the value of a label, in which UTF-8 can encode each character.

    One character that it cannot encode would make all scrapes fail.

    :param text: e.g. the name of a hook
    """
    return text.encode(errors="backslashreplace").decode()


class Endpoint(Collector):
    """A registry of metrics and its HTTP server.

    :param host: the address to listen on
    :param port: the port to listen on; 0 for any free one
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        #: The metrics hooks that use this registry.
        self.hooks: weakref.WeakSet[Any] = weakref.WeakSet()
        self._changing = threading.Lock()
        self._users: set[Any] = set()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._create_metrics()
        _all_endpoints.add(self)

    def _create_metrics(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.calls = Counter(
            f"{PREFIX}_calls_total",
            "Completed calls of driver methods.",
            ("backend", "operation", "method", "outcome"),
            registry=registry,
        )
        self.driver_duration = Histogram(
            f"{PREFIX}_driver_duration_seconds",
            "Duration of driver methods, whether they returned or raised.",
            ("backend", "method"),
            buckets=DRIVER_BUCKETS,
            registry=registry,
        )
        self.hook_duration = Histogram(
            f"{PREFIX}_hook_duration_seconds",
            "Duration of hook methods, whether they returned or raised.",
            ("backend", "hook", "hook_method"),
            buckets=HOOK_BUCKETS,
            registry=registry,
        )
        self.hook_errors = Counter(
            f"{PREFIX}_hook_errors_total",
            "Hook methods that raised an error, suppressed or not.",
            ("backend", "hook", "hook_method"),
            registry=registry,
        )
        self.vetoes = Counter(
            f"{PREFIX}_vetoes_total",
            "Vetoes raised by pre methods, enforced (deny) or not (warn).",
            ("backend", "hook", "enforcement"),
            registry=registry,
        )
        self.ticks = Counter(
            f"{PREFIX}_ticks_total",
            "Ticks on which the periodic hooks ran.",
            ("backend",),
            registry=registry,
        )
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics of the counters, queues, outboxes and audits."""
        hooks = {
            (metrics_hook.backend, label(name)): hook
            for metrics_hook in tuple(self.hooks)
            for name, hook in tuple(metrics_hook.read_hooks.items())
        }
        counts = {}
        for labels, hook in hooks.items():
            # An error of one hook must not fail the scrape.
            with contextlib.suppress(Exception):
                counts[labels] = aspects.hook_status(hook)["counts"]
        for name, text in COUNTS.items():
            metric = CounterMetricFamily(
                f"{PREFIX}_hook_{name}", text, labels=("backend", "hook")
            )
            for labels, numbers in counts.items():
                metric.add_metric(labels, numbers[name])
            yield metric
        for part, attribute, name, family, text in QUEUES:
            metric = family(f"{PREFIX}_{name}", text, labels=("backend", "hook"))
            for labels, hook in hooks.items():
                value = value_of(hook, part, attribute)
                if value is not None:
                    metric.add_metric(labels, value)
            yield metric
        violations = GaugeMetricFamily(
            f"{PREFIX}_guard_violations",
            "Shares that violate a rule with audit: true.",
            labels=("backend", "hook", "rule"),
        )
        for labels, hook in hooks.items():
            # An error of one hook must not fail the scrape.
            with contextlib.suppress(Exception):
                for rule, count in getattr(hook, "violations", dict)().items():
                    violations.add_metric([*labels, label(rule)], count)
        yield violations

    def status(self) -> dict[str, Any]:
        """Return the status of the process and of its backends that use this server."""
        users = {id(user) for user in self._users}
        backends = []
        for weaving in aspects.started_weavings():
            own = [hook for hook in weaving.hooks if id(hook) in users]
            if own:
                backends.append(status_of(weaving, own[0].configuration))
        return {"pid": os.getpid(), "backends": backends}

    def open(self, user: Any) -> None:
        """Start the server, unless another hook of this process has started it.

        :param user: the hook that uses the server
        :raises OSError: if the server cannot listen, e.g. because the port is in use
        :raises RuntimeError: if no thread can be started
        """
        with self._changing:
            if self._server is None:
                self._start_server()
            self._users.add(user)

    def _start_server(self) -> None:
        try:
            server = Server(self.host, self.port, self.registry, self.status)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot serve metrics on {self.host}:{self.port}: "
                f"{error.strerror or error}",
            ) from error
        thread = threading.Thread(
            target=server.serve_forever, name="manila-aspects-metrics", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            server.server_close()
            raise
        self._server, self._thread = server, thread
        LOG.info(
            "Serving metrics at http://%(host)s:%(port)d/metrics",
            {"host": self.host, "port": server.server_address[1]},
        )

    def close(self, user: Any) -> None:
        """Stop the server, unless another hook of this process uses it.

        :param user: the hook that has used the server
        """
        with self._changing:
            self._users.discard(user)
            if self._server is None or self._thread is None or self._users:
                return
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def after_fork(self) -> None:
        """Reset the endpoint in a child process, which has no thread of the server.

        The metrics are created again, since a thread of the parent process may have
        held their locks.
        """
        self._changing = threading.Lock()
        self._users = set()
        if self._server is not None:
            self._server.abandon()
        self._server = self._thread = None
        self._create_metrics()
        for hook in tuple(self.hooks):
            hook.use_metrics()


_all_endpoints: weakref.WeakSet[Endpoint] = weakref.WeakSet()


def _after_fork() -> None:
    for endpoint in tuple(_all_endpoints):
        endpoint.after_fork()


os.register_at_fork(after_in_child=_after_fork)

_endpoints: weakref.WeakValueDictionary[tuple[str, int], Endpoint] = (
    weakref.WeakValueDictionary()
)


def endpoint_at(host: str, port: int) -> Endpoint:
    """Return this process's endpoint for a host and port.

    :param host: the address
    :param port: the port; 0 returns a new endpoint each time
    """
    endpoint = _endpoints.get((host, port)) or Endpoint(host, port)
    if port:
        _endpoints[host, port] = endpoint
    return endpoint

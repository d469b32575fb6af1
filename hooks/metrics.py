# SPDX-License-Identifier: Apache-2.0
"""Count and time calls, hooks and ticks, and serve the metrics for Prometheus."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

from oslo_config import cfg
from oslo_log import log
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    MetricsHandler,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import aspects
from hooks.events import outcome

LOG = log.getLogger(__name__)

PREFIX = "manila_aspects"

#: Upper bounds, in seconds. Driver methods take from milliseconds to many minutes.
DRIVER_BUCKETS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900)

#: Upper bounds, in seconds. Hook methods take microseconds, or a network round trip.
HOOK_BUCKETS = (0.0001, 0.001, 0.01, 0.1, 1, 10)

#: Maximum number of connections to the server at the same time.
MAX_CONNECTIONS = 10

#: Seconds that a connection may wait for its client.
CLIENT_TIMEOUT = 10.0

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
        "unreadable",
        "hook_outbox_unreadable",
        CounterMetricFamily,
        "Rows of the outbox that are not an event, seen by this process.",
    ),
)

#: The metrics of the counters of each hook: name in aspects.hook_counts(), help text.
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


# Not a subclass of HTTPServer, which looks up the name of its address: a DNS server
# that does not answer would delay the start.
class _Server(socketserver.ThreadingTCPServer):
    """An HTTP server of metrics, with a limited number of connections.

    Each connection takes a thread and a file of the share service. If too many are
    open, a new one replaces the oldest, so that idle clients do not keep Prometheus
    from scraping.

    :param host: the address to listen on
    :param port: the port to listen on; 0 for any free one
    :param registry: the metrics
    :raises OSError: if it cannot listen, e.g. because the port is in use
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._connections: dict[Any, None] = {}
        self._capacity = threading.Semaphore(MAX_CONNECTIONS)
        (self.address_family, _, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        super().__init__(address, MetricsHandler.factory(registry))  # type: ignore[arg-type]

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


class Endpoint(Collector):
    """A registry of metrics and its HTTP server.

    :param host: the address to listen on
    :param port: the port to listen on; 0 for any free one
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        #: The metrics hooks that use this registry.
        self.hooks: weakref.WeakSet[MetricsHook] = weakref.WeakSet()
        self._changing = threading.Lock()
        self._users: set[MetricsHook] = set()
        self._server: _Server | None = None
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
        for name, text in COUNTS.items():
            metric = CounterMetricFamily(
                f"{PREFIX}_hook_{name}", text, labels=("backend", "hook")
            )
            for labels, hook in hooks.items():
                # An error of one hook must not fail the scrape.
                with contextlib.suppress(Exception):
                    metric.add_metric(labels, aspects.hook_counts(hook).get(name, 0))
            yield metric
        for part, attribute, name, family, text in QUEUES:
            metric = family(f"{PREFIX}_{name}", text, labels=("backend", "hook"))
            for labels, hook in hooks.items():
                # An error of one hook must not fail the scrape.
                with contextlib.suppress(Exception):
                    value = getattr(getattr(hook, part, None), attribute, None)
                    if callable(value):
                        value = value()
                    if value is not None:
                        metric.add_metric(labels, float(value))
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

    def open(self, user: MetricsHook) -> None:
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
            server = _Server(self.host, self.port, self.registry)
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

    def close(self, user: MetricsHook) -> None:
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


class MetricsHook(aspects.HookBase):
    """Count and time the calls and ticks of a backend and the methods of its hooks.

    It counts calls with ``enable_post_hooks``, and ticks with
    ``enable_periodic_hooks``. Durations, errors and vetoes are measured while any of
    its methods is enabled. Its pre method does nothing.

    It belongs first in ``hook_drivers``: it does not count a call that a hook before
    it vetoes.
    """

    options = (
        cfg.HostAddressOpt(
            "metrics_host",
            default="127.0.0.1",
            help="Address to serve metrics on. All clients that can reach it can read "
            "the metrics.",
        ),
        cfg.PortOpt(
            "metrics_port",
            default=8788,
            help="Port to serve metrics on. Each process, and so each backend, needs a "
            "port of its own. 0 selects a free port, which is logged.",
        ),
    )

    may_veto: ClassVar = False
    # Counting takes less time than handing the work to a thread.
    deferred_methods: ClassVar = ()

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self.backend = label(getattr(configuration, "config_group", None) or "DEFAULT")
        self.endpoint = endpoint_at(
            self.get_config_option("metrics_host"),
            self.get_config_option("metrics_port"),
        )
        #: The other hooks of the chain, whose metrics are read on each scrape, by name.
        self.read_hooks: weakref.WeakValueDictionary[str, Any] = (
            weakref.WeakValueDictionary()
        )
        self._of_method: dict[
            tuple[str, str], tuple[Histogram, Counter, dict[str, Counter]]
        ] = {}
        self.use_metrics()
        self.endpoint.hooks.add(self)

    def use_metrics(self) -> None:
        """Use the metrics of the endpoint, from its creation or from a fork on."""
        # Cached, as the look-up in prometheus_client takes a lock.
        self._ticks = self.endpoint.ticks.labels(self.backend)
        self._calls: dict[tuple[str, str], dict[str, Counter]] = {}
        self._durations: dict[str, Histogram] = {}
        names, self._of_method = [*self._of_method], {}
        for hook, kind in names:
            self._metrics_of(hook, kind)

    def start(self) -> None:
        """Start serving the metrics.

        :raises OSError: if the server cannot listen, e.g. because the port is in use
        :raises RuntimeError: if no thread can be started
        """
        self.endpoint.open(self)

    def stop(self) -> None:
        """Stop serving the metrics."""
        self.endpoint.close(self)

    # -- observing ---------------------------------------------------------------

    def chain_changed(self, hooks: tuple[Any, ...]) -> None:
        """Create the metrics of the hooks; keep the hooks to read."""
        read_hooks: weakref.WeakValueDictionary[str, Any] = (
            weakref.WeakValueDictionary()
        )
        for hook in hooks:
            if hook is not self:
                name = aspects.hook_name(hook)
                # Created before the first run, so that a count is 0 and not missing.
                for kind in ("pre", "post", "error", "periodic"):
                    self._metrics_of(name, kind)
                # A hook with __slots__ may not support weak references.
                with contextlib.suppress(TypeError):
                    read_hooks[name] = hook
        self.read_hooks = read_hooks

    @contextlib.contextmanager
    def observe(self, observed: aspects.Observed) -> Iterator[None]:
        """Time a driver method or a hook method, and count errors and vetoes.

        :param observed: the run of the method
        """
        began = time.perf_counter()
        if observed.kind == "driver":
            duration = self._duration_of(observed.operation.method)
            try:
                yield
            finally:
                duration.observe(time.perf_counter() - began)
            return
        name, kind = aspects.hook_name(observed.hook), observed.kind
        duration, errors, vetoes = self._metrics_of(name, kind)
        try:
            yield
        except Exception as error:
            if kind == "pre" and aspects.Veto.within(error):
                vetoes[_enforcement(observed.hook, observed.operation)].inc()
            else:
                errors.inc()
            raise
        finally:
            duration.observe(time.perf_counter() - began)

    def _duration_of(self, method: str) -> Histogram:
        if method not in self._durations:
            histogram = self.endpoint.driver_duration
            self._durations[method] = histogram.labels(self.backend, label(method))
        return self._durations[method]

    def _metrics_of(
        self, hook: str, kind: str
    ) -> tuple[Histogram, Counter, dict[str, Counter]]:
        if (hook, kind) not in self._of_method:
            endpoint, name = self.endpoint, label(hook)
            self._of_method[hook, kind] = (
                endpoint.hook_duration.labels(self.backend, name, kind),
                endpoint.hook_errors.labels(self.backend, name, kind),
                {
                    enforcement: endpoint.vetoes.labels(self.backend, name, enforcement)
                    for enforcement in ("deny", "warn")
                },
            )
        return self._of_method[hook, kind]

    # -- the hook methods --------------------------------------------------------

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: completions count the calls."""

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        reported = outcome.of_results(func_name, args, kwargs, driver_action_results)
        self._count(func_name, reported.name)

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._count(func_name, outcome.of_error(func_name, args, kwargs, error).name)

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        self._ticks.inc()

    def _count(self, operation: aspects.Operation, name: str) -> None:
        counters = self._calls.get((operation, operation.method))
        if counters is None:
            # All of them are created, so that an outcome is 0 and not missing.
            labels = self.backend, label(operation), label(operation.method)
            counters = self._calls[operation, operation.method] = {
                each: self.endpoint.calls.labels(*labels, each)
                for each in outcome.OUTCOMES
            }
        counters[name].inc()


def _enforcement(hook: Any, operation: aspects.Operation) -> str:
    """Return ``deny`` if a hook's veto of a call is enforced, or else ``warn``."""
    # A veto of a routine operation counts only if hook_operations names it.
    named = operation.requested or operation in getattr(hook, "hook_operations", ())
    enforcement = getattr(hook, "hook_enforcement", "deny")
    return "deny" if named and enforcement == "deny" else "warn"

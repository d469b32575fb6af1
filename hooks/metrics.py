# SPDX-License-Identifier: Apache-2.0
"""Counts and durations of calls, hooks and ticks, for Prometheus to read."""

from __future__ import annotations

import contextlib
import os
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
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import aspects
from hooks.events import event

LOG = log.getLogger(__name__)

PREFIX = "manila_aspects"

#: Upper bounds in seconds: a driver takes from milliseconds to many minutes.
DRIVER_BUCKETS = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900)

#: Upper bounds in seconds: an action takes microseconds, or what a network takes.
ACTION_BUCKETS = (0.0001, 0.001, 0.01, 0.1, 1, 10)

#: What a hook's dispatcher and outbox count: read when Prometheus asks. The part
#: of the hook, its attribute or method, the metric, its kind, what it is.
QUEUES: tuple[tuple[str, str, str, Any, str], ...] = (
    (
        "dispatcher",
        "pending",
        "hook_queue_pending",
        GaugeMetricFamily,
        "Actions that wait or run in the background.",
    ),
    (
        "dispatcher",
        "dropped",
        "hook_queue_dropped",
        CounterMetricFamily,
        "Actions that were dropped since the queue was full or took too long.",
    ),
    (
        "outbox",
        "pending",
        "hook_outbox_pending",
        GaugeMetricFamily,
        "Events that wait for their delivery.",
    ),
    (
        "outbox",
        "delivered",
        "hook_outbox_delivered",
        CounterMetricFamily,
        "Events that were delivered by this process.",
    ),
    (
        "outbox",
        "rejected",
        "hook_outbox_rejected",
        CounterMetricFamily,
        "Events that the receiver rejected permanently.",
    ),
)


class Endpoint(Collector):
    """A registry of metrics and the HTTP server that gives them out.

    :param host: the address to listen on
    :param port: the port to listen on; 0 for any free one
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.registry = registry = CollectorRegistry()
        self.calls = Counter(
            f"{PREFIX}_calls_total",
            "Calls of driver methods that ended.",
            ("backend", "operation", "method", "outcome"),
            registry=registry,
        )
        self.driver_duration = Histogram(
            f"{PREFIX}_driver_duration_seconds",
            "What a driver method took, whether it returned or raised.",
            ("backend", "method"),
            buckets=DRIVER_BUCKETS,
            registry=registry,
        )
        self.hook_duration = Histogram(
            f"{PREFIX}_hook_duration_seconds",
            "What an action of a hook took, whether it returned or raised.",
            ("backend", "hook", "action"),
            buckets=ACTION_BUCKETS,
            registry=registry,
        )
        self.hook_errors = Counter(
            f"{PREFIX}_hook_errors_total",
            "Actions of hooks that raised an error, suppressed or not.",
            ("backend", "hook", "action"),
            registry=registry,
        )
        self.vetoes = Counter(
            f"{PREFIX}_vetoes_total",
            "Calls that a hook forbade.",
            ("backend", "hook"),
            registry=registry,
        )
        self.ticks = Counter(
            f"{PREFIX}_ticks_total",
            "Ticks on which the periodic hooks ran.",
            ("backend",),
            registry=registry,
        )
        #: The hooks whose metrics these are.
        self.hooks: weakref.WeakSet[MetricsHook] = weakref.WeakSet()
        registry.register(self)
        self._changing = threading.Lock()
        self._users: set[MetricsHook] = set()
        self._process: int | None = None
        self._server: Any = None
        self._thread: Any = None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the queues, as they are now."""
        hooks = {
            (each.backend, name): hook
            for each in tuple(self.hooks)
            for name, hook in tuple(each.queues.items())
        }
        for part, what, name, family, text in QUEUES:
            metric = family(f"{PREFIX}_{name}", text, labels=("backend", "hook"))
            for labels, hook in hooks.items():
                value = getattr(getattr(hook, part, None), what, None)
                if callable(value):
                    value = value()
                if value is not None:
                    metric.add_metric(labels, value)
            yield metric

    def open(self, user: MetricsHook) -> None:
        """Listen, if no hook of this process has it listen yet.

        :param user: the hook that needs it
        :raises OSError: if it cannot listen, e.g. as the port is in use
        """
        with self._changing:
            if self._process != os.getpid():
                self._forget()
            if self._server is None:
                self._server, self._thread = start_http_server(
                    self.port, self.host, self.registry
                )
                self._process = os.getpid()
                LOG.info(
                    "Metrics are at http://%(host)s:%(port)d/metrics",
                    {"host": self.host, "port": self._server.server_port},
                )
            self._users.add(user)

    def _forget(self) -> None:
        # After a fork the server is the other process's; here is but its socket.
        if self._server is not None:
            self._server.socket.close()
        self._server, self._users = None, set()

    def close(self, user: MetricsHook) -> None:
        """Stop listening, if no other hook of this process needs it.

        :param user: the hook that needed it
        """
        with self._changing:
            self._users.discard(user)
            if self._server is None or self._users or self._process != os.getpid():
                return
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


_endpoints: weakref.WeakValueDictionary[tuple[str, int], Endpoint] = (
    weakref.WeakValueDictionary()
)


def endpoint_at(host: str, port: int) -> Endpoint:
    """Return the one endpoint of this process for a host and port.

    :param host: the address
    :param port: the port; 0 for an endpoint of its own
    """
    endpoint = _endpoints.get((host, port)) or Endpoint(host, port)
    if port:
        _endpoints[host, port] = endpoint
    return endpoint


class MetricsHook(aspects.HookBase):
    """Count and time what a backend and the hooks of its chain do.

    Calls are counted by its endings, so with ``enable_post_hooks``; ticks with
    ``enable_periodic_hooks``. Durations, errors and vetoes are measured while any
    of its actions is on. It has no use for a pre action of its own.

    It is told of what comes after it in ``hook_drivers``: have it first.
    """

    options = (
        cfg.HostAddressOpt(
            "metrics_host",
            default="127.0.0.1",
            help="The address that metrics are served on. Whoever can reach it can "
            "read them.",
        ),
        cfg.PortOpt(
            "metrics_port",
            default=8788,
            help="The port that metrics are served on, one for each process, so for "
            "each backend; 0 for any free one, which is logged.",
        ),
    )

    may_veto: ClassVar = False
    #: None: to count takes less time than to have it done by a thread.
    deferred_actions: ClassVar = ()

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self.backend = getattr(configuration, "config_group", None) or "DEFAULT"
        self.endpoint = endpoint_at(
            self.get_config_option("metrics_host"),
            self.get_config_option("metrics_port"),
        )
        self.endpoint.hooks.add(self)
        #: The hooks of the chain that have a queue or an outbox, by name.
        self.queues: weakref.WeakValueDictionary[str, Any] = (
            weakref.WeakValueDictionary()
        )
        self._ticks = self.endpoint.ticks.labels(self.backend)
        self._calls: dict[tuple[str, str], dict[str, Counter]] = {}
        self._of_method: dict[tuple[str, str], tuple[Histogram, Counter, Counter]] = {}

    def start(self) -> None:
        """Serve the metrics.

        :raises OSError: if that is not possible, e.g. as the port is in use
        """
        self.endpoint.open(self)

    def stop(self) -> None:
        """Serve them no more."""
        self.endpoint.close(self)

    # -- observing ---------------------------------------------------------------

    def chain_changed(self, hooks: tuple[Any, ...]) -> None:
        """Find the hooks of the chain, and those that have a queue or an outbox."""
        for hook in hooks:
            if hook is not self:
                # Made now, so that a count is 0 and not missing before the first event.
                for kind in ("pre", "post", "error", "periodic"):
                    self._metrics_of(aspects.hook_name(hook), kind)
        self.queues = weakref.WeakValueDictionary(
            {
                aspects.hook_name(hook): hook
                for hook in hooks
                if getattr(hook, "dispatcher", None) or getattr(hook, "outbox", None)
            }
        )

    @contextlib.contextmanager
    def observe(self, observed: aspects.Observed) -> Iterator[None]:
        """Time a driver method or a hook method, and count errors and vetoes."""
        began = time.perf_counter()
        if observed.kind == "driver":
            duration = self.endpoint.driver_duration.labels(
                self.backend, observed.operation.method
            )
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
            vetoed = kind == "pre" and aspects.Veto.within(error)
            (vetoes if vetoed else errors).inc()
            raise
        finally:
            duration.observe(time.perf_counter() - began)

    def _metrics_of(self, hook: str, kind: str) -> tuple[Histogram, Counter, Counter]:
        # Kept: prometheus_client's own look-up takes a lock.
        if (hook, kind) not in self._of_method:
            own = self.endpoint
            self._of_method[hook, kind] = (
                own.hook_duration.labels(self.backend, hook, kind),
                own.hook_errors.labels(self.backend, hook, kind),
                own.vetoes.labels(self.backend, hook),
            )
        return self._of_method[hook, kind]

    # -- the hook methods -------------------------------------------------------------

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing to do."""

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._count(func_name, event.outcome_of(None))

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._count(func_name, event.outcome_of(error))

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        self._ticks.inc()

    def _count(self, operation: aspects.Operation, outcome: str) -> None:
        known = self._calls.get((operation, operation.method))
        if known is None:
            # All three at once: what did not happen yet is to be a 0, not missing.
            known = self._calls[operation, operation.method] = {
                each: self.endpoint.calls.labels(
                    self.backend, operation, operation.method, each
                )
                for each in ("success", "failure", "veto")
            }
        known[outcome].inc()

# SPDX-License-Identifier: Apache-2.0
"""Count and time calls, hooks and ticks, and serve the metrics for Prometheus."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

from oslo_config import cfg
from prometheus_client import Counter, Histogram

import aspects
from hooks.events import outcome
from hooks.metrics.endpoint import endpoint_at, label


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

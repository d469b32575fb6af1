# SPDX-License-Identifier: Apache-2.0
"""Data and helpers shared by the tests of the metrics hook."""

import urllib.request

import aspects
from hooks import metrics as metrics_hook
from tests.support.config import ConfigFile

SHARE = {"id": "i-4711", "share_id": "s-4711"}
ON = "enable_post_hooks = True\n"


def read(port, host="127.0.0.1"):
    """Return the page of metrics."""
    url = f"http://{host}:{port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read().decode()


class Metrics:
    """A metrics hook of a backend, and its metrics."""

    def __init__(self, directory, text=ON, backend="alpha", port=0):
        text = f"[{backend}]\nmetrics_port = {port}\n{text}"
        self.backend = backend
        self.file = ConfigFile(directory / f"{backend}.conf", text)
        section = aspects.BackendSection(self.file.conf, backend)
        self.hook = metrics_hook.MetricsHook(section, "node1")

    def weave(self, driver, *others, before=()):
        chain = [*before, self.hook, *others]
        return aspects.weave(driver, chain, self.backend, "node1")

    def __call__(self, name, **labels):
        """Return the value of one series; None if it does not exist."""
        labels = {"backend": self.backend, **labels}
        registry = self.hook.endpoint.registry
        return registry.get_sample_value(f"manila_aspects_{name}", labels)

    def calls(self, operation, method, outcome="success"):
        labels = {"operation": operation, "method": method, "outcome": outcome}
        return self("calls_total", **labels)

    def timed(self, hook, kind):
        return self("hook_duration_seconds_count", hook=hook, hook_method=kind)

    def errors(self, hook, kind):
        return self("hook_errors_total", hook=hook, hook_method=kind)

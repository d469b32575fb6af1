# SPDX-License-Identifier: Apache-2.0
"""The metrics hook, read by a real Prometheus."""

import sys
import textwrap
import threading
import urllib.request

import pytest
from oslo_config import cfg

import aspects
from hooks.delivery import DeliveryHook, Refused

from . import parts
from .prometheus import Prometheus, problems

PREFIX = "manila_aspects"
#: The hooks of the test, after those of the documentation's example.
HOOKS = "slow, events, forbid"


class Driver:
    def create_share(self, context, share, share_server=None):
        if share["id"] == "bad":
            raise OSError("no such pool")

    def delete_share(self, context, share, share_server=None):
        pass


class Quiet(aspects.HookBase):
    """Base of hooks that do one thing."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """Nothing to do."""

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        """Nothing to do."""

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        """Nothing to do."""


class Forbid(Quiet):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        if func_name == "delete_share_instance":
            raise aspects.Veto("frozen")


class Slow(Quiet):
    """A hook whose queue is full while the test wants it to be."""

    go_on = threading.Event()

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        self.go_on.wait(60)
        raise OSError("the other end has gone")


class Events(DeliveryHook):
    options = (*DeliveryHook.options, cfg.BoolOpt("events_down", default=False))

    def deliver(self, event):
        if event["type"].endswith("error"):
            raise Refused("bad event")


@pytest.fixture
def port():
    return parts.free_port()


@pytest.fixture
def woven(tmp_path, port):
    """A woven driver, by the documentation's example and with three hooks more."""
    Slow.go_on.clear()
    text = parts.example(
        "hooks/metrics.rst",
        {
            "8788": str(port),
            "/var/log/manila": str(tmp_path),
            "metrics, audit": f"metrics, audit, slow={__name__}:Slow, "
            f"events={__name__}:Events, forbid={__name__}:Forbid",
        },
    )
    text += textwrap.dedent(
        f"""
        [alpha:slow]
        hook_dispatch = background
        hook_queue_size = 1
        hook_queue_timeout = 0
        enable_pre_hooks = False
        enable_periodic_hooks = False
        [alpha:events]
        hook_dispatch = durable
        hook_outbox_path = {tmp_path}/outbox
        """
    )
    with parts.woven_by(text, tmp_path, Driver()) as share_driver:
        try:
            yield share_driver
        finally:
            Slow.go_on.set()


def read(port):
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}/metrics", timeout=10
    ) as reply:
        return reply.read()


def series(name, **labels):
    text = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f'{PREFIX}_{name}{{backend="alpha",{text}}}'


def test_each_metric(tmp_path, port, woven):
    create = {"operation": "create_share_instance", "method": "create_share"}
    delete = {"operation": "delete_share_instance", "method": "delete_share"}
    with Prometheus(tmp_path, port) as prometheus:
        for _ in range(3):
            woven.create_share(None, {"id": "1"})
        for _ in range(2):
            with pytest.raises(OSError, match="pool"):
                woven.create_share(None, {"id": "bad"})
        with pytest.raises(aspects.Veto):
            woven.delete_share(None, {"id": "1"})
        for _ in range(4):
            assert aspects.tick(woven, None, [])
        expected = {
            series("calls_total", **create, outcome="success"): 3,
            series("calls_total", **create, outcome="failure"): 2,
            series("calls_total", **create, outcome="veto"): 0,
            series("calls_total", **delete, outcome="veto"): 1,
            series("calls_total", **delete, outcome="success"): 0,
            series("driver_duration_seconds_count", method="create_share"): 5,
            series("hook_duration_seconds_count", hook="audit", action="pre"): 6,
            series("hook_duration_seconds_count", hook="audit", action="post"): 3,
            series("hook_duration_seconds_count", hook="audit", action="error"): 3,
            series("hook_duration_seconds_count", hook="audit", action="periodic"): 4,
            series("hook_errors_total", hook="audit", action="pre"): 0,
            series("hook_errors_total", hook="forbid", action="pre"): 0,
            series("vetoes_total", hook="forbid"): 1,
            series("vetoes_total", hook="audit"): 0,
            series("ticks_total"): 4,
            # Of three endings, one is in the queue and two found it full.
            series("hook_queue_dropped_total", hook="slow"): 2,
            # Each call has a start, an ending but for the vetoed one's, four ticks.
            series("hook_outbox_pending", hook="events"): 0,
            series("hook_outbox_delivered_total", hook="events"): 6 + 3 + 4,
            series("hook_outbox_refused_total", hook="events"): 3,
        }
        for expression, value in expected.items():
            prometheus.wait_for(expression, value)
        Slow.go_on.set()
        errors = series("hook_errors_total", hook="slow", action="post")
        prometheus.wait_for(errors, 1)
        # What the documentation shows.
        for text in queries():
            prometheus.query(text)
        quantile = series(
            "driver_duration_seconds_bucket", method="create_share", le="900.0"
        )
        prometheus.wait_for(quantile, 5)
    assert not problems(read(port))


def queries():
    """The expressions that the documentation shows."""
    page = (parts.DOCS / "hooks/metrics.rst").read_text()
    block = page.partition(".. code-block:: text\n\n")[2].partition("\n\n")[0]
    return textwrap.dedent(block).splitlines()


def test_a_service_that_stopped_is_down(tmp_path, port):
    text = parts.example(
        "hooks/metrics.rst", {"8788": str(port), "/var/log/manila": str(tmp_path)}
    )
    with Prometheus(tmp_path, port) as prometheus:
        with parts.woven_by(text, tmp_path, Driver()):
            prometheus.wait_for("up", 1)
        prometheus.wait_for("up", 0)
        with parts.woven_by(text, tmp_path, Driver()):
            prometheus.wait_for("up", 1)


SERVICE = """
import os, sys, time
if sys.argv[2] == "eventlet":
    import eventlet
    eventlet.monkey_patch()
from oslo_config import cfg
import aspects

class Driver:
    def create_share(self, context, share, share_server=None):
        pass

conf = cfg.ConfigOpts()
conf(["--config-file", sys.argv[1]], project="manila", default_config_dirs=[])
drivers = [
    aspects.weave_from_config(Driver(), aspects.BackendSection(conf, each), each)
    for each in ("alpha", "beta")
]
# As Manila's launcher does: a process for each backend.
for driver in drivers:
    if os.fork() == 0:
        if sys.argv[2] == "eventlet":
            eventlet.hubs.use_hub()
        aspects.weaving(driver).start()
        driver.create_share(None, {"id": "1"})
        # Not in a read of standard input, where no green thread would go on.
        while not os.path.exists(sys.argv[3]):
            time.sleep(0.05)
        aspects.weaving(driver).stop()
        os._exit(0)
for driver in drivers:
    os.wait()
"""


@pytest.mark.parametrize("threads", ["native", "eventlet"])
def test_a_process_for_each_backend(tmp_path, threads):
    if threads == "eventlet":
        pytest.importorskip("eventlet")
    ports = [parts.free_port(), parts.free_port()]
    text = parts.example(
        "hooks/metrics.rst",
        {"8788": str(ports[0]), "/var/log/manila": str(tmp_path)},
    )
    beta = text.replace("[alpha]", "[beta]").replace(str(ports[0]), str(ports[1]))
    (tmp_path / "manila.conf").write_text(text + beta)
    (tmp_path / "service.py").write_text(SERVICE)
    enough = tmp_path / "enough"
    script, config = tmp_path / "service.py", tmp_path / "manila.conf"
    service = parts.Program(
        [sys.executable, *map(str, (script, config)), threads, str(enough)],
        tmp_path / "service.log",
    )
    try:
        for port, backend, other in zip(ports, ("alpha", "beta"), ("beta", "alpha")):
            told = f'calls_total{{backend="{backend}"'
            page = parts.wait_for(
                lambda port=port, told=told: (
                    told in (text := read(port).decode()) and text
                ),
                f"the metrics of {backend}",
            )
            assert f'backend="{other}"' not in page
        enough.touch()
        assert service.process.wait(30) == 0, service.log.read_text()
    finally:
        service.kill()

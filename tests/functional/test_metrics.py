# SPDX-License-Identifier: Apache-2.0
"""The metrics hook, scraped by a real Prometheus."""

import contextlib
import sys
import textwrap
import threading
import urllib.request

import pytest

import aspects
from hooks.events.delivery import DeliveryHook
from hooks.events.errors import RejectedError
from tests.support import pages
from tests.support.config import woven_by
from tests.support.pages import DOCS
from tests.support.programs import Program, free_port
from tests.support.wait import wait_for

from .prometheus import Prometheus, problems

PREFIX = "manila_aspects"


class Driver:
    def create_share(self, context, share, share_server=None):
        if share["id"] == "bad":
            raise OSError("no such pool")

    def delete_share(self, context, share, share_server=None):
        pass


class Quiet(aspects.HookBase):
    """Base class with hook methods that do nothing."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """Do nothing."""

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        """Do nothing."""

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        """Do nothing."""


class Forbid(Quiet):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        if func_name == "delete_share_instance":
            raise aspects.Veto("frozen")


class Slow(Quiet):
    """A hook whose queue is full until the test releases it."""

    release = threading.Event()

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        self.release.wait(60)
        raise OSError("the receiver is gone")


class Events(DeliveryHook):
    def deliver(self, event):
        if event["type"].endswith("error"):
            raise RejectedError("bad event")


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def example(tmp_path):
    """Return a function that returns the documentation's example with a port."""

    def text(port, **replace):
        here = {"8788": str(port), "/var/log/manila": str(tmp_path), **replace}
        return pages.example("admin/hooks/metrics.rst", here)

    return text


@pytest.fixture
def woven(tmp_path, example, port):
    """Return a driver woven by the documentation's example, with three more hooks."""
    Slow.release.clear()
    hooks = (
        f"metrics, audit, slow={__name__}:Slow, events={__name__}:Events, "
        f"forbid={__name__}:Forbid"
    )
    text = example(port, **{"metrics, audit": hooks})
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
    with woven_by(text, tmp_path, Driver()) as share_driver:
        try:
            yield share_driver
        finally:
            Slow.release.set()


def read(port):
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}/metrics", timeout=10
    ) as reply:
        return reply.read().decode()


def series(name, **labels):
    text = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f'{PREFIX}_{name}{{backend="alpha",{text}}}'


def test_prometheus_gets_each_metric(tmp_path, port, woven):
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
            series("hook_errors_total", hook="audit", hook_method="pre"): 0,
            series("hook_errors_total", hook="forbid", hook_method="pre"): 0,
            series("vetoes_total", hook="forbid", enforcement="deny"): 1,
            series("vetoes_total", hook="forbid", enforcement="warn"): 0,
            series("vetoes_total", hook="audit", enforcement="deny"): 0,
            series("ticks_total"): 4,
            # Of three post methods, one is in the queue and two found it full.
            series("hook_queue_pending", hook="slow"): 1,
            series("hook_queue_dropped_total", hook="slow"): 2,
            # Events of 6 starts, 3 successful calls and 4 ticks; 3 errors are rejected.
            series("hook_outbox_pending", hook="events"): 0,
            series("hook_outbox_delivered_total", hook="events"): 6 + 3 + 4,
            series("hook_outbox_rejected_total", hook="events"): 3,
            series("hook_outbox_oldest_age_seconds", hook="events"): 0,
            series("hook_outbox_dead_letters", hook="events"): 3,
        }
        runs = {"pre": 6, "post": 3, "error": 3, "periodic": 4}
        for kind, count in runs.items():
            labels = {"hook": "audit", "hook_method": kind}
            expected[series("hook_duration_seconds_count", **labels)] = count
        for expression, value in expected.items():
            prometheus.wait_for(expression, value)
        Slow.release.set()
        errors = series("hook_errors_total", hook="slow", hook_method="post")
        prometheus.wait_for(errors, 1)
        prometheus.wait_for(series("hook_suppressed_total", hook="slow"), 1)
        prometheus.wait_for(series("hook_skipped_total", hook="slow"), 0)
        # The documented queries are valid. The last one has no result, as the outbox
        # is empty.
        failed, slowest, waiting = queries()
        wait_for(lambda: prometheus.query(failed), failed)
        wait_for(lambda: prometheus.query(slowest), slowest)
        assert prometheus.query(waiting) == []
        assert prometheus.query(waiting.replace("> 0", "== 0"))
        quantile = series(
            "driver_duration_seconds_bucket", method="create_share", le="900.0"
        )
        prometheus.wait_for(quantile, 5)
    assert not problems(read(port))


def queries():
    """Return the documented queries."""
    page = (DOCS / "admin/hooks/metrics.rst").read_text()
    block = page.partition(".. code-block:: text\n\n")[2].partition("\n\n")[0]
    return textwrap.dedent(block).splitlines()


def test_stopped_service_is_down_in_prometheus(tmp_path, example, port):
    text = example(port)
    with Prometheus(tmp_path, port) as prometheus:
        with woven_by(text, tmp_path, Driver()):
            prometheus.wait_for("up", 1)
        prometheus.wait_for("up", 0)
        with woven_by(text, tmp_path, Driver()):
            prometheus.wait_for("up", 1)


# Services in processes of their own

WOVEN = """
import os, sys, time
if sys.argv[2] == "eventlet":
    import eventlet
    eventlet.monkey_patch()
from oslo_config import cfg
import aspects

class Driver:
    def create_share(self, context, share, share_server=None):
        pass

def woven(backend):
    conf = cfg.ConfigOpts()
    conf(["--config-file", sys.argv[1]], project="manila", default_config_dirs=[])
    section = aspects.BackendSection(conf, backend)
    return aspects.weave_from_config(Driver(), section, backend)

def until(name):
    # Poll: a read of standard input would block all green threads.
    while not os.path.exists(os.path.join(os.path.dirname(sys.argv[1]), name)):
        time.sleep(0.02)
"""


@contextlib.contextmanager
def service(script, directory, config, threads="native"):
    """Run a script, which must exit with status 0 after the block."""
    (directory / "manila.conf").write_text(config)
    (directory / "service.py").write_text(WOVEN + script)
    command = [
        sys.executable,
        directory / "service.py",
        directory / "manila.conf",
        threads,
    ]
    program = Program([*map(str, command)], directory / "service.log")
    try:
        yield
        assert program.process.wait(30) == 0, program.log.read_text()
    finally:
        program.kill()


# Like Manila's launcher, it constructs the hooks, then forks a process a backend.
LAUNCHER = """
for driver in [woven("alpha"), woven("beta")]:
    if os.fork() == 0:
        if sys.argv[2] == "eventlet":
            eventlet.hubs.use_hub()
        aspects.weaving(driver).start()
        driver.create_share(None, {"id": "1"})
        until("enough")
        aspects.weaving(driver).stop()
        os._exit(0)
assert [os.wait()[1], os.wait()[1]] == [0, 0]
"""


@pytest.mark.parametrize("threads", ["native", "eventlet"])
def test_each_process_serves_the_metrics_of_its_backend(tmp_path, example, threads):
    if threads == "eventlet":
        pytest.importorskip("eventlet")
    ports = [free_port(), free_port()]
    alpha, beta = map(example, ports)
    config = alpha + beta.replace("[alpha]", "[beta]")
    with service(LAUNCHER, tmp_path, config, threads):
        for port, backend in zip(ports, ("alpha", "beta")):
            text = f'calls_total{{backend="{backend}"'
            wait_for(lambda text=text, port=port: text in read(port), text)
            other = {"alpha": "beta", "beta": "alpha"}[backend]
            assert f'backend="{other}"' not in read(port)
        (tmp_path / "enough").touch()


# The parent process stops serving, then the child process serves on the same port.
SUCCESSOR = """
driver = woven("alpha")
aspects.weaving(driver).start()
child = os.fork()
if child == 0:
    until("stopped")
    aspects.weaving(driver).start()
    driver.create_share(None, {"id": "1"})
    until("enough")
    aspects.weaving(driver).stop()
    os._exit(0)
aspects.weaving(driver).stop()
open(os.path.join(os.path.dirname(sys.argv[1]), "stopped"), "w").close()
assert os.waitpid(child, 0)[1] == 0
"""


def test_child_process_serves_after_the_parent_has_stopped(tmp_path, example, port):
    with service(SUCCESSOR, tmp_path, example(port)):
        text = 'calls_total{backend="alpha"'
        wait_for(lambda: (tmp_path / "stopped").exists() and text in read(port), text)
        (tmp_path / "enough").touch()

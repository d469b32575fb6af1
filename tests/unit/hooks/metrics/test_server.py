# SPDX-License-Identifier: Apache-2.0
"""The metrics of queues and outboxes, and the HTTP server."""

import gc
import socket
import threading

import pytest

import aspects

pytest.importorskip("prometheus_client")
from hooks.events.outbox import Outbox
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder
from tests.support.wait import wait_for

from .common import SHARE, Metrics, read

# A test that hangs on a server fails early.
pytestmark = pytest.mark.timeout(60)


class Queue:
    """A fake of a dispatcher and of an outbox."""

    dropped, delivered, rejected, given_up, unreadable = 3, 5, 7, 8, 9

    def pending(self):
        return 2

    def oldest_age(self):
        return 7.5

    def dead_letters(self):
        return 4


def test_queues_and_outboxes_have_metrics(metrics):
    background, durable = Recorder("background"), Recorder("durable")
    background.dispatcher, durable.outbox = Queue(), Queue()
    background.deferred_methods = ()
    metrics.weave(BusyDriver(), background, durable, Recorder("inline"))
    values = {
        name: [metrics(name, hook=hook) for hook in ("background", "durable")]
        for name in (
            "hook_queue_pending",
            "hook_queue_dropped_total",
            "hook_outbox_pending",
            "hook_outbox_oldest_age_seconds",
            "hook_outbox_dead_letters",
            "hook_outbox_delivered_total",
            "hook_outbox_rejected_total",
            "hook_outbox_given_up_total",
            "hook_outbox_unreadable_total",
        )
    }
    assert values == {
        "hook_queue_pending": [2, None],
        "hook_queue_dropped_total": [3, None],
        "hook_outbox_pending": [None, 2],
        "hook_outbox_oldest_age_seconds": [None, 7.5],
        "hook_outbox_dead_letters": [None, 4],
        "hook_outbox_delivered_total": [None, 5],
        "hook_outbox_rejected_total": [None, 7],
        "hook_outbox_given_up_total": [None, 8],
        "hook_outbox_unreadable_total": [None, 9],
    }
    assert metrics("hook_queue_pending", hook="inline") is None


def test_unreadable_outbox_does_not_affect_other_metrics(metrics, tmp_path):
    one, other = Recorder("one"), Recorder("other")
    one.outbox, other.outbox = Outbox(tmp_path / "one", print), Queue()
    (tmp_path / "one" / "events.sqlite").mkdir(parents=True)
    metrics.weave(BusyDriver(), one, other)
    for name in ("pending", "oldest_age_seconds", "dead_letters"):
        assert metrics(f"hook_outbox_{name}", hook="one") is None
    assert metrics("hook_outbox_delivered_total", hook="one") == 0
    assert metrics("hook_outbox_pending", hook="other") == 2


@pytest.mark.slow
def test_metrics_of_a_freed_hook_disappear(metrics):
    other = Recorder("other")
    other.outbox = Queue()
    driver = metrics.weave(BusyDriver(), other)
    assert metrics("hook_outbox_pending", hook="other") == 2
    del driver, other
    gc.collect()
    assert metrics("hook_outbox_pending", hook="other") is None


@pytest.mark.slow
def test_server_runs_from_start_to_stop(tmp_path, port):
    before = set(threading.enumerate())
    metrics = Metrics(tmp_path, port=port)
    driver = metrics.weave(BusyDriver(), Recorder())
    assert set(threading.enumerate()) <= before
    with pytest.raises(OSError, match="refused"):
        read(port)
    for _ in range(2):
        aspects.weaving(driver).start()
        aspects.weaving(driver).start()
        driver.create_share(None, SHARE)
        assert 'operation="create_share_instance",outcome="success"' in read(port)
        aspects.weaving(driver).stop()
        with pytest.raises(OSError, match="refused"):
            read(port)
    aspects.weaving(driver).stop()


@pytest.mark.slow
def test_backends_of_one_process_share_a_server(tmp_path, port):
    alpha = Metrics(tmp_path, port=port)
    beta = Metrics(tmp_path, backend="beta", port=port)
    other = Metrics(tmp_path, backend="gamma")
    assert alpha.hook.endpoint is beta.hook.endpoint is not other.hook.endpoint
    for metrics in (alpha, beta):
        metrics.weave(BusyDriver()).create_share(None, SHARE)
        metrics.hook.start()
    alpha.hook.stop()
    page = read(port)
    assert 'calls_total{backend="alpha"' in page
    assert 'calls_total{backend="beta"' in page
    beta.hook.stop()
    with pytest.raises(OSError, match="refused"):
        read(port)


@pytest.mark.slow
def test_port_in_use_is_logged_and_the_driver_works(tmp_path, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        metrics = Metrics(tmp_path, port=port)
        driver = metrics.weave(BusyDriver(lambda: "result"), Recorder("other"))
        with pytest.raises(OSError, match="in use"):
            metrics.hook.start()
        aspects.weaving(driver).start()
    assert "Failed to start hook" in caplog.text
    assert driver.create_share(None, SHARE) == "result"
    assert metrics.timed("other", "pre") == 1
    # The port is free now, so the next attempt starts the server.
    wait_for(lambda: "calls_total" in read(port), "the server")
    aspects.weaving(driver).stop()


@pytest.mark.slow
def test_selected_free_port_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    metrics = Metrics(tmp_path)
    metrics.hook.start()
    (fields,) = [
        record.args for record in caplog.records if "Serving metrics" in record.msg
    ]
    assert "calls_total" in read(fields["port"])
    metrics.hook.stop()


@pytest.mark.parametrize(
    "line",
    [
        "metrics_port = 65536",
        "metrics_port = http",
        "metrics_host = 127.0.0.1:9000",
        "hook_dispatch = durable",
    ],
)
def test_invalid_option_is_an_error_that_names_it(tmp_path, line):
    file = ConfigFile(tmp_path / "a.conf", f"[alpha]\nhook_drivers = metrics\n{line}\n")
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(BusyDriver(), section, "node1")
    (problem,) = caught.value.problems
    assert line.partition(" ")[0] in str(problem)

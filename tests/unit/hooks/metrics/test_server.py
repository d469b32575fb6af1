# SPDX-License-Identifier: Apache-2.0
"""Queues, and where the figures are served."""

import gc
import socket
import threading
import urllib.request

import pytest

import aspects

pytest.importorskip("prometheus_client")
from hooks.events.outbox import Outbox
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder

from .common import SHARE, Figures

# A server that does not stop is to be seen soon.
pytestmark = pytest.mark.timeout(60)


class Queue:
    """A dispatcher or an outbox."""

    dropped, delivered, rejected = 3, 5, 7

    def pending(self):
        return 2


def test_queues(figures):
    background, durable = Recorder("background"), Recorder("durable")
    background.dispatcher, durable.outbox = Queue(), Queue()
    background.deferred_actions = ()
    figures.weave(BusyDriver(), background, durable, Recorder("inline"))
    told = {
        name: [figures(name, hook=hook) for hook in ("background", "durable")]
        for name in (
            "hook_queue_pending",
            "hook_queue_dropped_total",
            "hook_outbox_pending",
            "hook_outbox_delivered_total",
            "hook_outbox_rejected_total",
        )
    }
    assert told == {
        "hook_queue_pending": [2, None],
        "hook_queue_dropped_total": [3, None],
        "hook_outbox_pending": [None, 2],
        "hook_outbox_delivered_total": [None, 5],
        "hook_outbox_rejected_total": [None, 7],
    }
    assert figures("hook_queue_pending", hook="inline") is None


def test_an_outbox_that_cannot_be_read_takes_no_other_figure_away(figures, tmp_path):
    one, other = Recorder("one"), Recorder("other")
    one.outbox, other.outbox = Outbox(tmp_path / "one", print), Queue()
    (tmp_path / "one" / "events.sqlite").mkdir(parents=True)
    figures.weave(BusyDriver(), one, other)
    assert figures("hook_outbox_pending", hook="one") is None
    assert figures("hook_outbox_delivered_total", hook="one") == 0
    assert figures("hook_outbox_pending", hook="other") == 2


def test_queue_of_a_hook_that_has_gone(figures):
    other = Recorder("other")
    other.outbox = Queue()
    driver = figures.weave(BusyDriver(), other)
    assert figures("hook_outbox_pending", hook="other") == 2
    del driver, other
    gc.collect()
    assert figures("hook_outbox_pending", hook="other") is None


def read(port):
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read().decode()


@pytest.mark.slow
def test_life_of_the_server(tmp_path, port):
    before = threading.active_count()
    figures = Figures(tmp_path, port=port)
    driver = figures.weave(BusyDriver(), Recorder())
    assert threading.active_count() == before
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
    alpha = Figures(tmp_path, port=port)
    beta = Figures(tmp_path, backend="beta", port=port)
    other = Figures(tmp_path, backend="gamma")
    assert alpha.hook.endpoint is beta.hook.endpoint is not other.hook.endpoint
    for each in (alpha, beta):
        each.weave(BusyDriver()).create_share(None, SHARE)
        each.hook.start()
    alpha.hook.stop()
    page = read(port)
    assert 'calls_total{backend="alpha"' in page
    assert 'calls_total{backend="beta"' in page
    beta.hook.stop()
    with pytest.raises(OSError, match="refused"):
        read(port)


@pytest.mark.slow
def test_port_in_use(tmp_path, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        figures = Figures(tmp_path, port=port)
        driver = figures.weave(BusyDriver(lambda: "result"), Recorder("other"))
        with pytest.raises(OSError, match="in use"):
            figures.hook.start()
        aspects.weaving(driver).start()
    assert "Failed to start hook" in caplog.text
    assert driver.create_share(None, SHARE) == "result"
    assert figures.timed("other", "pre") == 1
    # It is free by now.
    figures.hook.start()
    assert "calls_total" in read(port)
    figures.hook.stop()


@pytest.mark.slow
def test_any_free_port_is_told(tmp_path, caplog):
    caplog.set_level("INFO")
    figures = Figures(tmp_path)
    figures.hook.start()
    (told,) = [each.args for each in caplog.records if "Metrics" in each.msg]
    assert "calls_total" in read(told["port"])
    figures.hook.stop()


@pytest.mark.parametrize(
    "line",
    [
        "metrics_port = 65536",
        "metrics_port = http",
        "metrics_host = 127.0.0.1:9000",
        "hook_dispatch = durable",
    ],
)
def test_wrong_option(tmp_path, line):
    file = ConfigFile(tmp_path / "a.conf", f"[alpha]\nhook_drivers = metrics\n{line}\n")
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(BusyDriver(), section, "node1")
    (problem,) = caught.value.problems
    assert line.partition(" ")[0] in str(problem)

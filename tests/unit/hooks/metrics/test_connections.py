# SPDX-License-Identifier: Apache-2.0
"""The limits of the HTTP server, and its start while the port is in use."""

import contextlib
import errno
import os
import signal
import socket
import threading

import pytest

import aspects

pytest.importorskip("prometheus_client")
from hooks.metrics import server as metrics_server
from hooks.metrics.server import MAX_CONNECTIONS
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder
from tests.support.wait import wait_for

from .common import ON, SHARE, Metrics, read

# A test that hangs on a server fails early.
pytestmark = [pytest.mark.timeout(60), pytest.mark.slow]


@pytest.fixture
def serving(tmp_path, port):
    """Return a metrics hook that serves on the port."""
    metrics = Metrics(tmp_path, port=port)
    metrics.hook.start()
    yield metrics
    metrics.hook.stop()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def is_free(port):
    """Return whether another server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


# -- connections -----------------------------------------------------------------


def test_idle_connections_are_limited_and_do_not_keep_others_from_reading(
    serving, port, monkeypatch
):
    monkeypatch.setattr(metrics_server, "CLIENT_TIMEOUT", 3600.0)
    before = set(threading.enumerate())

    def added():
        return set(threading.enumerate()) - before

    def wait_for_limit():
        # The thread of a closed connection may take a moment to end.
        wait_for(lambda: len(added()) <= MAX_CONNECTIONS, "the threads are limited")

    with contextlib.ExitStack() as stack:
        for _ in range(5 * MAX_CONNECTIONS):
            stack.enter_context(connect(port))
            wait_for_limit()
        assert "calls_total" in read(port)
        wait_for_limit()
        # A stop ends the idle ones.
        serving.hook.stop()
        wait_for(
            lambda: set(threading.enumerate()) < before,
            "the end of the threads of the connections and of the server",
        )


def test_idle_connection_is_closed_after_a_while(monkeypatch, serving, port):
    monkeypatch.setattr(metrics_server, "CLIENT_TIMEOUT", 0.1)
    with connect(port) as client:
        client.sendall(b"GET /metrics HT")
        assert client.recv(1) == b""


def test_busy_connections_are_limited(serving, port):
    release, busy = threading.Event(), threading.Semaphore(0)

    class Outbox:
        def pending(self):
            busy.release()
            release.wait(30)
            return 0

    slow = Recorder("slow")
    slow.outbox = Outbox()
    driver = serving.weave(BusyDriver(), slow)
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            client = stack.enter_context(connect(port))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert busy.acquire(timeout=30)
        with connect(port) as refused:
            assert refused.recv(1) == b""
        release.set()
        wait_for(lambda: "calls_total" in read(port), "a page of metrics")
    driver.create_share(None, SHARE)


def test_server_recovers_from_threads_that_cannot_be_started(
    monkeypatch, serving, port
):
    real = threading.Thread.start
    failed = []

    def start(thread):
        if "process_request" in thread.name:
            failed.append(thread)
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2 * MAX_CONNECTIONS):
        with connect(port) as client:
            assert client.recv(1) == b""
    monkeypatch.undo()
    assert len(failed) == 2 * MAX_CONNECTIONS
    assert "calls_total" in read(port)


# -- contents --------------------------------------------------------------------


def test_name_that_is_not_utf8_does_not_fail_the_scrape(serving, port):
    background = Recorder("name\udce9")
    background.outbox = Outbox()
    driver = serving.weave(BusyDriver(), background)
    driver.create_share(None, SHARE)
    page = read(port)
    assert 'hook_duration_seconds_count{backend="alpha",hook="name\\\\udce9"' in page
    assert 'hook_outbox_pending{backend="alpha",hook="name\\\\udce9"} 2.0' in page


class Outbox:
    """A fake of an outbox.

    :param error: what reading the number of events raises
    """

    delivered = 5

    def __init__(self, error=None):
        self.error = error

    def pending(self):
        if self.error:
            raise self.error
        return 2


def test_hook_whose_metrics_cannot_be_read_does_not_fail_the_scrape(serving, port):
    bad, good = Recorder("bad"), Recorder("good")
    bad.outbox, good.outbox = Outbox(LookupError("no")), Outbox()
    driver = serving.weave(BusyDriver(), bad, good)
    page = read(port)
    assert 'hook_outbox_pending{backend="alpha",hook="good"} 2.0' in page
    assert 'hook_outbox_delivered_total{backend="alpha",hook="bad"} 5.0' in page
    driver.create_share(None, SHARE)


# -- the port --------------------------------------------------------------------


def test_error_of_a_port_in_use_names_the_address(tmp_path, serving, port):
    other = Metrics(tmp_path, f"{ON}metrics_host = 0.0.0.0\n", port=port)
    cause = f"cannot serve metrics on 0.0.0.0:{port}: Address already in use"
    with pytest.raises(OSError, match=cause):
        other.hook.start()


def test_new_instance_serves_once_the_old_one_has_stopped(tmp_path, serving, port):
    before = set(threading.enumerate())
    new = Metrics(tmp_path, f"{ON}metrics_host = 0.0.0.0\n", port=port)
    for _ in range(3):
        with pytest.raises(OSError, match="in use"):
            new.hook.start()
    assert set(threading.enumerate()) <= before
    assert "calls_total" in read(port)
    serving.hook.stop()
    new.hook.start()
    assert "calls_total" in read(port)
    new.hook.stop()
    assert is_free(port)


def test_start_without_a_thread_leaves_the_port_free(tmp_path, port, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    metrics = Metrics(tmp_path, port=port)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError) as kept:
        metrics.hook.start()
    monkeypatch.undo()
    assert is_free(port)
    # Its traceback has kept the objects of the start.
    assert kept
    metrics.hook.start()
    assert "calls_total" in read(port)
    metrics.hook.stop()


def test_start_does_not_look_up_the_name_of_the_address(tmp_path, monkeypatch):
    def look_up(*address):
        raise AssertionError("would wait for the DNS")

    for function in ("getfqdn", "gethostbyaddr", "getnameinfo"):
        monkeypatch.setattr(socket, function, look_up)
    metrics = Metrics(tmp_path)
    metrics.hook.start()
    metrics.hook.stop()


def test_server_of_an_ipv6_address(tmp_path, port):
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("the machine has no IPv6")
    metrics = Metrics(tmp_path, f"{ON}metrics_host = ::1\n", port=port)
    metrics.hook.start()
    assert "calls_total" in read(port, "[::1]")
    metrics.hook.stop()


# -- forks -----------------------------------------------------------------------


def in_child(function):
    """Run a function in a forked process.

    :return: waits for the process and returns its status, which is 0 if the function
        returned; a signal ends the process if the function hangs
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(30)
            function()
            status = 0
        finally:
            os._exit(status)
    return lambda: os.waitpid(child, 0)[1]


def test_child_process_does_not_keep_the_port(serving, port):
    reader, writer = os.pipe()
    wait = in_child(lambda: os.read(reader, 1))
    try:
        serving.hook.stop()
        assert is_free(port)
    finally:
        os.write(writer, b"x")
        assert wait() == 0
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def held(*locks):
    """Hold locks in another thread."""
    has, release = threading.Event(), threading.Event()

    def hold():
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            has.set()
            release.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    has.wait(30)
    yield
    release.set()
    thread.join()


def test_child_process_does_not_wait_for_locks_of_the_parents_threads(serving):
    driver = serving.weave(BusyDriver(), Recorder("other"))
    driver.create_share(None, SHARE)
    endpoint = serving.hook.endpoint

    def call_and_serve():
        # Counts begin at zero.
        assert serving.timed("other", "pre") == 0
        driver.create_share(None, SHARE)
        assert serving.timed("other", "pre") == 1
        assert serving.calls("create_share_instance", "create_share") == 1
        # A free port, as the parent process still has its own.
        endpoint.port = 0
        serving.hook.start()
        serving.hook.stop()

    with held(endpoint._changing, endpoint.calls._lock, endpoint.registry._lock):
        status = in_child(call_and_serve)()
    assert status == 0
    assert serving.calls("create_share_instance", "create_share") == 1


# -- the calls -------------------------------------------------------------------


def test_backend_works_while_the_port_is_in_use(tmp_path, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = (
            f"[alpha]\nhook_drivers = metrics\nenable_pre_hooks = True\n{ON}"
            f"metrics_port = {port}\n"
        )
        file = ConfigFile(tmp_path / "a.conf", text)
        driver = aspects.weave_from_config(
            BusyDriver(lambda: "result"),
            aspects.BackendSection(file.conf, "alpha"),
            "node1",
        )
        aspects.weaving(driver).start()
        assert f"cannot serve metrics on 127.0.0.1:{port}" in caplog.text
        driver.do_setup(None)
        assert driver.create_share(None, SHARE) == "result"
        aspects.weaving(driver).stop()

# SPDX-License-Identifier: Apache-2.0
"""The tracing hook and an OTLP collector, over real HTTP."""

import contextlib
import logging
import subprocess
import sys
import textwrap
import threading

import pytest
from opentelemetry import trace
from oslo_context import context as oslo_context

import aspects
from hooks import tracing
from tests.support.config import woven_by
from tests.support.otlp import ERROR, UNSET, Collector
from tests.support.pages import example
from tests.support.programs import free_port, need_module
from tests.support.receiver import Receiver
from tests.support.threads import run_in_thread
from tests.support.wait import wait_for

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}


class Driver:
    """A driver that keeps the current span, as an instrumented library would see it."""

    def __init__(self, fails=None):
        self.fails = fails
        self.current = None

    def create_share(self, context, share, share_server=None):
        self.current = trace.get_current_span().get_span_context()
        if self.fails:
            raise self.fails

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        if self.fails:
            raise self.fails


class Forbid(aspects.HookBase):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        raise aspects.Veto("over quota")

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        """Do nothing."""

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        """Do nothing."""


@pytest.fixture(autouse=True)
def short_delay(monkeypatch):
    """Send spans after 20 milliseconds, instead of five seconds."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.fixture
def woven(tmp_path):
    """Return a function that weaves a driver by the documentation's example."""

    def weave(driver, port, more="", **replace):
        text = example(
            "admin/hooks/tracing.rst",
            {"4318": str(port), "/var/log/manila": str(tmp_path), **replace},
        )
        return woven_by(text + more, tmp_path, driver)

    return weave


@pytest.fixture
def context():
    return run_in_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        request_id="req-1",
        auth_token=SECRET,
    )


def test_call_is_a_tree_of_spans(woven, collector, context):
    driver = Driver()
    with woven(driver, collector.port) as share_driver:
        share_driver.create_share(context, SHARE)
        spans = collector.wait_for(4)
    assert collector.tree() == [
        "create_share_instance",
        "create_share_instance / audit.post",
        "create_share_instance / audit.pre",
        "create_share_instance / create_share",
    ]
    join_point = collector.named("create_share_instance")
    assert join_point.attributes == {
        "manila.request_id": "req-1",
        "manila.project_id": "p1",
        "manila.user_id": "u1",
        "manila.backend": "alpha",
        "manila.host": "node1@alpha",
        "manila.operation": "create_share_instance",
        "manila.method": "create_share",
        "manila.share_id": "s1",
        "manila.share_instance_id": "i1",
        "manila.outcome": "success",
    }
    assert join_point.parent_id == ""
    assert {span.trace_id for span in spans} == {join_point.trace_id}
    assert {span.status for span in spans} == {UNSET}
    assert {span.service for span in spans} == {"manila-share"}
    pre, driver_span = collector.named("audit.pre"), collector.named("create_share")
    assert pre.attributes == {"manila.hook": "audit", "manila.hook_method": "pre"}
    assert join_point.began <= pre.began <= pre.ended <= driver_span.began
    assert driver_span.ended <= join_point.ended
    # A span of an instrumented client library would be below the driver's span.
    assert f"{driver.current.span_id:016x}" == driver_span.span_id
    assert not trace.get_current_span().get_span_context().is_valid
    # The hook has not set the global tracer provider.
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_failure_is_recorded_without_secrets(woven, collector, context):
    rule = {"access_to": "joe", "access_type": "cephx", "access_key": SECRET}
    driver = Driver(OSError(f"no {SECRET} here, password=x{SECRET}"))
    with woven(driver, collector.port) as share_driver:
        with pytest.raises(OSError, match=SECRET):
            share_driver.update_access(context, SHARE, [rule], [rule], [])
        collector.wait_for(4)
    for name in ("allow_access", "update_access"):
        span = collector.named(name)
        assert span.status == ERROR
        (recorded,) = span.exceptions
        assert recorded["exception.type"] == "OSError"
        assert recorded["exception.message"] == "no *** here, password=***"
        assert span.text == "OSError: no *** here, password=***"
    assert collector.named("allow_access").attributes["manila.outcome"] == "failure"
    assert collector.named("audit.error").status == UNSET
    assert not any(SECRET.encode() in body for body in collector.bodies)


def test_veto_is_recorded_but_is_not_an_error(woven, collector, context):
    hooks = f"tracing, audit, forbid={__name__}:Forbid"
    driver = Driver()
    with woven(driver, collector.port, **{"tracing, audit": hooks}) as share_driver:
        with pytest.raises(aspects.Veto):
            share_driver.create_share(context, SHARE)
        collector.wait_for(4)
    assert driver.current is None
    assert collector.tree() == [
        "create_share_instance",
        "create_share_instance / audit.error",
        "create_share_instance / audit.pre",
        "create_share_instance / forbid.pre",
    ]
    join_point = collector.named("create_share_instance")
    assert join_point.attributes["manila.outcome"] == "veto"
    assert join_point.exceptions[0]["exception.message"] == "over quota"
    assert collector.named("forbid.pre").exceptions[0]["exception.type"] == "Veto"
    assert {span.status for span in collector.spans} == {UNSET}


def test_hook_method_in_the_background_is_below_its_join_point(
    woven, collector, context
):
    more = "[alpha:audit]\nhook_dispatch = background\n"
    with woven(Driver(), collector.port, more) as share_driver:
        share_driver.create_share(context, SHARE)
        collector.wait_for(4)
    assert "create_share_instance / audit.post" in collector.tree()


def test_join_point_is_below_the_current_span(woven, collector, context):
    parent = trace.SpanContext(
        0xA1B2C3, 0xD4E5, is_remote=True, trace_flags=trace.TraceFlags(1)
    )
    with woven(Driver(), collector.port) as share_driver:
        with trace.use_span(trace.NonRecordingSpan(parent)):
            share_driver.create_share(context, SHARE)
            assert trace.get_current_span().get_span_context() == parent
        collector.wait_for(4)
    join_point = collector.named("create_share_instance")
    assert join_point.parent_id == f"{parent.span_id:016x}"
    assert {span.trace_id for span in collector.spans} == {f"{parent.trace_id:032x}"}


def test_remaining_spans_are_sent_when_the_service_stops(
    woven, collector, monkeypatch, context
):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    with woven(Driver(), collector.port) as share_driver:
        share_driver.create_share(context, SHARE)
        assert not collector.spans
    assert "create_share_instance" in collector.tree()


# Collectors that do not answer


# Waiting for the collector would take an hour.
@pytest.mark.timeout(120)
def test_neither_calls_nor_a_stop_wait_for_a_hanging_collector(woven, caplog, context):
    ended = threading.Event()

    def hang(path):
        ended.wait()
        return 200

    more = "tracing_timeout = 3600\nhook_drain_timeout = 0.2\n"
    with Collector(hang) as collector:
        try:
            with woven(Driver(), collector.port, more) as share_driver:
                # More spans than the queue holds, and than a request takes.
                for _ in range(700):
                    share_driver.create_share(context, SHARE)
                wait_for(lambda: collector.bodies, "the first spans")
            # The hook has stopped before the collector answers.
        finally:
            ended.set()
    assert "Dropped spans" in caplog.text


def test_one_connection_sends_all_spans(woven, collector, context):
    with woven(Driver(), collector.port) as share_driver:
        for count in range(1, 4):
            share_driver.create_share(context, SHARE)
            collector.wait_for(4 * count)
    assert len(collector.connections) >= 3
    assert len({*collector.connections}) == 1


def test_endless_response_is_not_read(woven, context):
    block, sent = b"x" * 1024 * 1024, []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while len(sent) < 1000:
            handler.wfile.write(block)
            sent.append(block)

    with Receiver() as receiver:
        receiver.answers += 2 * [endless]
        with woven(Driver(), receiver.port) as share_driver:
            for count in (1, 2):
                share_driver.create_share(context, SHARE)
                wait_for(lambda n=count: len(receiver.requests) >= n, "a request")
    # The kernel has taken more than was read.
    assert len(sent) < 100


@pytest.mark.timeout(120)
def test_newest_spans_wait_for_a_hanging_collector(woven, monkeypatch, context):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    ended = threading.Event()

    def hang(path):
        ended.wait()
        return 200

    more = "tracing_timeout = 3600\n"
    with Collector(hang) as collector:
        try:
            with woven(Driver(), collector.port, more) as share_driver:
                share_driver.create_share(context, {"id": "first"})
                wait_for(lambda: collector.bodies, "the first spans")
                for number in range(300):
                    share_driver.create_share(context, {"id": str(number)})
                ended.set()
        finally:
            ended.set()
    # The batch that hangs, and the queue.
    assert 64 <= len(collector.spans) <= 16 + 64
    ids = [span.attributes.get("manila.share_id") for span in collector.spans]
    assert "299" in ids
    assert "100" not in ids


def test_text_that_is_not_utf8_loses_no_span(woven, collector, context):
    driver = Driver()
    with woven(driver, collector.port) as share_driver:
        for error in (None, OSError("name\udce9"), None):
            driver.fails = error
            with contextlib.suppress(OSError):
                share_driver.create_share(context, {"id": "name\udce9"})
    assert len(collector.spans) == 3 * 4
    texts = {span.text for span in collector.spans if span.status == ERROR}
    assert texts == {"OSError: name\\udce9"}


def is_failure(log: str) -> bool:
    """Return whether a log has the exporter's message about an unreachable collector.

    OpenTelemetry before 1.30 logs an exception of the connection.
    """
    words = ("Failed to export", "Transient error", "Exception while exporting")
    return any(word in log for word in words)


def test_spans_are_sent_again_when_the_collector_is_back(woven, caplog, context):
    port = free_port()
    with woven(Driver(), port, "tracing_timeout = 0.5\n") as share_driver:

        def has_failed():
            # OpenTelemetry drops a message that another test had it log recently.
            share_driver.create_share(context, SHARE)
            return is_failure(caplog.text)

        wait_for(has_failed, "the failure's log", 60, pause=1)
        with Collector(port=port) as collector:
            share_driver.create_share(context, SHARE)
            collector.wait_for(4)


def test_outage_of_the_collector_is_logged_once_a_minute(woven, caplog, context):
    with (
        Collector(lambda path: 400) as collector,
        woven(Driver(), collector.port) as share_driver,
    ):
        for count in range(1, 6):
            share_driver.create_share(context, SHARE)
            wait_for(lambda count=count: len(collector.bodies) >= count, "a request")
    records = [rec for rec in caplog.records if rec.levelno >= logging.WARNING]
    assert len(records) == 1
    assert "Failed to export" in records[0].getMessage()
    assert SECRET not in caplog.text


@pytest.mark.parametrize("up", [True, False])
def test_secrets_of_the_endpoint_are_not_logged(woven, collector, caplog, context, up):
    caplog.set_level(logging.DEBUG)
    # oslo.log, set up by another test, raises the level of these loggers.
    caplog.set_level(logging.DEBUG, "urllib3")
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")
    port = collector.port if up else free_port()
    login, query = f"joe:{SECRET}@127.0.0.1", f"?api_key={SECRET}&x=ü-{SECRET}"
    replace = {"127.0.0.1": login, "/v1/traces": f"/v1/{SECRET}{query}"}
    with woven(Driver(), port, **replace) as share_driver:

        def is_logged():
            # OpenTelemetry drops a message that another test had it log recently.
            share_driver.create_share(context, SHARE)
            # A debug message of urllib3, or the exporter's warning.
            return "POST ***" in caplog.text if up else is_failure(caplog.text)

        wait_for(is_logged, "a message", 60, pause=1)
    assert str(port) in caplog.text
    assert SECRET not in caplog.text
    assert bool(collector.bodies) == up
    # A stopped hook removes its filters.
    own = (tracing.RedactingFilter, tracing.RateLimitFilter)
    for name in (tracing.trace_exporter.__name__, "urllib3.connectionpool"):
        filters = logging.getLogger(name).filters
        assert not [item for item in filters if isinstance(item, own)]


# Services in processes of their own


def run(script, tmp_path, port, *args):
    """Run a script with the configuration of the example; return its output."""
    text = example(
        "admin/hooks/tracing.rst", {"4318": str(port), "/var/log/manila": str(tmp_path)}
    )
    (tmp_path / "manila.conf").write_text(text)
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    result = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "manila.conf", *args],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout


WOVEN = """
import os, sys
from oslo_config import cfg
from opentelemetry import trace
import aspects

def woven(driver):
    conf = cfg.ConfigOpts()
    conf(["--config-file", sys.argv[1]], project="manila", default_config_dirs=[])
    section = aspects.BackendSection(conf, "alpha")
    return aspects.weave_from_config(driver, section, "node1@alpha")
"""

GREEN = (
    """
import eventlet
eventlet.monkey_patch()
import time
"""
    + WOVEN
    + """
class Driver:
    def create_share(self, context, share, share_server=None):
        before = trace.get_current_span()
        # Let other green threads run.
        for _ in range(5):
            time.sleep(0.002)
        assert trace.get_current_span() is before
        if share["id"].endswith("7"):
            raise OSError(share["id"])

driver = woven(Driver())
aspects.weaving(driver).start()

def many(first):
    for number in range(first, first + 5):
        try:
            driver.create_share(None, {"id": f"{number}"})
        except OSError:
            pass
        assert not trace.get_current_span().get_span_context().is_valid

pool = eventlet.GreenPool(20)
for thread in [pool.spawn(many, 5 * n) for n in range(20)]:
    thread.wait()
aspects.weaving(driver).stop()
"""
)


def test_green_threads_have_separate_traces(tmp_path, collector):
    pytest.importorskip("eventlet")
    run(GREEN, tmp_path, collector.port)
    calls = [span for span in collector.spans if not span.parent_id]
    assert {call.attributes["manila.share_id"] for call in calls} == {
        str(number) for number in range(100)
    }
    for call in calls:
        children = [span for span in collector.spans if span.parent_id == call.span_id]
        failed = call.attributes["manila.outcome"] == "failure"
        assert failed == call.attributes["manila.share_id"].endswith("7")
        completion = "audit.error" if failed else "audit.post"
        names = {child.name for child in children}
        assert names == {"audit.pre", "create_share", completion}
        assert {child.trace_id for child in children} == {call.trace_id}


FORKED = (
    WOVEN
    + """
import threading, time

class Driver:
    def create_share(self, context, share, share_server=None):
        pass

driver = woven(Driver())
if sys.argv[2] == "before":
    aspects.weaving(driver).start()
    driver.create_share(None, {"id": "parent"})
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.01)
child = os.fork()
if child == 0:
    aspects.weaving(driver).start()
    assert threading.active_count() == 2, threading.enumerate()
    driver.create_share(None, {"id": "child"})
    aspects.weaving(driver).stop()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
aspects.weaving(driver).stop()
"""
)


@pytest.mark.parametrize(
    ("started", "shares"), [("before", ["parent", "child"]), ("after", ["child"])]
)
def test_forked_service_sends_the_spans_of_each_process(tmp_path, started, shares):
    def received(path):
        (tmp_path / "received").touch()
        return 200

    with Collector(received) as collector:
        run(FORKED, tmp_path, collector.port, started, tmp_path / "received")
    sent = [span.attributes.get("manila.share_id") for span in collector.spans]
    assert list(filter(None, sent)) == shares
    # Each process has a connection of its own, as two must not share one.
    assert len(set(collector.connections)) == len(shares)


EXITING = (
    WOVEN
    + """
import logging
logging.basicConfig(stream=sys.stdout)

class Driver:
    def create_share(self, context, share, share_server=None):
        pass

driver = woven(Driver())
aspects.weaving(driver).start()
driver.create_share(None, {"id": "1"})
"""
)


def test_process_that_exits_sends_its_spans(tmp_path, collector):
    run(EXITING, tmp_path, collector.port)
    assert "create_share_instance" in collector.tree()


@pytest.mark.timeout(120)
def test_process_that_exits_waits_as_long_as_a_stop(tmp_path):
    ended = threading.Event()

    def hang(path):
        ended.wait()
        return 200

    with Collector(hang) as collector:
        try:
            out = run(EXITING, tmp_path, collector.port)
        finally:
            ended.set()
    # The time of the option hook_drain_timeout.
    assert "did not accept them in 10 s" in out


RPC = (
    """
import threading
import oslo_messaging
from oslo_messaging._tracing import client
import manila.context, manila.rpc
"""
    + WOVEN
    + """
class Driver:
    def create_share(self, context, share, share_server=None):
        pass

driver = woven(Driver())
aspects.weaving(driver).start()

class Manager:
    target = oslo_messaging.Target(version="1.0")
    def create_share_instance(self, context, share):
        driver.create_share(context, share)

conf = cfg.CONF
conf(["--config-file", sys.argv[1]], project="manila", default_config_dirs=[])
conf.set_override("tracing_enabled", True, "oslo_messaging_tracing")
conf.set_override("otel_exporter_otlp_endpoint", sys.argv[2], "oslo_messaging_tracing")
transport = oslo_messaging.get_rpc_transport(conf, "fake://")
serializer = manila.rpc.RequestContextSerializer(None)
server = oslo_messaging.get_rpc_server(
    transport, oslo_messaging.Target(topic="share", server="node1"), [Manager()],
    executor="threading", serializer=serializer)
server.start()
to_manager = oslo_messaging.get_rpc_client(
    transport, oslo_messaging.Target(topic="share"), serializer=serializer)
context = manila.context.RequestContext("u1", "p1", is_admin=True)
to_manager.call(context, "create_share_instance", share={"id": "s1"})
server.stop()
server.wait()
aspects.weaving(driver).stop()
trace.get_tracer_provider().shutdown()
"""
)


# oslo.messaging has no spans before the release of Manila 23.
@pytest.mark.once
def test_join_point_is_in_the_trace_of_the_request(tmp_path, collector):
    need_module("oslo_messaging._tracing", "oslo.messaging")
    run(RPC, tmp_path, collector.port, f"http://127.0.0.1:{collector.port}")
    sent, received = "share.create_share_instance", "create_share_instance receive"
    assert collector.tree() == [
        sent,
        f"{sent} / {received}",
        f"{sent} / {received} / create_share_instance",
        f"{sent} / {received} / create_share_instance / audit.post",
        f"{sent} / {received} / create_share_instance / audit.pre",
        f"{sent} / {received} / create_share_instance / create_share",
    ]

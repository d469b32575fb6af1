# SPDX-License-Identifier: Apache-2.0
"""Tests of the notification hook's messages and options.

The messages go through oslo.messaging's transport within one process. The functional
tests use a real broker.
"""

import socket
import sys
import threading
import time
import uuid
from types import SimpleNamespace

import oslo_messaging
import pytest
from oslo_config import cfg

import aspects
from aspects.testing import FakeDriver
from hooks.events import event
from hooks.notification import NotificationHook
from tests.support.config import ConfigFile
from tests.support.programs import need_module
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(60)

SECRET = "hunter2-Zq9"
CONTEXT = SimpleNamespace(
    request_id="req-1", project_id="p1", user_id="u1", auth_token=SECRET
)
OPERATION = aspects.Operation("create_snapshot", None, "alpha", "node1@alpha")


def end(context=CONTEXT):
    return event.event_of(event.END, event.data_of(context, OPERATION, (), {}))


@pytest.fixture
def configured(tmp_path):
    def write(*lines):
        text = "\n".join(["[alpha]", *lines, ""])
        return ConfigFile(tmp_path / "service.conf", text)

    return write


@pytest.fixture
def hook(configured):
    """Return a function that creates a hook, by default with an in-process broker."""

    def make(*lines, url="fake://", host="node1@alpha"):
        lines = [f"notification_transport_url = {url}", *lines] if url else lines
        section = aspects.BackendSection(configured(*lines).conf, "alpha")
        return NotificationHook(section, host)

    return make


class Inbox:
    """Consumes notifications within this process."""

    def __init__(self, topic):
        self.messages = []
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        self.listener = oslo_messaging.get_notification_listener(
            oslo_messaging.get_notification_transport(conf, "fake://"),
            [oslo_messaging.Target(topic=topic)],
            [self],
            executor="threading",
        )
        conf.set_override("executor_thread_pool_size", 1)

    def info(self, *message):
        self.messages.append(("info", *message))

    def error(self, *message):
        self.messages.append(("error", *message))

    def wait(self, count):
        deadline = time.monotonic() + 20
        while len(self.messages) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.messages) == count
        return self.messages


@pytest.fixture(scope="module")
def topic():
    return f"topic-{uuid.uuid4()}"


@pytest.fixture(scope="module")
def listener(topic):
    # One listener for the module, since it takes a second to stop.
    inbox = Inbox(topic)
    inbox.listener.start()
    yield inbox
    inbox.listener.stop()
    inbox.listener.wait()


@pytest.fixture
def inbox(listener):
    listener.messages.clear()
    return listener


def test_a_call_is_a_message_with_its_event(hook, topic, inbox):
    sent = end()
    hook(f"notification_topics = {topic}").deliver(sent)
    ((priority, context, publisher, kind, payload, metadata),) = inbox.wait(1)
    assert priority == "info"
    assert publisher == "share.node1@alpha"
    assert kind == "share.create_snapshot.end"
    assert payload == sent
    assert metadata["message_id"] == sent["id"]
    assert f"{metadata['timestamp']}+00:00" == sent["time"].replace("T", " ")
    assert context == {"request_id": "req-1", "project_id": "p1", "user_id": "u1"}


@pytest.mark.parametrize(
    ("phase", "priority", "kind"),
    [
        ("start", "info", "share.create_snapshot.start"),
        ("error", "error", "share.create_snapshot.error"),
        ("periodic", "info", "share.periodic"),
    ],
)
def test_the_phase_decides_priority_and_type(hook, topic, inbox, phase, priority, kind):
    if phase == "periodic":
        sent = event.periodic_event_of(CONTEXT, [{"id": "i1"}], "alpha", "node1")
    else:
        error = OSError("no") if phase == "error" else None
        data = event.data_of(CONTEXT, OPERATION, (), {}, error)
        sent = event.event_of(phase, data)
    hook(f"notification_topics = {topic}").deliver(sent)
    (message,) = inbox.wait(1)
    assert (message[0], message[3], message[4]) == (priority, kind, sent)


def test_a_time_without_a_fraction_is_sent_unchanged(hook, topic, inbox):
    sent = end() | {"time": "2026-01-02T03:04:05+00:00"}
    hook(f"notification_topics = {topic}").deliver(sent)
    assert inbox.wait(1)[0][5]["timestamp"] == "2026-01-02 03:04:05"


def test_the_publisher_is_share_without_a_host(hook, topic, inbox):
    hook(f"notification_topics = {topic}", host=None).deliver(end())
    assert inbox.wait(1)[0][2] == "share"


def test_the_topics_are_mutable(configured, topic, inbox):
    text = "notification_transport_url = fake://\nnotification_topics = none, {}\n"
    file = configured(text.format("other"))
    made = NotificationHook(aspects.BackendSection(file.conf, "alpha"), "node1")
    made.deliver(end())
    file.mutate(f"[alpha]\n{text.format(topic)}")
    made.deliver(second := end())
    assert inbox.wait(1)[0][4] == second
    # An option that has become empty raises; the event must not count as sent.
    file.mutate("[alpha]\nnotification_transport_url = fake://\nnotification_topics =")
    with pytest.raises(ValueError, match="notification_topics"):
        made.deliver(end())


@pytest.mark.parametrize("section", ["DEFAULT", "oslo_messaging_notifications"])
def test_the_brokers_url_defaults_to_that_of_the_service(hook, topic, inbox, section):
    lines = [f"notification_topics = {topic}", f"[{section}]", "transport_url = fake:"]
    hook(*lines, url=None).deliver(end())
    inbox.wait(1)


# A broker that does not respond


@pytest.fixture
def listening():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(20)
        yield listening


@pytest.fixture
def silent(listening):
    return f"rabbit://guest:{SECRET}@127.0.0.1:{listening.getsockname()[1]}/"


def accepted(listening):
    """Return the number of waiting connections, 0 or 1."""
    listening.setblocking(False)
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return 0
    return 1


def test_each_delivery_to_a_broker_that_is_down_fails(hook):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        made = hook(url=f"rabbit://127.0.0.1:{unused.getsockname()[1]}/")
        for _ in range(2):
            with pytest.raises(Exception, match="refused"):
                made.deliver(end())


@pytest.mark.slow
def test_a_silent_broker_fails_in_time_and_uses_one_thread(hook, silent):
    made = hook("notification_timeout = 0.2", url=silent)
    threads = set(threading.enumerate())
    for cause in ("did not confirm", "previous message", "previous message"):
        with pytest.raises(TimeoutError, match=cause) as error:
            made.deliver(end())
        assert SECRET not in str(error.value)
    # No further threads wait behind the one that is stuck.
    assert len(set(threading.enumerate()) - threads) == 1
    made.stop()


def test_the_first_event_opens_the_connection(hook, listening, silent):
    threads = set(threading.enumerate())
    made = hook("notification_timeout = 0.2", url=silent)
    made.start()
    made.stop()
    made.start()
    assert not set(threading.enumerate()) - threads
    assert not accepted(listening)
    with pytest.raises(TimeoutError):
        made.deliver(end())
    wait_for(lambda: accepted(listening), "the connection")


# Queues that are lost when the broker restarts


@pytest.mark.parametrize(
    ("lines", "query", "warned"),
    [
        ([], "", True),
        (["[oslo_messaging_rabbit]", "amqp_durable_queues = True"], "", False),
        (["[oslo_messaging_rabbit]", "rabbit_quorum_queue = True"], "", False),
        ([], "?amqp_durable_queues=true", False),
    ],
    ids=["neither", "durable", "quorum", "url"],
)
def test_durable_delivery_to_transient_queues_logs_a_warning(
    configured, tmp_path, silent, caplog, lines, query, warned
):
    file = configured(
        "hook_drivers = ops=notification",
        "hook_dispatch = durable",
        f"hook_outbox_path = {tmp_path / 'outbox'}",
        f"notification_transport_url = {silent}{query}",
        *lines,
    )
    section = aspects.BackendSection(file.conf, "alpha")
    weaving = aspects.weaving(aspects.weave_from_config(FakeDriver(), section, "node1"))
    weaving.start()
    weaving.stop()
    warnings = [r for r in caplog.records if "amqp_durable_queues" in r.getMessage()]
    assert len(warnings) == warned
    assert all("Hook ops" in record.getMessage() for record in warnings)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", ["kafka://h:9092/", "fake://"])
def test_durable_with_a_driver_without_confirmations_is_a_configuration_error(
    configured, tmp_path, url
):
    if url.startswith("kafka"):
        need_module("confluent_kafka", "oslo.messaging[kafka]")
    file = configured(
        "hook_drivers = ops=notification",
        "hook_dispatch = durable",
        f"hook_outbox_path = {tmp_path / 'outbox'}",
        f"notification_transport_url = {url}",
    )
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(FakeDriver(), section, "node1")
    (problem,) = caught.value.problems
    driver = url.partition(":")[0]
    assert f"hook_dispatch = durable: the driver {driver} of oslo" in str(problem)
    assert "does not confirm messages" in str(problem)


def test_inline_delivery_to_transient_queues_logs_no_warning(hook, silent, caplog):
    made = hook(url=silent)
    made.start()
    assert "amqp_durable_queues" not in caplog.text


def test_a_missing_library_of_a_driver_is_named(hook, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monkeypatch.delitem(sys.modules, "oslo_messaging._drivers.impl_kafka", False)
    with pytest.raises(ValueError, match="needs the module confluent_kafka") as caught:
        hook(url=f"kafka://u:{SECRET}@h:9092/")
    assert str(caught.value).startswith("notification_transport_url: ")
    assert "pip install 'oslo.messaging[kafka]'" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "option", "cause"),
    [
        (f"notification_transport_url = rabit://u:{SECRET}@h/", None, "'rabit'"),
        (f"notification_transport_url = u-{SECRET}", None, "not valid"),
        (f"notification_transport_url = rabbit://u:{SECRET}@h:{SECRET}/", None, "not"),
        (f"notification_transport_url = rabbit://u:{SECRET}@h/?no=1", None, "not"),
        (
            f"[DEFAULT]\ntransport_url = rabbit://u:{SECRET}@h:{SECRET}/",
            "transport_url",
            "not valid",
        ),
        ("notification_topics =", "notification_topics", "at least one topic"),
        ("notification_timeout = 0", "notification_timeout", "0.1"),
        ("notification_timeout = soon", "notification_timeout", "soon"),
    ],
)
def test_an_invalid_option_is_one_line_without_secrets(configured, line, option, cause):
    file = configured("hook_drivers = notification", line)
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(FakeDriver(), section, "node1")
    (problem,) = caught.value.problems
    assert (option or "notification_transport_url") in str(problem)
    assert cause in str(problem)
    assert SECRET not in str(problem)
    assert "\n" not in str(problem)

# SPDX-License-Identifier: Apache-2.0
"""Tests of the notification hook with a real RabbitMQ, running or down."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oslo_config import cfg

import aspects
from hooks.notification import NotificationHook
from tests.support import rabbit
from tests.support.config import woven_by
from tests.support.pages import example
from tests.support.programs import free_port
from tests.support.wait import wait_for

#: URL in the documentation's example.
URL = "rabbit://manila:secret@rabbit.example.com:5672/"

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}
CONTEXT = SimpleNamespace(
    request_id="req-1", project_id="p1", user_id="u1", auth_token=f"{SECRET}-token"
)

broker = rabbit.broker


class Driver:
    """A driver that fails to create the share ``broken``."""

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        if share["id"] == "broken":
            raise LookupError("no such pool")
        return ["10.0.0.1:/s1"]

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        pass

    def update_access(
        self,
        context: Any,
        share: Any,
        access_rules: Any,
        add_rules: Any,
        delete_rules: Any,
    ) -> None:
        raise OSError(f"tried {add_rules[0]['access_key']} and {context.auth_token}")


class Forbid(aspects.HookBase):
    """A hook that vetoes every call."""

    def _execute_pre_hook(self, *args: Any, **kwargs: Any) -> None:
        raise aspects.Veto("over quota")

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _execute_periodic_hook(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Return a topic for one test, since all tests share the broker."""
    return str(request.node.name)


def configuration(url: str, topic: str, *lines: str) -> str:
    return "\n".join(
        [
            "[alpha]",
            "hook_drivers = notification",
            "enable_pre_hooks = True",
            "enable_post_hooks = True",
            f"notification_transport_url = {url}",
            f"notification_topics = {topic}",
            *lines,
        ]
    )


def types_of(messages: list[rabbit.Message]) -> list[str]:
    return [message.event_type for message in messages]


def test_the_documented_example_sends_each_phase_and_tick(
    broker: rabbit.Rabbit, tmp_path: Path
) -> None:
    text = example("admin/hooks/notification.rst", {URL: broker.url})
    with (
        rabbit.Inbox(broker.url) as inbox,
        woven_by(text, tmp_path, Driver()) as driver,
    ):
        driver.create_share(CONTEXT, SHARE)
        with pytest.raises(LookupError):
            driver.create_share(CONTEXT, {"id": "broken", "share_id": "s2"})
        assert aspects.tick(driver, CONTEXT, [SHARE]) is True
        inbox.wait(5)
    infos = [message for message in inbox.messages if message.priority == "info"]
    (error,) = [message for message in inbox.messages if message.priority == "error"]

    assert types_of([*infos, error]) == [
        "share.create_share_instance.start",
        "share.create_share_instance.end",
        "share.create_share_instance.start",
        "share.periodic",
        "share.create_share_instance.error",
    ]
    start, end, _, tick, _ = [*infos, error]
    assert "outcome" not in start.data
    assert (end.data["outcome"], end.data["share_id"]) == ("success", "s1")
    assert end.data["duration"] > 0
    assert tick.data["share_instance_ids"] == ["i1"]
    assert (error.data["outcome"], error.data["share_id"]) == ("failure", "s2")
    assert error.data["error"] == "no such pool"
    for message in inbox.messages:
        assert message.publisher_id == "share.node1@alpha"
        assert message.payload["type"] == f"org.openstack.manila.{message.event_type}"
        assert message.metadata["message_id"] == message.payload["id"]
        assert message.metadata["timestamp"].replace(" ", "T") in message.data["time"]
        assert message.context["request_id"] == "req-1"
        assert message.context["project_id"] == "p1"
        assert message.context["user_id"] == "u1"
    assert len({message.payload["id"] for message in inbox.messages}) == 5


def test_a_veto_is_an_error_message(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    text = configuration(broker.url, topic, "[alpha:no]", "enable_post_hooks = False")
    text = text.replace("= notification\n", f"= notification, no={__name__}:Forbid\n")
    with (
        rabbit.Inbox(broker.url, topic) as inbox,
        woven_by(text, tmp_path, Driver()) as driver,
    ):
        with pytest.raises(aspects.Veto):
            driver.create_share(CONTEXT, SHARE)
        inbox.wait(2)
    error = next(m for m in inbox.messages if m.priority == "error")
    assert error.event_type == "share.create_share_instance.error"
    assert (error.data["outcome"], error.data["error"]) == ("veto", "over quota")


def test_operations_and_switches_select_the_messages(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    text = configuration(broker.url, topic, "hook_operations = delete_*")
    text = text.replace("enable_pre_hooks = True", "")
    with rabbit.Inbox(broker.url, topic) as inbox:
        with woven_by(text, tmp_path, Driver()) as driver:
            driver.create_share(CONTEXT, SHARE)
            driver.delete_share(CONTEXT, SHARE)
            aspects.tick(driver, CONTEXT, [SHARE])
        inbox.wait(1)
    assert types_of(inbox.messages) == ["share.delete_share_instance.end"]


@pytest.mark.parametrize("dispatch", ["inline", "background", "durable"])
def test_messages_arrive_in_order_with_every_dispatch(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path, dispatch: str
) -> None:
    text = configuration(
        broker.url,
        topic,
        f"hook_dispatch = {dispatch}",
        f"hook_outbox_path = {tmp_path / 'outbox'}",
    )
    with (
        rabbit.Inbox(broker.url, topic) as inbox,
        woven_by(text, tmp_path, Driver()) as driver,
    ):
        for number in range(25):
            driver.create_share(CONTEXT, {"id": "i", "share_id": f"s{number}"})
        inbox.wait(50)
    found = [(m.data["share_id"], m.event_type[-3:]) for m in inbox.messages]
    if dispatch == "durable":
        # Only the messages of each share are in order.
        found.sort(key=lambda message: int(message[0][1:]))
    assert found == [(f"s{n}", end) for n in range(25) for end in ("art", "end")]


def test_a_message_has_no_secrets(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": SECRET}]
    text = configuration(broker.url, topic)
    with (
        rabbit.Inbox(broker.url, topic) as inbox,
        woven_by(text, tmp_path, Driver()) as driver,
    ):
        with pytest.raises(OSError, match="tried"):
            driver.update_access(CONTEXT, SHARE, rules, rules, [])
        inbox.wait(2)
    error = next(m for m in inbox.messages if m.priority == "error")
    assert error.data["error"] == "tried *** and ***"
    assert error.data["add_rules"][0]["access_to"] == "joe"
    assert SECRET not in repr(inbox.messages)


@pytest.mark.parametrize(
    "section", ["[DEFAULT]", "[oslo_messaging_notifications]"], ids=["all", "own"]
)
def test_the_brokers_url_defaults_to_that_of_the_service(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path, section: str
) -> None:
    text = configuration(broker.url, topic, section, f"transport_url = {broker.url}")
    text = text.replace(f"notification_transport_url = {broker.url}", "")
    with rabbit.Inbox(broker.url, topic) as inbox:
        with woven_by(text, tmp_path, Driver()) as driver:
            driver.create_share(CONTEXT, SHARE)
        inbox.wait(2)


def test_a_stopped_hook_closes_its_connection_and_can_start_again(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    text = configuration(broker.url, topic)
    with (
        rabbit.Inbox(broker.url, topic) as inbox,
        woven_by(text, tmp_path, Driver()) as driver,
    ):
        for _ in range(2):
            driver.create_share(CONTEXT, SHARE)
            aspects.weaving(driver).stop()
            assert "Rabbit-heartbeat" not in [t.name for t in threading.enumerate()]
            aspects.weaving(driver).start()
        inbox.wait(4)


def test_the_hook_works_with_manilas_own_configuration(
    manila: Any, broker: rabbit.Rabbit, topic: str
) -> None:
    # cfg.CONF has the options that Manila registers for oslo.messaging.
    manager = manila.managers["plain"]
    section = manager.configuration
    section.append_config_values(NotificationHook.options)
    options = {"notification_transport_url": broker.url, "notification_topics": [topic]}
    try:
        for option, value in options.items():
            cfg.CONF.set_override(option, value, group=section.config_group)
        hook = NotificationHook(section, manager.host)
        hook.post_hooks_enabled = True
        with rabbit.Inbox(broker.url, topic) as inbox:
            aspects.weave(Driver(), [hook]).create_share(CONTEXT, SHARE)
            (message,) = inbox.wait(1)
        hook.stop()
    finally:
        for option in options:
            cfg.CONF.clear_override(option, group=section.config_group)
    assert message.event_type == "share.create_share_instance.end"
    assert message.publisher_id == f"share.{manager.host}"


# A broker that does not respond


@pytest.fixture
def stopped() -> str:
    """Return the URL of a broker that is not running."""
    return f"rabbit://guest:{SECRET}@127.0.0.1:{free_port()}/"


@pytest.fixture
def silent() -> Any:
    """Yield the URL of a server that accepts connections and never responds."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(20)
        yield f"rabbit://guest:{SECRET}@127.0.0.1:{listening.getsockname()[1]}/"


@pytest.mark.parametrize("kind", ["stopped", "silent"])
def test_an_inline_call_fails_in_time_without_a_broker(
    request: pytest.FixtureRequest, topic: str, tmp_path: Path, kind: str
) -> None:
    url = request.getfixturevalue(kind)
    text = configuration(url, topic).replace("enable_pre_hooks = True", "")
    with woven_by(text, tmp_path, Driver()) as driver:
        threads = set(threading.enumerate())
        with pytest.raises(Exception, match=r"(?i)refused|did not confirm") as error:
            driver.create_share(CONTEXT, SHARE)
        assert SECRET not in str(error.value)
        assert len(set(threading.enumerate()) - threads) <= 1


def test_suppressed_failures_do_not_reach_the_caller(
    stopped: str, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = configuration(
        stopped,
        topic,
        "suppress_pre_hooks_errors = True",
        "suppress_post_hooks_errors = True",
    )
    with woven_by(text, tmp_path, Driver()) as driver:
        assert driver.create_share(CONTEXT, SHARE) == ["10.0.0.1:/s1"]
    logged = [r for r in caplog.records if "Suppressed an error" in r.getMessage()]
    assert [" pre " in r.getMessage() for r in logged] == [True, False]
    assert SECRET not in caplog.text


def test_the_hook_reconnects_to_a_restarted_broker(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    text = configuration(broker.url, topic).replace("enable_pre_hooks = True", "")
    with woven_by(text, tmp_path, Driver()) as driver:
        driver.create_share(CONTEXT, SHARE)
        broker.kill()
        try:
            with pytest.raises(Exception, match=r"(?i)refused"):
                driver.create_share(CONTEXT, SHARE)
        finally:
            broker.start()
        driver.create_share(CONTEXT, {"id": "i2", "share_id": "s2"})
        # A restart between two messages makes no call fail.
        broker.kill()
        broker.start()
        with rabbit.Inbox(broker.url, topic) as inbox:
            driver.create_share(CONTEXT, {"id": "i3", "share_id": "s3"})
            inbox.wait(1)
    assert [message.data["share_id"] for message in inbox.messages] == ["s3"]


def test_calls_fail_while_the_broker_is_frozen_and_succeed_later(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    text = configuration(broker.url, topic, "notification_timeout = 0.5")
    text = text.replace("enable_pre_hooks = True", "")
    with (
        rabbit.Inbox(broker.url, topic) as inbox,
        woven_by(text, tmp_path, Driver()) as driver,
    ):
        driver.create_share(CONTEXT, SHARE)
        with broker.frozen():
            with pytest.raises(TimeoutError, match="did not confirm"):
                driver.create_share(CONTEXT, {"id": "i2", "share_id": "s2"})
            with pytest.raises(
                TimeoutError, match="previous message is still in flight"
            ):
                driver.create_share(CONTEXT, {"id": "i3", "share_id": "s3"})

        def works() -> bool:
            driver.create_share(CONTEXT, {"id": "i4", "share_id": "s4"})
            return True

        wait_for(works, "the hook sends again")
        wait_for(lambda: inbox.messages[-1].data["share_id"] == "s4", "s4 has arrived")
    # s2 was in flight when the broker froze; s3 was never sent.
    arrived = [message.data["share_id"] for message in inbox.messages]
    assert list(dict.fromkeys(arrived)) == ["s1", "s2", "s4"]


def test_background_events_are_lost_while_the_broker_is_down(
    broker: rabbit.Rabbit,
    topic: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = configuration(broker.url, topic, "hook_dispatch = background")
    broker.kill()
    try:
        with woven_by(text, tmp_path, Driver()) as driver:
            driver.create_share(CONTEXT, SHARE)
            wait_for(
                lambda: caplog.text.lower().count("refused") >= 2,
                "both events have failed",
            )
            broker.start()
            with rabbit.Inbox(broker.url, topic) as inbox:
                driver.create_share(CONTEXT, {"id": "i2", "share_id": "s2"})
                inbox.wait(2)
    finally:
        broker.start()
    assert {message.data["share_id"] for message in inbox.messages} == {"s2"}


def test_durable_events_arrive_after_the_broker_is_back(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    text = configuration(
        broker.url,
        topic,
        "hook_dispatch = durable",
        f"hook_outbox_path = {tmp_path / 'outbox'}",
        "[DEFAULT]",
        "control_exchange = durable",
        "[oslo_messaging_rabbit]",
        "amqp_durable_queues = True",
    )
    broker.kill()
    try:
        with woven_by(text, tmp_path, Driver()) as driver:
            for number in range(3):
                driver.create_share(CONTEXT, {"id": "i", "share_id": f"s{number}"})
            (hook,) = aspects.weaving(driver).hooks
            assert hook.outbox.delivered == 0
            broker.start()
            wait_for(lambda: hook.outbox.delivered == 6, "all are delivered")
    finally:
        # Confirmed messages survive a restart of the broker.
        broker.kill()
        broker.start()
    with rabbit.Inbox(broker.url, topic, durable=True) as inbox:
        inbox.wait(6)
    assert {m.data["share_id"] for m in inbox.messages} == {"s0", "s1", "s2"}
    for message in inbox.messages:
        assert message.metadata["message_id"] == message.payload["id"]


def test_a_dead_host_of_a_cluster_is_skipped(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    dead = f"guest:guest@127.0.0.1:{free_port()}"
    url = broker.url.replace("guest:guest", f"{dead},guest:guest")
    text = configuration(url, topic)
    with rabbit.Inbox(broker.url, topic) as inbox:
        # oslo.messaging begins with a random host.
        for _ in range(6):
            with woven_by(text, tmp_path, Driver()) as driver:
                driver.create_share(CONTEXT, SHARE)
        inbox.wait(12)


FORK = """
import os, sys
from pathlib import Path
from tests.support.config import woven_by
from tests.functional.test_notification import CONTEXT, Driver

file, directory = map(Path, sys.argv[1:])
with woven_by(file.read_text(), directory, Driver()) as driver:
    driver.create_share(CONTEXT, {"id": "i", "share_id": "before"})
    child = os.fork()
    if child == 0:
        for _ in range(5):
            driver.create_share(CONTEXT, {"id": "i", "share_id": "child"})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    driver.create_share(CONTEXT, {"id": "i", "share_id": "after"})
"""


def test_a_child_process_opens_its_own_connection(
    broker: rabbit.Rabbit, topic: str, tmp_path: Path
) -> None:
    file = tmp_path / "text"
    file.write_text(configuration(broker.url, topic))
    with rabbit.Inbox(broker.url, topic) as inbox:
        done = subprocess.run(
            [sys.executable, "-c", FORK, str(file), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        inbox.wait(14)
    # Only the parent uses its connection, which still works. Otherwise oslo.messaging
    # would log an error.
    assert "forked" not in done.stderr
    assert "Connection" not in done.stderr
    arrived = dict.fromkeys(message.data["share_id"] for message in inbox.messages)
    assert list(arrived) == ["before", "child", "after"]

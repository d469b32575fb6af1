# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ for the tests, and what an OpenStack service reads from it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kombu
import oslo_messaging
import pytest
from oslo_config import cfg

from tests.support.programs import Program, free_port, need
from tests.support.wait import wait_for

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class Rabbit:
    """A broker that may be killed and started again, with what it has on disk.

    It listens on loopback, and runs as who runs the tests, beside any other broker:
    its name, its ports, its files and its name server (Erlang's epmd, which would stay
    behind) are its own.

    :param directory: keeps its data and logs
    """

    def __init__(self, directory: Path) -> None:
        self.server = need(SERVER, "rabbitmq-server")
        self.epmd = need("epmd", "erlang-base")
        self.directory = directory
        self.port = free_port()
        #: For oslo.messaging and kombu.
        self.url = f"rabbit://guest:guest@127.0.0.1:{self.port}/"
        self._ports = free_port(), free_port()
        self._names: Program | None = None
        self._broker: Program | None = None

    @property
    def log(self) -> str:
        """What the broker has written so far."""
        return (self.directory / "broker.out").read_text("utf-8", "replace")

    def _environment(self) -> dict[str, str]:
        directory, (names_port, dist_port) = self.directory, self._ports
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            # Of the secret that it shares with its tools.
            "HOME": str(directory),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names_port),
            # What listens on all interfaces otherwise.
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            # Not those in /etc, of the machine's own broker.
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "none.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        }

    def start(self) -> None:
        """Start it, if it does not run, and wait until it takes a connection."""
        if self._broker is not None:
            return
        env = self._environment()
        if self._names is None:
            self._names = Program(
                [self.epmd, "-address", "127.0.0.1", "-port", str(self._ports[0])],
                self.directory / "epmd.out",
                env,
            )
            # Without it the broker would start one that stays.
            wait_for(lambda: _listens(self._ports[0]), "epmd listens")
        self._broker = Program([self.server], self.directory / "broker.out", env)
        wait_for(self._answers, "the broker takes a connection", timeout=90)

    def _answers(self) -> bool:
        assert self._broker is not None
        assert self._broker.process.poll() is None, self.log[-2000:]
        url = self.url.replace("rabbit:", "amqp:")
        with kombu.Connection(url, connect_timeout=2) as connection:
            connection.connect()
        return True

    def kill(self) -> None:
        """Kill it, as a power cut would; its directory stays as it is."""
        if self._broker is not None:
            self._broker.kill()
            self._broker = None
            # Erlang's own process is not ours to wait for.
            wait_for(lambda: not _listens(self.port), "the broker is gone")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it keep its connections and answer nothing, as a broker that hangs."""
        process = int((self.directory / "pid").read_text())
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it in good order, and its name server."""
        if self._broker is not None:
            self._broker.stop(timeout=30)
            self._broker = None
        if self._names is not None:
            self._names.stop()
            self._names = None

    def __enter__(self) -> Rabbit:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Message(NamedTuple):
    """A notification as its consumer gets it."""

    priority: str
    context: dict[str, Any]
    publisher_id: str
    event_type: str
    payload: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """The data of the event in it."""
        return self.payload["data"]


class Inbox:
    """Consumes notifications with oslo.messaging, as an OpenStack service does.

    :param url: the broker's transport URL
    :param topic: the topic
    :param durable: whether the queues are to outlive the broker; they are on an
        exchange of their own then, named ``durable``
    """

    def __init__(
        self, url: str, topic: str = "notifications", durable: bool = False
    ) -> None:
        #: What has come so far, in order for each priority.
        self.messages: list[Message] = []
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        target = oslo_messaging.Target(topic=topic)
        if durable:
            url += "?amqp_durable_queues=true"
            target = target(exchange="durable")
        transport = oslo_messaging.get_notification_transport(conf, url)
        self._listener = oslo_messaging.get_notification_listener(
            transport, [target], [self], "threading"
        )
        # More threads would mix up the order.
        conf.set_override("executor_thread_pool_size", 1)

    def info(self, *message: Any) -> None:
        """Take a notification of this priority, as ``error`` does."""
        self.messages.append(Message("info", *message))

    def error(self, *message: Any) -> None:
        self.messages.append(Message("error", *message))

    def wait(self, count: int) -> list[Message]:
        """Wait until so many messages have come, and return them."""
        wait_for(lambda: len(self.messages) >= count, f"{count} messages")
        return self.messages

    def __enter__(self) -> Inbox:
        self._listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.stop()
        self._listener.wait()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """A broker that runs; have it in a test module as ``broker = rabbit.broker``."""
    with Rabbit(tmp_path_factory.mktemp("rabbit")) as running:
        yield running

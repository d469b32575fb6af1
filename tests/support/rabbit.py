# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ for the tests, and a consumer like that of an OpenStack service."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kombu
import oslo_messaging
import pytest
from oslo_config import cfg

from tests.support.programs import Program, Server, free_port, frozen, need
from tests.support.schema import validated
from tests.support.wait import wait_for

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class Rabbit(Server):
    """A broker that can be killed and started again with the same data.

    The broker listens on loopback and runs as the user who runs the tests. It does not
    affect another broker on the machine: it has its own name, ports and files. It also
    has its own name server, Erlang's epmd, which would otherwise stay behind.

    :param directory: the directory for data and logs
    """

    def __init__(self, directory: Path) -> None:
        self.server = need(SERVER, "rabbitmq-server")
        self.epmd = need("epmd", "erlang-base")
        self.directory = directory
        self.port = free_port()
        #: Transport URL for oslo.messaging; for kombu the scheme has to be amqp.
        self.url = f"rabbit://guest:guest@127.0.0.1:{self.port}/"
        self._ports = free_port(), free_port()
        self._names: Program | None = None
        self._broker: Program | None = None

    @property
    def log(self) -> str:
        """The broker's output so far."""
        return (self.directory / "broker.out").read_text("utf-8", "replace")

    def _environment(self) -> dict[str, str]:
        directory, (names_port, dist_port) = self.directory, self._ports
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            # The directory of the secret that the broker shares with its tools.
            "HOME": str(directory),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names_port),
            # Erlang's distribution would listen on all interfaces.
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            # Files that do not exist: those of the machine's broker must not apply.
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "none.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        }

    def start(self) -> None:
        """Start the broker if it is not running, and wait until it is ready."""
        if self._broker is not None:
            return
        env = self._environment()
        if self._names is None:
            self._names = Program(
                [self.epmd, "-address", "127.0.0.1", "-port", str(self._ports[0])],
                self.directory / "epmd.out",
                env,
            )
            # Otherwise the broker starts an epmd that outlives it.
            wait_for(lambda: _listens(self._ports[0]), "epmd listens")
        self._broker = Program([self.server], self.directory / "broker.out", env)
        wait_for(self._answers, "the broker accepts a connection", timeout=90)

    def _answers(self) -> bool:
        assert self._broker is not None
        assert self._broker.process.poll() is None, self.log[-2000:]
        url = self.url.replace("rabbit:", "amqp:")
        with kombu.Connection(url, connect_timeout=2) as connection:
            connection.connect()
        return True

    def kill(self) -> None:
        """Kill the broker with SIGKILL, and leave its directory unchanged."""
        if self._broker is not None:
            self._broker.kill()
            self._broker = None
            # Erlang runs in a grandchild process, so only its port shows its end.
            wait_for(lambda: not _listens(self.port), "the broker is gone")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the broker: it keeps its connections and does not respond."""
        with frozen(int((self.directory / "pid").read_text())):
            yield

    def stop(self) -> None:
        """Shut down the broker and its name server."""
        if self._broker is not None:
            self._broker.stop(timeout=30)
            self._broker = None
        if self._names is not None:
            self._names.stop()
            self._names = None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Message(NamedTuple):
    """A notification as a consumer receives it."""

    priority: str
    context: dict[str, Any]
    publisher_id: str
    event_type: str
    payload: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """The data of the event in the message."""
        return self.payload["data"]


class Inbox:
    """Consumes notifications with oslo.messaging, as an OpenStack service does.

    The end of the context raises an exception if an event does not fit the schema.

    :param url: the broker's transport URL
    :param topic: the topic
    :param durable: whether the queues survive a restart of the broker; they are then
        on a separate exchange named ``durable``
    """

    def __init__(
        self, url: str, topic: str = "notifications", durable: bool = False
    ) -> None:
        #: The messages so far, in order for each priority.
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
        # With more threads, the order of the messages would be undefined.
        conf.set_override("executor_thread_pool_size", 1)

    def info(self, *message: Any) -> None:
        """Store a notification of this priority; oslo.messaging calls it by name."""
        self.messages.append(Message("info", *message))

    def error(self, *message: Any) -> None:
        self.messages.append(Message("error", *message))

    def wait(self, count: int) -> list[Message]:
        """Wait until at least ``count`` messages have arrived, and return all."""
        wait_for(lambda: len(self.messages) >= count, f"{count} messages")
        return self.messages

    def __enter__(self) -> Inbox:
        self._listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.stop()
        self._listener.wait()
        for message in self.messages:
            validated(message.payload)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """Run a broker; a test module uses it with ``broker = rabbit.broker``."""
    with Rabbit(tmp_path_factory.mktemp("rabbit")) as running:
        yield running

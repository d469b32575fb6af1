# SPDX-License-Identifier: Apache-2.0
"""A real Manila of several processes, with a broker and a database."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path

import kombu
import requests

from aspects.demo.releases import has_native_threads, paste_configuration
from aspects.demo.service import paste_file
from tests.support.programs import (
    Program,
    children_of,
    free_port,
    handles_sighup,
    installed,
)
from tests.support.rabbit import Rabbit
from tests.support.wait import wait_for

from .postgres import Postgres
from .share_service import DRIVER, NATIVE, ROOT

BACKENDS = ("alpha", "beta")

#: Headers of API requests; the token names a user and a project.
HEADERS = {"X-Auth-Token": "admin:demo", "X-OpenStack-Manila-API-Version": "2.65"}

COMMON = """
[DEFAULT]
host = node1
my_ip = 127.0.0.1
transport_url = {broker}
control_exchange = durable
state_path = {directory}
log_dir = {directory}
use_stderr = False
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {port}
api_paste_config = {paste}
auth_strategy = noauthv2
enabled_share_backends = {backends}
enabled_share_protocols = NFS
share_manager = {manager}
periodic_interval = 5
periodic_fuzzy_delay = 0
# With few threads, the operations on one share are enough to start all of them.
executor_thread_pool_size = 4
{defaults}

[quota]
shares = -1
snapshots = -1
gigabytes = -1
snapshot_gigabytes = -1

[database]
connection = {database}
# An idle process keeps one connection, even after a peak.
max_pool_size = 1
max_overflow = 50

[oslo_messaging_rabbit]
amqp_durable_queues = True
kombu_reconnect_delay = 0.2
rabbit_retry_interval = 1
rabbit_retry_backoff = 0
rabbit_interval_max = 1
conn_pool_min_size = 0
conn_pool_ttl = 1

[oslo_concurrency]
lock_path = {directory}/locks

[coordination]
backend_url = file://{directory}/coordination

[oslo_policy]
policy_file = {directory}/policy.yaml
policy_dirs = {directory}/policy.d

[oslo_reports]
log_dir = {directory}
"""

# ``manila-api`` runs on eventlet only. On native threads, cheroot serves its WSGI
# application, which reads the command line.
_SERVE = """
import sys
from cheroot import wsgi
port = int(sys.argv.pop(1))
from manila.wsgi.api import application
wsgi.Server(("127.0.0.1", port), application, numthreads=20).start()
"""

# Ask the scheduler itself: the share API would return cached pools, and pools without
# those of one backend would stay cached until the scheduler places a share.
_WAIT_FOR_POOLS = """
import sys, time
from manila import context, rpc
from manila.common import config
backends = set(sys.argv.pop(1).split(","))
config.CONF(sys.argv[1:], project="manila", default_config_dirs=[])
rpc.init(config.CONF)
from manila.scheduler import rpcapi
client, admin = rpcapi.SchedulerAPI(), context.get_admin_context()
while {pool["backend"] for pool in client.get_pools(admin, cached=False)} != backends:
    time.sleep(0.5)
"""


class Cloud:
    """Run ``manila-api``, ``manila-scheduler`` and ``manila-share``.

    Use it as a context manager, which starts the database on entry. On exit it kills
    the remaining services, then stops the broker and the database.

    :param directory: directory of the configuration, the logs and the data
    :param environment: :data:`~.share_service.NATIVE` or
        :data:`~.share_service.EVENTLET`, with additional variables
    :param backends: names of the backends
    """

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        backends: Sequence[str] = BACKENDS,
    ) -> None:
        self.directory = directory
        self.native = has_native_threads() and environment.items() >= NATIVE.items()
        self._backends = backends
        (directory / "broker").mkdir()
        self.broker = Rabbit(directory / "broker")
        self.database = Postgres()
        self.config_file = directory / "manila.conf"
        self.port = free_port()
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
            **environment,
        }
        (directory / "policy.yaml").write_text("{}\n", "utf-8")
        paste = paste_configuration(paste_file().read_text("utf-8"))
        (directory / "api-paste.ini").write_text(paste, "utf-8")
        (directory / "policy.d").mkdir()
        self._programs: dict[str, Program] = {}

    @property
    def endpoint(self) -> str:
        """URL of version 2 of the share API."""
        return f"http://127.0.0.1:{self.port}/v2"

    def configure(
        self,
        backends: Mapping[str, str],
        manager: str,
        driver: str = DRIVER,
        defaults: str = "",
    ) -> None:
        """Write ``manila.conf``.

        :param backends: backend name -> text of its section, without the driver's
            options
        :param manager: the class of the share manager
        :param driver: the driver's options
        :param defaults: further options of ``[DEFAULT]``, which override those above
        """
        text = COMMON.format(
            directory=self.directory,
            backends=",".join(self._backends),
            defaults=defaults,
            manager=manager,
            port=self.port,
            paste=self.directory / "api-paste.ini",
            broker=self.broker.url,
            database=self.database.url,
        )
        for name, lines in backends.items():
            text += f"\n[{name}]\nshare_backend_name = {name}\n{driver}{lines}\n"
        # Atomically: a reader sees either the old file or the new one.
        new = self.config_file.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.rename(self.config_file)

    # -- the services --------------------------------------------------------------

    def prepare(self) -> None:
        """Create the tables, and start the broker."""
        creation = self._run("manila-manage", "db", "sync")
        self.broker.start()
        assert creation.process.wait(180) == 0, creation.log.read_text()

    def start(self) -> None:
        """Start all services and wait until all backends can create shares.

        :meth:`prepare` has to come first.
        """
        for name in ("manila-api", "manila-scheduler", "manila-share"):
            self._run(name)
        # A request to a scheduler that does not run yet would wait for a minute.
        self._wait_for_consumer("manila-scheduler")
        self.wait_for_share()
        self._wait_for_pools()
        wait_for(self._api_answers, "the share API answers", 120)

    def _wait_for_pools(self) -> None:
        """Wait until the scheduler knows the pools of all backends."""
        command = [sys.executable, "-c", _WAIT_FOR_POOLS, ",".join(self._backends)]
        command += ["--config-file", str(self.config_file), "--log-file", "pools.log"]
        environment = {**self._environment, **NATIVE}
        waiting = Program(command, self.directory / "pools.out", environment)
        try:
            assert waiting.process.wait(120) == 0, waiting.log.read_text()
        finally:
            waiting.kill()

    def _api_answers(self) -> bool:
        return requests.get(f"{self.endpoint}/types", headers=HEADERS, timeout=90).ok

    def start_share(self) -> None:
        """Start ``manila-share`` and wait until all backends consume requests."""
        self._run("manila-share")
        self.wait_for_share()

    def wait_for_share(self) -> None:
        """Wait until all backends consume requests."""
        for name in self._backends:
            self._wait_for_consumer(f"manila-share.node1@{name}")

    def kill_share(self) -> None:
        """Kill ``manila-share`` and its children with SIGKILL."""
        self._programs["manila-share"].kill()
        for name in self._backends:
            queue = f"manila-share.node1@{name}"
            wait_for(
                lambda queue=queue: not self._consumers(queue),
                f"no consumer of {queue}",
            )

    def hang_up(self) -> None:
        """Send SIGHUP to ``manila-share``, as ``systemctl reload`` does.

        On native threads, oslo.service then replaces the processes of the backends.
        In that case, wait until the new processes consume requests.
        """
        before = set(self._children())
        if not self.native:
            # oslo.service has no handler for SIGHUP while it handles one: a second
            # signal would kill the process, with or without hooks.
            wait_for(
                lambda: all(map(handles_sighup, [self._parent, *before])),
                "a handler of SIGHUP",
            )
        os.kill(self._parent, signal.SIGHUP)
        if self.native:
            wait_for(
                lambda: (
                    len(now := self._children()) == len(self._backends)
                    and not before & set(now)
                ),
                "new processes",
                timeout=120,
            )
            self.wait_for_share()

    def restart_broker(self) -> None:
        """Restart RabbitMQ and wait until all services have reconnected."""
        self.broker.stop()
        self.broker.start()
        self._wait_for_consumer("manila-scheduler")
        self.wait_for_share()

    @property
    def _parent(self) -> int:
        return self._programs["manila-share"].process.pid

    def _children(self) -> list[int]:
        return children_of(self._parent)

    def resources(self) -> dict[str, Counter[str]]:
        """Count the threads, sockets, pipes and open files of ``manila-share``.

        :return: the counts of the ``parent``, and for ``children`` the highest count
            of any child; a socket is a ``socket`` or a :data:`DEAD_SOCKET`
        """
        highest: Counter[str] = Counter()
        for pid in self._children():
            highest |= _resources(pid)
        return {"parent": _resources(self._parent), "children": highest}

    def stop(self) -> dict[str, int]:
        """Stop all services.

        :return: service name -> exit status
        """
        # On eventlet and with several backends, Manila since 21 does not stop by
        # itself. OneBackend in test_stop.py explains the cause.
        timeout = 60 if self.native else 5
        with futures.ThreadPoolExecutor() as pool:
            stopping = {
                name: pool.submit(program.stop, timeout)
                for name, program in self._programs.items()
            }
        return {name: status.result() for name, status in stopping.items()}

    def __enter__(self) -> Cloud:
        self.database.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            for program in self._programs.values():
                program.kill()
            self.broker.stop()
        finally:
            self.database.stop()

    def logs(self) -> dict[str, str]:
        """Return the log and the output of each service."""
        texts: dict[str, str] = {}
        for file in sorted(self.directory.glob("manila-*.*")):
            if file.suffix in (".log", ".out"):
                text = file.read_text("utf-8", "replace")
                texts[file.stem] = texts.get(file.stem, "") + text
        return texts

    def _run(self, name: str, *arguments: str) -> Program:
        command = [installed(name)]
        if name == "manila-api" and self.native:
            command = [sys.executable, "-c", _SERVE, str(self.port)]
        command += ["--config-file", str(self.config_file)]
        command += ["--log-file", f"{name}.log", *arguments]
        program = Program(command, self.directory / f"{name}.out", self._environment)
        self._programs[name] = program
        return program

    def _wait_for_consumer(self, queue: str) -> None:
        wait_for(lambda: self._consumers(queue), f"consumer of {queue}", 120, 0.2)

    def _consumers(self, queue: str) -> int:
        url = self.broker.url.replace("rabbit:", "amqp:")
        with kombu.Connection(url, connect_timeout=2) as connection:
            declared = connection.default_channel.queue_declare(queue, passive=True)
            return int(declared.consumer_count)


#: An open socket that is neither connected nor listening.
DEAD_SOCKET = "dead socket"


def _resources(pid: int) -> Counter[str]:
    found = Counter({"thread": len(os.listdir(f"/proc/{pid}/task"))})
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # The file may have been closed since it was listed.
        with contextlib.suppress(FileNotFoundError):
            kind, _, inode = os.readlink(link).partition(":")
            if kind == "socket" and inode.strip("[]") not in _live_sockets():
                kind = DEAD_SOCKET
            found[kind] += 1
    return found


def _live_sockets() -> set[str]:
    tables = (Path("/proc/net", name).read_text() for name in ("tcp", "tcp6", "unix"))
    return {word for table in tables for word in table.split()}


def processes_of(*directories: Path) -> list[str]:
    """Return the command lines of all processes that use one of the directories.

    :param directories: directories that occur in an argument or the environment
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
            text = (command + environment).decode("utf-8", "replace")
            if any(str(directory) in text for directory in directories):
                found.append(command.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found

# SPDX-License-Identifier: Apache-2.0
"""A real Manila as an operator runs it: each service a process, a broker, a database."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import kombu

from aspects.demo.service import paste_file

from .parts import Program, free_port, wait_for
from .postgres import Postgres
from .rabbit import Rabbit
from .share_service import DRIVER, NATIVE, ROOT

BACKENDS = ("alpha", "beta")

COMMON = """
[DEFAULT]
host = node1
my_ip = 127.0.0.1
transport_url = {broker}
control_exchange = durable
state_path = {folder}
log_dir = {folder}
use_stderr = False
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {port}
api_paste_config = {paste}
auth_strategy = noauthv2
enabled_share_backends = alpha,beta
enabled_share_protocols = NFS
share_manager = aspects.manila.ShareManager
periodic_interval = 5
periodic_fuzzy_delay = 0
periodic_hooks_interval = 1
graceful_shutdown_timeout = 20
executor_thread_pool_size = 8

[quota]
shares = -1
snapshots = -1
gigabytes = -1
snapshot_gigabytes = -1

[database]
connection = {database}

[oslo_messaging_rabbit]
amqp_durable_queues = True
kombu_reconnect_delay = 0.2
rabbit_retry_interval = 1
rabbit_retry_backoff = 0
rabbit_interval_max = 1

[oslo_concurrency]
lock_path = {folder}/locks

[coordination]
backend_url = file://{folder}/coordination

[oslo_policy]
policy_file = {folder}/policy.yaml
policy_dirs = {folder}/policy.d

[oslo_reports]
log_dir = {folder}
"""

# ``manila-api`` itself is for eventlet alone. What it serves is a WSGI application,
# which reads the command line.
_SERVE = """
import sys
from cheroot import wsgi
port = int(sys.argv.pop(1))
from manila.wsgi.api import application
wsgi.Server(("127.0.0.1", port), application, numthreads=20).start()
"""


class Cloud:
    """``manila-api``, ``manila-scheduler`` and ``manila-share`` with two backends.

    :param folder: where to write
    :param environment: :data:`~.share_service.NATIVE` or
        :data:`~.share_service.EVENTLET`
    :param broker: runs
    :param database: runs, and is empty
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        broker: Rabbit,
        database: Postgres,
    ) -> None:
        self.folder = folder
        self.native = environment == NATIVE
        self.broker = broker
        self.config_file = folder / "manila.conf"
        self._port = free_port()
        self._environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
        }
        self._common = COMMON.format(
            folder=folder,
            port=self._port,
            paste=paste_file(),
            broker=broker.url,
            database=database.url,
        )
        (folder / "policy.yaml").write_text("{}\n")
        (folder / "policy.d").mkdir()
        #: The services that run, by name.
        self.programs: dict[str, Program] = {}

    @property
    def endpoint(self) -> str:
        """The URL of the share API's version 2."""
        return f"http://127.0.0.1:{self._port}/v2"

    def configure(self, backends: Mapping[str, str]) -> None:
        """Write ``manila.conf``.

        :param backends: the text of each backend section, less the driver's lines
        """
        text = self._common
        for name in BACKENDS:
            lines = backends.get(name, "")
            text += f"\n[{name}]\nshare_backend_name = {name}\n{DRIVER}{lines}\n"
        # As an editor does it: a reader sees the old file or the new one.
        new = self.config_file.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.rename(self.config_file)

    # -- the services --------------------------------------------------------------

    def start(self) -> None:
        """Make the database's tables and start all but ``manila-share``."""
        made = self._run("manila-manage", "db", "sync")
        assert made.process.wait(120) == 0, made.log.read_text()
        self._run("manila-api")
        self._run("manila-scheduler")
        # It forgets what the backends can do, and they tell it when they start.
        wait_for(lambda: self._consumes("manila-scheduler"), "the scheduler", 60)

    def start_share(self) -> None:
        """Start ``manila-share``, and return when it takes requests."""
        self._run("manila-share")
        self.wait_for_share()

    def wait_for_share(self) -> None:
        """Wait until both backends take requests."""
        for name in BACKENDS:
            queue = f"manila-share.node1@{name}"
            wait_for(lambda queue=queue: self._consumes(queue), queue, 90, 0.2)

    def kill_share(self) -> None:
        """Kill ``manila-share`` and its children, as a power cut would."""
        self.programs.pop("manila-share").kill()
        for name in BACKENDS:
            queue = f"manila-share.node1@{name}"
            wait_for(lambda queue=queue: not self._consumes(queue), f"no {queue}")

    def hang_up(self) -> None:
        """Send ``manila-share`` SIGHUP, as ``systemctl reload`` does."""
        os.kill(self.programs["manila-share"].process.pid, signal.SIGHUP)

    def restart_broker(self) -> None:
        """Restart RabbitMQ, and return when all services are connected again."""
        self.broker.stop()
        self.broker.start()
        wait_for(lambda: self._consumes("manila-scheduler"), "the scheduler", 60)
        self.wait_for_share()

    def children(self) -> list[int]:
        """Return the process ids of the children of ``manila-share``."""
        pid = self.programs["manila-share"].process.pid
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return sorted(int(pid) for task in tasks for pid in task.read_text().split())

    def log(self, name: str = "manila-share") -> str:
        """Return what a service wrote, to its log and elsewhere."""
        files = [self.folder / f"{name}.{end}" for end in ("log", "out")]
        return "".join(file.read_text() for file in files if file.exists())

    def stop(self) -> None:
        """Stop all services, in good order."""
        while self.programs:
            _, program = self.programs.popitem()
            program.stop(40)

    def _run(self, name: str, *arguments: str) -> Program:
        command = [str(Path(sys.executable).with_name(name))]
        if name == "manila-api" and self.native:
            command = [sys.executable, "-c", _SERVE, str(self._port)]
        command += ["--config-file", str(self.config_file)]
        command += ["--log-file", f"{name}.log", *arguments]
        program = Program(command, self.folder / f"{name}.out", self._environment)
        self.programs[name] = program
        return program

    def _consumes(self, queue: str) -> bool:
        url = self.broker.url.replace("rabbit:", "amqp:")
        with kombu.Connection(url, connect_timeout=2) as connection:
            declared = connection.default_channel.queue_declare(queue, passive=True)
        return bool(declared.consumer_count)

def resources(pid: int) -> Counter[str]:
    """Count what a process has open, and its threads."""
    found = Counter({"threads": len(os.listdir(f"/proc/{pid}/task"))})
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[os.readlink(link).partition(":")[0]] += 1
    return found

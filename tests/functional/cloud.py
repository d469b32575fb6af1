# SPDX-License-Identifier: Apache-2.0
"""A real Manila as an operator runs it: each service a process, a broker, a database.

``manila-api``, ``manila-scheduler`` and ``manila-share`` over RabbitMQ and PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import requests

from aspects.demo.service import paste_file

from .parts import Program, free_port, wait_for
from .postgres import Postgres
from .rabbit import Rabbit
from .share_service import DRIVER, NATIVE, ROOT

#: Token for requests; the first part is the user, the second the project.
TOKEN = "admin:demo"

COMMON = """
[DEFAULT]
host = node1
my_ip = 127.0.0.1
transport_url = {broker}
state_path = {folder}
log_dir = {folder}
use_stderr = False
debug = True
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {port}
api_paste_config = {paste}
auth_strategy = noauthv2
enabled_share_backends = alpha,beta
enabled_share_protocols = NFS
share_manager = aspects.manila.ShareManager
periodic_interval = 1
periodic_fuzzy_delay = 0
graceful_shutdown_timeout = 20

[quota]
shares = -1
snapshots = -1
gigabytes = -1
snapshot_gigabytes = -1

[database]
connection = {database}

[oslo_messaging_rabbit]
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
import signal, sys
from cheroot import wsgi
port = int(sys.argv.pop(1))
from manila.wsgi.api import application
server = wsgi.Server(("127.0.0.1", port), application, numthreads=20)
signal.signal(signal.SIGTERM, lambda *signal: sys.exit())
server.safe_start()
"""


class Cloud:
    """The services of one Manila with two backends, ``alpha`` and ``beta``.

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
        self.config_file = folder / "manila.conf"
        self.port = free_port()
        self._environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
        }
        self._common = COMMON.format(
            folder=folder,
            port=self.port,
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
        return f"http://127.0.0.1:{self.port}/v2"

    def configure(self, backends: Mapping[str, str]) -> None:
        """Write ``manila.conf``.

        :param backends: the text of each backend section, less the driver's lines
        """
        text = self._common
        for name, lines in backends.items():
            text += f"\n[{name}]\nshare_backend_name = {name}\n{DRIVER}{lines}\n"
        # As an editor does it: a reader sees the old file or the new one.
        new = self.config_file.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.rename(self.config_file)

    def _run(self, name: str, *command: str) -> Program:
        return Program(
            [*command, "--config-file", str(self.config_file)]
            + ["--log-file", f"{name}.log"],
            self.folder / f"{name}.out",
            self._environment,
        )

    def _start(self, name: str) -> None:
        command = [str(Path(sys.executable).with_name(name))]
        if name == "manila-api" and self.native:
            command = [sys.executable, "-c", _SERVE, str(self.port)]
        self.programs[name] = self._run(name, *command)

    def start(self) -> None:
        """Make the database and start the services; return when shares can be made."""
        made = Program(
            [
                str(Path(sys.executable).with_name("manila-manage")),
                *("--config-file", str(self.config_file)),
                *("--log-file", "manila-manage.log", "db", "sync"),
            ],
            self.folder / "manila-manage.out",
            self._environment,
        )
        assert made.process.wait(120) == 0, made.log.read_text()
        for name in ("manila-api", "manila-scheduler", "manila-share"):
            self._start(name)
        wait_for(self.pools, "both backends", timeout=30)

    def pools(self) -> list[str]:
        """Return the pools that the scheduler knows of."""
        answer = requests.get(
            f"{self.endpoint}/scheduler-stats/pools",
            headers={"X-Auth-Token": TOKEN},
            timeout=10,
        )
        answer.raise_for_status()
        return [pool["name"] for pool in answer.json()["pools"]]

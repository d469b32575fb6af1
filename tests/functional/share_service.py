# SPDX-License-Identifier: Apache-2.0
"""A real ``manila-share`` process, run as an operator runs it."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import manila
import pytest

from tests.support import releases
from tests.support.programs import Program, children_of, installed
from tests.support.wait import wait_for

from .postgres import Postgres

ROOT = Path(__file__).parents[2]

#: Environment variables that select native threads or eventlet in a Manila process.
NATIVE = {"OS_MANILA_DISABLE_EVENTLET_PATCHING": "True"}
EVENTLET = {"OS_MANILA_DISABLE_EVENTLET_PATCHING": "False"}

#: The parameters of a test that runs on each kind of thread that Manila has.
THREADS = [
    *([pytest.param(NATIVE, id="native")] if releases.HAS_NATIVE_THREADS else []),
    pytest.param(EVENTLET, id="eventlet"),
]

COMMON = """
[DEFAULT]
host = node1
my_ip = 127.0.0.1
transport_url = fake:/
state_path = {directory}
log_file = {directory}/manila.log
log_dir = {directory}
use_stderr = False
enabled_share_backends = {backends}
share_manager = aspects.manila.ShareManager
periodic_interval = 1
periodic_fuzzy_delay = 0
periodic_hooks_interval = 1

[database]
connection = {database}

[oslo_concurrency]
lock_path = {directory}/locks

[coordination]
backend_url = file://{directory}/coordination

[oslo_reports]
log_dir = {directory}
"""

DRIVER = """
share_driver = manila.tests.share.drivers.dummy.DummyDriver
driver_handles_share_servers = False
dummy_driver_default_driver_method_delay = 0
dummy_driver_driver_methods_delays =
"""

# Create the tables from the models: Manila's migrations do not run on SQLite.
_MAKE_SQLITE = """
import sys
from oslo_config import cfg
cfg.CONF(sys.argv[1:], project="manila", default_config_dirs=[])
from manila.db import migration
from manila.db.sqlalchemy import api, models
models.BASE.metadata.create_all(api.get_engine())
migration.stamp("head")
"""


PROJECT_CODE = (ROOT / "aspects", ROOT / "hooks")

#: Code whose errors pass through the project's: Manila, its drivers, and test drivers.
FOREIGN_CODE = (Path(manila.__file__).parent, ROOT / "tests")


def project_tracebacks(log: str) -> list[str]:
    """Return the tracebacks in a log for which this project is responsible.

    The code of the innermost frame outside libraries is responsible. An error that a
    library raises in a call by a hook counts. An error of Manila or of a driver does
    not count, although it passes through frames of the chain and of observers.

    :param log: text of the log
    :returns: the first 4,000 characters of each traceback
    """
    found = []
    for text in log.split("Traceback (most recent call last):")[1:]:
        # Only a traceback has such lines.
        for file in reversed(re.findall(r'File "([^"]+)", line', text)):
            if _is_in(file, FOREIGN_CODE):
                break
            if _is_in(file, PROJECT_CODE):
                found.append(text[:4000])
                break
    return found


def _is_in(file: str, directories: tuple[Path, ...]) -> bool:
    return any(Path(file).is_relative_to(directory) for directory in directories)


class ShareService:
    """Run ``manila-share``: a parent process, and a child process for each backend.

    The database is SQLite for one backend and PostgreSQL for several. SQLite rejects a
    transaction that reads and then writes while another transaction writes. Every
    backend runs such transactions when it starts, so one start in thirty fails.

    :param directory: directory of the configuration, the logs and the data
    :param backends: backend name -> text of its section, without the driver's options
    :param environment: :data:`NATIVE` or :data:`EVENTLET`, with additional variables
    """

    def __init__(
        self,
        directory: Path,
        backends: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        self.directory = directory
        self.config_file = directory / "manila.conf"
        self.log_file = directory / "manila.log"
        self.native = (
            releases.HAS_NATIVE_THREADS and environment.items() >= NATIVE.items()
        )
        self.environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.program: Program | None = None
        # kill() stops the server; a server that fails to start removes itself.
        self._postgres = Postgres().__enter__() if len(backends) > 1 else None
        self.configure(backends)

    def configure(self, backends: Mapping[str, str]) -> None:
        """Write ``manila.conf``.

        :param backends: backend name -> text of its section, without the driver's
            options
        """
        text = self.common(",".join(backends))
        for name, lines in backends.items():
            text += f"\n[{name}]\nshare_backend_name = {name}\n{DRIVER}{lines}\n"
        # Atomically: a reader sees either the old file or the new one.
        new = self.config_file.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.rename(self.config_file)

    def common(self, backends: str) -> str:
        """Return the configuration that precedes the backend sections.

        :param backends: the value of ``enabled_share_backends``
        """
        database = f"sqlite:///{self.directory}/manila.sqlite"
        if self._postgres is not None:
            database = self._postgres.url
        return COMMON.format(
            directory=self.directory, backends=backends, database=database
        )

    def start(self) -> None:
        """Create the database and start the service; do not wait until it is ready."""
        config = ["--config-file", str(self.config_file)]
        command = [sys.executable, "-c", _MAKE_SQLITE, *config]
        if self._postgres is not None:
            command = [installed("manila-manage"), *config, "db", "sync"]
        creation = Program(
            command,
            self.directory / "database.out",
            {**self.environment, **NATIVE},
        )
        assert creation.process.wait(120) == 0, creation.log.read_text()
        self.program = Program(
            [installed("manila-share"), *config],
            self.directory / "manila-share.out",
            self.environment,
        )

    @property
    def pid(self) -> int:
        """Process ID of the parent."""
        assert self.program is not None
        return self.program.process.pid

    def children(self) -> list[int]:
        """Return the process IDs of the children, one for each backend."""
        return children_of(self.pid)

    def hang_up(self) -> None:
        """Send SIGHUP to the parent, as ``systemctl reload`` does."""
        os.kill(self.pid, signal.SIGHUP)

    def log(self) -> str:
        """Return the log followed by the output of the service."""
        files = [self.log_file, self.directory / "manila-share.out"]
        return "".join(file.read_text() for file in files if file.exists())

    def wait_for_log(self, text: str, timeout: float = 60.0) -> None:
        """Wait until the log contains a text.

        :param text: the text
        :param timeout: seconds
        """
        wait_for(lambda: text in self.log(), f"{text!r} in the log", timeout)

    def stop(self, timeout: float = 60.0) -> int:
        """Stop the service with SIGTERM, as an operator does.

        :param timeout: seconds until it is killed
        :returns: the exit status of the parent
        """
        assert self.program is not None
        return self.program.stop(timeout)

    def kill(self) -> None:
        """Kill the remaining processes and stop the database.

        The log is printed, so that pytest shows it when a test fails.
        """
        sys.stdout.write(self.log())
        if self.program is not None:
            self.program.kill()
        if self._postgres is not None:
            self._postgres.stop()


@contextmanager
def share_service(
    directory: Path,
    backends: Mapping[str, str],
    environment: Mapping[str, str] = NATIVE,
) -> Iterator[ShareService]:
    """Start a :class:`ShareService`, and kill it on exit.

    :param directory: directory of the configuration, the logs and the data
    :param backends: backend name -> text of its section, without the driver's options
    :param environment: :data:`NATIVE` or :data:`EVENTLET`, with additional variables
    """
    service = ShareService(directory, backends, environment)
    try:
        service.start()
        yield service
    finally:
        service.kill()

# SPDX-License-Identifier: Apache-2.0
"""A real ``manila-share`` process of its own, as an operator runs it."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import Program, installed
from tests.support.wait import wait_for

from .postgres import Postgres

ROOT = Path(__file__).parents[2]

#: How a process runs its threads, and the environment that makes it so.
NATIVE = {"OS_MANILA_DISABLE_EVENTLET_PATCHING": "True"}
EVENTLET = {"OS_MANILA_DISABLE_EVENTLET_PATCHING": "False"}

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

# Manila's migrations do not run on SQLite.
_MAKE_SQLITE = """
import sys
from oslo_config import cfg
cfg.CONF(sys.argv[1:], project="manila", default_config_dirs=[])
from manila.db import migration
from manila.db.sqlalchemy import api, models
models.BASE.metadata.create_all(api.get_engine())
migration.stamp("head")
"""


def tracebacks_of_ours(log: str) -> list[str]:
    """Return the tracebacks in a log that are this project's fault.

    That is so where a hook of it has a frame, whatever it has called, or where its
    machinery has the innermost. An error of a driver's or a broker's only passes
    through, and Manila has some of its own, as two backends that start at once.

    :param log: the text of the log
    """
    found = []
    for part in log.split("Traceback (most recent call last):")[1:]:
        # Nothing but a traceback has such lines.
        files = re.findall(r'File "([^"]+)", line', part) or [""]
        in_hooks = any(file.startswith(str(ROOT / "hooks")) for file in files)
        if in_hooks or files[-1].startswith(str(ROOT / "aspects")):
            found.append(part[:4000])
    return found


class ShareService:
    """``manila-share``: a parent process, and one for each backend.

    Its database is SQLite for one backend, PostgreSQL for more. SQLite refuses a
    transaction that has read and would write while another one writes, and Manila
    does that for each backend when it starts: one in thirty did not.

    :param directory: where to write
    :param backends: the text of each backend section, less the driver's lines
    :param environment: :data:`NATIVE` or :data:`EVENTLET`, and more
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
        self.native = environment.items() >= NATIVE.items()
        self.environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        self.program: Program | None = None
        # Ended by kill, and by itself where it does not start.
        self._postgres = Postgres().__enter__() if len(backends) > 1 else None
        self.configure(backends)

    def configure(self, backends: Mapping[str, str]) -> None:
        """Write ``manila.conf``.

        :param backends: the text of each backend section, less the driver's lines
        """
        text = self.common(",".join(backends))
        for name, lines in backends.items():
            text += f"\n[{name}]\nshare_backend_name = {name}\n{DRIVER}{lines}\n"
        # As an editor does it: a reader sees the old file or the new one.
        new = self.config_file.with_suffix(".new")
        new.write_text(text, "utf-8")
        new.rename(self.config_file)

    def common(self, backends: str) -> str:
        """Return what stands before the backend sections.

        :param backends: the value of ``enabled_share_backends``
        """
        database = f"sqlite:///{self.directory}/manila.sqlite"
        if self._postgres is not None:
            database = self._postgres.url
        return COMMON.format(
            directory=self.directory, backends=backends, database=database
        )

    def start(self) -> None:
        """Make its database, and start it; do not wait until it does something."""
        config = ["--config-file", str(self.config_file)]
        command = [sys.executable, "-c", _MAKE_SQLITE, *config]
        if self._postgres is not None:
            command = [installed("manila-manage"), *config, "db", "sync"]
        made = Program(
            command,
            self.directory / "database.out",
            {**self.environment, **NATIVE},
        )
        assert made.process.wait(120) == 0, made.log.read_text()
        self.program = Program(
            [installed("manila-share"), *config],
            self.directory / "manila-share.out",
            self.environment,
        )

    @property
    def pid(self) -> int:
        """The process id of the parent."""
        assert self.program is not None
        return self.program.process.pid

    def children(self) -> list[int]:
        """Return the process ids of the children: one for each backend."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def hang_up(self) -> None:
        """Send SIGHUP, as ``systemctl reload`` does."""
        os.kill(self.pid, signal.SIGHUP)

    def log(self) -> str:
        """Return what it wrote, to its log and elsewhere."""
        files = [self.log_file, self.directory / "manila-share.out"]
        return "".join(file.read_text() for file in files if file.exists())

    def logged(self, text: str, timeout: float = 60.0) -> None:
        """Wait until something stands in the log."""
        wait_for(lambda: text in self.log(), f"{text!r} in the log", timeout)

    def stop(self, timeout: float = 60.0) -> int:
        """Stop it as an operator does.

        :returns: its exit status
        """
        assert self.program is not None
        return self.program.stop(timeout)

    def kill(self) -> None:
        """End what still runs of it, its database too.

        What it wrote is in the report of a test that fails.
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
    """Run a :class:`ShareService`."""
    service = ShareService(directory, backends, environment)
    try:
        service.start()
        yield service
    finally:
        service.kill()

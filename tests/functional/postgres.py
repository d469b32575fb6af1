# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from tests.support.programs import Program, need
from tests.support.wait import wait_for

#: Where Debian's packages have their programs, for each version.
DEBIAN = Path("/usr/lib/postgresql")


class Postgres:
    """A database server of its own: one directory, a socket in it, no port.

    It refuses to run as root: there it runs as the user that Debian's package makes.
    """

    def __init__(self) -> None:
        found = sorted(DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name))
        where = f"{found[-1]}/" if found else ""
        self._initdb = need(f"{where}initdb", "postgresql")
        self._postgres = need(f"{where}postgres", "postgresql")
        self._server: Program | None = None
        self._directory: Path | None = None
        self._as_user: list[str] = []

    @property
    def directory(self) -> Path:
        """Where its data, its socket and its log are, while it runs."""
        assert self._directory is not None
        return self._directory

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return (self.directory / "server.out").read_text("utf-8", "replace")

    @property
    def url(self) -> str:
        """The URL for SQLAlchemy."""
        return f"postgresql+psycopg2://postgres@/postgres?host={self.directory}"

    def connect(self) -> psycopg2.extensions.connection:
        """Return a connection, the caller's to close."""
        return psycopg2.connect(
            host=str(self.directory), user="postgres", dbname="postgres"
        )

    def start(self) -> None:
        """Make an empty database and start the server on it."""
        # Not pytest's directory, which is for none but its own user.
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
            # Unlike su and sudo it is not there any more when the server runs.
            self._as_user = [
                *("setpriv", "--reuid", "postgres", "--regid", "postgres"),
                "--init-groups",
            ]
        data = self.directory / "data"
        subprocess.run(
            [
                *(*self._as_user, self._initdb, "--pgdata", str(data)),
                *("--username", "postgres", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            cwd=self.directory,
            check=True,
            capture_output=True,
        )
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "max_connections": 300,
            # It need not survive the test.
            "fsync": "off",
        }
        command = [*self._as_user, self._postgres, "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._server = Program(command, self.directory / "server.out")
        wait_for(self._answers, "PostgreSQL takes a connection")

    def _answers(self) -> bool:
        self.connect().close()
        return True

    def stop(self) -> None:
        """Stop it, whoever is connected, and remove its directory."""
        if self._server is not None:
            self._server.process.send_signal(signal.SIGINT)
            self._server.stop(20)
            self._server = None
        if self._directory is not None:
            shutil.rmtree(self._directory)
            self._directory = None

    def __enter__(self) -> Postgres:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

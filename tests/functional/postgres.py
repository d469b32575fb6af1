# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL server for the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from tests.support.programs import Program, Server, need
from tests.support.wait import wait_for

#: Directory of Debian's PostgreSQL programs, with one subdirectory for each version.
DEBIAN = Path("/usr/lib/postgresql")


class Postgres(Server):
    """A private database server that listens on a socket in its own directory.

    PostgreSQL refuses to run as root. When root runs the tests, the server runs as the
    user ``postgres``, which Debian's package creates.
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
        """Directory of the data, the socket and the log while the server runs."""
        assert self._directory is not None
        return self._directory

    @property
    def log(self) -> str:
        """Output of the server so far."""
        return (self.directory / "server.out").read_text("utf-8", "replace")

    @property
    def url(self) -> str:
        """URL of the database for SQLAlchemy."""
        return f"postgresql+psycopg2://postgres@/postgres?host={self.directory}"

    def connect(self) -> psycopg2.extensions.connection:
        """Return a new connection, which the caller closes."""
        return psycopg2.connect(
            host=str(self.directory), user="postgres", dbname="postgres"
        )

    def start(self) -> None:
        """Create an empty database and start the server on it."""
        # Only its own user can read pytest's temporary directory.
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
            # Unlike su and sudo, setpriv replaces itself with the server.
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
            # The data need not survive the test.
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
        """Disconnect all clients, stop the server and remove its directory."""
        if self._server is not None:
            self._server.process.send_signal(signal.SIGINT)
            self._server.stop(20)
            self._server = None
        if self._directory is not None:
            shutil.rmtree(self._directory)
            self._directory = None

# SPDX-License-Identifier: Apache-2.0
"""What a SQLite file needs to carry all of Manila's services in one process.

Manila is made for MySQL and PostgreSQL, and two of its habits lock up a SQLite
file.  Both are met where SQLAlchemy provides for it, by an engine plugin that
the connection's URL names (``?plugin=aspects_demo``); neither Manila nor oslo.db
is touched.

* A transaction that begins with reading and goes on to write fails at once with
  "database is locked" when another thread has written meanwhile, whatever the
  time-out.  One that takes the write lock when it begins waits for its turn.
* ``share_instance_delete`` opens a second, independent transaction in the
  middle of the first, and quotas are reserved in the same way.  On a file the
  second would wait for the first, and the first for it: so a thread has one
  connection, and a transaction within a transaction is a savepoint.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event, pool
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, CreateEnginePlugin, Engine

PLUGIN = "aspects_demo"

#: More than there are threads: the pool closes connections beyond it, whether
#: they are in use or not.
CONNECTIONS = 1000


class NestingConnection(sqlite3.Connection):
    """A connection whose transactions may lie one within another."""

    _depth = 0

    def begin(self) -> None:
        """Begin a transaction, or a savepoint within the one that is open."""
        self.execute(f"SAVEPOINT s{self._depth}" if self._depth else "BEGIN IMMEDIATE")
        self._depth += 1

    def commit(self) -> None:
        """Commit what was begun last."""
        if self._depth > 1:
            self.execute(f"RELEASE s{self._depth - 1}")
        else:
            super().commit()
        self._depth = max(self._depth - 1, 0)

    def rollback(self) -> None:
        """Take back what was begun last."""
        if self._depth > 1:
            self.execute(f"ROLLBACK TO s{self._depth - 1}")
            self.execute(f"RELEASE s{self._depth - 1}")
        else:
            super().rollback()
        self._depth = max(self._depth - 1, 0)


class OneConnectionPerThread(CreateEnginePlugin):  # type: ignore[misc]
    """Make an engine whose transactions take turns, one connection a thread."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        kwargs["poolclass"] = pool.SingletonThreadPool
        kwargs["pool_size"] = CONNECTIONS
        kwargs["connect_args"] = {
            **kwargs.get("connect_args", {}),
            "factory": NestingConnection,
            # The connections of all threads are closed by the last one.
            "check_same_thread": False,
        }

    def update_url(self, url: URL) -> URL:
        """Leave the URL as it is; SQLAlchemy itself drops the plugin's name."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Listen before oslo.db does, which emits a plain BEGIN otherwise."""
        event.listen(engine, "begin", _begin)


def _begin(connection: Any) -> None:
    connection.connection.driver_connection.begin()
    # The mark by which oslo.db knows not to; it removes it at the end.
    connection.info["in_transaction"] = True


def url_of(file: object) -> str:
    """Return the URL for Manila's ``[database] connection``.

    :param file: where the database lies
    """
    plugins.register(PLUGIN, __name__, OneConnectionPerThread.__name__)
    return f"sqlite:///{file}?timeout=60&plugin={PLUGIN}"

# SPDX-License-Identifier: Apache-2.0
"""Run all of Manila's services in one process on a SQLite file.

Manila is made for MySQL and PostgreSQL. Two of its habits would block a SQLite file.
An engine plugin of SQLAlchemy, which the connection's URL names
(``?plugin=aspects_demo``), handles both without a change to Manila or oslo.db.

* A transaction that reads first and writes later fails at once with "database is
  locked" if another thread has written in between, whatever the timeout. So every
  transaction takes the write lock when it begins, and waits for it.
* ``share_instance_delete`` opens a second, independent transaction within the first,
  and so does the reservation of quotas. On a SQLite file the two would wait for each
  other. So each thread has one connection, and an inner transaction is a savepoint.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event, pool
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, CreateEnginePlugin, Engine

PLUGIN = "aspects_demo"

#: The size of the pool, above the number of threads: the pool closes connections
#: beyond its size even if they are in use.
CONNECTIONS = 1000


class NestingConnection(sqlite3.Connection):
    """A connection whose transactions may be nested."""

    _depth = 0

    def begin(self) -> None:
        """Begin a transaction, or a savepoint within the open one."""
        self.execute(f"SAVEPOINT s{self._depth}" if self._depth else "BEGIN IMMEDIATE")
        self._depth += 1

    def commit(self) -> None:
        """Commit the innermost transaction."""
        if self._depth > 1:
            self.execute(f"RELEASE s{self._depth - 1}")
        else:
            super().commit()
        self._depth = max(self._depth - 1, 0)

    def rollback(self) -> None:
        """Roll back the innermost transaction."""
        if self._depth > 1:
            self.execute(f"ROLLBACK TO s{self._depth - 1}")
            self.execute(f"RELEASE s{self._depth - 1}")
        else:
            super().rollback()
        self._depth = max(self._depth - 1, 0)


class OneConnectionPerThread(CreateEnginePlugin):  # type: ignore[misc]
    """Make an engine with one connection per thread and one transaction at a time."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        kwargs["poolclass"] = pool.SingletonThreadPool
        kwargs["pool_size"] = CONNECTIONS
        kwargs["connect_args"] = {
            **kwargs.get("connect_args", {}),
            "factory": NestingConnection,
            # One thread closes the connections of all threads at the end.
            "check_same_thread": False,
        }

    def update_url(self, url: URL) -> URL:
        """Return the URL unchanged; SQLAlchemy itself removes the plugin's name."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Register the listener before oslo.db's, which would emit a plain BEGIN."""
        event.listen(engine, "begin", _begin)


def _begin(connection: Any) -> None:
    connection.connection.driver_connection.begin()
    # oslo.db emits no BEGIN if this key is set, and removes it with the transaction.
    connection.info["in_transaction"] = True


def url_of(file: object) -> str:
    """Return the URL for Manila's ``[database] connection``.

    :param file: the path of the database
    """
    plugins.register(PLUGIN, __name__, OneConnectionPerThread.__name__)
    return f"sqlite:///{file}?timeout=60&plugin={PLUGIN}"

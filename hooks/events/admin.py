# SPDX-License-Identifier: Apache-2.0
"""Read the files of an outbox, beside the processes that write and deliver."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hooks.events.store import FILE, OVERFLOW_FILE, VERSION, stat_of

#: Seconds to wait for a file that another program has locked.
BUSY_TIMEOUT = 10.0

#: Number of rows in one query, which keeps SQLite from reusing its log meanwhile.
READ_SIZE = 10_000

#: Whether an event waits for delivery, or is a dead letter.
State = Literal["waiting", "dead"]

_TABLES: dict[State, str] = {"waiting": "queue_waiting", "dead": "queue_dead_letters"}

# A row that another program wrote may be anything.
_ID = (
    "CASE WHEN json_valid(CAST(data AS TEXT))"
    " THEN json_extract(CAST(data AS TEXT), '$.id') END"
)

_SELECT = "SELECT _id, CAST(key AS BLOB), CAST(data AS BLOB), timestamp"

#: Receives a status message before a slow step.
Progress = Callable[[str], None]


class OutboxError(Exception):
    """Raised when a file cannot be used. Its text is one line and names the file."""


class Totals(NamedTuple):
    """The numbers of events in an outbox."""

    waiting: int = 0
    """events that wait for delivery"""
    oldest: float | None = None
    """when the first of these was written, in seconds since the epoch"""
    dead: int = 0
    """dead letters"""
    ever_waiting: int = 0
    """events that were ever written, including retried dead letters"""
    ever_dead: int = 0
    """events that ever became dead letters"""

    @property
    def delivered(self) -> int:
        """The number of events that were delivered since the files were created."""
        return self.ever_waiting - self.ever_dead - self.waiting


class Entry(NamedTuple):
    """An event in an outbox, or a row that is not an event."""

    state: State
    file: Path
    row: int
    key: str
    written: float | None
    """when it was written, in seconds since the epoch; None if that is not known"""
    reason: str
    """why it is a dead letter; empty if it waits"""
    data: bytes

    @property
    def event(self) -> dict[str, Any] | None:
        """The event; None for a row that is not an event."""
        try:
            event = json.loads(self.data, parse_constant=_reject)
        except (ValueError, RecursionError):
            return None
        return event if isinstance(event, dict) else None

    @property
    def id(self) -> str:
        """The event's ID, or one that identifies the row, such as ``events-dead-7``."""
        id_ = (self.event or {}).get("id")
        if isinstance(id_, str) and id_:
            return id_
        return f"{self.file.stem}-{self.state}-{self.row}"


class OutboxFiles:
    """The files of an outbox, which other processes use at the same time.

    Reading never creates a file, and each query is short, so deliveries continue.

    :param path: the directory, which may be missing
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # In the order in which events are delivered.
        self._files = (path / FILE, path / OVERFLOW_FILE)

    def totals(self) -> Totals:
        """Return the numbers of events.

        :raises OutboxError: if a file cannot be read
        """
        found = []
        for file in self._files:
            with _reading(file) as connection:
                found.append(_totals(connection) if connection else Totals())
        oldest = [totals.oldest for totals in found if totals.oldest is not None]
        return Totals(
            sum(totals.waiting for totals in found),
            min(oldest, default=None),
            sum(totals.dead for totals in found),
            sum(totals.ever_waiting for totals in found),
            sum(totals.ever_dead for totals in found),
        )

    def entries(self, state: State, limit: int) -> list[Entry]:
        """Return the first events of a state.

        :param state: the state
        :param limit: the maximum number of events
        :raises OutboxError: if a file cannot be read
        """
        found: list[Entry] = []
        for file in self._files:
            last = 0
            while count := min(limit - len(found), READ_SIZE):
                where = f"_id > {last} ORDER BY _id LIMIT {count}"
                with _reading(file) as connection:
                    read = _entries(connection, file, state, where)
                found += read
                if len(read) < count:
                    break
                last = read[-1].row
        return found

    def find(self, id_: str, progress: Progress = lambda text: None) -> list[Entry]:
        """Return the events with an ID: usually one, or none.

        :param id_: the ID, as :attr:`Entry.id` has it
        :param progress: called with a status message before slow steps
        :raises OutboxError: if a file cannot be read
        """
        found: list[Entry] = []
        for file in self._files:
            for state in _TABLES:
                for rows, text in _ranges(file, state):
                    progress(f"searching {self.path.name}: {text}")
                    found += self._with_id(file, state, rows, id_)
        return found

    def _with_id(
        self, file: Path, state: State, rows: str, id_: str
    ) -> Iterator[Entry]:
        prefix, _, row = id_.rpartition("-")
        where, values = f"{_ID} = ?", (id_,)
        if prefix == f"{file.stem}-{state}" and row.isdecimal():
            where, values = "_id = CAST(? AS INTEGER)", (row,)
        with _reading(file) as connection:
            entries = _entries(connection, file, state, f"{rows} AND {where}", *values)
        yield from (entry for entry in entries if entry.id == id_)


def _ranges(file: Path, state: State) -> Iterator[tuple[str, str]]:
    """Yield conditions that split a table, each with a text for its progress."""
    with _reading(file) as connection:
        if connection is None:
            return
        first, last = connection.execute(
            f"SELECT min(_id), max(_id) FROM {_TABLES[state]}"
        ).fetchone()
    if first is None:
        return
    for row in range(first, last + 1, READ_SIZE):
        text = f"{row - first:,} of {last - first + 1:,} events"
        yield f"_id >= {row} AND _id < {row + READ_SIZE}", text


def _totals(connection: sqlite3.Connection) -> Totals:
    # One statement, so that the numbers are those of one moment.
    waiting, oldest, dead, ever_waiting, ever_dead = connection.execute(
        "SELECT (SELECT count(*) FROM queue_waiting),"
        " (SELECT timestamp FROM queue_waiting ORDER BY _id LIMIT 1),"
        " (SELECT count(*) FROM queue_dead_letters),"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'queue_waiting'),"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'queue_dead_letters')"
    ).fetchone()
    return Totals(waiting, _time(oldest), dead, ever_waiting or 0, ever_dead or 0)


def _entries(
    connection: sqlite3.Connection | None,
    file: Path,
    state: State,
    where: str,
    *values: Any,
) -> list[Entry]:
    if connection is None:
        return []
    reason = "CAST(reason AS BLOB)" if state == "dead" else "NULL"
    query = f"{_SELECT}, {reason} FROM {_TABLES[state]} WHERE {where}"
    return [
        Entry(state, file, row, _text(key), _time(written), _text(reason), data or b"")
        for row, key, data, written, reason in connection.execute(query, values)
    ]


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")


def _reject(constant: str) -> None:
    # SQLite does not take NaN for JSON either.
    raise ValueError(constant)


def _time(written: Any) -> float | None:
    return float(written) if isinstance(written, (int, float)) else None


# -- connections ---------------------------------------------------------------------


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a file to read it; yield None if it does not exist or has no tables.

    :raises OutboxError: if it cannot be read
    """
    with _one_line(file):
        if stat_of(file) is None:
            yield None
            return
        # SQLite would create its log even to read. Without a log, the file is complete,
        # and no process uses it.
        options = "immutable=1"
        if stat_of(f"{file}-wal"):
            has_index = stat_of(f"{file}-shm")
            options = "mode=ro" if has_index else "mode=ro&readonly_shm=1"
        with _opened(file, options) as connection:
            yield connection if _has_tables(file, connection) else None


@contextlib.contextmanager
def _opened(file: Path, options: str) -> Iterator[sqlite3.Connection]:
    if not os.access(file, os.R_OK):
        raise PermissionError(f"{file}: permission denied; run it as Manila's user")
    uri = f"file:{urllib.parse.quote(str(file.absolute()))}?{options}"
    with contextlib.closing(
        sqlite3.connect(uri, BUSY_TIMEOUT, isolation_level=None, uri=True)
    ) as connection:
        yield connection


def _has_tables(file: Path, connection: sqlite3.Connection) -> bool:
    """Return whether a file has its tables; it is empty while it is being created.

    :raises OutboxError: if another version wrote it
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and version != VERSION:
        advice = "upgrade manila-aspects" if version > VERSION else "start the service"
        raise OutboxError(
            f"{file}: another version wrote this file (schema {version}, expected "
            f"{VERSION}); {advice}"
        )
    return bool(tables)


@contextlib.contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Convert errors of a file to :class:`OutboxError`."""
    try:
        yield
    except sqlite3.Error as error:
        if "lock" in str(error):
            raise OutboxError(
                f"{file}: another program has locked the file for {BUSY_TIMEOUT:g} s; "
                "end its transaction"
            ) from error
        if "unable to open" in str(error) and not stat_of(f"{file}-shm"):
            raise OutboxError(
                f"{file}-shm: the index of SQLite's log is missing; start the service, "
                "which creates it again"
            ) from error
        raise OutboxError(f"{file}: {error}") from error
    except OSError as error:
        text = f"{file}: {error.strerror}" if error.strerror else str(error)
        raise OutboxError(text) from error

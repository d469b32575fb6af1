# SPDX-License-Identifier: Apache-2.0
"""Read and change the files of an outbox, beside the processes that deliver."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hooks.events.store import FILE, OVERFLOW_FILE, VERSION, inode_of, stat_of

#: Seconds to wait for a file that another program has locked.
BUSY_TIMEOUT = 10.0

#: Number of rows in one query, which keeps SQLite from reusing its log meanwhile.
READ_SIZE = 10_000

#: Number of dead letters in one transaction, and the pause in seconds between two, in
#: which other processes write.
CHANGE_SIZE, CHANGE_PAUSE = 1000, 0.02

#: Whether an event waits for delivery, or is a dead letter.
State = Literal["waiting", "dead"]

_TABLES: dict[State, str] = {"waiting": "queue_waiting", "dead": "queue_dead_letters"}

# A row that another program wrote may be anything.
_ID = (
    "CASE WHEN json_valid(CAST(data AS TEXT))"
    " THEN json_extract(CAST(data AS TEXT), '$.id') END"
)

# The new rows are behind all others, where a process that delivers looks for them.
_RETRY = (
    "INSERT INTO queue_waiting (key, data, timestamp)"
    " SELECT key, data, timestamp FROM queue_dead_letters"
    " WHERE _id IN (SELECT value FROM json_each(?)) ORDER BY _id"
)

_DISCARD = (
    "DELETE FROM queue_dead_letters WHERE _id IN (SELECT value FROM json_each(?))"
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
    inode: tuple[int, int] | None
    """the identity of the file, which may be replaced by another one"""
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

    Reading never creates a file. Each query and each transaction is short, and only
    dead letters are removed, so deliveries continue.

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

    def find(
        self,
        ids: Collection[str],
        states: Iterable[State] = ("waiting", "dead"),
        progress: Progress = lambda text: None,
    ) -> list[Entry]:
        """Return the events with some IDs.

        :param ids: the IDs, as :attr:`Entry.id` has them
        :param states: the states to search
        :param progress: called with a status message before slow steps
        :raises OutboxError: if a file cannot be read
        """
        # The ID of a row that is not an event ends with its number, of 64 bits.
        numbers = [id_.rpartition("-")[2] for id_ in ids]
        rows = [int(text) for text in numbers if text.isdecimal() and len(text) < 19]
        values = (json.dumps([*ids]), json.dumps(rows))
        where = (
            f"({_ID} IN (SELECT value FROM json_each(?))"
            " OR _id IN (SELECT value FROM json_each(?)))"
        )
        found: list[Entry] = []
        for state in states:
            for file in self._files:
                for part, text in _parts(file, state):
                    progress(f"searching {self.path.name}: {text}")
                    with _reading(file) as connection:
                        condition = f"{part} AND {where}"
                        found += _entries(connection, file, state, condition, *values)
        return [entry for entry in found if entry.id in ids]

    def retry(
        self,
        entries: Iterable[Entry] | None = None,
        progress: Progress = lambda text: None,
    ) -> int:
        """Make dead letters wait for delivery again, behind the events that wait.

        :param entries: the dead letters; None for all
        :param progress: called with a status message before slow steps
        :return: the number of dead letters that were there
        :raises OutboxError: if a file cannot be changed
        """
        return self._change(entries, (_RETRY, _DISCARD), progress)

    def discard(
        self,
        entries: Iterable[Entry] | None = None,
        progress: Progress = lambda text: None,
    ) -> int:
        """Delete dead letters.

        :param entries: the dead letters; None for all
        :param progress: called with a status message before slow steps
        :return: the number of dead letters that were there
        :raises OutboxError: if a file cannot be changed
        """
        return self._change(entries, (_DISCARD,), progress)

    def _change(
        self,
        entries: Iterable[Entry] | None,
        statements: Sequence[str],
        progress: Progress,
    ) -> int:
        """Run statements on dead letters, the last of which deletes them."""
        chosen = None if entries is None else [*entries]
        changed = 0
        for file in self._files:
            here = chosen and [entry for entry in chosen if entry.file == file]
            if here != []:
                for text, count in _change_rows(file, here, statements):
                    progress(f"{self.path.name}: {text}")
                    changed += count
        return changed


def _change_rows(
    file: Path, entries: list[Entry] | None, statements: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """Change dead letters, and yield a text and a number for each batch of them.

    :param entries: the dead letters; None for all
    """
    with _writing(file) as connection:
        if connection is None:
            return
        if entries is None:
            opened = inode_of(stat_of(file))
            # Events that become dead letters again meanwhile are not among them.
            query = "SELECT _id FROM queue_dead_letters ORDER BY _id"
            rows = [row for (row,) in connection.execute(query)]
        else:
            # Rows of another file have the same numbers.
            opened = entries[0].inode
            rows = [entry.row for entry in entries]
        for first in range(0, len(rows), CHANGE_SIZE):
            if first:
                time.sleep(CHANGE_PAUSE)
            batch = rows[first : first + CHANGE_SIZE]
            connection.execute("BEGIN IMMEDIATE")
            if inode_of(stat_of(file)) != opened:
                raise OutboxError(f"{file}: the file was replaced; try again")
            for statement in statements:
                cursor = connection.execute(statement, (json.dumps(batch),))
            connection.execute("COMMIT")
            text = f"{first + len(batch):,} of {len(rows):,} dead letters"
            yield text, cursor.rowcount


def _parts(file: Path, state: State) -> Iterator[tuple[str, str]]:
    """Yield conditions that split a table, each with a text for its progress."""
    query = (
        f"SELECT max(_id), count(*) FROM (SELECT _id FROM {_TABLES[state]}"
        " WHERE _id > ? ORDER BY _id LIMIT ?)"
    )
    first, searched, count = 0, 0, READ_SIZE
    while count == READ_SIZE:
        with _reading(file) as connection:
            if connection is None:
                return
            last, count = connection.execute(query, (first, READ_SIZE)).fetchone()
        if count:
            yield f"_id > {first} AND _id <= {last}", f"{searched:,} events"
            first, searched = last, searched + count


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
    inode = inode_of(stat_of(file))
    return [
        Entry(
            *(state, file, inode, row, _text(key), _time(written), _text(reason)),
            data or b"",
        )
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
def _writing(file: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a file to change it; yield None if it does not exist or has no tables.

    :raises OutboxError: if it cannot be changed
    """
    with _one_line(file):
        if stat_of(file) is None:
            yield None
            return
        with _opened(file, "mode=rw", os.R_OK | os.W_OK) as connection:
            # A power loss must not undo what the command reports.
            connection.execute("PRAGMA synchronous = FULL")
            yield connection if _has_tables(file, connection) else None


@contextlib.contextmanager
def _opened(
    file: Path, options: str, access: int = os.R_OK
) -> Iterator[sqlite3.Connection]:
    if not os.access(file, access):
        raise PermissionError
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
    except PermissionError as error:
        raise OutboxError(
            f"{file}: permission denied; run the command as Manila's user"
        ) from error
    except OSError as error:
        raise OutboxError(f"{file}: {error.strerror}") from error

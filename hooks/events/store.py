# SPDX-License-Identifier: Apache-2.0
"""A SQLite file of events, which may be locked, damaged or removed while in use."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import math
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from oslo_log import log

LOG = log.getLogger(__name__)

#: Names of the files in the directory of an outbox. The second one has the events that
#: were written while another program had locked the first one.
FILE, OVERFLOW_FILE = "events.sqlite", "overflow.sqlite"

#: Seconds between attempts to use a file that another program has locked.
LOCK_INTERVAL = 0.01

#: Seconds before deletes that failed, for example on a full disk, are repeated.
DELETE_INTERVAL = 1.0

#: Number of events that are deleted in one transaction, which callers wait for.
DELETE_SIZE = 1000

#: Maximum size of SQLite's log in bytes. An open transaction of another program, even
#: one that only reads, keeps SQLite from reusing its log.
LARGEST_LOG = 32 * 1024 * 1024

#: Size in bytes of the largest file that is checked whole after another program has
#: changed it. A larger one is only opened again.
LARGEST_CHECK = 64 * 1024 * 1024

#: Seconds of such checks in a process, and the share of its time that they may take
#: beyond that: other processes change the file all the time.
CHECK_SECONDS, CHECK_SHARE = 1.0, 0.02

#: Seconds that a fork waits for writes of this process.
FORK_TIMEOUT = 2.0

_SUFFIXES = ("", "-wal", "-shm")

_COLUMNS = "_id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, timestamp FLOAT"

# One statement for a batch, so that the writer waits only once for the interpreter.
_INSERT = (
    "INSERT INTO queue_waiting (key, data, timestamp)"
    " SELECT json_extract(value, '$[0]'),"
    " CAST(json_extract(value, '$[1]') AS BLOB), ?2 FROM json_each(?1)"
    " ORDER BY json_each.key"
)

# Other programs may have written text that is not UTF-8.
_SELECT = "SELECT _id, CAST(key AS BLOB), CAST(data AS BLOB), timestamp"

_Answer = TypeVar("_Answer")
_Object = TypeVar("_Object")

#: The place of an event in a file: the generation of the file, and the row's ID. A
#: removed file is replaced by one of the next generation.
Position = tuple[int, int]

#: The position before all events.
START: Position = (0, 0)


class StoredEvent(NamedTuple):
    """A row of a file."""

    store: EventStore
    position: Position
    key: bytes
    #: JSON as bytes; anything, if another program wrote the row.
    data: bytes | None
    #: When it was written, in seconds since the epoch; anything, as above.
    written: Any


class EventStore:
    """The events in one SQLite file, in the order in which they were written.

    The file is opened when it is first used. If it was removed, a new one is created.
    If it is damaged, it is renamed first. Any number of threads may append events, but
    only one may read and settle them.

    :param file: path of the file
    :param timeout: returns the seconds to wait while another program has locked it
    :param largest_log: maximum size of SQLite's log, in bytes
    """

    def __init__(
        self,
        file: Path,
        timeout: Callable[[], float],
        largest_log: float = LARGEST_LOG,
    ) -> None:
        self.file = file
        self._largest_log = largest_log
        # SQLite keeps its log and an index of the log beside the file.
        self._files = [Path(f"{file}{suffix}") for suffix in _SUFFIXES]
        self._paths = [str(path) for path in self._files]
        self._timeout = timeout
        # Held while SQLite is in use. A fork waits for it.
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._synchronous = ""
        #: Device and inode of the file and of SQLite's files beside it.
        self._inodes: tuple[tuple[int, int] | None, ...] = ()
        #: Size and modification time of the file.
        self._stamp = (0, 0)
        #: When the next check of the contents is allowed, less :data:`CHECK_SECONDS`.
        self._checked_until = -math.inf
        self._generation = 0
        #: Position of each event that is settled but not deleted -> why to keep it as a
        #: dead letter; empty to delete it.
        self._settled: dict[Position, str] = {}
        self._next_delete = 0.0
        self._delete_failed = False
        #: Whether no query is possible in this process, as after a fork during a write.
        self.unusable = False
        _stores[id(self)] = self

    # -- used by the outbox ----------------------------------------------------------

    def open(self) -> None:
        """Open the file, and create it if it is missing.

        :raises OSError: if the directory or the file cannot be created
        :raises TimeoutError: if the file stays locked
        :raises sqlite3.Error: if the file cannot be used
        """
        self._use(lambda connection: None, self._timeout())

    def append(self, entries: list[str], timeout: float | None = None) -> None:
        """Write events, and return when they are on disk.

        :param entries: the key and the event, as an array in JSON
        :param timeout: seconds to wait while the file is locked; None for the option
        :raises TimeoutError: if the file stays locked
        :raises OSError, sqlite3.Error: if the file cannot be written
        """
        parameters = (f"[{','.join(entries)}]", time.time())

        def insert(connection: sqlite3.Connection) -> None:
            self._limit_log(connection)
            self._synchronize(connection, "FULL")
            connection.execute(_INSERT, parameters)

        self._use(insert, self._timeout() if timeout is None else timeout)

    def read(self, after: Position, count: int) -> list[StoredEvent]:
        """Return the oldest events behind a position.

        :param after: the position
        :param count: the maximum number of events
        :raises OSError, sqlite3.Error: if the file cannot be read
        """

        return self._read("_id > ? ORDER BY _id LIMIT ?", after, count)

    def read_key(
        self, key: bytes, after: Position, until: Position, count: int
    ) -> list[StoredEvent]:
        """Return the oldest events of a key between two positions.

        :param key: the key
        :param after: the first position, whose event is left out
        :param until: the last position
        :param count: the maximum number of events
        :raises OSError, sqlite3.Error: if the file cannot be read
        """

        where = "key = CAST(? AS TEXT) AND _id > ? AND _id <= ? ORDER BY _id LIMIT ?"
        return self._read(where, key, after, until, count)

    def _read(self, where: str, *values: Position | bytes | int) -> list[StoredEvent]:
        query = f"{_SELECT} FROM queue_waiting WHERE {where}"

        def select(connection: sqlite3.Connection) -> list[StoredEvent]:
            # Another thread may have replaced the file until now.
            found = [self._id(v) if isinstance(v, tuple) else v for v in values]
            return [
                StoredEvent(self, (self._generation, id_), key, data, written)
                for id_, key, data, written in connection.execute(query, found)
            ]

        return self._use(select, self._timeout())

    def _id(self, position: Position) -> int:
        """Return the ID of a row; 0, which no row has, if its file was replaced."""
        generation, id_ = position
        return id_ if generation == self._generation else 0

    def _ids(self, positions: Iterable[Position]) -> str:
        return json.dumps([self._id(position) for position in tuple(positions)])

    def settle(self, event: StoredEvent, reason: str = "") -> None:
        """Mark an event to be deleted.

        :param event: an event of this file
        :param reason: why to keep it as a dead letter; empty to delete it
        """
        self._settled[event.position] = reason

    def unsettle(self) -> None:
        """Forget which events are settled, so that they are delivered again."""
        self._settled = {}

    @property
    def undeleted(self) -> int:
        """The number of events that are settled but not deleted."""
        return len(self._settled)

    def delete_settled(self, timeout: float = 0) -> None:
        """Delete the settled events, or move them to the dead letters.

        A failure is logged. The events are then deleted with later ones. If they are
        delivered again after a crash, they are repeats.

        :param timeout: seconds to wait while other programs have locked the file; 0
            does not try at all soon after a failure
        """
        if not self._settled:
            return
        if not timeout and time.monotonic() < self._next_delete:
            return
        try:
            while self._settled:
                self._use(self._delete, timeout)
        except TimeoutError:
            # A lock is normal if several processes write to the file.
            self._next_delete = time.monotonic() + DELETE_INTERVAL
        except (OSError, sqlite3.Error) as error:
            self._next_delete = time.monotonic() + DELETE_INTERVAL
            if not self._delete_failed:
                LOG.warning(
                    "Failed to delete delivered events from %(file)s, repeating it "
                    "later: %(type)s: %(error)s",
                    {"file": self.file, "type": type(error).__name__, "error": error},
                )
            self._delete_failed = True
            if "full" in str(error):
                self._discard()
        else:
            self._delete_failed = False

    def count(self) -> int | None:
        """Return the number of events that are not settled.

        :return: the number; None if the file cannot be read
        """
        return self._peek(self._count, 0)

    def is_empty(self) -> bool | None:
        """Return whether no event is left that is not settled.

        :return: whether there is none; None if the file cannot be read
        """

        def query(connection: sqlite3.Connection) -> bool:
            (found,) = connection.execute(
                "SELECT EXISTS (SELECT * FROM queue_waiting"
                " WHERE _id NOT IN (SELECT value FROM json_each(?)))",
                (self._ids(self._settled),),
            ).fetchone()
            return not found

        return self._peek(query, True)

    def oldest_age(self) -> float | None:
        """Return the time since the oldest event that is not settled was written.

        :return: seconds; 0 without an event; None if the file cannot be read
        """

        def query(connection: sqlite3.Connection) -> float:
            row = connection.execute(
                "SELECT max(0.0, ? - timestamp) FROM queue_waiting"
                " WHERE _id NOT IN (SELECT value FROM json_each(?))"
                " ORDER BY _id LIMIT 1",
                (time.time(), self._ids(self._settled)),
            ).fetchone()
            return float(row[0] or 0) if row else 0.0

        return self._peek(query, 0.0)

    def dead_letters(self) -> int | None:
        """Return the number of dead letters in the file.

        :return: the number; None if the file cannot be read
        """

        def query(connection: sqlite3.Connection) -> int:
            count = "SELECT count(*) FROM queue_dead_letters"
            return int(connection.execute(count).fetchone()[0])

        return self._peek(query, 0)

    def _peek(
        self, query: Callable[[sqlite3.Connection], _Answer], missing: _Answer
    ) -> _Answer | None:
        """Return the answer of a query, without a repair; None if it fails.

        :param missing: the answer if the file does not exist
        """
        if self.unusable or not self._lock.acquire(timeout=self._timeout()):
            return None
        try:
            if self._connection and self._inodes == _inodes(self._stats()):
                return query(self._connection)
            if not self.file.exists():
                return missing
            with contextlib.closing(self._connect()) as connection:
                return query(connection)
        except (OSError, sqlite3.Error):
            return None
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._disconnect()
            # The file may be replaced before that.
            self._begin_generation()

    # -- one transaction -------------------------------------------------------------

    def _use(
        self, action: Callable[[sqlite3.Connection], _Answer], timeout: float
    ) -> _Answer:
        """Run an action on the connection, and repair the file if necessary.

        SQLite's own wait would block all green threads, and each thread that needs the
        lock.

        :raises TimeoutError: if another program has locked the file for too long
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                with self._lock:
                    return self._attempt(action)
            except sqlite3.Error as error:
                if not _is_locked(error):
                    raise
                if time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"{self.file}: another program has locked the file for "
                        f"{timeout:g} s; end its transaction"
                    ) from error
            time.sleep(LOCK_INTERVAL)

    def _attempt(self, action: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        for repairable in (True, True, False):
            try:
                connection = self._connection or self._open()
                self._check_contents()
                changes = connection.total_changes
                answer = action(connection)
                # After the action, because it may have written to a removed file.
                self._check_presence(wrote=connection.total_changes != changes)
                return answer
            except sqlite3.Error as error:
                self._roll_back()
                if _is_locked(error) or not repairable or not self._repair(error):
                    raise
            except BaseException:
                # An open transaction would keep the file locked.
                self._roll_back()
                raise
        raise AssertionError("unreachable")

    def _delete(self, connection: sqlite3.Connection) -> None:
        """Delete a batch of settled events, and keep the dead letters among them."""
        batch = dict(itertools.islice(self._settled.items(), DELETE_SIZE))
        reasons = [
            (reason, self._id(position)) for position, reason in batch.items() if reason
        ]
        self._limit_log(connection)
        # A delete that a power loss undoes only repeats an event, so it does not wait
        # for the disk.
        self._synchronize(connection, "NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        if reasons:
            connection.executemany(
                "INSERT INTO queue_dead_letters (data, timestamp, key, reason)"
                " SELECT data, timestamp, key, ? FROM queue_waiting WHERE _id = ?",
                reasons,
            )
        connection.execute(
            "DELETE FROM queue_waiting WHERE _id IN (SELECT value FROM json_each(?))",
            (self._ids(batch),),
        )
        connection.execute("COMMIT")
        for position in batch:
            del self._settled[position]

    def _count(self, connection: sqlite3.Connection) -> int:
        count, settled = connection.execute(
            "SELECT (SELECT count(*) FROM queue_waiting), (SELECT count(*) FROM"
            " queue_waiting WHERE _id IN (SELECT value FROM json_each(?)))",
            (self._ids(self._settled),),
        ).fetchone()
        return int(count - settled)

    def _limit_log(self, connection: sqlite3.Connection) -> None:
        """Make SQLite reuse its log if it is too long.

        :raises sqlite3.OperationalError: if another program's transaction prevents it,
            with the error of a locked file
        """
        log = stat_of(self._paths[1])
        if log is None or log.st_size <= self._largest_log:
            return
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the log is locked")

    def _begin_generation(self) -> None:
        self._generation += 1
        self._settled = {}

    def _synchronize(self, connection: sqlite3.Connection, level: str) -> None:
        if self._synchronous != level:
            connection.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _roll_back(self) -> None:
        if self._connection and self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    # -- the file --------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.file, timeout=0, isolation_level=None, check_same_thread=False
        )

    def _open(self) -> sqlite3.Connection:
        if self.unusable:
            raise OSError(
                f"{self.file}: cannot be used in this process, because it was forked "
                "during a write; start the process without a fork"
            )
        prepare_directory(self.file.parent)
        with contextlib.suppress(FileExistsError):
            # SQLite gives its files beside this one the same mode. An existing file
            # must not be opened here: closing it would release SQLite's locks.
            descriptor = os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640)
            try:
                # Whatever the umask is.
                os.fchmod(descriptor, 0o640)
            finally:
                os.close(descriptor)
        for file in self._files:
            with contextlib.suppress(FileNotFoundError):
                restrict(file, 0o640)
        # If the file turns out to be damaged, this is the one to rename.
        self._inodes = _inodes(self._stats())
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            self._prepare_tables(connection)
        except BaseException:
            connection.close()
            raise
        stats = self._stats()
        self._connection, self._synchronous = connection, ""
        self._inodes, self._stamp = _inodes(stats), _stamp(stats[0])
        return connection

    def _prepare_tables(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OSError(
                f"{self.file}: a newer version wrote this file (schema {version}, "
                f"expected {VERSION}); upgrade manila-aspects"
            )
        (tables,) = connection.execute(
            "SELECT count(*) FROM sqlite_master"
            " WHERE name IN ('queue_waiting', 'queue_dead_letters')"
        ).fetchone()
        if version == VERSION and tables == 2:
            return
        connection.execute("BEGIN IMMEDIATE")
        # All steps, because a table may be missing.
        for upgrade in _UPGRADES:
            upgrade(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")

    def _stats(self) -> list[os.stat_result | None]:
        return [stat_of(path) for path in self._paths]

    def _check_contents(self) -> None:
        """Check a file that another program has changed.

        SQLite itself keeps using the pages in its cache.

        :raises sqlite3.DatabaseError: if the file is damaged
        """
        found = stat_of(self._paths[0])
        if found is None or _stamp(found) == self._stamp:
            return
        if not found.st_size:
            # SQLite would take it for a new file, and remove the log.
            raise sqlite3.DatabaseError("the file is empty")
        began = time.monotonic()
        if began < self._checked_until:
            return
        with contextlib.closing(self._connect()) as connection:
            if found.st_size <= LARGEST_CHECK:
                (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if problem != "ok":
                    raise sqlite3.DatabaseError(problem)
            else:
                connection.execute("SELECT max(_id) FROM queue_waiting").fetchone()
        self._stamp = _stamp(found)
        took = (time.monotonic() - began) / CHECK_SHARE
        allowed = began - CHECK_SECONDS / CHECK_SHARE
        self._checked_until = max(self._checked_until, allowed) + took

    def _check_presence(self, wrote: bool) -> None:
        """Check that the files which are open are those in the directory.

        :param wrote: whether this process has just written, and so may have changed the
            file itself, by a checkpoint
        :raises sqlite3.Error: if one was removed or replaced
        """
        stats = self._stats()
        if _inodes(stats) != self._inodes:
            raise _RemovedError(f"{self.file} was removed")
        if wrote:
            self._stamp = _stamp(stats[0])

    def _repair(self, error: sqlite3.Error) -> bool:
        """Make the next attempt open a usable file.

        :return: whether another attempt may succeed
        """
        if self._connection and _inodes(self._stats()) != self._inodes:
            self._replace_removed()
            return True
        # Subclasses report other conditions, such as a full disk.
        if type(error) is sqlite3.DatabaseError:
            self._put_aside(error)
            return True
        if "no such table" in str(error):
            self._disconnect()
            self._begin_generation()
            LOG.error(
                "A table of the outbox %(file)s was removed; creating it again",
                {"file": self.file},
            )
            return True
        return False

    def _replace_removed(self) -> None:
        connection, left = self._connection, None
        assert connection
        replaced = _inodes(self._stats())[0] != self._inodes[0]
        with contextlib.suppress(sqlite3.Error):
            if replaced:
                left = self._count(connection)
            else:
                # Only SQLite's log is gone. It is still open, so no event is lost.
                connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
                left = 0
        self._disconnect()
        if replaced or left is None:
            # IDs of the new file begin at 1 again.
            self._begin_generation()
        if left == 0:
            LOG.warning(
                "Files of the outbox %(file)s were removed while it was in use; no "
                "pending event is lost. Stop the service before you remove its files",
                {"file": self.file},
            )
        else:
            LOG.error(
                "The outbox %(file)s was removed while it was in use, with at most "
                "%(left)s pending event(s); continuing with a new file. Stop the "
                "service before you remove its files",
                {"file": self.file, "left": "?" if left is None else left},
            )

    def _put_aside(self, error: sqlite3.Error) -> None:
        if _inodes(self._stats())[0] != self._inodes[0]:
            # Another process has renamed it already.
            self._disconnect()
            self._begin_generation()
            return
        now = datetime.datetime.now(datetime.timezone.utc)
        name = f"{self.file.stem}.damaged-{now:%Y%m%dT%H%M%S.%fZ}{self.file.suffix}"
        # The file itself comes last: if a process creates a new one, SQLite deletes the
        # log that it finds beside it.
        for file, suffix in zip(self._files[::-1], _SUFFIXES[::-1], strict=True):
            with contextlib.suppress(FileNotFoundError):
                file.rename(file.with_name(f"{name}{suffix}"))
        self._disconnect()
        self._begin_generation()
        LOG.error(
            "The outbox %(file)s is damaged (%(error)s); it was renamed to %(name)s, "
            "and a new file is used. To recover its events, see 'Damaged file' in the "
            "documentation of durable delivery",
            {"file": self.file, "error": error, "name": name},
        )

    def _discard(self) -> None:
        """Remove a file without events, because SQLite needs space even to delete."""
        with self._lock, contextlib.suppress(OSError, sqlite3.Error):
            connection = self._connection
            if connection is None or _inodes(self._stats()) != self._inodes:
                return
            try:
                # Other processes wait, and then notice that the file was removed.
                connection.execute("BEGIN IMMEDIATE")
                dead_letters = connection.execute(
                    "SELECT EXISTS (SELECT * FROM queue_dead_letters)"
                ).fetchone()
                if (
                    dead_letters != (0,)
                    or any(self._settled.values())
                    or self._count(connection)
                ):
                    return
                # The file itself comes last, or this would remove the log of a new one.
                for path in self._paths[::-1]:
                    os.unlink(path)
            finally:
                self._roll_back()
            self._begin_generation()
            self._disconnect()
            LOG.warning(
                "Removed %(file)s to free disk space; all its events are delivered",
                {"file": self.file},
            )

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _leave_parent(self, idle: bool) -> None:
        """Give up the connection of the parent process after a fork.

        :param idle: whether no thread used SQLite during the fork
        """
        self._lock = threading.Lock()
        # The parent deletes what it has delivered.
        self._begin_generation()
        if idle:
            # The parent's locks are not inherited, so this changes nothing on disk.
            self._disconnect()
        else:
            # SQLite's mutexes may be locked, so that any use might block.
            _abandoned.append(self._connection)
            self._connection, self.unusable = None, True


def count(stores: Iterable[EventStore]) -> int | None:
    """Return the number of events in files that are not settled.

    :param stores: the files
    :return: the number; None if a file cannot be read
    """
    counts = [store.count() for store in stores]
    return None if None in counts else sum(number or 0 for number in counts)


# -- the tables ----------------------------------------------------------------------


def _create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of version 1."""
    for name in ("waiting", "dead_letters"):
        connection.execute(f"CREATE TABLE IF NOT EXISTS queue_{name} ({_COLUMNS})")
    _add_column(connection, "queue_dead_letters", "reason TEXT")


def _add_keys(connection: sqlite3.Connection) -> None:
    """Add the keys of version 2."""
    for table in ("queue_waiting", "queue_dead_letters"):
        if _add_column(connection, table, "key TEXT NOT NULL DEFAULT ''"):
            text = "CAST(data AS TEXT)"
            connection.execute(
                f"UPDATE {table} SET key = coalesce(json_extract({text}, '$.subject'),"
                f" json_extract({text}, '$.data.backend'), '')"
                f" WHERE json_valid({text})"
            )
    for name in ("waiting", "dead_letters"):
        # It counts the rows, too, since a count of the table would read all of them.
        connection.execute(
            f"CREATE INDEX IF NOT EXISTS queue_{name}_key ON queue_{name} (key)"
        )


def _add_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Add a column if it is missing, and return whether it was."""
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    missing = column.split()[0] not in [name for _, name, *_ in columns]
    if missing:
        connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    return missing


#: Steps from each version of the tables to the next one. Each changes nothing in a file
#: that has it already.
_UPGRADES = (_create_tables, _add_keys)

#: Version of the tables, in SQLite's ``user_version``.
VERSION = len(_UPGRADES)


# -- files ---------------------------------------------------------------------------


class _RemovedError(sqlite3.Error):
    """Raised when an open file was removed from its directory."""


def _is_locked(error: sqlite3.Error) -> bool:
    # Python 3.10 has no error codes.
    text = str(error)
    return isinstance(error, sqlite3.OperationalError) and (
        "is locked" in text or "locking protocol" in text
    )


def stat_of(path: str | Path) -> os.stat_result | None:
    """Return the status of a file; None if it does not exist.

    :param path: path of the file
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def inode_of(found: os.stat_result | None) -> tuple[int, int] | None:
    """Return the identity of a file: a new file of the same name has another one.

    :param found: the status of the file; None without one
    """
    return found and (found.st_dev, found.st_ino)


def _inodes(
    stats: list[os.stat_result | None],
) -> tuple[tuple[int, int] | None, ...]:
    return tuple(map(inode_of, stats))


def _stamp(file: os.stat_result | None) -> tuple[int, int]:
    return (file.st_size, file.st_mtime_ns) if file else (0, 0)


# -- modes -------------------------------------------------------------------------


def prepare_directory(path: Path) -> None:
    """Create a directory that only Manila's user and group can read.

    :param path: the directory, which may exist
    :raises OSError: if it cannot be created, or if other users can read it
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o750)
    restrict(path, 0o750)


def restrict(path: Path, mode: int) -> None:
    """Remove permissions of a file or directory.

    :param path: the file or directory
    :param mode: the permissions that it may keep
    :raises PermissionError: if other users keep access to it
    """
    current = stat.S_IMODE(os.stat(path).st_mode)
    if not current & 0o777 & ~mode:
        return
    try:
        os.chmod(path, current & (mode | 0o7000))
    except PermissionError as error:
        if current & 0o007:
            raise PermissionError(
                f"{path}: other users have access (mode {current:04o}), and the mode "
                f"cannot be changed; run chmod {mode:04o}"
            ) from error


# -- forks -------------------------------------------------------------------------

# A child process must find SQLite idle, or the locks inside it would stay locked.
_stores: weakref.WeakValueDictionary[int, EventStore] = weakref.WeakValueDictionary()
_held = threading.local()
_abandoned: list[sqlite3.Connection | None] = []


def alive(objects: weakref.WeakValueDictionary[int, _Object]) -> list[_Object]:
    """Return the objects of a registry that still exist.

    :param objects: the registry, to which another thread may add an object meanwhile
    """
    # This copies all references at once.
    found = [reference() for reference in objects.valuerefs()]
    return [item for item in found if item is not None]


def _before_fork() -> None:
    deadline = time.monotonic() + FORK_TIMEOUT
    _held.stores = []
    for store in alive(_stores):
        if store._lock.acquire(timeout=max(deadline - time.monotonic(), 0)):
            _held.stores.append(store)


def _after_fork_in_parent() -> None:
    for store in _held.stores:
        store._lock.release()
    _held.stores = []


def _after_fork_in_child() -> None:
    for store in alive(_stores):
        store._leave_parent(store in _held.stores)
    _held.stores = []


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)

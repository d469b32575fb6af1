# SPDX-License-Identifier: Apache-2.0
"""A SQLite file of events, which may be locked, damaged or removed while in use."""

from __future__ import annotations

import contextlib
import datetime
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from oslo_log import log

LOG = log.getLogger(__name__)

#: Version of the tables, in SQLite's ``user_version``.
VERSION = 1

#: Seconds between attempts to use a file that another program has locked.
LOCK_INTERVAL = 0.01

#: Seconds before deletes that failed, for example on a full disk, are repeated.
DELETE_INTERVAL = 1.0

#: Number of events that are deleted in one transaction, which callers wait for.
DELETE_SIZE = 1000

#: Size in bytes of the largest file that is checked whole after another program has
#: changed it. A larger one is only opened again.
LARGEST_CHECK = 64 * 1024 * 1024

#: Seconds that a fork waits for writes of this process.
FORK_TIMEOUT = 2.0

_SUFFIXES = ("", "-wal", "-shm")

_COLUMNS = "_id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, timestamp FLOAT"

_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS queue_waiting ({_COLUMNS})",
    f"CREATE TABLE IF NOT EXISTS queue_dead_letters ({_COLUMNS}, reason TEXT)",
    # Without it, counting the dead letters would read all of them.
    "CREATE INDEX IF NOT EXISTS queue_dead_letters_times"
    " ON queue_dead_letters (timestamp)",
)

# One statement for a batch, so that the writer waits only once for the interpreter.
_INSERT = (
    "INSERT INTO queue_waiting (data, timestamp)"
    " SELECT CAST(value AS BLOB), ?2 FROM json_each(?1) ORDER BY key"
)

_Answer = TypeVar("_Answer")
_Object = TypeVar("_Object")


class StoredEvent(NamedTuple):
    """A row of a file."""

    id: int
    #: JSON as bytes; anything, if another program wrote the row.
    data: bytes | None
    #: The file that the row is from: a removed file is replaced by a new one.
    generation: int


class _DeadLetter(NamedTuple):
    event: StoredEvent
    reason: str


class EventStore:
    """The events in one SQLite file, in the order in which they were written.

    The file is opened when it is first used. If it was removed, a new one is created.
    If it is damaged, it is renamed first. Any number of threads may append events, but
    only one may read and settle them.

    :param file: path of the file
    :param timeout: returns the seconds to wait while another program has locked it
    """

    def __init__(self, file: Path, timeout: Callable[[], float]) -> None:
        self.file = file
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
        self._generation = 0
        #: Generation and ID of the last event that was settled.
        self._settled = (0, 0)
        #: The same for the last event that was settled and deleted.
        self._deleted = (0, 0)
        self._dead_letters: list[_DeadLetter] = []
        self._next_delete = 0.0
        self._delete_failed = False
        self._forked = False
        _stores[id(self)] = self

    # -- used by the outbox ----------------------------------------------------------

    def open(self) -> None:
        """Open the file, and create it if it is missing.

        :raises OSError: if the directory or the file cannot be created
        :raises TimeoutError: if the file stays locked
        :raises sqlite3.Error: if the file cannot be used
        """
        self._use(lambda connection: None, self._timeout())

    def append(self, texts: list[str], timeout: float | None = None) -> None:
        """Write events, and return when they are on disk.

        :param texts: events in JSON
        :param timeout: seconds to wait while the file is locked; None for the option
        :raises TimeoutError: if the file stays locked
        :raises OSError, sqlite3.Error: if the file cannot be written
        """
        parameters = (f"[{','.join(texts)}]", time.time())

        def insert(connection: sqlite3.Connection) -> None:
            self._synchronize(connection, "FULL")
            connection.execute(_INSERT, parameters)

        self._use(insert, self._timeout() if timeout is None else timeout)

    def read(self, count: int) -> list[StoredEvent]:
        """Return the oldest events that are not settled.

        :param count: the maximum number of events
        :raises OSError, sqlite3.Error: if the file cannot be read
        """

        def select(connection: sqlite3.Connection) -> list[StoredEvent]:
            rows = connection.execute(
                "SELECT _id, CAST(data AS BLOB) FROM queue_waiting"
                " WHERE _id > ? ORDER BY _id LIMIT ?",
                (self._last_settled(), count),
            )
            return [StoredEvent(id_, data, self._generation) for id_, data in rows]

        return self._use(select, self._timeout())

    def settle(self, event: StoredEvent, reason: str = "") -> None:
        """Mark an event and those before it to be deleted.

        :param event: an event of :meth:`read`
        :param reason: why to keep it as a dead letter; empty to delete it
        """
        if reason:
            self._dead_letters.append(_DeadLetter(event, reason))
        self._settled = (event.generation, event.id)

    def delete_settled(self, wait: bool, timeout: float = 0) -> None:
        """Delete the settled events, or move them to the dead letters.

        A failure is logged. The events are then deleted with later ones. If they are
        delivered again after a crash, they are repeats.

        :param wait: whether to wait while other threads use the file
        :param timeout: seconds to wait while other programs have locked the file; 0
            does not try at all soon after a failure
        """
        if self._settled == self._deleted or (not wait and self._lock.locked()):
            return
        if not timeout and time.monotonic() < self._next_delete:
            return
        settled = self._settled
        try:
            more = self._use(self._delete, timeout)
            while more and wait:
                more = self._use(self._delete, timeout)
        except (OSError, sqlite3.Error) as error:
            self._next_delete = time.monotonic() + DELETE_INTERVAL
            # A lock is normal if several processes write to the file.
            if not self._delete_failed and not isinstance(error, TimeoutError):
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
            if not more:
                self._deleted = settled

    def count(self) -> int | None:
        """Return the number of events that are not settled.

        :return: the number; None if the file cannot be read
        """
        return self._peek(self._count, 0)

    def oldest_age(self) -> float | None:
        """Return the time since the oldest event that is not settled was written.

        :return: seconds; 0 without an event; None if the file cannot be read
        """

        def select(connection: sqlite3.Connection) -> float:
            row = connection.execute(
                "SELECT max(0.0, ? - timestamp) FROM queue_waiting"
                " WHERE _id > ? ORDER BY _id LIMIT 1",
                (time.time(), self._last_settled()),
            ).fetchone()
            return float(row[0] or 0) if row else 0.0

        return self._peek(select, 0.0)

    def dead_letters(self) -> int | None:
        """Return the number of dead letters in the file.

        :return: the number; None if the file cannot be read
        """

        def count(connection: sqlite3.Connection) -> int:
            query = "SELECT count(*) FROM queue_dead_letters"
            return int(connection.execute(query).fetchone()[0])

        return self._peek(count, 0)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._disconnect()
            # The file may be replaced before that.
            self._generation += 1

    def _peek(
        self, select: Callable[[sqlite3.Connection], _Answer], missing: _Answer
    ) -> _Answer | None:
        """Read the file as it is, without creating or repairing it.

        :param select: reads an open file
        :param missing: the answer if the file does not exist
        :return: the answer; None if the file cannot be read
        """
        if not self._lock.acquire(timeout=self._timeout()):
            return None
        try:
            if self._connection and self._inodes == _inodes(self._stats()):
                return select(self._connection)
            if not self.file.exists():
                return missing
            with contextlib.closing(self._connect()) as connection:
                return select(connection)
        except (OSError, sqlite3.Error):
            return None
        finally:
            self._lock.release()

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
                answer = action(connection)
                # After the action, because it may have written to a removed file.
                self._check_presence()
                return answer
            except sqlite3.Error as error:
                self._roll_back()
                if _is_locked(error) or not repairable or not self._repair(error):
                    raise
        raise AssertionError("unreachable")

    def _delete(self, connection: sqlite3.Connection) -> bool:
        """Delete a batch of settled events, and return whether there are more."""
        generation, settled = self._settled
        (first,) = connection.execute("SELECT min(_id) FROM queue_waiting").fetchone()
        if generation != self._generation or first is None or first > settled:
            self._dead_letters = []
            return False
        last = min(settled, first + DELETE_SIZE - 1)
        moved = [
            (letter.reason, letter.event.id)
            for letter in self._dead_letters
            if letter.event.generation == generation and letter.event.id <= last
        ]
        # A delete that a power loss undoes only repeats an event, so it does not wait
        # for the disk.
        self._synchronize(connection, "NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        if moved:
            connection.executemany(
                "INSERT INTO queue_dead_letters (data, timestamp, reason)"
                " SELECT data, timestamp, ? FROM queue_waiting WHERE _id = ?",
                moved,
            )
        connection.execute("DELETE FROM queue_waiting WHERE _id <= ?", (last,))
        connection.execute("COMMIT")
        if moved:
            self._dead_letters = [
                letter for letter in self._dead_letters if letter.event.id > last
            ]
        return bool(last < settled)

    def _count(self, connection: sqlite3.Connection) -> int:
        # The IDs have no gaps, so their range is the count. count(*) would read all
        # rows.
        first, last = connection.execute(
            "SELECT (SELECT min(_id) FROM queue_waiting),"
            " (SELECT max(_id) FROM queue_waiting)"
        ).fetchone()
        if first is None:
            return 0
        return int(last - max(first, self._last_settled() + 1) + 1)

    def _last_settled(self) -> int:
        """Return the ID of the last event of this file that was settled, or 0."""
        generation, settled = self._settled
        return settled if generation == self._generation else 0

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
        if self._forked:
            raise OSError(
                f"{self.file}: cannot be used in this process, because it was forked "
                "during a write; start the process without a fork"
            )
        prepare_directory(self.file.parent)
        with contextlib.suppress(FileExistsError):
            # SQLite gives its files beside this one the same mode. An existing file
            # must not be opened here: closing it would release SQLite's locks.
            os.close(os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640))
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
        for statement in _SCHEMA:
            connection.execute(statement)
        columns = connection.execute("PRAGMA table_info(queue_dead_letters)").fetchall()
        # Files without a version have the same tables, but no reasons.
        if "reason" not in [name for _, name, *_ in columns]:
            connection.execute("ALTER TABLE queue_dead_letters ADD COLUMN reason TEXT")
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
        with contextlib.closing(self._connect()) as connection:
            if found.st_size <= LARGEST_CHECK:
                (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if problem != "ok":
                    raise sqlite3.DatabaseError(problem)
            else:
                self._count(connection)
        self._stamp = _stamp(found)

    def _check_presence(self) -> None:
        """Check that the files which are open are those in the directory.

        :raises sqlite3.Error: if one was removed or replaced
        """
        stats = self._stats()
        if _inodes(stats) != self._inodes:
            raise _RemovedError(f"{self.file} was removed")
        # This process may have changed the file, by a checkpoint.
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
            self._generation += 1
            LOG.error(
                "A table of the outbox %(file)s was removed; creating it again",
                {"file": self.file},
            )
            return True
        return False

    def _replace_removed(self) -> None:
        connection, left = self._connection, None
        assert connection
        with contextlib.suppress(sqlite3.Error):
            if _inodes(self._stats())[0] == self._inodes[0]:
                # Only SQLite's log is gone. It is still open, so no event is lost.
                connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
                left = 0
            else:
                left = self._count(connection)
        self._disconnect()
        if left == 0:
            LOG.warning(
                "Files of the outbox %(file)s were removed while it was in use; no "
                "pending event is lost. Stop the service before you remove its files",
                {"file": self.file},
            )
        else:
            self._generation += 1
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
            return
        now = datetime.datetime.now(datetime.timezone.utc)
        name = f"{self.file.stem}.damaged-{now:%Y%m%dT%H%M%S.%fZ}{self.file.suffix}"
        for file, suffix in zip(self._files, _SUFFIXES, strict=True):
            with contextlib.suppress(FileNotFoundError):
                file.rename(file.with_name(f"{name}{suffix}"))
        self._disconnect()
        self._generation += 1
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
                    or self._dead_letters
                    or self._count(connection)
                ):
                    return
                for path in self._paths:
                    os.unlink(path)
            finally:
                self._roll_back()
            self._generation += 1
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
        if idle:
            # The parent's locks are not inherited, so this changes nothing on disk.
            self._disconnect()
        else:
            # SQLite's mutexes may be locked, so that any use might block.
            _abandoned.append(self._connection)
            self._connection, self._forked = None, True


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

# SPDX-License-Identifier: Apache-2.0
"""Append lines to a file that threads, processes and log rotation share."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator

from oslo_log import log

LOG = log.getLogger(__name__)

#: Seconds that a line waits for the lock. Then it is written without the lock.
LOCK_TIMEOUT = 1.0

#: Seconds between two attempts to get the lock, which is held for microseconds.
LOCK_INTERVAL = 0.001


def append(path: str, line: bytes, fsync: bool = False) -> None:
    """Append a line to a file.

    :param path: the file
    :param line: the line, with its line break
    :param fsync: whether to return only when the line is on the disk
    :raises OSError: if the line cannot be written, or the file is not a regular file
    """
    # The file is opened for each line, so that log rotation needs no signal.
    try:
        with contextlib.ExitStack() as stack:
            with _locked(f"{path}.lock"):
                file, size = stack.enter_context(_opened(path))
                if size and _ends_within_line(file, size):
                    line = b"\n" + line
                while line:
                    line = line[os.write(file, line) :]
            # Other lines need not wait for the disk.
            if fsync:
                os.fsync(file)
                if not size:
                    _fsync_directory(os.path.dirname(path) or ".")
    except OSError as error:
        # An error of a write does not name the file.
        error.filename = path
        raise


def _fsync_directory(path: str) -> None:
    """Write a directory to the disk, so that a new file in it lasts."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def _opened(path: str, create: int = os.O_CREAT) -> Iterator[tuple[int, int]]:
    """Open a regular file to append to it.

    :param path: the file
    :param create: 0 if the file must exist
    :return: its descriptor, which can also be read if the file's mode permits that, and
        its size
    :raises OSError: if it cannot be opened, or is not a regular file
    """
    # A FIFO without a reader would otherwise block, and so would a file that another
    # process has a lease on.
    flags = os.O_APPEND | os.O_NONBLOCK | create
    try:
        try:
            file = os.open(path, os.O_RDWR | flags, 0o640)
        except PermissionError:
            file = os.open(path, os.O_WRONLY | flags, 0o640)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        # A socket, a device without hardware, or a FIFO without a reader.
        raise _not_regular(path) from None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path)
        yield file, status.st_size
    finally:
        os.close(file)


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "not a regular file", path)


def _ends_within_line(file: int, size: int) -> bool:
    """Return whether a full disk or a crash has cut off the last line of a file."""
    try:
        return os.pread(file, 1, size - 1) != b"\n"
    except OSError:
        # The service may write the file but not read it.
        return False


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Exclude the other threads and processes that append lines.

    The lock is on a file of its own, which only the service's user can open. Anyone who
    can read the audit file could hold a lock on that one for as long as they like.

    A line is evidence, so it is written even without the lock: if the lock file cannot
    be created, or after a timeout. One write to the end of a file rarely mixes with
    another.

    :param path: the lock file
    """
    try:
        lock = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o600)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while not _try_lock(lock):
            if time.monotonic() >= deadline:
                LOG.warning(
                    "Wrote an audit line without the lock: another process has held "
                    "%(path)s for %(timeout)g s",
                    {"path": path, "timeout": LOCK_TIMEOUT},
                )
                break
            time.sleep(LOCK_INTERVAL)
        yield
    finally:
        # A child process that was forked meanwhile would keep the lock of a descriptor
        # that is only closed.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # The file system has no locks; see _locked().
        return True
    return True


def check_writable(path: str) -> None:
    """Check that a file can be appended to, without changing it.

    :param path: the file
    :raises OSError: if it cannot be appended to
    """
    try:
        with _opened(path, create=0):
            pass
    except FileNotFoundError:
        directory = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(directory):
            raise
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(
                errno.EACCES, os.strerror(errno.EACCES), path
            ) from None

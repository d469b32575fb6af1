# SPDX-License-Identifier: Apache-2.0
"""Audit log: one JSON line for each completed call."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from oslo_config import cfg
from oslo_log import log

from hooks.events.hook import EventHook

LOG = log.getLogger(__name__)

#: Seconds that a line waits for the lock. Then it is written without the lock.
LOCK_TIMEOUT = 1.0

#: Seconds between two attempts to get the lock, which is held for microseconds.
LOCK_INTERVAL = 0.001


class AuditHook(EventHook):
    """Append a JSON line to a file for each call, when the call is complete.

    A line has ``time`` (UTC), ``request_id``, ``project_id``, ``user_id``, ``backend``,
    ``host``, ``operation``, ``method``, the IDs of the share, snapshot or replica,
    ``outcome`` (``success``, ``pending``, ``partial``, ``failure`` or ``veto``) and
    ``duration`` in seconds (null if pre hooks are disabled). A failure or veto adds
    ``error_type`` and ``error``; one in the driver's result adds ``failed_items``.
    With ``audit_format = cadf``, a line is a CADF event. A line never contains access
    keys, passwords or tokens.

    The hook needs ``enable_post_hooks``, and ``enable_pre_hooks`` for durations. Put it
    first in ``hook_drivers``: a call that a hook before it vetoes has no line.

    :raises ValueError: if no file is configured, or the format needs a library that is
        not installed
    :raises OSError: if the file cannot be written, or is not a regular file
    """

    #: Empty: the write is deferred, but the line is made in the caller's thread.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("post", "error")
    may_veto: ClassVar = False
    required_methods: ClassVar = ("post",)

    options = (
        cfg.StrOpt(
            "audit_log_path",
            mutable=True,
            help="Path of the file that audit lines are appended to.",
        ),
        cfg.StrOpt(
            "audit_format",
            default="json",
            mutable=True,
            choices=[
                ("json", "the fields that every event of this project has"),
                ("cadf", "CADF events; requires pycadf, from the extra audit"),
            ],
            help="Format of each line.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        path = self.get_config_option("audit_log_path")
        if not path:
            raise ValueError("audit_log_path is not set")
        # A wrong path must fail the start-up, not the first call.
        _check_writable(path)
        if self.get_config_option("audit_format") == "cadf":
            try:
                importlib.import_module("hooks.events.cadf")
            except ImportError as error:
                raise ValueError(
                    f"audit_format = cadf: {error}; "
                    "run pip install 'manila-aspects[audit]'"
                ) from error

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> float:
        return time.monotonic()

    def report(self, context: Any, event: dict[str, Any]) -> None:
        """Ignore ticks: the audit log has calls only."""

    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        data = event["data"]
        if self.get_config_option("audit_format") == "cadf":
            # Only this format needs the library that this imports.
            from hooks.events import cadf

            data = cadf.event_of(data)
        line = json.dumps(data).encode() + b"\n"
        if self.dispatcher:
            self.dispatcher.put(self, kind, operation, self._append, line)
        else:
            self._append(line)

    def _append(self, line: bytes) -> None:
        # The file is opened for each line, so that log rotation needs no signal.
        path = self.get_config_option("audit_log_path")
        try:
            with _locked(f"{path}.lock"), _opened(path) as (file, size):
                if size and _ends_within_line(file, size):
                    line = b"\n" + line
                while line:
                    line = line[os.write(file, line) :]
        except OSError as error:
            # An error of a write does not name the file.
            error.filename = path
            raise


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


def _check_writable(path: str) -> None:
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

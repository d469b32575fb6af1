# SPDX-License-Identifier: Apache-2.0
"""Audit log: one JSON line for each completed call."""

from __future__ import annotations

import errno
import fcntl
import importlib
import json
import os
import time
from typing import Any, ClassVar

from oslo_config import cfg

from hooks.events.hook import EventHook


class AuditHook(EventHook):
    """Append a JSON line to a file for each call, when the call is complete.

    A line has ``time`` (UTC), ``request_id``, ``project_id``, ``user_id``, ``backend``,
    ``host``, ``operation``, ``method``, the IDs of the share, snapshot or replica,
    ``outcome`` (``success``, ``failure`` or ``veto``) and ``duration`` in seconds (null
    if pre hooks are disabled). A failure or veto adds ``error_type`` and ``error``.
    With ``audit_format = cadf``, a line is a CADF event. A line never contains access
    keys, passwords or tokens.

    The hook needs ``enable_post_hooks``, and ``enable_pre_hooks`` for durations. Put it
    first in ``hook_drivers``: a call that a hook before it vetoes has no line.

    :raises ValueError: if no file is configured, or the format needs a library that is
        not installed
    :raises OSError: if the file cannot be written
    """

    #: Empty: the write is deferred, but the line is made in the caller's thread.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("post", "error")
    may_veto: ClassVar = False

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

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
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
        # The file is opened for each line, so that log rotation needs no signal. It is
        # locked, so that the lines of several threads and processes do not mix.
        path = self.get_config_option("audit_log_path")
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            while line:
                line = line[os.write(file, line) :]
        finally:
            os.close(file)


def _check_writable(path: str) -> None:
    """Check that a file can be appended to, without changing it.

    :param path: the file
    :raises OSError: if it cannot be appended to
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except FileNotFoundError:
        directory = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(directory):
            raise
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(
                errno.EACCES, os.strerror(errno.EACCES), path
            ) from None

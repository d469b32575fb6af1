# SPDX-License-Identifier: Apache-2.0
"""One JSON line for each ending of a join point."""

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
    """Append a JSON line to a file for each join point, when it ends.

    A line has ``time`` (UTC), ``request_id``, ``project_id``, ``user_id``,
    ``backend``, ``host``, ``operation``, ``method``, the ids of the share,
    snapshot or replica, ``outcome`` (``success``, ``failure`` or ``veto``),
    ``duration`` in seconds (null where pre hooks are off), and for a failure
    ``error_type`` and ``error``; or, with ``audit_format = cadf``, it is an event
    of CADF. No access key, password or token is in it.

    It needs ``enable_post_hooks``; and ``enable_pre_hooks`` for durations. It
    is told of what comes after it in ``hook_drivers``: have it first.

    :raises ValueError: if no file is configured, or the format needs a library
        that is not there
    :raises OSError: if the file could not be written
    """

    #: It is the writing that is deferred: what is written is of the moment.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("post", "error")
    may_veto: ClassVar = False

    options = (
        cfg.StrOpt(
            "audit_log_path",
            mutable=True,
            help="The file that the audit lines are appended to.",
        ),
        cfg.StrOpt(
            "audit_format",
            default="json",
            mutable=True,
            choices=[
                ("json", "the fields of an event of this project"),
                ("cadf", "events of CADF; needs pycadf, of the extra audit"),
            ],
            help="What a line is.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        path = self.get_config_option("audit_log_path")
        if not path:
            raise ValueError("audit_log_path is not set")
        # An operator is to know at start-up, not at the first share.
        _check_writable(path)
        if self.get_config_option("audit_format") == "cadf":
            try:
                importlib.import_module("hooks.events.cadf")
            except ImportError as error:
                raise ValueError(
                    f"audit_format = cadf: {error}: pip install 'manila-aspects[audit]'"
                ) from error

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> float:
        return time.monotonic()

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """A tick is no join point."""

    def _emit(
        self, kind: str, told: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        data = told["data"]
        if self.get_config_option("audit_format") == "cadf":
            # Needs a library that the other format does without.
            from hooks.events import cadf

            data = cadf.event_of(data)
        line = json.dumps(data).encode() + b"\n"
        if self.dispatcher:
            self.dispatcher.put(self, kind, operation, self._append, line)
        else:
            self._append(line)

    def _append(self, line: bytes) -> None:
        # Opened for each line, so that log rotation needs no signal; locked,
        # so that lines of several threads and processes do not mix.
        path = self.get_config_option("audit_log_path")
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            while line:
                line = line[os.write(file, line) :]
        finally:
            os.close(file)


def _check_writable(path: str) -> None:
    """Check that a file could be appended to, and leave it as it is.

    :raises OSError: if it could not
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

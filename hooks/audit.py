# SPDX-License-Identifier: Apache-2.0
"""One JSON line for each ending of a join point."""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import Any

from oslo_config import cfg

import aspects
from hooks import event


class AuditHook(aspects.HookBase):
    """Append a JSON line to a file for each join point, when it ends.

    A line has ``time`` (UTC), ``request_id``, ``project_id``, ``user_id``,
    ``backend``, ``host``, ``operation``, ``method``, the ids of the share,
    snapshot or replica, ``outcome`` (``success``, ``failure`` or ``veto``),
    ``duration`` in seconds (null where pre hooks are off), and for a failure
    ``error_type`` and ``error``. No access key, password or token is in it.

    It needs ``enable_post_hooks``; and ``enable_pre_hooks`` for durations. It
    is told of what comes after it in ``hook_drivers``: have it first.

    :raises OSError: if the file cannot be written
    """

    options = (
        cfg.StrOpt(
            "audit_log_path",
            mutable=True,
            help="The file that the audit lines are appended to.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        if not self.get_config_option("audit_log_path"):
            raise ValueError("audit_log_path is not set")
        # An operator is to know at start-up, not at the first share.
        self._append(b"")

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> float:
        return time.monotonic()

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._write(context, func_name, pre_hook_data, None, args, kwargs)

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._write(context, func_name, pre_hook_data, error, args, kwargs)

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """A tick is no join point."""

    def _write(
        self,
        context: Any,
        operation: aspects.Operation,
        began: float | None,
        error: BaseException | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        duration = None if began is None else time.monotonic() - began
        data = event.data_of(context, operation, args, kwargs, error, duration)
        self._append(json.dumps(data).encode() + b"\n")

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

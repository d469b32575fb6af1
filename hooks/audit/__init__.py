# SPDX-License-Identifier: Apache-2.0
"""Audit log: one JSON line for each completed call."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any, ClassVar

from oslo_config import cfg

from hooks.audit import file
from hooks.audit.connection import Address, Connection, address_of, check_socket
from hooks.audit.messages import JOURNAL, journal_entry, syslog_message
from hooks.events.hook import EventHook


class AuditHook(EventHook):
    """Write a JSON line for each call, when the call is complete.

    ``audit_destination`` is a file, standard output, the journal of systemd or syslog.

    A line has ``time`` (UTC), ``request_id``, ``project_id``, ``user_id``, ``backend``,
    ``host``, ``operation``, ``method``, the IDs of the share, snapshot or replica,
    ``outcome`` (``success``, ``pending``, ``partial``, ``failure`` or ``veto``) and
    ``duration`` in seconds (null if pre hooks are disabled). A failure or veto adds
    ``error_type`` and ``error``; one in the driver's result adds ``failed_items``.
    With ``audit_format = cadf``, a line is a CADF event. A line never contains access
    keys, passwords or tokens.

    The hook needs ``enable_post_hooks``, and ``enable_pre_hooks`` for durations. Put it
    first in ``hook_drivers``: a call that a hook before it vetoes has no line.

    :raises ValueError: if no file is configured, the destination is not valid, or the
        format needs a library that is not installed
    :raises OSError: if the file cannot be written, or is not a regular file
    """

    #: Empty: the write is deferred, but the data is read in the caller's thread.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("post", "error")
    may_veto: ClassVar = False
    required_methods: ClassVar = ("post",)

    options = (
        cfg.StrOpt(
            "audit_destination",
            default="file",
            mutable=True,
            choices=[
                ("file", "the file audit_log_path"),
                ("stdout", "the standard output of the service"),
                ("journald", "the journal of systemd"),
                ("syslog", "the syslog daemon at audit_syslog_address"),
            ],
            help="Destination of audit lines.",
        ),
        cfg.StrOpt(
            "audit_log_path",
            mutable=True,
            help="Path of the file that audit lines are appended to.",
        ),
        cfg.BoolOpt(
            "audit_fsync",
            default=False,
            mutable=True,
            help="Whether a line has to be on the disk before the call proceeds, so "
            "that it survives a loss of power. Applies to files.",
        ),
        cfg.StrOpt(
            "audit_syslog_address",
            default="/dev/log",
            mutable=True,
            help="Address of the syslog daemon: the path of its socket, "
            "udp://host:port or tcp://host:port. Messages have the format of RFC 5424.",
        ),
        cfg.StrOpt(
            "audit_format",
            default="json",
            mutable=True,
            choices=[
                ("json", "the data of the event of the call"),
                ("cadf", "CADF events; requires pycadf, from the extra audit"),
            ],
            help="Format of each line.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        #: ID of the process -> its connection to a daemon.
        self._connections: dict[int, Connection] = {}
        # A wrong destination must fail the start-up, not the first call.
        destination = self.get_config_option("audit_destination")
        if destination == "file":
            path = self.get_config_option("audit_log_path")
            if not path:
                raise ValueError("audit_log_path is not set")
            file.check_writable(path)
        elif destination == "stdout":
            if sys.stdout is None:
                raise ValueError(
                    "audit_destination = stdout: the service has no standard output"
                )
        elif path := self._address(destination).path:
            try:
                check_socket(path)
            except ValueError as error:
                option = "audit_destination = journald:"
                if destination == "syslog":
                    option = "audit_syslog_address"
                raise ValueError(f"{option} {path}: {error}") from None
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

    def stop(self) -> None:
        """Close the connection to a daemon."""
        if connection := self._connections.pop(os.getpid(), None):
            connection.close()

    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        data = event["data"]
        if self.dispatcher:
            self.dispatcher.put(self, kind, operation, self._write, data)
        else:
            self._write(data)

    def _write(self, data: dict[str, Any]) -> None:
        """Write the line of a call.

        :param data: the data of the call's event
        :raises OSError: if the line cannot be written
        """
        text = json.dumps(self._formatted(data))
        destination = self.get_config_option("audit_destination")
        if destination == "file":
            path = self.get_config_option("audit_log_path")
            fsync = self.get_config_option("audit_fsync")
            file.append(path, f"{text}\n".encode(), fsync)
        elif destination == "stdout":
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        else:
            self._send(destination, data, text.encode())

    def _formatted(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.get_config_option("audit_format") != "cadf":
            return data
        # Only this format needs the library that this imports.
        from hooks.events import cadf

        return cadf.event_of(data)

    def _send(self, destination: str, data: dict[str, Any], line: bytes) -> None:
        address = self._address(destination)
        if destination == "journald":
            message = journal_entry(data, line)
        else:
            message = syslog_message(data, line, address.is_stream)
        # A child process must not share the connection of its parent.
        connection = self._connections.setdefault(os.getpid(), Connection())
        try:
            connection.send(address, message)
        except OSError as error:
            raise OSError(f"{address}: {error}") from error

    def _address(self, destination: str) -> Address:
        """Return the address of the daemon.

        :param destination: ``journald`` or ``syslog``
        :raises ValueError: if ``audit_syslog_address`` is not valid
        """
        if destination == "journald":
            return address_of(JOURNAL)
        option = self.get_config_option("audit_syslog_address")
        try:
            return address_of(option)
        except ValueError as error:
            raise ValueError(f"audit_syslog_address {option}: {error}") from None

# SPDX-License-Identifier: Apache-2.0
"""Messages for syslog and for the journal of systemd.

Python's ``SysLogHandler`` writes the format of RFC 3164, and does not raise its errors.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from typing import Any

from hooks.events import outcome

#: The name of the sender in both.
NAME = "manila-aspects"

#: The socket of systemd-journald.
JOURNAL = "/run/systemd/journal/socket"

#: The facility "log audit", of RFC 5424.
FACILITY = 13

WARNING, INFO = 4, 6

#: Data of a call that are fields of the journal, e.g. ``MANILA_SHARE_ID``.
FIELDS = (
    *("request_id", "project_id", "user_id", "backend", "operation", "outcome"),
    "share_id",
)


def severity(data: Mapping[str, Any]) -> int:
    """Return the severity of a call: a warning unless it succeeded or is pending.

    :param data: the data of the call's event
    """
    succeeded = data["outcome"] in (outcome.SUCCESS, outcome.PENDING)
    return INFO if succeeded else WARNING


def syslog_message(data: Mapping[str, Any], line: bytes, stream: bool) -> bytes:
    """Return a message in the format of RFC 5424.

    :param data: the data of the call's event
    :param line: the audit line, in ASCII
    :param stream: whether it is sent over TCP, where its length comes first: see
        section 3.4.1 of RFC 6587
    """
    priority = FACILITY * 8 + severity(data)
    host = socket.gethostname()[:255] or "-"
    header = f"<{priority}>1 {data['time']} {host} {NAME} {os.getpid()} audit - "
    message = header.encode("ascii", "replace") + line
    return b"%d %b" % (len(message), message) if stream else message


def journal_entry(data: Mapping[str, Any], line: bytes) -> bytes:
    """Return an entry in the native protocol of systemd-journald.

    See https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.

    :param data: the data of the call's event
    :param line: the audit line
    """
    fields = {
        "MESSAGE": line,
        "PRIORITY": str(severity(data)).encode(),
        "SYSLOG_FACILITY": str(FACILITY).encode(),
        "SYSLOG_IDENTIFIER": NAME.encode(),
    }
    for name in FIELDS:
        if value := data.get(name):
            fields[f"MANILA_{name.upper()}"] = str(value).encode(errors="replace")
    return b"".join(_field(name.encode(), value) for name, value in fields.items())


def _field(name: bytes, value: bytes) -> bytes:
    # A line break in a value would otherwise begin another field.
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name, struct.pack("<Q", len(value)), value)
    return b"%b=%b\n" % (name, value)

# SPDX-License-Identifier: Apache-2.0
"""A backend of a real ``manila-share`` comes up although a hook's receiver is missing.

Each ready hook has a backend for each dispatch that it supports. Pre methods and
completions are enabled, and errors are not suppressed. The table of
``doc/source/admin/failing-hooks.rst`` has the same rows.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.programs import free_port
from tests.support.wait import wait_for

from .share_service import EVENTLET, NATIVE, ShareService, project_tracebacks

# Fail a test whose service does not start or stop.
pytestmark = pytest.mark.timeout(600)

INLINE, BACKGROUND, DURABLE = "inline", "background", "durable"


class Case(NamedTuple):
    """A hook whose receiver is missing."""

    hook: str
    """the name in ``hook_drivers``"""
    options: str
    """the options of the instance"""
    messages: Mapping[str, str]
    """dispatch -> regular expression of the message about the failure; empty if the
    hook does nothing while a backend starts"""
    breaks: str | None = None
    """a directory to replace by a file after the hook was constructed"""


#: In every case that is not about the start of the hook.
SUPPRESSED = "Suppressed an error of the post method of hook {hook} of backend {name} "

WEBHOOK = "webhook_url = http://127.0.0.1:{closed}/\nwebhook_timeout = 1"
BROKER = (
    "notification_transport_url = rabbit://u:p@127.0.0.1:{closed}/\n"
    "notification_timeout = 2"
)
OUTBOX = "\nhook_outbox_path = {directory}/{name}"

CASES = {
    "webhook": Case(
        "webhook",
        WEBHOOK + OUTBOX,
        {
            INLINE: SUPPRESSED + "in init_host: DeliveryFailedError: ",
            BACKGROUND: SUPPRESSED + "in init_host: DeliveryFailedError: ",
            DURABLE: "Failed to deliver .* DeliveryFailedError: http://127.0.0.1",
        },
    ),
    "notification": Case(
        "notification",
        BROKER + OUTBOX,
        {
            INLINE: SUPPRESSED + "in init_host: ",
            BACKGROUND: SUPPRESSED + "in init_host: ",
            DURABLE: "Failed to deliver .* OperationalError: .*REFUSED",
        },
    ),
    # Nothing happens before access to a share changes.
    "automount": Case(
        "automount", BROKER + OUTBOX, dict.fromkeys((INLINE, BACKGROUND, DURABLE), "")
    ),
    "outbox": Case(
        "webhook",
        WEBHOOK + OUTBOX,
        {DURABLE: "Failed to start hook {hook} of backend {name}: .*{directory}"},
        breaks="{directory}/{name}",
    ),
    "audit": Case(
        "audit",
        "audit_log_path = {directory}/{name}/audit.log",
        dict.fromkeys((INLINE, BACKGROUND), SUPPRESSED + "in init_host: .*{directory}"),
        breaks="{directory}/{name}",
    ),
    "metrics": Case(
        "metrics",
        "metrics_port = {used}",
        dict.fromkeys(
            (INLINE, BACKGROUND),
            "Failed to start hook {hook} of backend {name}: .*Address already in use",
        ),
    ),
    "tracing": Case(
        "tracing",
        "tracing_endpoint = http://127.0.0.1:{closed}/v1/traces\ntracing_timeout = 1",
        dict.fromkeys((INLINE, BACKGROUND), "Failed to export spans"),
    ),
    "command": Case(
        "command",
        "command = false",
        dict.fromkeys(
            (INLINE, BACKGROUND), SUPPRESSED + "in init_host: .* exit status 1"
        ),
    ),
    # What Manila does by itself is allowed without a message.
    "guard": Case(
        "guard",
        "guard_freeze = * * * * * 1d UTC",
        dict.fromkeys((INLINE, BACKGROUND), ""),
    ),
}

#: The entry of a hook that breaks a directory before the next hook starts.
BREAK = f"break={__package__}.broken_parts:Break, "

SECTION = """
hook_drivers = {entries}
enable_pre_hooks = True
enable_post_hooks = True

[{name}:break]
break_path = {broken}

[{name}:{hook}]
hook_dispatch = {dispatch}
{options}
"""

NAMES = [
    f"{name}-{dispatch}" for name, case in CASES.items() for dispatch in case.messages
]


class Service(ShareService):
    """A service that reports its state often, and its statistics seldom."""

    def common(self, backends: str) -> str:
        text = super().common(backends)
        text = text.replace("periodic_interval = 1", "periodic_interval = 10", 1)
        return f"{text}\n[DEFAULT]\nreport_interval = 2\n"

    def runs(self) -> bool:
        """Return whether the service has not ended."""
        assert self.program is not None
        return self.program.process.poll() is None

    def up(self) -> set[str]:
        """Return the backends whose driver is initialized, as Manila reports them."""
        assert self._postgres is not None
        query = "SELECT host FROM services WHERE state = 'up' AND report_count > 0"
        with contextlib.closing(self._postgres.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return {host.partition("@")[2] for (host,) in cursor.fetchall()}


@pytest.mark.parametrize("environment", [NATIVE, EVENTLET], ids=["native", "eventlet"])
def test_every_backend_comes_up_and_the_log_has_the_cause(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    closed = free_port()
    with contextlib.ExitStack() as used:
        sections, messages = {}, {}
        for name in NAMES:
            case_name, _, dispatch = name.partition("-")
            case = CASES[case_name]
            server = used.enter_context(socket.create_server(("127.0.0.1", 0)))
            values = {
                "hook": case.hook,
                "name": name,
                "dispatch": dispatch,
                "directory": str(tmp_path),
                "closed": closed,
                "used": server.getsockname()[1],
            }
            broken = (case.breaks or "").format(**values)
            if broken:
                Path(broken).mkdir()
            sections[name] = SECTION.format(
                entries=BREAK + case.hook if broken else case.hook,
                broken=broken,
                options=case.options.format(**values),
                **values,
            )
            messages[name] = case.messages[dispatch].format(**values)
        service = Service(tmp_path, sections, environment)
        try:
            service.start()
            wait_for(
                lambda: not service.runs() or service.up() == {*NAMES},
                "all backends up",
                240,
                1,
            )
            assert service.runs()
            for name, message in messages.items():
                wait_for(
                    lambda message=message: re.search(
                        message, service.log(), re.IGNORECASE
                    ),
                    f"{message!r} in the log, for {name}",
                    60,
                )
            # Now the hooks that could not start can.
            used.close()
            for name in NAMES:
                if "Failed to start" in messages[name]:
                    (tmp_path / name).unlink(missing_ok=True)
                    hook = CASES[name.partition("-")[0]].hook
                    service.wait_for_log(f"Started hook {hook} of backend {name} ", 120)
            # On eventlet, a manila-share with several backends does not stop.
            assert environment is EVENTLET or service.stop(120) == 0
            assert project_tracebacks(service.log()) == []
        finally:
            service.kill()

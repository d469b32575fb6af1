# SPDX-License-Identifier: Apache-2.0
"""Deliveries while the interpreter exits; Python 3.12.0 starts no thread then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aspects
from hooks import notification, webhook
from hooks.events.errors import DeliveryFailedError
from tests.support.config import ConfigFile
from tests.support.programs import free_port
from tests.support.receiver import Receiver
from tests.support.schema import EVENT

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def exiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function after whose call no thread of a name can be started."""
    start = threading.Thread.start

    def forbid(name: str) -> None:
        def start_others(thread: threading.Thread) -> None:
            if thread.name == name:
                raise RuntimeError("can't create new thread at interpreter shutdown")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_others)
        ended = threading.Thread()
        monkeypatch.setattr(threading, "main_thread", lambda: ended)

    return forbid


def new_webhook(tmp_path: Path, url: str, timeout: int = 30) -> Any:
    text = (
        "[alpha]\nhook_drivers = webhook\n"
        f"webhook_url = {url}\nwebhook_timeout = {timeout}"
    )
    conf = ConfigFile(tmp_path / "service.conf", text).conf
    section = aspects.BackendSection(conf, "alpha")
    return webhook.WebhookHook(section, "node1@alpha")


def test_a_webhook_is_delivered(tmp_path: Path, exiting: Callable[[str], None]) -> None:
    with Receiver() as receiver:
        hook = new_webhook(tmp_path, receiver.url)
        exiting(webhook._THREAD)
        hook.deliver(EVENT)
        hook.stop()
        assert receiver.events == [EVENT]


@pytest.mark.slow
def test_a_webhook_that_cannot_be_delivered_raises(
    tmp_path: Path, exiting: Callable[[str], None]
) -> None:
    hook = new_webhook(tmp_path, f"http://127.0.0.1:{free_port()}/", timeout=1)
    exiting(webhook._THREAD)
    with pytest.raises(DeliveryFailedError, match="Connection refused"):
        hook.deliver(EVENT)
    # Error methods run while the error of the driver is handled.
    try:
        raise OSError("the disk is full")
    except OSError:
        with pytest.raises(DeliveryFailedError, match="Connection refused"):
            hook.deliver(EVENT)


class Transport:
    """A broker that confirms each message."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def _send_notification(
        self, target: Any, context: Any, message: Any, version: Any, retry: Any
    ) -> None:
        self.sent.append(message)

    def cleanup(self) -> None:
        """Do nothing."""


def test_a_notification_is_sent(exiting: Callable[[str], None]) -> None:
    transport = Transport()
    sender = notification._Sender(lambda: transport)
    exiting("notification")
    for number in (1, 2):
        sender.send(5.0, [None], {}, {"number": number}, 0)  # type: ignore[list-item]
    sender.stop(5.0)
    assert transport.sent == [{"number": 1}, {"number": 2}]


def test_a_process_without_threads_to_spare_reports_a_notification_as_not_sent(
    exiting: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = notification._Sender(Transport)
    exiting("notification")
    monkeypatch.setattr(threading, "main_thread", threading.current_thread)
    # The second one shows that the first one released what it had acquired.
    for _ in range(2):
        with pytest.raises(RuntimeError, match="thread"):
            sender.send(5.0, [None], {}, {}, 0)  # type: ignore[list-item]

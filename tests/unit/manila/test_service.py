# SPDX-License-Identifier: Apache-2.0
"""The end of a share service."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("manila")
from aspects.manila import service

# Detects a wait without a limit.
pytestmark = pytest.mark.timeout(60)


def test_hooks_are_stopped_although_an_rpc_call_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "RPC_TIMEOUT", 0.1)
    released = threading.Event()
    try:
        service._wait_for_last_call(SimpleNamespace(wait=released.wait))
    finally:
        released.set()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "Stopping hooks without waiting for the last call: it still runs 0.1 s after "
        "the service was stopped"
    )


def test_hooks_are_stopped_after_the_last_rpc_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = []
    service._wait_for_last_call(SimpleNamespace(wait=lambda: ended.append(True)))
    assert ended == [True]
    assert caplog.records == []


def test_hooks_are_stopped_although_the_rpc_server_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise OSError("no broker")

    service._wait_for_last_call(SimpleNamespace(wait=fail))
    (record,) = caplog.records
    assert record.getMessage() == (
        "Stopping hooks without waiting for the last call: OSError: no broker"
    )

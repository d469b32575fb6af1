# SPDX-License-Identifier: Apache-2.0
"""The end of a service."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

pytest.importorskip("manila")
from aspects.manila import shutdown

# Detects a wait without a limit.
pytestmark = pytest.mark.timeout(60)


def rpc_server(wait: Callable[..., object]) -> SimpleNamespace:
    return SimpleNamespace(stop=lambda: None, wait=wait)


def test_hooks_are_stopped_although_an_rpc_call_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutdown, "TIMEOUT", 0.1)
    released = threading.Event()
    try:
        shutdown.wait_for_last_call(rpc_server(released.wait))
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
    shutdown.wait_for_last_call(rpc_server(lambda: ended.append(True)))
    assert ended == [True]
    assert caplog.records == []


def test_hooks_are_stopped_although_the_rpc_server_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise OSError("no broker")

    shutdown.wait_for_last_call(rpc_server(fail))
    (record,) = caplog.records
    assert record.getMessage() == (
        "Stopping hooks without waiting for the last call: OSError: no broker"
    )


WOVEN_IN_CODE = """
from types import SimpleNamespace
from unittest import mock
import aspects, aspects.manila
from aspects.testing import FakeDriver, Recorder
from manila import service
from oslo_config import cfg
from oslo_service import service as oslo_service

class Hook(Recorder):
    def stop(self):
        print("stopped")

cfg.CONF([], project="manila", default_config_files=[])
driver = aspects.weave(FakeDriver(), [Hook()])
aspects.weaving(driver).start()
stopping = service.Service.__new__(service.Service)
oslo_service.Service.__init__(stopping)
stopping.manager = SimpleNamespace(driver=driver)
stopping.rpcserver = mock.Mock()
stopping.coordinator = None
stopping.service_id = 1
with mock.patch.object(service, "db"):
    stopping.stop()
"""


@pytest.mark.slow
def test_hooks_of_a_driver_that_is_woven_in_code_stop_with_the_service() -> None:
    # A process of its own, since other tests import the manager.
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WOVEN_IN_CODE],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == "stopped\n"

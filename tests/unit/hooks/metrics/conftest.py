# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the metrics hook."""

import pytest

from tests.support.clock import Clock
from tests.support.programs import free_port


@pytest.fixture
def metrics(tmp_path):
    # Imported here: where the library is missing, only the test modules are skipped.
    from .common import Metrics

    return Metrics(tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """Return the clock of the durations."""
    clock = Clock()
    monkeypatch.setattr("hooks.metrics.time", clock)
    return clock


@pytest.fixture
def port():
    return free_port()

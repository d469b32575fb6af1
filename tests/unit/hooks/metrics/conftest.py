# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the metrics hook."""

import socket

import pytest

from tests.support.clock import Clock


@pytest.fixture
def figures(tmp_path):
    # Not above: a library that is missing skips the modules of tests alone.
    from .common import Figures

    return Figures(tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """The clock of all that is timed."""
    clock = Clock()
    monkeypatch.setattr("hooks.metrics.time", clock)
    return clock


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of hot reload."""

from __future__ import annotations

import pytest

import aspects
from tests.support.config import ConfigFile
from tests.support.entries.recording import Driver

from .common import done, text


@pytest.fixture
def file(tmp_path):
    done.clear()
    return ConfigFile(tmp_path / "service.conf", text("ab"))


@pytest.fixture
def woven(file):
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    aspects.weaving(woven).start()
    done.clear()
    yield woven
    # Waits for hooks that are left out and have a call to end.
    aspects.weaving(woven).stop()

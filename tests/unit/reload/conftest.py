# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the hot reload tests."""

from __future__ import annotations

import pytest

import aspects
from tests.support.config import ConfigFile
from tests.support.entries.recording import Driver
from tests.support.wait import wait_for_stops

from .common import done, text


@pytest.fixture
def file(tmp_path):
    done.clear()
    file = ConfigFile(tmp_path / "service.conf", text("ab"))
    mutate = file.mutate

    def mutate_and_wait(text: str) -> None:
        mutate(text)
        wait_for_stops()

    file.mutate = mutate_and_wait
    return file


@pytest.fixture
def woven(file):
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    aspects.weaving(woven).start()
    done.clear()
    yield woven
    # This waits for removed hooks whose calls have not finished.
    aspects.weaving(woven).stop()

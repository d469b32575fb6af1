# SPDX-License-Identifier: Apache-2.0
"""The recorded use of drivers matches that of the installed Manila."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import manila

from tests.support.manager_source import read_all, releases


def test_the_recorded_use_of_drivers_matches_the_installed_manila() -> None:
    installed = importlib.metadata.version("manila")
    known = {release.split(".")[0]: source for release, source in releases().items()}
    series = installed.split(".")[0]
    assert series in known, (
        f"run tests/support/manager_source.py for Manila {installed}"
    )
    assert read_all(Path(manila.__file__).parent) == known[series]

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the proxy."""

from __future__ import annotations

from typing import Any

import pytest

import aspects
from tests.support.hooks import Recorder

from .common import CONTEXT, Kinds, Rich


@pytest.fixture
def hook() -> Recorder:
    return Recorder("hook")


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()


@pytest.fixture(params=["used", "unused", "no hooks"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Return a driver and the same woven."""
    driver = Rich()
    hooks = [] if request.param == "no hooks" else [Recorder()]
    woven = aspects.weave(driver, hooks)
    if request.param == "used":
        woven.create_share(CONTEXT, "share")
    return driver, woven

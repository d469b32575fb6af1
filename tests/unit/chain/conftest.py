# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the chain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.ways import WAYS, Way


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(
    params=[way for way in WAYS if not way.decorated], ids=["function", "coroutine"]
)
def woven_way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def trace() -> list[Any]:
    return []

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the dispatch."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.ways import WAYS, Way


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Return a gate that methods wait at; it opens at the end of the test."""
    event = threading.Event()
    yield event
    event.set()

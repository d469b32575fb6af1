# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from oslo_context import context as oslo_context

from tests.support.ways import WAYS, Way


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(
    params=[way for way in WAYS if not way.own], ids=["function", "coroutine"]
)
def woven_way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def trace() -> list[Any]:
    return []


@pytest.fixture(autouse=True)
def _no_current_context() -> Iterator[None]:
    """Leave the thread without a request context, before and after."""
    store = oslo_context._request_store
    before = vars(store).pop("context", None)
    yield
    vars(store).pop("context", None)
    if before is not None:
        store.context = before

# SPDX-License-Identifier: Apache-2.0
"""The number of calls: small in the default run, large with ``tox -e stress``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--calls",
        type=int,
        default=10_000,
        help="number of woven calls in each test of this directory",
    )


@pytest.fixture
def calls(request: pytest.FixtureRequest) -> int:
    """The number of woven calls that a test makes."""
    count: int = request.config.getoption("--calls")
    return count

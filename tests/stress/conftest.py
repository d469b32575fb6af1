# SPDX-License-Identifier: Apache-2.0
"""How much of it: little in the default run, all of it with ``tox -e stress``."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--calls",
        type=int,
        default=10_000,
        help="woven calls of each test of this directory",
    )


@pytest.fixture
def calls(request: pytest.FixtureRequest) -> int:
    """How many woven calls a test makes."""
    count: int = request.config.getoption("--calls")
    return count

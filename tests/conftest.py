# SPDX-License-Identifier: Apache-2.0
"""Options and checks that all test suites share."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-slow",
        type=float,
        metavar="SECONDS",
        help="time above which a test fails unless marked slow; for a quiet machine",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    limit = item.config.getoption("--strict-slow")
    late = limit is not None and call.when == "call" and call.duration > limit
    if late and report.passed and not item.get_closest_marker("slow"):
        report.outcome = "failed"
        report.longrepr = f"took {call.duration:.2f} s: mark it slow, or make it faster"
    return report


@pytest.fixture(scope="session", autouse=True)
def _events_fit_the_schema() -> Iterator[None]:
    """Validate each event of each test against the schema of the package."""
    # Not imported earlier: on eventlet, the functional tests patch the process before
    # the locks of this project exist.
    from hooks.events import event
    from tests.support.schema import validated

    construct = event._event

    def constructed(kind: str, data: dict[str, Any]) -> dict[str, Any]:
        made = construct(kind, data)
        validated(made)
        return made

    event._event = constructed
    yield
    event._event = construct

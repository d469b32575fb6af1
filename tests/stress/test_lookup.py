# SPDX-License-Identifier: Apache-2.0
"""Many random configurations, read as the model of the look-up order reads them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, seed, settings

from tests.unit.config.test_lookup_model import WITHOUT_SHRINKING, check, configurations


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_values_are_those_of_the_model(calls: int) -> None:
    examples = calls // 100
    # Hypothesis remembers each of a run, and gets slower with them.
    run = min(examples, 1000)

    @settings(WITHOUT_SHRINKING, max_examples=run, derandomize=False)
    @given(configurations)
    def compare(configuration: tuple[Any, ...]) -> None:
        check(configuration)

    for number in range(0, examples, run):
        seed(number)(compare)()

# SPDX-License-Identifier: Apache-2.0
"""Random configurations have the values that a model of the look-up order predicts."""

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


def test_random_configurations_have_the_values_of_the_model(calls: int) -> None:
    examples = calls // 100
    # Hypothesis remembers all examples of a run and slows down with their number.
    size = min(examples, 1000)

    @settings(WITHOUT_SHRINKING, max_examples=size, derandomize=False)
    @given(configurations)
    def compare(configuration: tuple[Any, ...]) -> None:
        check(configuration)

    for number in range(0, examples, size):
        seed(number)(compare)()

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of operations."""

from __future__ import annotations

import pytest

from tests.support.hooks import Recorder


@pytest.fixture
def hook() -> Recorder:
    return Recorder()

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the configuration."""

import pytest

from tests.support.config import ConfigFile


@pytest.fixture
def configured(tmp_path):
    def write(text):
        return ConfigFile(tmp_path / "service.conf", text)

    return write

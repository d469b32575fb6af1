# SPDX-License-Identifier: Apache-2.0
"""Backends whose hooks have the options of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from tests.support.config import ConfigFile
from tests.unit.config.support import Backend, forget


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    """Return what makes a :class:`Backend`.

    Its arguments are the options of each hook, one or a list, then ``sections`` and
    ``alpha`` of :meth:`Backend.text`.
    """

    def make(*of_hooks: cfg.Opt | list[cfg.Opt], **of_file: str) -> Backend:
        lists = [each if isinstance(each, list) else [each] for each in of_hooks]
        return Backend(tmp_path, *lists, **of_file)

    yield make
    for _ in forget():
        """Only the end of it matters."""


@pytest.fixture
def configured(tmp_path):
    """Return what writes a configuration and reads it."""

    def write(text):
        return ConfigFile(tmp_path / "service.conf", text)

    return write

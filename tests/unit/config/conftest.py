# SPDX-License-Identifier: Apache-2.0
"""Backends whose hooks have the options of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from tests.support.config import ConfigFile
from tests.unit.config.support import Backend, remove_classes


@pytest.fixture
def new_backend(tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    """Return a factory of :class:`Backend`.

    Its arguments are the option or the list of options of each hook, then ``sections``
    and ``alpha`` of :meth:`Backend.text`.
    """

    def make(*of_hooks: cfg.Opt | list[cfg.Opt], **of_file: str) -> Backend:
        lists = [
            options if isinstance(options, list) else [options] for options in of_hooks
        ]
        return Backend(tmp_path, *lists, **of_file)

    yield make
    remove_classes()


@pytest.fixture
def configured(tmp_path):
    """Return a function that writes a configuration file and reads it."""

    def write(text):
        return ConfigFile(tmp_path / "service.conf", text)

    return write

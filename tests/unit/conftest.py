# SPDX-License-Identifier: Apache-2.0
"""Isolation shared by all unit tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings
from oslo_context import context as oslo_context

# A slow machine must not fail a property.
settings.register_profile("unit", settings.default, deadline=None)
settings.load_profile("unit")


def _loggers() -> dict[str, logging.Logger]:
    every = logging.root.manager.loggerDict
    found = {n: each for n, each in every.items() if isinstance(each, logging.Logger)}
    return {"": logging.root, **found}


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Take away what a command that ran in the test's process set up for the log.

    oslo.log sets the levels of some libraries' loggers, too.
    """
    handlers = list(logging.root.handlers)
    levels = {name: each.level for name, each in _loggers().items()}
    yield
    logging.root.handlers[:] = handlers
    for name, each in _loggers().items():
        each.setLevel(levels.get(name, logging.NOTSET))


@pytest.fixture(autouse=True)
def _shares_know_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no database for shares, although another test has imported aspects.manila."""
    monkeypatch.setattr("aspects.shares._source", None)


@pytest.fixture(autouse=True)
def _no_current_context() -> Iterator[None]:
    """Leave the thread without a request context, before and after."""
    store = oslo_context._request_store
    before = vars(store).pop("context", None)
    yield
    vars(store).pop("context", None)
    if before is not None:
        store.context = before

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the outbox."""

import pytest

from hooks.events.outbox import Outbox

from .common import Receiver


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "alpha.ops"


@pytest.fixture
def new(path, receiver):
    made = []

    def outbox(deliver=receiver):
        made.append(Outbox(path, deliver))
        return made[-1]

    yield outbox
    receiver.open.set()
    for each in made:
        each.stop(0)

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the outbox."""

import pytest

from hooks.events.deliverer import Settings
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
    outboxes = []

    def new_outbox(deliver=receiver, timeout=2.0, **settings):
        outboxes.append(Outbox(path, deliver, lambda: Settings(timeout, **settings)))
        return outboxes[-1]

    yield new_outbox
    receiver.open.set()
    for outbox in outboxes:
        outbox.stop(0)

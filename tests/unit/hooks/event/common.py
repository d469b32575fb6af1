# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of events."""

import aspects
from aspects.testing import FakeDriver


def operation(method="create_share"):
    woven = aspects.weave(FakeDriver(), [], "alpha", "node1@alpha")
    return aspects.weaving(woven).operations[method]


RULE = {
    "id": "r1",
    "access_type": "cephx",
    "access_to": "joe",
    "access_level": "rw",
    "state": "queued",
    "access_key": "hunter2-Zq9",
}

# SPDX-License-Identifier: Apache-2.0
"""Helpers shared by the tests of ticks."""

import aspects

CONTEXT = object()
SHARES = [{"id": "1"}, {"id": "2"}]


def ticks_of(woven, count):
    return [aspects.tick(woven, CONTEXT, SHARES) for _ in range(count)]

# SPDX-License-Identifier: Apache-2.0
"""A clock that a test advances."""

from __future__ import annotations

import time


class Clock:
    """A double of the module ``time``; replace a module's ``time`` with monkeypatch.

    :param now: the initial time in seconds
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._epoch = time.time() - now
        #: The seconds of each sleep, in order.
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def time(self) -> float:
        """Return the seconds since the epoch, about those of the real clock."""
        return self._epoch + self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds

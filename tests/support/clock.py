# SPDX-License-Identifier: Apache-2.0
"""A clock that a test advances."""

from __future__ import annotations


class Clock:
    """A double of the module ``time``; replace a module's ``time`` with monkeypatch.

    :param now: the initial time in seconds
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        #: The seconds of each sleep, in order.
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds

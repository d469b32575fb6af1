# SPDX-License-Identifier: Apache-2.0
"""A clock that goes when a test says so."""

from __future__ import annotations


class Clock:
    """Takes the place of the module ``time`` in a module: put it there by monkeypatch.

    :param now: the seconds that its clocks show at first
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
        """Let time pass."""
        self.now += seconds

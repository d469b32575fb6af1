# SPDX-License-Identifier: Apache-2.0
"""The order of deliveries: one after the other for each key, in parallel otherwise."""

from __future__ import annotations

import collections
import heapq
import itertools
import math
from collections.abc import Sequence

from hooks.events.store import EventStore, Position, StoredEvent

#: Maximum number of events of one key that are in memory.
LANE_SIZE = 10

#: Maximum number of keys whose events are tried or wait for a retry. If more keys fail,
#: the receiver is down, and further keys are not tried.
MOST_LANES = 1000

#: Minimum time, in seconds, from a failed retry of any key to the next retry.
RETRY_INTERVAL = 0.1


class Lane:
    """The events of one key, of which at most one is being delivered.

    :param key: the key
    :param passed: by file, the position up to which all events of the key are settled
    """

    def __init__(self, key: bytes, passed: dict[EventStore, Position]) -> None:
        self.key = key
        self.passed = passed
        #: The oldest events. Empty while the lane waits for a retry.
        self.events: collections.deque[StoredEvent] = collections.deque()
        #: Whether the lane has events that are only on disk.
        self.more = False
        #: Whether its first event was in a batch that failed, so it is delivered alone.
        self.alone = False
        #: The number of failed attempts to deliver the first event.
        self.failures = 0
        self._failed: tuple[EventStore, Position] | None = None

    def count_failure(self) -> int:
        """Return the number of attempts that have failed, with a new one."""
        event = (self.events[0].store, self.events[0].position)
        if event != self._failed:
            # An operator may have removed the event that failed before.
            self._failed, self.failures = event, 0
        self.failures += 1
        return self.failures


class Lanes:
    """The lanes of all keys, of which a limited number is in memory.

    A lane is *ready* if its first event can be tried at once, *held* if it waits for a
    retry, or *running*. Only one thread may use the lanes.
    """

    def __init__(self) -> None:
        #: By file, the position of the last event that was added or left on disk.
        self.scanned: dict[EventStore, Position] = {}
        #: The number of deliveries that run.
        self.running = 0
        self._retried: set[Lane] = set()
        self._lanes: dict[bytes, Lane] = {}
        self._ready: collections.deque[Lane] = collections.deque()
        self._held: list[tuple[float, int, Lane]] = []
        self._numbers = itertools.count()
        self._next_retry = -math.inf

    def is_empty(self) -> bool:
        """Return whether no lane has events."""
        return not self._lanes

    def need_events(self, count: int) -> bool:
        """Return whether to add events, so that all workers have something to do.

        :param count: the number of events that they deliver at once
        """
        return len(self._ready) < 2 * count and len(self._lanes) < MOST_LANES

    def add(self, events: Sequence[StoredEvent]) -> None:
        """Add the next events of a file.

        :param events: events behind those that were added before
        """
        before = dict(self.scanned)
        for event in events:
            self.scanned[event.store] = event.position
            lane = self._lanes.get(event.key)
            if lane is None:
                lane = self._lanes[event.key] = Lane(event.key, dict(before))
                self._ready.append(lane)
            if lane.more or len(lane.events) >= LANE_SIZE:
                lane.more = True
            else:
                lane.events.append(event)

    def take(self, now: float, workers: int, size: int) -> list[Lane]:
        """Begin a delivery, and return its lanes; none if nothing can be delivered.

        Retries may use half of the workers, so that slow failures of some keys do not
        delay the others.

        :param now: the current time, on the clock of :meth:`hold`
        :param workers: maximum number of deliveries that run
        :param size: maximum number of events in a delivery, each of another lane
        """
        if self.running >= workers:
            return []
        if self._delay(now, workers) == 0:
            _, _, lane = heapq.heappop(self._held)
            self._retried.add(lane)
            lanes = [lane]
        else:
            lanes = self._take_ready(size)
        self.running += bool(lanes)
        return lanes

    def _take_ready(self, size: int) -> list[Lane]:
        lanes: list[Lane] = []
        while self._ready and len(lanes) < size:
            if lanes and self._ready[0].alone:
                break
            lanes.append(self._ready.popleft())
            if lanes[0].alone:
                break
        return lanes

    def pass_on(self, lane: Lane) -> None:
        """Remove the first event of a running lane, which is settled.

        :param lane: the lane
        """
        event = lane.events.popleft()
        lane.passed[event.store] = event.position
        lane.failures, lane.alone = 0, False
        if lane.events or lane.more:
            self._retried.discard(lane)
            self._ready.append(lane)
        else:
            self.drop(lane)

    def split(self, lanes: Sequence[Lane]) -> None:
        """Make each lane of a batch that failed run by itself, before all others.

        :param lanes: the lanes
        """
        for lane in lanes:
            lane.alone = True
        self._ready.extendleft(reversed(lanes))

    def hold(self, lane: Lane, pause: float, now: float) -> None:
        """Make a running lane wait; its events are then read again.

        :param lane: the lane
        :param pause: seconds to wait; infinite until :meth:`release`
        :param now: the current time
        """
        if lane in self._retried:
            self._next_retry = now + RETRY_INTERVAL
        self._retried.discard(lane)
        lane.events.clear()
        lane.more = True
        heapq.heappush(self._held, (now + pause, next(self._numbers), lane))

    def drop(self, lane: Lane) -> None:
        """Remove a running lane without events.

        :param lane: the lane
        """
        self._retried.discard(lane)
        del self._lanes[lane.key]

    def release(self) -> None:
        """Make all held lanes due at once."""
        self._held = [(-math.inf, number, lane) for _, number, lane in self._held]
        heapq.heapify(self._held)
        self._next_retry = -math.inf

    def delay(self, now: float, workers: int) -> float:
        """Return the seconds until a lane can run; infinite if none can by itself.

        :param now: the current time
        :param workers: maximum number of deliveries that run
        """
        if self.running >= workers:
            return math.inf
        return 0.0 if self._ready else self._delay(now, workers)

    def _delay(self, now: float, workers: int) -> float:
        if not self._held or len(self._retried) >= max(workers // 2, 1):
            return math.inf
        return max(self._held[0][0] - now, self._next_retry - now, 0.0)

# SPDX-License-Identifier: Apache-2.0
"""Record the runs of the demo's hook methods, and group them by join point."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

#: The hook methods that complete a join point.
COMPLETIONS = ("post", "error")


@dataclass(frozen=True)
class HookRun:
    """One run of a hook method."""

    kind: str
    """``pre``, ``post``, ``error`` or ``periodic``"""
    backend: str
    hook: str
    """the name of the hook instance"""
    operation: str
    method: str
    """the driver method; empty for a periodic method"""
    began: float
    """the start, in seconds of ``time.perf_counter``"""
    seconds: float
    """the duration"""
    outcome: str = ""
    """the driver's result or error that a completion received"""
    change: str = ""
    """the result with which a post method replaced the driver's"""
    raised: str = ""
    """the error that the hook method raised"""
    thread: int = field(default_factory=threading.get_ident)

    @property
    def ended(self) -> float:
        """Return the end, in seconds of ``time.perf_counter``."""
        return self.began + self.seconds


@dataclass
class JoinPoint:
    """One call of a driver method, as its hooks saw it."""

    runs: list[HookRun]

    @property
    def backend(self) -> str:
        return self.runs[0].backend

    @property
    def operation(self) -> str:
        return self.runs[0].operation

    @property
    def method(self) -> str:
        return self.runs[0].method

    @property
    def vetoed(self) -> str:
        """Return the error that a pre method raised, or an empty string."""
        return next((run.raised for run in self.of("pre") if run.raised), "")

    @property
    def failed(self) -> bool:
        """Return whether the call ended with an error."""
        return bool(self.vetoed or self.of("error"))

    @property
    def outcome(self) -> str:
        """Return the error, or the result as the last hook left it."""
        completions = self.of(*COMPLETIONS)
        for run in reversed(completions):
            if run.change:
                return run.change
        return self.vetoed or (completions[0].outcome if completions else "")

    @property
    def hook_seconds(self) -> float:
        """Return the duration of all hook methods together."""
        return sum(run.seconds for run in self.runs)

    @property
    def driver_seconds(self) -> float | None:
        """Return the duration of the driver's method; None if it was not called."""
        pre, completions = self.of("pre"), self.of(*COMPLETIONS)
        if self.vetoed or not pre or not completions:
            return None
        return max(completions[0].began - pre[-1].ended, 0.0)

    def of(self, *kinds: str) -> list[HookRun]:
        """Return the runs of these kinds of hook method, in order."""
        return [run for run in self.runs if run.kind in kinds]

    def complete(self, hooks: int) -> bool:
        """Return whether each hook that is owed a completion has had it.

        :param hooks: the number of hooks in the chain
        """
        pre = self.of("pre")
        owed = len(pre) - 1 if self.vetoed else hooks
        return len(self.of(*COMPLETIONS)) >= owed


class Journal:
    """Collect the runs of hook methods, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[HookRun] = []
        self._open: dict[tuple[int, str], JoinPoint] = {}
        self._points: list[JoinPoint] = []
        self.chain_lengths: dict[str, int] = {}
        """The number of hooks of each backend that write here."""
        self.on_point: Callable[[JoinPoint], None] = lambda point: None
        """Called with each join point after its last completion."""
        self.on_periodic: Callable[[list[HookRun]], None] = lambda runs: None
        """Called with the periodic methods of a tick after the last has run."""
        self._ticks: dict[str, list[HookRun]] = {}

    @property
    def runs(self) -> list[HookRun]:
        """Return all runs so far, in order."""
        with self._lock:
            return list(self._runs)

    @property
    def points(self) -> list[JoinPoint]:
        """Return all join points so far, those without all completions last."""
        with self._lock:
            return [*self._points, *self._open.values()]

    def write(self, run: HookRun) -> None:
        """Record one run.

        :param run: the run, after it has ended
        """
        with self._lock:
            self._runs.append(run)
            points: list[JoinPoint] = []
            ticks: list[list[HookRun]] = []
            if run.kind == "periodic":
                ticks = self._assign_to_tick(run)
            else:
                points = self._assign_to_point(run)
        for point in points:
            self.on_point(point)
        for runs in ticks:
            self.on_periodic(runs)

    def _hooks(self, backend: str) -> int:
        return self.chain_lengths.get(backend, 1_000)

    def _assign_to_tick(self, run: HookRun) -> list[list[HookRun]]:
        """Add a periodic run to its tick; return the ticks that this ends."""
        ended = []
        tick = self._ticks.setdefault(run.backend, [])
        if run.hook in [earlier.hook for earlier in tick]:
            # The last tick ended without the run of another hook.
            ended.append(self._ticks.pop(run.backend))
            tick = self._ticks.setdefault(run.backend, [])
        tick.append(run)
        if len(tick) >= self._hooks(run.backend):
            ended.append(self._ticks.pop(run.backend))
        return ended

    def _assign_to_point(self, run: HookRun) -> list[JoinPoint]:
        """Add a run to its join point; return the join points that this ends.

        The runs of one join point follow each other in one thread.
        """
        ended = []
        key = (run.thread, run.backend)
        point = self._open.get(key)
        if point is not None and (
            point.operation != run.operation
            or (run.kind == "pre" and point.of(*COMPLETIONS))
        ):
            # Another call began in this thread, so the missing completions of the
            # earlier one will not come.
            ended.append(self._open.pop(key))
            point = None
        if point is None:
            point = self._open[key] = JoinPoint([])
        point.runs.append(run)
        if point.complete(self._hooks(run.backend)):
            ended.append(self._open.pop(key))
        self._points += ended
        return ended

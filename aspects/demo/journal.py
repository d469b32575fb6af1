# SPDX-License-Identifier: Apache-2.0
"""Record the calls of woven drivers, and the methods that ran in each call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: The hook methods that complete a call.
COMPLETIONS = ("post", "error")

#: The operation of a tick.
TICK = "periodic"


@dataclass(frozen=True)
class Failure:
    """An exception, as the screen shows it."""

    text: str
    """its type and message, in one line"""
    place: str
    """the file and the line where it was raised; empty if unknown"""
    traceback: tuple[str, ...] = ()
    """the lines of the traceback, without frames of this library"""
    veto: bool = False
    """whether it is a veto, which only a pre method can raise"""


@dataclass(eq=False)
class Run:
    """One run of the driver's method or of a hook method."""

    kind: str
    """``driver``, ``pre``, ``post``, ``error`` or ``periodic``"""
    hook: str
    """the name of the hook instance; empty for the driver"""
    seconds: float
    """the duration"""
    failure: Failure | None = None
    """the exception that the method raised"""
    error: BaseException | None = None
    """the exception itself, until the call has ended"""

    @property
    def name(self) -> str:
        """Return the name of the method for the screen."""
        return f"{self.kind} of {self.hook}" if self.hook else self.kind


@dataclass(eq=False)
class Call:
    """One call of a woven method, or one tick."""

    backend: str
    operation: str
    method: str
    """the driver method; empty for a tick"""
    requested: bool = True
    """false for a routine operation, which Manila runs by itself"""
    runs: list[Run] = field(default_factory=list)
    """the methods that ran, in order"""
    result: str = ""
    """the result that the caller got"""
    reported: str = ""
    """``failure``, ``partial`` or ``pending``, if the result reports it"""
    reason: str = ""
    """the reason for that failure, and the items that failed, in one line"""
    failure: Failure | None = None
    """the exception that the caller got"""
    cause: Run | None = None
    """the run that raised that exception; None if none did"""
    arguments: Any = None
    """the operation and the driver's arguments, until the call has ended"""
    ended: bool = False

    @property
    def outcome(self) -> str:
        """Return ``result``, ``veto`` or ``error``."""
        if self.failure is None:
            return "result"
        return "veto" if self.failure.veto else "error"

    @property
    def failed(self) -> bool:
        """Return whether it is an error, or its result reports a failure."""
        return self.outcome == "error" or bool(self.reason)

    @property
    def last(self) -> Run | None:
        """Return the last run before any error method."""
        return next((run for run in reversed(self.runs) if run.kind != "error"), None)

    @property
    def suppressed(self) -> list[Run]:
        """Return the runs whose exception did not reach the caller."""
        return [run for run in self.runs if run.failure and run is not self.cause]

    @property
    def driver_seconds(self) -> float | None:
        """Return the duration of the driver's method; None if it was not called."""
        return next((run.seconds for run in self.of("driver")), None)

    @property
    def hook_seconds(self) -> float:
        """Return the duration of all hook methods together."""
        return sum(run.seconds for run in self.runs if run.hook)

    def of(self, *kinds: str) -> list[Run]:
        """Return the runs of these kinds of method, in order."""
        return [run for run in self.runs if run.kind in kinds]

    def hook_runs(self, hook: str, *kinds: str) -> list[Run]:
        """Return the runs of these kinds of method of one hook."""
        return [run for run in self.of(*kinds) if run.hook == hook]

    def fail(self, error: BaseException, failure: Failure) -> None:
        """Record the exception that the caller gets.

        :param error: the exception
        :param failure: its description, unless a run has one already
        """
        # An error method does not replace the exception, but may raise it again.
        runs = [run for run in self.runs if run.error is error and run.kind != "error"]
        self.cause = runs[-1] if runs else None
        self.failure = self.cause.failure if self.cause else failure

    def end(self) -> None:
        """Record the end of the call, and release its arguments and exceptions."""
        self.ended = True
        self.arguments = None
        for run in self.runs:
            run.error = None


class Journal:
    """Collect the calls of all woven drivers, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self.on_call: Callable[[Call], None] = lambda call: None
        """Called with each call, and each tick on which hooks ran, at its end."""
        self.on_late_run: Callable[[Call, Run], None] = lambda call, run: None
        """Called with a run in the background after its call has ended."""

    @property
    def calls(self) -> list[Call]:
        """Return all calls that have ended, in order, without ticks."""
        with self._lock:
            return [call for call in self._calls if call.operation != TICK]

    @property
    def ticks(self) -> list[Call]:
        """Return all ticks on which hooks ran, in order."""
        with self._lock:
            return [call for call in self._calls if call.operation == TICK]

    def add(self, call: Call, run: Run) -> None:
        """Record one run of a method.

        :param call: the call, which may have ended
        :param run: the run, after it has ended
        """
        with self._lock:
            call.runs.append(run)
            late = call.ended
        if late:
            run.error = None
            self.on_late_run(call, run)

    def end(self, call: Call) -> None:
        """Record the end of a call.

        :param call: the call
        """
        with self._lock:
            call.end()
            self._calls.append(call)
        self.on_call(call)

# SPDX-License-Identifier: Apache-2.0
"""Hooks that record their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aspects import testing


class Timeout(BaseException):
    """A base exception, like eventlet's Timeout and greenlet's GreenletExit."""


class UnspeakableError(Exception):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        raise KeyError("no text")


#: Exceptions that suppression never catches.
NOT_SUPPRESSED = [KeyboardInterrupt, SystemExit, Timeout, asyncio.CancelledError]


#: One call of a hook method, and its arguments.
HookCall = testing.HookCall

#: Raises an answer that is an exception, calls a callable one, or returns it.
act = testing._give


class Recorder(testing.Recorder):
    """A recorder whose periodic method is disabled by default.

    :param name: the instance name
    :param trace: the list for its records; share one to see the order of all calls
    :param enabled: the methods that are enabled
    :param suppress: the methods whose errors are suppressed
    :param answers: method -> the answer, which is raised, called or returned
    """

    def __init__(
        self,
        name: str = "hook",
        trace: list[Any] | None = None,
        *,
        enabled: Iterable[str] = ("pre", "post"),
        suppress: Iterable[str] = (),
        **answers: Any,
    ) -> None:
        super().__init__(
            name=name, calls=trace, enabled=enabled, suppress=suppress, **answers
        )
        self.trace = self.calls

    def note(self, kind: str) -> Any:
        """Record a method that is not part of a call, such as ``start``."""
        return self._record(kind, None, None, None, None, (), {})


class UpstreamRecorder:
    """A recorder of Manila's contract, with plain attributes as switches.

    It has no error method.
    """

    def __init__(
        self,
        name: str = "plain",
        trace: list[Any] | None = None,
        *,
        enabled: Iterable[str] = ("pre", "post"),
        suppress: Iterable[str] = (),
        **answers: Any,
    ) -> None:
        self.instance_name = name
        self.calls = self.trace = [] if trace is None else trace
        self._answers = answers
        for kind in ("pre", "post", "periodic"):
            setattr(self, f"{kind}_hooks_enabled", kind in enabled)
            setattr(self, f"suppress_{kind}_hooks_errors", kind in suppress)

    _record = testing.Recorder._record
    _execute_pre_hook = testing.Recorder._execute_pre_hook
    _execute_post_hook = testing.Recorder._execute_post_hook
    _execute_periodic_hook = testing.Recorder._execute_periodic_hook


class PlainRecorder(UpstreamRecorder):
    """A recorder of Manila's contract with an error method."""

    _execute_error_hook = testing.Recorder._execute_error_hook


def methods_of(trace: Iterable[Any]) -> list[str]:
    """Return the names of the calls in a trace, e.g. ``one.pre`` or ``driver``."""
    return [str(call) for call in trace]

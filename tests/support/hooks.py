# SPDX-License-Identifier: Apache-2.0
"""Hooks that write down what they see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aspects import testing


class Timeout(BaseException):
    """Not an Exception, as eventlet's Timeout and greenlet's GreenletExit."""


#: What suppression never catches.
NOT_SUPPRESSED = [KeyboardInterrupt, SystemExit, Timeout, asyncio.CancelledError]


#: One call of a hook method, and what it was given.
HookCall = testing.HookCall

#: Raises an exception, calls a function, returns anything else.
act = testing._give


class Recorder(testing.Recorder):
    """A recorder that is enabled for calls alone.

    :param name: its instance name
    :param trace: what it writes to, shared with others to see the order
    :param enabled: its methods that are enabled
    :param suppress: its methods whose errors are suppressed
    :param answers: method -> what it does: raise, call or return that
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
        """Write down what no chain calls, as ``start``."""
        return self._record(kind, None, None, None, None, (), {})


class UpstreamRecorder:
    """The same as Manila's own hooks are: without an error method, and with plain
    attributes for switches.
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
    """The same with an error method."""

    _execute_error_hook = testing.Recorder._execute_error_hook


def methods_of(trace: Iterable[Any]) -> list[str]:
    """Return a trace in short: ``one.pre``, ``driver``, ``one.post``, ..."""
    return [str(each) for each in trace]

# SPDX-License-Identifier: Apache-2.0
"""Calls whose hooks fail at random, and a model that predicts each call.

Whether a hook method fails depends only on the call, the hook and the method.
:func:`expected` can therefore predict a call from the switches alone. It is a second
implementation of the call protocol, in the plainest form.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from oslo_config import cfg

import aspects

HOOKS = ("one", "two", "three")

#: Number of failures in a thousand hook methods or driver calls.
FAILURES = 4


class Switches(NamedTuple):
    """The switches of one hook."""

    pre: bool = True
    post: bool = True
    suppress_pre: bool = False
    suppress_post: bool = False


#: The hooks of a chain in order, with their switches.
State = tuple[tuple[str, Switches], ...]

OPTIONS = Switches(
    *(  # type: ignore[arg-type]
        *("enable_pre_hooks", "enable_post_hooks"),
        *("suppress_pre_hooks_errors", "suppress_post_hooks_errors"),
    )
)
ATTRIBUTES = Switches(
    *(  # type: ignore[arg-type]
        *("pre_hooks_enabled", "post_hooks_enabled"),
        *("suppress_pre_hooks_errors", "suppress_post_hooks_errors"),
    )
)


def fails(number: int, name: str, method: str) -> bool:
    """Return whether a method of a hook, or the driver, fails in a call."""
    return zlib.crc32(f"{number}{name}{method}".encode()) % 1000 < FAILURES


class InjectedError(Exception):
    """Raised by a hook method or the driver when it is to fail."""


class Call:
    """One call: its context, in which the hooks and the driver record their methods."""

    def __init__(self, number: int, pause: Callable[[], None]) -> None:
        self.number = number
        self.pause = pause
        self.done: list[tuple[str, str]] = []

    def run(self, name: str, method: str) -> None:
        """Record a method of a hook or of the driver, and fail if it is to."""
        self.done.append((name, method))
        if self.number % 7 == 0:
            self.pause()
        if fails(self.number, name, method):
            raise InjectedError(f"{method} of {name} in call {self.number}")


class Driver:
    """A share driver."""

    def create_share(self, context: Call, share: Any) -> int:
        context.run("driver", "call")
        return context.number


class StressHook(aspects.HookBase):
    """Records its methods in the context of the call."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        context.run(self.instance_name, "pre")
        return context.number, self.instance_name

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self._check(context, data)
        context.run(self.instance_name, "post")

    def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
        self._check(context, data)
        context.run(self.instance_name, "error")

    def _check(self, context: Call, data: Any) -> None:
        if isinstance(data, tuple):
            # The data of another call or another hook would differ.
            assert data == (context.number, self.instance_name)

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


def expected(number: int, state: State) -> tuple[list[tuple[str, str]], bool]:
    """Return the methods that a call runs in order, and whether the call returns."""
    done: list[tuple[str, str]] = []
    owed: list[tuple[str, Switches]] = []

    def run(name: str, method: str) -> bool:
        done.append((name, method))
        return not fails(number, name, method)

    def fail() -> tuple[list[tuple[str, str]], bool]:
        for name, on in reversed(owed):
            if on.post:
                run(name, "error")
        return done, False

    enabled = [(name, on) for name, on in state if on.pre or on.post]
    for name, on in enabled:
        if on.pre and not run(name, "pre") and not on.suppress_pre:
            return fail()
        owed.append((name, on))
    if not run("driver", "call"):
        return fail()
    for name, on in enabled:
        del owed[0]
        if on.post and not run(name, "post") and not on.suppress_post:
            return fail()
    return done, True


class World:
    """A woven driver, and all states that its chain has had."""

    def __init__(self, directory: Path) -> None:
        self._random = random.Random(4)
        self._file = directory / "service.conf"
        self.states: list[State] = [tuple((name, Switches()) for name in HOOKS)]
        self._write(self.states[0])
        self._conf = cfg.ConfigOpts()
        self._conf(["--config-file", str(self._file)], default_config_dirs=[])
        section = aspects.BackendSection(self._conf, "alpha")
        self.woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
        self.reloads = self.switched = 0

    def _write(self, state: State) -> None:
        names = ", ".join(f"{name}={__name__}:StressHook" for name, _ in state)
        text = f"[alpha]\nhook_drivers = {names}\n"
        for name, on in state:
            text += f"[alpha:{name}]\n"
            text += "".join(f"{o} = {v}\n" for o, v in zip(OPTIONS, on))
        self._file.write_text(text, "utf-8")

    def switch(self) -> None:
        """Invert one switch of one hook."""
        state = list(self.states[-1])
        index, switch = self._random.randrange(len(state)), self._random.randrange(4)
        name, on = state[index]
        value = not on[switch]
        state[index] = name, on._replace(**{Switches._fields[switch]: value})
        hook = aspects.weaving(self.woven).hooks[index]
        setattr(hook, ATTRIBUTES[switch], value)
        self.states.append(tuple(state))
        self.switched += 1

    def reload(self) -> None:
        """Reload the chain with other hooks, in another order, with other switches."""
        names = self._random.sample(HOOKS, self._random.randint(1, len(HOOKS)))
        state = tuple(
            (name, Switches(*(self._random.random() < 0.5 for _ in OPTIONS)))
            for name in names
        )
        self._write(state)
        self._conf.mutate_config_files()
        self.states.append(state)
        self.reloads += 1

    def churn(self, stop: threading.Event, pause: Callable[[], None]) -> None:
        """Invert switches and reload the chain until ``stop`` is set."""
        for turn in itertools.count():
            if stop.is_set():
                return
            self.reload() if turn % 10 == 0 else self.switch()
            pause()

    def make_calls(self, numbers: Iterator[int], pause: Callable[[], None]) -> None:
        """Make calls and compare each with the model.

        :raises AssertionError: if a call differs in all states that it may have met
        """
        for number in numbers:
            call = Call(number, pause)
            first = len(self.states) - 1
            try:
                returned = self.woven.create_share(call, "share") == number
            except InjectedError:
                returned = False
            last = len(self.states)
            observed = call.done, returned
            if any(
                observed == expected(number, state) for state in self.states[first:last]
            ):
                continue
            # The state is recorded only after the switch has been set.
            deadline = time.monotonic() + 10
            while len(self.states) == last and time.monotonic() < deadline:
                pause()
            state = self.states[min(last, len(self.states) - 1)]
            assert observed == expected(number, state), (
                observed,
                self.states[first : last + 1],
            )

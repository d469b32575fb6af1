# SPDX-License-Identifier: Apache-2.0
"""Calls whose hooks fail at random, and what the rules say of each.

Whether an action fails is a function of the call, the hook and the kind of action.
So what a call has to do can be told from the switches alone, and is told here a
second time, in the plainest words.
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

#: How many of a thousand actions, and of a thousand driver calls, fail.
FAILURES = 4


class Switches(NamedTuple):
    """What is switched on of one hook."""

    pre: bool = True
    post: bool = True
    suppress_pre: bool = False
    suppress_post: bool = False


#: The hooks of a chain in order, and what is on of each.
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


def fails(number: int, who: str, action: str) -> bool:
    """Tell whether an action of a call fails."""
    return zlib.crc32(f"{number}{who}{action}".encode()) % 1000 < FAILURES


class Failed(Exception):
    """An action, or the driver, failed."""


class Call:
    """One call: the context that its hooks get, where they write what they do."""

    def __init__(self, number: int, pause: Callable[[], None]) -> None:
        self.number = number
        self.pause = pause
        self.done: list[tuple[str, str]] = []

    def act(self, who: str, action: str) -> None:
        """Do one action: note it, and fail if it is to."""
        self.done.append((who, action))
        if self.number % 7 == 0:
            self.pause()
        if fails(self.number, who, action):
            raise Failed(f"{action} of {who} in call {self.number}")


class Driver:
    """A share driver."""

    def create_share(self, context: Call, share: Any) -> int:
        context.act("driver", "call")
        return context.number


class StressHook(aspects.HookBase):
    """Writes what it does into the call's context."""

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        context.act(self.instance_name, "pre")
        return context.number, self.instance_name

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self._check(context, data)
        context.act(self.instance_name, "post")

    def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
        self._check(context, data)
        context.act(self.instance_name, "error")

    def _check(self, context: Call, data: Any) -> None:
        if isinstance(data, tuple):
            # Not those of another call, or of another hook.
            assert data == (context.number, self.instance_name)

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


def due(number: int, state: State) -> tuple[list[tuple[str, str]], bool]:
    """Return what a call has to do, and whether it returns, by the rules."""
    done: list[tuple[str, str]] = []
    owed: list[tuple[str, Switches]] = []

    def act(who: str, action: str) -> bool:
        done.append((who, action))
        return not fails(number, who, action)

    def fail() -> tuple[list[tuple[str, str]], bool]:
        for who, on in reversed(owed):
            if on.post:
                act(who, "error")
        return done, False

    on_now = [(who, on) for who, on in state if on.pre or on.post]
    for who, on in on_now:
        if on.pre and not act(who, "pre") and not on.suppress_pre:
            return fail()
        owed.append((who, on))
    if not act("driver", "call"):
        return fail()
    for who, on in on_now:
        del owed[0]
        if on.post and not act(who, "post") and not on.suppress_post:
            return fail()
    return done, True


class World:
    """A woven driver, and the states that its switches have had."""

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
        """Set one switch of one hook."""
        state = list(self.states[-1])
        at, which = self._random.randrange(len(state)), self._random.randrange(4)
        name, on = state[at]
        value = not on[which]
        state[at] = name, on._replace(**{Switches._fields[which]: value})
        hook = aspects.weaving(self.woven).hooks[at]
        setattr(hook, ATTRIBUTES[which], value)
        self.states.append(tuple(state))
        self.switched += 1

    def reload(self) -> None:
        """Have the chain follow an edited file: hooks, their order, all switches."""
        names = self._random.sample(HOOKS, self._random.randint(1, len(HOOKS)))
        state = tuple(
            (name, Switches(*(self._random.random() < 0.5 for _ in OPTIONS)))
            for name in names
        )
        self._write(state)
        self._conf.mutate_config_files()
        self.states.append(state)
        self.reloads += 1

    def unrest(self, stop: threading.Event, pause: Callable[[], None]) -> None:
        """Switch and reload until it is to stop."""
        for turn in itertools.count():
            if stop.is_set():
                return
            self.reload() if turn % 10 == 0 else self.switch()
            pause()

    def make(self, numbers: Iterator[int], pause: Callable[[], None]) -> None:
        """Make calls, and compare each with what is due.

        :raises AssertionError: if one did anything else
        """
        for number in numbers:
            call = Call(number, pause)
            first = len(self.states) - 1
            try:
                returned = self.woven.create_share(call, "share") == number
            except Failed:
                returned = False
            last = len(self.states)
            did = call.done, returned
            if any(did == due(number, state) for state in self.states[first:last]):
                continue
            # A switch is set a moment before its state is written down.
            deadline = time.monotonic() + 10
            while len(self.states) == last and time.monotonic() < deadline:
                pause()
            state = self.states[min(last, len(self.states) - 1)]
            assert did == due(number, state), (did, self.states[first : last + 1])

# SPDX-License-Identifier: Apache-2.0
"""What the demo's hooks did, and the join points that this makes up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

#: The kinds of action that end a join point for a hook.
ENDINGS = ("post", "error")


@dataclass(frozen=True)
class Action:
    """One action of one hook."""

    kind: str
    """``pre``, ``post``, ``error`` or ``periodic``"""
    backend: str
    hook: str
    """the name of the hook instance"""
    operation: str
    method: str
    """the driver method, empty for a periodic action"""
    began: float
    """when, by ``time.perf_counter``"""
    seconds: float
    """how long it took"""
    outcome: str = ""
    """the driver's result or error, as an ending was told"""
    change: str = ""
    """what a post action put in the place of the result"""
    raised: str = ""
    """what the action itself raised"""
    thread: int = field(default_factory=threading.get_ident)

    @property
    def ended(self) -> float:
        """When it was over, by ``time.perf_counter``."""
        return self.began + self.seconds


@dataclass
class JoinPoint:
    """One call of a driver method, as its hooks saw it."""

    actions: list[Action]

    @property
    def backend(self) -> str:
        return self.actions[0].backend

    @property
    def operation(self) -> str:
        return self.actions[0].operation

    @property
    def method(self) -> str:
        return self.actions[0].method

    @property
    def vetoed(self) -> str:
        """What a pre action raised, when one did."""
        return next((a.raised for a in self.of("pre") if a.raised), "")

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return bool(self.vetoed or self.of("error"))

    @property
    def outcome(self) -> str:
        """The error, or the result as the last hook left it."""
        endings = self.of(*ENDINGS)
        for action in reversed(endings):
            if action.change:
                return action.change
        return self.vetoed or (endings[0].outcome if endings else "")

    @property
    def hook_seconds(self) -> float:
        """How long all hooks took together."""
        return sum(action.seconds for action in self.actions)

    @property
    def driver_seconds(self) -> float | None:
        """How long the driver took; None where it was not called."""
        pre, endings = self.of("pre"), self.of(*ENDINGS)
        if self.vetoed or not pre or not endings:
            return None
        return max(endings[0].began - pre[-1].ended, 0.0)

    def of(self, *kinds: str) -> list[Action]:
        """Return the actions of these kinds, in order."""
        return [action for action in self.actions if action.kind in kinds]

    def complete(self, hooks: int) -> bool:
        """Tell whether each hook that is owed an ending has had it.

        :param hooks: how many hooks the chain has
        """
        pre = self.of("pre")
        owed = len(pre) - 1 if self.vetoed else hooks
        return len(self.of(*ENDINGS)) >= owed


class Journal:
    """Collect actions as they happen, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._actions: list[Action] = []
        self._open: dict[tuple[int, str], JoinPoint] = {}
        self._points: list[JoinPoint] = []
        self.chain_lengths: dict[str, int] = {}
        """How many hooks of each backend write here."""
        self.on_point: Callable[[JoinPoint], None] = lambda point: None
        """Called with each join point when it is over."""
        self.on_periodic: Callable[[list[Action]], None] = lambda actions: None
        """Called with the periodic actions of a tick when all have run."""
        self._rounds: dict[str, list[Action]] = {}

    @property
    def actions(self) -> list[Action]:
        """All actions so far, in order."""
        with self._lock:
            return list(self._actions)

    @property
    def points(self) -> list[JoinPoint]:
        """All join points so far, those that are not over last."""
        with self._lock:
            return [*self._points, *self._open.values()]

    def write(self, action: Action) -> None:
        """Take up one action.

        :param action: the action, when it is over
        """
        with self._lock:
            self._actions.append(action)
            points: list[JoinPoint] = []
            rounds: list[list[Action]] = []
            if action.kind == "periodic":
                rounds = self._assign_round(action)
            else:
                points = self._assign(action)
        for point in points:
            self.on_point(point)
        for actions in rounds:
            self.on_periodic(actions)

    def _hooks(self, backend: str) -> int:
        return self.chain_lengths.get(backend, 1_000)

    def _assign_round(self, action: Action) -> list[list[Action]]:
        """Put a periodic action into its tick; return those that are over now."""
        over = []
        tick = self._rounds.setdefault(action.backend, [])
        if action.hook in [each.hook for each in tick]:
            # One of the tick before has been missing.
            over.append(self._rounds.pop(action.backend))
            tick = self._rounds.setdefault(action.backend, [])
        tick.append(action)
        if len(tick) >= self._hooks(action.backend):
            over.append(self._rounds.pop(action.backend))
        return over

    def _assign(self, action: Action) -> list[JoinPoint]:
        """Put an action into its join point; return those that are over now.

        The actions of one join point follow each other in one thread.
        """
        over = []
        key = (action.thread, action.backend)
        point = self._open.get(key)
        if point is not None and (
            point.operation != action.operation
            or (action.kind == "pre" and point.of(*ENDINGS))
        ):
            # It has not had all of its endings, and will not have them.
            over.append(self._open.pop(key))
            point = None
        if point is None:
            point = self._open[key] = JoinPoint([])
        point.actions.append(action)
        if point.complete(self._hooks(action.backend)):
            over.append(self._open.pop(key))
        self._points += over
        return over

# SPDX-License-Identifier: Apache-2.0
"""Compare what the hooks did with what was due."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from aspects.demo.backends import WOVEN, Woven
from aspects.demo.journal import Action
from aspects.demo.scenario import Due

#: Manila asks each second for statistics: how often is not known beforehand,
#: only what is due each time.
REPEATED = Due("", "publish_service_capabilities", "get_share_stats")


def methods_of(due: Due, hooks: Sequence[str]) -> list[str]:
    """Write down the actions that one join point owes, in order.

    :param due: the join point
    :param hooks: the chain of its backend
    :returns: a line for each action
    """
    turn = list(hooks)
    if due.ending == "post":
        steps = [("pre", h) for h in turn] + [("post", h) for h in turn]
    else:
        # A veto ends the turns of the hooks before it, an error those of all.
        vetoed = due.ending != "error"
        before = turn[: turn.index(due.ending)] if vetoed else turn
        steps = [("pre", h) for h in before]
        steps += [("pre", due.ending)] if vetoed else []
        steps += [("error", h) for h in reversed(before)]
    return [_line(due.operation, due.method, kind, hook) for kind, hook in steps]


def _line(operation: str, method: str, kind: str, hook: str) -> str:
    return f"{operation} ({method}): {kind} of {hook}"


def _lines(actions: Iterable[Action]) -> list[str]:
    return [_line(a.operation, a.method, a.kind, a.hook) for a in actions]


def differences(
    actions: Sequence[Action],
    due: Sequence[Due],
    ticks: dict[str, int],
    woven: Iterable[str],
) -> Iterator[str]:
    """Yield each difference between what was seen and what was due.

    :param actions: all actions that were seen
    :param due: the join points that were due, in order
    :param ticks: how often each woven driver ticked
    :param woven: the backends whose drivers are woven
    """
    woven = set(woven)
    for name in sorted(woven ^ set(WOVEN)):
        yield f"[{name}] the driver is {'' if name in woven else 'not '}woven"
    for name in sorted({action.backend for action in actions} - set(WOVEN)):
        yield f"[{name}] has no hooks, but actions were seen"
    for name, backend in WOVEN.items():
        seen = [action for action in actions if action.backend == name]
        for line in _of_backend(backend, seen, [d for d in due if d.backend == name]):
            yield f"[{name}] {line}"
        if name in ticks:
            for line in _of_ticks(backend, seen, ticks[name]):
                yield f"[{name}] {line}"


def _of_backend(
    backend: Woven, seen: Sequence[Action], due: Sequence[Due]
) -> Iterator[str]:
    once = [
        a for a in seen if a.kind != "periodic" and a.operation != REPEATED.operation
    ]
    owed = [line for each in due for line in methods_of(each, backend.hooks)]
    for line in difflib.ndiff(owed, _lines(once)):
        if line.startswith("- "):
            yield f"due, not seen: {line[2:]}"
        elif line.startswith("+ "):
            yield f"seen, not due: {line[2:]}"
    # Statistics are asked for in several threads: each is told by itself.
    block = methods_of(REPEATED, backend.hooks)
    repeated = [a for a in seen if a.operation == REPEATED.operation]
    if not repeated:
        yield f"due, not seen: {REPEATED.operation}"
    for thread in dict.fromkeys(a.thread for a in repeated):
        lines = _lines(a for a in repeated if a.thread == thread)
        for start in range(0, len(lines), len(block)):
            found = lines[start : start + len(block)]
            if found != block:
                yield f"{REPEATED.operation}: due {block}, seen {found}"
                break


def _of_ticks(backend: Woven, seen: Sequence[Action], ticks: int) -> Iterator[str]:
    if ticks < 2 * backend.ticks:
        yield f"only {ticks} ticks, too few to see periodic hooks twice"
    rounds = ticks // backend.ticks
    for hook in backend.hooks:
        ran = sum(1 for a in seen if a.kind == "periodic" and a.hook == hook)
        if ran != rounds:
            yield (
                f"periodic of {hook}: {ran} times in {ticks} ticks, "
                f"due every {backend.ticks}: {rounds}"
            )

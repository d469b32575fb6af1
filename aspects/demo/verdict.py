# SPDX-License-Identifier: Apache-2.0
"""Compare the hook methods that ran with the expected ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from aspects.demo.backends import WOVEN, Woven
from aspects.demo.journal import HookRun
from aspects.demo.scenario import Expected

#: Manila asks for statistics each second.
STATISTICS = Expected("", "publish_service_capabilities", "get_share_stats")

#: Calls whose number varies, so that only the hook methods of each call are compared.
#: Manila may synchronize unchanged access rules when two requests for them overlap.
REPEATED = (STATISTICS, Expected("", "update_access", "update_access"))


def expected_lines(expected: Expected, hooks: Sequence[str]) -> list[str]:
    """Return the hook methods that one join point has to run, in order.

    :param expected: the join point
    :param hooks: the names of the hooks in the chain of its backend
    :returns: a line for each hook method
    """
    if expected.completion == "post":
        steps = [("pre", hook) for hook in hooks] + [("post", hook) for hook in hooks]
    else:
        # After a veto, only the hooks before the vetoing one are owed an error method.
        vetoed = expected.completion != "error"
        before = hooks[: hooks.index(expected.completion)] if vetoed else hooks
        steps = [("pre", hook) for hook in before]
        steps += [("pre", expected.completion)] if vetoed else []
        steps += [("error", hook) for hook in reversed(before)]
    return [
        _line(expected.operation, expected.method, kind, hook) for kind, hook in steps
    ]


def _line(operation: str, method: str, kind: str, hook: str) -> str:
    return f"{operation} ({method}): {kind} of {hook}"


def _lines(runs: Iterable[HookRun]) -> list[str]:
    return [_line(run.operation, run.method, run.kind, run.hook) for run in runs]


def differences(
    runs: Sequence[HookRun],
    expected: Sequence[Expected],
    ticks: dict[str, int],
    woven: Iterable[str],
) -> Iterator[str]:
    """Yield the differences between the actual and the expected hook methods.

    :param runs: all runs of hook methods
    :param expected: the expected join points, in order
    :param ticks: the number of ticks of each woven driver
    :param woven: the backends whose drivers are woven
    """
    woven = set(woven)
    for name in sorted(woven ^ set(WOVEN)):
        yield f"[{name}] the driver is {'' if name in woven else 'not '}woven"
    for name in sorted({run.backend for run in runs} - set(WOVEN)):
        yield f"[{name}] hook methods ran on a backend without hooks"
    for name, backend in WOVEN.items():
        actual = [run for run in runs if run.backend == name]
        points = [point for point in expected if point.backend == name]
        for line in _of_backend(backend, actual, points):
            yield f"[{name}] {line}"
        if name in ticks:
            for line in _of_ticks(backend, actual, ticks[name]):
                yield f"[{name}] {line}"


def _of_backend(
    backend: Woven, runs: Sequence[HookRun], expected: Sequence[Expected]
) -> Iterator[str]:
    repeated = {point.operation for point in REPEATED}
    once = [
        run for run in runs if run.kind != "periodic" and run.operation not in repeated
    ]
    lines = [
        line for point in expected for line in expected_lines(point, backend.hooks)
    ]
    for line in difflib.ndiff(lines, _lines(once)):
        if line.startswith("- "):
            yield f"missing: {line[2:]}"
        elif line.startswith("+ "):
            yield f"unexpected: {line[2:]}"
    if all(run.operation != STATISTICS.operation for run in runs):
        yield f"missing: {STATISTICS.operation}"
    for point in REPEATED:
        block = expected_lines(point, backend.hooks)
        yield from _of_repeated(
            point, block, [run for run in runs if run.operation == point.operation]
        )


def _of_repeated(
    point: Expected, block: list[str], runs: Sequence[HookRun]
) -> Iterator[str]:
    # Several threads call the driver, so each thread is compared by itself.
    for thread in dict.fromkeys(run.thread for run in runs):
        lines = _lines(run for run in runs if run.thread == thread)
        for start in range(0, len(lines), len(block)):
            found = lines[start : start + len(block)]
            if found != block:
                yield f"{point.operation}: expected {block}, got {found}"
                break


def _of_ticks(backend: Woven, runs: Sequence[HookRun], ticks: int) -> Iterator[str]:
    if ticks < 2 * backend.ticks:
        yield f"{ticks} ticks: too few for two runs of the periodic methods"
    expected = ticks // backend.ticks
    for hook in backend.hooks:
        count = sum(1 for run in runs if run.kind == "periodic" and run.hook == hook)
        if count != expected:
            yield (
                f"periodic of {hook}: expected {expected} runs, one every "
                f"{backend.ticks} of {ticks} ticks, got {count}"
            )

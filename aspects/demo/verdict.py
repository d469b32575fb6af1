# SPDX-License-Identifier: Apache-2.0
"""Compare the hook methods that ran with the expected ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from aspects.demo.backends import CHAINS, Woven
from aspects.demo.journal import Call
from aspects.demo.scenario import Expected

#: Manila asks for statistics each second.
STATISTICS = Expected("", "publish_service_capabilities", "get_share_stats")

#: Calls whose number varies, so that only the hook methods of each call are compared.
#: Manila may synchronize unchanged access rules when two requests for them overlap.
REPEATED = (STATISTICS, Expected("", "update_access", "update_access"))


def expected_lines(expected: Expected, backend: Woven) -> list[str]:
    """Return the methods that one call has to run, in order.

    :param expected: the call
    :param backend: the hooks in the chain of its backend
    :returns: a line for each method of a hook, and for the driver's
    """
    hooks = backend.hooks
    if expected.completion == "post":
        steps = [f"pre of {hook}" for hook in hooks]
        steps += ["driver", *(f"post of {hook}" for hook in hooks)]
    else:
        # After a veto, only the hooks before the vetoing one are owed an error method.
        vetoed = expected.completion != "error"
        before = hooks[: hooks.index(expected.completion)] if vetoed else hooks
        steps = [f"pre of {hook}" for hook in before]
        steps += [f"pre of {expected.completion}" if vetoed else "driver"]
        steps += [
            f"error of {hook}"
            for hook in reversed(before)
            if hook not in backend.without_error_method
        ]
    return [f"{expected.operation} ({expected.method}): {step}" for step in steps]


def _lines(call: Call) -> list[str]:
    return [f"{call.operation} ({call.method}): {run.name}" for run in call.runs]


def differences(
    calls: Sequence[Call],
    ticks: Sequence[Call],
    expected: Sequence[Expected],
    counts: dict[str, int],
    woven: Iterable[str],
) -> Iterator[str]:
    """Yield the differences between the actual and the expected methods.

    :param calls: all calls of woven drivers and of the API, in order
    :param ticks: the ticks on which hooks ran
    :param expected: the expected calls, in order
    :param counts: the number of all ticks of each woven driver
    :param woven: the sections whose drivers are woven, and that of the API if it is
    """
    woven = set(woven)
    for name in sorted(woven ^ set(CHAINS)):
        yield f"[{name}] is {'' if name in woven else 'not '}woven"
    for name in sorted({call.backend for call in calls} - set(CHAINS)):
        yield f"[{name}] hook methods ran on a backend without hooks"
    for name, backend in CHAINS.items():
        actual = [call for call in calls if call.backend == name]
        wanted = [call for call in expected if call.backend == name]
        for line in _of_backend(backend, actual, wanted):
            yield f"[{name}] {line}"
        if name in counts:
            ran = [tick for tick in ticks if tick.backend == name]
            for line in _of_ticks(backend, ran, counts[name]):
                yield f"[{name}] {line}"


def _of_backend(
    backend: Woven, calls: Sequence[Call], expected: Sequence[Expected]
) -> Iterator[str]:
    repeated = {call.operation for call in REPEATED}
    wanted = [line for call in expected for line in expected_lines(call, backend)]
    found = [
        line
        for call in calls
        if call.operation not in repeated
        for line in _lines(call)
    ]
    # Lines that occur often are not junk.
    matcher = difflib.SequenceMatcher(None, wanted, found, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            yield from (f"missing: {line}" for line in wanted[i1:i2])
            yield from (f"unexpected: {line}" for line in found[j1:j2])
    has_driver = backend.ticks > 0
    if has_driver and all(call.operation != STATISTICS.operation for call in calls):
        yield f"missing: {STATISTICS.operation}"
    for each in REPEATED:
        block = expected_lines(each, backend)
        for call in calls:
            if call.operation == each.operation and _lines(call) != block:
                yield f"{each.operation}: expected {block}, got {_lines(call)}"
                break


def _of_ticks(backend: Woven, ticks: Sequence[Call], count: int) -> Iterator[str]:
    if count < 2 * backend.ticks:
        yield f"{count} ticks: too few for two runs of the periodic methods"
    expected = count // backend.ticks
    for hook in backend.hooks:
        ran = sum(1 for tick in ticks for _ in tick.hook_runs(hook, "periodic"))
        if ran != expected:
            yield (
                f"periodic of {hook}: expected {expected} runs, one every "
                f"{backend.ticks} of {count} ticks, got {ran}"
            )

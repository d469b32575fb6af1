# SPDX-License-Identifier: Apache-2.0
"""The timed statements, in groups; one process times one group."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, NamedTuple

import wrapt
from oslo_context import context as oslo_context

import aspects
from bench.floor import by_hand
from bench.subjects import (
    CoroutineDriver,
    Driver,
    DriverError,
    FailingHook,
    ReplacingHook,
    hooks,
)

#: The numbers of hooks.
COUNTS = (1, 2, 4, 8, 16, 32, 64)

#: How Manila's manager calls a driver, and the same without keywords.
STYLES = {
    "positional": "create_share(context, share, server)",
    "keyword": "create_share(context, share=share, share_server=server)",
}

#: The only style that pluggy supports.
ALL_KEYWORD = "create_share(context=context, share=share, share_server=server)"

SHARE = {"id": "5f1c", "share_id": "77aa", "size": 1, "share_proto": "NFS"}


class Case(NamedTuple):
    """One statement to time.

    :param name: the figure's name
    :param statement: Python source of one or more lines
    :param target: the object that the statement calls ``target``
    :param coroutine: whether the statement awaits
    """

    name: str
    statement: str
    target: Any
    coroutine: bool = False


Loop = Callable[[Iterable[None], Callable[[], float]], float]


def loop_of(case: Case) -> Loop:
    """Compile a loop around a case's statement.

    The statement is part of the loop, so that no call is timed but its own. The
    names in it are local variables.

    :param case: the case
    """
    kind = "async def" if case.coroutine else "def"
    source = (
        f"{kind} loop(iterations, timer, target=target, context=context, share=share,\n"
        "         server=server, instances=instances, DriverError=DriverError):\n"
        "    start = timer()\n"
        "    for _ in iterations:\n"
        f"{textwrap.indent(case.statement, ' ' * 8)}\n"
        "    return timer() - start\n"
    )
    namespace: dict[str, Any] = {
        "target": case.target,
        "context": oslo_context.get_admin_context(),
        "share": SHARE,
        "server": None,
        "instances": [dict(SHARE, id=str(i)) for i in range(1000)],
        "DriverError": DriverError,
    }
    exec(source, namespace)
    loop: Loop = namespace["loop"]
    return _driven(loop) if case.coroutine else loop


def _driven(loop: Callable[..., Any]) -> Loop:
    """Return a function that runs a loop of ``async def`` without an event loop."""

    def run(iterations: Iterable[None], timer: Callable[[], float]) -> float:
        try:
            loop(iterations, timer).send(None)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        raise RuntimeError("a statement suspended its loop")

    return run


def time_of(loop: Loop, loops: int, timer: Callable[[], float]) -> float:
    """Return the seconds that a loop takes.

    :param loop: the loop
    :param loops: the number of iterations
    :param timer: returns the time in seconds
    """
    return loop(repeat(None, loops), timer)


def calls() -> list[Case]:
    """Return the cases of calls, of attributes and of the peers."""
    from bench import peers

    driver = Driver()
    proxy = wrapt.ObjectProxy(driver)
    disabled = aspects.weave(driver, hooks(8, enabled=False))
    one = aspects.weave(driver, hooks(1))
    none = aspects.weave(driver, [])
    cases = [
        Case(f"{name}/{style}", f"target.{call}", target)
        for style, call in STYLES.items()
        for name, target in {
            "direct": driver,
            "proxy": proxy,
            "woven/none": none,
            "woven/disabled": disabled,
        }.items()
    ]
    for name, target in {"direct": driver, "proxy": proxy, "woven": one}.items():
        cases += [
            Case(f"{name}/attribute", "target.pools", target),
            Case(f"{name}/method", "target.get_pool(share)", target),
        ]
    coroutines = CoroutineDriver()
    cases += [
        Case(f"{name}/coroutine", f"await target.{STYLES['keyword']}", target, True)
        for name, target in {
            "direct": coroutines,
            "woven": aspects.weave(coroutines, hooks(1)),
        }.items()
    ]
    for count in COUNTS:
        woven = aspects.weave(driver, hooks(count))
        floor = by_hand(driver, hooks(count))
        for style, call in STYLES.items():
            cases += [
                Case(f"woven/{count}/{style}", f"target.{call}", woven),
                Case(f"floor/{count}/{style}", f"target.{call}", floor),
            ]
        cases += [
            Case(f"{name}/{count}/keyword", f"target.{call}", make(count))
            for name, (make, call) in {
                "upstream": (peers.upstream, STYLES["keyword"]),
                "pluggy": (peers.with_pluggy, ALL_KEYWORD),
                "aspectlib": (peers.with_aspectlib, STYLES["keyword"]),
            }.items()
        ]
    return cases


def paths() -> list[Case]:
    """Return the cases of ticks, of errors and replaced results, and of weaving."""
    from bench import peers

    driver = Driver()
    call = f"target.{STYLES['keyword']}"
    failing = "try:\n    target.delete_share(context, share)\nexcept DriverError: pass"
    suppressing = hooks(1, FailingHook)
    suppressing[0].suppress_pre_hooks_errors = True
    replacing = hooks(1, ReplacingHook)
    cases = [
        Case("suppressed/direct", call, driver),
        Case("suppressed/woven", call, aspects.weave(driver, suppressing)),
        Case("suppressed/upstream", call, peers.upstream(1, peers.UpstreamFailingHook)),
        Case("error/direct", failing, driver),
        Case("error/woven", failing, aspects.weave(driver, hooks(1))),
        Case("replaced/direct", call, driver),
        Case("replaced/floor", call, by_hand(driver, replacing)),
        Case("replaced/woven", call, aspects.weave(driver, replacing)),
        Case("weave/proxy", "target()", lambda: wrapt.ObjectProxy(driver)),
    ]
    for count in (1, 64):
        made = hooks(count)
        woven = aspects.weave(driver, made)
        cases += [
            Case(
                f"tick/{count}/woven",
                "target[0](target[1], context, instances)",
                (aspects.tick, woven),
            ),
            Case(
                f"tick/{count}/loop",
                "data = target[0].get_periodic_hook_data(context, instances)\n"
                "for hook in target[1]:\n"
                "    hook._execute_periodic_hook(context, data)",
                (driver, made),
            ),
        ]
    for count in (1, 8):
        made = hooks(count)
        cases.append(
            Case(f"weave/{count}", "target()", _weaver(driver, made)),
        )
    return cases


def _weaver(driver: Driver, made: list[aspects.HookBase]) -> Callable[[], Any]:
    return lambda: aspects.weave(driver, made)


def threads() -> dict[str, Case]:
    """Return the cases that several threads call at once."""
    driver = Driver()
    call = f"target.{STYLES['keyword']}"
    return {
        "direct": Case("direct", call, driver),
        "woven": Case("woven", call, aspects.weave(driver, hooks(1))),
    }

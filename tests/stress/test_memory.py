# SPDX-License-Identifier: Apache-2.0
"""Nothing grows with the calls, and nothing outlives its users."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import resource
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import aspects

#: Calls that everything which is kept once may take to be there.
FIRST = 10_000


#: What a third of the calls may add to the process: of 8 bytes a call, a third of a
#: million would be 2,600.
KIB = 1024


def noise(calls: int) -> int:
    """Return how many blocks of memory may be there more after so many calls.

    Some come and go, as in a dict that is made anew, or are kept by the interpreter;
    of what a call keeps, not even one thousandth is let pass.
    """
    return 100 + calls // 2000


@pytest.fixture(autouse=True)
def _quiet() -> object:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Data:
    """What a pre action returns, an argument, a result: watched, not counted."""


class Hook(aspects.HookBase):
    """Does everything that a hook can do, one after the other."""

    def __init__(self) -> None:
        super().__init__(None, "node1@alpha")
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.suppress_pre_hooks_errors = self.suppress_post_hooks_errors = True
        self.calls = 0
        self.last: weakref.ref[Any] | None = None

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.calls += 1
        if self.calls % 100 == 0:
            raise OSError("suppressed")
        data = Data()
        self.last = weakref.ref(data)
        return data

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        if self.calls % 100 == 1:
            raise OSError("suppressed")
        return aspects.UpdatedResults(results)

    def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
        if self.calls % 100 == 2:
            raise OSError("suppressed")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


class Configured(Hook):
    def __init__(self, configuration, host):
        super().__init__()


class Driver:
    def __init__(self) -> None:
        self.calls = 0

    def create_share(self, context, share, share_server=None):
        self.calls += 1
        if self.calls % 50 == 0:
            raise LookupError("no pool")
        return share

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        return None

    async def delete_share(self, context, share):
        return share


def taken() -> tuple[int, int]:
    """Return how many blocks of memory are taken, and how many KiB the process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), pages * resource.getpagesize() // 1024


def run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value


def check_growth(
    call: Callable[[], Any], calls: int, end: Callable[[], Any] = lambda: None
) -> None:
    """Check that memory does not grow with the calls after the first.

    What grows with them does so in each third of them; what comes and goes does not.

    :param call: makes a call
    :param calls: how many calls
    :param end: ends what they have left to be done
    """

    def times(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(LookupError):
                call()
        end()

    times(FIRST)
    measured = [taken()]
    for _ in range(3):
        times(calls // 3)
        measured.append(taken())
    grown = [
        (after[0] - before[0], after[1] - before[1])
        for before, after in itertools.pairwise(measured)
    ]
    assert min(blocks for blocks, _ in grown) < noise(calls // 3), grown
    assert min(kib for _, kib in grown) < KIB, grown


@pytest.mark.parametrize("operations", [("*",), ("create_*", "allow_access")])
@pytest.mark.parametrize("background", [False, True])
def test_no_growth(calls: int, operations: tuple[str, ...], background: bool) -> None:
    hooks = [Hook(), Hook()]
    for hook in hooks:
        hook.hook_operations = operations
    if background:
        hooks[1].dispatcher = aspects.Background("hook of alpha")
        hooks[1].hook_operations = operations
    woven = aspects.weave(Driver(), hooks, "alpha")
    context = object()

    def call() -> None:
        woven.update_access(context, {}, [], [{"access_key": "x"}], delete_rules=[])
        woven.create_share(context, {"id": 1}, share_server=None)

    # Two woven calls each; those in the background wait for their turn.
    if background:
        check_growth(call, calls // 8, hooks[1].dispatcher.stop)  # type: ignore
    else:
        check_growth(call, calls // 2)


def test_no_growth_of_coroutines(calls: int) -> None:
    woven = aspects.weave(Driver(), [Hook()], "alpha")
    context = object()
    check_growth(lambda: run(woven.delete_share(context, "s")), calls // 10)


def test_no_growth_of_ticks(calls: int) -> None:
    hook = Hook()
    hook.periodic_hooks_enabled = True
    woven = aspects.weave(Driver(), [hook], "alpha")
    check_growth(lambda: aspects.tick(woven, None, []), calls // 10)


def test_no_growth_of_woven_drivers(calls: int) -> None:
    hook = Hook()

    def weave() -> None:
        aspects.weave(Driver(), [hook], "alpha").create_share(object(), {})

    check_growth(weave, calls // 10)


@pytest.mark.parametrize("ending", ["returned", "raised"])
def test_nothing_of_a_call_outlives_it(ending: str) -> None:
    driver, hook = Driver(), Hook()
    if ending == "raised":
        driver.calls = 49
    woven = aspects.weave(driver, [hook], "alpha")
    argument = Data()
    alive = weakref.ref(argument)
    # Without the collector: no cycle may keep anything.
    gc.disable()
    try:
        with contextlib.suppress(LookupError):
            assert woven.create_share(object(), argument) is argument
        assert hook.last is not None
        assert hook.last() is None
        del argument
        assert alive() is None
        left = [weakref.ref(driver), weakref.ref(hook)]
        del driver, hook, woven
        assert [each() for each in left] == [None, None]
    finally:
        gc.enable()


def from_section(conf: cfg.ConfigOpts) -> Any:
    section = aspects.BackendSection(conf, "alpha")
    return aspects.weave_from_config(Driver(), section, "node1@alpha")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "service.conf"
    names = ", ".join(f"{name}={__name__}:Configured" for name in "ab")
    file.write_text(f"[alpha]\nhook_drivers = {names}\n", "utf-8")
    return file


def options_of(file: Path) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], default_config_dirs=[])
    return conf


@pytest.mark.parametrize("mutated", [False, True])
def test_options_keep_nothing_of_the_hooks(file: Path, mutated: bool) -> None:
    conf = options_of(file)
    woven = from_section(conf)
    if mutated:
        conf.mutate_config_files()
    alive = [weakref.ref(hook) for hook in aspects.weaving(woven).hooks]
    alive.append(weakref.ref(aspects.unweave(woven)))
    del woven
    gc.collect()
    assert [each() for each in alive] == [None, None, None]


def test_nothing_keeps_the_options(file: Path) -> None:
    conf = options_of(file)
    woven = from_section(conf)
    conf.mutate_config_files()
    alive = weakref.ref(conf)
    del conf, woven
    gc.collect()
    assert alive() is None


def test_background_ends_with_its_hook() -> None:
    hook = Hook()
    hook.dispatcher = aspects.Background("hook of alpha")
    woven = aspects.weave(Driver(), [hook], "alpha")
    woven.create_share(object(), {})
    aspects.weaving(woven).stop()
    threads = threading.active_count()
    alive = weakref.ref(hook)
    del hook, woven
    gc.collect()
    assert alive() is None
    assert threading.active_count() <= threads

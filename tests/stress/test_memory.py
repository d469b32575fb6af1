# SPDX-License-Identifier: Apache-2.0
"""Memory does not grow with calls, and no object outlives its users."""

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

#: Calls before the first measurement, which fill caches.
FIRST = 10_000


#: KiB by which the process may grow in a third of the calls. A leak of 8 bytes a call
#: is 2,600 KiB in a third of a million calls.
MAX_GROWTH = 1024


def max_blocks(calls: int) -> int:
    """Return the number of memory blocks by which the process may grow.

    The interpreter keeps some blocks, and others come and go, for example when a
    dictionary is rebuilt. In the full run, a leak of one block in a thousand calls
    exceeds the limit.
    """
    return 100 + calls // 2000


@pytest.fixture(autouse=True)
def _quiet() -> object:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Data:
    """The data of a pre method, an argument or a result, watched by weak references."""


class Hook(aspects.HookBase):
    """Returns data, updates results and fails, in turn."""

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


def memory() -> tuple[int, int]:
    """Return the number of allocated memory blocks and the process size in KiB."""
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
    """Check that memory does not grow with the number of calls.

    A leak shows in each third of the calls; blocks that come and go do not.

    :param call: makes a call
    :param calls: number of calls
    :param end: waits for the work that the calls have queued
    """

    def repeat(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(LookupError):
                call()
        end()

    repeat(FIRST)
    measured = [memory()]
    for _ in range(3):
        repeat(calls // 3)
        measured.append(memory())
    grown = [
        (after[0] - before[0], after[1] - before[1])
        for before, after in itertools.pairwise(measured)
    ]
    assert min(blocks for blocks, _ in grown) < max_blocks(calls // 3), grown
    assert min(kib for _, kib in grown) < MAX_GROWTH, grown


@pytest.mark.parametrize("operations", [("*",), ("create_*", "allow_access")])
@pytest.mark.parametrize("background", [False, True])
def test_memory_does_not_grow_with_calls(
    calls: int, operations: tuple[str, ...], background: bool
) -> None:
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

    # Each repetition makes two woven calls. Calls in the background take longer.
    if background:
        check_growth(call, calls // 8, hooks[1].dispatcher.stop)  # type: ignore
    else:
        check_growth(call, calls // 2)


def test_memory_does_not_grow_with_coroutines(calls: int) -> None:
    woven = aspects.weave(Driver(), [Hook()], "alpha")
    context = object()
    check_growth(lambda: run(woven.delete_share(context, "s")), calls // 10)


def test_memory_does_not_grow_with_ticks(calls: int) -> None:
    hook = Hook()
    hook.periodic_hooks_enabled = True
    woven = aspects.weave(Driver(), [hook], "alpha")
    check_growth(lambda: aspects.tick(woven, None, []), calls // 10)


def test_memory_does_not_grow_with_woven_drivers(calls: int) -> None:
    hook = Hook()

    def weave() -> None:
        aspects.weave(Driver(), [hook], "alpha").create_share(object(), {})

    check_growth(weave, calls // 10)


@pytest.mark.parametrize("outcome", ["returned", "raised"])
def test_no_object_of_a_call_outlives_it(outcome: str) -> None:
    driver, hook = Driver(), Hook()
    if outcome == "raised":
        driver.calls = 49
    woven = aspects.weave(driver, [hook], "alpha")
    argument = Data()
    alive = weakref.ref(argument)
    # Disable the collector: a reference cycle would keep objects alive.
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
        assert [reference() for reference in left] == [None, None]
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
def test_options_keep_neither_hooks_nor_driver_alive(file: Path, mutated: bool) -> None:
    conf = options_of(file)
    woven = from_section(conf)
    if mutated:
        conf.mutate_config_files()
    alive = [weakref.ref(hook) for hook in aspects.weaving(woven).hooks]
    alive.append(weakref.ref(aspects.unweave(woven)))
    del woven
    gc.collect()
    assert [reference() for reference in alive] == [None, None, None]


def test_hooks_do_not_keep_the_options_alive(file: Path) -> None:
    conf = options_of(file)
    woven = from_section(conf)
    conf.mutate_config_files()
    alive = weakref.ref(conf)
    del conf, woven
    gc.collect()
    assert alive() is None


def test_a_stopped_hook_leaves_no_thread_and_is_freed() -> None:
    hook = Hook()
    hook.dispatcher = aspects.Background("hook of alpha")
    woven = aspects.weave(Driver(), [hook], "alpha")
    woven.create_share(object(), {})
    aspects.weaving(woven).stop()
    threads = set(threading.enumerate())
    alive = weakref.ref(hook)
    del hook, woven
    gc.collect()
    assert alive() is None
    assert set(threading.enumerate()) <= threads

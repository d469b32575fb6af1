# SPDX-License-Identifier: Apache-2.0
"""Hooks run only between their start and their stop while chains and switches change.

Eight threads or eight coroutines make calls, while other threads add and remove hooks
and set switches. Each hook checks every use of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import pytest

import aspects

THREADS = 8


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Guarded(aspects.HookBase):
    """Records each use outside of its life, and each start and stop."""

    def __init__(self, name: str, faults: list[str]) -> None:
        super().__init__(None, "node1@alpha")
        self.instance_name = name
        self.faults = faults
        self.life: list[str] = []
        self.left = 0.0
        self.last_use = 0.0
        self.delays: list[float] = []
        self._uses: list[str] = []
        for switch in ("pre", "post", "periodic"):
            setattr(self, f"{switch}_hooks_enabled", True)

    def start(self) -> None:
        if self.life[-1:] == ["start"]:
            self.faults.append(f"{self.instance_name} was started twice")
        self.life.append("start")

    def stop(self) -> None:
        if self.life[-1:] != ["start"]:
            self.faults.append(f"{self.instance_name} was stopped twice")
        self.life.append("stop")
        if self._uses:
            self.faults.append(f"{self.instance_name} was stopped during {self._uses}")
        self.delays.append(time.monotonic() - max(self.left, self.last_use))

    @contextlib.contextmanager
    def using(self, use: str) -> Iterator[None]:
        self._uses.append(use)
        if self.life[-1:] != ["start"]:
            self.faults.append(f"{self.instance_name}: {use} after {self.life[-1:]}")
        try:
            yield
        finally:
            if self.life[-1:] != ["start"]:
                self.faults.append(f"{self.instance_name}: {use} outlasted the hook")
            self.last_use = time.monotonic()
            self._uses.pop()

    def observe(self, observed: Any) -> Any:
        return self.using(f"observation of {observed.kind}")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        with self.using("pre"):
            context.append((self.instance_name, "pre"))

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        with self.using("post"):
            context.append((self.instance_name, "completion"))

    def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
        with self.using("error"):
            context.append((self.instance_name, "completion"))

    def _execute_periodic_hook(self, context, data, *args, **kwargs):
        with self.using("periodic"):
            pass


class Driver:
    """Fails in some calls."""

    def create_share(self, context: list[Any], share: int) -> int:
        if share % 11 == 0:
            time.sleep(0)
        if share % 13 == 0:
            raise OSError("the array is busy")
        return share


class CoroutineDriver:
    """Fails in some calls, which are coroutines."""

    async def create_share(self, context: list[Any], share: int) -> int:
        await asyncio.sleep(0)
        if share % 13 == 0:
            raise OSError("the array is busy")
        return share


class Churn:
    """Changes the hooks and switches of a woven driver, in several threads."""

    def __init__(self, driver: Any) -> None:
        self.faults: list[str] = []
        self.all: list[Guarded] = []
        # These hooks stay in the chain; a thread sets the switches of each.
        self.kept = [self.new(f"kept-{number}") for number in range(2)]
        self.woven = aspects.weave(driver, self.kept, backend="alpha")
        self.weaving = aspects.weaving(self.woven)
        self.weaving.start()
        self.stopping = threading.Event()
        self.replaced = self.switched = 0
        self.lateness = 0.0
        self.threads = [
            threading.Thread(target=target, args=arguments)
            for target, arguments in [
                (self.replace, ()),
                (self.measure, ()),
                *((self.switch, (hook,)) for hook in self.kept),
            ]
        ]

    def new(self, name: str) -> Guarded:
        hook = Guarded(name, self.faults)
        self.all.append(hook)
        return hook

    def __enter__(self) -> Churn:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def replace(self) -> None:
        """Add and remove hooks; some return while they are being stopped."""
        draw = random.Random(7)
        visitors: list[Guarded] = []
        for number in range(10**9):
            if self.stopping.is_set():
                return
            here = [hook for hook in visitors if draw.random() < 0.5]
            returning = draw.random() < 0.3
            if not returning:
                here.append(self.new(f"visitor-{number}"))
            hooks = [*self.kept, *here]
            draw.shuffle(hooks)
            now = time.monotonic()
            for hook in visitors:
                if hook not in here:
                    hook.left = now
            self.weaving.replace(hooks, lambda: None)
            visitors = [*here, *(hook for hook in visitors[-2:] if hook not in here)]
            self.replaced += 1
            time.sleep(0.001)

    def switch(self, hook: Guarded) -> None:
        """Set switches of a hook, and check that the next call follows them."""
        draw = random.Random(hook.instance_name)
        while not self.stopping.is_set():
            enabled = draw.random() < 0.5
            hook.pre_hooks_enabled = enabled
            hook.hook_slow_seconds = draw.random() * 1000
            seen: list[Any] = []
            result = self.woven.create_share(seen, 1)
            if asyncio.iscoroutine(result):
                asyncio.run(result)
            if ((hook.instance_name, "pre") in seen) is not enabled:
                self.faults.append(f"a switch of {hook.instance_name} was lost")
            if seen.count((hook.instance_name, "completion")) != 1:
                self.faults.append(f"{hook.instance_name} had no completion")
            self.switched += 1
            aspects.tick(self.woven, None, [])
            time.sleep(0.001)

    def measure(self) -> None:
        """Measure the maximum delay of a thread of this process."""
        while not self.stopping.is_set():
            began = time.monotonic()
            time.sleep(0.01)
            self.lateness = max(self.lateness, time.monotonic() - began - 0.01)

    def check(self, before: set[threading.Thread]) -> None:
        """Stop the hooks, then check that each was started and stopped in time.

        :param before: threads that ran before the test
        """
        for hook in self.weaving.hooks:
            hook.left = time.monotonic()
        self.weaving.stop()
        deadline = time.monotonic() + 60
        while set(threading.enumerate()) - before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert set(threading.enumerate()) <= before
        for hook in self.all:
            starts, stops = hook.life.count("start"), hook.life.count("stop")
            if starts != stops or (hook in self.kept and stops != 1):
                self.faults.append(f"{hook.instance_name}: {hook.life}")
        assert not self.faults, (len(self.faults), self.faults[:5])
        # Within a second of the last call, allowing for delays of threads.
        delays = [delay for hook in self.all for delay in hook.delays[:1]]
        assert max(delays) < 1 + 10 * self.lateness, (max(delays), self.lateness)
        assert self.replaced > 3
        assert self.switched > 10


def make_calls(churn: Churn, numbers: range) -> None:
    for number in numbers:
        seen: list[Any] = []
        with contextlib.suppress(OSError):
            churn.woven.create_share(seen, number)
        check_call(churn, seen)


def check_call(churn: Churn, seen: list[Any]) -> None:
    for name in {name for name, _ in seen}:
        if seen.count((name, "completion")) != 1:
            churn.faults.append(f"{name} did not have exactly one completion: {seen}")


def batches_of(calls: int) -> list[range]:
    return [range(first, calls, THREADS) for first in range(THREADS)]


@contextlib.contextmanager
def many_thread_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_hooks_run_only_between_start_and_stop_in_threads(calls: int) -> None:
    before = set(threading.enumerate())
    churn = Churn(Driver())
    with many_thread_switches(), churn, futures.ThreadPoolExecutor(THREADS) as pool:
        jobs = [
            pool.submit(make_calls, churn, numbers) for numbers in batches_of(calls)
        ]
        for job in jobs:
            job.result()
    churn.check(before)


def test_hooks_run_only_between_start_and_stop_in_coroutines(calls: int) -> None:
    before = set(threading.enumerate())
    churn = Churn(CoroutineDriver())

    async def call_all(numbers: range) -> None:
        for number in numbers:
            seen: list[Any] = []
            with contextlib.suppress(OSError):
                await churn.woven.create_share(seen, number)
            check_call(churn, seen)

    async def main() -> None:
        await asyncio.gather(*map(call_all, batches_of(calls)))

    with many_thread_switches(), churn:
        asyncio.run(main())
    churn.check(before)

# SPDX-License-Identifier: Apache-2.0
"""Calls and switches in several threads."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from tests.support.hooks import (
    Recorder,
)
from tests.support.ways import Way

from .common import CONTEXT, KINDS


def test_calls_in_many_threads_do_not_mix(woven_way: Way) -> None:
    def body(context: Any, share: Any, share_server: Any) -> Any:
        if share % 3 == 0:
            raise RuntimeError(share)
        return share

    hooks = [Recorder(str(n), pre=lambda seen: seen.args) for n in range(3)]
    woven = woven_way.driver(hooks, body)
    wrong = []
    start = threading.Barrier(8)

    def calls(n: int) -> None:
        start.wait()
        for i in range(n * 50, n * 50 + 50):
            try:
                got = woven_way.call(woven, n, i)
            except RuntimeError as error:
                got = error.args[0] if i % 3 == 0 else None
            if got != i:
                wrong.append(i)

    threads = [threading.Thread(target=calls, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for hook in hooks:
        completions = [seen for seen in hook.trace if seen.kind != "pre"]
        assert len(completions) == 400
        assert len(hook.trace) == 800
        for seen in completions:
            (share,) = seen.args
            assert seen.data == (share,)
            assert seen.context == share // 50
            assert (seen.kind == "error") == (share % 3 == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_switches_that_one_thread_sets_break_no_call_of_another(
    woven_way: Way, kind: Any
) -> None:
    hooks = [kind(str(n), pre=lambda seen: seen.hook) for n in range(4)]
    woven = woven_way.driver(hooks)
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            for hook in hooks:
                hook.pre_hooks_enabled = not hook.pre_hooks_enabled

    switching = threading.Thread(target=switch)
    switching.start()
    try:
        for i in range(300):
            assert woven_way.call(woven, CONTEXT, i) == "result"
    finally:
        stop.set()
        switching.join()
    for hook in hooks:
        began = {seen.args for seen in hook.trace if seen.kind == "pre"}
        completions = [seen for seen in hook.trace if seen.kind == "post"]
        assert [seen.args for seen in completions] == [(i,) for i in range(300)]
        for seen in completions:
            assert seen.data == (hook.instance_name if seen.args in began else None)


@pytest.mark.parametrize("kind", KINDS)
def test_no_call_runs_a_hook_that_does_not_select_its_operation(
    woven_way: Way, kind: Any
) -> None:
    """Another thread creates new snapshots meanwhile."""
    wrong = kind("wrong")
    wrong.hook_operations = ["delete_*"]
    other = kind("other")
    driver = woven_way.driver([wrong, other])
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            other.pre_hooks_enabled = not other.pre_hooks_enabled

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    switching = threading.Thread(target=switch)
    switching.start()
    try:
        for number in range(1500):
            woven_way.call(driver, CONTEXT, number)
    finally:
        stop.set()
        switching.join()
        sys.setswitchinterval(before)
    assert wrong.trace == []

# SPDX-License-Identifier: Apache-2.0
"""The operations that a hook runs for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import (
    PlainRecorder,
    Recorder,
    UpstreamRecorder,
    methods_of,
)
from tests.support.ways import Way, finish

from .common import CONTEXT, HOOK_KINDS, Access, three, tracing


@pytest.mark.parametrize("kind", HOOK_KINDS)
@pytest.mark.parametrize(
    ("patterns", "runs"),
    [
        (["*"], True),
        (["create_share_instance"], True),
        (("create_*", "delete_*"), True),
        (["delete_*", "create_share_instanc?"], True),
        (["[a-d]*_instance"], True),
        (["delete_*"], False),
        (["[!c]*"], False),
        # The driver's method is not the operation, and case matters.
        (["create_share"], False),
        (["CREATE_*"], False),
        # A pattern is for the whole name.
        (["share"], False),
    ],
)
def test_a_hook_runs_for_its_operations_alone(
    way: Way, trace: list[Any], kind: Any, patterns: Any, runs: bool
) -> None:
    hook = kind("hook", trace)
    hook.hook_operations = patterns
    way.call(way.driver([hook], tracing(trace)), CONTEXT, "share")
    assert methods_of(trace) == (
        ["hook.pre", "driver", "hook.post"] if runs else ["driver"]
    )


@pytest.mark.parametrize("value", [None, 5, "delete", mock.Mock()])
def test_an_attribute_of_that_name_that_is_no_list_is_something_else(
    way: Way, trace: list[Any], value: Any
) -> None:
    """As may be in a hook that was written for Manila."""
    hook = PlainRecorder("hook", trace)
    hook.hook_operations = value  # type: ignore[attr-defined]
    way.call(way.driver([hook]), CONTEXT, "share")
    assert methods_of(trace) == ["hook.pre", "hook.post"]


@pytest.mark.parametrize("action", ["pre", "post"])
def test_a_hook_without_the_switches_has_no_error_suppressed(
    way: Way, action: str
) -> None:
    hook = PlainRecorder(enabled=[action], **{action: ValueError("of the hook")})
    del hook.suppress_pre_hooks_errors, hook.suppress_post_hooks_errors
    with pytest.raises(ValueError, match="of the hook"):
        way.call(way.driver([hook]), CONTEXT, "share")


def test_each_operation_has_the_hooks_that_are_for_it(
    woven_way: Way, trace: list[Any]
) -> None:
    hooks = three(trace)
    hooks[0].hook_operations = ["create_*"]
    hooks[1].hook_operations = ["delete_*", "extend_share"]
    driver = woven_way.driver(hooks)
    calls: list[tuple[Callable[[], Any], list[str]]] = [
        (lambda: woven_way.call(driver, CONTEXT, 1), ["one", "three"]),
        (lambda: driver.delete_share(CONTEXT, 1), ["two", "three"]),
        (lambda: driver.extend_share(1, 2), ["two", "three"]),
    ]
    # Twice, as what is for an operation is remembered.
    for call, names in [*calls, *calls]:
        trace.clear()
        call()
        assert [seen.hook for seen in trace] == names * 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_hook_that_is_not_for_it_gets_no_ending_either(
    way: Way, trace: list[Any], fails: bool
) -> None:
    hooks = three(trace)
    hooks[1].hook_operations = ["delete_*"]
    driver = way.driver(hooks, tracing(trace, RuntimeError() if fails else "result"))
    try:
        way.call(driver, CONTEXT, "share")
    except RuntimeError:
        assert fails
    endings = ["three.error", "one.error"] if fails else ["one.post", "three.post"]
    assert methods_of(trace) == ["one.pre", "three.pre", "driver", *endings]


def test_a_hook_that_is_not_for_it_forbids_nothing(way: Way) -> None:
    hook = Recorder(pre=aspects.Veto("no"))
    hook.hook_operations = ["delete_*"]
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"


class CoroutineAccess(Access):
    async def update_access(  # type: ignore[override]
        self,
        context: Any,
        share: Any,
        access_rules: Any,
        add_rules: Any,
        delete_rules: Any,
    ) -> str:
        await asyncio.sleep(0)
        return "updated"


@pytest.mark.parametrize("kind", HOOK_KINDS)
@pytest.mark.parametrize("cls", [Access, CoroutineAccess])
@pytest.mark.parametrize(
    ("adds", "deletes", "operation"),
    [
        (["rule"], [], "allow_access"),
        ([], ["rule"], "deny_access"),
        (["rule"], ["rule"], "update_access"),
        ([], [], "update_access"),
    ],
)
def test_update_access_is_for_the_hooks_of_what_its_rules_make_it(
    trace: list[Any], kind: Any, cls: Any, adds: Any, deletes: Any, operation: str
) -> None:
    hooks = []
    for name in ("allow_access", "deny_access", "update_access"):
        hooks.append(kind(name, trace))
        hooks[-1].hook_operations = [name]
    woven = aspects.weave(cls(), hooks)
    names = {"add_rules": adds, "delete_rules": deletes}
    result = woven.update_access(CONTEXT, "share", access_rules=[], **names)
    assert (finish(result) if cls is CoroutineAccess else result) == "updated"
    assert methods_of(trace) == [f"{operation}.pre", f"{operation}.post"]
    assert {seen.func_name for seen in trace} == {operation}


@pytest.mark.parametrize("kind", HOOK_KINDS)
def test_the_operations_of_a_live_hook_take_effect_with_the_next_call(
    way: Way, trace: list[Any], kind: Any
) -> None:
    hook, other = kind("hook", trace), Recorder("other", trace, enabled=["pre"])
    driver = way.driver([hook, other])
    for patterns, runs in [
        (["delete_*"], False),
        (["create_*"], True),
        (["*"], True),
        (["extend_share"], False),
    ]:
        hook.hook_operations = patterns
        trace.clear()
        way.call(driver, CONTEXT, "share")
        expected = ["hook.pre", "other.pre", "hook.post"] if runs else ["other.pre"]
        assert methods_of(trace) == expected


@pytest.mark.parametrize("kind", HOOK_KINDS)
@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_call_in_flight_ends_with_the_operations_it_began_with(
    way: Way, trace: list[Any], kind: Any, runs: bool, fails: bool
) -> None:
    hook = kind("hook", trace)

    def body(*args: Any, **kwargs: Any) -> str:
        hook.hook_operations = ["delete_*" if runs else "create_*"]
        if fails:
            raise RuntimeError
        return "result"

    hook.hook_operations = ["create_*" if runs else "delete_*"]
    driver = way.driver([hook], body)
    ending = "error" if fails else "post"
    told = fails and kind is UpstreamRecorder
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        way.call(driver, CONTEXT, "share")
    expected = ["hook.pre"] if told else ["hook.pre", f"hook.{ending}"]
    assert methods_of(trace) == (expected if runs else [])


def test_ticks_are_not_among_the_operations(trace: list[Any]) -> None:
    hook = Recorder("hook", trace, enabled=["pre", "periodic"])
    hook.hook_operations = ["delete_*"]
    driver = aspects.weave(Driver(), [hook])
    assert aspects.tick(driver, CONTEXT, []) is True
    driver.create_share(CONTEXT, "share")
    assert methods_of(trace) == ["hook.periodic"]


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter])
def test_any_collection_of_patterns_will_do(kind: Any, trace: list[Any]) -> None:
    hook = Recorder("one", trace)
    hook.hook_operations = kind(["delete_*"])
    woven = aspects.weave(Driver(), [hook])
    woven.create_share(CONTEXT, "share")
    assert trace == []
    woven.delete_share(CONTEXT, "share")
    assert methods_of(trace) == ["one.pre", "one.post"]


@pytest.mark.parametrize("patterns", ["delete_*", b"delete_*", 5, [5], ["*", None]])
def test_anything_else_is_refused_and_changes_nothing(
    patterns: Any, trace: list[Any]
) -> None:
    hook = Recorder("one", trace)
    woven = aspects.weave(Driver(), [hook])
    with pytest.raises(TypeError, match="hook_operations: expected"):
        hook.hook_operations = patterns
    assert hook.hook_operations == ("*",)
    woven.create_share(CONTEXT, "share")
    assert methods_of(trace) == ["one.pre", "one.post"]


def test_a_hook_without_patterns_runs_for_no_operation(trace: list[Any]) -> None:
    hook = Recorder("one", trace, enabled=["pre", "post", "periodic"])
    hook.hook_operations = []
    woven = aspects.weave(Driver(), [hook])
    woven.create_share(CONTEXT, "share")
    assert trace == []
    # A switch of its own enables ticks.
    assert aspects.tick(woven, CONTEXT, [])


def test_a_pattern_with_an_exclamation_mark_excludes(trace: list[Any]) -> None:
    hook = Recorder("one", trace)
    woven = aspects.weave(Driver(), [hook])
    for patterns, runs in {
        ("!create_*",): ["delete_share_instance"],
        ("*", "!create_*"): ["delete_share_instance"],
        ("!create_*", "*"): ["delete_share_instance"],
        ("create_*", "!create_share_*"): [],
        ("!*",): [],
    }.items():
        trace.clear()
        hook.hook_operations = patterns
        woven.create_share(CONTEXT, "share")
        woven.delete_share(CONTEXT, "share")
        assert [seen.func_name for seen in trace if seen.kind == "pre"] == runs

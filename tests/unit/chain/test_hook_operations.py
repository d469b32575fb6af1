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
        # A pattern is compared with the operation, not the method, and case matters.
        (["create_share"], False),
        (["CREATE_*"], False),
        # A pattern has to match the whole name.
        (["share"], False),
    ],
)
def test_a_hook_runs_for_its_operations_only(
    way: Way, trace: list[Any], kind: Any, patterns: Any, runs: bool
) -> None:
    hook = kind("hook", trace)
    hook.hook_operations = patterns
    way.call(way.driver([hook], tracing(trace)), CONTEXT, "share")
    assert methods_of(trace) == (
        ["hook.pre", "driver", "hook.post"] if runs else ["driver"]
    )


@pytest.mark.parametrize("value", [None, 5, "delete", mock.Mock()])
def test_an_unrelated_attribute_named_hook_operations_is_ignored(
    way: Way, trace: list[Any], value: Any
) -> None:
    """A hook that was written for Manila may have such an attribute."""
    hook = PlainRecorder("hook", trace)
    hook.hook_operations = value  # type: ignore[attr-defined]
    way.call(way.driver([hook]), CONTEXT, "share")
    assert methods_of(trace) == ["hook.pre", "hook.post"]


@pytest.mark.parametrize("method", ["pre", "post"])
def test_errors_of_a_hook_without_suppression_switches_are_not_suppressed(
    way: Way, method: str
) -> None:
    hook = PlainRecorder(enabled=[method], **{method: ValueError("of the hook")})
    del hook.suppress_pre_hooks_errors, hook.suppress_post_hooks_errors
    with pytest.raises(ValueError, match="of the hook"):
        way.call(way.driver([hook]), CONTEXT, "share")


def test_each_operation_runs_the_hooks_that_select_it(
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
    # Twice, because the first call stores the plan of its operation.
    for call, names in [*calls, *calls]:
        trace.clear()
        call()
        assert [seen.hook for seen in trace] == names * 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_hook_gets_no_completion_of_an_operation_that_it_does_not_select(
    way: Way, trace: list[Any], fails: bool
) -> None:
    hooks = three(trace)
    hooks[1].hook_operations = ["delete_*"]
    driver = way.driver(hooks, tracing(trace, RuntimeError() if fails else "result"))
    try:
        way.call(driver, CONTEXT, "share")
    except RuntimeError:
        assert fails
    completions = ["three.error", "one.error"] if fails else ["one.post", "three.post"]
    assert methods_of(trace) == ["one.pre", "three.pre", "driver", *completions]


def test_a_hook_does_not_deny_an_operation_that_it_does_not_select(way: Way) -> None:
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
def test_the_rules_of_update_access_determine_which_hooks_run(
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
def test_new_hook_operations_take_effect_with_the_next_call(
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
def test_a_call_in_flight_keeps_the_hook_operations_that_it_began_with(
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
    completion = "error" if fails else "post"
    has_no_error_method = fails and kind is UpstreamRecorder
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        way.call(driver, CONTEXT, "share")
    expected = ["hook.pre"]
    if not has_no_error_method:
        expected.append(f"hook.{completion}")
    assert methods_of(trace) == (expected if runs else [])


def test_hook_operations_do_not_apply_to_ticks(trace: list[Any]) -> None:
    hook = Recorder("hook", trace, enabled=["pre", "periodic"])
    hook.hook_operations = ["delete_*"]
    driver = aspects.weave(Driver(), [hook])
    assert aspects.tick(driver, CONTEXT, []) is True
    driver.create_share(CONTEXT, "share")
    assert methods_of(trace) == ["hook.periodic"]


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter])
def test_hook_operations_may_be_any_iterable_of_strings(
    kind: Any, trace: list[Any]
) -> None:
    hook = Recorder("one", trace)
    hook.hook_operations = kind(["delete_*"])
    woven = aspects.weave(Driver(), [hook])
    woven.create_share(CONTEXT, "share")
    assert trace == []
    woven.delete_share(CONTEXT, "share")
    assert methods_of(trace) == ["one.pre", "one.post"]


@pytest.mark.parametrize("patterns", ["delete_*", b"delete_*", 5, [5], ["*", None]])
def test_invalid_hook_operations_are_rejected_and_change_nothing(
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
    # Ticks have their own switch.
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

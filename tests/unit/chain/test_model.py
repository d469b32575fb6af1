# SPDX-License-Identifier: Apache-2.0
"""The way of one call as a property: any chain does what the model does."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aspects
from tests.support.hooks import (
    PlainRecorder,
    Recorder,
    Seen,
    Timeout,
    UpstreamRecorder,
    act,
)
from tests.support.ways import WAYS, Way

CONTEXT = object()


#: Patterns of ``hook_operations``, and whether they are for the call of the test.
OPERATIONS = {
    "*": True,
    "create_share_instance": True,
    "delete_* create_s*": True,
    "[!d]*": True,
    "delete_*": False,
    "create_share allow_access": False,
    "*_snapshot": False,
}


class Value:
    """Something returned, equal to nothing else."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one hook is and does: an exception is raised, the rest returned."""

    kind: type
    pre_on: bool
    post_on: bool
    suppress_pre: bool
    suppress_post: bool
    pre: Any
    post: Any
    error: Any
    operations: str

    @property
    def is_for_it(self) -> bool:
        return OPERATIONS[self.operations]

    def switch(self, hook: Any) -> None:
        hook.hook_operations = self.operations.split()
        hook.pre_hooks_enabled = self.pre_on
        hook.post_hooks_enabled = self.post_on
        hook.suppress_pre_hooks_errors = self.suppress_pre
        hook.suppress_post_hooks_errors = self.suppress_post


def model(plans: list[Plan], driver: Any) -> tuple[list[Any], Any]:
    """Return what is done, and what the caller gets."""
    trace: list[Any] = []
    owed: list[tuple[str, Plan, Any]] = []
    failure = None
    for name, plan in enumerate(plans):
        if not plan.is_for_it:
            continue
        if plan.pre_on:
            trace.append((str(name), "pre", None, None))
            fault = isinstance(plan.pre, Exception)
            decision = isinstance(plan.pre, aspects.Veto)
            if isinstance(plan.pre, BaseException) and (
                decision or not fault or not plan.suppress_pre
            ):
                failure = plan.pre
                break
        owed.append((str(name), plan, plan.pre if plan.pre_on else None))
    result = None
    if failure is None:
        trace.append("driver")
        if isinstance(driver, BaseException):
            failure = driver
        else:
            result = driver
    while owed and failure is None:
        name, plan, data = owed.pop(0)
        if not plan.post_on:
            continue
        trace.append((name, "post", data, result))
        if isinstance(plan.post, aspects.UpdatedResults):
            result = plan.post.results
        elif isinstance(plan.post, BaseException) and not (
            plan.suppress_post and isinstance(plan.post, Exception)
        ):
            failure = plan.post
    caller_gets = result if failure is None else failure
    for name, plan, data in reversed(owed):
        if plan.post_on and plan.kind is not UpstreamRecorder:
            trace.append((name, "error", data, failure))
            # Not an error of the hook but the end of the thread or task.
            if isinstance(plan.error, BaseException) and not isinstance(
                plan.error, Exception
            ):
                caller_gets = plan.error
    return trace, caller_gets


values = st.one_of(st.builds(Value), st.sampled_from([None, 0, ()]))
faults = st.builds(lambda kind: kind(), st.sampled_from([RuntimeError, ValueError]))
vetoes = st.builds(aspects.Veto)
ends = st.builds(
    lambda kind: kind(),
    st.sampled_from([KeyboardInterrupt, SystemExit, Timeout, asyncio.CancelledError]),
)
updates = st.builds(aspects.UpdatedResults, values)
plans = st.builds(
    Plan,
    kind=st.sampled_from([Recorder, PlainRecorder, UpstreamRecorder]),
    # Twice as often on as off, and returning as raising: or few chains come
    # as far as their last hook.
    pre_on=st.sampled_from([True, True, False]),
    post_on=st.sampled_from([True, True, False]),
    suppress_pre=st.booleans(),
    suppress_post=st.booleans(),
    pre=st.one_of(values, values, values, faults, faults, vetoes, ends),
    post=st.one_of(values, updates, updates, faults, faults, vetoes, ends),
    error=st.one_of(values, faults, ends),
    operations=st.sampled_from(["*", "*", "*", *OPERATIONS]),
)
drivers = st.one_of(values, values, faults, vetoes, ends)


def observe(way: Way, driver: Any, trace: list[Any]) -> tuple[list[Any], Any]:
    """Return what was done, and what the caller got."""
    trace.clear()
    try:
        outcome = way.call(driver, CONTEXT, "share", share_server="server")
    except BaseException as error:
        outcome = error
    short: list[Any] = []
    for seen in trace:
        if isinstance(seen, Seen):
            assert seen.context is CONTEXT
            assert seen.func_name == "create_share_instance"
            assert (seen.args, seen.kwargs) == (("share",), {"share_server": "server"})
            short.append((seen.hook, seen.action, seen.data, seen.outcome))
        else:
            short.append(seen)
    return short, outcome


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@settings(max_examples=150, deadline=None)
@given(plans=st.lists(plans, max_size=6), outcome=drivers, later=st.data())
def test_a_chain_does_what_the_model_does(
    way: Way, plans: list[Plan], outcome: Any, later: Any
) -> None:
    trace: list[Any] = []

    def body(*args: Any) -> Any:
        trace.append("driver")
        return act(outcome, Seen("driver", "call", None, None))

    hooks = []
    for name, plan in enumerate(plans):
        hook = plan.kind(
            str(name), trace, pre=plan.pre, post=plan.post, error=plan.error
        )
        plan.switch(hook)
        hooks.append(hook)
    driver = way.driver(hooks, body)

    expected_trace, expected = model(plans, outcome)
    seen, got = observe(way, driver, trace)
    assert seen == expected_trace
    assert got is expected

    # The same hooks, switched anew: it takes effect with the next call.
    on = st.booleans()
    for i, hook in enumerate(hooks):
        plans[i] = dataclasses.replace(
            plans[i],
            pre_on=later.draw(on),
            post_on=later.draw(on),
            suppress_pre=later.draw(on),
            suppress_post=later.draw(on),
            operations=later.draw(st.sampled_from([*OPERATIONS])),
        )
        plans[i].switch(hook)
    expected_trace, expected = model(plans, outcome)
    seen, got = observe(way, driver, trace)
    assert seen == expected_trace
    assert got is expected

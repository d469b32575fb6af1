# SPDX-License-Identifier: Apache-2.0
"""The call protocol as a property: any chain behaves as a simple model."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aspects
from tests.support.hooks import (
    HookCall,
    PlainRecorder,
    Recorder,
    Timeout,
    UpstreamRecorder,
    act,
)
from tests.support.ways import WAYS, Way

CONTEXT = object()

#: A driver method that a user requests, and one that Manila runs by itself.
METHODS = {
    "create_share": "create_share_instance",
    "update_replica_state": "update_share_replica",
}

#: Patterns of ``hook_operations``, and the operations of the test that they select.
OPERATIONS: dict[str, tuple[str, ...]] = {
    "*": ("create_share_instance", "update_share_replica"),
    "create_share_instance": ("create_share_instance",),
    "update_share_replica": ("update_share_replica",),
    "update_share_replica *": ("create_share_instance", "update_share_replica"),
    "delete_* create_s*": ("create_share_instance",),
    "[!d]*": ("create_share_instance", "update_share_replica"),
    "delete_*": (),
    "create_share allow_access": (),
    "*_snapshot": (),
    "": (),
    "!create_*": ("update_share_replica",),
    "* !update_share_replica": ("create_share_instance",),
    "!delete_* !*_snapshot": ("create_share_instance", "update_share_replica"),
    "create_* !*": (),
}


class Value:
    """A return value, equal to nothing else."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """One hook and its answers; an exception is raised, another answer returned."""

    kind: type
    pre_on: bool
    post_on: bool
    suppress_pre: bool
    suppress_post: bool
    enforcement: str
    pre: Any
    post: Any
    error: Any
    operations: str

    def switch(self, hook: Any) -> None:
        hook.hook_operations = self.operations.split()
        hook.hook_enforcement = self.enforcement
        hook.pre_hooks_enabled = self.pre_on
        hook.post_hooks_enabled = self.post_on
        hook.suppress_pre_hooks_errors = self.suppress_pre
        hook.suppress_post_hooks_errors = self.suppress_post


class Model:
    """A simple model of one call: its trace, and the caller's result."""

    def __init__(self, plans: list[Plan], driver: Any, method: str) -> None:
        self.operation = METHODS[method]
        self.routine = method == "update_replica_state"
        self.trace: list[Any] = []
        self.share: Any = "share"
        self.server: Any = "server"
        self.owed: list[tuple[str, Plan, Any]] = []
        try:
            for name, plan in enumerate(plans):
                if self.operation in OPERATIONS[plan.operations] and (
                    plan.pre_on or plan.post_on
                ):
                    data = self.pre(str(name), plan) if plan.pre_on else None
                    self.owed.append((str(name), plan, data))
            self.trace.append(("driver", self.share, self.server))
            if isinstance(driver, BaseException):
                raise driver
            self.outcome = driver
            while self.owed:
                self.post(*self.owed.pop(0))
        except BaseException as error:
            self.outcome = error
            for owed in reversed(self.owed):
                self.error(*owed, error)

    def add(self, name: str, method: str, data: Any, outcome: Any) -> None:
        self.trace.append((name, method, data, outcome, self.share, self.server))

    def pre(self, name: str, plan: Plan) -> Any:
        self.add(name, "pre", None, None)
        answer = plan.pre
        if isinstance(answer, aspects.UpdatedArguments):
            if "context" in answer.changes:
                # The call creates the error, so any TypeError is equal to it.
                answer = TypeError
                if not (plan.suppress_pre or self.routine):
                    raise TypeError
            else:
                self.share = answer.changes.get("share", self.share)
                self.server = answer.changes.get("share_server", self.server)
                return answer.pre_hook_data
        if isinstance(answer, aspects.Veto):
            named = self.operation in plan.operations.split()
            if plan.enforcement == "deny" and (not self.routine or named):
                raise answer
        elif isinstance(answer, BaseException):
            fault = isinstance(answer, Exception)
            if not (fault and (plan.suppress_pre or self.routine)):
                raise answer
        return answer

    def post(self, name: str, plan: Plan, data: Any) -> None:
        if not plan.post_on:
            return
        self.add(name, "post", data, self.outcome)
        if isinstance(plan.post, aspects.UpdatedResults):
            self.outcome = plan.post.results
        elif isinstance(plan.post, BaseException):
            fault = isinstance(plan.post, Exception)
            if not (fault and (plan.suppress_post or self.routine)):
                raise plan.post

    def error(self, name: str, plan: Plan, data: Any, error: BaseException) -> None:
        if not plan.post_on or plan.kind is UpstreamRecorder:
            return
        self.add(name, "error", data, error)
        # A base exception is not an error of the hook; it ends the thread or task.
        if isinstance(plan.error, BaseException) and not isinstance(
            plan.error, Exception
        ):
            self.outcome = plan.error


values = st.one_of(st.builds(Value), st.sampled_from([None, 0, ()]))
faults = st.builds(lambda kind: kind(), st.sampled_from([RuntimeError, ValueError]))
vetoes = st.builds(aspects.Veto)
ends = st.builds(
    lambda kind: kind(),
    st.sampled_from([KeyboardInterrupt, SystemExit, Timeout, asyncio.CancelledError]),
)
updates = st.builds(aspects.UpdatedResults, values)
arguments = st.builds(
    aspects.UpdatedArguments,
    st.dictionaries(
        st.sampled_from(["share", "share", "share_server", "share_server", "context"]),
        st.builds(Value),
        max_size=2,
    ),
    values,
)
switches = {
    # Enabled twice as often as disabled, or few chains would reach their last hook.
    "pre_on": st.sampled_from([True, True, False]),
    "post_on": st.sampled_from([True, True, False]),
    "suppress_pre": st.booleans(),
    "suppress_post": st.booleans(),
    "enforcement": st.sampled_from(["deny", "deny", "warn"]),
    "operations": st.sampled_from(["*", "*", "*", *OPERATIONS]),
}
plans = st.builds(
    Plan,
    kind=st.sampled_from([Recorder, PlainRecorder, UpstreamRecorder]),
    pre=st.one_of(values, values, arguments, arguments, faults, vetoes, ends),
    post=st.one_of(values, updates, updates, faults, faults, vetoes, ends),
    error=st.one_of(values, faults, ends),
    **switches,
)
drivers = st.one_of(values, values, faults, vetoes, ends)


def outcome_of(way: Way, driver: Any, trace: list[Any], method: str) -> Any:
    """Make a call, and return its trace and the caller's result."""
    trace.clear()
    try:
        outcome = way.call(
            driver, CONTEXT, "share", share_server="server", method=method
        )
    except BaseException as error:
        outcome = error
    short: list[Any] = []
    for seen in trace:
        if isinstance(seen, HookCall):
            assert seen.context is CONTEXT
            assert seen.func_name == METHODS[method]
            (share,), server = seen.args, seen.kwargs["share_server"]
            short.append((seen.hook, seen.kind, seen.data, seen.outcome, share, server))
        else:
            short.append(seen)
    return short, outcome


def same(seen: Any, expected: Any) -> bool:
    """Return whether a part of a trace is the one of the model."""
    if expected is TypeError or isinstance(expected, TypeError):
        return isinstance(seen, TypeError)
    return seen is expected or seen == expected


def check(way: Way, driver: Any, trace: list[Any], model: Model, method: str) -> None:
    seen, got = outcome_of(way, driver, trace, method)
    assert [step[:2] for step in seen] == [step[:2] for step in model.trace]
    for step, expected in zip(seen, model.trace):
        assert all(map(same, step, expected)), (step, expected)
    assert same(got, model.outcome)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@settings(max_examples=150)
@given(
    plans=st.lists(plans, max_size=6),
    outcome=drivers,
    method=st.sampled_from(["create_share", "create_share", "update_replica_state"]),
    later=st.data(),
)
def test_a_chain_behaves_as_the_model(
    way: Way, plans: list[Plan], outcome: Any, method: str, later: Any
) -> None:
    trace: list[Any] = []

    def body(context: Any, share: Any, share_server: Any) -> Any:
        trace.append(("driver", share, share_server))
        return act(outcome, None)

    hooks = []
    for name, plan in enumerate(plans):
        hook = plan.kind(
            str(name), trace, pre=plan.pre, post=plan.post, error=plan.error
        )
        plan.switch(hook)
        hooks.append(hook)
    driver = way.driver(hooks, body)
    check(way, driver, trace, Model(plans, outcome, method), method)

    # A change of any switch takes effect with the next call.
    for i, hook in enumerate(hooks):
        changed = {name: later.draw(values) for name, values in switches.items()}
        plans[i] = dataclasses.replace(plans[i], **changed)
        plans[i].switch(hook)
    check(way, driver, trace, Model(plans, outcome, method), method)

# SPDX-License-Identifier: Apache-2.0
"""Enforcement of vetoes: hook_enforcement, routine operations, exception groups."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from oslo_context import context as oslo_context

import aspects
from hooks.events.event import data_of
from tests.support.hooks import Recorder
from tests.support.threads import run_in_thread
from tests.support.ways import Way

from .common import CONTEXT


class GroupError(Exception):
    """An exception group for Python 3.10, which has no ExceptionGroup."""

    def __init__(self, text: str, exceptions: list[Exception]) -> None:
        super().__init__(text)
        self.exceptions = tuple(exceptions)


try:
    GROUPS = [GroupError, ExceptionGroup]
except NameError:
    GROUPS = [GroupError]


class Driver:
    """A driver with a routine operation and one that a user requests."""

    def do_setup(self, context: Any) -> str:
        return "set up"

    def get_share_stats(self, refresh: bool = False) -> str:
        return "stats"

    def create_share(self, context: Any, share: Any, password: Any = None) -> str:
        return "created"


def refusing(trace: list[Any], **switches: Any) -> Recorder:
    hook = Recorder("freeze", trace, pre=aspects.Veto("frozen until Monday"))
    for name, value in switches.items():
        setattr(hook, name, value)
    return hook


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("suppress", [True, False])
def test_a_veto_in_an_exception_group_is_a_veto(
    way: Way, trace: list[Any], group: Any, suppress: bool
) -> None:
    nested = group("checks", [ValueError("1"), group("more", [aspects.Veto("no")])])
    hook = Recorder("one", trace, pre=nested, suppress=["pre"] if suppress else [])
    with pytest.raises(group) as raised:
        way.call(way.driver([hook]), CONTEXT, "share")
    assert raised.value is nested


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_veto_is_an_error_like_any_other(
    way: Way, trace: list[Any], group: Any
) -> None:
    hook = Recorder("one", trace, pre=group("checks", [ValueError()]), suppress=["pre"])
    way.call(way.driver([hook]), CONTEXT, "share")
    assert [seen.kind for seen in trace] == ["pre", "post"]


def test_a_veto_that_only_warns_is_that_of_a_hook_that_only_warns(
    way: Way, trace: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    veto = aspects.Veto("too large", enforcement="warn")
    hook = Recorder("limit", trace, pre=veto)
    after = Recorder("after", trace)
    assert way.call(way.driver([hook, after]), CONTEXT, "share") == "result"
    assert trace[1].func_name.vetoes == (("limit", "too large"),)
    assert hook.counts() == {"not_enforced": 1}
    assert "would have denied create_share_instance (enforcement: warn): too" in (
        caplog.text
    )


def test_a_veto_denies_by_default() -> None:
    assert aspects.Veto("no").enforcement == "deny"
    assert str(aspects.Veto("no", enforcement="warn")) == "no"


def test_in_warn_mode_the_call_proceeds_and_the_veto_is_logged(
    way: Way, trace: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    hook = refusing(trace, hook_enforcement="warn")
    after = Recorder("after", trace)
    with caplog.at_level(logging.WARNING):
        way.call(way.driver([hook, after]), CONTEXT, "share")
    post = trace[2]
    assert (post.hook, post.kind) == ("freeze", "post")
    assert isinstance(post.data, aspects.Veto)
    (record,) = caplog.records
    for part in ("freeze", "alpha", "would have denied", "create_share", "Monday"):
        assert part in record.getMessage()
    assert hook.counts() == {"not_enforced": 1}


def test_in_warn_mode_the_later_events_of_the_call_have_the_veto(
    way: Way, trace: list[Any]
) -> None:
    hooks = [Recorder("before", trace), refusing(trace, hook_enforcement="warn")]
    driver = way.driver([*hooks, Recorder("after", trace)])
    way.call(driver, CONTEXT, "share")
    noted = {
        f"{seen.hook}.{seen.kind}": data_of(
            None, seen.func_name, seen.args, seen.kwargs
        ).get("would_deny")
        for seen in trace
    }
    denied = [{"hook": "freeze", "reason": "frozen until Monday"}]
    assert noted == {
        "before.pre": None,
        "freeze.pre": None,
        **dict.fromkeys(
            ["after.pre", "before.post", "freeze.post", "after.post"], denied
        ),
    }
    # The next call has events without the veto.
    trace.clear()
    hooks[1].answer(pre=None)
    way.call(driver, CONTEXT, "share")
    assert "would_deny" not in data_of(None, trace[-1].func_name, (), {})


def test_a_veto_that_is_not_enforced_does_not_open_the_circuit_breaker(
    way: Way,
) -> None:
    hook = refusing([], hook_enforcement="warn", hook_failure_limit=1)
    driver = way.driver([hook])
    for _ in range(3):
        way.call(driver, CONTEXT, "share")
    assert hook.counts() == {"not_enforced": 3}


def test_a_secret_argument_is_not_in_the_log_of_a_veto(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = Recorder("one", [], pre=aspects.Veto("not with tops3cret"))
    hook.hook_enforcement = "warn"
    woven = aspects.weave(Driver(), [hook], "alpha")
    with caplog.at_level(logging.WARNING):
        woven.create_share(CONTEXT, {}, password="tops3cret")
    assert "tops3cret" not in caplog.text
    hook.trace.clear()


def test_hook_enforcement_is_deny_by_default_and_may_be_warn() -> None:
    hook = Recorder("one", [])
    assert hook.hook_enforcement == "deny"
    with pytest.raises(ValueError, match="hook_enforcement: expected deny or warn"):
        hook.hook_enforcement = "off"


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_errors_in_a_routine_operation_are_always_suppressed(
    trace: list[Any], kind: str
) -> None:
    hook = Recorder("one", trace, **{kind: OSError("no receiver")})
    woven = aspects.weave(Driver(), [hook], "alpha")
    assert woven.do_setup(CONTEXT) == "set up"
    assert woven.get_share_stats() == "stats"
    assert hook.counts() == {"suppressed": 2}
    with pytest.raises(OSError, match="receiver"):
        woven.create_share(CONTEXT, {})


@pytest.mark.parametrize(
    ("operations", "denied"),
    [
        (["*"], False),
        (["init_*"], False),
        (["init_host"], True),
        (["create_*", "init_host"], True),
        (["!create_*"], False),
        # do_setup is the name of the driver method, not of the operation.
        (["do_setup", "*"], False),
    ],
)
def test_a_veto_denies_a_routine_operation_only_if_hook_operations_names_it(
    trace: list[Any], operations: list[str], denied: bool
) -> None:
    hook = refusing(trace, hook_operations=operations)
    woven = aspects.weave(Driver(), [hook], "alpha")
    if denied:
        with pytest.raises(aspects.Veto):
            woven.do_setup(CONTEXT)
    else:
        assert woven.do_setup(CONTEXT) == "set up"
        assert isinstance(trace[-1].data, aspects.Veto)
        # Outside warn mode, the events of the call do not mention the veto.
        assert "would_deny" not in data_of(None, trace[-1].func_name, (), {})


def test_system_exit_ends_a_routine_operation_too() -> None:
    hook = Recorder("one", [], pre=SystemExit())
    with pytest.raises(SystemExit):
        aspects.weave(Driver(), [hook]).do_setup(CONTEXT)


@pytest.mark.parametrize(
    ("operation", "method", "reason"),
    [
        ("create_share_instance", "create_share", "hook_enforcement = warn"),
        (
            "init_host",
            "do_setup",
            "hook_operations does not name the routine init_host",
        ),
    ],
)
def test_the_log_of_a_veto_says_why_it_is_not_enforced(
    operation: str, method: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    enforcement = "warn" if method == "create_share" else "deny"
    hook = refusing([], hook_enforcement=enforcement)
    woven = aspects.weave(Driver(), [hook], "alpha")
    with caplog.at_level(logging.WARNING):
        getattr(woven, method)(*(CONTEXT, "share")[: 1 + (method == "create_share")])
    assert [record.getMessage() for record in caplog.records] == [
        f"Hook freeze of backend alpha would have denied {operation} ({reason}): "
        "frozen until Monday"
    ]


def test_the_token_of_the_context_is_not_in_the_log_of_a_veto(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = run_in_thread(oslo_context.RequestContext, auth_token="tops3cret")
    hook = Recorder(pre=aspects.Veto("no quota for tops3cret"))
    hook.hook_enforcement = "warn"
    aspects.weave(Driver(), [hook], "alpha").create_share(context, "share")
    assert "no quota for ***" in caplog.text
    assert "tops3cret" not in caplog.text


def test_secrets_of_the_arguments_are_not_in_the_log_of_a_veto(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = Recorder(pre=aspects.Veto("no quota for tops3cret"))
    hook.hook_enforcement = "warn"
    share = {"access_key": "tops3cret"}
    aspects.weave(Driver(), [hook], "alpha").create_share(CONTEXT, share)
    assert "no quota for ***" in caplog.text
    assert "tops3cret" not in caplog.text

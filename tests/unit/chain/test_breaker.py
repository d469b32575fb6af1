# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker skips a hook that keeps failing, and slow methods are logged."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import aspects
from aspects.core import breaker
from tests.support.clock import Clock
from tests.support.entries.recording import Driver

CONTEXT = object()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breaker, "time", clock)
    return clock


class Sender(aspects.HookBase):
    """A hook that sends to a target, which may be broken."""

    may_veto = False

    def __init__(self, clock: Clock, **attributes: Any) -> None:
        super().__init__(None, "node1@alpha")
        self.clock = clock
        self.broken: str | None = None
        self.seconds = 0.0
        self.seen: list[str] = []
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.periodic_hooks_enabled = True
        self.suppress_pre_hooks_errors = self.suppress_post_hooks_errors = True
        self.suppress_periodic_hooks_errors = True
        for name, value in attributes.items():
            setattr(self, name, value)

    def act(self, method: str) -> None:
        self.seen.append(method)
        self.clock.now += self.seconds
        if self.broken in (method, "all"):
            raise OSError("the target is down")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.act("pre")

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self.act("post")

    def _execute_error_hook(self, context, func_name, data, error, *args, **kwargs):
        self.act("error")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        self.act("periodic")

    def since(self) -> list[str]:
        """Return the methods that ran since the last call of this."""
        seen, self.seen = self.seen, []
        return seen


def calls(hook: Sender, times: int = 1) -> list[str]:
    woven = aspects.weave(Driver(), [hook], "alpha")
    for _ in range(times):
        assert woven.create_share(CONTEXT, {}) == "export"
    return hook.since()


def test_a_hook_that_keeps_failing_is_skipped_and_tried_after_a_pause(clock):
    hook = Sender(clock, hook_failure_limit=4, hook_failure_pause=30.0, broken="all")
    assert calls(hook, 3) == ["pre", "post", "pre", "post"]
    # A call that skips the hook is counted once, not again at its completion.
    assert hook.counts() == {"suppressed": 4, "skipped": 1}
    clock.now += 29.9
    assert calls(hook, 2) == []
    clock.now += 0.2
    # One call tries the hook; as it fails, other calls skip it for another pause.
    assert calls(hook, 2) == ["pre", "post"]
    clock.now += 30.1
    hook.broken = None
    assert calls(hook, 2) == ["pre", "post", "pre", "post"]
    assert hook.counts()["suppressed"] == 6


def test_a_hook_is_tried_at_the_very_end_of_the_pause(clock):
    hook = Sender(clock, hook_failure_limit=1, hook_failure_pause=30.0, broken="pre")
    assert calls(hook, 2) == ["pre", "post"]
    clock.now += 30.0
    assert calls(hook) == ["pre", "post"]


def test_other_calls_skip_the_hook_during_the_trial(clock):
    hook = Sender(clock, hook_failure_limit=1, hook_failure_pause=30.0, broken="pre")
    calls(hook)
    clock.now += 30.0
    others = []

    class Slow:
        def create_share(self, context: Any, share: Any) -> None:
            others.append(calls(hook))

    hook.broken = None
    # The trial begins in the pre method, and the post method has not run yet.
    hook.pre_hooks_enabled = False
    aspects.weave(Slow(), [hook], "alpha").create_share(CONTEXT, {})
    assert others == [[]]


def test_a_success_resets_the_consecutive_failures(clock):
    hook = Sender(clock, hook_failure_limit=2)
    for broken in ("post", None) * 10:
        hook.broken = broken
        assert calls(hook) == ["pre", "post"]
    assert hook.counts() == {"suppressed": 10}


def test_a_success_of_another_method_does_not_reset_the_failures(clock):
    hook = Sender(clock, hook_failure_limit=3, hook_failure_pause=30.0, broken="post")
    # For example an audit hook whose disk is full: its pre method always works.
    assert calls(hook, 4) == ["pre", "post"] * 3
    clock.now += 30.1
    assert calls(hook, 2) == ["pre", "post"]
    clock.now += 30.1
    hook.broken = None
    assert calls(hook, 2) == ["pre", "post"] * 2


@pytest.mark.parametrize("paused_before", [True, False])
def test_a_call_runs_all_methods_of_a_hook_or_none(clock, paused_before):
    hook = Sender(clock, hook_failure_limit=1, hook_failure_pause=30.0)

    class Slow:
        def create_share(self, context: Any, share: Any) -> None:
            # During this call the pause ends, or another call begins one.
            if paused_before:
                clock.now += 31.0
            else:
                breaker.breaker_of(hook).failed("post")

    if paused_before:
        breaker.breaker_of(hook).failed("post")
    aspects.weave(Slow(), [hook], "alpha").create_share(CONTEXT, {})
    assert hook.since() == ([] if paused_before else ["pre", "post"])


def test_the_circuit_breaker_is_disabled_by_default(clock):
    hook = Sender(clock, broken="all")
    assert calls(hook, 50) == ["pre", "post"] * 50


def test_completions_and_ticks_are_skipped_too(clock):
    hook = Sender(clock, hook_failure_limit=1, broken="all")
    woven = aspects.weave(Driver(), [hook], "alpha")
    aspects.tick(woven, CONTEXT, [])
    assert hook.since() == ["periodic"]
    aspects.tick(woven, CONTEXT, [])
    woven.create_share(CONTEXT, {})
    assert hook.since() == []


def test_a_failing_error_method_counts_as_a_failure(clock):
    hook = Sender(clock, hook_failure_limit=2, broken="error")
    hook.pre_hooks_enabled = False
    woven = aspects.weave(Driver(), [hook], "alpha")

    def create_share(context: Any, share: Any) -> None:
        raise LookupError("no pool")

    woven.create_share = create_share
    for _ in range(4):
        with pytest.raises(LookupError):
            woven.create_share(CONTEXT, {})
    assert hook.since() == ["error", "error"]


@pytest.mark.parametrize("pre", [True, False])
def test_a_hook_that_may_veto_is_never_skipped(clock, pre):
    class Guard(Sender):
        may_veto = True

    hook = Guard(clock, hook_failure_limit=1, broken="all", pre_hooks_enabled=pre)
    expected = ["pre", "post"] * 3 if pre else ["post"]
    assert calls(hook, 3) == expected


def test_a_hook_may_veto_by_default():
    assert aspects.HookBase.may_veto


class FailingUpstream:
    """A hook of Manila's contract, whose post method fails."""

    pre_hooks_enabled = post_hooks_enabled = suppress_post_hooks_errors = True
    periodic_hooks_enabled = False
    hook_failure_limit = 1
    hook_failure_pause = 60.0

    def __init__(self, suppressed: bool) -> None:
        self.suppress_pre_hooks_errors = suppressed
        self.seen: list[str] = []

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.seen.append("pre")

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self.seen.append("post")
        raise OSError("down")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        raise NotImplementedError


@pytest.mark.parametrize("suppressed", [True, False])
def test_a_hook_of_manilas_contract_vetoes_with_errors_that_are_not_suppressed(
    clock, suppressed
):
    hook = FailingUpstream(suppressed)
    woven = aspects.weave(Driver(), [hook], "alpha")
    for _ in range(3):
        woven.create_share(CONTEXT, {})
    assert hook.seen == ["pre", "post"] * (1 if suppressed else 3)


def test_unsuppressed_errors_do_not_count_as_failures(clock):
    hook = Sender(clock, hook_failure_limit=1, broken="pre")
    hook.suppress_pre_hooks_errors = False
    woven = aspects.weave(Driver(), [hook], "alpha")
    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            woven.create_share(CONTEXT, {})
    assert hook.since() == ["pre"] * 3
    assert hook.counts() == {}


def test_a_slow_method_is_logged_and_counted(clock, caplog):
    hook = Sender(clock, hook_slow_seconds=0.5, seconds=0.6, instance_name="ops")
    with caplog.at_level(logging.WARNING):
        calls(hook)
    assert [record.getMessage() for record in caplog.records] == [
        f"The {method} method of hook ops of backend alpha took 0.600 s in "
        "create_share_instance"
        for method in ("pre", "post")
    ]
    assert hook.counts() == {"slow": 2}


def test_a_slow_method_that_fails_is_counted_as_slow_too(clock, caplog):
    hook = Sender(clock, hook_slow_seconds=0.5, seconds=0.6, broken="post")
    with caplog.at_level(logging.WARNING):
        calls(hook)
    assert hook.counts() == {"slow": 2, "suppressed": 1}


def test_a_quick_method_is_not_logged(clock, caplog):
    hook = Sender(clock, hook_slow_seconds=0.5, seconds=0.5)
    with caplog.at_level(logging.WARNING):
        calls(hook)
    assert not caplog.records
    assert hook.counts() == {}


def test_a_slow_tick_is_logged(clock, caplog):
    hook = Sender(clock, hook_slow_seconds=0.5, seconds=1.0)
    woven = aspects.weave(Driver(), [hook], "alpha")
    with caplog.at_level(logging.WARNING):
        aspects.tick(woven, CONTEXT, [])
    assert "periodic method of hook Sender of backend alpha" in caplog.text
    assert "in a tick" in caplog.text


def test_a_slow_tick_of_a_hook_that_defers_other_methods_is_logged(clock, caplog):
    hook = Sender(clock, hook_slow_seconds=0.5, seconds=1.0)
    hook.deferred_methods = ("post", "error")
    hook.dispatcher = aspects.Background("sender of alpha")
    woven = aspects.weave(Driver(), [hook], "alpha")
    with caplog.at_level(logging.WARNING):
        aspects.tick(woven, CONTEXT, [])
    assert "periodic method of hook Sender of backend alpha" in caplog.text


def test_a_failure_limit_takes_effect_while_the_driver_is_woven(clock):
    hook = Sender(clock, broken="all")
    woven = aspects.weave(Driver(), [hook], "alpha")
    woven.create_share(CONTEXT, {})
    hook.hook_failure_limit = 2
    woven.create_share(CONTEXT, {})
    assert hook.since() == ["pre", "post"]


def test_errors_in_the_background_count_as_failures(clock):
    hook = Sender(clock, hook_failure_limit=2, broken="post")
    hook.pre_hooks_enabled = False
    hook.dispatcher = aspects.Background("sender of alpha")
    woven = aspects.weave(Driver(), [hook], "alpha")
    for _ in range(5):
        woven.create_share(CONTEXT, {})
        hook.dispatcher.stop()
    assert hook.since() == ["post", "post"]
    assert hook.counts() == {"suppressed": 2, "skipped": 3}


class Dispatching(Sender):
    """A hook that passes its slow work to the dispatcher itself."""

    deferred_methods = ()
    dispatching_methods = ("post",)

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self.dispatcher.put(self, "post", func_name, self.act, "post")


def test_slow_work_that_a_hook_dispatches_itself_is_logged_and_counted(clock, caplog):
    hook = Dispatching(clock, hook_slow_seconds=0.5, seconds=0.6, instance_name="ops")
    hook.dispatcher = aspects.Background("ops of alpha")
    woven = aspects.weave(Driver(), [hook], "alpha")
    with caplog.at_level(logging.WARNING):
        woven.create_share(CONTEXT, {})
        hook.dispatcher.stop()
    assert hook.since() == ["pre", "post"]
    assert [record.getMessage() for record in caplog.records] == [
        f"The {method} method of hook ops of backend alpha took 0.600 s in "
        "create_share_instance"
        for method in ("pre", "post")
    ]
    assert hook.counts() == {"slow": 2}


def test_a_slow_method_without_a_backend_is_logged(clock, caplog):
    hook = Sender(clock, hook_slow_seconds=0.5, seconds=0.6, instance_name="ops")
    hook.dispatcher = aspects.Background("ops")
    with caplog.at_level(logging.WARNING):
        hook.dispatcher.put(hook, "pre", "my_operation", hook.act, "pre")
        hook.dispatcher.stop()
    assert "hook ops of backend None took 0.600 s in my_operation" in caplog.text


def test_drivers_that_share_a_hook_of_manilas_contract_share_its_breaker(clock):
    hook = FailingUpstream(suppressed=True)
    drivers = [aspects.weave(Driver(), [hook], name) for name in ("alpha", "beta")]
    for woven in drivers:
        woven.create_share(CONTEXT, {})
    assert hook.seen == ["pre", "post"]

# SPDX-License-Identifier: Apache-2.0
"""The switches of a hook, set while the chain is in use."""

from __future__ import annotations

from typing import Any

import pytest

from aspects.config.options import SWITCHES
from aspects.core.step import Switches
from tests.support.hooks import (
    Recorder,
    methods_of,
)
from tests.support.ways import Way, finish

from .common import CONTEXT, KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_switches_take_effect_with_the_next_call(
    way: Way, trace: list[Any], kind: Any
) -> None:
    hook = kind("hook", trace, enabled=[])
    driver = way.driver([Recorder("other", [], enabled=[]), hook])

    def seen() -> list[str]:
        trace.clear()
        way.call(driver, CONTEXT, "share")
        return methods_of(trace)

    assert seen() == []
    hook.pre_hooks_enabled = True
    assert seen() == ["hook.pre"]
    hook.post_hooks_enabled = True
    assert seen() == ["hook.pre", "hook.post"]
    hook.pre_hooks_enabled = False
    assert seen() == ["hook.post"]
    hook.post_hooks_enabled = False
    assert seen() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["pre", "post"])
def test_a_suppression_switch_takes_effect_with_the_next_call(
    way: Way, kind: Any, method: str
) -> None:
    hook = kind(**{method: ValueError()})
    driver = way.driver([hook])
    with pytest.raises(ValueError):  # noqa: PT011
        way.call(driver, CONTEXT, "share")
    setattr(hook, f"suppress_{method}_hooks_errors", True)
    assert way.call(driver, CONTEXT, "share") == "result"
    setattr(hook, f"suppress_{method}_hooks_errors", False)
    with pytest.raises(ValueError):  # noqa: PT011
        way.call(driver, CONTEXT, "share")


class AlwaysOn(Recorder):
    """A hook whose class overrides switches, which a hook author may do."""

    pre_hooks_enabled = True
    post_hooks_enabled = property(  # type: ignore[assignment]
        lambda self: self.post_enabled,
        lambda self, value: setattr(self, "post_enabled", value),
    )


def test_switches_of_a_subclass_take_effect_with_the_next_call(
    way: Way, trace: list[Any]
) -> None:
    hook = AlwaysOn("hook", trace)
    driver = way.driver([hook])
    hook.pre_hooks_enabled = hook.post_enabled = False
    way.call(driver, CONTEXT, "share")
    assert trace == []
    hook.pre_hooks_enabled = hook.post_enabled = True
    way.call(driver, CONTEXT, "share")
    assert methods_of(trace) == ["hook.pre", "hook.post"]


def test_a_method_reference_that_was_woven_follows_the_switches(
    way: Way, trace: list[Any]
) -> None:
    """A reference taken while all hooks are disabled is the driver's own method."""
    hook = Recorder("hook", trace, enabled=["post"])
    method = way.driver([hook]).create_share
    hook.pre_hooks_enabled, hook.post_hooks_enabled = True, False
    result = method(CONTEXT, "share")
    assert (finish(result) if way.coroutine else result) == "result"
    assert methods_of(trace) == ["hook.pre"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fails", [False, True])
def test_a_call_in_flight_keeps_the_chain_that_it_began_with(
    way: Way, trace: list[Any], kind: Any, fails: bool
) -> None:
    on, off = kind("on", trace), kind("off", trace, enabled=[])

    def body(*args: Any, **kwargs: Any) -> str:
        on.pre_hooks_enabled = on.post_hooks_enabled = False
        off.pre_hooks_enabled = off.post_hooks_enabled = True
        if fails:
            raise RuntimeError
        return "result"

    driver = way.driver([on, off], body)
    completion = "error" if fails else "post"
    for expected in (["on.pre", f"on.{completion}"], ["off.pre", f"off.{completion}"]):
        trace.clear()
        try:
            way.call(driver, CONTEXT, "share")
        except RuntimeError:
            assert fails
        assert methods_of(trace) == expected


def test_a_hook_that_disables_itself_gets_its_completion(
    way: Way, trace: list[Any]
) -> None:
    hook = Recorder("once", trace)
    hook.answer(pre=lambda seen: setattr(hook, "post_hooks_enabled", False))
    driver = way.driver([hook])
    way.call(driver, CONTEXT, "share")
    assert methods_of(trace) == ["once.pre", "once.post"]
    way.call(driver, CONTEXT, "share")
    assert methods_of(trace) == ["once.pre", "once.post", "once.pre"]


def test_a_switch_of_a_hook_in_two_woven_drivers_takes_effect_in_both(
    woven_way: Way, trace: list[Any]
) -> None:
    hook = Recorder("hook", trace, enabled=[])
    drivers = [woven_way.driver([hook]) for _ in range(2)]
    hook.pre_hooks_enabled = True
    for driver in drivers:
        woven_way.call(driver, CONTEXT, "share")
    assert methods_of(trace) == ["hook.pre", "hook.pre"]


def test_a_snapshot_has_every_switch_of_a_hook() -> None:
    assert set(Switches._fields) == set(SWITCHES)

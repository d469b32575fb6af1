# SPDX-License-Identifier: Apache-2.0
"""``weave``, ``unweave``, ``is_woven``, ``weaving``, and the intercepted methods."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import PlainRecorder, Recorder, methods_of
from tests.support.threads import run_in_thread

from .common import CONTEXT, is_intercepted


@pytest.mark.parametrize("make", [list, tuple, iter, set])
def test_hooks_may_be_any_iterable(make: Callable[..., Any], hook: Recorder) -> None:
    woven = aspects.weave(Driver(), make([hook]))
    assert aspects.weaving(woven).hooks == (hook,)
    assert is_intercepted(woven, hook)
    assert is_intercepted(woven, hook)


def test_changing_the_callers_list_does_not_change_the_chain(
    hook: Recorder,
) -> None:
    hooks = [hook]
    woven = aspects.weave(Driver(), hooks)
    hooks.clear()
    assert aspects.weaving(woven).hooks == (hook,)
    assert is_intercepted(woven, hook)


def test_a_driver_may_be_woven_without_hooks() -> None:
    woven = aspects.weave(Driver(), [])
    assert aspects.is_woven(woven)
    assert aspects.weaving(woven).hooks == ()
    assert woven.create_share(CONTEXT, "share") == "result"


def test_weaving_does_not_change_the_driver(hook: Recorder) -> None:
    driver = Driver()
    before = dict(vars(driver)), dict(vars(Driver))
    woven = aspects.weave(driver, [hook])
    woven.create_share(CONTEXT, "share")
    assert (dict(vars(driver)), dict(vars(Driver))) == before
    hook.trace.clear()
    driver.create_share(CONTEXT, "share")
    assert hook.trace == []


def test_is_woven_is_true_only_for_woven_drivers(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    assert aspects.is_woven(woven)
    for other in (driver, Driver, None, woven.create_share, mock.Mock(spec=woven)):
        assert not aspects.is_woven(other)


def test_unweave_returns_the_driver(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    assert aspects.unweave(woven) is driver
    assert is_intercepted(woven, hook)


@pytest.mark.parametrize("function", [aspects.unweave, aspects.weaving])
def test_an_object_that_is_not_woven_raises_type_error(
    function: Callable[..., Any],
) -> None:
    with pytest.raises(TypeError, match="not a woven driver"):
        function(Driver())


def test_weaving_a_woven_driver_raises_already_woven(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [])
    with pytest.raises(
        aspects.AlreadyWoven, match=r"Driver object .* is already woven"
    ):
        aspects.weave(woven, [hook])
    assert issubclass(aspects.AlreadyWoven, TypeError)
    # An unwoven driver can be woven again.
    assert is_intercepted(aspects.weave(aspects.unweave(woven), [hook]), hook)


@pytest.mark.parametrize("wrong", [None, "audit", object(), Driver()])
def test_weave_rejects_what_is_not_a_hook(wrong: Any) -> None:
    with pytest.raises(TypeError, match="not a hook"):
        aspects.weave(Driver(), [Recorder(), wrong])


def test_weaving_returns_hooks_operations_and_ticks(hook: Recorder) -> None:
    other = PlainRecorder()
    weaving = aspects.weaving(aspects.weave(Driver(), [hook, other]))
    assert isinstance(weaving, aspects.Weaving)
    assert weaving.hooks == (hook, other)
    assert weaving.ticks == 0
    assert dict(weaving.operations) == {
        "create_share": "create_share_instance",
        "delete_share": "delete_share_instance",
        "extend_share": "extend_share",
        "update_replica_state": "update_share_replica",
    }


def test_new_context_makes_the_context_of_a_call_without_one(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook], new_context=lambda: "of the service")
    run_in_thread(woven.extend_share, "share", 2)
    assert [seen.context for seen in hook.trace] == ["of the service"] * 2


def test_two_woven_drivers_have_separate_hooks() -> None:
    one, two = Recorder("hook"), Recorder("hook")
    driver = Driver()
    woven = [aspects.weave(driver, [one]), aspects.weave(driver, [two])]
    assert is_intercepted(woven[0], one)
    assert two.trace == []
    assert is_intercepted(woven[1], two)
    assert len(one.trace) == 2


def test_a_method_that_is_not_an_operation_passes_through(hook: Recorder) -> None:
    driver = Driver(lambda *args: args)
    woven = aspects.weave(driver, [hook])
    assert woven.helper(1, 2) == (1, 2)
    assert woven.helper == driver.helper
    assert type(woven.helper) is type(driver.helper)
    assert woven.body is driver.body
    assert hook.trace == []


@pytest.mark.parametrize("value", [None, 0, "a string", ["a list"]])
def test_an_attribute_of_an_operations_name_that_is_not_callable_passes_through(
    hook: Recorder, value: Any
) -> None:
    class Other:
        create_share = value

        @property
        def delete_share(self) -> Any:
            return value

    woven = aspects.weave(Other(), [hook])
    assert woven.create_share is value
    assert woven.delete_share is value
    assert dict(aspects.weaving(woven).operations) == {}


def test_a_method_that_the_driver_does_not_have_raises_attribute_error(
    hook: Recorder,
) -> None:
    woven = aspects.weave(Driver(), [hook])
    assert not hasattr(woven, "create_snapshot")
    assert getattr(woven, "create_snapshot", "default") == "default"
    with pytest.raises(AttributeError, match=r"'Driver'.*'create_snapshot'"):
        woven.create_snapshot
    with pytest.raises(AttributeError, match=r"'Driver'.*'no_such'"):
        woven.no_such


def test_a_drivers_calls_of_itself_are_not_intercepted(hook: Recorder) -> None:
    class Calling(Driver):
        def create_share(self, context: Any, share: Any) -> Any:  # type: ignore[override]
            assert not aspects.is_woven(self)
            self.delete_share(context, share)
            return self.extend_share(share, 1)

        def helper(self, *args: Any) -> Any:
            return self.create_share(*args)

    woven = aspects.weave(Calling(), [hook])
    assert is_intercepted(woven, hook)
    assert {seen.func_name for seen in hook.trace} == {"create_share_instance"}
    hook.trace.clear()
    assert woven.helper(CONTEXT, "share") == "result"
    assert hook.trace == []


def test_the_self_of_a_method_is_the_driver(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    assert woven.create_share.__self__ is driver
    assert woven.helper.__self__ is driver


def test_a_call_is_one_join_point(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    for _ in range(3):
        woven.create_share(CONTEXT, "share")
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"] * 3


def test_further_methods_are_woven_under_their_own_names(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook], hook_methods=["helper", "not_there"])
    assert aspects.weaving(woven).operations["helper"] == "helper"
    assert is_intercepted(woven, hook, "helper")
    assert hook.trace[0].func_name == "helper"
    assert is_intercepted(woven, hook, "create_share")
    assert not hasattr(woven, "not_there")
    # Another woven driver of this class does not get the further methods.
    plain = aspects.weave(driver, [hook])
    hook.trace.clear()
    plain.helper()
    assert hook.trace == []


def test_a_woven_driver_returns_the_plain_method_while_all_hooks_are_disabled(
    hook: Recorder,
) -> None:
    woven = aspects.weave(Driver(), [hook])
    hook.pre_hooks_enabled = hook.post_hooks_enabled = False
    assert type(woven.create_share) is types.MethodType
    hook.post_hooks_enabled = True
    assert type(woven.create_share) is not types.MethodType

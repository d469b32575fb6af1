# SPDX-License-Identifier: Apache-2.0
"""Woven methods behave like the driver's methods, of all kinds."""

from __future__ import annotations

import collections.abc
import copy
import functools
import inspect
import operator
from typing import Any
from unittest import mock

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder, methods_of

from .common import CONTEXT, Kinds, with_attributes

KINDS = [
    "create_share",
    "delete_share",
    "extend_share",
    "shrink_share",
    "create_snapshot",
    "delete_snapshot",
    "manage_existing",
    "allow_access",
    "do_setup",
    "unmanage",
    "deny_access",
    "create_replica",
]


@pytest.mark.parametrize("name", KINDS)
def test_a_method_of_any_kind_is_intercepted(
    kinds: Kinds, hook: Recorder, name: str
) -> None:
    woven = aspects.weave(kinds, [hook])
    args = (CONTEXT,) if name == "allow_access" else (CONTEXT, "share")
    expected = getattr(kinds, name)(*args)
    assert getattr(woven, name)(*args) == expected
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]


@pytest.mark.parametrize("enabled", [["pre"], []])
@pytest.mark.parametrize("name", [*KINDS, "delete_replica"])
def test_a_woven_method_is_indistinguishable_from_the_drivers(
    kinds: Kinds, name: str, enabled: list[str]
) -> None:
    method = getattr(kinds, name)
    woven = getattr(aspects.weave(kinds, [Recorder(enabled=enabled)]), name)
    assert inspect.signature(woven) == inspect.signature(method)
    if name != "shrink_share":  # each access creates a partial, equal to no other
        assert woven == method
        assert method == woven
        assert not woven != method  # noqa: SIM202 (both operators are asked)
        if isinstance(method, collections.abc.Hashable):
            assert hash(woven) == hash(method)
        else:
            with pytest.raises(TypeError):
                hash(woven)
    assert repr(woven) == repr(method)
    assert str(woven) == str(method)
    assert dir(woven) == dir(method)
    assert woven.__class__ is method.__class__
    assert isinstance(woven, type(method))
    assert callable(woven)
    for attribute in ("__doc__", "__name__", "__qualname__", "__module__", "label"):
        assert getattr(woven, attribute, None) == getattr(method, attribute, None)
    for is_ in (
        inspect.ismethod,
        inspect.isfunction,
        inspect.isbuiltin,
        inspect.isroutine,
        inspect.isclass,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
    ):
        assert is_(woven) == is_(method)
    assert inspect.getdoc(woven) == inspect.getdoc(method)


def test_attributes_are_set_and_deleted_on_the_drivers_method(kinds: Kinds) -> None:
    woven = aspects.weave(kinds, [Recorder()])
    woven.create_snapshot.number = 7
    assert kinds.create_snapshot.number == 7
    woven.create_snapshot.label = "own"
    del woven.create_snapshot.label
    assert kinds.create_snapshot.label == "callable"
    kinds.create_snapshot.number = 1


def test_a_mock_method_has_its_assertions(kinds: Kinds, hook: Recorder) -> None:
    woven = aspects.weave(kinds, [hook])
    woven.deny_access.return_value = 5
    assert woven.deny_access(CONTEXT, "share", key=1) == 5
    woven.deny_access.assert_called_once_with(CONTEXT, "share", key=1)
    kinds.deny_access.assert_called_once_with(CONTEXT, "share", key=1)
    assert woven.deny_access.call_args == mock.call(CONTEXT, "share", key=1)
    woven.deny_access.side_effect = KeyError
    with pytest.raises(KeyError):
        woven.deny_access(CONTEXT)
    assert woven.deny_access.call_count == 2
    with pytest.raises(AssertionError):
        woven.deny_access.assert_not_called()
    assert len(hook.trace) == 4
    assert isinstance(woven.deny_access, mock.Mock)


def test_a_partial_of_a_woven_method_is_intercepted(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    partial = functools.partial(woven.create_share, CONTEXT)
    assert partial("share") == "result"
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]
    assert operator.methodcaller("create_share", CONTEXT, "share")(woven) == "result"
    assert len(hook.trace) == 4


def test_a_woven_partial_is_a_partial(kinds: Kinds) -> None:
    method = aspects.weave(kinds, [Recorder()]).unmanage
    assert isinstance(method, functools.partial)
    assert method.func is with_attributes
    assert method.keywords == {"flag": True}


def test_a_method_may_be_falsy(hook: Recorder) -> None:
    class Queue(list):  # type: ignore[type-arg]
        def __call__(self, share: Any, context: Any) -> str:
            return "result"

    driver = Driver()
    driver.create_share = Queue()  # type: ignore[method-assign]
    woven = aspects.weave(driver, [hook])
    assert not woven.create_share
    assert woven.create_share("share", CONTEXT) == "result"
    assert [seen.context for seen in hook.trace] == [CONTEXT, CONTEXT]


def test_woven_methods_can_be_dict_keys_and_list_members(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    assert {driver.create_share: 1}[woven.create_share] == 1
    assert woven.create_share in [driver.create_share]
    assert woven.create_share == woven.create_share
    assert woven.create_share != woven.delete_share


def test_a_method_can_be_copied(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    assert copy.copy(woven.create_share) == woven.create_share
    assert copy.deepcopy(woven.create_share)(CONTEXT, "share") == "result"


def test_a_coroutine_method_is_a_coroutine_function(hook: Recorder) -> None:
    class Own:
        async def create_share(self, context: Any, share: Any) -> None: ...

        def delete_share(self, context: Any, share: Any) -> None: ...

    woven = aspects.weave(Own(), [hook])
    assert inspect.iscoroutinefunction(woven.create_share)
    assert not inspect.iscoroutinefunction(woven.delete_share)
    coroutine = woven.create_share(CONTEXT, "share")
    assert inspect.iscoroutine(coroutine)
    coroutine.close()


def test_a_mock_of_a_driver_can_be_woven(hook: Recorder) -> None:
    driver = mock.MagicMock(spec=Driver)
    woven = aspects.weave(driver, [hook])
    assert isinstance(woven, Driver)
    woven.create_share(CONTEXT, "share")
    driver.create_share.assert_called_once_with(CONTEXT, "share")
    assert mock.call.create_share(CONTEXT, "share") in driver.mock_calls
    assert len(hook.trace) == 2
    assert not hasattr(woven, "create_snapshot")


def test_a_woven_driver_may_be_the_spec_of_a_mock(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    spec_mock = mock.create_autospec(woven)
    spec_mock.create_share(CONTEXT, "share")
    with pytest.raises(TypeError):
        spec_mock.create_share(1, 2, 3, 4, 5)
    with pytest.raises(AttributeError):
        spec_mock.no_such


def test_a_woven_driver_can_be_an_argument_of_a_partial() -> None:
    driver = Driver()
    woven = aspects.weave(driver, [])
    assert functools.partial(isinstance, woven)(Driver)
    assert functools.partial(getattr, woven)("create_share") == driver.create_share


def test_a_mock_of_a_method_is_not_a_coroutine_function() -> None:
    # Its flags are a mock too, in which every bit seems to be set.
    driver = mock.create_autospec(Driver, instance=True)
    driver.create_share.return_value = "export"
    hook = Recorder("hook")
    woven = aspects.weave(driver, [hook])
    assert woven.create_share(CONTEXT, "share") == "export"

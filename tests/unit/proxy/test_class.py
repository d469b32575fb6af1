# SPDX-License-Identifier: Apache-2.0
"""The class that is generated for woven drivers, and the attributes under _self_."""

from __future__ import annotations

import gc
import typing
import weakref
from typing import Any
from unittest import mock

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder, methods_of

from .kinds import Data, Dynamic, Mapped, Number, Plain
from .operations import HasCreateShare, HasDeleteShare

CONTEXT = object()


@pytest.fixture
def hook() -> Recorder:
    return Recorder("hook")


def test_the_generated_class_has_the_name_of_the_drivers_class() -> None:
    class Nested(Plain):
        """A driver."""

    cls = type(aspects.weave(Nested(), []))
    assert cls is not Nested
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(cls, name) == getattr(Nested, name)


def test_a_call_of_the_generated_class_creates_a_plain_driver() -> None:
    made = type(aspects.weave(Number(), []))(9)
    assert type(made) is Number
    assert made.value == 9


@pytest.mark.slow
def test_del_of_the_driver_does_not_run_with_the_proxy() -> None:
    finalized = []

    class Finalized(Plain):
        def __del__(self) -> None:
            finalized.append(self)

    driver = Finalized()
    woven = aspects.weave(driver, [])
    del woven
    gc.collect()
    assert finalized == []
    assert driver.size == 1


def test_the_generated_class_has_no_annotations_of_its_own(hook: Recorder) -> None:
    driver = Plain()
    woven = aspects.weave(driver, [hook])
    # Reading __annotations__ of a class creates an empty one.
    assert hasattr(woven, "__annotations__") == hasattr(driver, "__annotations__")
    assert aspects.weave(Data(), [hook]).__annotations__ == Data.__annotations__


@pytest.mark.slow
def test_the_generated_class_keeps_no_driver_class_alive() -> None:
    cls = type("Own", (Plain,), {"__len__": lambda self: 1})
    reference = weakref.ref(cls)
    aspects.weave(cls(), [Recorder()]).create_share(CONTEXT, "share")
    del cls
    gc.collect()
    assert reference() is None


@typing.runtime_checkable
class HasAddress(typing.Protocol):
    def address(self) -> str: ...


def test_a_woven_driver_satisfies_the_protocols_of_its_driver(hook: Recorder) -> None:
    woven = aspects.weave(Plain(), [hook])
    assert isinstance(woven, HasCreateShare)
    assert not isinstance(woven, HasDeleteShare)
    assert not isinstance(woven, HasAddress)


def test_special_methods_work_in_all_three_forms() -> None:
    woven = aspects.weave(Mapped(a=1), [])
    assert len(woven) == woven.__len__() == type(woven).__len__(woven) == 1
    woven = aspects.weave(Number(), [])
    assert repr(woven) == woven.__repr__() == type(woven).__repr__(woven)


def test_an_explicit_init_initializes_the_driver_again(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    woven.__init__(lambda *args: "other")
    assert aspects.unweave(woven) is driver
    assert woven.create_share(CONTEXT, "share") == "other"
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]


def test_an_in_place_operator_keeps_the_hooks() -> None:
    woven = before = aspects.weave(Number(7), [])
    woven += 1
    assert woven is before
    assert woven.value == 8
    # Number has no __isub__, so the result is another number, which is not woven.
    woven -= 1
    assert not aspects.is_woven(woven)
    assert (woven.value, before.value) == (7, 8)
    assert aspects.unweave(before).value == 8


@pytest.mark.parametrize("name", ["_self_note", "_self_weaving", "_self_methods"])
def test_names_under_self_do_not_reach_the_driver(hook: Recorder, name: str) -> None:
    cls = type("Own", (Driver,), {name: "the driver's"})
    driver = cls()
    woven = aspects.weave(driver, [hook])
    assert vars(driver).keys() == {"body"}
    woven.create_share(CONTEXT, "share")
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]
    woven._self_other = 1
    assert woven._self_other == 1
    del woven._self_other
    assert not hasattr(woven, "_self_other")
    assert getattr(driver, name) == "the driver's"


def test_a_computed_method_that_is_assigned_back_is_unwrapped(
    hook: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Dynamic()
    woven = aspects.weave(driver, [hook])
    with monkeypatch.context() as patch:
        patch.setattr(woven, "create_share", lambda context: "patched")
        assert woven.create_share(CONTEXT) == "patched"
    hook.trace.clear()
    assert driver.create_share(1) == ("create_share", (1,))
    assert hook.trace == []
    assert woven.create_share(1) == ("create_share", (1,))
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]


def test_a_woven_method_under_another_name_stays_woven(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    woven.callback = woven.create_share
    assert woven.callback(CONTEXT, "share") == "result"
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]


def test_a_mock_of_a_woven_method_can_replace_it(hook: Recorder) -> None:
    driver = Driver()
    driver.create_share = mock.Mock()  # type: ignore[method-assign]
    woven = aspects.weave(driver, [hook])
    # The mock has the class of its spec, a woven method, but is not a woven method.
    woven.create_share = mock.NonCallableMock(spec=woven.create_share)
    assert woven.create_share is driver.create_share
    woven.create_share = mock.Mock(spec=woven.delete_share, return_value="mocked")
    assert woven.create_share(CONTEXT, "share") == "mocked"
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]


def test_a_property_that_raises_attribute_error_is_evaluated_twice() -> None:
    class Counting(Driver):
        evaluated = 0

        @property
        def broken(self) -> Any:
            self.evaluated += 1
            raise AttributeError("not yet")

    woven = aspects.weave(Counting(), [])
    with pytest.raises(AttributeError, match="not yet"):
        woven.broken
    assert woven.evaluated == 2

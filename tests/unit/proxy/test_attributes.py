# SPDX-License-Identifier: Apache-2.0
"""Attributes, classes, equality and copies of a woven driver."""

from __future__ import annotations

import abc
import collections.abc
import contextlib
import copy
import functools
import inspect
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder

from .common import CONTEXT, Rich, is_intercepted


def test_a_woven_driver_is_an_instance_of_the_drivers_classes(pair: Any) -> None:
    _, woven = pair
    assert isinstance(woven, Rich)
    assert isinstance(woven, Driver)
    assert not isinstance(woven, Recorder)
    assert woven.__class__ is Rich


@pytest.mark.parametrize(
    "abstract",
    [
        collections.abc.Hashable,
        collections.abc.Callable,
        collections.abc.Iterable,
        collections.abc.Iterator,
        collections.abc.Sized,
        collections.abc.Container,
        collections.abc.Mapping,
        collections.abc.Awaitable,
        collections.abc.AsyncIterable,
        contextlib.AbstractContextManager,
        contextlib.AbstractAsyncContextManager,
    ],
)
@pytest.mark.parametrize("cls", [Rich, dict, list], ids=lambda cls: cls.__name__)
def test_a_woven_driver_is_an_instance_of_the_same_abstract_classes(
    abstract: Any, cls: Any
) -> None:
    driver = type("Own", (cls,), {})()
    woven = aspects.weave(driver, [])
    assert isinstance(woven, abstract) == isinstance(driver, abstract)


def test_a_woven_driver_is_a_virtual_subclass_instance_like_its_driver() -> None:
    class Abstract(abc.ABC):  # noqa: B024
        pass

    Abstract.register(Driver)
    assert isinstance(aspects.weave(Rich(), []), Abstract)


def test_single_dispatch_treats_a_woven_driver_as_the_driver(pair: Any) -> None:
    @functools.singledispatch
    def name(obj: Any) -> str:
        return "any"

    name.register(Driver, lambda obj: "driver")
    assert name(pair[1]) == "driver"


def test_a_structural_pattern_matches_a_woven_driver(pair: Any) -> None:
    match pair[1]:
        case Rich(size=1, constant=constant):
            assert constant == "class"
        case _:
            pytest.fail("no match")


def test_dir_vars_and_members_are_the_drivers(pair: Any) -> None:
    driver, woven = pair
    assert dir(woven) == dir(driver)
    assert vars(woven) is vars(driver)
    names = [name for name, _ in inspect.getmembers(driver, callable)]
    assert [name for name, _ in inspect.getmembers(woven, callable)] == names


@pytest.mark.parametrize("name", ["__doc__", "__module__", "__dict__", "__class__"])
def test_special_attributes_are_the_drivers(pair: Any, name: str) -> None:
    driver, woven = pair
    assert getattr(woven, name) == getattr(driver, name)


class Iterated:
    def __iter__(self) -> Any:
        return iter("abc")


class Indexed:
    def __getitem__(self, index: int) -> str:
        return "abc"[index]

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("cls", [Iterated, Indexed, Driver])
@pytest.mark.parametrize("function", [list, reversed, lambda driver: "b" in driver])
def test_a_missing_special_method_has_the_same_fallback_on_the_proxy(
    cls: Any, function: Any
) -> None:
    def outcome(driver: Any) -> Any:
        try:
            result = function(driver)
            return result if isinstance(result, bool) else list(result)
        except TypeError:
            return TypeError

    # A new class, so that its proxy class is generated here.
    driver = type(cls.__name__, (cls,), {})()
    assert outcome(aspects.weave(driver, [])) == outcome(driver)


def test_hook_methods_rejects_a_string() -> None:
    with pytest.raises(TypeError, match="expected several names, got"):
        aspects.weave(Driver(), [], hook_methods="helper")


def test_a_method_is_woven_with_the_right_chain_during_a_replace(
    hook: Recorder,
) -> None:
    driver = Driver()
    woven, other = aspects.weave(driver, [hook]), aspects.weave(driver, [Recorder("b")])
    weaving = aspects.weaving(woven)
    replacing = threading.Event()

    def replace() -> None:
        while not replacing.is_set():
            weaving.replace((hook,), lambda: None)

    thread = threading.Thread(target=replace)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3000):
            woven.create_share(CONTEXT, "share")
    finally:
        sys.setswitchinterval(interval)
        replacing.set()
        thread.join()
    assert not is_intercepted(other, hook) or pytest.fail("another's hook")


def test_equality_and_hash_are_the_drivers(pair: Any) -> None:
    driver, woven = pair
    again = aspects.weave(driver, [])
    assert woven == driver
    assert driver == woven
    assert woven == again
    assert hash(woven) == hash(driver)
    assert woven in [driver]
    assert driver in {woven}
    assert {driver: 1}[woven] == 1
    assert woven != Rich()
    assert Rich() != woven
    assert not woven != driver  # noqa: SIM202 (both operators are asked)


@pytest.mark.parametrize("form", [repr, str, format, "{}".format, "%s".__mod__])
def test_repr_and_str_are_the_drivers(pair: Any, form: Callable[..., str]) -> None:
    driver, woven = pair
    assert form(woven) == form(driver)


def test_attributes_are_read_set_and_deleted_on_the_driver(pair: Any) -> None:
    driver, woven = pair
    assert woven.initialized is False
    woven.initialized = True
    assert driver.initialized is True
    driver.initialized = "on the driver"
    assert woven.initialized == "on the driver"
    assert woven.private_storage is driver.private_storage
    woven._private = 2
    assert driver._private == 2
    woven.constant = "own"
    assert driver.constant == "own"
    assert Rich.constant == "class"
    del woven.constant
    assert woven.constant == "class"
    del woven.initialized
    assert not hasattr(driver, "initialized")
    assert not hasattr(woven, "initialized")
    with pytest.raises(AttributeError):
        del woven.initialized


def test_attributes_set_after_weaving_are_the_drivers(pair: Any) -> None:
    driver, woven = pair
    woven.new = 1
    assert vars(driver)["new"] == 1
    driver.newer = 2
    assert woven.newer == 2
    del woven.newer
    assert not hasattr(driver, "newer")
    # Another driver of the class does not have them.
    assert not hasattr(aspects.weave(Rich(), []), "new")


def test_attributes_of_odd_names_pass_through(pair: Any) -> None:
    driver, woven = pair
    for name in ("a.b", "a b", "class", "", "größe", "__private", "_Rich__mangled"):
        setattr(woven, name, name)
        assert vars(driver)[name] == name
        assert getattr(woven, name) == name
        assert getattr(aspects.weave(driver, []), name) == name
        delattr(woven, name)
        assert not hasattr(driver, name)


def test_properties_are_the_drivers(pair: Any) -> None:
    driver, woven = pair
    assert woven.size == 1
    woven.size = 5
    assert driver._size == 5
    with pytest.raises(ValueError, match="-1"):
        woven.size = -1
    del woven.size
    assert driver.size == 0
    assert woven.fixed == "fixed"
    with pytest.raises(AttributeError):
        woven.fixed = "other"
    with pytest.raises(AttributeError, match="no_such"):
        woven.broken
    assert woven.once is woven.once
    assert woven.once is driver.once


def test_the_proxys_own_state_has_names_under_self(pair: Any) -> None:
    driver, woven = pair
    woven._self_note = 1
    assert woven._self_note == 1
    assert not hasattr(driver, "_self_note")


def test_an_attribute_under_self_is_not_set_on_the_driver() -> None:
    driver = type("Own", (Driver,), {"_self_note": "the driver's"})()
    woven = aspects.weave(driver, [])
    assert woven._self_note == "the driver's"
    woven._self_note = 1
    assert (woven._self_note, driver._self_note) == (1, "the driver's")


def test_a_woven_driver_can_be_weakly_referenced(pair: Any) -> None:
    _, woven = pair
    reference = weakref.ref(woven)
    assert reference() is woven
    assert weakref.WeakKeyDictionary({woven: 1})[woven] == 1


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy])
def test_a_copy_is_woven_around_a_copy_of_the_driver(
    hook: Recorder, copying: Callable[..., Any]
) -> None:
    driver = Rich()
    woven = aspects.weave(
        driver,
        [hook],
        backend="alpha",
        host="node@alpha",
        hook_methods=["helper"],
        periodic_hooks_ticks=2,
        new_context=lambda: "of the service",
    )
    made = copying(woven)
    assert aspects.is_woven(made)
    assert aspects.unweave(made) is not driver
    assert type(aspects.unweave(made)) is Rich
    shared = made.private_storage is driver.private_storage
    assert shared == (copying is copy.copy)
    made.initialized = True
    assert driver.initialized is False
    # The hooks are the same, not copies.
    assert aspects.weaving(made).hooks == (hook,)
    assert is_intercepted(made, hook)
    assert hook.trace[0].func_name.backend == "alpha"
    assert hook.trace[0].func_name.host == "node@alpha"
    assert is_intercepted(made, hook, "helper")
    hook.periodic_hooks_enabled = True
    hook.trace.clear()
    assert [aspects.tick(made, None, []) for _ in range(2)] == [False, True]
    assert hook.trace[0].context == "of the service"


def test_a_deep_copy_of_a_list_with_it_twice_has_one_copy_twice() -> None:
    woven = aspects.weave(Rich(), [])
    one, two = copy.deepcopy([woven, woven])
    assert one is two
    assert aspects.unweave(one) is not aspects.unweave(woven)


def test_a_deep_copy_of_a_driver_and_its_woven_driver_keeps_them_together() -> None:
    driver = Rich()
    woven = aspects.weave(driver, [Recorder()])
    inner, outer, method = copy.deepcopy([driver, woven, woven.create_share])
    assert aspects.unweave(outer) is inner is not driver
    assert method.__self__ is inner


def test_a_descriptor_of_the_class_gets_the_driver() -> None:
    class Upper:
        """A descriptor that stores a value in capital letters under another name."""

        def __get__(self, driver: Any, owner: type) -> Any:
            return self if driver is None else driver.kept

        def __set__(self, driver: Any, value: str) -> None:
            driver.kept = value.upper()

        def __delete__(self, driver: Any) -> None:
            del driver.kept

    class Described(Driver):
        name = Upper()

    driver = Described()
    woven = aspects.weave(driver, [])
    woven.name = "pool"
    assert woven.name == driver.name == driver.kept == "POOL"
    del woven.name
    assert not hasattr(driver, "kept")
    assert not hasattr(woven, "name")


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("__contains__", lambda obj: 1 in obj),
        ("__getitem__", lambda obj: obj[0]),
        ("__iter__", iter),
        ("__len__", len),
        ("__reversed__", reversed),
    ],
)
def test_a_container_method_that_the_driver_lacks_is_missing(
    name: str, use: Callable[[Any], Any]
) -> None:
    class Sequence(Driver, list):  # type: ignore[type-arg]
        """A driver that is a container."""

    woven = aspects.weave(Driver(), [])
    assert not hasattr(woven, name)
    assert hasattr(aspects.weave(Sequence(), []), name)
    with pytest.raises(TypeError):
        use(woven)

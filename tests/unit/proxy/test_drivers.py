# SPDX-License-Identifier: Apache-2.0
"""Drivers of all kinds."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder

from .common import CONTEXT, is_intercepted, other


def test_a_woven_context_manager_is_a_context_manager(hook: Recorder) -> None:
    class Managed(Driver):
        seen: tuple[Any, ...] = ()

        def __enter__(self) -> Managed:
            return self

        def __exit__(self, *raised: Any) -> bool:
            self.seen = raised
            return True

    driver = Managed()
    woven = aspects.weave(driver, [hook])
    with woven as entered:
        assert entered == driver
        raise KeyError("suppressed by the driver")
    assert driver.seen[0] is KeyError
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(woven) == driver


def test_a_woven_async_context_manager_is_an_async_context_manager() -> None:
    class Managed(Driver):
        async def __aenter__(self) -> str:
            return "entered"

        async def __aexit__(self, *raised: Any) -> bool:
            return True

    async def main() -> None:
        async with aspects.weave(Managed(), []) as entered:
            assert entered == "entered"
            raise KeyError

    with pytest.raises(StopIteration):
        main().send(None)


def test_a_woven_callable_driver_is_callable(hook: Recorder) -> None:
    class Called(Driver):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return args, kwargs

    assert aspects.weave(Called(), [hook])(1, a=2) == ((1,), {"a": 2})
    assert callable(aspects.weave(Called(), [hook]))
    assert hook.trace == []


def test_a_woven_driver_that_is_not_callable_is_not_callable(pair: Any) -> None:
    assert not callable(pair[1])
    with pytest.raises(TypeError, match="not callable"):
        pair[1]()


def test_a_woven_collection_is_a_collection() -> None:
    driver = type("Own", (dict,), {})(a=1)
    woven = aspects.weave(driver, [])
    woven["b"] = 2
    assert driver == {"a": 1, "b": 2}
    assert len(woven) == 2
    assert list(woven) == ["a", "b"]
    assert "a" in woven
    del woven["a"]
    assert woven["b"] == 2
    assert list(reversed(woven)) == ["b"]
    woven.clear()
    assert not woven


def test_a_woven_iterator_is_an_iterator() -> None:
    class Counting:
        n = 0

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> int:
            self.n += 1
            if self.n > 3:
                raise StopIteration
            return self.n

    woven = aspects.weave(Counting(), [])
    assert next(woven) == 1
    assert list(woven) == [2, 3]


@pytest.mark.parametrize("function", [iter, len, next, list])
def test_a_woven_driver_raises_the_same_errors_as_its_driver(
    pair: Any, function: Callable[..., Any]
) -> None:
    for driver in pair:
        with pytest.raises(TypeError):
            function(driver)


def test_a_driver_with_slots_can_be_woven(hook: Recorder) -> None:
    class Slotted:
        __slots__ = ("size",)

        def create_share(self, context: Any, share: Any) -> str:
            return "result"

    driver = Slotted()
    woven = aspects.weave(driver, [hook])
    assert is_intercepted(woven, hook)
    assert not hasattr(woven, "size")
    woven.size = 1
    assert driver.size == 1
    del woven.size
    assert not hasattr(driver, "size")
    assert not hasattr(woven, "__dict__")
    for target in (driver, woven):
        with pytest.raises(AttributeError):
            target.other = 1
        with pytest.raises(AttributeError):
            target.create_share = other


def test_a_driver_that_computes_its_methods_can_be_woven(hook: Recorder) -> None:
    class Dynamic:
        asked: list[str]

        def __getattr__(self, name: str) -> Any:
            if name in ("create_share", "helper"):
                return lambda *args, **kwargs: (name, args)
            if name == "label":
                return "made up"
            raise AttributeError(f"no {name}")

    woven = aspects.weave(Dynamic(), [hook])
    assert woven.create_share(CONTEXT, 1) == ("create_share", (CONTEXT, 1))
    assert is_intercepted(woven, hook)
    assert woven.label == "made up"
    hook.trace.clear()
    assert woven.helper(1) == ("helper", (1,))
    assert hook.trace == []
    with pytest.raises(AttributeError, match="no other"):
        woven.other
    with pytest.raises(AttributeError, match="no delete_share"):
        woven.delete_share


def test_a_driver_that_delegates_can_be_woven(hook: Recorder) -> None:
    class Delegating:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    woven = aspects.weave(Delegating(Driver()), [hook])
    assert is_intercepted(woven, hook)
    assert woven.helper() == "result"


def test_a_driver_with_getattribute_can_be_woven(hook: Recorder) -> None:
    class Counting(Driver):
        def __getattribute__(self, name: str) -> Any:
            if name == "counted":
                return 5
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value * 2 if name == "double" else value)

    driver = Counting()
    woven = aspects.weave(driver, [hook])
    assert woven.counted == 5
    woven.double = 2
    assert driver.double == 4  # type: ignore[attr-defined]
    assert is_intercepted(woven, hook)


def test_a_driver_with_its_own_equality_keeps_it(hook: Recorder) -> None:
    class Equal(Driver):
        def __init__(self, key: int) -> None:
            super().__init__()
            self.key = key

        def __eq__(self, value: object) -> bool:
            return isinstance(value, Equal) and value.key == self.key

        def __lt__(self, value: Equal) -> bool:
            return self.key < value.key

        __hash__ = None  # type: ignore[assignment]

    woven = aspects.weave(Equal(1), [hook])
    assert woven == Equal(1)
    assert Equal(1) == woven
    assert woven != Equal(2)
    assert woven < Equal(2)
    assert sorted([Equal(2), woven])[0] is woven
    with pytest.raises(TypeError, match="unhashable"):
        hash(woven)
    # Equal drivers do not take each other's methods.
    twin = Equal(1)
    twin.create_share = other  # type: ignore[method-assign]
    second = aspects.weave(twin, [hook])
    assert woven.create_share(CONTEXT, 1) == "result"
    assert second.create_share(CONTEXT, 1) == "other"
    assert is_intercepted(woven, hook)


def test_a_falsy_driver_is_falsy_when_woven() -> None:
    class Empty(Driver):
        def __bool__(self) -> bool:
            return False

    assert not aspects.weave(Empty(), [])
    assert aspects.weave(Driver(), [])


def test_woven_drivers_of_one_class_have_separate_attributes() -> None:
    class Many:
        def __init__(self, **attributes: Any) -> None:
            vars(self).update(attributes)

    one, two = aspects.weave(Many(a=1), []), aspects.weave(Many(b=2), [])
    assert (one.a, two.b) == (1, 2)
    assert not hasattr(one, "b")
    assert not hasattr(two, "a")
    two.a = 3
    assert one.a == 1


def test_drivers_of_one_class_have_one_proxy_class() -> None:
    # Generating a class is slow, and many classes would fill the memory.
    cls = type("Own", (Driver,), {})
    kinds = {type(aspects.weave(cls(), [])) for _ in range(3)}
    assert len(kinds) == 1


@pytest.mark.slow
def test_weaving_keeps_no_driver_class_alive(hook: Recorder) -> None:
    cls = type("Own", (Driver,), {})
    aspects.weave(cls(), [hook]).create_share(CONTEXT, "share")
    reference = weakref.ref(cls)
    del cls
    hook.trace.clear()
    gc.collect()
    assert reference() is None


class Entered(Driver):
    def __init__(self, other: Any = None) -> None:
        super().__init__()
        self.other = other

    def __enter__(self) -> Any:
        return self.other or self

    def __exit__(self, *error: object) -> None:
        """End."""

    async def __aenter__(self) -> Any:
        return self.other or self

    async def __aexit__(self, *error: object) -> None:
        """End."""


@pytest.mark.parametrize("other", [None, "something else"])
def test_a_with_statement_returns_the_woven_driver(hook: Recorder, other: Any) -> None:
    woven = aspects.weave(Entered(other), [hook])

    async def enter() -> Any:
        async with woven as entered:
            return entered

    with woven as entered:
        assert entered is (other or woven)
    assert asyncio.run(enter()) is (other or woven)


def test_closing_closes_the_driver() -> None:
    class Closable(Driver):
        closed = False

        def close(self) -> None:
            self.closed = True

    driver = Closable()
    with contextlib.closing(aspects.weave(driver, [])) as woven:
        assert not woven.closed
    assert driver.closed

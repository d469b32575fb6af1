# SPDX-License-Identifier: Apache-2.0
"""A woven driver cannot be told from its driver."""

from __future__ import annotations

import abc
import asyncio
import collections.abc
import contextlib
import copy
import functools
import gc
import inspect
import operator
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import aspects

from .fixtures_hooks.threads import in_a_thread
from .helpers import Driver, PlainRecorder, Recorder, actions_of

CONTEXT = object()


@pytest.fixture
def hook() -> Recorder:
    return Recorder("hook")


def is_intercepted(woven: Any, hook: Recorder, method: str = "create_share") -> bool:
    """Tell whether a call of a method now is one join point of the hook."""
    hook.trace.clear()
    getattr(woven, method)(CONTEXT, "share")
    return actions_of(hook.trace) == ["hook.pre", "hook.post"]


# Weaving and unweaving.


@pytest.mark.parametrize("make", [list, tuple, iter, set])
def test_hooks_may_be_any_iterable(make: Callable[..., Any], hook: Recorder) -> None:
    woven = aspects.weave(Driver(), make([hook]))
    assert aspects.weaving(woven).hooks == (hook,)
    assert is_intercepted(woven, hook)
    assert is_intercepted(woven, hook)


def test_the_chain_is_a_tuple_that_the_givers_list_does_not_change(
    hook: Recorder,
) -> None:
    hooks = [hook]
    woven = aspects.weave(Driver(), hooks)
    hooks.clear()
    assert aspects.weaving(woven).hooks == (hook,)
    assert is_intercepted(woven, hook)


def test_hooks_may_be_none_at_all() -> None:
    woven = aspects.weave(Driver(), [])
    assert aspects.is_woven(woven)
    assert aspects.weaving(woven).hooks == ()
    assert woven.create_share(CONTEXT, "share") == "result"


def test_weaving_leaves_the_driver_as_it_is(hook: Recorder) -> None:
    driver = Driver()
    before = dict(vars(driver)), dict(vars(Driver))
    woven = aspects.weave(driver, [hook])
    woven.create_share(CONTEXT, "share")
    assert (dict(vars(driver)), dict(vars(Driver))) == before
    hook.trace.clear()
    driver.create_share(CONTEXT, "share")
    assert hook.trace == []


def test_is_woven_tells_woven_drivers_from_all_else(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    assert aspects.is_woven(woven)
    for other in (driver, Driver, None, woven.create_share, mock.Mock(spec=woven)):
        assert not aspects.is_woven(other)


def test_unweave_gives_the_driver_back(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    assert aspects.unweave(woven) is driver
    assert is_intercepted(woven, hook)


@pytest.mark.parametrize("function", [aspects.unweave, aspects.weaving])
def test_what_is_not_woven_has_no_weaving(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="not a woven driver"):
        function(Driver())


def test_weaving_a_woven_driver_raises_already_woven(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [])
    with pytest.raises(
        aspects.AlreadyWoven, match=r"Driver object .* is woven already"
    ):
        aspects.weave(woven, [hook])
    assert issubclass(aspects.AlreadyWoven, TypeError)
    # Unwoven, it may be woven again.
    assert is_intercepted(aspects.weave(aspects.unweave(woven), [hook]), hook)


@pytest.mark.parametrize("wrong", [None, "audit", object(), Driver()])
def test_what_is_not_a_hook_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="not a hook"):
        aspects.weave(Driver(), [Recorder(), wrong])


def test_weaving_tells_hooks_operations_and_ticks(hook: Recorder) -> None:
    other = PlainRecorder()
    weaving = aspects.weaving(aspects.weave(Driver(), [hook, other]))
    assert isinstance(weaving, aspects.Weaving)
    assert weaving.hooks == (hook, other)
    assert weaving.ticks == 0
    assert dict(weaving.operations) == {
        "create_share": "create_share_instance",
        "delete_share": "delete_share_instance",
        "extend_share": "extend_share",
    }


def test_who_weaves_says_what_context_a_call_without_one_has(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook], new_context=lambda: "of the service")
    in_a_thread(woven.extend_share, "share", 2)
    assert [seen.context for seen in hook.trace] == ["of the service"] * 2


def test_two_woven_drivers_do_not_see_each_others_hooks() -> None:
    one, two = Recorder("hook"), Recorder("hook")
    driver = Driver()
    woven = [aspects.weave(driver, [one]), aspects.weave(driver, [two])]
    assert is_intercepted(woven[0], one)
    assert two.trace == []
    assert is_intercepted(woven[1], two)
    assert len(one.trace) == 2


# What is intercepted.


def test_what_is_no_operation_passes_straight_through(hook: Recorder) -> None:
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


def test_a_method_that_the_driver_has_not_is_missing(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    assert not hasattr(woven, "create_snapshot")
    assert getattr(woven, "create_snapshot", "default") == "default"
    with pytest.raises(AttributeError, match=r"'Driver'.*'create_snapshot'"):
        woven.create_snapshot
    with pytest.raises(AttributeError, match=r"'Driver'.*'no_such'"):
        woven.no_such


def test_what_a_driver_calls_on_itself_is_not_intercepted(hook: Recorder) -> None:
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


def test_one_callers_call_is_one_join_point(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    for _ in range(3):
        woven.create_share(CONTEXT, "share")
    assert actions_of(hook.trace) == ["hook.pre", "hook.post"] * 3


# A method is looked up on the driver at each call.


def other(context: Any, share: Any) -> str:
    return "other"


def replace_on_the_driver(driver: Any, woven: Any) -> None:
    driver.create_share = other


def replace_through_the_proxy(driver: Any, woven: Any) -> None:
    woven.create_share = other


def replace_on_the_class(driver: Any, woven: Any) -> None:
    type(driver).create_share = lambda self, context, share: "other"


def replace_in_the_dict(driver: Any, woven: Any) -> None:
    vars(woven)["create_share"] = other


def change_the_class(driver: Any, woven: Any) -> None:
    woven.__class__ = type(
        "Other", (type(driver),), {"create_share": lambda self, c, s: "other"}
    )


REPLACING = [
    replace_on_the_driver,
    replace_through_the_proxy,
    replace_on_the_class,
    replace_in_the_dict,
    change_the_class,
]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("replace", REPLACING)
def test_a_method_replaced_after_weaving_takes_effect_and_stays_woven(
    hook: Recorder, replace: Callable[..., Any], used: bool
) -> None:
    driver = type("Own", (Driver,), {})()
    woven = aspects.weave(driver, [hook])
    if used:
        woven.create_share(CONTEXT, "share")
    replace(driver, woven)
    assert woven.create_share(CONTEXT, "share") == "other"
    assert driver.create_share(CONTEXT, "share") == "other"
    assert is_intercepted(woven, hook)
    assert hook.trace[0].func_name == "create_share_instance"


@pytest.mark.parametrize("replace", [replace_on_the_driver, replace_on_the_class])
def test_a_method_replaced_before_weaving_is_woven(
    hook: Recorder, replace: Callable[..., Any]
) -> None:
    driver = type("Own", (Driver,), {})()
    replace(driver, None)
    woven = aspects.weave(driver, [hook])
    assert woven.create_share(CONTEXT, "share") == "other"
    assert is_intercepted(woven, hook)


def test_replacing_a_method_of_one_driver_leaves_others_alone(hook: Recorder) -> None:
    one, two = (aspects.weave(Driver(), [hook]) for _ in range(2))
    one.create_share = other
    assert two.create_share(CONTEXT, "share") == "result"


def test_a_method_deleted_through_the_proxy_is_the_classs_again(
    hook: Recorder,
) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    woven.create_share = other
    del woven.create_share
    assert "create_share" not in vars(driver)
    assert woven.create_share(CONTEXT, "share") == "result"
    assert is_intercepted(woven, hook)
    with pytest.raises(AttributeError):
        del woven.create_share


def test_a_method_deleted_from_the_class_is_gone(hook: Recorder) -> None:
    class Own(Driver):
        def create_snapshot(self, context: Any, snapshot: Any) -> None: ...

    woven = aspects.weave(Own(), [hook])
    woven.create_snapshot(CONTEXT, 1)
    del Own.create_snapshot
    assert not hasattr(woven, "create_snapshot")


@pytest.mark.parametrize("through", [False, True])
def test_a_method_added_after_weaving_is_woven(hook: Recorder, through: bool) -> None:
    driver = Driver()
    woven = aspects.weave(
        driver, [hook], "alpha", "node@alpha", new_context=lambda: "of the service"
    )
    target = woven if through else driver
    target.create_snapshot = lambda context, snapshot: "added"  # type: ignore[union-attr]
    assert woven.create_snapshot(CONTEXT, "snapshot") == "added"
    assert is_intercepted(woven, hook, "create_snapshot")
    operation = hook.trace[0].func_name
    assert operation == operation.method == "create_snapshot"
    assert (operation.backend, operation.host) == ("alpha", "node@alpha")
    assert hook.trace[0].context is CONTEXT
    hook.trace.clear()
    in_a_thread(woven.create_snapshot, None, "snapshot")
    assert hook.trace[0].context == "of the service"


def test_a_method_replaced_by_what_is_not_callable_passes_through(
    hook: Recorder,
) -> None:
    woven = aspects.weave(Driver(), [hook])
    woven.create_share = None
    assert woven.create_share is None
    with pytest.raises(TypeError):
        woven.create_share(CONTEXT, "share")
    assert hook.trace == []
    del woven.create_share
    assert is_intercepted(woven, hook)


def test_a_method_put_back_through_the_proxy_is_woven_once(hook: Recorder) -> None:
    driver = type("Own", (Driver,), {})()
    woven = aspects.weave(driver, [hook])
    woven.create_share = woven.create_share
    assert is_intercepted(woven, hook)
    # The driver's own calls stay its own.
    hook.trace.clear()
    driver.create_share(CONTEXT, "share")
    assert hook.trace == []


def test_monkeypatch_through_the_proxy_restores_the_method(
    hook: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    for target in (woven, driver):
        with monkeypatch.context() as patch:
            patch.setattr(target, "create_share", other)
            assert woven.create_share(CONTEXT, "share") == "other"
            assert is_intercepted(woven, hook)
        assert woven.create_share(CONTEXT, "share") == "result"
        assert is_intercepted(woven, hook)
        hook.trace.clear()
        assert driver.create_share(CONTEXT, "share") == "result"
        assert hook.trace == []


@pytest.mark.parametrize("through", ["proxy", "driver", "class"])
@pytest.mark.parametrize("autospec", [None, True])
def test_mock_patch_object_works_on_all(
    hook: Recorder, through: str, autospec: Any
) -> None:
    class Own(Driver):
        pass

    driver = Own()
    woven = aspects.weave(driver, [hook])
    target = {"proxy": woven, "driver": driver, "class": Own}[through]
    before = dict(vars(driver))
    with mock.patch.object(target, "create_share", autospec=autospec) as method:
        method.return_value = "patched"
        assert woven.create_share(CONTEXT, share="share") == "patched"
        given = (driver,) if autospec and through == "class" else ()
        method.assert_called_once_with(*given, CONTEXT, share="share")
        woven.create_share.assert_called_once()
        assert is_intercepted(woven, hook)
    assert woven.create_share(CONTEXT, "share") == "result"
    assert is_intercepted(woven, hook)
    assert vars(driver) == before


def test_mock_patch_object_works_on_what_passes_through(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    with mock.patch.object(woven, "helper", return_value="patched"):
        assert woven.helper() == driver.helper() == "patched"
    assert vars(driver) == {"body": driver.body}
    assert woven.helper() == "result"


def test_mock_patch_dict_works_on_the_attributes(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    with mock.patch.dict(woven.__dict__, {"create_share": other}):
        assert woven.create_share(CONTEXT, "share") == "other"
    assert woven.create_share(CONTEXT, "share") == "result"


def test_a_woven_method_of_another_driver_keeps_its_own_hooks() -> None:
    inner, outer = Recorder("inner"), Recorder("hook")
    backing = aspects.weave(Driver(), [inner])
    for through in (False, True):
        driver = Driver()
        woven = aspects.weave(driver, [outer])
        (woven if through else driver).create_share = backing.create_share
        inner.trace.clear()
        assert is_intercepted(woven, outer)
        assert actions_of(inner.trace) == ["inner.pre", "inner.post"]


@pytest.mark.parametrize("kind", ["method", "function", "replaced"])
def test_what_a_hook_wants_around_a_method_is_made_once(kind: str) -> None:
    made: list[str] = []

    class Around(Recorder):
        def wrap_driver(self, operation: Any, method: Any) -> Any:
            made.append(operation)
            return method

    driver = type("Own", (Driver,), {})()
    if kind == "function":
        driver.create_share = other
    woven = aspects.weave(driver, [Around()])
    for _ in range(3):
        woven.create_share(CONTEXT, "share")
    assert made == ["create_share_instance"]
    if kind == "replaced":
        driver.create_share = other
        for _ in range(3):
            woven.create_share(CONTEXT, "share")
        assert made == ["create_share_instance"] * 2


# Methods of all kinds.


class Callable_:
    """A callable object with attributes and an equality of its own."""

    label = "callable"

    def __init__(self, number: int = 1) -> None:
        self.number = number

    def __call__(self, context: Any, share: Any) -> Any:
        """Call it."""
        return self.number

    def __eq__(self, value: object) -> bool:
        return isinstance(value, Callable_) and value.number == self.number

    __hash__ = None  # type: ignore[assignment]


def with_attributes(context: Any, share: Any = 1, *, flag: bool = False) -> Any:
    """Have attributes."""
    return share


with_attributes.label = "function"  # type: ignore[attr-defined]


class Kinds(Driver):
    create_share = Driver.create_share

    @staticmethod
    def delete_share(context: Any, share: Any) -> Any:  # type: ignore[override]
        """Be static."""
        return share

    @classmethod
    def extend_share(cls, context: Any, share: Any) -> Any:  # type: ignore[override]
        """Be of the class."""
        return share

    shrink_share = functools.partialmethod(Driver.create_share, share_server=1)
    create_snapshot = Callable_()

    @property
    def delete_snapshot(self) -> Any:
        return with_attributes

    @functools.lru_cache  # noqa: B019 (one instance of the module's life)
    def manage_existing(self, context: Any, share: Any) -> Any:
        """Be cached."""
        return share

    allow_access = Callable_  # a class

    def __init__(self) -> None:
        super().__init__()
        self.do_setup = with_attributes
        self.unmanage = functools.partial(with_attributes, flag=True)
        self.deny_access = mock.Mock(return_value=1)
        self.create_replica = mock.create_autospec(with_attributes)
        self.delete_replica = len


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


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()


@pytest.mark.parametrize("name", KINDS)
def test_a_method_of_any_kind_is_intercepted(
    kinds: Kinds, hook: Recorder, name: str
) -> None:
    woven = aspects.weave(kinds, [hook])
    args = (CONTEXT,) if name == "allow_access" else (CONTEXT, "share")
    expected = getattr(kinds, name)(*args)
    assert getattr(woven, name)(*args) == expected
    assert actions_of(hook.trace) == ["hook.pre", "hook.post"]


@pytest.mark.parametrize("enabled", [["pre"], []])
@pytest.mark.parametrize("name", [*KINDS, "delete_replica"])
def test_a_method_handed_out_passes_for_the_drivers(
    kinds: Kinds, name: str, enabled: list[str]
) -> None:
    method = getattr(kinds, name)
    woven = getattr(aspects.weave(kinds, [Recorder(enabled=enabled)]), name)
    assert inspect.signature(woven) == inspect.signature(method)
    if name != "shrink_share":  # a new partial each time, not equal to the last
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
    assert actions_of(hook.trace) == ["hook.pre", "hook.post"]
    assert operator.methodcaller("create_share", CONTEXT, "share")(woven) == "result"
    assert len(hook.trace) == 4


def test_a_method_that_is_a_partial_is_one(kinds: Kinds) -> None:
    method = aspects.weave(kinds, [Recorder()]).unmanage
    assert isinstance(method, functools.partial)
    assert method.func is with_attributes
    assert method.keywords == {"flag": True}


def test_a_method_may_be_false(hook: Recorder) -> None:
    class Queue(list):  # type: ignore[type-arg]
        def __call__(self, share: Any, context: Any) -> str:
            return "result"

    driver = Driver()
    driver.create_share = Queue()  # type: ignore[method-assign]
    woven = aspects.weave(driver, [hook])
    assert not woven.create_share
    assert woven.create_share("share", CONTEXT) == "result"
    assert [seen.context for seen in hook.trace] == [CONTEXT, CONTEXT]


def test_methods_can_be_keys_and_members(hook: Recorder) -> None:
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


def test_a_mock_may_stand_for_the_whole_driver(hook: Recorder) -> None:
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
    stand_in = mock.create_autospec(woven)
    stand_in.create_share(CONTEXT, "share")
    with pytest.raises(TypeError):
        stand_in.create_share(1, 2, 3, 4, 5)
    with pytest.raises(AttributeError):
        stand_in.no_such


# Attributes.


class Rich(Driver):
    """A rich driver."""

    constant = "class"

    def __init__(self) -> None:
        super().__init__()
        self.initialized = False
        self.private_storage = {"a": 1}
        self._private = 1
        self._size = 1

    @property
    def size(self) -> int:
        """The size."""
        return self._size

    @size.setter
    def size(self, value: int) -> None:
        if value < 0:
            raise ValueError(value)
        self._size = value

    @size.deleter
    def size(self) -> None:
        self._size = 0

    @property
    def fixed(self) -> str:
        return "fixed"

    @property
    def broken(self) -> str:
        return self.no_such  # type: ignore[attr-defined,no-any-return]

    @functools.cached_property
    def once(self) -> object:
        return object()


@pytest.fixture(params=["used", "unused", "no hooks"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Return a driver and the same woven."""
    driver = Rich()
    hooks = [] if request.param == "no hooks" else [Recorder()]
    woven = aspects.weave(driver, hooks)
    if request.param == "used":
        woven.create_share(CONTEXT, "share")
    return driver, woven


def test_it_is_an_instance_of_the_drivers_classes(pair: Any) -> None:
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
def test_it_is_an_instance_of_the_same_abstract_classes(
    abstract: Any, cls: Any
) -> None:
    driver = type("Own", (cls,), {})()
    woven = aspects.weave(driver, [])
    assert isinstance(woven, abstract) == isinstance(driver, abstract)


def test_a_registered_abstract_class_knows_it() -> None:
    class Abstract(abc.ABC):  # noqa: B024
        pass

    Abstract.register(Driver)
    assert isinstance(aspects.weave(Rich(), []), Abstract)


def test_single_dispatch_takes_it_for_the_driver(pair: Any) -> None:
    @functools.singledispatch
    def name(obj: Any) -> str:
        return "any"

    name.register(Driver, lambda obj: "driver")
    assert name(pair[1]) == "driver"


def test_a_structural_pattern_matches_it(pair: Any) -> None:
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
@pytest.mark.parametrize("question", [list, reversed, lambda each: "b" in each])
def test_what_python_does_without_a_special_method_it_does_with_the_proxy(
    cls: Any, question: Any
) -> None:
    def answer(driver: Any) -> Any:
        try:
            told = question(driver)
            return told if isinstance(told, bool) else list(told)
        except TypeError:
            return TypeError

    # A class of its own, of which nothing is known yet.
    driver = type(cls.__name__, (cls,), {})()
    assert answer(aspects.weave(driver, [])) == answer(driver)


def test_one_name_is_no_list_of_methods() -> None:
    with pytest.raises(TypeError, match="one name, not several"):
        aspects.weave(Driver(), [], hook_methods="helper")


def test_a_chain_that_is_replaced_while_a_method_is_woven_is_nobody_elses(
    hook: Recorder,
) -> None:
    driver = Driver()
    woven, other = aspects.weave(driver, [hook]), aspects.weave(driver, [Recorder("b")])
    about = aspects.weaving(woven)
    replacing = threading.Event()

    def replace() -> None:
        while not replacing.is_set():
            about.replace((hook,), lambda: None)

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


def test_attributes_that_are_new_after_weaving_are_the_drivers(pair: Any) -> None:
    driver, woven = pair
    woven.new = 1
    assert vars(driver)["new"] == 1
    driver.newer = 2
    assert woven.newer == 2
    del woven.newer
    assert not hasattr(driver, "newer")
    # Those of one driver are not those of another of its class.
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


def test_its_own_state_lies_under_self(pair: Any) -> None:
    driver, woven = pair
    woven._self_note = 1
    assert woven._self_note == 1
    assert not hasattr(driver, "_self_note")


def test_a_drivers_attribute_of_such_a_name_is_not_set_through_the_proxy() -> None:
    driver = type("Own", (Driver,), {"_self_note": "the driver's"})()
    woven = aspects.weave(driver, [])
    assert woven._self_note == "the driver's"
    woven._self_note = 1
    assert (woven._self_note, driver._self_note) == (1, "the driver's")


def test_a_weak_reference_can_be_made_to_it(pair: Any) -> None:
    _, woven = pair
    reference = weakref.ref(woven)
    assert reference() is woven
    assert weakref.WeakKeyDictionary({woven: 1})[woven] == 1


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy])
def test_a_copy_is_woven_and_its_driver_a_copy(
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


def test_a_deep_copy_of_what_holds_it_twice_holds_its_copy_twice() -> None:
    woven = aspects.weave(Rich(), [])
    one, two = copy.deepcopy([woven, woven])
    assert one is two
    assert aspects.unweave(one) is not aspects.unweave(woven)


def test_a_deep_copy_of_a_driver_and_what_is_woven_around_it_is_of_one_driver() -> None:
    driver = Rich()
    woven = aspects.weave(driver, [Recorder()])
    inner, outer, method = copy.deepcopy([driver, woven, woven.create_share])
    assert aspects.unweave(outer) is inner is not driver
    assert method.__self__ is inner


# Drivers of all kinds.


def test_a_driver_that_is_a_context_manager_is_one_woven(hook: Recorder) -> None:
    class Managed(Driver):
        seen: tuple[Any, ...] = ()

        def __enter__(self) -> Managed:
            return self

        def __exit__(self, *given: Any) -> bool:
            self.seen = given
            return True

    driver = Managed()
    woven = aspects.weave(driver, [hook])
    with woven as entered:
        assert entered == driver
        raise KeyError("suppressed by the driver")
    assert driver.seen[0] is KeyError
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(woven) == driver


def test_a_driver_that_is_an_async_context_manager_is_one_woven() -> None:
    class Managed(Driver):
        async def __aenter__(self) -> str:
            return "entered"

        async def __aexit__(self, *given: Any) -> bool:
            return True

    async def main() -> None:
        async with aspects.weave(Managed(), []) as entered:
            assert entered == "entered"
            raise KeyError

    with pytest.raises(StopIteration):
        main().send(None)


def test_a_driver_that_is_callable_is_callable_woven(hook: Recorder) -> None:
    class Called(Driver):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return args, kwargs

    assert aspects.weave(Called(), [hook])(1, a=2) == ((1,), {"a": 2})
    assert callable(aspects.weave(Called(), [hook]))
    assert hook.trace == []


def test_a_driver_that_is_not_callable_is_not_callable_woven(pair: Any) -> None:
    assert not callable(pair[1])
    with pytest.raises(TypeError, match="not callable"):
        pair[1]()


def test_a_driver_that_is_a_collection_is_one_woven() -> None:
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


def test_a_driver_that_is_an_iterator_is_one_woven() -> None:
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
def test_what_a_driver_cannot_do_it_cannot_do_woven(
    pair: Any, function: Callable[..., Any]
) -> None:
    for each in pair:
        with pytest.raises(TypeError):
            function(each)


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
    for each in (driver, woven):
        with pytest.raises(AttributeError):
            each.other = 1
        with pytest.raises(AttributeError):
            each.create_share = other


def test_a_driver_that_makes_its_methods_up_can_be_woven(hook: Recorder) -> None:
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


def test_a_driver_with_an_equality_of_its_own_keeps_it(hook: Recorder) -> None:
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


def test_a_false_driver_is_false_woven() -> None:
    class Empty(Driver):
        def __bool__(self) -> bool:
            return False

    assert not aspects.weave(Empty(), [])
    assert aspects.weave(Driver(), [])


def test_a_woven_driver_of_a_class_of_many_can_be_told_by_its_attributes() -> None:
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
    # To make one takes long, and what is made again and again adds up.
    cls = type("Own", (Driver,), {})
    kinds = {type(aspects.weave(cls(), [])) for _ in range(3)}
    assert len(kinds) == 1


def test_a_class_lives_no_longer_for_having_been_woven(hook: Recorder) -> None:
    cls = type("Own", (Driver,), {})
    aspects.weave(cls(), [hook]).create_share(CONTEXT, "share")
    reference = weakref.ref(cls)
    del cls
    hook.trace.clear()
    gc.collect()
    assert reference() is None


# hook_methods


def test_further_methods_are_woven_under_their_own_names(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook], hook_methods=["helper", "not_there"])
    assert aspects.weaving(woven).operations["helper"] == "helper"
    assert is_intercepted(woven, hook, "helper")
    assert hook.trace[0].func_name == "helper"
    assert is_intercepted(woven, hook, "create_share")
    assert not hasattr(woven, "not_there")
    # Nor are they those of another woven driver of this class.
    plain = aspects.weave(driver, [hook])
    hook.trace.clear()
    plain.helper()
    assert hook.trace == []


# What the documentation says beside.


def test_a_method_is_the_drivers_own_while_no_action_is_on(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    hook.pre_hooks_enabled = hook.post_hooks_enabled = False
    assert type(woven.create_share) is types.MethodType
    hook.post_hooks_enabled = True
    assert type(woven.create_share) is not types.MethodType


def test_a_method_put_on_the_driver_itself_is_woven_once(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    driver.create_share = woven.create_share
    assert woven.create_share(CONTEXT, "share") == "result"
    assert actions_of(hook.trace) == ["hook.pre", "hook.post"]


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
def test_a_with_statement_gives_the_woven_driver(hook: Recorder, other: Any) -> None:
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


def test_a_partial_of_a_woven_driver_has_it_as_its_argument() -> None:
    driver = Driver()
    woven = aspects.weave(driver, [])
    assert functools.partial(isinstance, woven)(Driver)
    assert functools.partial(getattr, woven)("create_share") == driver.create_share


def test_a_descriptor_of_the_class_is_asked_for_the_driver() -> None:
    class Upper:
        """Keeps what is set in capital letters, under a name of its own."""

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


def test_a_mock_of_a_method_is_no_coroutine() -> None:
    # Its flags are a mock as well, of which any seems to be set.
    driver = mock.create_autospec(Driver, instance=True)
    driver.create_share.return_value = "export"
    hook = Recorder("hook")
    woven = aspects.weave(driver, [hook])
    assert woven.create_share(CONTEXT, "share") == "export"

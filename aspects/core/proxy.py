# SPDX-License-Identifier: Apache-2.0
"""The proxy around a driver, and around each of its woven methods."""

from __future__ import annotations

import copy
import inspect
import operator
import types
import weakref
from collections.abc import Callable
from typing import Any

import wrapt

from aspects.core.snapshot import Chain
from aspects.operations import METHODS, attribute


class WovenMethod(wrapt.ObjectProxy):  # type: ignore
    """A driver's method, with the hooks around each call of it.

    It passes for the method, since Manila and its tests treat methods as
    objects: mocks with assertions, partials, attributes.
    """

    __slots__ = ("_self_call", "_self_chain")
    _self_call: Callable[..., Any]
    _self_chain: Chain

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __copy__(self) -> WovenMethod:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)


# The slot itself stands for the method: to call the proxy is to call what is in
# it, without the cost of a method that passes its arguments on.
WovenMethod.__call__ = WovenMethod._self_call  # type: ignore[method-assign]


class WovenClass(WovenMethod):
    """The same for a class in place of a method."""

    __slots__ = ()

    @property
    def __signature__(self) -> inspect.Signature:
        # Of what looks like a class, Python 3.13 wants to bind the slot above.
        return inspect.signature(self.__wrapped__)


class WovenDriver(wrapt.ObjectProxy):  # type: ignore
    """A driver with its hooks around it: the woven driver."""

    __slots__ = ("_self_weaving",)
    _self_weaving: Any

    # ObjectProxy's own would raise and clear an AttributeError in C for every
    # attribute of the driver, and again be called through a slot wrapper in a
    # subclass. The semantics are the same, and what stands on the class, as
    # the properties made below, is found several times faster.
    __getattribute__ = object.__getattribute__

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    # What a driver returns of itself would be the way around its hooks.

    def __enter__(self) -> Any:
        entered = self.__wrapped__.__enter__()
        return self if entered is self.__wrapped__ else entered

    async def __aenter__(self) -> Any:
        entered = await self.__wrapped__.__aenter__()
        return self if entered is self.__wrapped__ else entered

    def __copy__(self) -> Any:
        return self._self_weaving.rewoven(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._self_weaving.rewoven(copy.deepcopy(self.__wrapped__, memo))


def _property(name: str, get: Callable[[WovenDriver], Any]) -> property:
    """Make an attribute of the driver one of the proxy's class."""

    def set_(self: WovenDriver, value: Any) -> None:
        # Putting back what was read from here must not weave it twice.
        if self._self_weaving.is_mine(value):
            value = value.__wrapped__
        setattr(self.__wrapped__, name, value)

    def delete(self: WovenDriver) -> None:
        delattr(self.__wrapped__, name)

    return property(get, set_, delete)


def _method(name: str) -> property:
    """Make a woven method: looked up on the driver at each call."""
    bound = types.MethodType

    def get(self: WovenDriver) -> Any:
        weaving = self._self_weaving
        method = getattr(weaving.driver, name)
        if weaving.chain.idle:
            return method
        try:
            known, woven = weaving.methods[name]
        except KeyError:
            return weaving.method_of(name, method)
        # Each look-up makes a new bound method, equal to the last.
        if known is method or (type(method) is bound and known == method):
            return woven
        return weaving.method_of(name, method)

    return _property(name, get)


def _passed(name: str) -> property:
    """Make an attribute that passes straight through."""
    return _property(name, operator.attrgetter(f"__wrapped__.{name}"))


def _special(name: str) -> Callable[..., Any]:
    """Make a special method that wrapt's proxy lacks and the driver has."""

    def call(self: WovenDriver, /, *args: Any, **kwargs: Any) -> Any:
        wrapped = self.__wrapped__
        return getattr(type(wrapped), name)(wrapped, *args, **kwargs)

    return call


# Special methods that make a difference to have, as what has one can be called,
# iterated, awaited. wrapt's proxy has some of them for every object.
_SPECIAL = (
    *("__call__", "__hash__", "__len__", "__contains__", "__iter__", "__next__"),
    *("__reversed__", "__enter__", "__exit__", "__await__", "__aiter__", "__anext__"),
    *("__aenter__", "__aexit__"),
)


def _has(cls: type, special: str) -> bool:
    """Tell whether a class has a special method for its instances."""
    for base in cls.__mro__:
        if special in vars(base):
            return vars(base)[special] is not None
    return False


# What Python does where a special method is missing: wrapt's own comes to that.
_INSTEAD = {
    "__contains__": ("__iter__", "__getitem__"),
    "__iter__": ("__getitem__",),
    "__reversed__": ("__getitem__",),
}


def _specials(cls: type) -> dict[str, Any]:
    """Make the special methods that a proxy for instances of a class needs."""
    # None is how Python says that an instance has no such method.
    return {
        name: _special(name) if _has(cls, name) else None
        for name in _SPECIAL
        if _has(cls, name) != _has(WovenDriver, name)
        and not any(_has(cls, each) for each in _INSTEAD.get(name, ()))
    }


_classes: weakref.WeakKeyDictionary[type, dict[Any, type[WovenDriver]]] = (
    weakref.WeakKeyDictionary()
)


def _class_of(driver: object, hook_methods: tuple[str, ...]) -> type[WovenDriver]:
    """Return the proxy class for a driver: one for all drivers of its class."""
    cls = type(driver)
    classes = _classes.setdefault(cls, {})
    woven = classes.get(hook_methods)
    if woven is None:
        members = {"__slots__": (), **_specials(cls)}
        woven = type("WovenDriver", (WovenDriver,), members)
        for name in (*METHODS, *hook_methods):
            setattr(woven, name, _method(name))
        # An attribute that only later drivers have passes as well, but slower.
        for name in {*dir(cls), *(attribute(driver, "__dict__") or ())}:
            mine = name.startswith(("__", "_self_")) or hasattr(woven, name)
            if name.isidentifier() and not mine:
                setattr(woven, name, _passed(name))
        classes[hook_methods] = woven
    return woven

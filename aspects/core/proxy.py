# SPDX-License-Identifier: Apache-2.0
"""The proxies around a driver and around each of its woven methods.

All woven drivers of one class share a class, which is generated for the first of them.
It has a property for each attribute of the driver. The property returns the woven
method if the attribute is one, or else the attribute itself.
"""

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
from aspects.operations import Interface, attribute


def _class_attribute(cls: type, name: str) -> Any:
    """Return an attribute of a class, not bound, or None without it."""
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return None


def _special_method(obj: object, name: str) -> Any:
    """Return a special method as Python finds it: on the class, then bound."""
    found = _class_attribute(type(obj), name)
    bind = getattr(type(found), "__get__", None)
    return found if bind is None else bind(found, obj, type(obj))


class _Special:
    """A special attribute of a proxy, mostly a method, from the wrapped object.

    ``len(woven)``, ``woven.__len__()`` and ``type(woven).__len__(woven)`` all work,
    because the standard library uses all three forms.

    :param name: e.g. ``__len__``
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, proxy: Any, owner: type | None = None) -> Any:
        if proxy is None:
            return self
        return _special_method(proxy.__wrapped__, self.name)

    def __call__(self, proxy: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.__get__(proxy)(*args, **kwargs)


class _Proxy(wrapt.ObjectProxy):  # type: ignore
    """A proxy with the representation and the pickle of the wrapped object."""

    __slots__ = ()

    __repr__ = _Special("__repr__")

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Hooks have threads and sockets, which cannot be pickled, so the pickle
        # contains only the wrapped object. It is a separate object in the pickle, so
        # that references to it in helpers of the driver survive. Loading the pickle
        # needs nothing but the standard library.
        return operator.getitem, ((self.__wrapped__,), 0)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)


class WovenMethod(_Proxy):
    """A driver method, with the hooks around each of its calls.

    It behaves like the method in every other way, since Manila and its tests treat
    methods as objects: mocks with assertions, partials, attributes.
    """

    __slots__ = ("_self_call", "_self_chain")
    _self_call: Callable[..., Any]
    _self_chain: Chain

    def __copy__(self) -> WovenMethod:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)


# The slot is the special method. A call of the proxy calls the function in the slot,
# which saves the cost of a method that only passes its arguments along.
WovenMethod.__call__ = WovenMethod._self_call  # type: ignore[method-assign]


class WovenClass(WovenMethod):
    """A proxy around a class that a driver exposes as a method."""

    __slots__ = ()

    @property
    def __signature__(self) -> inspect.Signature:
        # The object looks like a class, and Python 3.13 would bind the slot __call__.
        return inspect.signature(self.__wrapped__)


def _or_itself(name: str, operation: Callable[..., Any]) -> Any:
    """Return a special method for an operation that may return the driver.

    It returns the woven driver instead, because the driver itself would bypass the
    hooks, as in ``with woven as driver`` or after ``woven += 1``.

    :param name: the special method's name
    :param operation: called with the driver and the arguments of the special method
    """

    def special(self: WovenDriver, /, *args: Any) -> Any:
        result = operation(self.__wrapped__, *args)
        return self if result is self.__wrapped__ else result

    special.__name__ = name
    return special


class WovenDriver(_Proxy):
    """The woven driver: a driver with its hooks around it."""

    __slots__ = ("_self_weaving",)
    _self_weaving: Any
    #: A weak reference to the driver's class.
    _self_class: Callable[[], Any]
    #: The names of the attributes that are woven if they are methods.
    _self_methods: frozenset[str] = frozenset()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # A call of the driver's class creates another driver, which is not woven.
        return cls._self_class()(*args, **kwargs)

    # wrapt's method raises and clears an AttributeError in C for every attribute of
    # the driver, and a subclass calls it through a slot wrapper. This one has the same
    # semantics, and finds the properties of the generated class several times faster.
    __getattribute__ = object.__getattribute__

    def __getattr__(self, name: str) -> Any:
        # The generated class has no property for attributes that the driver computes,
        # got later or does not have.
        if name in self._self_methods:
            return _woven(name)(self)
        return getattr(self.__wrapped__, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_self_"):
            super().__setattr__(name, value)
            return
        # A woven method that is assigned to its own name must not be woven twice.
        if name in self._self_methods and self._self_weaving.wraps_this_chain(value):
            value = value.__wrapped__
        setattr(self.__wrapped__, name, value)

    def __delattr__(self, name: str) -> None:
        if name.startswith("_self_"):
            super().__delattr__(name)
        else:
            delattr(self.__wrapped__, name)

    # An explicit call initializes the driver again; wrapt's would replace the driver.
    __init__ = _Special("__init__")  # type: ignore[assignment]

    if hasattr(object, "__getstate__"):  # since Python 3.11
        __getstate__ = _Special("__getstate__")

    def __copy__(self) -> Any:
        return self._self_weaving.rewoven(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._self_weaving.rewoven(copy.deepcopy(self.__wrapped__, memo))

    __enter__ = _or_itself(
        "__enter__", lambda driver: _special_method(driver, "__enter__")()
    )
    __exit__ = _Special("__exit__")
    __iter__ = _or_itself("__iter__", iter)
    __aiter__ = _or_itself("__aiter__", aiter)

    async def __aenter__(self) -> Any:
        entered = await _special_method(self.__wrapped__, "__aenter__")()
        return self if entered is self.__wrapped__ else entered

    __aexit__ = _Special("__aexit__")


# wrapt's in-place operators would wrap any result.
for _operator in (
    *("iadd", "iand", "ifloordiv", "ilshift", "imatmul", "imod", "imul"),
    *("ior", "ipow", "irshift", "isub", "itruediv", "ixor"),
):
    _name = f"__{_operator}__"
    setattr(WovenDriver, _name, _or_itself(_name, getattr(operator, _operator)))


def _woven(name: str) -> Callable[[WovenDriver], Any]:
    """Return a function that returns a woven method.

    It looks up the driver method at each access.

    :param name: the name of the method
    """
    bound = types.MethodType

    def get(woven: WovenDriver) -> Any:
        weaving = woven._self_weaving
        method = getattr(weaving.driver, name)
        if weaving.chain.idle:
            return method
        try:
            known, found = weaving.methods[name]
        except KeyError:
            return weaving.method_of(name, method)
        # Each look-up creates a new bound method that is equal to the last.
        if known is method or (type(method) is bound and known == method):
            return found
        return weaving.method_of(name, method)

    return get


class _MissingMethodError(AttributeError, TypeError):
    """Raised for a special method that the driver lacks.

    ``hasattr`` expects the one error, ``len()`` and an index expect the other.
    """


class _Missing(_Special):
    """A special method that every proxy has and that the driver lacks."""

    __slots__ = ()

    def __get__(self, proxy: Any, owner: type | None = None) -> Any:
        if proxy is None:
            return None
        raise _MissingMethodError(_RAISING[self.name] % type(proxy).__name__)


class _WovenType(type(wrapt.ObjectProxy)):  # type: ignore[misc]
    """The class of the generated classes."""

    @property
    def __dict__(cls) -> Any:  # type: ignore[override]
        # The abstract classes of collections.abc look here. For them, None means that
        # instances do not have the method.
        members = type.__dict__["__dict__"].__get__(cls)
        return types.MappingProxyType(
            {
                name: None if isinstance(member, _Missing) else member
                for name, member in members.items()
            }
        )


# Special methods that every proxy has, and that a driver may lack -> the methods that
# Python falls back to, and wrapt too.
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "__getitem__": (),
    "__hash__": (),
    "__len__": (),
    "__iter__": ("__getitem__",),
    "__contains__": ("__iter__", "__getitem__"),
    "__reversed__": ("__getitem__",),
    "__aiter__": (),
    "__enter__": (),
    "__exit__": (),
    "__aenter__": (),
    "__aexit__": (),
}

# Those for which Python raises a TypeError -> its text.
_RAISING = {
    "__contains__": "argument of type '%s' is not iterable",
    "__getitem__": "'%s' object is not subscriptable",
    "__iter__": "'%s' object is not iterable",
    "__len__": "object of type '%s' has no len()",
    "__reversed__": "'%s' object is not reversible",
}

# Special attributes that a proxy has already. It must not get the driver's __del__,
# which would run when the proxy is freed.
_PRESENT = {"__del__"}.union(*(vars(cls) for cls in WovenDriver.__mro__[:-1]))


def _passthrough(name: str) -> property:
    """Return a property that reads an attribute of the driver."""
    return property(operator.attrgetter(f"__wrapped__.{name}"))


def _dunder_methods(cls: type) -> dict[str, Any]:
    """Return the special attributes of the class generated for a driver's class."""
    members: dict[str, Any] = {}
    for name in {name for base in cls.__mro__[:-1] for name in vars(base)} - _PRESENT:
        if name.startswith("__") and name.endswith("__"):
            members[name] = _Special(name)
    for name, fallbacks in _OPTIONAL.items():
        if all(_class_attribute(cls, found) is None for found in (name, *fallbacks)):
            # In Python, None means that instances do not have the method.
            members[name] = _Missing(name) if name in _RAISING else None
    return members


_classes: weakref.WeakKeyDictionary[type, dict[Any, type[WovenDriver]]] = (
    weakref.WeakKeyDictionary()
)


def _generated_class(
    driver: object, interface: Interface, hook_methods: tuple[str, ...]
) -> type[WovenDriver]:
    """Return the class of the woven drivers of a driver's class.

    :param driver: a driver of that class
    :param interface: the methods to weave
    :param hook_methods: the names of further methods to weave
    """
    cls = type(driver)
    classes = _classes.setdefault(cls, {})
    generated = classes.get((interface, hook_methods))
    if generated is None:
        methods = frozenset((*interface.methods, *hook_methods))
        members = {
            # Logs and error messages show the name of the driver's class.
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
            "__annotations__": _passthrough("__annotations__"),
            "__slots__": (),
            "_self_class": weakref.ref(cls),
            "_self_methods": methods,
            **_dunder_methods(cls),
        }
        names = {name for base in cls.__mro__ for name in vars(base)}
        # An attribute that only later drivers have is passed through too, but slower.
        for name in names | set(attribute(driver, "__dict__") or ()):
            if name in methods:
                members[name] = property(_woven(name))
            elif name.isidentifier() and not name.startswith(("__", "_self_")):
                members[name] = _passthrough(name)
        generated = _WovenType(cls.__name__, (WovenDriver,), members)
        classes[interface, hook_methods] = generated
    return generated


def woven_driver(
    driver: object, interface: Interface, hook_methods: tuple[str, ...]
) -> WovenDriver:
    """Return the proxy around a driver; the caller has to set its weaving.

    :param driver: the driver
    :param interface: the methods to weave
    :param hook_methods: the names of further methods to weave
    """
    cls = _generated_class(driver, interface, hook_methods)
    woven: WovenDriver = wrapt.ObjectProxy.__new__(cls, driver)
    wrapt.ObjectProxy.__init__(woven, driver)
    return woven

# SPDX-License-Identifier: Apache-2.0
"""Python operations, to compare their outcomes on a driver and on a woven driver."""

from __future__ import annotations

import abc
import asyncio
import builtins
import collections.abc
import contextlib
import copy
import dataclasses
import functools
import inspect
import io
import itertools
import json
import math
import numbers
import operator
import os
import pickle
import pprint
import reprlib
import sys
import typing
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

from .kinds import Data, Frozen, Number, Plain

CONTEXT = object()

Operation = Callable[[Any], Any]

OPERATIONS: dict[str, Operation] = {}


def operation(function: Operation) -> Operation:
    """Add a function to the operations, under its name."""
    OPERATIONS[function.__name__] = function
    return function


def _add(**operations: Operation) -> None:
    OPERATIONS.update(operations)


# Built-in functions.

_add(
    **{
        f"{name}()": getattr(builtins, name)
        for name in (
            *("abs", "aiter", "anext", "ascii", "bin", "bool", "bytearray", "bytes"),
            *("callable", "chr", "complex", "dict", "dir", "enumerate", "float"),
            *("format", "frozenset", "hex", "int", "iter", "len", "list"),
            *("max", "next", "oct", "ord", "range", "repr", "reversed", "round"),
            *("set", "slice", "sorted", "str", "sum", "tuple", "vars"),
        )
    },
    divmod=lambda o: divmod(o, 3),
    rdivmod=lambda o: divmod(3, o),
    pow_with_modulus=lambda o: pow(o, 2, 5),
    round_to_digits=lambda o: round(o, 2),
    format_with_spec=lambda o: format(o, ">9"),
    sum_of=lambda o: sum([o, o]),
    isinstance_of_it=lambda o: isinstance(1, o),
    issubclass_of_it=lambda o: issubclass(int, o),
    subclass_of_it=lambda o: type("Sub", (o,), {}),
    print=lambda o: print(o, file=io.StringIO()),
    exec_with_globals=lambda o: exec("1", o),
    getsizeof=sys.getsizeof,
    raise_=lambda o: _raise(o),
    zip=lambda o: list(zip(o, o)),
    map=lambda o: list(map(str, o)),
    unpacking=lambda o: [*o],
    keywords=lambda o: dict(**o),
    super_=lambda o: super(Plain, o).__thisclass__,
    super_method=lambda o: super(type(o).__mro__[-2], o).__init__,
)


def _raise(obj: Any) -> None:
    raise obj


# Operators.

_BINARY = (
    *("add", "and_", "floordiv", "lshift", "matmul", "mod", "mul", "or_", "pow"),
    *("rshift", "sub", "truediv", "xor", "eq", "ne", "lt", "le", "gt", "ge"),
    *("concat", "contains", "countOf", "indexOf", "getitem", "delitem"),
)
_IN_PLACE = (
    *("iadd", "iand", "ifloordiv", "ilshift", "imatmul", "imod", "imul", "ior"),
    *("ipow", "irshift", "isub", "itruediv", "ixor", "iconcat"),
)


def _applied(name: str, *others: Any) -> Operation:
    return lambda o: getattr(operator, name)(o, *others)


def _reflected(name: str, other: Any) -> Operation:
    return lambda o: getattr(operator, name)(other, o)


class Reflecting:
    """An operand that can be added to any object."""

    def __radd__(self, other: Any) -> str:
        return "reflected"


_add(
    **{
        f"{name} {other!r}": _applied(name, other)
        for name in _BINARY
        for other in (0, "a", None)
    },
    **{f"{name} in place": _applied(name, 3) for name in _IN_PLACE},
    **{
        f"{other!r} {name}": _reflected(name, other)
        for name in _BINARY[:19]
        for other in (3, "a")
    },
    **{
        name: getattr(operator, name)
        for name in ("index", "inv", "neg", "not_", "pos", "truth", "length_hint")
    },
    add_to_itself=lambda o: o + o,
    equal_to_itself=lambda o: (o == o, o != o),
    less_than_itself=lambda o: o < o,
    add_what_reflects=lambda o: o + Reflecting(),
    contains_itself=lambda o: o in [o],
    setitem=lambda o: operator.setitem(o, "a", 1),
    attrgetter=lambda o: operator.attrgetter("pools")(o),
    methodcaller=lambda o: operator.methodcaller("get_pool", 1)(o),
    itemgetter=lambda o: operator.itemgetter(0, -1)(o),
    slicing=lambda o: o[0:2],
    percent_text=lambda o: "%s" % o,  # noqa: UP031
    percent_number=lambda o: "%d" % o,  # noqa: UP031
    percent_nothing=lambda o: "none" % o,  # noqa: F507, UP031
    percent_mapping=lambda o: "%(a)s" % o,  # noqa: UP031
    times_text=lambda o: "ab" * o,
    index_of_list=lambda o: list(range(10))[o],
    ceil=math.ceil,
    floor=math.floor,
    trunc=math.trunc,
    square_root=math.sqrt,
    join_text=lambda o: "".join(o),
    text_of_it=lambda o: str(o, "utf-8"),
    bytes_of_list=lambda o: bytes([o]),
)


# Statements.


@operation
def with_statement(obj: Any) -> Any:
    with obj as entered:
        raise KeyError
    return entered


@operation
def exit_stack(obj: Any) -> Any:
    with contextlib.ExitStack() as stack:
        return stack.enter_context(obj)


@operation
def closing(obj: Any) -> Any:
    with contextlib.closing(obj) as entered:
        return entered


@operation
def async_with(obj: Any) -> Any:
    async def enter() -> Any:
        async with obj as entered:
            raise KeyError
        return entered

    return asyncio.run(enter())


@operation
def async_exit_stack(obj: Any) -> Any:
    async def enter() -> Any:
        async with contextlib.AsyncExitStack() as stack:
            return await stack.enter_async_context(obj)

    return asyncio.run(enter())


@operation
def async_for(obj: Any) -> Any:
    async def iterate() -> Any:
        return [item async for item in obj]

    return asyncio.run(iterate())


@operation
def await_statement(obj: Any) -> Any:
    async def wait() -> Any:
        return await obj

    return asyncio.run(wait())


@operation
def for_statement(obj: Any) -> Any:
    return list(itertools.islice((item for item in obj), 5))


@operation
def match_statement(obj: Any) -> Any:
    match obj:
        case Data(name, size):
            return name, size
        case Frozen(name, size):
            return name, size
        case Plain(constant=constant):
            return constant
        case Number(value=value):
            return value
        case {"a": value}:
            return value
        case [first, *_]:
            return first
        case str() | int():
            return "scalar"
    return "no match"


@operation
def augmented_assignment(obj: Any) -> Any:
    before = obj
    obj += 1
    return obj is before, repr(obj), repr(before)


@operation
def call(obj: Any) -> Any:
    return obj(3, factor=4)


@operation
def partial(obj: Any) -> Any:
    return functools.partial(obj, 3)()


# Attributes.

_NAMES = (
    *("create_share", "get_pool", "delete_share", "pools", "initialized", "size"),
    *("once", "constant", "static", "of_class", "missing", "_private", "value"),
    *("name", "counted", "made_by", "label", "a b", "größe", "keys", "shape"),
    *("__private", "__doc__", "__module__", "__dict__", "__class__", "__name__"),
    *("__qualname__", "__annotations__", "__slots__", "__hash__", "__weakref__"),
    *("__match_args__", "__dataclass_fields__", "__dataclass_params__"),
    *("__orig_class__", "__parameters__", "__abstractmethods__", "__mro__"),
    *("__getstate__", "__setstate__", "__getnewargs_ex__", "__reduce__"),
    *("__len__", "__iter__", "__next__", "__call__", "__enter__", "__exit__"),
    *("__await__", "__aiter__", "__anext__", "__aenter__", "__contains__"),
    *("__getitem__", "__add__", "__iadd__", "__int__", "__index__", "__fspath__"),
    *("__bytes__", "__missing__", "__replace__", "__get__", "__set_name__"),
    *("__eq__", "__lt__", "__repr__", "__str__", "__format__", "__sizeof__"),
    *("__init__", "__new__", "__dir__", "__getattr__", "__reduce_ex__", "__del__"),
    *("__wrapped__", "__signature__", "__text_signature__", "__deepcopy__"),
    *("__copy__", "__instancecheck__", "__bool__"),
)

#: Operation -> the attribute that it reads.
READS = {f"{verb} {name}": name for name in _NAMES for verb in ("has", "read")}


def _shown(value: Any) -> Any:
    # A bound method is equal to another of the same object.
    if hasattr(value, "__self__") and not isinstance(value, type):
        return value.__name__, repr(value.__self__)
    return value


_add(
    **{
        f"read {name}": lambda o, name=name: _shown(getattr(o, name))  # type: ignore[misc]
        for name in _NAMES
    },
    **{
        f"has {name}": lambda o, name=name: hasattr(o, name)  # type: ignore[misc]
        for name in _NAMES
    },
)


def _in_order(*steps: Callable[[Any], Any]) -> Operation:
    def run(obj: Any) -> Any:
        return [_outcome(step, obj) for step in steps]

    return run


def _outcome(step: Callable[[Any], Any], obj: Any) -> Any:
    try:
        return step(obj)
    except Exception as error:
        return type(error).__name__, str(error)


def _setting(name: str, value: Any) -> Operation:
    return _in_order(
        lambda o: setattr(o, name, value),
        lambda o: repr(getattr(o, name)),
        lambda o: sorted(vars(o)),
        lambda o: delattr(o, name),
        lambda o: repr(getattr(o, name)),
        lambda o: delattr(o, name),
    )


_add(
    **{
        f"set {name}": _setting(name, value)
        for name, value in {
            **{name: [1] for name in ("new", "pools", "initialized", "missing")},
            **{name: [1] for name in ("size", "once", "constant", "name", "a b")},
            **{name: [1] for name in ("create_share", "delete_share", "get_pool")},
            **dict.fromkeys(("__doc__", "__module__", "__name__"), "x"),
            **dict.fromkeys(("__qualname__", "__special__", "__wrapped__"), "x"),
            "__annotations__": {"x": int},
            "__dict__": {"replaced": 1},
            "__class__": Plain,
            "__init__": print,
            "__len__": print,
        }.items()
    },
    cached_property=lambda o: (o.once is o.once, "once" in vars(o)),
    vars_updated=lambda o: (vars(o).update(x=1), o.x),
    dict_is_one=lambda o: vars(o) is vars(o),
    object_setattr=lambda o: object.__setattr__(o, "x", 1),
    object_getattribute=lambda o: object.__getattribute__(o, "pools"),
    own_setattr=lambda o: (o.__setattr__("x", 1), o.x),
    own_getattribute=lambda o: o.__getattribute__("pools"),
    own_init=lambda o: (o.__init__(), _outcome(lambda o: o.pools, o)),
    own_new=lambda o: o.__new__(o.__class__).__class__.__name__,
    own_repr=lambda o: (o.__repr__(), o.__str__(), o.__format__("")),
    own_dir=lambda o: sorted(o.__dir__()),
    own_sizeof=lambda o: o.__sizeof__(),
    own_subclasshook=lambda o: o.__subclasshook__(int),
    own_class=lambda o: (o.__class__.__name__, o.__class__ is o.__class__),
    own_type_name=lambda o: (type(o).__name__, type(o).__module__, type(o).__doc__),
    type_=lambda o: type(o) is o.__class__,
    type_subclass=lambda o: issubclass(type(o), o.__class__),
    mro=lambda o: [cls.__name__ for cls in type(o).__mro__],
    new_of_its_class=lambda o: o.__class__().__class__.__name__,
    unbound_method=lambda o: o.__class__.create_share(o, CONTEXT, "share"),
    unbound_of_type=lambda o: type(o).create_share(o, CONTEXT, "share"),
    len_of_type=lambda o: type(o).__len__(o),
    iter_of_type=lambda o: type(o).__iter__(o),
    call_of_type=lambda o: type(o).__call__(o, 3),
    repr_of_type=lambda o: type(o).__repr__(o),
    method_called=lambda o: _awaited(o.create_share(CONTEXT, "share")),
    method_wrong=lambda o: _awaited(o.create_share()),
    passed_called=lambda o: o.get_pool("share"),
    property_fails=lambda o: o.pools,
    attribute_format="{0.pools} {0.__class__.__name__}".format,
    item_format="{0[0]}".format,
    conversion_format="{0!r:>60}".format,
    f_string=lambda o: f"{o} {o!r} {o:>9}",
    static_getattr=lambda o: type(inspect.getattr_static(o, "get_pool")),
)


@operation
def attribute_of_a_class(obj: Any) -> Any:
    cls = type("Own", (), {"attribute": obj})
    return _in_order(
        lambda o: cls.attribute,
        lambda o: cls().attribute,
        lambda o: setattr(cls(), "attribute", 1),
        lambda o: delattr(cls(), "attribute"),
    )(obj)


# Modules of the standard library that look into objects.


@typing.runtime_checkable
class HasCreateShare(typing.Protocol):
    def create_share(self, context: Any, share: Any) -> Any: ...


@typing.runtime_checkable
class HasDeleteShare(typing.Protocol):
    def delete_share(self, context: Any, share: Any) -> Any: ...


@typing.runtime_checkable
class HasPools(typing.Protocol):
    pools: list[str]


@typing.runtime_checkable
class HasMissing(typing.Protocol):
    missing: list[str]


class Registering(abc.ABC):  # noqa: B024
    """An abstract class of which drivers are virtual subclasses."""


for _cls in (Plain, Data, Number):
    Registering.register(_cls)


@functools.singledispatch
def dispatched(obj: Any) -> str:
    return "any"


for _cls in (Plain, Data, dict, numbers.Number, collections.abc.Sized):
    dispatched.register(_cls, lambda obj, cls=_cls: cls.__name__)


_ABSTRACT = [
    *(getattr(collections.abc, name) for name in collections.abc.__all__),
    *(contextlib.AbstractContextManager, contextlib.AbstractAsyncContextManager),
    *(getattr(typing, name) for name in dir(typing) if name.startswith("Supports")),
    *(numbers.Number, os.PathLike, io.IOBase, Registering),
    *(HasCreateShare, HasDeleteShare, HasPools, HasMissing),
]

_add(
    **{
        f"isinstance {cls.__name__}": lambda o, cls=cls: isinstance(o, cls)  # type: ignore[misc]
        for cls in [*_ABSTRACT, Plain, Data, dict, tuple, type, int, mock.Mock]
    },
    singledispatch=dispatched,
    **{
        f"inspect.{name}": getattr(inspect, name)
        for name in dir(inspect)
        if name.startswith("is")
    },
    **{
        f"inspect.{name}": getattr(inspect, name)
        for name in (
            *("getdoc", "getcomments", "getfile", "getsource", "signature"),
            *("getsourcefile", "getmro", "unwrap"),
        )
    },
    getmodule=lambda o: inspect.getmodule(o) and inspect.getmodule(o).__name__,
    getmembers=lambda o: [name for name, _ in inspect.getmembers(o)],
    getmembers_callable=lambda o: [
        name for name, _ in inspect.getmembers(o, callable) if name[:2] != "__"
    ],
    get_annotations=lambda o: inspect.get_annotations(o),
    get_type_hints=lambda o: sorted(typing.get_type_hints(o)),
    get_origin=typing.get_origin,
    iscoroutinefunction=asyncio.iscoroutinefunction,
    iscoroutine=asyncio.iscoroutine,
    is_dataclass=dataclasses.is_dataclass,
    fields=lambda o: [field.name for field in dataclasses.fields(o)],
    asdict=dataclasses.asdict,
    astuple=dataclasses.astuple,
    asdict_nested=lambda o: dataclasses.asdict(Data(parent=o)),
    dataclass_replace=lambda o: dataclasses.replace(o, size=5),
    dataclass_replace_wrong=lambda o: dataclasses.replace(o, doubled=5),
    dataclass_type=lambda o: [field.name for field in dataclasses.fields(type(o))],
    sorted_with_others=lambda o: [
        item is o for item in sorted([o.__class__(), o, o.__class__()])
    ],
    equal_to_a_new_one=lambda o: o == o.__class__(),
    a_new_one_equal=lambda o: o.__class__() == o,
    hash_of_a_new_one=lambda o: hash(o) == hash(o.__class__()),
    weak_reference=lambda o: weakref.ref(o)() is o,
    weak_key=lambda o: weakref.WeakKeyDictionary({o: 1})[o],
    weak_set=lambda o: o in weakref.WeakSet([o]),
    weak_proxy=lambda o: weakref.proxy(o).pools,
    weak_repr=lambda o: repr(weakref.ref(o)),
    finalize=lambda o: weakref.finalize(o, print).detach()[0] is o,
    key_of_dict=lambda o: {o: 1}[o],
    lru_cache=lambda o: functools.lru_cache(id)(o) == id(o),
    json=json.dumps,
    json_default=lambda o: json.dumps([o], default=vars),
    json_default_str=lambda o: json.dumps([o], default=str),
    pprint=pprint.pformat,
    pprint_nested=lambda o: pprint.pformat([o, {"driver": o}], width=40),
    reprlib=reprlib.repr,
    fspath=os.fspath,
    path_join=lambda o: os.path.join("/", o),
    chain=lambda o: list(itertools.chain(o, o)),
    accumulate=lambda o: list(itertools.accumulate(o)),
    iteration_is_one=lambda o: iter(o) is o,
)


# Copies.

_add(
    copy_type=lambda o: copy.copy(o).__class__.__name__,
    copy_vars=lambda o: _state(copy.copy(o)),
    deepcopy_vars=lambda o: _state(copy.deepcopy(o)),
    deepcopy_shared=lambda o: _is_one(copy.deepcopy([o, o])),
    copy_equal=lambda o: copy.copy(o) == o,
    copy_error=lambda o: copy.deepcopy(o).lock,
    getstate=lambda o: _state_of_getstate(o),
    **{
        f"pickle protocol {protocol}": (
            lambda o, p=protocol: _state(pickle.loads(pickle.dumps(o, p)))  # type: ignore[misc]
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    pickle_shared=lambda o: _is_one(pickle.loads(pickle.dumps([o, o]))),
    pickle_nested=lambda o: _state(pickle.loads(pickle.dumps({"o": [o]}))["o"][0]),
    pickle_in_python=lambda o: _state(
        pickle._loads(pickle._dumps(o))  # type: ignore[attr-defined]
    ),
    pickle_method=lambda o: pickle.loads(pickle.dumps(o.create_share))(
        CONTEXT, "share"
    ),
    pickle_passed=lambda o: pickle.loads(pickle.dumps(o.get_pool))("share"),
    pickle_cycle=lambda o: _cycle(pickle.loads(pickle.dumps(o))),
    pickle_class=lambda o: pickle.loads(pickle.dumps(o.__class__)).__name__,
)


def _state(obj: Any) -> Any:
    slots = getattr(obj.__class__, "__slots__", ())
    names = (slots,) if isinstance(slots, str) else slots
    own = {name: getattr(obj, name) for name in names if hasattr(obj, name)}
    kept = {**getattr(obj, "__dict__", {}), **own}
    kept = {k: v for k, v in kept.items() if k not in ("helper", "lock")}
    return obj.__class__.__name__, {k: repr(v) for k, v in kept.items()}


def _is_one(pair: Any) -> bool:
    one, two = pair
    return one is two


def _cycle(obj: Any) -> Any:
    helper = obj.helper
    return helper.driver is obj, helper.method.__self__ is obj


def _state_of_getstate(obj: Any) -> Any:
    if sys.version_info < (3, 11):
        return None
    return sorted(obj.__getstate__() or ())


# Mocks.


@operation
def patch_object(obj: Any) -> Any:
    with mock.patch.object(obj, "create_share", return_value="patched") as patched:
        result = _awaited(obj.create_share(CONTEXT, "share"))
        patched.assert_called_once_with(CONTEXT, "share")
        obj.create_share.assert_called_once()
    return result, _awaited(obj.create_share(CONTEXT, "share")), sorted(vars(obj))


def _awaited(result: Any) -> Any:
    return asyncio.run(result) if inspect.iscoroutine(result) else result


@operation
def patch_object_passed(obj: Any) -> Any:
    with mock.patch.object(obj, "get_pool", return_value="patched"):
        result = obj.get_pool("share")
    return result, obj.get_pool("share"), sorted(vars(obj))


@operation
def patch_object_autospec(obj: Any) -> Any:
    with mock.patch.object(obj, "create_share", autospec=True) as patched:
        patched.return_value = "patched"
        result = _awaited(obj.create_share(CONTEXT, "share"))
    return result, sorted(vars(obj))


@operation
def patch_object_missing(obj: Any) -> Any:
    with mock.patch.object(obj, "delete_share"):
        """Do nothing; the patch is rejected."""


@operation
def patch_object_create(obj: Any) -> Any:
    with mock.patch.object(obj, "delete_share", create=True, return_value=1):
        result = obj.delete_share(CONTEXT, "share")
    return result, hasattr(obj, "delete_share")


@operation
def patch_multiple(obj: Any) -> Any:
    with mock.patch.multiple(obj, create_share=len, pools=["patched"]):
        result = obj.create_share("ab"), obj.pools
    return result, obj.pools


@operation
def patch_dict(obj: Any) -> Any:
    with mock.patch.dict(vars(obj), {"create_share": len, "new": 1}):
        result = obj.create_share("ab"), obj.new
    return result, sorted(vars(obj))


@operation
def autospec(obj: Any) -> Any:
    made = mock.create_autospec(obj)
    names = [name for name in dir(made) if not name.startswith("_")]
    return names, _outcome(_called_wrong, made)


@operation
def mock_spec(obj: Any) -> Any:
    made = mock.Mock(spec=obj)
    kinds = [type(getattr(made, name)).__name__ for name in ("create_share",)]
    return kinds, _outcome(lambda o: o.missing, made)


@operation
def mock_class(obj: Any) -> Any:
    return isinstance(mock.Mock(spec=obj), obj.__class__)


@operation
def mock_wraps(obj: Any) -> Any:
    return _awaited(mock.Mock(wraps=obj).create_share(CONTEXT, "share"))


def _called_wrong(made: Any) -> Any:
    return _awaited(made.create_share(1, 2, 3, 4, 5))


# The method that it hands out.

_METHOD: dict[str, Operation] = {
    "repr": repr,
    "str": str,
    "hash": lambda m: hash(m) == hash(m),
    "dir": dir,
    "doc": inspect.getdoc,
    "signature": lambda m: str(inspect.signature(m)),
    "source": inspect.getsource,
    "file": inspect.getfile,
    "module": lambda m: inspect.getmodule(m).__name__,  # type: ignore[union-attr]
    "unwrap": lambda m: inspect.unwrap(m) == m,
    "callargs": lambda m: sorted(inspect.getcallargs(m, CONTEXT, "share")),
    "names": lambda m: (m.__name__, m.__qualname__, m.__module__),
    "self": lambda m: m.__self__.__class__.__name__,
    "function": lambda m: m.__func__.__code__.co_name,
    "class": lambda m: m.__class__.__name__,
    "type name": lambda m: type(m).__name__,
    "ismethod": inspect.ismethod,
    "isroutine": inspect.isroutine,
    "iscoroutinefunction": inspect.iscoroutinefunction,
    "callable": callable,
    "partial": lambda m: functools.partial(m, CONTEXT)("share"),
    "wraps": lambda m: functools.wraps(m)(lambda *args: m(*args))(CONTEXT, "share"),
    "new attribute": lambda m: setattr(m, "x", 1),
    "autospec": lambda m: _outcome(mock.create_autospec(m), CONTEXT),
    "copy": lambda m: copy.copy(m)(CONTEXT, "share"),
    "deepcopy": lambda m: copy.deepcopy(m)(CONTEXT, "share"),
    "pickle": lambda m: pickle.loads(pickle.dumps(m))(CONTEXT, "share"),
    "pickle type": lambda m: type(pickle.loads(pickle.dumps(m))).__name__,
    "reduce": lambda m: pickle.loads(pickle.dumps(m, 2)).__name__,
    "weak method": lambda m: weakref.WeakMethod(m)() == m,
    "get": lambda m: m.__get__(1) == m,
    "call": lambda m: m.__call__(CONTEXT, "share"),
    "call of type": lambda m: type(m).__call__(m, CONTEXT, "share"),
    "class attribute": lambda m: type("Own", (), {"m": m})().m(CONTEXT, "share"),
    "init": lambda m: m.__init__,
    "equal": lambda m: (m == m, m != m, m == 1),
    "key": lambda m: {m: 1}[m],
}

_add(
    **{
        f"method: {name}": lambda o, do=do: _awaited(do(o.create_share))  # type: ignore[misc]
        for name, do in _METHOD.items()
    },
)

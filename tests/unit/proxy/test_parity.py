# SPDX-License-Identifier: Apache-2.0
"""Any Python operation has the same outcome on a woven driver as on its driver."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

import aspects
from aspects.core.proxy import WovenDriver
from tests.support.hooks import Recorder

from .kinds import KINDS
from .operations import OPERATIONS, READS

pytestmark = pytest.mark.slow

#: Limitation from the documentation -> operations with another outcome because of it.
DIFFERENT = {
    "type() returns the proxy's class": {
        *("type_", "type_subclass", "mro", "unbound_of_type", "dataclass_type"),
        *("len_of_type", "iter_of_type", "static_getattr", "mock_class", "own_new"),
        *("getsizeof", "own_sizeof", "object_setattr", "exec_with_globals", "json"),
        *("json_default_str", "concat 'a'", "read __new__", "method: type name"),
        *("method: weak method", "method: call of type", "method: init"),
        "method: class attribute",
    },
    "wrapt's proxy has special methods for every object": {
        *("'a' mod", "percent_nothing", "isinstance Iterable", "isinstance Container"),
        *("isinstance Collection", "isinstance Reversible", "isinstance SupportsAbs"),
        *("isinstance SupportsBytes", "isinstance SupportsComplex"),
        *("isinstance SupportsFloat", "isinstance SupportsIndex"),
        *("isinstance SupportsInt", "isinstance SupportsRound"),
    },
    "special names are read from the class": {
        *("set __doc__", "set __module__", "set __init__", "set __len__"),
        "read __slots__",
    },
    "__wrapped__ is the driver": {
        *("inspect.unwrap", "set __wrapped__"),
    },
    "a weak reference to a proxy": {
        *("weak_reference", "weak_key", "weak_set", "weak_proxy", "finalize"),
        "weak_repr",
    },
}

#: Operations with another outcome in some releases of Python or wrapt only.
SOMETIMES = {
    # Python 3.10 looks up a missing __enter__ itself, and raises AttributeError.
    *("with_statement", "async_with", "exit_stack", "async_exit_stack"),
    # Later releases look for coroutine functions in the class.
    "mock_spec",
    # For wrapt before 2.1.
    *("bytes()", "round_to_digits", "ceil", "floor"),
}

#: The operations that raise the same error with another text.
OTHER_WORDS = {
    *("len()", "aiter()", "contains 0", "contains 'a'", "contains None"),
    *("index_of_list", "square_root", "percent_mapping", "subclass_of_it", "unpacking"),
    *("with_statement", "async_with", "async_for", "exit_stack", "async_exit_stack"),
    *("less_than_itself", "len_of_type", "method: weak method"),
    *(f"{other} {order}" for other in ("3", "'a'") for order in ("lt", "le")),
    *(f"{other} {order}" for other in ("3", "'a'") for order in ("gt", "ge")),
}


def without_addresses(text: str) -> str:
    return re.sub(r"x[0-9a-f]{8,}|id='\d+'", "...", text)


def shown(value: Any, obj: Any, driver: Any, depth: int = 0) -> Any:
    """Return a value without addresses, so that it can be compared."""
    if value is obj:
        return "itself"
    if value is driver:
        return "the driver"
    if type(value) in (list, tuple) and depth < 4:
        return [shown(item, obj, driver, depth + 1) for item in value]
    text = value if isinstance(value, str) else repr(value)
    return value.__class__.__name__, without_addresses(text)


#: Special attributes of every woven driver.
OF_EVERY_PROXY = {"__wrapped__", *dir(WovenDriver)}

LACKING = ("raised", AttributeError)


def outcome(operation: Any, obj: Any, driver: Any) -> tuple[Any, ...]:
    """Return the result or the exception of an operation."""
    try:
        return "returned", shown(operation(obj), obj, driver)
    except Exception as error:
        return "raised", type(error), without_addresses(str(error))


@functools.cache
def differences(kind: str, enabled: tuple[str, ...]) -> dict[str, tuple[Any, Any]]:
    """Return operation -> its outcomes on a driver and a woven driver, if different."""
    found = {}
    for name, operation in OPERATIONS.items():
        driver = KINDS[kind]()
        expected = outcome(operation, driver, driver)
        driver = KINDS[kind]()
        woven = aspects.weave(driver, [Recorder(enabled=enabled)])
        got = outcome(operation, woven, driver)
        attribute = READS.get(name, "")
        lacking = expected[:2] in (("returned", ("bool", "False")), LACKING)
        of_every_proxy = attribute in OF_EVERY_PROXY
        if got != expected and not (lacking and of_every_proxy):
            found[name] = (expected, got)
    return found


def is_known(name: str, expected: Any, got: Any) -> bool:
    """Return whether a difference is listed above."""
    if any(name in names for names in [*DIFFERENT.values(), SOMETIMES]):
        return True
    if expected[0] != "raised" or got[0] != "raised":
        return False
    same_words = expected[2] == got[2]
    return issubclass(got[1], expected[1]) and (same_words or name in OTHER_WORDS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("enabled", [("pre", "post"), ()], ids=["hooks", "disabled"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_operation_has_the_same_outcome_as_on_the_driver(
    kind: str, enabled: tuple[str, ...]
) -> None:
    unknown = {
        name: outcomes
        for name, outcomes in differences(kind, enabled).items()
        if not is_known(name, *outcomes)
    }
    assert unknown == {}


@pytest.mark.filterwarnings("ignore")
def test_every_listed_difference_exists() -> None:
    found = {name for kind in KINDS for name in differences(kind, ("pre", "post"))}
    assert set().union(*DIFFERENT.values()) - found == set()
    assert OTHER_WORDS - found == set()

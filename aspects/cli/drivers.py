# SPDX-License-Identifier: Apache-2.0
"""Find the woven methods and the missing operations of a driver class."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aspects.operations import METHODS, OPERATIONS


def woven_methods(cls: Any, hook_methods: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return the methods of a driver class that are woven, by operation.

    :param cls: the class
    :param hook_methods: additional methods, each an operation of its own name
    """
    woven: dict[str, list[str]] = {operation: [] for operation in OPERATIONS}
    own_names = {method: method for method in hook_methods}
    for method, operation in {**METHODS, **own_names}.items():
        if callable(getattr(cls, method, None)):
            operations = [operation]
            if method == "update_access":
                # The access rules of a call decide which of the three it is.
                operations += ["allow_access", "deny_access"]
            for name in operations:
                woven.setdefault(name, []).append(method)
    return {operation: methods for operation, methods in woven.items() if methods}


def missing_operations(cls: type, woven: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the operations that a driver class does not implement.

    Methods that only raise ``NotImplementedError``, like those of Manila's base
    class, do not count.

    :param cls: the class
    :param woven: its woven methods, by operation
    """
    return [
        operation
        for operation in OPERATIONS
        if all(_is_stub(cls, method) for method in woven.get(operation, ()))
    ]


def is_factory(cls: type) -> bool:
    """Return whether a class may construct an object of another class.

    The methods of the object are not known then. NetApp's driver class is one.

    :param cls: the class
    """
    # object.__new__ is a built-in.
    return inspect.isfunction(cls.__new__)


def defined_in(cls: type, method: str) -> str:
    """Return the class that defines a method, as text, and mark a stub.

    :param cls: a class with the method
    :param method: the method's name
    """
    base = next((base for base in cls.__mro__ if method in vars(base)), cls)
    return base.__name__ + (", not implemented" if _is_stub(cls, method) else "")


def _is_stub(cls: type, method: str) -> bool:
    code = getattr(getattr(cls, method), "__code__", None)
    if code is None or code.co_names != ("NotImplementedError",):
        return False
    return not any("JUMP" in step.opname for step in dis.get_instructions(code))

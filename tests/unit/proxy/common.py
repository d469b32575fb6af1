# SPDX-License-Identifier: Apache-2.0
"""Helpers shared by the tests of the proxy."""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

from tests.support.drivers import Driver
from tests.support.hooks import Recorder, methods_of

CONTEXT = object()


def is_intercepted(woven: Any, hook: Recorder, method: str = "create_share") -> bool:
    """Return whether a call of a method runs the hook once."""
    hook.trace.clear()
    getattr(woven, method)(CONTEXT, "share")
    return methods_of(hook.trace) == ["hook.pre", "hook.post"]


def other(context: Any, share: Any) -> str:
    return "other"


class Callable_:
    """A callable object with attributes and its own equality."""

    label = "callable"

    def __init__(self, number: int = 1) -> None:
        self.number = number

    def __call__(self, context: Any, share: Any) -> Any:
        """Return the number."""
        return self.number

    def __eq__(self, value: object) -> bool:
        return isinstance(value, Callable_) and value.number == self.number

    __hash__ = None  # type: ignore[assignment]


def with_attributes(context: Any, share: Any = 1, *, flag: bool = False) -> Any:
    """Return the share; the function has an attribute."""
    return share


with_attributes.label = "function"  # type: ignore[attr-defined]


class Kinds(Driver):
    create_share = Driver.create_share

    @staticmethod
    def delete_share(context: Any, share: Any) -> Any:  # type: ignore[override]
        """Return the share; a static method."""
        return share

    @classmethod
    def extend_share(cls, context: Any, share: Any) -> Any:  # type: ignore[override]
        """Return the share; a class method."""
        return share

    shrink_share = functools.partialmethod(Driver.create_share, share_server=1)
    create_snapshot = Callable_()

    @property
    def delete_snapshot(self) -> Any:
        return with_attributes

    @functools.lru_cache  # noqa: B019 (one instance of the module's life)
    def manage_existing(self, context: Any, share: Any) -> Any:
        """Return the share; a cached method."""
        return share

    allow_access = Callable_  # a class

    def __init__(self) -> None:
        super().__init__()
        self.do_setup = with_attributes
        self.unmanage = functools.partial(with_attributes, flag=True)
        self.deny_access = mock.Mock(return_value=1)
        self.create_replica = mock.create_autospec(with_attributes)
        self.delete_replica = len


class Rich(Driver):
    """A driver with attributes of many kinds."""

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

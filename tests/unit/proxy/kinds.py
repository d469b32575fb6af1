# SPDX-License-Identifier: Apache-2.0
"""Drivers of many kinds; each class uses one feature of Python."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import enum
import functools
import threading
import typing
from collections.abc import Callable
from typing import Any


class Plain:
    """A driver of a few methods."""

    constant = "class"

    def __init__(self) -> None:
        self.pools = ["pool"]
        self.initialized = False

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        """Create a share."""
        return ("created", share, share_server)

    def get_pool(self, share: Any) -> Any:
        """Return the pool of a share."""
        return self.pools[0]

    @property
    def size(self) -> int:
        """The size."""
        return 1

    @functools.cached_property
    def once(self) -> list[int]:
        return [1]

    @staticmethod
    def static(value: Any) -> Any:
        return value

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__


class Slotted:
    __slots__ = ("pools",)

    def __init__(self) -> None:
        self.pools = ["pool"]

    def create_share(self, context: Any, share: Any) -> Any:
        return share


@dataclasses.dataclass(order=True)
class Data:
    """A dataclass."""

    name: str = "data"
    size: int = 1
    pools: list[str] = dataclasses.field(default_factory=lambda: ["pool"])
    doubled: int = dataclasses.field(init=False, compare=False, default=0)
    parent: Data | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        self.doubled = 2 * self.size

    def create_share(self, context: Any, share: Any) -> Any:
        return share


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    name: str = "frozen"
    size: int = 1

    def create_share(self, context: Any, share: Any) -> Any:
        return share


@dataclasses.dataclass
class Wide:
    """A dataclass that does not fit into one line."""

    first: str = "a" * 60
    second: str = "b" * 60


class Dynamic:
    """A driver that computes its attributes."""

    def __getattr__(self, name: str) -> Any:
        if name in ("create_share", "get_pool"):
            return lambda *args: (name, args)
        raise AttributeError(f"made up: no {name}")


class Intercepting(Plain):
    """A driver that intercepts access to its attributes."""

    def __getattribute__(self, name: str) -> Any:
        return 5 if name == "counted" else super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value * 2 if name == "new" else value)

    def __delattr__(self, name: str) -> None:
        if name == "pools":
            raise AttributeError("pools stay")
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return ["create_share", "counted"]


class Broken(Plain):
    """A driver with properties that raise errors."""

    @property
    def pools(self) -> Any:  # type: ignore[override]
        return self.missing_of_broken  # type: ignore[attr-defined]

    @pools.setter
    def pools(self, value: Any) -> None:
        """Take any."""

    @property
    def initialized(self) -> Any:  # type: ignore[override]
        raise RuntimeError("not yet")

    @initialized.setter
    def initialized(self, value: Any) -> None:
        """Take any."""

    @property
    def delete_share(self) -> Any:
        raise AttributeError("no method yet")


class Mapped(dict[str, Any]):
    """A dict."""

    def create_share(self, context: Any, share: Any) -> Any:
        return share


class Listed(collections.UserList[int]):
    """A sequence that is not a list."""


class Indexed:
    """A sequence with only a length and items."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> str:
        return "abc"[index]


class Iterating:
    """An iterator."""

    def __init__(self) -> None:
        self.left = 3

    def __iter__(self) -> Iterating:
        return self

    def __next__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return self.left

    def __length_hint__(self) -> int:
        return self.left


class Asynchronous:
    """A driver that can be awaited, entered and iterated asynchronously."""

    def __await__(self) -> Any:
        yield from ()
        return "awaited"

    async def __aenter__(self) -> Asynchronous:
        return self

    async def __aexit__(self, *error: object) -> bool:
        return True

    def __aiter__(self) -> Asynchronous:
        self.left = 2
        return self

    async def __anext__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopAsyncIteration
        return self.left

    async def create_share(self, context: Any, share: Any) -> Any:
        return share


class Called:
    """A callable driver."""

    def __call__(self, value: Any = 1, *, factor: int = 2) -> Any:
        """Return the product."""
        return value * factor


class Managed:
    """A context manager that returns itself."""

    def __enter__(self) -> Managed:
        return self

    def __exit__(self, *error: object) -> bool:
        return True

    def close(self) -> None:
        """Close."""


class Number:
    """A number, with in-place operators."""

    def __init__(self, value: int = 7) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Number({self.value})"

    def __eq__(self, other: object) -> bool:
        return getattr(other, "value", other) == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: Any) -> bool:
        return self.value < getattr(other, "value", other)

    def __add__(self, other: Any) -> Any:
        return Number(self.value + getattr(other, "value", other))

    __radd__ = __add__

    def __iadd__(self, other: Any) -> Number:
        self.value += getattr(other, "value", other)
        return self

    def __sub__(self, other: Any) -> Any:
        return Number(self.value - getattr(other, "value", other))

    def __rpow__(self, other: Any) -> Any:
        return Number(other**self.value)

    def __matmul__(self, other: Any) -> Any:
        return ("matmul", other)

    def __neg__(self) -> Any:
        return Number(-self.value)

    def __int__(self) -> int:
        return self.value

    def __float__(self) -> float:
        return self.value + 0.5

    def __index__(self) -> int:
        return self.value

    def __complex__(self) -> complex:
        return complex(self.value, 1)

    def __round__(self, digits: int | None = None) -> Any:
        return ("rounded", digits)

    def __bool__(self) -> bool:
        return False


class Described:
    """A descriptor."""

    name = "unnamed"

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        return ("got", self.name, obj is None)

    def __set__(self, obj: Any, value: Any) -> None:
        raise AttributeError(f"{self.name} is not set to {value}")

    def __delete__(self, obj: Any) -> None:
        raise AttributeError(f"{self.name} is not deleted")


class Textual:
    """A driver that can be converted to text, bytes and a path."""

    def __str__(self) -> str:
        return "text"

    def __bytes__(self) -> bytes:
        return b"bytes"

    def __fspath__(self) -> str:
        return "/path"

    def __format__(self, spec: str) -> str:
        return f"formatted {spec}"

    def __sizeof__(self) -> int:
        return 4096

    def __dir__(self) -> list[str]:
        return ["b", "a"]


class Meta(type):
    """A metaclass that defines instances, a length and attributes."""

    label = "of the metaclass"

    def __call__(cls, *args: Any) -> Any:
        made = super().__call__(*args)
        made.made_by = "Meta"
        return made

    def __len__(cls) -> int:
        return 9

    def __instancecheck__(cls, instance: object) -> bool:
        return super().__instancecheck__(instance)

    def __dir__(cls) -> list[str]:
        return ["create_share"]


class OfMeta(metaclass=Meta):
    def create_share(self, context: Any, share: Any) -> Any:
        return share


class Member(enum.Enum):
    """An enumeration, of which a member is the driver."""

    ONE = 1
    TWO = 2

    def create_share(self, context: Any, share: Any) -> Any:
        return share


T = typing.TypeVar("T")


class OfType(typing.Generic[T]):
    value: T

    def create_share(self, context: Any, share: Any) -> Any:
        return share


class Stated(Plain):
    """A driver with ``__getstate__``, because a part of it cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**{k: v for k, v in vars(self).items() if k != "lock"}, "kept": 1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lock="new")


class Reduced(Plain):
    """A driver with ``__reduce__``."""

    def __init__(self, made: str = "first") -> None:
        super().__init__()
        self.made = made

    def __reduce__(self) -> Any:
        return Reduced, ("again",)


class NewArgs(Plain):
    """A driver with ``__getnewargs__``."""

    made: str

    def __new__(cls, made: str = "first") -> NewArgs:
        new = super().__new__(cls)
        new.made = made
        return new

    def __init__(self, made: str = "first") -> None:
        super().__init__()

    def __getnewargs_ex__(self) -> Any:
        return (), {"made": "again"}


class Registered(Plain):
    """A driver with a reducer in ``copyreg``."""

    def __init__(self, made: str = "first") -> None:
        super().__init__()
        self.made = made


copyreg.pickle(Registered, lambda driver: (Registered, ("by copyreg",)))


class Locked(Plain):
    """A driver that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Cyclic(Plain):
    """A driver with a helper that refers to it."""

    def __init__(self) -> None:
        super().__init__()
        self.helper = Helper(self)


class Helper:
    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.method = driver.get_pool


class Copied(Plain):
    """A driver with ``__copy__`` and ``__deepcopy__``."""

    how = "not"

    def __copy__(self) -> Copied:
        made = Copied()
        made.how = "copied"
        return made

    def __deepcopy__(self, memo: Any) -> Copied:
        made = Copied()
        made.how = "deeply"
        return made


#: Name of a kind -> a function that returns a driver of it.
KINDS: dict[str, Callable[[], Any]] = {
    **{
        cls.__name__: cls
        for cls in (
            *(Plain, Slotted, Data, Frozen, Wide, Dynamic, Intercepting, Broken),
            *(Mapped, Listed, Indexed, Iterating, Asynchronous, Called, Managed),
            *(Number, Described, Textual, OfMeta, OfType, Stated, Reduced, NewArgs),
            *(Registered, Locked, Cyclic, Copied),
        )
    },
    "Member": lambda: Member.ONE,
}

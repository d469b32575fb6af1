# SPDX-License-Identifier: Apache-2.0
"""What ``manila-aspects show`` shows: the installed hooks, the operations."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg

from aspects.config.loading import driver_at, installed, not_loaded
from aspects.config.options import hook_options, instance_options
from aspects.operations import METHODS, OPERATIONS

Rows = list[tuple[str, ...]]


class Table(NamedTuple):
    """A table, or a paragraph where it has no rows."""

    title: str
    """what it is about"""
    text: str = ""
    """a line to read before it"""
    columns: tuple[str, ...] = ()
    """the heads of its columns"""
    rows: Sequence[tuple[str, ...]] = ()
    """its rows, a text for each column"""


def hooks(progress: Callable[[str], None]) -> Iterator[Table]:
    """Yield a table for each installed hook, and one for what all have in common.

    :param progress: is told what takes its time
    """
    for entry_point in installed():
        progress(f"importing {entry_point.value}")
        title = f"{entry_point.name} ({entry_point.value})"
        try:
            cls = entry_point.load()
        except (Exception, SystemExit) as error:
            yield Table(title, f"cannot be imported: {not_loaded(entry_point, error)}")
            continue
        # Not inspect.getdoc(), which would take that of a base class.
        text = (getattr(cls, "__doc__", None) or "").strip().partition("\n")[0]
        rows = _rows(getattr(cls, "options", ()))
        yield Table(title, text, OPTION_COLUMNS if rows else (), rows)
    yield Table(
        "every hook",
        "Options that each instance has beside its own.",
        OPTION_COLUMNS,
        _rows([*hook_options, *instance_options]),
    )


OPTION_COLUMNS = ("option", "type", "default", "mutable", "help")


def _rows(options: Iterable[Any]) -> Rows:
    return [
        (
            option.name,
            str(option.type),
            text_of_value(option, option.default),
            "yes" if option.mutable else "no",
            " ".join((option.help or "").split()),
        )
        for option in options
        if isinstance(option, cfg.Opt)
    ]


def text_of_value(option: cfg.Opt, value: Any) -> str:
    """Return the value of an option as it would stand in a file.

    :param option: the option; ``***`` is the value of one that is a secret
    :param value: the value
    :return: ``-`` where it has none
    """
    if value is None or value == [] or value == "":
        return "-"
    if option.secret:
        return "***"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}:{each}" for key, each in value.items())
    return str(value)


def operations() -> Table:
    """Return the table of the operations and their driver methods."""
    rows: Rows = [
        (operation, ", ".join((operation, *methods)))
        for operation, methods in OPERATIONS.items()
    ]
    return Table(
        "operations", "What a hook gets as func_name.", ("operation", "methods"), rows
    )


def operations_of_driver(path: str) -> Iterator[Table]:
    """Yield which methods of a driver class would be woven, and what it lacks.

    :param path: ``path.to.Driver``
    :raises UnresolvedName: if there is no such class
    """
    cls = driver_at(path)
    woven = woven_methods(cls)
    rows = [
        (operation, method, _defined_in(cls, method))
        for operation, methods in woven.items()
        for method in methods
    ]
    yield Table(
        path,
        "Its methods that are woven.",
        ("operation", "method", "defined in"),
        rows,
    )
    yield Table("lacks", ", ".join(lacking(cls, woven)) or "no operation")


def woven_methods(cls: Any, hook_methods: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return the methods of a driver class that would be woven, by operation.

    :param cls: the class
    :param hook_methods: further methods, under their own names
    """
    woven: dict[str, list[str]] = {operation: [] for operation in OPERATIONS}
    for method, operation in {
        **METHODS,
        **{each: each for each in hook_methods},
    }.items():
        if callable(getattr(cls, method, None)):
            # It depends on its rules which of the three a call of this one is.
            others = (
                ("allow_access", "deny_access") if method == "update_access" else ()
            )
            for each in (operation, *others):
                woven.setdefault(each, []).append(method)
    return {operation: methods for operation, methods in woven.items() if methods}


def lacking(cls: type, woven: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the operations that a driver class has no method for.

    Nor is one that does nothing but raise ``NotImplementedError``, as those of
    Manila's base class do.

    :param cls: the class
    :param woven: its methods that would be woven, by operation
    """
    return [
        operation
        for operation in OPERATIONS
        if all(_is_stub(cls, method) for method in woven.get(operation, ()))
    ]


def _is_stub(cls: type, method: str) -> bool:
    code = getattr(getattr(cls, method), "__code__", None)
    if code is None or code.co_names != ("NotImplementedError",):
        return False
    return not any("JUMP" in each.opname for each in dis.get_instructions(code))


def _defined_in(cls: type, method: str) -> str:
    base = next((base for base in cls.__mro__ if method in vars(base)), cls)
    return base.__name__ + (", not implemented" if _is_stub(cls, method) else "")

# SPDX-License-Identifier: Apache-2.0
"""The rooms of the two packages, and the direction of the imports between them.

The imports are read from the source, wherever they are in a module: what a function
imports counts as well.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import aspects
import hooks

#: The rooms, floor by floor from the ground up. A room is a module, or a package
#: without the rooms inside it. A module imports from its own room and from the floors
#: below.
FLOORS = (
    (
        "aspects.errors",
        "aspects.secrets",
        "aspects.operations",
        "aspects.config.options",
    ),
    ("aspects.hook",),
    ("aspects.core",),
    ("aspects.weaving",),
    ("aspects.periodic", "aspects.decorators"),
    ("aspects.config",),
    ("aspects.testing",),
    ("aspects",),
    ("hooks.events",),
    ("aspects.manila", "aspects.cli", "hooks"),
    ("aspects.demo",),
)

#: The room that is a module alone: a new module beside it needs a room of its own.
FACADE = "aspects"

#: The imports from a floor above: (module, room above) -> the reason. They are inside
#: functions.
UPWARDS = {
    ("aspects.hook", "aspects.core.step"): (
        "HookBase.execute_* runs the methods of one hook as a chain would"
    ),
    ("aspects.cli.demo", "aspects.demo"): (
        "the command starts the demo, whose libraries are an extra"
    ),
}

#: The rooms that import Manila.
WITH_MANILA = ("aspects.manila", "aspects.demo")


class Import(NamedTuple):
    """A module, or a name of a module, that a module imports."""

    by: str
    """the importing module"""
    module: str
    name: str
    """the name that is imported from the module; empty if it is imported itself"""
    lazy: bool
    """whether it is inside a function"""
    line: int

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}".rstrip(".")

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.path}"


def sources() -> dict[str, ast.Module]:
    """Return the syntax tree of each module of the two packages, by dotted name."""
    trees = {}
    for package in (aspects, hooks):
        directory = Path(package.__path__[0])
        for file in sorted(directory.rglob("*.py")):
            parts = file.relative_to(directory.parent).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            trees[name] = ast.parse(file.read_text("utf-8"))
    return trees


def imports_in(by: str, node: ast.AST, lazy: bool = False) -> Iterator[Import]:
    """Yield the imports in a module, also those inside functions."""
    lazy = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(by, alias.name, "", lazy, node.lineno)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"{by}:{node.lineno}: a relative import"
        for alias in node.names:
            yield Import(by, str(node.module), alias.name, lazy, node.lineno)
    for child in ast.iter_child_nodes(node):
        yield from imports_in(by, child, lazy)


TREES = sources()

IMPORTS = [found for name, tree in TREES.items() for found in imports_in(name, tree)]


def is_in(name: str, room: str) -> bool:
    return f"{name}.".startswith(f"{room}.")


def module_of(path: str) -> str:
    """Return the module of the two packages that has a path; empty for another's."""
    while path and path not in TREES:
        path = path.rpartition(".")[0]
    return path


#: The imports of one module of the two packages by another.
OWN = [
    (found, module)
    for found in IMPORTS
    if (module := module_of(found.path)) and module != found.by
]


def exception(found: Import, module: str) -> tuple[str, str] | None:
    """Return the key in UPWARDS of the import of a module, if it is one of these."""
    keys = (key for key in UPWARDS if key[0] == found.by and is_in(module, key[1]))
    return next(keys, None)


def room_of(module: str) -> str:
    rooms = [
        room
        for floor in FLOORS
        for room in floor
        if module == room or (is_in(module, room) and room != FACADE)
    ]
    return max(rooms, key=len, default="")


def floor_of(module: str) -> int:
    (floor,) = (n for n, rooms in enumerate(FLOORS) if room_of(module) in rooms)
    return floor


def test_every_module_is_in_a_room() -> None:
    wrong = [module for module in TREES if not room_of(module)]
    assert not wrong, "\n".join(wrong)


def test_imports_go_down() -> None:
    wrong = [
        str(found)
        for found, module in OWN
        if room_of(found.by) != room_of(module)
        and floor_of(found.by) <= floor_of(module)
        and not (exception(found, module) and found.lazy)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_exception_is_in_use() -> None:
    used = {exception(found, module) for found, module in OWN}
    assert set(UPWARDS) <= used


def test_no_modules_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for found, module in OWN:
        if not exception(found, module):
            graph.setdefault(found.by, set()).add(module)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_the_package_of_a_room_on_a_lower_floor_imports_nothing() -> None:
    # To import aspects.config.options is to import aspects.config before it.
    parents = {
        parent
        for module in TREES
        if (parent := module.rpartition(".")[0]) not in ("", FACADE)
        and floor_of(parent) > floor_of(module)
    }
    assert "aspects.config" in parents
    wrong = [str(found) for found in IMPORTS if found.by in parents]
    assert not wrong, "\n".join(wrong)


def test_manila_is_imported_only_where_it_may_be() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if is_in(found.module, "manila") and room_of(found.by) not in WITH_MANILA
    ]
    assert not wrong, "\n".join(wrong)


def test_hooks_import_only_public_names_of_aspects() -> None:
    # aspects.weaving is a function for `from aspects import`, and a module otherwise.
    wrong = [
        str(found)
        for found in IMPORTS
        if is_in(found.by, "hooks")
        and is_in(found.module, "aspects")
        and (found.module != "aspects" or found.name not in ("", *aspects.__all__))
    ]
    assert not wrong, "\n".join(wrong)


def test_hooks_use_only_public_names_of_aspects() -> None:
    wrong = [
        f"{module}:{node.lineno} uses aspects.{node.attr}"
        for module, tree in TREES.items()
        if is_in(module, "hooks")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "aspects"
        and node.attr not in aspects.__all__
    ]
    assert not wrong, "\n".join(wrong)

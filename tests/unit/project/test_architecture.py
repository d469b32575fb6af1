# SPDX-License-Identifier: Apache-2.0
"""Imports between the components of the two packages go down.

The imports are read from the source, including those inside functions.
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

#: The components, layer by layer from the bottom up. A component is a module, or a
#: package without the components inside it. A module imports from its own component and
#: from the layers below.
LAYERS = (
    (
        "aspects.errors",
        "aspects.secrets",
        "aspects.shares",
        "aspects.signatures",
        "aspects.config.options",
    ),
    ("aspects.operations",),
    ("aspects.hook", "aspects.requests"),
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

#: The component that is only a module: a new module beside it needs its own component.
FACADE = "aspects"

#: The imports from a layer above: (module, component above) -> the reason. They are
#: inside functions.
UPWARDS = {
    ("aspects.hook", "aspects.core.step"): (
        "HookBase.execute_* runs the methods of one hook as a chain would"
    ),
    ("aspects.cli.guard", "hooks.guard"): (
        "the command tests the rules of the guard, whose libraries are an extra"
    ),
    ("aspects.cli.demo", "aspects.demo"): (
        "the command starts the demo, whose libraries are an extra"
    ),
}

#: The components that import Manila.
WITH_MANILA = ("aspects.manila", "aspects.demo")


class Import(NamedTuple):
    """An import of a module, or of a name of a module."""

    by: str
    """the importing module"""
    module: str
    name: str
    """the name imported from the module; empty if the module itself is imported"""
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
    """Yield the imports in a module, including those inside functions."""
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


def is_in(name: str, component: str) -> bool:
    return f"{name}.".startswith(f"{component}.")


def module_of(path: str) -> str:
    """Return the module of a dotted path; empty if it is not in the two packages."""
    while path and path not in TREES:
        path = path.rpartition(".")[0]
    return path


#: The imports between modules of the two packages.
OWN = [
    (found, module)
    for found in IMPORTS
    if (module := module_of(found.path)) and module != found.by
]


def exception(found: Import, module: str) -> tuple[str, str] | None:
    """Return the key of an import in UPWARDS; None if it is not there."""
    keys = (key for key in UPWARDS if key[0] == found.by and is_in(module, key[1]))
    return next(keys, None)


def component_of(module: str) -> str:
    components = [
        component
        for layer in LAYERS
        for component in layer
        if module == component or (is_in(module, component) and component != FACADE)
    ]
    return max(components, key=len, default="")


def layer_of(module: str) -> int:
    component = component_of(module)
    return next(n for n, names in enumerate(LAYERS) if component in names)


def test_every_module_is_in_a_component() -> None:
    wrong = [module for module in TREES if not component_of(module)]
    assert not wrong, "\n".join(wrong)


def test_imports_go_down() -> None:
    wrong = [
        str(found)
        for found, module in OWN
        if component_of(found.by) != component_of(module)
        and layer_of(found.by) <= layer_of(module)
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


def test_the_package_of_a_component_on_a_lower_layer_imports_nothing() -> None:
    # Python imports aspects.config before aspects.config.options.
    parents = {
        parent
        for module in TREES
        if (parent := module.rpartition(".")[0]) not in ("", FACADE)
        and layer_of(parent) > layer_of(module)
    }
    assert "aspects.config" in parents
    wrong = [str(found) for found in IMPORTS if found.by in parents]
    assert not wrong, "\n".join(wrong)


def test_only_two_components_import_manila() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if is_in(found.module, "manila") and component_of(found.by) not in WITH_MANILA
    ]
    assert not wrong, "\n".join(wrong)


def test_hooks_import_only_public_names_of_aspects() -> None:
    # `from aspects import weaving` gives the function, not the module aspects.weaving.
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

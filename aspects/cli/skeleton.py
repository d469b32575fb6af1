# SPDX-License-Identifier: Apache-2.0
"""Build skeletons of Manila's driver classes, without the import that takes seconds.

A skeleton has the methods of a class, with their code, and inherits from the skeletons
of its base classes. It is made from the source. If the source leaves a doubt, there is
no skeleton, and the class must be imported.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from aspects.operations import METHODS

#: The package whose classes have skeletons. Any other driver is imported, since only
#: that shows whether it can be.
PACKAGE = "manila"

#: The decorators that a skeleton keeps.
_KEPT = ("classmethod", "property", "staticmethod")


@functools.cache
def skeleton(path: str) -> type | None:
    """Return the skeleton of a class of Manila.

    :param path: ``path.to.Class``
    :return: a class; None if the class has no skeleton
    """
    module, _, name = path.rpartition(".")
    statement = _binding(module, name)
    if isinstance(statement, ast.ImportFrom):
        return _class(module, name)
    if not isinstance(statement, ast.ClassDef) or statement.decorator_list:
        return None
    if any(ast.unparse(word.value) != "abc.ABCMeta" for word in statement.keywords):
        return None
    bases = [_class(module, ast.unparse(base)) for base in statement.bases]
    body = [*_body(statement)]
    if None in bases or None in body:
        return None
    statement.bases = [ast.Starred(ast.Name("bases", ast.Load()), ast.Load())]
    statement.keywords = []
    statement.body = body or [ast.Pass()]
    tree = ast.fix_missing_locations(ast.Module([statement], []))
    namespace: dict[str, Any] = {"__name__": module, "bases": bases}
    # The base classes may have no common order.
    with contextlib.suppress(TypeError):
        exec(compile(tree, f"<skeleton of {path}>", "exec"), namespace)
    return namespace.get(name)


def _body(definition: ast.ClassDef) -> Iterator[Any]:
    """Yield the methods of a class without what their definitions evaluate.

    A doubt about the methods is None.
    """
    for statement in definition.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield _method(statement)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            # A method may be assigned, too.
            if not {"__new__", *METHODS}.isdisjoint(_names(statement)):
                yield None
        elif not isinstance(statement, (ast.Expr, ast.Pass)):
            yield None


def _method(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt | None:
    """Return a method without its defaults, its annotations and most decorators."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    if any(name.endswith((".setter", ".deleter")) for name in decorators):
        return ast.Pass()
    replaced = {*decorators} - {*_KEPT, "abc.abstractmethod"}
    if replaced and isinstance(function.body[-1], ast.Raise):
        # Whether the method still only raises NotImplementedError is unknown.
        return None
    function.decorator_list = [
        node for node in function.decorator_list if ast.unparse(node) in _KEPT
    ]
    function.returns = None
    function.args.defaults = [ast.Constant(None) for _ in function.args.defaults]
    function.args.kw_defaults = [None for _ in function.args.kw_defaults]
    for node in ast.walk(function.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    return function


# -- names ---------------------------------------------------------------------


def _class(module: str, name: str) -> type | None:
    """Return the class that a name means in a module of Manila, or its skeleton.

    :param module: the module
    :param name: the name, e.g. ``driver.ShareDriver``
    :return: None if the class has no skeleton
    """
    statement = _binding(module, name.partition(".")[0])
    if statement is None:
        return object if name == "object" else None
    path = f"{module}.{name}"
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        path = _imported(statement, name)
    if path.partition(".")[0] == PACKAGE:
        return skeleton(path)
    module, _, name = path.rpartition(".")
    with contextlib.suppress(Exception):
        found = getattr(importlib.import_module(module), name)
        return found if isinstance(found, type) else None
    return None


def _imported(statement: ast.Import | ast.ImportFrom, name: str) -> str:
    """Return the path of an imported name; empty for a relative import."""
    if isinstance(statement, ast.ImportFrom) and statement.level:
        return ""
    first, dot, rest = name.partition(".")
    for alias in statement.names:
        if alias.asname == first or (not alias.asname and alias.name == first):
            origin = getattr(statement, "module", "")
            return f"{origin}{'.' * bool(origin)}{alias.name}{dot}{rest}"
    # `import package.module` binds the package.
    return name


def _binding(module: str, name: str) -> ast.stmt | None:
    """Return the only statement of a module that uses or binds a name."""
    tree = _tree(module)
    found = [part for part in tree.body if name in _names(part)] if tree else []
    return found[0] if len(found) == 1 else None


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds, or uses when the module is imported."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        names = [alias.asname or alias.name for alias in statement.names]
        return {name.partition(".")[0] for name in names}
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


# -- modules -------------------------------------------------------------------


@functools.cache
def _tree(module: str) -> ast.Module | None:
    """Return the syntax tree of a module of Manila; None if there is no source."""
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        if file := _file(module):
            return ast.parse(file.read_bytes())
    return None


def _file(module: str) -> Path | None:
    """Return the source file of a module of Manila; None if there is none."""
    package, *parts = module.split(".")
    # Of a module in a package, find_spec() would import the package.
    spec = importlib.util.find_spec(package) if package == PACKAGE else None
    for part in parts:
        if spec is None:
            return None
        package += f".{part}"
        spec = PathFinder.find_spec(package, spec.submodule_search_locations)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)

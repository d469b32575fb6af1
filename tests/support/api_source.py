# SPDX-License-Identifier: Apache-2.0
"""Read from Manila's source the methods of its share API, and which of them it calls.

``tests.support.manager_source`` stores the result for each release.
"""

from __future__ import annotations

import ast
from pathlib import Path

#: The code whose share API ``share_api_class`` names. Transfers use Manila's own class.
CALLERS = ("api", "share_group")


def read(package: Path) -> dict[str, dict[str, str]]:
    """Return the public methods of the share API of one release.

    :param package: the directory of the package ``manila``
    :return: ``called``: the methods that the code of :data:`CALLERS` calls, with the
        names of their arguments less the context; ``internal``: the others
    """
    tree = ast.parse((package / "share" / "api.py").read_text("utf-8"))
    methods = {
        function.name: _arguments(function)
        for cls in tree.body
        if isinstance(cls, ast.ClassDef) and cls.name == "API"
        for function in cls.body
        if isinstance(function, ast.FunctionDef)
        # A decorator that the class defines for its methods has no self.
        and (function.args.args[0].arg == "self" or _is_static(function))
        and not function.name.startswith("_")
    }
    called = {
        node.attr
        for directory in CALLERS
        for file in sorted((package / directory).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and getattr(node.value, "attr", None) == "share_api"
    }
    return {
        "called": {name: methods[name] for name in sorted(methods.keys() & called)},
        "internal": {name: methods[name] for name in sorted(methods.keys() - called)},
    }


def _is_static(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(d) == "staticmethod" for d in function.decorator_list)


def _arguments(function: ast.FunctionDef) -> str:
    arguments = [*function.args.args, *function.args.kwonlyargs]
    ignored = ("self", "context", "ctx")
    return " ".join(each.arg for each in arguments if each.arg not in ignored)

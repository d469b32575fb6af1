# SPDX-License-Identifier: Apache-2.0
"""Read from Manila's source how its share service uses a driver.

``python -m tests.support.manager_source DIRECTORY RELEASE`` reads the package
``manila`` in the directory of an unpacked release, and writes
``tests/data/manila/RELEASE.json``. Each series has one file; replace it when a later
release of the series differs.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import api_source

DATA = Path(__file__).parents[1] / "data" / "manila"

#: Files in which ``driver`` is another driver or a module, and the share drivers.
ELSEWHERE = ("opts.py", "scheduler/", "share/driver.py", "share/drivers/", "tests/")


def read(package: Path) -> dict[str, list[str]]:
    """Return how the share service of one release uses its driver.

    :param package: the directory of the package ``manila``
    :return: ``attributes``: the attributes of the driver that are read; ``passed``:
        the expressions that pass the driver itself; ``hooked``: the methods of the
        share manager with Manila's own hooks; ``by_itself``: the attributes that the
        share manager reads only at its start and on its timers
    """
    attributes: set[str] = set()
    passed: set[str] = set()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if not name.startswith(ELSEWHERE):
            tree = ast.parse(file.read_text("utf-8"))
            for use in _uses_of_driver(tree):
                if isinstance(use, ast.Attribute):
                    attributes.add(use.attr)
                else:
                    passed.add(f"{name}: {ast.unparse(use)}")
    manager = ast.parse((package / "share" / "manager.py").read_text("utf-8"))
    methods = {
        function.name: function
        for cls in manager.body
        if isinstance(cls, ast.ClassDef) and cls.name == "ShareManager"
        for function in cls.body
        if isinstance(function, ast.FunctionDef)
    }
    own = {"init_host", *_decorated(methods, "periodic_task")}
    requests = {name for name in methods if not name.startswith("_")} - own
    return {
        "attributes": sorted(attributes),
        "passed": sorted(passed),
        "hooked": sorted(_decorated(methods, "add_hooks")),
        "by_itself": sorted(_reached(methods, own) - _reached(methods, requests)),
    }


Methods = dict[str, ast.FunctionDef]


def _decorated(methods: Methods, word: str) -> set[str]:
    """Return the methods with a word in one of their decorators."""
    return {
        name
        for name, method in methods.items()
        if any(word in ast.unparse(decorator) for decorator in method.decorator_list)
    }


def _uses_of_driver(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield each attribute access on the driver, and other uses of the driver."""
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            if _is_driver(child):
                yield parent


def _is_driver(node: ast.AST) -> bool:
    name = getattr(node, "attr", None) or getattr(node, "id", None)
    return name == "driver" and isinstance(getattr(node, "ctx", None), ast.Load)


def _reached(methods: Methods, names: set[str]) -> set[str]:
    """Return the driver attributes that methods, and the methods they call, read."""
    known: set[str] = set()
    attributes: set[str] = set()
    while names := names - known:
        known |= names
        called: set[str] = set()
        for name in names:
            for node in ast.walk(methods[name]):
                if isinstance(node, ast.Attribute):
                    if _is_driver(node.value):
                        attributes.add(node.attr)
                    elif ast.unparse(node.value) == "self":
                        called.add(node.attr)
        names = called & methods.keys()
    return attributes


def read_all(package: Path) -> dict[str, Any]:
    """Return the data of one release to store.

    :param package: the directory of the package ``manila``
    :return: the use of its driver, and as ``share_api`` the methods of the share API
    """
    return {**read(package), "share_api": api_source.read(package)}


def releases() -> dict[str, dict[str, Any]]:
    """Return the stored data of each release, the oldest first."""
    files = sorted(DATA.glob("*.json"), key=lambda file: int(file.stem.split(".")[0]))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def main(directory: str, release: str) -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    file = DATA / f"{release}.json"
    file.write_text(
        json.dumps(read_all(Path(directory) / "manila"), indent=1) + "\n", "utf-8"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

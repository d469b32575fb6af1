# SPDX-License-Identifier: Apache-2.0
"""Read out of Manila's source what its share service does with a driver.

``python -m tests.support.manager_source DIRECTORY RELEASE`` reads an unpacked release,
which has the package ``manila`` in it, and writes ``tests/data/manila/RELEASE.json``.
Each
series has one file: replace it when a later release of the series differs.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "manila"

#: What has other drivers, or modules of that name, and the share drivers themselves.
ELSEWHERE = ("opts.py", "scheduler/", "share/driver.py", "share/drivers/", "tests/")


def read(package: Path) -> dict[str, list[str]]:
    """Return what the share service of one release does with its driver.

    :param package: the directory of the package ``manila``
    :return: ``attributes``: the names that are looked up on the driver; ``passed``:
        expressions that pass the driver itself on; ``hooked``: methods of the share
        manager that have Manila's own hooks; ``by_itself``: the names that the share
        manager looks up only at its start and on its timers
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
        if any(word in ast.unparse(each) for each in method.decorator_list)
    }


def _uses_of_driver(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield each look-up on the driver, and what else has the driver in it."""
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            if _is_driver(child):
                yield parent


def _is_driver(node: ast.AST) -> bool:
    name = getattr(node, "attr", None) or getattr(node, "id", None)
    return name == "driver" and isinstance(getattr(node, "ctx", None), ast.Load)


def _reached(methods: Methods, names: set[str]) -> set[str]:
    """Return what is looked up on the driver by methods, and by those they call."""
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


def releases() -> dict[str, dict[str, list[str]]]:
    """Return what was read out of each release, from the oldest on."""
    files = sorted(DATA.glob("*.json"), key=lambda file: int(file.stem.split(".")[0]))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def main(directory: str, release: str) -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    file = DATA / f"{release}.json"
    file.write_text(
        json.dumps(read(Path(directory) / "manila"), indent=1) + "\n", "utf-8"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

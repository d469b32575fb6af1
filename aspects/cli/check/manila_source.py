# SPDX-License-Identifier: Apache-2.0
"""Find Manila's options in its source, since importing all of them takes seconds."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from oslo_config import cfg

#: The kinds of options whose values are checked.
_KINDS: dict[str, type[cfg.Opt]] = {
    "BoolOpt": cfg.BoolOpt,
    "FloatOpt": cfg.FloatOpt,
    "IntOpt": cfg.IntOpt,
    "PortOpt": cfg.PortOpt,
}


_DEFINITION = re.compile(r"Opt\(\s*['\"]([\w-]+)['\"]")


@functools.cache
def sources() -> tuple[str, ...]:
    """Return the text of each module of Manila; empty without Manila."""
    spec = importlib.util.find_spec("manila")
    places = map(Path, spec.submodule_search_locations or ()) if spec else ()
    return tuple(
        file.read_text("utf-8", "replace")
        for place in places
        for file in sorted(place.rglob("*.py"))
        if "tests" not in file.relative_to(place).parts
    )


@functools.cache
def _modules(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the texts of the modules that define an option, by its name."""
    modules: dict[str, list[str]] = {}
    for text in texts:
        for name in dict.fromkeys(_DEFINITION.findall(text)):
            modules.setdefault(name, []).append(text)
    return modules


def options_named(name: str) -> list[cfg.Opt]:
    """Return the options of Manila and its drivers with a name, from their source.

    Booleans and numbers have their type and range. Any other option accepts every text.

    :param name: the name
    """
    modules = _modules(sources()).get(name, ())
    return [option for text in modules for option in _options_in(text, name)]


def _options_in(text: str, name: str) -> Iterator[cfg.Opt]:
    """Yield the options with a name that a module constructs."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        kind = ast.unparse(node.func).rpartition(".")[2]
        first = node.args[0]
        if not kind.endswith("Opt") or getattr(first, "value", None) != name:
            continue
        keywords = {}
        for keyword in node.keywords:
            if keyword.arg in ("min", "max", "secret"):
                # A limit may be an expression.
                with contextlib.suppress(ValueError):
                    keywords[keyword.arg] = ast.literal_eval(keyword.value)
        if kind not in _KINDS:
            yield cfg.StrOpt(name, secret=keywords.get("secret", False))
        else:
            yield _KINDS[kind](name, **keywords)

# SPDX-License-Identifier: Apache-2.0
"""What the two packages show and need."""

import ast
import importlib.metadata
import pathlib
import re
import subprocess
import sys

import pytest

import aspects
import hooks

ASPECTS = pathlib.Path(aspects.__file__).parent
HOOKS = pathlib.Path(hooks.__file__).parent

PUBLIC = {
    "AlreadyWoven",
    "BackendSection",
    "HookBase",
    "HookConfigError",
    "UpdatedResults",
    "Veto",
    "add_hooks",
    "is_woven",
    "tick",
    "unweave",
    "weave",
    "weave_from_config",
    "weaving",
}


def test_public_names():
    assert set(aspects.__all__) >= PUBLIC
    assert sorted(aspects.__all__) == aspects.__all__
    for name in aspects.__all__:
        assert getattr(aspects, name).__doc__


def test_package_has_the_public_names_and_nothing_else():
    tree = ast.parse((ASPECTS / "__init__.py").read_text("utf-8"))
    bound = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert bound == set(aspects.__all__)
    assert {type(node) for node in tree.body} == {ast.Expr, ast.ImportFrom, ast.Assign}


@pytest.mark.slow
def test_importing_needs_no_manila():
    # Not only by the text: a library might bring Manila in.
    code = (
        "import sys; sys.modules['manila'] = None\n"
        "import aspects, hooks.audit, hooks.events.event\n"
        "print(sorted(m for m in sys.modules if m.startswith('manila.')))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "[]"


def test_core_dependencies():
    requires = importlib.metadata.requires("manila-aspects")
    core = {
        re.split(r"[<>=!~;\s\[]", each, maxsplit=1)[0].lower()
        for each in requires
        if "extra ==" not in each
    }
    assert core == {"decorator", "oslo.config", "oslo.context", "oslo.log", "wrapt"}


def test_manila_is_an_extra():
    requires = importlib.metadata.requires("manila-aspects")
    manila = [each for each in requires if each.lower().startswith("manila")]
    assert manila
    assert all("extra ==" in each for each in manila)
    extras = importlib.metadata.metadata("manila-aspects").get_all("Provides-Extra")
    assert {"manila", "audit"} <= set(extras)


def test_each_short_name_is_a_hook():
    found = importlib.metadata.entry_points(group="manila_aspects.hooks")
    assert "audit" in found.names
    for entry_point in found:
        if entry_point.value.startswith("hooks."):
            assert issubclass(entry_point.load(), aspects.HookBase)


@pytest.mark.parametrize("package", [ASPECTS, HOOKS], ids=lambda path: path.name)
def test_type_hints_are_shipped(package):
    assert (package / "py.typed").exists()


def test_every_public_name_has_an_example_that_mypy_checks():
    text = (pathlib.Path(__file__).parents[2] / "typing" / "api.py").read_text("utf-8")
    for name in aspects.__all__:
        assert re.search(rf"\baspects\.{name}\b", text), name

# SPDX-License-Identifier: Apache-2.0
"""Public names, dependencies and entry points of the two packages."""

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


def test_public_names_are_documented():
    assert set(aspects.__all__) >= PUBLIC
    for name in aspects.__all__:
        # A constant has a comment for Sphinx.
        assert name.isupper() or getattr(aspects, name).__doc__


def test_package_binds_only_the_public_names():
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
def test_import_does_not_need_manila():
    # A dependency might import Manila too, so reading the source is not enough.
    code = (
        "import sys; sys.modules['manila'] = None\n"
        "import aspects, hooks.audit, hooks.events.event\n"
        "print(sorted(m for m in sys.modules if m.startswith('manila.')))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "[]"


def test_core_has_five_dependencies():
    requires = importlib.metadata.requires("manila-aspects")
    core = {
        re.split(r"[<>=!~;\s\[]", requirement, maxsplit=1)[0].lower()
        for requirement in requires
        if "extra ==" not in requirement
    }
    assert core == {"decorator", "oslo.config", "oslo.context", "oslo.log", "wrapt"}


def test_manila_is_an_extra():
    requires = importlib.metadata.requires("manila-aspects")
    manila = [name for name in requires if name.lower().startswith("manila")]
    assert manila
    assert all("extra ==" in name for name in manila)
    extras = importlib.metadata.metadata("manila-aspects").get_all("Provides-Extra")
    assert {"manila", "audit"} <= set(extras)


def test_each_short_name_loads_a_hook():
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

# SPDX-License-Identifier: Apache-2.0
"""The map of the code, its pictures and the decision records agree with the tree."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

import aspects
from aspects.config.options import hook_options, instance_options, section_options
from tests.support.pages import DOCS, ROOT, file_of, pages

from .test_architecture import LAYERS, TREES, UPWARDS, WITH_MANILA

MAP = "contributor/architecture.rst"

DECISIONS = DOCS / "contributor" / "decisions"


def text_of(page: str) -> str:
    return file_of(page).read_text("utf-8")


def path_of(module: str) -> str:
    """Return the file of a module of the two packages."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return str(file.relative_to(ROOT))


def has_code(tree: ast.Module) -> bool:
    """Return whether a module has more than a docstring."""
    return len(tree.body) > (ast.get_docstring(tree) is not None)


def test_the_map_lists_each_module_once() -> None:
    rows = re.findall(r"^   \* - ``((?:aspects|hooks)/\S+\.py)``$", text_of(MAP), re.M)
    assert len(rows) == len(set(rows))
    assert set(rows) == {
        path_of(name) for name, tree in TREES.items() if has_code(tree)
    }


def test_the_map_lists_each_import_that_goes_up() -> None:
    items = re.findall(r"^- ((?:.|\n(?=  ))+)", text_of(MAP), re.M)
    for module, above in UPWARDS:
        reason = f"``{path_of(module)}`` imports ``{above}``"
        assert any(item.startswith(reason) for item in items), reason


def test_the_picture_of_the_layers_has_every_component() -> None:
    picture = ElementTree.parse(DOCS / "_static" / "layers.svg")
    layers = defaultdict(set)
    for text in picture.iter("{http://www.w3.org/2000/svg}text"):
        if text.get("class") == "component":
            layers[float(text.attrib["y"])].add(text.text)
    from_the_bottom_up = [layers[y] for y in sorted(layers, reverse=True)]
    assert from_the_bottom_up == [set(names) for names in LAYERS]


@pytest.mark.parametrize("picture", ["life-of-a-call.svg", "layers.svg"])
def test_a_picture_names_modules_that_exist(picture: str) -> None:
    tree = ElementTree.parse(DOCS / "_static" / picture)
    text = " ".join(tree.getroot().itertext())
    modules = [f"aspects.core.{name}" for name in re.findall(r"\bcore/(\w+)", text)]
    modules += re.findall(r"\b(?:aspects|hooks)(?:\.\w+)*", text)
    assert modules
    assert set(modules) <= set(TREES)


def resolves(name: str) -> bool:
    """Return whether a dotted name exists: a module, or an attribute in one."""
    module = name
    while module not in TREES:
        module = module.rpartition(".")[0]
    found = importlib.import_module(module)
    for part in name.removeprefix(module).strip(".").split("."):
        if part and not hasattr(found, part):
            return False
        found = getattr(found, part) if part else found
    return True


@pytest.mark.parametrize("page", pages())
def test_names_on_a_page_are_in_the_code(page: str) -> None:
    names = re.findall(r"``((?:aspects|hooks)(?:\.\w+)+)(?=\W)", text_of(page))
    # The unit tests run without Manila, and without the libraries of the demo.
    here = [name for name in names if not name.startswith(WITH_MANILA)]
    assert [name for name in here if not resolves(name)] == []


PAGES = [*map(file_of, pages()), ROOT / "CONTRIBUTING.rst", ROOT / "HACKING.rst"]

DIRECTORIES = "aspects|bench|doc/source|etc|hooks|releasenotes|tests"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_paths_on_a_page_are_in_the_tree(file: Path) -> None:
    paths = re.findall(rf"``((?:{DIRECTORIES})/[\w./-]*)``", file.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


RECORDS = sorted(DECISIONS.glob("[0-9]*.rst"))


def test_the_index_has_the_decision_records_in_order() -> None:
    index = (DECISIONS / "index.rst").read_text("utf-8")
    listed = re.findall(r"^   (\d{4}-\S+)$", index, re.M)
    assert listed == [file.stem for file in RECORDS]
    assert [int(name[:4]) for name in listed] == list(range(1, len(listed) + 1))


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_a_decision_record_has_the_four_sections(file: Path) -> None:
    text = file.read_text("utf-8")
    assert re.search(rf"^{int(file.stem[:4])}\. ", text, re.M)
    assert re.search(r"^:Date: \d{4}-\d\d-\d\d$", text, re.M)
    headings = re.findall(r"^(\w+)\n=+$", text, re.M)
    assert headings == ["Context", "Decision", "Alternatives", "Consequences"]


def test_the_reference_has_every_public_name() -> None:
    documented = re.findall(
        r"^\.\. auto\w+:: aspects\.(\w+)", text_of("reference/api.rst"), re.M
    )
    assert set(documented) == set(aspects.__all__)


def test_the_page_on_configuration_has_every_option_of_backends_and_hooks() -> None:
    options = [*section_options, *hook_options, *instance_options]
    rows = re.findall(r"^``(\w+)`` +\S", text_of("admin/configuration.rst"), re.M)
    assert {option.name for option in options} <= set(rows)

# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import json
import pathlib

project = "manila-aspects"
release = version = importlib.metadata.version(project)

extensions = [
    "oslo_config.sphinxext",
    "reno.sphinxext",
    "sphinx.ext.autodoc",
]
autodoc_typehints = "description"
autodoc_member_order = "bysource"

copyright = "the manila-aspects contributors, Apache License 2.0"
highlight_language = "text"

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]

HERE = pathlib.Path(__file__).parent

# Manila release -> driver methods that its manager calls. The files are written by
# tests/support/manager_source.py.
_RELEASES = {
    int(file.stem.split(".")[0]): set(json.loads(file.read_text())["attributes"])
    for file in HERE.parents[1].glob("tests/data/manila/*.json")
}


def _release(major: int) -> str:
    year, half = divmod(major - 18, 2)
    return f"{major} ({2024 + year}.{half + 1})"


def operations_table() -> str:
    """Return the table of operations, with the Manila releases that call each."""
    from aspects.operations import OPERATIONS, ROUTINE_OPERATIONS

    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: breakable",
        "   :widths: 31 35 14 20",
        "",
        "   * - operation",
        "     - driver methods",
        "     - kind",
        "     - Manila",
    ]
    for operation, methods in OPERATIONS.items():
        methods = (operation, *methods)
        found = sorted(n for n, used in _RELEASES.items() if used & set(methods))
        lines += [
            f"   * - {operation}",
            f"     - {', '.join(methods)}",
            f"     - {'routine' if operation in ROUTINE_OPERATIONS else 'requested'}",
            f"     - {_release(found[0])} to {_release(found[-1])}",
        ]
    return "\n".join(lines) + "\n"


def setup(app: object) -> None:
    (HERE / "reference" / "operations.inc").write_text(operations_table())

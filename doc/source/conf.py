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


#: Column of the table of releases -> the test modules that it counts.
_COLUMNS = {
    "demo": ("test_demo",),
    "share service": (
        *("test_check", "test_manager", "test_manager_source", "test_operations"),
        *("test_reload", "test_startup", "test_stop"),
    ),
    "hooks": (
        *("test_audit", "test_automount", "test_command", "test_guard"),
        *("test_metrics", "test_notification", "test_secrets", "test_tracing"),
        "test_webhook",
    ),
    "processes": ("test_processes",),
}


def releases_table() -> str:
    """Return the table of the recorded results with each Manila release."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - OpenStack",
        "     - install",
        "     - Python",
        "     - threads",
        *(f"     - {column}" for column in _COLUMNS),
    ]
    for major in sorted(_RELEASES):
        file = HERE.parents[1] / "tests" / "releases" / f"manila{major}.json"
        found = json.loads(file.read_text("utf-8"))
        cells = [
            _release(major).partition("(")[2].rstrip(")"),
            found["manila"],
            found["python"],
            "native, eventlet" if major >= 22 else "eventlet",
            *(_result(found["tests"], modules) for modules in _COLUMNS.values()),
        ]
        lines += [f"   * - {cells[0]}", *(f"     - {cell}" for cell in cells[1:])]
    return "\n".join(lines) + "\n"


def _result(tests: dict[str, dict[str, int]], modules: tuple[str, ...]) -> str:
    """Return the numbers of tests of a cell, or the reason why it has none."""
    missing = [module for module in modules if module not in tests]
    if len(missing) == len(modules):
        return "no recorded run"
    total = {
        outcome: sum(tests.get(module, {}).get(outcome, 0) for module in modules)
        for outcome in ("passed", "failed", "skipped")
    }
    words = [f"{number} {outcome}" for outcome, number in total.items() if number]
    words += [f"{module} not recorded" for module in missing]
    return ", ".join(words)


def setup(app: object) -> None:
    (HERE / "reference" / "operations.inc").write_text(operations_table())
    (HERE / "reference" / "releases.inc").write_text(releases_table())

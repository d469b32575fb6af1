# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import json
import pathlib
import runpy

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

#: Column of the table of releases -> the releases that it leaves out, and the reason.
_LEFT_OUT = {"processes": ({18, 19, 21}, "not run: takes too long")}


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
            *(_result(found["tests"], column, major) for column in _COLUMNS),
        ]
        lines += [f"   * - {cells[0]}", *(f"     - {cell}" for cell in cells[1:])]
    return "\n".join(lines) + "\n"


def _result(tests: dict[str, dict[str, int]], column: str, major: int) -> str:
    """Return the numbers of tests of a cell, or the reason why it has none."""
    modules = _COLUMNS[column]
    missing = [module for module in modules if module not in tests]
    if len(missing) == len(modules):
        releases, reason = _LEFT_OUT.get(column, (set(), ""))
        return reason if major in releases else "no recorded run"
    total = {
        outcome: sum(tests.get(module, {}).get(outcome, 0) for module in modules)
        for outcome in ("passed", "failed", "skipped")
    }
    words = [f"{number} {outcome}" for outcome, number in total.items() if number]
    words += [f"{module} not recorded" for module in missing]
    return ", ".join(words)


def events_table(definition: str) -> str:
    """Return the table of a definition in the schema of events."""
    file = HERE.parents[1] / "hooks" / "events" / "event.schema.json"
    schema = json.loads(file.read_text("utf-8"))
    found = schema["$defs"][definition] if definition else schema
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: breakable",
        "   :widths: 28 17 55",
        "",
        "   * - field",
        "     - type",
        "     - meaning",
    ]
    for name, field in found["properties"].items():
        kinds = field.get("type", "string")
        names = [kinds] if isinstance(kinds, str) else kinds
        mark = "" if name in found["required"] else " (optional)"
        meaning = field.get("description") or f"``{field.get('const', 'see below')}``"
        lines += [
            f"   * - ``{name}``",
            f"     - {' or '.join(names)}{mark}",
            f"     - {meaning}",
        ]
    return "\n".join(lines) + "\n"


def outcomes_table() -> str:
    """Return the table of the results of driver methods and their outcomes."""
    file = HERE.parents[1] / "tests" / "support" / "results.py"
    results = runpy.run_path(str(file))
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: breakable",
        "   :widths: 32 34 12 22",
        "",
        "   * - driver method and its result",
        "     - effect in Manila",
        "     - outcome",
        "     - drivers",
    ]
    for row in results["ROWS"]:
        note = row.note
        poll = results["CONTINUED_BY"].get(row.method, row.method)
        if row.outcome == "pending" and not note and poll in results["POLLED"]:
            note = f"asks again with ``{poll}``"
        failed = f": {', '.join(row.failed)}" if row.failed else ""
        lines += [
            f"   * - ``{row.method}``{f', which {row.call}' if row.call else ''}: "
            f"``{row.result!r}``",
            f"     - {note}",
            f"     - ``{row.outcome}``{failed}",
            f"     - {row.drivers}",
        ]
    return "\n".join(lines) + "\n"


def setup(app: object) -> None:
    for name in ("call", "rule", "violation"):
        (HERE / "reference" / f"event-{name}.inc").write_text(events_table(name))
    (HERE / "reference" / "event.inc").write_text(events_table(""))
    (HERE / "reference" / "outcomes.inc").write_text(outcomes_table())
    (HERE / "reference" / "operations.inc").write_text(operations_table())
    (HERE / "reference" / "releases.inc").write_text(releases_table())

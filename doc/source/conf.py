# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import json
import pathlib
import re
import runpy
from typing import Any

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

# Manila release -> its use of drivers and of the share API. The files are written by
# tests/support/manager_source.py.
_SOURCES = {
    int(file.stem.split(".")[0]): json.loads(file.read_text())
    for file in HERE.parents[1].glob("tests/data/manila/*.json")
}
# Manila release -> driver methods that its manager calls.
_RELEASES = {major: set(source["attributes"]) for major, source in _SOURCES.items()}
# Manila release -> methods that request handlers call -> their arguments.
_SHARE_APIS = {major: src["share_api"]["called"] for major, src in _SOURCES.items()}


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


def requests_table() -> str:
    """Return the table of request operations, with their methods and arguments."""
    from aspects.requests import REQUESTS

    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: breakable",
        "   :widths: 26 20 40 14",
        "",
        "   * - operation",
        "     - method",
        "     - arguments",
        "     - since Manila",
    ]
    for operation, methods in REQUESTS.items():
        method = methods[0] if methods else operation
        found = sorted(n for n, api in _SHARE_APIS.items() if method in api)
        arguments = _SHARE_APIS[found[-1]][method].split()
        lines += [
            f"   * - {operation}",
            f"     - {method}",
            f"     - {', '.join(arguments)}",
            f"     - {_release(found[0])}",
        ]
    return "\n".join(lines) + "\n"


#: Column of the table of releases -> the test modules that it counts.
_COLUMNS = {
    "demo": ("test_demo",),
    "share service": (
        *("test_check", "test_manager", "test_manager_source", "test_operations"),
        *("test_reload", "test_shares", "test_startup", "test_stop", "test_testing"),
    ),
    "API": ("test_api_process", "test_requests"),
    "hooks": (
        *("test_audit", "test_automount", "test_command", "test_events", "test_guard"),
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
    if missing:
        words.append(f"{len(missing)} of {len(modules)} files not recorded")
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


def _calls() -> dict[str, Any]:
    """Return what hooks receive, as tests/functional/arguments.py recorded it."""
    file = HERE.parents[1] / "tests" / "data" / "arguments.json"
    return json.loads(file.read_text("utf-8"))  # type: ignore[no-any-return]


def _kinds(kinds: list[str]) -> str:
    """Return the kinds of an argument as text."""
    # An empty list is one of a list of something.
    long = [kind for kind in kinds if kind != "list" or len(kinds) == 1]
    return re.sub(r"dict: ([\w ]+)", r"dict (\1)", " or ".join(long))


def arguments_table() -> str:
    """Return the table of the arguments and results of driver methods."""
    from aspects.operations import METHODS

    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: breakable",
        "   :widths: 28 47 25",
        "",
        "   * - driver method (operation)",
        "     - arguments",
        "     - result",
    ]
    for method, call in _calls()["methods"].items():
        operation = METHODS[method]
        title = method if operation == method else f"{method} ({operation})"
        named = [
            f"| ``{name}``: {_kinds(kinds)}"
            for name, kinds in call["arguments"].items()
        ]
        lines += [
            f"   * - {title}",
            f"     - {(chr(10) + '       ').join(named) or 'none'}",
            f"     - {_kinds(call['results']) or 'not recorded'}",
        ]
    return "\n".join(lines) + "\n"


def keys_table() -> str:
    """Return the table of the keys of models and dicts."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: breakable",
        "   :widths: 20 45 35",
        "",
        "   * - model or dict",
        "     - always with a value",
        "     - sometimes without a value",
    ]
    for kind, keys in _calls()["keys"].items():
        title = f"dict ({kind})" if kind.islower() else f"model {kind}"
        lines += [
            f"   * - {title}",
            f"     - {', '.join(f'``{key}``' for key in keys['always'])}",
            f"     - {', '.join(f'``{key}``' for key in keys['sometimes'])}",
        ]
    return "\n".join(lines) + "\n"


def unrecorded_table() -> str:
    """Return the table of the parameters of the other driver methods."""
    from aspects.signatures import parameters_of

    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: breakable",
        "   :widths: 35 35 30",
        "",
        "   * - driver method",
        "     - arguments",
        "     - reason",
    ]
    for method, reason in _calls()["unrecorded"].items():
        names = ", ".join(f"``{name}``" for name in parameters_of(method))
        lines += [f"   * - {method}", f"     - {names}", f"     - {reason}"]
    return "\n".join(lines) + "\n"


def setup(app: object) -> None:
    for name, table in (
        ("arguments", arguments_table),
        ("keys", keys_table),
        ("unrecorded", unrecorded_table),
    ):
        (HERE / "user" / f"{name}.inc").write_text(table())
    for name in ("call", "rule", "violation"):
        (HERE / "reference" / f"event-{name}.inc").write_text(events_table(name))
    (HERE / "reference" / "event.inc").write_text(events_table(""))
    (HERE / "reference" / "outcomes.inc").write_text(outcomes_table())
    (HERE / "reference" / "operations.inc").write_text(operations_table())
    (HERE / "admin" / "requests.inc").write_text(requests_table())
    (HERE / "reference" / "releases.inc").write_text(releases_table())

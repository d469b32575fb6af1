# SPDX-License-Identifier: Apache-2.0
"""Configurations, and the lines that ``manila-aspects check`` has for each of them.

A case is a file of ``check_cases``: a ``manila.conf``, ``---``, and the problems and
warnings as the command prints them, in its order; nothing where all is well. What
differs from machine to machine is written as one of :func:`_here`.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from aspects.config.options import ENTRY_POINTS

from .common import SECRET, Check

CASES = Path(__file__).with_name("check_cases")


def _here() -> dict[str, str]:
    return {
        # Of all hooks that are installed, also of those that lack their library.
        "{installed}": ", ".join(sorted(entry_points(group=ENTRY_POINTS).names)),
        "{prefix}": sys.prefix,
        "{python}": f"Python {sys.version_info.major}.{sys.version_info.minor}",
        "{site}": f"{Path.cwd()}/site",
    }


def _counted(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count or 'no'} {noun}s"


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.iterdir()))
def test_case(run: Check, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the library of that hook were not installed.
    monkeypatch.setitem(sys.modules, "hooks.webhook", None)
    text = (CASES / f"{case}.txt").read_text("utf-8")
    configuration, _, expected = text.partition("---\n")
    for name, value in _here().items():
        expected = expected.replace(name, value)
    lines = expected.splitlines()
    problems = [line for line in lines if line.startswith("problem: ")]
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert lines == problems + warnings

    told = run(configuration)
    found = [f"problem: {each}" for each in told.problems]
    found += [f"warning: {each}" for each in told.warnings]
    assert found == lines
    assert (told.status, told.err) == (int(bool(problems)), "")
    counts = _counted(len(problems), "problem"), _counted(len(warnings), "warning")
    assert told.out.splitlines()[-1].startswith(f"{', '.join(counts)} in ")
    assert SECRET not in told.out

    # For a program, the same.
    data = json.loads(run(configuration, "--format", "json").out)
    parts = {"section", "option", "value", "cause", "advice", "file", "line"}
    for kind in ("problem", "warning"):
        expected_of_kind = [line for line in lines if line.startswith(f"{kind}: ")]
        for entry, line in zip(data[f"{kind}s"], expected_of_kind, strict=True):
            assert set(entry) == parts
            said = " ".join(f"{entry['cause']} {entry['advice']}".split())
            assert line.replace(": ", " ").count(said.replace(": ", " ")) == 1


def test_every_file_is_a_case() -> None:
    assert all(path.suffix == ".txt" for path in CASES.iterdir())

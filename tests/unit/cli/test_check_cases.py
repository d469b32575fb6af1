# SPDX-License-Identifier: Apache-2.0
"""Test the diagnostics of ``manila-aspects check``, with one file for each case.

A file in ``check_cases`` has a ``manila.conf``, a line ``---``, and the problems and
warnings that the command prints, in order. A valid configuration has none. Text that
depends on the machine is written as a placeholder: see :func:`_placeholders`.
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


def _placeholders() -> dict[str, str]:
    """Return the value of each placeholder on this machine."""
    return {
        # Includes the hooks whose libraries are missing.
        "{installed}": ", ".join(sorted(entry_points(group=ENTRY_POINTS).names)),
        "{prefix}": sys.prefix,
        "{python}": f"Python {sys.version_info.major}.{sys.version_info.minor}",
        "{site}": f"{Path.cwd()}/site",
    }


def _counted(count: int, noun: str) -> str:
    """Return a number and a noun, in the plural if necessary."""
    if count == 1:
        return f"1 {noun}"
    return f"{count or 'no'} {noun}s"


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.iterdir()))
def test_check_prints_the_diagnostics_of_the_case(
    run: Check, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Simulates that the library of this hook is not installed.
    monkeypatch.setitem(sys.modules, "hooks.webhook", None)
    text = (CASES / f"{case}.txt").read_text("utf-8")
    configuration, _, expected = text.partition("---\n")
    for name, value in _placeholders().items():
        expected = expected.replace(name, value)
    lines = expected.splitlines()
    problems = [line for line in lines if line.startswith("problem: ")]
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert lines == problems + warnings

    result = run(configuration)
    printed = [f"problem: {text}" for text in result.problems]
    printed += [f"warning: {text}" for text in result.warnings]
    assert printed == lines
    assert (result.status, result.err) == (int(bool(problems)), "")
    counts = _counted(len(problems), "problem"), _counted(len(warnings), "warning")
    assert result.out.splitlines()[0].startswith(f"{', '.join(counts)} in ")
    assert SECRET not in result.out

    # The JSON document has the same diagnostics.
    data = json.loads(run(configuration, "--format", "json").out)
    parts = {"section", "option", "value", "cause", "advice", "file", "line"}
    for kind in ("problem", "warning"):
        expected_of_kind = [line for line in lines if line.startswith(f"{kind}: ")]
        for entry, line in zip(data[f"{kind}s"], expected_of_kind, strict=True):
            assert set(entry) == parts
            texts = [entry["cause"], entry["advice"]]
            message = "; ".join(" ".join(text.split()) for text in texts if text)
            assert line.count(message) == 1


def test_the_directory_has_only_cases() -> None:
    assert all(path.suffix == ".txt" for path in CASES.iterdir())

# SPDX-License-Identifier: Apache-2.0
"""Define the diagnostics of ``check``, and select the root causes.

A key identifies an option, a value or a backend. A diagnostic that depends on a key is
not reported if another diagnostic invalidates that key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from oslo_config import cfg

from aspects.cli.check import suggestions
from aspects.cli.check.facts import BackendFacts, known_options, manila_options
from aspects.cli.check.files import Index, Line, backend_of, normalized
from aspects.cli.values import redacted
from aspects.config.problems import Problem

#: An option, a value or a backend that a diagnostic invalidates or depends on.
Key = tuple[str, ...]


def key_of_option(section: str, option: str) -> Key:
    """Return the key of an option of a backend, independent of where it is set.

    :param section: the section of the backend or of one of its hook instances
    :param option: the option's name
    """
    return ("option", backend_of(normalized(section)), option)


def key_of_value(section: str, option: str) -> Key:
    """Return the key of an option's value in one section.

    :param section: the section
    :param option: the option's name
    """
    return ("value", normalized(section), option)


def key_of_backend(name: str) -> Key:
    """Return the key of a backend.

    :param name: the backend's name
    """
    return ("backend", normalized(name))


class Diagnostic(NamedTuple):
    """A problem or a warning."""

    section: str
    option: str
    value: str
    cause: str
    advice: str = ""
    """the correction, or a suggestion; empty if there is none"""
    warning: bool = False
    """whether the setting may be intended"""
    file: str = ""
    line: int = 0
    invalidates: tuple[Key, ...] = ()
    """the keys that are missing or wrong because of this error"""
    depends_on: tuple[Key, ...] = ()
    """the keys that must be valid for this diagnostic to be meaningful"""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        subject = f"[{self.section}]" if self.section else place
        subject += f" {self.option}" if self.option else ""
        subject += f" = {self.value}" if self.value else ""
        text = f"{subject}: {self.cause}" if subject else self.cause
        text += f"; {self.advice}" if self.advice else ""
        if place and self.section:
            text += f" ({place})"
        return f"{'warning' if self.warning else 'problem'}: {' '.join(text.split())}"


# -- construct -----------------------------------------------------------------


def of_line(
    line: Line, cause: str, advice: str, option: cfg.Opt | None = None
) -> Diagnostic:
    """Return the diagnostic of a line.

    The value of an unknown option is left out, since it may be a secret.

    :param line: the line
    :param cause: the error
    :param advice: the correction, or a suggestion
    :param option: the option that the line sets, or was probably meant to set; None
        if it is unknown
    """
    value = redacted(option, line.value) if option else ""
    return Diagnostic(
        line.section, line.option, value, cause, advice, False, line.file, line.number
    )


def of_problem(
    problem: Problem, backend: BackendFacts | None = None, index: Index | None = None
) -> Diagnostic:
    """Return the diagnostic of a problem that manila-share also reports.

    :param problem: the problem
    :param backend: the backend of the problem; None for Manila's own options
    :param index: the effective lines, which may have an option that a hook rejects
    """
    name, value, cause = problem.option, problem.value, problem.cause
    option = known_options([backend] if backend else []).get(name)
    option = option or {known.name: known for known in manila_options}.get(name)
    if name == "hook_drivers" and backend:
        if rejected := _of_rejected_option(problem, backend, index or {}):
            return rejected
        advice = suggestions.for_entry(value) or problem.advice
    else:
        advice = problem.advice or suggestions.for_value(option, value, cause)
    if option is not None and (text := redacted(option, value)) != value:
        value, cause = text, cause.replace(value, text)
    return Diagnostic(
        *(problem.section, name, value, cause, advice),
        invalidates=(_key_of_typed(problem.section, name),),
        depends_on=(key_of_value(problem.section, name),),
    )


def _key_of_typed(section: str, option: str) -> Key:
    """Return the key of a value of an option that its type accepts."""
    return ("typed", normalized(section), option)


def _of_rejected_option(
    problem: Problem, backend: BackendFacts, index: Index
) -> Diagnostic | None:
    """Return the diagnostic of an option that a hook's constructor rejects.

    The text of the error begins with the option's name, or quotes its value.
    """
    match = re.match(r"failed to construct the hook: \w+: (\w*)", problem.cause)
    if match is None:
        return None
    name, _, what = (part.strip() for part in problem.value.rpartition("="))
    name = name or what.rpartition(":")[2].rpartition(".")[2]
    sections = (f"{backend.section}:{name}", backend.section, "DEFAULT")
    for dest, option in backend.instances.get(name, {}).items():
        lines = [index.get((normalized(section), dest)) for section in sections]
        line = next(filter(None, lines), None)
        if line and (match[1] == dest or f"'{line.value}'" in problem.cause):
            return of_line(line, problem.cause, "", option)._replace(
                depends_on=(
                    key_of_value(line.section, dest),
                    _key_of_typed(line.section, dest),
                )
            )
        if match[1] == dest:
            return Diagnostic(
                *problem[:4],
                f"set {dest} in [{backend.section}:{name}] or [{backend.section}]",
                depends_on=tuple(key_of_option(section, dest) for section in sections),
            )
    return None


def located(diagnostic: Diagnostic, index: Index) -> Diagnostic:
    """Add the file and line of the option to a diagnostic.

    :param diagnostic: the diagnostic
    :param index: the effective lines
    """
    line = index.get((normalized(diagnostic.section), diagnostic.option))
    if diagnostic.file or line is None:
        return diagnostic
    return diagnostic._replace(file=line.file, line=line.number)


# -- select --------------------------------------------------------------------


def root_causes(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics that do not follow from others.

    :param diagnostics: all diagnostics
    """
    invalid = {key for diagnostic in diagnostics for key in diagnostic.invalidates}
    return [
        diagnostic
        for diagnostic in diagnostics
        if not invalid.intersection(diagnostic.depends_on)
    ]


def concerns(diagnostic: Diagnostic, backend: str) -> bool:
    """Return whether a diagnostic concerns a backend, or all backends.

    :param diagnostic: the diagnostic
    :param backend: the backend's name
    """
    return (
        backend_of(normalized(diagnostic.section)) in (normalized(backend), "DEFAULT")
        or key_of_backend(backend) in diagnostic.invalidates
    )


def problems_first(
    diagnostics: Iterable[Diagnostic], backends: Collection[str]
) -> list[Diagnostic]:
    """Return the problems, then the warnings, without repetitions.

    A backend's problems suppress its warnings, which may follow from them. A problem
    that belongs to no backend suppresses all warnings.

    :param diagnostics: the diagnostics
    :param backends: the sections of the enabled backends
    """
    problems: list[Diagnostic] = []
    warnings: list[Diagnostic] = []
    for diagnostic in diagnostics:
        (warnings if diagnostic.warning else problems).append(diagnostic)
    with_problems = {backend_of(normalized(problem.section)) for problem in problems}
    if with_problems - {normalized(backend) for backend in backends}:
        warnings = []
    warnings = [
        warning
        for warning in warnings
        if backend_of(normalized(warning.section)) not in with_problems
    ]
    return list({str(found): found for found in problems + warnings}.values())

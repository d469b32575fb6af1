# SPDX-License-Identifier: Apache-2.0
"""Define the rules of ``check``.

A rule is a function that yields diagnostics. It is listed in :data:`RULES`, or in
:data:`BACKEND_RULES` if it examines a single backend.

oslo.config ignores options that it does not know. Without these rules, an option that
is misspelled or in the wrong section would silently have no effect.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from oslo_config import cfg

from aspects.cli.check.diagnostics import (
    Diagnostic,
    Key,
    key_of_backend,
    key_of_option,
    key_of_value,
    of_line,
    of_problem,
)
from aspects.cli.check.facts import (
    BACKEND_ONLY,
    COMMON,
    DEFAULT_ONLY,
    BackendFacts,
    Facts,
    is_set,
    known_options,
)
from aspects.cli.check.files import Line, backend_of, normalized
from aspects.cli.check.suggestions import SURE, for_instance, nearest_option
from aspects.config.loading import driver_at
from aspects.config.options import SWITCHES
from aspects.config.problems import Problem, nearest, suggest
from aspects.errors import UnresolvedNameError

MANAGER = "aspects.manila.ShareManager"

_ENABLED = key_of_option("DEFAULT", "enabled_share_backends")


def diagnose(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the diagnostics of all rules.

    :param facts: the facts about the configuration
    """
    for rule in RULES:
        yield from rule(facts)


def values_of_manila(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the invalid values of Manila's options."""
    for problem in facts.manila.problems():
        invalidates = (key_of_option("DEFAULT", problem.option),)
        yield of_problem(problem)._replace(invalidates=invalidates)


# -- rules of one backend ------------------------------------------------------


def each_backend(facts: Facts) -> Iterator[Diagnostic]:
    """Apply the backend rules to each backend."""
    for backend in facts.backends:
        for rule in BACKEND_RULES:
            yield from rule(backend, facts)


def driver(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the errors of a driver, and warn about the use of Manila's default."""
    option = "share_driver"
    path, error = backend.driver.path, backend.driver.error
    yield from map(of_problem, backend.driver.problems)
    if not backend.driver.is_set:
        cause = f"not set, so Manila uses its default, {path}"
        yield Diagnostic(backend.section, option, "", cause, warning=True)
    if error:
        yield Diagnostic(backend.section, option, path, error.cause, error.advice)


def hooks(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the errors that manila-share also reports."""
    for problem in backend.plan.problems:
        yield of_problem(problem, backend, facts.index)


def names_of_instances(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the entries whose instance names are invalid."""
    reported = {problem.value for problem in backend.plan.problems}
    for entry in backend.plan.own.safe_get("hook_drivers"):
        name = entry.rpartition("=")[0].strip()
        if entry not in reported and not re.fullmatch(r"[\w.-]*", name):
            cause = f"invalid instance name {name!r}"
            problem = Problem(backend.section, "hook_drivers", entry, cause)
            yield of_problem(problem, backend, facts.index)


def idle_hooks(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about hook instances and operation patterns without effect."""
    switches = [option for option in SWITCHES.values() if option.startswith("enable_")]
    implemented = [
        name for name in backend.woven if name not in backend.missing_operations
    ]
    for section in backend.plan.sections:
        if not any(section.safe_get(option) for option in switches):
            cause = f"the hook has no effect, since {', '.join(switches)} are False"
            advice = f"set {switches[1]} = True"
            yield Diagnostic(str(section.groups[0]), "", "", cause, advice, True)
        option = "hook_operations"
        for pattern in section.safe_get(option) if implemented else ():
            if not pattern.startswith("!") and not fnmatch.filter(implemented, pattern):
                cause = "matches no operation that the driver implements"
                where = section.where(option)
                yield Diagnostic(where, option, pattern, cause, "", True)


def switches_without_hooks(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about the first switch of a backend without hooks."""
    if backend.instances:
        return
    for option in SWITCHES.values():
        if line := facts.index.get((normalized(backend.section), option)):
            cause = "the backend has no hooks"
            advice = "list them in hook_drivers"
            yield Diagnostic(backend.section, option, line.value, cause, advice, True)
            break


#: The rules that examine a single backend, in the order of their diagnostics.
BACKEND_RULES: tuple[Callable[[BackendFacts, Facts], Iterator[Diagnostic]], ...] = (
    driver,
    hooks,
    names_of_instances,
    idle_hooks,
    switches_without_hooks,
)


# -- rules of [DEFAULT] --------------------------------------------------------


def enabled_backends(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the errors in the names of the enabled backends."""
    headers = _headers(facts.index.values())
    option = "enabled_share_backends"
    for name in dict.fromkeys(facts.enabled):
        key = normalized(name)
        if key in headers:
            if facts.enabled.count(name) > 1:
                cause, advice = "listed more than once", "remove the duplicate"
                yield Diagnostic("DEFAULT", option, name, cause, advice)
            continue
        near = nearest(key, [section for section in headers if ":" not in section])
        names = [key, *re.split(r"[\s;]+", key), *([near] if near else [])]
        if near and (near.strip() == key or _has_instances(key, headers)):
            cause = f"section is never read, and [{name}] is missing"
            diagnostic = Diagnostic(
                headers[near].section, "", "", cause, f"did you mean [{name}]?"
            )
        else:
            cause = f"no section [{name}]"
            advice = suggest(name, [near] if near else [])
            advice = advice or f"add [{name}] with a share_driver"
            diagnostic = Diagnostic("DEFAULT", option, name, cause, advice)
        yield diagnostic._replace(
            invalidates=tuple(map(key_of_backend, names)), depends_on=(_ENABLED,)
        )


def _has_instances(backend: str, sections: Iterable[str]) -> bool:
    return any(section.startswith(f"{backend}:") for section in sections)


def share_manager(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the error of a share manager that does not weave the hooks."""
    option = "share_manager"
    path = facts.manila.safe_get(option)
    sections = [
        f"[{backend.section}]" for backend in facts.backends if backend.instances
    ]
    if not sections or path == MANAGER:
        return
    names = ", ".join(sections)
    cause = f"does not weave the hooks of {names}"
    try:
        # A share manager may be a subclass of this project's.
        if any(map(_is_share_manager, driver_at(path).__mro__)):
            return
    except UnresolvedNameError as error:
        cause = error.cause
    if not is_set(facts.manila.conf, option):
        path = ""
        cause = (
            f"not set, so Manila's own share manager would load the hooks of {names} "
            "without weaving the driver"
        )
    yield Diagnostic(
        *("DEFAULT", option, path, cause, f"set {option} = {MANAGER}"),
        depends_on=(key_of_option("DEFAULT", option),),
    )


def _is_share_manager(cls: type) -> bool:
    """Return whether a class is :data:`MANAGER`, from any module of its package."""
    package, _, name = MANAGER.rpartition(".")
    return cls.__name__ == name and f"{cls.__module__}.".startswith(f"{package}.")


def interval_of_ticks(facts: Facts) -> Iterator[Diagnostic]:
    """Warn about an interval that disables ticks, or that oslo.service replaces."""
    option = "periodic_hooks_interval"
    seconds = facts.manila.safe_get(option)
    periodic = any(
        section.safe_get("enable_periodic_hooks")
        for backend in facts.backends
        for section in backend.plan.sections
    )
    if periodic and seconds <= 0:
        cause = "disables ticks" if seconds < 0 else "treated as 60 seconds"
        advice = "set the number of seconds between ticks"
        yield Diagnostic("DEFAULT", option, f"{seconds:g}", cause, advice, True)


# -- rules of sections and lines -----------------------------------------------


def unread_sections(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the sections that were meant for backends or hooks, but are never read."""
    enabled = {normalized(backend.section): backend for backend in facts.backends}
    instances = {
        section: name
        for backend in facts.backends
        for section, name in backend.instance_sections.items()
    }
    read = {"DEFAULT", *enabled, *instances}
    headers = _headers(line for line in facts.lines if not line.within)
    present = {(line.key, line.option) for line in facts.lines}
    for section, header in headers.items():
        if section in read:
            continue
        cause, advice = "section is never read", ""
        backend, colon, instance = section.partition(":")
        own = header.section.partition(":")[2]
        depends_on = [key_of_backend(backend)]
        invalidates: list[Key] = []
        tidy = re.sub(r"\s*:\s*", ":", section.strip(" []"))
        if tidy == "default":
            advice = "did you mean [DEFAULT]?"
            invalidates = [key_of_option("DEFAULT", option) for option in DEFAULT_ONLY]
        elif tidy != section and tidy in read:
            advice = f"did you mean [{tidy}]?"
        elif backend in enabled and colon:
            known = enabled[backend]
            cause = f"no hook instance {own!r} in hook_drivers of [{backend}]"
            advice = for_instance(
                own, known.section, known.instances, known.default_names
            )
            depends_on.append(key_of_option(backend, "hook_drivers"))
        elif colon and f"{instance}:{backend}" in instances:
            cause = f"unknown backend {backend!r}"
            advice = f"did you mean [{instance}:{backend}]?"
        elif colon and (backend, "hook_drivers") in present:
            # The diagnostic of the backend section covers it.
            continue
        elif colon and backend in headers:
            cause = f"backend {backend!r} is not enabled"
            advice = f"add {backend} to enabled_share_backends"
            depends_on.append(_ENABLED)
        elif colon and (near := nearest(backend, enabled)):
            cause = f"unknown backend {backend!r}"
            advice = f"did you mean [{near}:{instance}]?"
        elif colon:
            cause = f"unknown backend {backend!r}"
            advice = _section_of(instance, instances)
            depends_on += [_ENABLED, key_of_backend(instance)]
        elif (section, "hook_drivers") in present:
            cause = "has hooks, but is not an enabled backend"
            advice = f"add {section} to enabled_share_backends"
            depends_on.append(_ENABLED)
        elif (section, "share_driver") in present:
            continue
        elif near := nearest(section, instances, SURE):
            advice = f"did you mean [{near}]?"
        else:
            advice = _section_of(section, instances)
            if not advice:
                # The section has nothing to do with hooks.
                continue
        yield of_line(header, cause, advice)._replace(
            invalidates=tuple(invalidates), depends_on=tuple(depends_on)
        )


def _headers(lines: Iterable[Line]) -> dict[str, Line]:
    """Return the lines that begin sections, by section."""
    return {line.key: line for line in lines if not line.option}


def _section_of(name: str, instances: Mapping[str, str]) -> str:
    """Suggest the section of the first instance with a name; empty if none has it."""
    sections = [section for section, instance in instances.items() if instance == name]
    return f"did you mean [{sections[0]}]?" if sections else ""


def indented_lines(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the indented options and sections, which continue the value above them."""
    read = {"DEFAULT", *(normalized(backend.section) for backend in facts.backends)}
    options = known_options(facts.backends)
    for line in facts.lines:
        known = backend_of(line.key) in read and line.option in options
        if line.within and (known or not line.option):
            cause = "indented, so it is part of the value above it"
            advice = "remove the indentation"
            diagnostic = of_line(line, cause, advice, options.get(line.option))
            lost = key_of_option(line.section, line.option)
            yield diagnostic._replace(invalidates=(key_of_value(*line.within), lost))


def unread_options(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the options that are misspelled, or in a section where they are not read.

    Unknown options of ``[DEFAULT]`` and of a backend section may belong to Manila or a
    driver. In an instance section, every unknown option is an error.
    """
    backends = {normalized(backend.section): backend for backend in facts.backends}
    options = known_options(facts.backends)
    for line in facts.lines:
        backend = backends.get(backend_of(line.key))
        if not line.option or (backend is None and line.key != "DEFAULT"):
            continue
        if line.within:
            # The rule `indented_lines` reports it.
            continue
        if right := _right_section(line, [*backends]):
            where = "[DEFAULT]" if right == "DEFAULT" else "a backend section"
            cause = f"only read in {where}"
            yield of_line(line, cause, f"move it to [{right}]", options[line.option])
        elif backend is not None and ":" in line.section:
            yield from _unread_in_instance(line, backend)
        elif line.option not in options:
            for diagnostic in _misspelled(line, options, SURE):
                if line.option not in facts.manila_option_names():
                    yield diagnostic


def _right_section(line: Line, backends: Sequence[str]) -> str:
    """Return the section that an option should be in; empty if it is read as it is."""
    if line.option in DEFAULT_ONLY and line.key != "DEFAULT":
        return "DEFAULT"
    # Without backends, the error is in enabled_share_backends.
    if line.option in BACKEND_ONLY and backends and line.key not in backends:
        own = backend_of(line.key)
        return own if own in backends else backends[0]
    return ""


def _unread_in_instance(line: Line, backend: BackendFacts) -> Iterator[Diagnostic]:
    """Yield the diagnostic of an unknown option in an instance section."""
    name = backend.instance_sections.get(line.key)
    if name is None or line.option in backend.instances[name]:
        return
    options = backend.instances[name]
    misspelled = list(_misspelled(line, options, 0.6))
    yield from misspelled
    if not misspelled and name not in backend.incomplete:
        own = ", ".join(option for option in options if option not in COMMON)
        advice = f"its options are {own}" if own else "it has no options of its own"
        yield of_line(line, f"unknown option of hook {name!r}", advice)


def _misspelled(
    line: Line, options: Mapping[str, cfg.Opt], cutoff: float
) -> Iterator[Diagnostic]:
    """Yield the diagnostic of an unknown option, if it is close to a known one."""
    first = line.option.partition(" ")[0]
    if first != line.option and first in options:
        # The rest of the line may be a secret.
        line = line._replace(option=first, value="")
        near, cause, advice = first, "missing =", f"write {first} = ..."
    else:
        near = nearest_option(line.option, options, cutoff)
        cause, advice = "unknown option", f"did you mean {near}?"
    if near:
        invalidates = (key_of_option(line.section, near),)
        diagnostic = of_line(line, cause, advice, options[near])
        yield diagnostic._replace(invalidates=invalidates)


def duplicates(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the options and sections that occur more than once in a file."""
    sections = {"DEFAULT"}
    for backend in facts.backends:
        sections.update((normalized(backend.section), *backend.instance_sections))
    options = {"", *known_options(facts.backends)}
    first: dict[tuple[str, str, str], int] = {}
    for line in facts.lines:
        file, number, section, option, _, within = line
        if line.key not in sections or option not in options or within:
            continue
        before = first.setdefault((file, line.key, option), number)
        if before != number:
            cause = f"duplicate of line {before}"
            advice = "the last value wins" if option else "merge the two sections"
            yield Diagnostic(section, option, "", cause, advice, False, file, number)


#: All rules, in the order of their diagnostics.
RULES: tuple[Callable[[Facts], Iterator[Diagnostic]], ...] = (
    values_of_manila,
    each_backend,
    enabled_backends,
    share_manager,
    interval_of_ticks,
    unread_sections,
    indented_lines,
    unread_options,
    duplicates,
)

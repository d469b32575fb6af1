# SPDX-License-Identifier: Apache-2.0
"""The rules of ``check``: one function each, which yields diagnostics.

oslo.config reads the options that it knows and ignores the others: a misspelled
option, or one in the wrong section, just has no effect. A new rule is one more
function in :data:`RULES`, or in :data:`BACKEND_RULES` if it examines one backend.
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
    """Yield the errors in the values of Manila's options."""
    for problem in facts.manila.problems():
        invalidates = (key_of_option("DEFAULT", problem.option),)
        yield of_problem(problem)._replace(invalidates=invalidates)


# -- rules of one backend ------------------------------------------------------


def each_backend(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the diagnostics of all rules of one backend, backend by backend."""
    for backend in facts.backends:
        for rule in BACKEND_RULES:
            yield from rule(backend, facts)


def driver(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the error of a driver, and warn if Manila's default is used."""
    option = "share_driver"
    path, error = backend.driver.path, backend.driver.error
    yield from map(of_problem, backend.driver.problems)
    if not backend.driver.is_set:
        cause = f"it is not set, so Manila takes {path}"
        yield Diagnostic(backend.section, option, "", cause, warning=True)
    if error:
        yield Diagnostic(backend.section, option, path, error.cause, error.advice)


def hooks(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the errors that start-up reports as well."""
    for problem in backend.plan.problems:
        yield of_problem(problem, backend, facts.index)


def names_of_instances(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the entries whose instances have names that cannot be intended."""
    wrong = {problem.value for problem in backend.plan.problems}
    for entry in backend.plan.own.safe_get("hook_drivers"):
        name = entry.rpartition("=")[0].strip()
        if entry not in wrong and not re.fullmatch(r"[\w.-]*", name):
            cause = f"the instance would be called {name!r}"
            problem = Problem(backend.section, "hook_drivers", entry, cause)
            yield of_problem(problem, backend, facts.index)


def idle_hooks(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about hook instances, and patterns of theirs, that have no effect."""
    switches = [option for option in SWITCHES.values() if option.startswith("enable_")]
    implemented = [
        name for name in backend.woven if name not in backend.missing_operations
    ]
    for section in backend.plan.sections:
        if not any(section.safe_get(option) for option in switches):
            cause = f"the hook does nothing: {', '.join(switches)} are off"
            advice = f"write {switches[1]} = True"
            yield Diagnostic(str(section.groups[0]), "", "", cause, advice, True)
        option = "hook_operations"
        for pattern in section.safe_get(option) if implemented else ():
            if not pattern.startswith("!") and not fnmatch.filter(implemented, pattern):
                cause = "the driver lacks what it matches"
                where = section.where(option)
                yield Diagnostic(where, option, pattern, cause, "", True)


def switches_without_hooks(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about the first switch of a backend that has no hooks."""
    if backend.instances:
        return
    for option in SWITCHES.values():
        if line := facts.index.get((normalized(backend.section), option)):
            cause = "the backend has no hooks"
            advice = "name them in hook_drivers"
            yield Diagnostic(backend.section, option, line.value, cause, advice, True)
            break


#: The rules that examine one enabled backend.
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
    heads = _heads(facts.index.values())
    option = "enabled_share_backends"
    for name in dict.fromkeys(facts.enabled):
        key = normalized(name)
        if key in heads:
            if facts.enabled.count(name) > 1:
                cause, advice = "it is there twice", "write it once"
                yield Diagnostic("DEFAULT", option, name, cause, advice)
            continue
        near = nearest(key, [section for section in heads if ":" not in section])
        names = [key, *re.split(r"[\s;]+", key), *([near] if near else [])]
        if near and (near.strip() == key or _has_instances(key, heads)):
            cause = f"nobody reads this section, and there is no [{name}]"
            diagnostic = Diagnostic(
                heads[near].section, "", "", cause, f"write [{name}]"
            )
        else:
            cause = f"there is no section [{name}]"
            advice = suggest(name, [near] if near else [])
            advice = advice or f"write [{name}], with a share_driver"
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
    cause = f"it does not weave the hooks of {names}"
    try:
        # An operator's own share manager may inherit it.
        if any(map(_is_share_manager, driver_at(path).__mro__)):
            return
    except UnresolvedNameError as error:
        cause = error.cause
    if not is_set(facts.manila.conf, option):
        path = ""
        cause = (
            f"it is not set, and Manila's own would load the hooks of {names} itself "
            "and weave none"
        )
    yield Diagnostic(
        *("DEFAULT", option, path, cause, f"write {option} = {MANAGER}"),
        depends_on=(key_of_option("DEFAULT", option),),
    )


def _is_share_manager(cls: type) -> bool:
    """Return whether a class is :data:`MANAGER`, in whichever module of its package."""
    package, _, name = MANAGER.rpartition(".")
    return cls.__name__ == name and f"{cls.__module__}.".startswith(f"{package}.")


def interval_of_ticks(facts: Facts) -> Iterator[Diagnostic]:
    """Warn about an interval without ticks, or that oslo.service replaces."""
    option = "periodic_hooks_interval"
    seconds = facts.manila.safe_get(option)
    periodic = any(
        section.safe_get("enable_periodic_hooks")
        for backend in facts.backends
        for section in backend.plan.sections
    )
    if periodic and seconds <= 0:
        cause = "there are no ticks" if seconds < 0 else "it is taken for 60 seconds"
        advice = "write the seconds between ticks"
        yield Diagnostic("DEFAULT", option, f"{seconds:g}", cause, advice, True)


# -- rules of sections and lines -----------------------------------------------


def unread_sections(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the sections that were meant for backends or hooks, but are not read."""
    enabled = {normalized(backend.section): backend for backend in facts.backends}
    instances = {
        section: name
        for backend in facts.backends
        for section, name in backend.instance_sections.items()
    }
    read = {"DEFAULT", *enabled, *instances}
    heads = _heads(line for line in facts.lines if not line.within)
    present = {(line.key, line.option) for line in facts.lines}
    for section, head in heads.items():
        if section in read:
            continue
        cause, advice = "nobody reads this section", ""
        backend, colon, instance = section.partition(":")
        own = head.section.partition(":")[2]
        depends_on = [key_of_backend(backend)]
        invalidates: list[Key] = []
        tidy = re.sub(r"\s*:\s*", ":", section.strip(" []"))
        if tidy == "default":
            advice = "write [DEFAULT]"
            invalidates = [key_of_option("DEFAULT", option) for option in DEFAULT_ONLY]
        elif tidy != section and tidy in read:
            advice = f"write [{tidy}]"
        elif backend in enabled and colon:
            of = enabled[backend]
            cause = f"hook_drivers of [{backend}] names no instance {own!r}"
            advice = for_instance(own, of.section, of.instances, of.default_names)
            depends_on.append(key_of_option(backend, "hook_drivers"))
        elif colon and f"{instance}:{backend}" in instances:
            cause = f"there is no backend {backend!r}"
            advice = f"write [{instance}:{backend}]"
        elif colon and (backend, "hook_drivers") in present:
            # The section of the backend itself is reported.
            continue
        elif colon and backend in heads:
            cause = f"the backend {backend!r} is not enabled"
            advice = f"add {backend} to enabled_share_backends"
            depends_on.append(_ENABLED)
        elif colon and (near := nearest(backend, enabled)):
            cause = f"there is no backend {backend!r}"
            advice = f"write [{near}:{instance}]"
        elif colon:
            cause = f"there is no backend {backend!r}"
            advice = _section_of(instance, instances)
            depends_on += [_ENABLED, key_of_backend(instance)]
        elif (section, "hook_drivers") in present:
            cause = "it has hooks, and is no enabled backend"
            advice = f"add {section} to enabled_share_backends"
            depends_on.append(_ENABLED)
        elif (section, "share_driver") in present:
            continue
        elif near := nearest(section, instances, SURE):
            advice = f"write [{near}]"
        else:
            advice = _section_of(section, instances)
            if not advice:
                # It has nothing to do with hooks.
                continue
        yield of_line(head, cause, advice)._replace(
            invalidates=tuple(invalidates), depends_on=tuple(depends_on)
        )


def _heads(lines: Iterable[Line]) -> dict[str, Line]:
    """Return the lines that begin sections, by section."""
    return {line.key: line for line in lines if not line.option}


def _section_of(name: str, instances: Mapping[str, str]) -> str:
    """Suggest the section of the first instance of a name; empty without one."""
    sections = [section for section, instance in instances.items() if instance == name]
    return f"write [{sections[0]}]" if sections else ""


def indented_lines(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the options and sections that continue the value before them."""
    read = {"DEFAULT", *(normalized(backend.section) for backend in facts.backends)}
    options = known_options(facts.backends)
    for line in facts.lines:
        known = backend_of(line.key) in read and line.option in options
        if line.within and (known or not line.option):
            cause = "it is indented, so it is a part of the option before it"
            advice = "write it at the beginning of the line"
            diagnostic = of_line(line, cause, advice, options.get(line.option))
            yield diagnostic._replace(invalidates=(key_of_value(*line.within),))


def unread_options(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the options that are misspelled, or in a section where they are not read.

    Other options of ``[DEFAULT]`` and of a backend are Manila's or its drivers'. The
    section of a hook instance has no other options.
    """
    backends = {normalized(backend.section): backend for backend in facts.backends}
    options = known_options(facts.backends)
    for line in facts.lines:
        backend = backends.get(backend_of(line.key))
        if not line.option or (backend is None and line.key != "DEFAULT"):
            continue
        if line.within:
            # The rule of indented lines reports it.
            continue
        if right := _right_section(line, [*backends]):
            where = "[DEFAULT]" if right == "DEFAULT" else "the section of a backend"
            cause = f"it is read in {where} alone"
            yield of_line(line, cause, f"write it in [{right}]", options[line.option])
        elif backend is not None and ":" in line.section:
            yield from _unread_in_instance(line, backend)
        elif line.option not in options:
            for diagnostic in _misspelled(line, options, SURE):
                if line.option not in facts.manila_option_names():
                    yield diagnostic


def _right_section(line: Line, backends: Sequence[str]) -> str:
    """Return the section for an option that is not read where it is; empty if it is."""
    if line.option in DEFAULT_ONLY and line.key != "DEFAULT":
        return "DEFAULT"
    # Without any backend, the error is in enabled_share_backends.
    if line.option in BACKEND_ONLY and backends and line.key not in backends:
        own = backend_of(line.key)
        return own if own in backends else backends[0]
    return ""


def _unread_in_instance(line: Line, backend: BackendFacts) -> Iterator[Diagnostic]:
    """Yield the diagnostic of an option in the section of a hook instance."""
    name = backend.instance_sections.get(line.key)
    if name is None or line.option in backend.instances[name]:
        return
    options = backend.instances[name]
    misspelled = list(_misspelled(line, options, 0.6))
    yield from misspelled
    if not misspelled and name not in backend.incomplete:
        own = ", ".join(option for option in options if option not in COMMON)
        advice = f"its own are {own}" if own else "it has none of its own"
        yield of_line(line, f"the hook {name!r} has no such option", advice)


def _misspelled(
    line: Line, options: Mapping[str, cfg.Opt], cutoff: float
) -> Iterator[Diagnostic]:
    """Yield the diagnostic of an unknown option, if it is close to a known one."""
    first = line.option.partition(" ")[0]
    if first != line.option and first in options:
        # The rest of the line may be a secret.
        line = line._replace(option=first, value="")
        near, cause, advice = first, "there is no = after it", f"write {first} = ..."
    else:
        near = nearest_option(line.option, options, cutoff)
        cause, advice = "there is no such option", f"write {near}"
    if near:
        invalidates = (key_of_option(line.section, near),)
        diagnostic = of_line(line, cause, advice, options[near])
        yield diagnostic._replace(invalidates=invalidates)


def duplicates(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the options and sections that one file has twice."""
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
            cause = f"it stands at line {before} already"
            cause += ", and the last one counts" if option else ""
            advice = "write it once"
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

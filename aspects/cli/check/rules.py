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
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from oslo_config import cfg, types

from aspects.cli.check import manila_source
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
from aspects.cli.check.parsing import of_invalid_value
from aspects.cli.check.suggestions import (
    SURE,
    for_instance,
    for_value,
    nearest_option,
)
from aspects.cli.values import redacted
from aspects.config.loading import driver_at
from aspects.config.options import SWITCHES
from aspects.config.problems import Problem, nearest, suggest
from aspects.config.sections import InstanceSection
from aspects.errors import UnresolvedNameError
from aspects.hook import HookBase
from aspects.operations import METHODS, matches
from aspects.requests import API, SECTION

MANAGER = "aspects.manila.ShareManager"

#: The share API that runs hooks.
SHARE_API = "aspects.manila.ShareAPI"

_ENABLED = key_of_option("DEFAULT", "enabled_share_backends")

#: Addresses of all interfaces, on which a port is in use for each other address too.
_ALL_INTERFACES = ("0.0.0.0", "::")


#: The operations that Manila passes only the IDs of share types to.
_ACCESS = ("allow_access", "deny_access", "update_access")

#: The options with share types -> what happens if all of them are names.
_SHARE_TYPES = {
    "guard_allowed_share_types": "they are always denied",
    "guard_denied_share_types": "they are never denied",
}

_ID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.I)

#: A word of a command that a shell would interpret.
_SHELL = re.compile(r"\d?[|&;<>]+(&?\d)?|\d?[<>]{1,2}/\S+")

#: The ends of the names of options that are paths.
_PATHS = ("_path", "_file", "_dir", "_directory", "_root")

#: A quote at the beginning or the end of a value.
_QUOTES = re.compile(r"^['\"]|['\"]$")


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
    yield from _quoted(facts.manila, facts)
    sections = {"DEFAULT", *(normalized(backend.section) for backend in facts.backends)}
    known = known_options(facts.backends)
    for line in facts.index.values():
        if line.key in sections and line.option and line.option not in known:
            yield from _invalid_value(line, manila_source.options_named(line.option))


def _invalid_value(line: Line, options: Sequence[cfg.Opt]) -> Iterator[Diagnostic]:
    """Yield the diagnostic of a value that all options of its name reject."""
    # oslo.config removes quotes around a value, and resolves references.
    value = re.sub(r"^(['\"])(.*)\1$", r"\2", line.value)
    if "$" in value:
        return
    cause = ""
    for option in options:
        try:
            option.type(value)
            return
        except ValueError as error:
            cause = str(error)
    if cause:
        advice = for_value(option, value, cause)
        yield of_line(line, cause, advice, option)


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
    if error and isinstance(error.__cause__, cfg.ConfigFileValueError):
        # A module of Manila that reads an option when it is imported.
        found = of_invalid_value(error.__cause__)
        # The names of Manila's options cannot be imported either.
        yield found._replace(invalidates=(("manila",),))
    elif error:
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


def ineffective_hooks(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the hooks that have no effect in their configuration."""
    for _, section, hook in backend.plan.instances:
        found = hook.ineffective() if isinstance(hook, HookBase) else None
        # An option without a valid value has its default.
        if found and not any(section.problems()):
            name = str(section.groups[0])
            options = tuple(key_of_option(name, option) for option in section.options)
            depends_on = (*options, ("switches",))
            yield Diagnostic(name, "", "", *found, depends_on=depends_on)


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
            where = str(section.groups[0])
            found = Diagnostic(where, "", "", cause, advice, True)
            yield found._replace(depends_on=(("switches",),))
        option = "hook_operations"
        for pattern in section.safe_get(option) if implemented else ():
            if not pattern.startswith("!") and not fnmatch.filter(implemented, pattern):
                cause = "matches no operation that the driver implements"
                where = section.where(option)
                yield Diagnostic(where, option, pattern, cause, "", True)


def late_guards(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about a guard after a hook whose pre method has effects outside."""
    acting: list[InstanceSection] = []
    for _, section, hook in backend.plan.instances:
        if not section.safe_get("enable_pre_hooks"):
            continue
        first = next((other for other in acting if _share_calls(section, other)), None)
        if first and _is_guard(section):
            cause = (
                f"{section.name} runs after {first.name}, which has already "
                f"acted when {section.name} denies a call"
            )
            advice = f"list {section.name} before {first.name}"
            option, own = "hook_drivers", backend.plan.own
            value = ", ".join(own.safe_get(option))
            yield Diagnostic(own.where(option), option, value, cause, advice, True)
        elif getattr(hook, "pre_has_effects", False):
            acting.append(section)


def _is_guard(section: InstanceSection) -> bool:
    """Return whether a hook has the rules of a guard."""
    return section.options.keys() >= _SHARE_TYPES.keys()


def _share_calls(*sections: InstanceSection) -> bool:
    """Return whether hooks have an operation in common."""
    return any(
        all(matches(name, own.safe_get("hook_operations")) for own in sections)
        for name in {*METHODS.values(), *API.methods.values()}
    )


def share_types_by_name(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about share types by name in operations that know only their IDs."""
    for section in backend.plan.sections:
        if not _is_guard(section) or not section.safe_get("enable_pre_hooks"):
            continue
        access = [
            name
            for name in _ACCESS
            if matches(name, section.safe_get("hook_operations"))
        ]
        for option, effect in _SHARE_TYPES.items():
            listed = section.safe_get(option) or []
            names = [name for name in listed if not _ID.fullmatch(name)]
            if access and names and len(names) == len(listed):
                cause = (
                    f"Manila does not pass the names of share types to "
                    f"{', '.join(access)}, so {effect}"
                )
                advice = "add the IDs of the share types"
                where, value = section.where(option), ", ".join(listed)
                yield Diagnostic(where, option, value, cause, advice, True)


def shell_syntax(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about a command with the syntax of a shell."""
    option = "command"
    for section in backend.plan.sections:
        if not {option, "command_environment"} <= section.options.keys():
            continue
        words = shlex.split(section.safe_get(option))
        if found := next(filter(_SHELL.fullmatch, words[1:]), None):
            cause = f"no shell is run, so {found} is an argument of the program"
            advice = "write a script, or sh -c '...'"
            where = section.where(option)
            # The arguments may be secrets.
            yield Diagnostic(where, option, "", cause, advice, True)


def relative_paths(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Warn about relative paths."""
    for section in backend.plan.sections:
        for name, option in section.options.items():
            value = section.safe_get(name)
            if option.secret or not name.endswith(_PATHS) or not isinstance(value, str):
                continue
            if section.origin(name) and value and not value.startswith("/"):
                cause = "relative to the directory where manila-share is started"
                where, advice = section.where(name), "write an absolute path"
                yield Diagnostic(where, name, value, cause, advice, True)


def quotes(backend: BackendFacts, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the list values with quotes, which are part of the value."""
    for section in (backend.plan.own, *backend.plan.sections):
        yield from _quoted(section, facts)


def _quoted(section: InstanceSection, facts: Facts) -> Iterator[Diagnostic]:
    """Yield the lists of a section with quotes."""
    for name, option in section.options.items():
        origin = section.origin(name)
        if option.secret or origin is None or not _is_plain_list(option):
            continue
        if any(map(_QUOTES.search, section.safe_get(name) or [])):
            cause = "the quotes become part of the values"
            where, advice = section.where(name), "remove the quotes"
            line = facts.index.get((normalized(where), origin.name))
            value = redacted(option, line.value if line else origin.text)
            yield Diagnostic(where, name, value, cause, advice)._replace(
                invalidates=(key_of_value(where, name), key_of_option(where, name))
            )


def _is_plain_list(option: cfg.Opt) -> bool:
    """Return whether the values of an option are lists of texts."""
    return isinstance(option.type, types.List) and not isinstance(
        option.type.item_type, (types.Dict, types.List)
    )


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
    ineffective_hooks,
    idle_hooks,
    late_guards,
    share_types_by_name,
    shell_syntax,
    relative_paths,
    quotes,
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
        f"[{backend.section}]"
        for backend in facts.backends
        if backend.instances and not backend.is_api
    ]
    if not sections or path == MANAGER:
        return
    names = ", ".join(sections)
    cause = f"does not weave the hooks of {names}"
    try:
        # A share manager may be a subclass of this project's.
        if any(_is_at(MANAGER, cls) for cls in driver_at(path).__mro__):
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


def share_api(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the error of a share API that does not run its hooks."""
    option = "share_api_class"
    path = facts.manila.safe_get(option)
    hooked = any(backend.is_api and backend.instances for backend in facts.backends)
    if not hooked or path == SHARE_API:
        return
    cause = f"does not run the hooks of [{SECTION}]"
    try:
        # A share API may be a subclass of this project's.
        if any(_is_at(SHARE_API, cls) for cls in driver_at(path).__mro__):
            return
    except UnresolvedNameError as error:
        cause = error.cause
    if not is_set(facts.manila.conf, option):
        path, cause = "", f"not set, so the hooks of [{SECTION}] never run"
    yield Diagnostic(
        *("DEFAULT", option, path, cause, f"set {option} = {SHARE_API}"),
        depends_on=(key_of_option("DEFAULT", option),),
    )


def _is_at(path: str, cls: type) -> bool:
    """Return whether a class has a path, in any module of its package."""
    package, _, name = path.rpartition(".")
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


# -- rules of several backends -------------------------------------------------


def metrics_ports(facts: Facts) -> Iterator[Diagnostic]:
    """Yield the ports on which two backends, or two hooks of one, would serve metrics.

    Each backend has a process of its own, and only one process can listen on a port.
    Two hooks of one process share the counters of their port.
    """
    option = "metrics_port"
    before: list[tuple[BackendFacts, str, int]] = []
    for backend in facts.backends:
        own = []
        counting: dict[tuple[str, int], InstanceSection] = {}
        for section in backend.plan.sections:
            if not {"metrics_host", option} <= section.options.keys():
                continue
            host, port = section.safe_get("metrics_host"), section.safe_get(option)
            other = next(
                (
                    other
                    for other, other_host, other_port in before
                    if port == other_port and _overlap(host, other_host)
                ),
                None,
            )
            if other:
                where = section.where(option)
                cause = (
                    f"[{other.section}] and [{backend.section}] cannot both serve "
                    "metrics on this port"
                )
                advice = f"set another {option} in [{section.groups[0]}]"
                yield Diagnostic(
                    *(where, option, str(port), cause, advice),
                    depends_on=tuple(
                        key(section, name)
                        for section in (where, backend.section, other.section)
                        for name in ("metrics_host", option)
                        for key in (key_of_option, key_of_value)
                    ),
                )
            # The port 0 selects a free port.
            elif port:
                own.append((backend, host, port))
                first = counting.setdefault((host, port), section)
                if first is not section and _share_calls(first, section):
                    cause = (
                        f"{first.name} and {section.name} both count each call and "
                        "tick on this port"
                    )
                    advice = (
                        f"remove one of them, or set another {option} in "
                        f"[{section.groups[0]}]"
                    )
                    where = section.where(option)
                    yield Diagnostic(where, option, str(port), cause, advice)
        before += own


def _overlap(*hosts: str) -> bool:
    """Return whether two addresses cannot have the same port."""
    addresses = {"127.0.0.1" if host == "localhost" else host for host in hosts}
    return len(addresses) == 1 or not addresses.isdisjoint(_ALL_INTERFACES)


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
        elif not colon and (found := _hook_options(section, facts)):
            cause = f"section is never read, so {found} has no effect"
            near = nearest(section, [*enabled, *instances, "DEFAULT"])
            advice = f"move it to {_sections_of(facts)}"
            if near:
                advice = f"did you mean [{near}]?"
            invalidates = [("switches",)]
        else:
            advice = _section_of(section, instances)
            if not advice:
                # The section has nothing to do with hooks.
                continue
        yield of_line(header, cause, advice)._replace(
            invalidates=tuple(invalidates), depends_on=tuple(depends_on)
        )


def _hook_options(section: str, facts: Facts) -> str:
    """Return the first option of hooks in a section; empty if it has none."""
    names = {*COMMON, *BACKEND_ONLY}
    return next(
        (
            line.option
            for line in facts.lines
            if line.key == section and line.option in names
        ),
        "",
    )


def _sections_of(facts: Facts) -> str:
    """Return the sections that apply to all hooks, and to those of one backend."""
    backends = [backend.section for backend in facts.backends]
    names = dict.fromkeys(["DEFAULT", *backends[:1]])
    return " or ".join(f"[{name}]" for name in names)


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
                if not manila_source.options_named(line.option):
                    own = line.key == "DEFAULT"
                    yield diagnostic._replace(depends_on=(("manila",),) * own)


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
    share_api,
    interval_of_ticks,
    metrics_ports,
    unread_sections,
    indented_lines,
    unread_options,
    duplicates,
)

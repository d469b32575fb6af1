# SPDX-License-Identifier: Apache-2.0
"""Mistakes in configuration files that nobody else would tell of.

oslo.config asks for the options that it knows and says nothing of the rest: one
that is misspelt, or in the wrong section, is simply not there.
"""

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from oslo_config import cfg, types

from aspects.config import Problem, section_options
from aspects.hook import SWITCHES, SharedOpt, hook_options, instance_options
from aspects.operations import METHODS, OPERATIONS
from aspects.secrets import without_secrets
from aspects.show import install_line, installed


class SharedStrOpt(SharedOpt, cfg.StrOpt):
    """An option that Manila may have as well."""


class SharedListOpt(SharedOpt, cfg.ListOpt):
    """An option that Manila may have as well."""


#: Options of Manila, for where there is none; defaults are Manila's.
manila_options: list[cfg.Opt] = [
    SharedListOpt("enabled_share_backends"),
    SharedStrOpt("share_manager", default="manila.share.manager.ShareManager"),
    SharedStrOpt("host", default=socket.gethostname()),
    SharedStrOpt("state_path", default="/var/lib/manila"),
]

#: What each hook instance may have.
COMMON = {option.name: option for option in (*hook_options, *instance_options)}

#: What is looked for, wherever it stands.
EVERYWHERE = {
    option.name: option
    for option in (*hook_options, *instance_options, *section_options)
} | {option.name: option for option in manila_options[:2]}

#: Options that are read in ``[DEFAULT]`` alone.
OF_DEFAULT = ("enabled_share_backends", "share_manager", "periodic_hooks_interval")

#: Options that are read in the section of a backend alone.
OF_BACKEND = tuple(option.name for option in section_options)


#: How near a name has to be where most of the others are none of ours.
SURE = 0.86


class Finding(NamedTuple):
    """One thing that is wrong, or may be."""

    section: str
    option: str
    value: str
    cause: str
    advice: str = ""
    """what to write instead"""
    warning: bool = False
    """whether it may be what is wanted"""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = f"[{self.section}]" if self.section else place
        what += f" {self.option}" if self.option else ""
        what += f" = {self.value}" if self.value else ""
        text = ": ".join(part for part in (what, self.cause, self.advice) if part)
        if place and self.section:
            text += f" ({place})"
        return f"{'warning' if self.warning else 'problem'}: {' '.join(text.split())}"


class Line(NamedTuple):
    """A line of a file that begins a section or has an option."""

    file: str
    number: int
    section: str
    """as oslo.config compares it"""
    option: str = ""
    """empty where it begins a section"""
    value: str = ""
    indented: bool = False
    """whether it goes on with the value of the option before"""


class Known(NamedTuple):
    """What is known of the hooks of a backend that is enabled."""

    section: str
    """its section: ``DEFAULT`` where no backends are enabled"""
    instances: Mapping[str, Mapping[str, cfg.Opt]]
    """the options of each instance, by name"""
    incomplete: Collection[str]
    """the instances that may have more options than these"""

    def sections(self) -> dict[str, str]:
        """Return the sections of its instances, and the instance of each."""
        return {normalized(f"{self.section}:{name}"): name for name in self.instances}


def mistakes(
    lines: Collection[Line],
    backends: Collection[Known],
    others: Callable[[], Collection[str]],
) -> Iterator[Finding]:
    """Yield what nobody reads, or reads as it was not meant.

    :param lines: the lines of all files
    :param backends: the enabled backends
    :param others: returns the names of options that are not ours; called only where
        one is nearly one of ours, since it may take its time
    """
    yield from _sections(lines, backends)
    yield from _options(lines, backends, others)
    yield from _twice(lines, backends)


# -- the files -----------------------------------------------------------------


def normalized(section: str) -> str:
    """Return a section's name so that it is the same for what oslo.config reads."""
    if section == "DEFAULT":
        return section
    # What was not meant for it, [default], is another section.
    return re.sub("^default:", "DEFAULT:", section.lower())


def backend_of(section: str) -> str:
    """Return the backend of a section, which may be that of an instance."""
    return section.partition(":")[0]


def read(files: Iterable[str]) -> tuple[list[Line], list[Finding]]:
    """Read configuration files.

    :param files: their paths, in the order in which they count
    :return: their lines, and why files cannot be read
    """
    lines: list[Line] = []
    findings: list[Finding] = []
    for file in files:
        data = b""
        number, cause, advice = 0, "", ""
        try:
            data = Path(file).read_bytes()
            lines += _lines(file, data.decode())
            cfg.ConfigParser(file, {}).parse()
        except UnicodeDecodeError as error:
            number = data[: error.start].count(b"\n") + 1
            cause = "it is not UTF-8"
        except cfg.ParseError as error:
            # Its own text quotes the line, which may have a password.
            number, cause = error.lineno, error.msg
            advice = _ADVICE.get(cause, "")
            if data.startswith("\ufeff".encode()):
                advice = "save the file without a byte order mark"
        except OSError as error:
            cause = str(error.strerror)
        if cause:
            findings.append(Finding("", "", "", cause, advice, False, file, number))
    return lines, findings


_ADVICE = {
    "No ':' or '=' found in assignment": "write option = value",
    "Unexpected continuation line": "write it at the beginning of the line",
    "Section must be started before assignment": "write [DEFAULT] before it",
    "Invalid section (must end with ])": "write ] at its end",
}

_OPTION = re.compile(r"(\s*)([^=:]*)(?:[=:](.*))?")


def _lines(file: str, text: str) -> Iterator[Line]:
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip()
        if line.startswith("["):
            section = normalized(line[1:-1])
            yield Line(file, number, section)
        elif line and line[0] not in "#;" and (match := _OPTION.match(line)):
            space, option, value = match.groups("")
            yield Line(
                file, number, section, option.strip(), value.strip(), bool(space)
            )


# -- the sections --------------------------------------------------------------


def _sections(
    lines: Collection[Line], backends: Collection[Known]
) -> Iterator[Finding]:
    enabled = {normalized(backend.section): backend for backend in backends}
    instances = {s: name for b in backends for s, name in b.sections().items()}
    read = {"DEFAULT", *enabled, *instances}
    heads = {line.section: line for line in lines if not line.option}
    having = {(line.section, line.option) for line in lines}
    for section, head in heads.items():
        if section in read:
            continue
        cause, advice = "nobody reads this section", ""
        backend, colon, instance = section.partition(":")
        tidy = re.sub(r"\s*:\s*", ":", section.strip())
        if tidy == "default" or (tidy != section and tidy in read):
            advice = f"write [{'DEFAULT' if tidy == 'default' else tidy}]"
        elif backend in enabled and colon:
            names = list(enabled[backend].instances)
            cause = f"hook_drivers of [{backend}] names no instance {instance!r}"
            near = nearest(instance, names)
            advice = f"write [{backend}:{near}]" if near else f"add {instance} to it"
        elif colon and (backend, "hook_drivers") in having:
            # Told of the backend itself.
            continue
        elif colon and backend in heads:
            cause = f"the backend {backend!r} is not enabled"
            advice = f"add {backend} to enabled_share_backends"
        elif colon and (near := nearest(backend, enabled)):
            cause = f"there is no backend {backend!r}"
            advice = f"write [{near}:{instance}]"
        elif colon:
            cause = f"there is no backend {backend!r}"
            of = [each for each, name in instances.items() if name == instance]
            advice = f"write [{of[0]}]" if of else ""
        elif (section, "hook_drivers") in having:
            cause = "it has hooks, and is no enabled backend"
            advice = f"add {section} to enabled_share_backends"
        elif (section, "share_driver") in having:
            continue
        elif near := nearest(section, instances, SURE):
            advice = f"write [{near}]"
        elif of := [each for each, name in instances.items() if name == section]:
            advice = f"write [{of[0]}]"
        else:
            # That of something else than hooks.
            continue
        yield Finding(section, "", "", cause, advice, False, head.file, head.number)


# -- the options ---------------------------------------------------------------


def _options(
    lines: Collection[Line],
    backends: Collection[Known],
    others: Callable[[], Collection[str]],
) -> Iterator[Finding]:
    of = {normalized(backend.section): backend for backend in backends}
    every = _every(backends)
    for line in lines:
        known = of.get(backend_of(line.section))
        if not line.option or (known is None and line.section != "DEFAULT"):
            continue
        if line.indented:
            if line.option in every:
                cause = "it is indented, so it is a part of the option before it"
                advice = "write it at the beginning of the line"
                yield _of_line(line, cause, advice, every[line.option])
        elif right := _right_section(line, [*of]):
            where = "[DEFAULT]" if right == "DEFAULT" else "the section of a backend"
            cause = f"it is read in {where} alone"
            yield _of_line(line, cause, f"write it in [{right}]", every[line.option])
        elif known is not None and ":" in line.section:
            yield from _of_instance(line, known)
        elif line.option not in every:
            for finding in _near_miss(line, every, SURE):
                if line.option not in others():
                    yield finding


def _every(backends: Collection[Known]) -> dict[str, cfg.Opt]:
    """Return the options that are ours, of all hooks, by name."""
    every = dict(EVERYWHERE)
    for backend in backends:
        for options in backend.instances.values():
            every.update(options)
    return every


def _right_section(line: Line, backends: list[str]) -> str:
    """Return where an option is read that stands where it is not read."""
    if line.option in OF_DEFAULT and line.section != "DEFAULT":
        return "DEFAULT"
    if line.option in OF_BACKEND and line.section not in backends:
        own = backend_of(line.section)
        return own if own in backends else backends[0]
    return ""


def _of_instance(line: Line, known: Known) -> Iterator[Finding]:
    """Yield what is wrong with an option of an instance: its section is all ours."""
    name = known.sections().get(line.section)
    if name is None or line.option in known.instances[name]:
        return
    options = known.instances[name]
    found = list(_near_miss(line, options, 0.6))
    yield from found
    if not found and name not in known.incomplete:
        own = ", ".join(each for each in options if each not in COMMON)
        advice = f"its own are {own}" if own else "it has none of its own"
        yield _of_line(line, f"the hook {name!r} has no such option", advice)


def _near_miss(
    line: Line, options: Mapping[str, cfg.Opt], cutoff: float
) -> Iterator[Finding]:
    first = line.option.partition(" ")[0]
    # An author's word for what an operator sets.
    name = SWITCHES.get(line.option, line.option)
    if first != line.option and first in options:
        yield _of_line(line, f"there is no = after {first}", f"write {first} = ...")
    elif near := nearest(name.lower().replace("-", "_"), options, cutoff):
        advice = f"write {near}"
        yield _of_line(line, "there is no such option", advice, options[near])


def _of_line(
    line: Line, cause: str, advice: str, option: cfg.Opt | None = None
) -> Finding:
    """Return what is wrong with a line.

    :param option: the option that it is, or is meant to be; the value of one that
        is not known may be a secret
    """
    value = shown(option, line.value) if option else ""
    return Finding(
        line.section, line.option, value, cause, advice, False, line.file, line.number
    )


def shown(option: cfg.Opt, value: str) -> str:
    """Return the value of an option as it may be shown."""
    if option.secret:
        return "***"
    return without_secrets(value, None, {option.name: value})


def _twice(lines: Collection[Line], backends: Collection[Known]) -> Iterator[Finding]:
    sections = {"DEFAULT"}
    for backend in backends:
        sections.update((normalized(backend.section), *backend.sections()))
    options = {"", *_every(backends)}
    seen: dict[tuple[str, str, str], int] = {}
    for file, number, section, option, _, indented in lines:
        if section not in sections or option not in options or indented:
            continue
        before = seen.setdefault((file, section, option), number)
        if before != number:
            cause = f"it stands at line {before} already"
            cause += ", and the last one counts" if option else ""
            advice = "write it once"
            yield Finding(section, option, "", cause, advice, False, file, number)


# -- what to write instead -----------------------------------------------------


def finding_of(problem: Problem, known: Known) -> Finding:
    """Add to a problem what to write instead.

    :param problem: one that start-up would tell of, too
    :param known: what is known of the backend
    """
    name, value, cause = problem.option, problem.value, problem.cause
    option = _every([known]).get(name)
    if name == "hook_drivers":
        advice = _for_entry(value, cause, known)
    elif name == "hook_operations":
        advice = _for_operations(value)
    else:
        advice = _for_value(option, value)
    if option is not None and (told := shown(option, value)) != value:
        value, cause = told, cause.replace(value, told)
    return Finding(problem.section, name, value, cause, advice)


def _for_value(option: cfg.Opt | None, value: str) -> str:
    if re.search(r"\s[#;]", value):
        return "a comment needs a line of its own"
    kind = getattr(option, "type", None)
    if isinstance(kind, types.Boolean) and "\n" not in value:
        return "write True or False"
    if isinstance(kind, types.Number) and (match := re.match(r"([\d.]*)(.*)", value)):
        number, rest = match.groups()
        if rest:
            return f"write {number}" if number else "write a number"
    if choices := getattr(kind, "choices", None):
        near = nearest(value, map(str, choices))
        return f"write {near}" if near else ""
    return ""


def _for_operations(pattern: str) -> str:
    if pattern in METHODS:
        return f"write {METHODS[pattern]}"
    kinds = {f"{operation.partition('_')[0]}_*" for operation in OPERATIONS}
    near = nearest(pattern, {*OPERATIONS, *kinds}, 0.8)
    return f"write {near}" if near else ""


def entries_meant(entry: str) -> list[str]:
    """Return the entries of ``hook_drivers`` that one that is wrong was meant to be.

    :param entry: e.g. two without a comma, or one in quotes
    """
    plain = re.sub(r"\s*=\s*", "=", re.sub(r"[][()'\"]", "", entry))
    return re.split(r"[\s;]+", plain.strip())


def _for_entry(entry: str, cause: str, known: Known) -> str:
    """Return what to write for an entry of ``hook_drivers``."""
    if re.search(r"\s[#;]", entry):
        return "a comment needs a line of its own"
    meant = entries_meant(entry)
    if entry and meant != [entry.replace(" ", "")]:
        return f"write {', '.join(meant)}"
    name, _, what = entry.rpartition("=")
    if match := re.search(r"making the hook failed: ValueError: (\w+)", cause):
        name = name or what.rpartition(":")[2].rpartition(".")[2]
        if match[1] in known.instances.get(name, ()):
            return f"see {match[1]} in [{known.section}:{name}] or [{known.section}]"
    if name and name.partition(":")[2] and ":" not in what:
        return f"write {what}={name}"
    for entry_point in installed():
        if entry_point.name == what:
            try:
                entry_point.load()
            except ImportError as error:
                return install_line(entry_point, error) or ""
            except (Exception, SystemExit):
                return ""
    return ""


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return which of some names another name is nearly.

    :param name: the name
    :param names: the names that it may be meant to be
    :param cutoff: how near it has to be: 1 if it is the same, 0 if there is nothing
        in common
    :return: None if it is none of them
    """
    return next(iter(difflib.get_close_matches(name, list(names), 1, cutoff)), None)

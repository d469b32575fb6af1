# SPDX-License-Identifier: Apache-2.0
"""Mistakes in configuration files that nobody else would tell of.

oslo.config asks for the options that it knows and says nothing of the rest: one
that is misspelt, or in the wrong section, is simply not there.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from oslo_config import cfg, types

from aspects.config.loading import entry_meant
from aspects.config.options import (
    SWITCHES,
    SharedOpt,
    hook_options,
    instance_options,
    section_options,
)
from aspects.config.problems import Problem, nearest
from aspects.secrets import without_secrets


class SharedStrOpt(SharedOpt, cfg.StrOpt):
    """An option that Manila may have as well."""


class SharedListOpt(SharedOpt, cfg.ListOpt):
    """An option that Manila may have as well."""


class SharedHostAddressOpt(SharedOpt, cfg.HostAddressOpt):
    """An option that Manila may have as well."""


#: Options of Manila, for where there is none; types and defaults are Manila's.
manila_options: list[cfg.Opt] = [
    SharedListOpt("enabled_share_backends"),
    SharedStrOpt("share_manager", default="manila.share.manager.ShareManager"),
    SharedHostAddressOpt("host", default=socket.gethostname()),
    SharedStrOpt("state_path", default="/var/lib/manila"),
]

#: What Manila has in the section of each backend.
driver_option: cfg.Opt = SharedStrOpt(
    "share_driver", default="manila.share.drivers.generic.GenericShareDriver"
)

#: What each hook instance may have.
COMMON = {option.name: option for option in (*hook_options, *instance_options)}

#: What is looked for, wherever it stands.
EVERYWHERE = {
    option.name: option
    for option in (*hook_options, *instance_options, *section_options)
} | {option.name: option for option in (*manila_options[:2], driver_option)}

#: Options that are read in ``[DEFAULT]`` alone.
OF_DEFAULT = ("enabled_share_backends", "share_manager", "periodic_hooks_interval")

#: Options that are read in the section of a backend alone.
OF_BACKEND = tuple(option.name for option in section_options)


#: How near a name has to be where most of the others are none of ours.
SURE = 0.86

#: What a finding is about: see :attr:`Finding.rests_on`.
Key = tuple[str, ...]


def key_of_option(section: str, option: str) -> Key:
    """Return the key of an option that a backend has, wherever it stands."""
    return ("option", backend_of(normalized(section)), option)


def key_of_value(section: str, option: str) -> Key:
    """Return the key of the value of an option in one section."""
    return ("value", normalized(section), option)


def key_of_backend(name: str) -> Key:
    """Return the key of a backend's name."""
    return ("backend", normalized(name))


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
    spoils: tuple[Key, ...] = ()
    """what is not there, or not as it was meant, because of it"""
    rests_on: tuple[Key, ...] = ()
    """what it goes on about: it has to wait where another finding spoils that"""

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
    """as it is written"""
    option: str = ""
    """empty where it begins a section"""
    value: str = ""
    within: tuple[str, str] | None = None
    """where it is indented, the section and option whose value it goes on with"""

    @property
    def key(self) -> str:
        """Its section, as oslo.config compares it."""
        return normalized(self.section)


#: The lines that count, by section and option.
Index = Mapping[tuple[str, str], Line]


class Known(NamedTuple):
    """What is known of the hooks of a backend that is enabled."""

    section: str
    """its section: ``DEFAULT`` where no backends are enabled"""
    instances: Mapping[str, Mapping[str, cfg.Opt]]
    """the options of each instance, by name"""
    incomplete: Collection[str]
    """the instances that may have more options than these"""
    unnamed: Mapping[str, str]
    """the name that an instance would have without its own, and its own"""

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
    yield from _indented(lines, backends)
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
            cause, advice = "it is not UTF-8", "save it as UTF-8"
        except cfg.ParseError as error:
            # Its own text quotes the line, which may have a password.
            number, cause = error.lineno, error.msg
            advice = _ADVICE.get(cause, "")
            if data.startswith("\ufeff".encode()):
                advice = "save the file without a byte order mark"
            elif re.search(r"\]\s*[#;]", error.line):
                advice = _COMMENT
        except OSError as error:
            cause = str(error.strerror)
        if cause:
            findings.append(Finding("", "", "", cause, advice, False, file, number))
    return lines, findings


_COMMENT = "a comment needs a line of its own"

_ADVICE = {
    "No ':' or '=' found in assignment": "write option = value",
    "Unexpected continuation line": "write it at the beginning of the line",
    "Section must be started before assignment": "write [DEFAULT] before it",
    "Invalid section (must end with ])": "write ] at its end",
}

_OPTION = re.compile(r"([^=:]*)(?:[=:](.*))?")


#: The beginning of a section that would be one if it were not indented.
_INDENTED = re.compile(r"\s+\[([\w.: -]+)\]?$")


def _lines(file: str, text: str) -> Iterator[Line]:
    section = ""
    before: tuple[str, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip()
        if line.startswith("["):
            section, before = line[1:-1], None
            yield Line(file, number, section)
        elif match := _INDENTED.match(line):
            # What comes then was meant to be in it.
            section = match[1]
            yield Line(file, number, section, within=before)
        elif line and line[0] not in "#;" and (match := _OPTION.match(line)):
            option, value = (each.strip() for each in match.groups(""))
            if line[0].isspace():
                yield Line(file, number, section, option, value, before)
            else:
                before = (section, option)
                yield Line(file, number, section, option, value)


# -- the sections --------------------------------------------------------------


def _sections(
    lines: Collection[Line], backends: Collection[Known]
) -> Iterator[Finding]:
    enabled = {normalized(backend.section): backend for backend in backends}
    instances = {s: name for b in backends for s, name in b.sections().items()}
    read = {"DEFAULT", *enabled, *instances}
    heads = {line.key: line for line in lines if not line.option and not line.within}
    having = {(line.key, line.option) for line in lines}
    for section, head in heads.items():
        if section in read:
            continue
        cause, advice = "nobody reads this section", ""
        backend, colon, instance = section.partition(":")
        own = head.section.partition(":")[2]
        rests_on = [key_of_backend(backend)]
        spoils: list[Key] = []
        tidy = re.sub(r"\s*:\s*", ":", section.strip(" []"))
        if tidy == "default":
            advice = "write [DEFAULT]"
            spoils = [key_of_option("DEFAULT", option) for option in OF_DEFAULT]
        elif tidy != section and tidy in read:
            advice = f"write [{tidy}]"
        elif backend in enabled and colon:
            cause = f"hook_drivers of [{backend}] names no instance {own!r}"
            advice = _instance_meant(enabled[backend], own)
            rests_on.append(key_of_option(backend, "hook_drivers"))
        elif colon and f"{instance}:{backend}" in instances:
            cause = f"there is no backend {backend!r}"
            advice = f"write [{instance}:{backend}]"
        elif colon and (backend, "hook_drivers") in having:
            # Told of the backend itself.
            continue
        elif colon and backend in heads:
            cause = f"the backend {backend!r} is not enabled"
            advice = f"add {backend} to enabled_share_backends"
            rests_on.append(_ENABLED)
        elif colon and (near := nearest(backend, enabled)):
            cause = f"there is no backend {backend!r}"
            advice = f"write [{near}:{instance}]"
        elif colon:
            cause = f"there is no backend {backend!r}"
            of = [each for each, name in instances.items() if name == instance]
            advice = f"write [{of[0]}]" if of else ""
            rests_on += [_ENABLED, key_of_backend(instance)]
        elif (section, "hook_drivers") in having:
            cause = "it has hooks, and is no enabled backend"
            advice = f"add {section} to enabled_share_backends"
            rests_on.append(_ENABLED)
        elif (section, "share_driver") in having:
            continue
        elif near := nearest(section, instances, SURE):
            advice = f"write [{near}]"
        elif of := [each for each, name in instances.items() if name == section]:
            advice = f"write [{of[0]}]"
        else:
            # That of something else than hooks.
            continue
        yield _of_line(head, cause, advice)._replace(
            spoils=tuple(spoils), rests_on=tuple(rests_on)
        )


_ENABLED = key_of_option("DEFAULT", "enabled_share_backends")


def _instance_meant(known: Known, name: str) -> str:
    """Return what to write for the section of an instance that there is not."""
    unnamed = {each.lower(): own for each, own in known.unnamed.items()}
    meant = unnamed.get(name.lower()) or nearest(name, known.instances)
    if meant:
        return f"write [{known.section}:{meant}]"
    return f"add {name} to it" if name else "write an instance after the colon"


# -- the options ---------------------------------------------------------------


def _indented(
    lines: Collection[Line], backends: Collection[Known]
) -> Iterator[Finding]:
    read = {"DEFAULT", *(normalized(backend.section) for backend in backends)}
    every = _every(backends)
    for line in lines:
        ours = backend_of(line.key) in read and line.option in every
        if line.within and (ours or not line.option):
            cause = "it is indented, so it is a part of the option before it"
            advice = "write it at the beginning of the line"
            finding = _of_line(line, cause, advice, every.get(line.option))
            yield finding._replace(spoils=(key_of_value(*line.within),))


def _options(
    lines: Collection[Line],
    backends: Collection[Known],
    others: Callable[[], Collection[str]],
) -> Iterator[Finding]:
    of = {normalized(backend.section): backend for backend in backends}
    every = _every(backends)
    for line in lines:
        known = of.get(backend_of(line.key))
        if not line.option or (known is None and line.key != "DEFAULT"):
            continue
        if line.within:
            # Told already.
            continue
        if right := _right_section(line, [*of]):
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
    if line.option in OF_DEFAULT and line.key != "DEFAULT":
        return "DEFAULT"
    if line.option in OF_BACKEND and line.key not in backends:
        own = backend_of(line.key)
        return own if own in backends else backends[0]
    return ""


def _of_instance(line: Line, known: Known) -> Iterator[Finding]:
    """Yield what is wrong with an option of an instance: its section is all ours."""
    name = known.sections().get(line.key)
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
        # What stands there may be a secret.
        line = line._replace(option=first, value="")
        meant, cause, advice = first, "there is no = after it", f"write {first} = ..."
    else:
        meant = nearest(name.lower().replace("-", "_"), options, cutoff)
        cause, advice = "there is no such option", f"write {meant}"
    if meant:
        spoils = (key_of_option(line.section, meant),)
        yield _of_line(line, cause, advice, options[meant])._replace(spoils=spoils)


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
    for line in lines:
        file, number, section, option, _, within = line
        if line.key not in sections or option not in options or within:
            continue
        before = seen.setdefault((file, line.key, option), number)
        if before != number:
            cause = f"it stands at line {before} already"
            cause += ", and the last one counts" if option else ""
            advice = "write it once"
            yield Finding(section, option, "", cause, advice, False, file, number)


# -- what to write instead -----------------------------------------------------


def finding_of(
    problem: Problem, known: Known | None = None, index: Index | None = None
) -> Finding:
    """Return what there is to tell of a problem.

    :param problem: one that start-up would tell of, too
    :param known: what is known of the backend, where it is one of a backend
    :param index: the lines, to find that of an option which a hook refuses
    """
    name, value, cause = problem.option, problem.value, problem.cause
    option = _every([known] if known else []).get(name)
    option = option or {each.name: each for each in manila_options}.get(name)
    if name == "hook_drivers" and known:
        if refused := _refused(problem, known, index or {}):
            return refused
        advice = _for_entry(value) or problem.advice
    else:
        advice = problem.advice or _for_value(option, value, cause)
    if option is not None and (told := shown(option, value)) != value:
        value, cause = told, cause.replace(value, told)
    rests_on = (key_of_value(problem.section, name),)
    return Finding(problem.section, name, value, cause, advice, rests_on=rests_on)


def _refused(problem: Problem, known: Known, index: Index) -> Finding | None:
    """Return what there is to tell of an option that a hook's constructor refuses.

    Its error names the option first, or has the option's value in quotes.
    """
    match = re.match(r"making the hook failed: \w+: (\w*)", problem.cause)
    if match is None:
        return None
    name, _, what = (part.strip() for part in problem.value.rpartition("="))
    name = name or what.rpartition(":")[2].rpartition(".")[2]
    sections = (f"{known.section}:{name}", known.section, "DEFAULT")
    for dest, option in known.instances.get(name, {}).items():
        lines = [index.get((normalized(each), dest)) for each in sections]
        line = next(filter(None, lines), None)
        if line and (match[1] == dest or f"'{line.value}'" in problem.cause):
            return _of_line(line, problem.cause, "", option)._replace(
                rests_on=(key_of_value(line.section, dest),)
            )
        if match[1] == dest:
            return Finding(
                *problem[:4],
                f"see {dest} in [{known.section}:{name}] or [{known.section}]",
                rests_on=tuple(key_of_option(each, dest) for each in sections),
            )
    return None


def _for_value(option: cfg.Opt | None, value: str, cause: str) -> str:
    """Return what to write for a value that its option does not take."""
    if re.search(r"(^|\s)[#;]", value):
        return _COMMENT
    if cause.startswith("no such option"):
        return "name one that there is, or write $$ for a $"
    kind = getattr(option, "type", None)
    if isinstance(kind, types.Boolean):
        return "write True or False"
    if isinstance(kind, types.Number):
        return _for_number(kind, value)
    if isinstance(kind, types.HostAddress):
        return "write letters, digits, - and . alone"
    if choices := getattr(kind, "choices", None):
        near = nearest(value, map(str, choices))
        return f"write {near}" if near else f"write {' or '.join(map(str, choices))}"
    return ""


def _for_number(kind: types.Number, value: str) -> str:
    """Return what to write for what is no number, or one out of range."""
    match = re.match(r"([+-]?\d*\.?\d*)\s*(.*)", value)
    number, rest = match.groups() if match else ("", "")
    if not re.search(r"\d", number):
        return "write a number"
    if rest:
        return f"write {number}"
    if kind.min is not None and float(number) < kind.min:
        return f"write {kind.min} or more"
    if kind.max is not None and float(number) > kind.max:
        return f"write {kind.max} or less"
    return "write a whole number" if isinstance(kind, types.Integer) else ""


def entries_meant(entry: str) -> list[str]:
    """Return the entries of ``hook_drivers`` that one that is wrong was meant to be.

    :param entry: e.g. two without a comma, or one in quotes
    """
    plain = re.sub(r"\s*=\s*", "=", re.sub(r"[][()'\"]", "", entry))
    return [entry_meant(each) for each in re.split(r"[\s;]+", plain.strip())]


def _for_entry(entry: str) -> str:
    """Return what to write for an entry of ``hook_drivers``."""
    if re.search(r"(^|\s)[#;]", entry):
        return _COMMENT
    meant = entries_meant(entry)
    if entry and meant != [entry.replace(" ", "")]:
        return f"write {', '.join(meant)}"
    name, _, what = entry.rpartition("=")
    if ":" in name and ":" not in what:
        return f"write {what}={name}"
    return ""

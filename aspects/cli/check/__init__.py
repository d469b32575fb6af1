# SPDX-License-Identifier: Apache-2.0
"""What a configuration will do, and what is wrong with it: ``check``."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import glob
import importlib.metadata
import io
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oslo_config import cfg
from oslo_log import log

from aspects.cli.check import rules
from aspects.cli.check.rules import (
    Finding,
    Index,
    Known,
    Line,
    backend_of,
    entries_meant,
    key_of_backend,
    key_of_option,
    normalized,
    shown,
)
from aspects.cli.show import Table, lacking, text_of_value, woven_methods
from aspects.config.loading import class_named, driver_at, parse_entry
from aspects.config.options import SWITCHES
from aspects.config.plan import Instance, Plan, plan
from aspects.config.problems import Problem, instead, nearest
from aspects.config.sections import BackendSection, InstanceSection
from aspects.core.step import error_action
from aspects.errors import UnresolvedName

MANAGER = "aspects.manila.ShareManager"

#: What is read: ``--config-file`` or ``--config-dir``, and its value.
Source = tuple[str, Path]

Progress = Callable[[str], None]


class Setting(NamedTuple):
    """An option that is set somewhere."""

    option: str
    value: str
    section: str
    place: str
    """``file:line``, or the variable of the environment"""


class Hook(NamedTuple):
    """What will be of one hook instance."""

    instance: str
    hook: str
    """its class"""
    actions: tuple[str, ...]
    """those that are on"""
    suppressed: tuple[str, ...]
    """those whose errors are suppressed"""
    dispatch: str
    operations: tuple[str, ...]
    settings: list[Setting]


class Backend(NamedTuple):
    """What will be of one enabled backend."""

    name: str
    host: str
    driver: str
    ticks: int
    chain: list[Hook]
    """the hooks that could be made, in order"""
    settings: list[Setting]
    """the options of the backend alone"""
    woven: dict[str, list[str]]
    """the driver methods that are woven, by operation"""
    lacks: list[str]
    """the operations that the driver lacks"""

    def tables(self) -> Iterator[Table]:
        """Yield what there is to show."""
        about = f"driver {self.driver}, host {self.host}"
        if not self.chain:
            named = any(each.option == "hook_drivers" for each in self.settings)
            why = "its hooks cannot be made" if named else "no hooks: it is not woven"
            yield Table(f"backend {self.name}", f"{about}, {why}")
            return
        every = "every tick" if self.ticks == 1 else f"one tick in {self.ticks}"
        yield Table(
            f"backend {self.name}",
            f"{about}, periodic actions on {every}",
            ("", "instance", "hook", "on", "suppressed", "dispatch", "operations"),
            [
                (
                    str(number),
                    hook.instance,
                    hook.hook,
                    ", ".join(hook.actions) or "nothing",
                    ", ".join(hook.suppressed) or "-",
                    hook.dispatch,
                    ", ".join(hook.operations) or "none",
                )
                for number, hook in enumerate(self.chain, 1)
            ],
        )
        settings = [("-", *setting) for setting in self.settings]
        for hook in self.chain:
            settings += [(hook.instance, *setting) for setting in hook.settings]
        yield Table(
            f"options of {self.name}",
            "What is not the default, and where it is from.",
            ("instance", "option", "value", "section", "from"),
            settings,
        )
        if self.woven:
            yield Table(
                f"operations of {self.name}",
                f"It lacks {', '.join(self.lacks) or 'none'}.",
                ("operation", "methods that are woven"),
                [
                    (operation, ", ".join(methods))
                    for operation, methods in self.woven.items()
                    if operation not in self.lacks
                ],
            )


class Report(NamedTuple):
    """What a configuration will do."""

    files: list[str]
    """the files that were read, in the order in which they count"""
    backends: list[Backend]
    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        """The findings that are no mere warnings."""
        return [finding for finding in self.findings if not finding.warning]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, ready for JSON."""
        backends = []
        for backend in self.backends:
            data = backend._asdict()
            data["settings"] = [each._asdict() for each in backend.settings]
            data["chain"] = [
                hook._asdict()
                | {"settings": [each._asdict() for each in hook.settings]}
                for hook in backend.chain
            ]
            backends.append(data)
        return {
            "files": self.files,
            "backends": backends,
            "problems": [_as_dict(each) for each in self.findings if not each.warning],
            "warnings": [_as_dict(each) for each in self.findings if each.warning],
        }

    def tables(self) -> Iterator[Table]:
        """Yield what there is to show, the findings aside."""
        for backend in self.backends:
            yield from backend.tables()

    def summary(self) -> str:
        """Return the last line: how much is wrong, in which files."""
        problems = len(self.problems)
        warnings = len(self.findings) - problems
        counts = [
            f"{count or 'no'} {what}{'' if count == 1 else 's'}"
            for count, what in ((problems, "problem"), (warnings, "warning"))
        ]
        return f"{', '.join(counts)} in {', '.join(self.files)}"


def _as_dict(finding: Finding) -> dict[str, Any]:
    left_out = ("warning", "spoils", "rests_on")
    return {k: v for k, v in finding._asdict().items() if k not in left_out}


def check(
    conf: cfg.ConfigOpts,
    sources: Sequence[Source] = (),
    backend: str | None = None,
    progress: Progress = lambda text: None,
) -> Report:
    """Tell what a configuration will do.

    Hooks are made, since they check their options then, but not started; no driver
    is made.

    :param conf: what to read it with, as ``cfg.CONF``
    :param sources: the files, and folders with files, in the order in which they
        count; what ``manila-share`` reads by default
    :param backend: the only backend to tell of
    :param progress: is told what takes its time
    :raises ValueError: if there is no file to read, or no such backend
    """
    sources = [*_defaults(sources), *sources]
    if not sources:
        raise ValueError("there is no configuration: name one with --config-file")
    read = [*_files(sources)]
    lines, findings = rules.read(read)
    index = _index(lines)
    for option, path in sources:
        if option == FOLDER and not path.is_dir():
            findings.append(Finding("", "", "", "it is no folder", file=str(path)))
    if not findings:
        progress("importing Manila")
        # Its options of all services, to which a value may refer, as in $state_path;
        # before the files are read, since some are of the command line.
        _of_manila("oslo.config.opts.defaults")
        findings += _read(conf, sources, lines)
    if findings:
        # Nor does Manila start with these.
        return Report(read, [], [_placed(finding, index) for finding in findings])
    # Where a value is wrong, the default stands in for it.
    manila = InstanceSection(BackendSection(conf, None), None)
    manila.append_config_values(rules.manila_options)
    for problem in manila.problems():
        spoils = (key_of_option("DEFAULT", problem.option),)
        findings.append(rules.finding_of(problem)._replace(spoils=spoils))
    enabled = manila.safe_get("enabled_share_backends") or []
    if backend is not None and backend not in enabled and not findings:
        near = nearest(backend, enabled)
        raise ValueError(
            f"{backend!r} is not an enabled backend (enabled: "
            f"{', '.join(enabled) or 'none'})"
            + (f"; did you mean {near!r}?" if near else "")
        )
    backends: list[Backend] = []
    known: list[Known] = []
    for name in dict.fromkeys(enabled or [None]):
        # One without a section is told of below.
        if name is None or (normalized(name), "") in index:
            host = manila.safe_get("host")
            told, of_hooks, wrong = _backend(conf, name, host, index, progress)
            backends.append(told)
            known.append(of_hooks)
            findings += wrong
    findings += _enabled(enabled, index)
    findings += _manager(manila, [each for each in known if each.instances])
    findings += _interval(manila, backends)
    findings += rules.mistakes(lines, known, functools.cache(_names_of_manila))
    findings = [_placed(finding, index) for finding in _first_causes(findings)]
    if backend is not None:
        backends = [each for each in backends if each.name == backend]
        findings = [each for each in findings if _is_of(each, backend)]
    return Report(read, backends, _in_order(findings, known))


FILE, FOLDER = "--config-file", "--config-dir"


def _defaults(sources: Sequence[Source]) -> Iterator[Source]:
    """Yield what ``manila-share`` reads before what it is given.

    Its own files where it is given none, its own folders where it is given none.
    """
    given = [option for option, _ in sources]
    for option, find in (
        (FILE, cfg.find_config_files),
        (FOLDER, cfg.find_config_dirs),
    ):
        if option not in given:
            for path in find("manila", "manila-share"):
                yield option, Path(path)


def _files(sources: Sequence[Source]) -> Iterator[str]:
    """Yield the files of all sources, in the order in which they count."""
    for option, path in sources:
        if option == FOLDER:
            yield from sorted(glob.glob(os.path.join(path, "*.conf")))
        else:
            yield str(path)


def _index(lines: Sequence[Line]) -> Index:
    """Return the lines that count: the last ones, less what is indented."""
    return {(line.key, line.option): line for line in lines if not line.within}


def _first_causes(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings less those that rest on what another one spoils."""
    spoilt = {key for each in findings for key in each.spoils}
    return [each for each in findings if not spoilt.intersection(each.rests_on)]


def _is_of(finding: Finding, backend: str) -> bool:
    """Tell whether a finding is one of a backend, or of all backends."""
    own = (normalized(backend), "DEFAULT")
    return (
        backend_of(normalized(finding.section)) in own
        or key_of_backend(backend) in finding.spoils
    )


def _in_order(findings: Sequence[Finding], known: Sequence[Known]) -> list[Finding]:
    """Return the findings, each once, the problems first.

    Where there is a problem, a warning may well be of what follows from it, and has
    to wait.
    """
    problems = [each for each in findings if not each.warning]
    having = {backend_of(normalized(each.section)) for each in problems}
    everywhere = having - {normalized(each.section) for each in known}
    warnings = [
        each
        for each in findings
        if each.warning
        and not everywhere
        and backend_of(normalized(each.section)) not in having
    ]
    return list(dict.fromkeys(problems + warnings))


def _placed(finding: Finding, index: Index) -> Finding:
    """Add to a finding where its option stands."""
    line = index.get((normalized(finding.section), finding.option))
    if finding.file or line is None:
        return finding
    return finding._replace(file=line.file, line=line.number)


# -- the configuration ---------------------------------------------------------


def _of_manila(group: str) -> Any:
    """Load one of the entry points that Manila has for oslo.config.

    :return: None where Manila is not installed
    """
    found = importlib.metadata.entry_points(group=group, name="manila")
    # If it cannot be imported, then nor can a driver, which is told.
    with contextlib.suppress(Exception, SystemExit):
        for entry_point in found:
            return entry_point.load()
    return None


def _names_of_manila() -> set[str]:
    """Return the names of all of Manila's options, where it is installed."""
    with contextlib.suppress(Exception, SystemExit):
        found = _of_manila("oslo.config.opts")()
        return {option.name for _, options in found for option in options}
    return set()


def _read(
    conf: cfg.ConfigOpts, sources: Sequence[Source], lines: Sequence[Line]
) -> Iterator[Finding]:
    """Read the configuration as ``manila-share`` does, and yield why it cannot be."""
    log.register_options(conf)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            conf(
                [part for option, path in sources for part in (option, str(path))],
                project="manila",
                prog="manila-share",
                default_config_files=[],
                default_config_dirs=[],
            )
    except (cfg.Error, SystemExit) as error:
        text = " ".join((said.getvalue() or str(error)).split())
        # An option that could be one of the command line as well.
        if match := re.fullmatch(r"argument --(\S+): (Invalid .* value): (.*)", text):
            advice = "write True or False" if "Boolean" in match[2] else ""
            yield Finding("DEFAULT", match[1], match[3], match[2], advice)
        elif isinstance(error, cfg.NoSuchOptError) and (
            found := list(_with_reference(conf, error, lines))
        ):
            yield from found
        else:
            yield Finding("", "", "", text)


def _with_reference(
    conf: cfg.ConfigOpts, error: cfg.NoSuchOptError, lines: Sequence[Line]
) -> Iterator[Finding]:
    """Yield the options of the command line that refer to one that there is not."""
    options = _by_name([option for option, _ in conf._all_cli_opts()])
    reference = re.compile(rf"\$\{{?{re.escape(error.opt_name)}\b")
    for line in _index(lines).values():
        if line.option in options and reference.search(line.value):
            problem = Problem(line.section, line.option, line.value, str(error))
            yield rules.finding_of(problem)


def _enabled(enabled: Sequence[str], index: Index) -> Iterator[Finding]:
    """Yield what is wrong with the names of the enabled backends."""
    heads = {section: line for (section, option), line in index.items() if not option}
    option = "enabled_share_backends"
    rests_on = (key_of_option("DEFAULT", option),)
    for name in dict.fromkeys(enabled):
        key = normalized(name)
        if key in heads:
            if enabled.count(name) > 1:
                cause, advice = "it is there twice", "write it once"
                yield Finding("DEFAULT", option, name, cause, advice)
            continue
        near = nearest(key, [each for each in heads if ":" not in each])
        spoils = [key_of_backend(each) for each in (key, *re.split(r"[\s;]+", key))]
        if near and (near.strip() == key or _has_instances(key, heads)):
            cause = f"nobody reads this section, and there is no [{name}]"
            finding = Finding(heads[near].section, "", "", cause, f"write [{name}]")
        else:
            cause = f"there is no section [{name}]"
            advice = instead(name, [near] if near else [])
            advice = advice or f"write [{name}], with a share_driver"
            finding = Finding("DEFAULT", option, name, cause, advice)
        spoils += [key_of_backend(near)] if near else []
        yield finding._replace(spoils=tuple(spoils), rests_on=rests_on)


def _has_instances(backend: str, heads: Iterable[str]) -> bool:
    """Tell whether there are sections of instances of a backend."""
    return any(section.startswith(f"{backend}:") for section in heads)


def _manager(
    manila: InstanceSection, having_hooks: Sequence[Known]
) -> Iterator[Finding]:
    """Yield what is wrong with the share manager of backends that have hooks."""
    path = manila.safe_get("share_manager")
    names = ", ".join(f"[{backend.section}]" for backend in having_hooks)
    if not having_hooks or path == MANAGER:
        return
    cause = f"it does not weave the hooks of {names}"
    try:
        # One of an operator's own may inherit it.
        bases = [base.__module__ for base in driver_at(path).__mro__]
        if MANAGER.rpartition(".")[0] in bases:
            return
    except UnresolvedName as error:
        cause = error.cause
    if not _is_set(manila.conf, "share_manager"):
        path = ""
        cause = (
            f"it is not set, and Manila's own would load the hooks of {names} itself "
            "and weave none"
        )
    advice = f"write share_manager = {MANAGER}"
    rests_on = (key_of_option("DEFAULT", "share_manager"),)
    yield Finding("DEFAULT", "share_manager", path, cause, advice, rests_on=rests_on)


def _is_set(conf: cfg.ConfigOpts, option: str, group: str | None = None) -> bool:
    """Tell whether an option has another value than its default."""
    try:
        location = conf.get_location(option, group)
    except (ValueError, cfg.Error):
        # It has one that is wrong.
        return True
    default = cfg.Locations.opt_default
    return location is not None and location.location is not default


def _interval(
    manila: InstanceSection, backends: Sequence[Backend]
) -> Iterator[Finding]:
    """Warn of an interval that oslo.service does not take as it is."""
    option = "periodic_hooks_interval"
    seconds = manila.safe_get(option)
    periodic = any("periodic" in hook.actions for b in backends for hook in b.chain)
    if periodic and seconds <= 0:
        cause = "there are no ticks" if seconds < 0 else "it is taken for 60 seconds"
        advice = "write the seconds between ticks"
        yield Finding("DEFAULT", option, f"{seconds:g}", cause, advice, True)


# -- one backend ---------------------------------------------------------------


def _backend(
    conf: cfg.ConfigOpts, name: str | None, host: str, index: Index, progress: Progress
) -> tuple[Backend, Known, list[Finding]]:
    """Tell of one backend.

    :param name: its section; None for ``[DEFAULT]``
    :param host: the host of the service
    """
    section = name or "DEFAULT"
    findings: list[Finding] = []
    driver, cls = _driver(conf, name, findings, progress)
    host = f"{host}@{name}" if name else host
    progress(f"making the hooks of [{section}]")
    planned = plan(BackendSection(conf, name), host, cls)
    known = _known(section, planned)
    for problem in (*planned.problems, *_misnamed(planned, known)):
        findings.append(rules.finding_of(problem, known, index))
    woven = {}
    lacks = []
    if cls is not None and planned.instances:
        woven = woven_methods(cls, planned.own.safe_get("hook_methods"))
        lacks = lacking(cls, woven)
    for instance in planned.instances:
        findings += _idle(instance, [each for each in woven if each not in lacks])
    if not known.instances:
        findings += _pointless(section, index)
    return (
        Backend(
            section,
            host,
            driver,
            planned.own.safe_get("periodic_hooks_ticks"),
            [_hook(instance, index) for instance in planned.instances],
            list(_settings(planned.own, index)),
            woven,
            lacks,
        ),
        known,
        findings,
    )


def _driver(
    conf: cfg.ConfigOpts, name: str | None, findings: list[Finding], progress: Progress
) -> tuple[str, type | None]:
    """Import the driver class of a backend."""
    section = name or "DEFAULT"
    own = InstanceSection(BackendSection(conf, name), None)
    own.append_config_values([rules.driver_option])
    path = own.safe_get("share_driver")
    if wrong := list(own.problems()):
        findings += map(rules.finding_of, wrong)
        return path, None
    if not _is_set(conf, "share_driver", name):
        cause = f"it is not set, so Manila takes {path}"
        findings.append(Finding(section, "share_driver", "", cause, warning=True))
        return path, None
    progress(f"importing {path}")
    try:
        return path, driver_at(path)
    except UnresolvedName as error:
        findings.append(
            Finding(section, "share_driver", path, error.cause, error.advice)
        )
        return path, None


def _known(section: str, planned: Plan) -> Known:
    """Return what options the instances of a backend have, also those not made."""
    instances = {}
    incomplete = set()
    unnamed = {}
    made = {each.section.name: each.section.options for each in planned.instances}
    for entry in planned.own.safe_get("hook_drivers"):
        for meant in entries_meant(entry):
            options: list[Any] = [*rules.COMMON.values()]
            # What is wrong was told by the plan.
            with contextlib.suppress(UnresolvedName):
                name, what = parse_entry(meant)
                unnamed[parse_entry(what)[0]] = name
                instances[name] = _by_name(options)
                if name in made:
                    options = [*made[name].values()]
                else:
                    incomplete.add(name)
                    options += getattr(class_named(what), "options", ())
                instances[name] = _by_name(options)
    return Known(section, instances, incomplete, unnamed)


def _misnamed(planned: Plan, known: Known) -> Iterator[Problem]:
    """Yield the entries whose instances have a name that nobody would give."""
    wrong = {problem.value for problem in planned.problems}
    for entry in planned.own.safe_get("hook_drivers"):
        name = entry.rpartition("=")[0].strip()
        if entry not in wrong and not re.fullmatch(r"[\w.-]*", name):
            cause = f"the instance would be called {name!r}"
            yield Problem(known.section, "hook_drivers", entry, cause)


def _by_name(options: Collection[Any]) -> dict[str, cfg.Opt]:
    """Return options by all the names that they may have in a file."""
    return {
        name: option
        for option in options
        if isinstance(option, cfg.Opt)
        for name in (
            *(option.name, option.dest),
            *(each.name for each in option.deprecated_opts if each.name),
        )
    }


def _hook(instance: Instance, index: Index) -> Hook:
    _, section, hook = instance
    on = {
        action: section.safe_get(f"enable_{action}_hooks")
        for action in ("pre", "post", "periodic")
    }
    actions = [action for action in on if on[action]]
    if on["post"] and error_action(hook):
        actions.insert(actions.index("post") + 1, "error")
    return Hook(
        str(section.name),
        f"{type(hook).__module__}:{type(hook).__qualname__}",
        tuple(actions),
        tuple(a for a in on if section.safe_get(f"suppress_{a}_hooks_errors")),
        section.safe_get("hook_dispatch"),
        tuple(section.safe_get("hook_operations")),
        list(_settings(section, index)),
    )


def _settings(section: InstanceSection, index: Index) -> Iterator[Setting]:
    """Yield the options that are not left at their defaults."""
    for option in section.options.values():
        origin = section.origin(option.dest)
        if origin is None:
            continue
        value = text_of_value(option, section.safe_get(option.dest))
        line = index.get((normalized(origin.section), origin.name))
        place = origin.detail
        if line and not origin.in_environment:
            place = f"{line.file}:{line.number}"
        yield Setting(option.name, shown(option, value), origin.section, place)


# -- what may not be meant -----------------------------------------------------


def _idle(instance: Instance, operations: Sequence[str]) -> Iterator[Finding]:
    """Warn of an instance that will do nothing."""
    section = instance.section
    own = str(section.groups[0])
    switches = [option for option in SWITCHES.values() if option.startswith("enable_")]
    if not any(section.safe_get(option) for option in switches):
        cause = f"the hook does nothing: {', '.join(switches)} are off"
        yield Finding(own, "", "", cause, f"write {switches[1]} = True", True)
    patterns = section.safe_get("hook_operations")
    for pattern in patterns if operations else ():
        if not pattern.startswith("!") and not fnmatch.filter(operations, pattern):
            name = "hook_operations"
            cause = "the driver lacks what it matches"
            yield Finding(section.where(name), name, pattern, cause, "", True)


def _pointless(section: str, index: Index) -> Iterator[Finding]:
    """Warn of switches where there are no hooks: of the first, that will do."""
    for option in SWITCHES.values():
        if line := index.get((normalized(section), option)):
            cause = "the backend has no hooks"
            advice = "name them in hook_drivers"
            yield Finding(section, option, line.value, cause, advice, True)
            break

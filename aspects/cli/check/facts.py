# SPDX-License-Identifier: Apache-2.0
"""Gather the facts that the rules examine, about drivers and hooks."""

from __future__ import annotations

import contextlib
import importlib.metadata
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from oslo_config import cfg

from aspects.cli.check.files import Index, Line, index_of, normalized
from aspects.cli.check.suggestions import suggested_entries
from aspects.cli.drivers import is_factory, missing_operations, woven_methods
from aspects.cli.output import Progress
from aspects.cli.skeleton import skeleton
from aspects.config.loading import class_named, driver_at, parse_entry
from aspects.config.options import (
    SharedOpt,
    hook_options,
    instance_options,
    section_options,
)
from aspects.config.plan import Plan, plan
from aspects.config.problems import Problem
from aspects.config.sections import BackendSection, InstanceSection
from aspects.errors import UnresolvedNameError
from aspects.requests import API, SECTION

# -- options -------------------------------------------------------------------


class SharedStrOpt(SharedOpt, cfg.StrOpt):
    """A string option that Manila may also register."""


class SharedListOpt(SharedOpt, cfg.ListOpt):
    """A list option that Manila may also register."""


class SharedHostAddressOpt(SharedOpt, cfg.HostAddressOpt):
    """A host option that Manila may also register."""


#: Manila's options in ``[DEFAULT]``, with Manila's types and defaults, so that they can
#: be read without Manila.
manila_options: list[cfg.Opt] = [
    SharedListOpt("enabled_share_backends"),
    SharedStrOpt("share_manager", default="manila.share.manager.ShareManager"),
    SharedStrOpt("share_api_class", default="manila.share.api.API"),
    SharedHostAddressOpt("host", default=socket.gethostname()),
    SharedStrOpt("state_path", default="/var/lib/manila"),
    # Of Manila's hooks; an invalid value must not end the command.
    next(option for option in hook_options if option.name == "periodic_hooks_interval"),
]

#: Manila's option in each backend section.
driver_option: cfg.Opt = SharedStrOpt(
    "share_driver", default="manila.share.drivers.generic.GenericShareDriver"
)

#: The options of every hook instance, by name.
COMMON = {option.name: option for option in (*hook_options, *instance_options)}

#: The options that are recognized in every section, by name.
EVERYWHERE = {
    option.name: option
    for option in (*hook_options, *instance_options, *section_options)
} | {option.name: option for option in (*manila_options[:3], driver_option)}

#: The options that are only read in ``[DEFAULT]``.
DEFAULT_ONLY = (
    *("enabled_share_backends", "share_manager", "share_api_class"),
    "periodic_hooks_interval",
)

#: The options that are only read in backend sections.
BACKEND_ONLY = tuple(option.name for option in section_options)


def by_name(options: Iterable[Any]) -> dict[str, cfg.Opt]:
    """Return options by the names that a file may use, including deprecated ones.

    :param options: the options; other objects among them are ignored
    """
    return {
        name: option
        for option in options
        if isinstance(option, cfg.Opt)
        for name in (
            *(option.name, option.dest),
            *(old.name for old in option.deprecated_opts if old.name),
        )
    }


def is_set(conf: cfg.ConfigOpts, option: str, group: str | None = None) -> bool:
    """Return whether an option is set, instead of having its default.

    :param conf: the parsed configuration
    :param option: the option's name
    :param group: its section; None for ``[DEFAULT]``
    """
    try:
        location = conf.get_location(option, group)
    except (ValueError, cfg.Error):
        # Its value is set, but invalid.
        return True
    default = cfg.Locations.opt_default
    return location is not None and location.location is not default


# -- Manila --------------------------------------------------------------------


def register_options_of_manila() -> None:
    """Register the options that all services of Manila share, if it is installed."""
    found = importlib.metadata.entry_points(
        group="oslo.config.opts.defaults", name="manila"
    )
    # If Manila cannot be imported, its drivers cannot either, which is reported.
    with contextlib.suppress(Exception, SystemExit):
        for entry_point in found:
            entry_point.load()


def manila_section(conf: cfg.ConfigOpts) -> InstanceSection:
    """Return Manila's options in ``[DEFAULT]``, with defaults for invalid ones.

    :param conf: the parsed configuration
    """
    section = InstanceSection(BackendSection(conf, None), None)
    section.append_config_values(manila_options)
    return section


# -- backends ------------------------------------------------------------------


class Driver(NamedTuple):
    """The driver class of a backend."""

    path: str
    """the value of ``share_driver``"""
    is_set: bool = True
    """whether ``share_driver`` is set, instead of having Manila's default"""
    cls: type | None = None
    """the class, or its skeleton; None if it cannot be imported"""
    error: UnresolvedNameError | None = None
    """the reason why it cannot be imported"""
    problems: Sequence[Problem] = ()
    """the errors in the value of ``share_driver``"""

    @property
    def factory(self) -> bool:
        """True if the class may construct an object of another class."""
        return self.cls is not None and is_factory(self.cls)

    @property
    def methods(self) -> type | None:
        """The class, if it has the driver's methods."""
        return None if self.factory else self.cls


class BackendFacts(NamedTuple):
    """The driver and the hooks of an enabled backend."""

    section: str
    """the backend section; ``DEFAULT`` if no backends are enabled"""
    host: str
    driver: Driver
    plan: Plan
    """the hooks, and the errors that manila-share also reports"""
    woven: Mapping[str, list[str]]
    """the woven methods of the driver, by operation"""
    missing_operations: list[str]
    """the operations that the driver does not implement"""
    instances: Mapping[str, Mapping[str, cfg.Opt]]
    """the options of each hook instance, by name, including instances that failed"""
    incomplete: Collection[str]
    """the instances that failed, which may have more options"""
    default_names: Mapping[str, str]
    """the default name of an instance, from its class -> the actual name"""

    @property
    def is_api(self) -> bool:
        """True if this is the share API instead of a backend."""
        return self.plan.interface is API

    @property
    def instance_sections(self) -> dict[str, str]:
        """The normalized instance sections -> the instances."""
        return {normalized(f"{self.section}:{name}"): name for name in self.instances}


@dataclass(frozen=True)
class Facts:
    """The facts about a configuration."""

    lines: Sequence[Line]
    """the lines of all files"""
    index: Index
    """the effective lines"""
    manila: InstanceSection
    """Manila's own options"""
    enabled: Sequence[str]
    """the value of ``enabled_share_backends``"""
    backends: Sequence[BackendFacts]
    """the enabled backends whose sections exist"""


def gather(manila: InstanceSection, lines: Sequence[Line], progress: Progress) -> Facts:
    """Read or import the drivers, construct the hooks, and return the facts.

    :param manila: Manila's own options
    :param lines: the lines of all files
    :param progress: called with a status message before slow steps
    """
    index = index_of(lines)
    enabled = manila.safe_get("enabled_share_backends") or []
    backends = [
        _backend_facts(manila, name, progress)
        for name in dict.fromkeys(enabled or [None])
        if name is None or (normalized(name), "") in index
    ]
    if (SECTION, "") in index and SECTION not in map(normalized, enabled):
        backends.append(_api_facts(manila, progress))
    return Facts(lines, index, manila, enabled, backends)


def _api_facts(manila: InstanceSection, progress: Progress) -> BackendFacts:
    """Return the facts about the share API, in the form of a backend.

    :param manila: Manila's own options
    :param progress: called with a status message before slow steps
    """
    progress(f"constructing the hooks of [{SECTION}]")
    host = manila.safe_get("host")
    planned = plan(BackendSection(manila.conf, SECTION), host, interface=API)
    share_api = Driver("manila.share.api.API")
    return BackendFacts(SECTION, host, share_api, planned, {}, [], *_instances(planned))


def _backend_facts(
    manila: InstanceSection, name: str | None, progress: Progress
) -> BackendFacts:
    """Return the facts about one backend.

    :param manila: Manila's own options
    :param name: the backend section; None for ``[DEFAULT]``
    :param progress: called with a status message before slow steps
    """
    section = name or "DEFAULT"
    driver = _driver(manila.conf, name, progress)
    host = manila.safe_get("host")
    host = f"{host}@{name}" if name else host
    progress(f"constructing the hooks of [{section}]")
    planned = plan(BackendSection(manila.conf, name), host, driver.methods)
    if any(map(_follows_from_skeleton, planned.problems)):
        driver = _driver(manila.conf, name, progress, driver_at)
        planned = plan(BackendSection(manila.conf, name), host, driver.methods)
    cls = driver.methods
    woven: dict[str, list[str]] = {}
    missing: list[str] = []
    if cls is not None and planned.instances:
        woven = woven_methods(cls, planned.own.safe_get("hook_methods"))
        missing = missing_operations(cls, woven)
    return BackendFacts(
        section, host, driver, planned, woven, missing, *_instances(planned)
    )


def _follows_from_skeleton(problem: Problem) -> bool:
    """Return whether a problem may be that a skeleton has less than the driver.

    A skeleton has no attributes but methods, and the options that the driver's module
    registers are unknown.
    """
    return problem.option == "hook_methods" or "no such option" in problem.cause


def _of_skeleton(path: str) -> type:
    """Return the skeleton of a driver class, or else the class.

    :raises UnresolvedNameError: if the class cannot be imported
    """
    return skeleton(path) or driver_at(path)


def _driver(
    conf: cfg.ConfigOpts,
    name: str | None,
    progress: Progress,
    load: Callable[[str], type] = _of_skeleton,
) -> Driver:
    """Return the driver of a backend.

    :param conf: the parsed configuration
    :param name: the backend section; None for ``[DEFAULT]``
    :param progress: called with a status message before slow steps
    :param load: returns the class of a path, or its skeleton
    """
    section = InstanceSection(BackendSection(conf, name), None)
    section.append_config_values([driver_option])
    path = section.safe_get("share_driver")
    if problems := list(section.problems()):
        return Driver(path, problems=problems)
    if not is_set(conf, "share_driver", name):
        return Driver(path, is_set=False)
    progress(f"loading {path}")
    try:
        return Driver(path, cls=load(path))
    except UnresolvedNameError as error:
        return Driver(path, error=error)


def _instances(
    planned: Plan,
) -> tuple[dict[str, dict[str, cfg.Opt]], set[str], dict[str, str]]:
    """Return the instances' options, the incomplete instances, and default names."""
    instances = {}
    incomplete = set()
    default_names = {}
    constructed = {
        instance.section.name: instance.section.options
        for instance in planned.instances
    }
    for entry in planned.own.safe_get("hook_drivers"):
        for suggested in suggested_entries(entry):
            options: list[Any] = [*COMMON.values()]
            # The plan reports invalid entries.
            with contextlib.suppress(UnresolvedNameError):
                name, what = parse_entry(suggested)
                default_names[parse_entry(what)[0]] = name
                instances[name] = by_name(options)
                if name in constructed:
                    options = [*constructed[name].values()]
                else:
                    incomplete.add(name)
                    options += getattr(class_named(what), "options", ())
                instances[name] = by_name(options)
    return instances, incomplete, default_names


def known_options(backends: Iterable[BackendFacts]) -> dict[str, cfg.Opt]:
    """Return all options of manila-aspects and of hooks, by name.

    :param backends: the backends with the hooks
    """
    options = dict(EVERYWHERE)
    for backend in backends:
        for known in backend.instances.values():
            options.update(known)
    return options

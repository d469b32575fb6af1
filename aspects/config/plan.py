# SPDX-License-Identifier: Apache-2.0
"""Read a backend section and make its hooks."""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from aspects.config.loading import _hook_class, parse_entry
from aspects.config.options import SWITCHES, section_options
from aspects.config.problems import Problem, instead, one_line
from aspects.config.sections import InstanceSection
from aspects.core.dispatch import Background
from aspects.core.log import secret_options
from aspects.errors import UnresolvedName
from aspects.hook import Configuration, HookBase
from aspects.operations import METHODS
from aspects.weaving import no_driver_method


def _make_hook(cls: type, section: InstanceSection, host: str | None) -> Any:
    """Make one hook instance.

    :raises UnresolvedName: saying why that is not possible
    """
    try:
        hook: Any = cls(configuration=section, host=host)
        hook.instance_name = section.name
    except (Exception, SystemExit) as error:
        text = one_line(error, {"secrets": secret_options(section)})
        raise UnresolvedName(f"making the hook failed: {text}") from error
    if section.safe_get("hook_dispatch") == "background":
        # Told by _wrong_dispatch().
        with contextlib.suppress(ImportError):
            hook.dispatcher = Background(
                f"{section.name} of {section.config_group or 'DEFAULT'}",
                section.safe_get("hook_queue_size"),
                section.safe_get("hook_queue_timeout"),
                section.safe_get("hook_drain_timeout"),
            )
    return hook


def _wrong_dispatch(cls: type, section: InstanceSection) -> Iterator[Problem]:
    """Yield what is wrong with the way in which a hook is to be run."""
    dispatch = section.safe_get("hook_dispatch")
    dispatches = getattr(cls, "dispatches", HookBase.dispatches)
    cause = advice = ""
    if dispatch not in dispatches:
        cause = f"{cls.__name__} delivers no events"
        advice = f"write {' or '.join(dispatches)}"
    elif dispatch == "background":
        try:
            importlib.import_module("futurist")
        except ImportError as error:
            cause, advice = str(error), "pip install 'manila-aspects[background]'"
    if cause:
        where = section.where("hook_dispatch")
        yield Problem(where, "hook_dispatch", dispatch, cause, advice)


class Instance(NamedTuple):
    """A hook instance of a section."""

    what: str
    """what the entry of ``hook_drivers`` names"""
    section: InstanceSection
    """what it is configured by"""
    hook: Any
    """the hook"""


class Plan(NamedTuple):
    """What a backend section says of its hooks."""

    own: InstanceSection
    """the options of :data:`section_options`"""
    instances: list[Instance]
    """the hooks that could be made, in order"""
    problems: list[Problem]
    """everything that is wrong"""

    @property
    def hooks(self) -> tuple[Any, ...]:
        """The hooks, in order."""
        return tuple(instance.hook for instance in self.instances)

    @property
    def sections(self) -> list[InstanceSection]:
        """What each of the hooks is configured by."""
        return [instance.section for instance in self.instances]


def plan(
    configuration: Configuration,
    host: str | None,
    driver: Any = None,
    before: Sequence[Instance] = (),
) -> Plan:
    """Read a backend section and make its hooks; change nothing else.

    :param configuration: the backend's section
    :param host: the share service's host
    :param driver: the driver or its class, to look for ``hook_methods``; None to
        do without
    :param before: the instances that run now: one that only has mutable options
        changed, or none, is kept
    :return: the hooks, and everything that is wrong
    """
    own = InstanceSection(configuration, None)
    own.append_config_values(section_options)
    problems = list(own.problems())
    instances: dict[str, Instance] = {}
    group = own.config_group or "DEFAULT"
    for entry in own.safe_get("hook_drivers"):
        try:
            name, what = parse_entry(entry)
            # As oslo.config compares the names of sections.
            key = name.lower()
            if key in instances:
                # What else is wrong is to be told at once.
                _hook_class(what)
                raise UnresolvedName(
                    f"there are two instances of the name {name!r}",
                    "give each its own, as in name=what",
                )
            section = InstanceSection(configuration, name)
            # Even if there is no hook: its options are to be checked.
            instances[key] = Instance(what, section, None)
            old = _instance_before(instances[key], before)
            cls = type(old.hook) if old else _hook_class(what)
            problems += _wrong_dispatch(cls, section)
            hook = (
                _hook_as_before(old, section, host)
                if old
                else _make_hook(cls, section, host)
            )
            instances[key] = Instance(what, section, hook)
        except UnresolvedName as error:
            problems.append(
                Problem(group, "hook_drivers", entry, error.cause, error.advice)
            )
    methods = tuple(own.safe_get("hook_methods"))
    operations = {*METHODS.values(), *methods}
    for instance in instances.values():
        problems += instance.section.problems()
        problems += _unknown_operations(instance.section, operations)
    for method in methods:
        if driver is not None and not callable(getattr(driver, method, None)):
            cause = "unknown operation: the driver has no such method"
            advice = instead(method, {*dir(driver)} - {method})
            problems.append(Problem(group, "hook_methods", method, cause, advice))
        elif wrong := no_driver_method(method):
            problems.append(Problem(group, "hook_methods", method, wrong))
    made = [instance for instance in instances.values() if instance.hook is not None]
    return Plan(own, made, list(dict.fromkeys(problems)))


def _instance_before(instance: Instance, before: Sequence[Instance]) -> Instance | None:
    """Return the instance that an entry has already, or None."""
    for old in before:
        if old.what == instance.what and old.section.name == instance.section.name:
            return old
    return None


def _hook_as_before(old: Instance, section: InstanceSection, host: str | None) -> Any:
    """Return the hook for an entry that has one already.

    Where options have changed, a new one is made, since a constructor checks them.
    It takes the place of the old one if one of them was not declared mutable.

    :param old: what there is
    :param section: what the hook is configured by now
    :raises UnresolvedName: if the new values are no good
    """
    section.append_config_values(list(old.section.options.values()))
    if section.values != old.section.values:
        new = _make_hook(type(old.hook), section, host)
        if not section.same_but_mutable(old.section):
            return new
    return old.hook


def _unknown_operations(
    section: InstanceSection, operations: Iterable[str]
) -> Iterator[Problem]:
    """Yield the patterns of a hook that no operation matches."""
    option = "hook_operations"
    for pattern in section.safe_get(option):
        if not fnmatch.filter(operations, pattern):
            cause = "unknown operation: no operation matches"
            advice = _operation_meant(pattern, operations)
            yield Problem(section.where(option), option, pattern, cause, advice)


def _operation_meant(pattern: str, operations: Iterable[str]) -> str:
    """Return what to write for a pattern that no operation matches."""
    if pattern in METHODS:
        return f"write {METHODS[pattern]}"
    kinds = {f"{operation.partition('_')[0]}_*" for operation in operations}
    return instead(pattern, {*operations, *kinds}, 0.8)


def _set_switches(planned: Plan) -> None:
    """Set the switches of all hooks from their sections.

    Not through the setters, each of which would renew the chain: it is replaced
    as a whole.
    """
    for _, section, hook in planned.instances:
        values = {
            switch: section.safe_get(option) for switch, option in SWITCHES.items()
        }
        if isinstance(hook, HookBase):
            vars(hook).update(values)
        else:
            for switch, value in values.items():
                setattr(hook, switch, value)

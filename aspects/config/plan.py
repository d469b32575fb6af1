# SPDX-License-Identifier: Apache-2.0
"""Read a backend section: construct its hooks, and collect all its errors."""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from aspects.config.loading import _hook_class, parse_entry
from aspects.config.options import SWITCHES, section_options
from aspects.config.problems import Problem, nearest, one_line, suggest
from aspects.config.sections import InstanceSection
from aspects.core.dispatch import Background
from aspects.errors import UnresolvedNameError
from aspects.hook import Configuration, HookBase
from aspects.operations import DRIVER, Interface
from aspects.secrets import secret_options
from aspects.weaving import invalid_method_name


class Instance(NamedTuple):
    """A hook instance of a section."""

    what: str
    """the class, as its entry in ``hook_drivers`` names it"""
    section: InstanceSection
    """the hook's configuration"""
    hook: Any
    """the hook, None if it could not be constructed"""

    @property
    def key(self) -> tuple[str, str | None]:
        """The identity of the hook: a reload keeps the hook whose key is unchanged."""
        return self.what, self.section.name


class Plan(NamedTuple):
    """The hooks of a backend section."""

    own: InstanceSection
    """the backend's own options: see :data:`section_options`"""
    instances: list[Instance]
    """the hooks that could be constructed, in order"""
    problems: list[Problem]
    """all errors in the section"""
    interface: Interface
    """the methods of the object that are operations"""

    @property
    def hooks(self) -> tuple[Any, ...]:
        """The hooks, in order."""
        return tuple(instance.hook for instance in self.instances)

    @property
    def sections(self) -> list[InstanceSection]:
        """The configurations of the hooks, in order."""
        return [instance.section for instance in self.instances]

    def set_switches(self) -> None:
        """Set the switches of all hooks to the values of their options."""
        for _, section, hook in self.instances:
            values = {
                switch: section.safe_get(option) for switch, option in SWITCHES.items()
            }
            if isinstance(hook, HookBase):
                # Not by the setters: each would rebuild the chain, which a reload
                # replaces as a whole.
                vars(hook).update(values)
            else:
                for switch, value in values.items():
                    setattr(hook, switch, value)


def plan(
    configuration: Configuration,
    host: str | None,
    driver: Any = None,
    before: Sequence[Instance] = (),
    interface: Interface = DRIVER,
) -> Plan:
    """Read a backend section and construct its hooks, without other side effects.

    :param configuration: the backend's section
    :param host: the share service's host
    :param driver: the driver or its class, to check ``hook_methods``; None skips this
        check
    :param before: the instances of the running chain; an instance is kept if at most
        its mutable options have changed
    :param interface: the methods of the object that are operations
    :return: the hooks, and all errors in the section
    """
    own = InstanceSection(configuration, None)
    own.append_config_values(section_options)
    problems = [*own.problems()]
    instances: dict[str, Instance] = {}
    for entry in own.safe_get("hook_drivers"):
        try:
            name, what = parse_entry(entry)
            # oslo.config compares the names of sections in lower case.
            key = name.lower()
            if key in instances:
                # An error in the class takes precedence over the duplicate name.
                _hook_class(what)
                raise UnresolvedNameError(
                    f"duplicate instance name {name!r}",
                    "give each entry its own, as in name=hook",
                )
            instance = Instance(what, InstanceSection(configuration, name), None)
            # Before the class is resolved, so that its options are always checked.
            instances[key] = instance
            old = next((old for old in before if old.key == instance.key), None)
            cls = type(old.hook) if old else _hook_class(what)
            problems += dispatch_problems(cls, instance.section)
            hook = _hook_of(cls, instance.section, host, old)
            instances[key] = instance._replace(hook=hook)
        except UnresolvedNameError as error:
            problems.append(_problem(own, "hook_drivers", entry, error))
    _share_secrets([instance.section for instance in instances.values()])
    methods = own.safe_get("hook_methods")
    operations = {*interface.methods.values(), *methods}
    for instance in instances.values():
        problems += instance.section.problems()
        problems += _operation_problems(instance.section, operations, interface)
    problems += _method_problems(own, methods, driver)
    constructed = [found for found in instances.values() if found.hook is not None]
    return Plan(own, constructed, list(dict.fromkeys(problems)), interface)


def _problem(
    own: InstanceSection, option: str, value: str, error: UnresolvedNameError
) -> Problem:
    """Return the problem for a name in the backend's section."""
    return Problem(own.where(option), option, value, error.cause, error.advice)


def _share_secrets(sections: Collection[InstanceSection]) -> None:
    """Hide an option of all hooks if it is secret for one of them.

    Hooks with options of the same name may read the same line of a file. The errors of
    one hook may repeat a secret of another.
    """
    for section in sections:
        secret = [option.dest for option in section.options.values() if option.secret]
        for other in sections:
            other.hide(secret)
    values = [value for section in sections for value in section.hook_secrets]
    for section in sections:
        section.other_secrets = values


# -- the hooks -----------------------------------------------------------------


def _hook_of(
    cls: type, section: InstanceSection, host: str | None, old: Instance | None
) -> Any:
    """Return the hook for an entry: the running one if it can be kept, else a new one.

    :param cls: the class of the hook
    :param section: the configuration of the hook
    :param host: the share service's host
    :param old: the running instance; None if there is none
    :raises UnresolvedNameError: if the hook cannot be constructed
    """
    if old is None:
        return make_hook(cls, section, host)
    section.append_config_values(old.section.options.values())
    if section.values == old.section.values:
        return old.hook
    # Even if the old hook is kept, because the constructor checks the new values.
    new = make_hook(cls, section, host)
    return old.hook if section.same_immutable_values(old.section) else new


def make_hook(cls: type, section: InstanceSection, host: str | None) -> Any:
    """Construct a hook.

    :raises UnresolvedNameError: if its constructor raises
    """
    try:
        hook: Any = cls(configuration=section, host=host)
        hook.instance_name = section.name
    except (Exception, SystemExit) as error:
        text = one_line(error, secret_options(section))
        raise UnresolvedNameError(f"failed to construct the hook: {text}") from error
    if section.safe_get("hook_dispatch") == "background":
        # dispatch_problems() reports a missing library.
        with contextlib.suppress(ImportError):
            hook.dispatcher = Background(
                f"{section.name} of {section.config_group or 'DEFAULT'}",
                section.safe_get("hook_queue_size"),
                section.safe_get("hook_queue_timeout"),
                section.safe_get("hook_drain_timeout"),
                getattr(hook, "background_workers", 1),
            )
    return hook


# -- the problems --------------------------------------------------------------


def dispatch_problems(cls: type, section: InstanceSection) -> Iterator[Problem]:
    """Yield the errors in ``hook_dispatch`` of a hook."""
    dispatch = section.safe_get("hook_dispatch")
    dispatches = getattr(cls, "dispatches", HookBase.dispatches)
    cause = advice = ""
    if dispatch not in dispatches:
        cause = f"not supported by {cls.__name__}"
        advice = f"use {' or '.join(dispatches)}"
    elif dispatch == "background":
        try:
            importlib.import_module("futurist")
        except ImportError as error:
            cause, advice = str(error), "pip install 'manila-aspects[background]'"
    if cause:
        where = section.where("hook_dispatch")
        yield Problem(where, "hook_dispatch", dispatch, cause, advice)


def _operation_problems(
    section: InstanceSection, operations: Iterable[str], interface: Interface
) -> Iterator[Problem]:
    """Yield the patterns of a hook that match no operation."""
    option = "hook_operations"
    for pattern in section.safe_get(option):
        name = pattern.removeprefix("!")
        if not fnmatch.filter(operations, name):
            cause = "no operation matches"
            advice = _suggested_operation(name, operations, interface)
            if name != pattern:
                advice = re.sub(r"mean !?", "mean !", advice, count=1)
            yield Problem(section.where(option), option, pattern, cause, advice)


def _suggested_operation(
    pattern: str, operations: Iterable[str], interface: Interface
) -> str:
    """Suggest a correction for a pattern that matches no operation."""
    # A name after a sign of negation, which would be the opposite without it.
    negation = re.match(r"(?:not\s+|[-~^!]\s*)(?=\w)", pattern)
    if negation and "," not in pattern:
        name = pattern[negation.end() :]
        near = interface.methods.get(name) or nearest(name, operations, 0.8)
        if near:
            return f"did you mean !{near}?"
    if pattern in interface.methods:
        return f"did you mean {interface.methods[pattern]}?"
    kinds = {f"{operation.partition('_')[0]}_*" for operation in operations}
    return suggest(pattern, {*operations, *kinds}, 0.8)


def _method_problems(
    own: InstanceSection, methods: Iterable[str], driver: Any
) -> Iterator[Problem]:
    """Yield the names in ``hook_methods`` that cannot be woven.

    :param driver: the driver or its class; None skips the check that it has the method
    """
    for method in methods:
        cause = advice = ""
        if driver is not None and not callable(getattr(driver, method, None)):
            cause = "the driver does not have this method"
            advice = suggest(method, {*dir(driver)} - {method})
        else:
            cause = invalid_method_name(method) or ""
        if cause:
            where = own.where("hook_methods")
            yield Problem(where, "hook_methods", method, cause, advice)

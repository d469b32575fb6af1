# SPDX-License-Identifier: Apache-2.0
"""Read a backend section: construct its hooks, and collect all its problems."""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from aspects.config.loading import _hook_class, parse_entry
from aspects.config.options import SWITCHES, section_options
from aspects.config.problems import Problem, instead, one_line
from aspects.config.sections import InstanceSection
from aspects.core.dispatch import Background
from aspects.core.log import secret_options
from aspects.errors import UnresolvedNameError
from aspects.hook import Configuration, HookBase
from aspects.operations import METHODS
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
        """Two entries of ``hook_drivers`` with one key are for the same hook."""
        return self.what, self.section.name


class Plan(NamedTuple):
    """The hooks of a backend section."""

    own: InstanceSection
    """the configuration of the backend itself: :data:`section_options`"""
    instances: list[Instance]
    """the hooks that could be constructed, in order"""
    problems: list[Problem]
    """all errors in the section"""

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
                # Each setter would renew the chain, which is replaced as a whole.
                vars(hook).update(values)
            else:
                for switch, value in values.items():
                    setattr(hook, switch, value)


def plan(
    configuration: Configuration,
    host: str | None,
    driver: Any = None,
    before: Sequence[Instance] = (),
) -> Plan:
    """Read a backend section and construct its hooks; change nothing else.

    :param configuration: the backend's section
    :param host: the share service's host
    :param driver: the driver or its class, to look for ``hook_methods``; None to
        skip that
    :param before: the instances of the running chain; one of them is kept if at most
        mutable options of it have changed
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
                # An error in the class is reported with this one.
                _hook_class(what)
                raise UnresolvedNameError(
                    f"there are two instances of the name {name!r}",
                    "give each its own, as in name=what",
                )
            instance = Instance(what, InstanceSection(configuration, name), None)
            # Its options are checked even if there is no such hook.
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
    operations = {*METHODS.values(), *methods}
    for instance in instances.values():
        problems += instance.section.problems()
        problems += _operation_problems(instance.section, operations)
    problems += _method_problems(own, methods, driver)
    made = [instance for instance in instances.values() if instance.hook is not None]
    return Plan(own, made, list(dict.fromkeys(problems)))


def _problem(
    own: InstanceSection, option: str, value: str, error: UnresolvedNameError
) -> Problem:
    """Return the problem for a name in the backend's section."""
    return Problem(own.where(option), option, value, error.cause, error.advice)


def _share_secrets(sections: Collection[InstanceSection]) -> None:
    """Hide an option of all hooks if it is secret for one of them.

    Hooks that have an option of the same name may read the same line.
    """
    for section in sections:
        secret = [option.dest for option in section.options.values() if option.secret]
        for other in sections:
            other.hide(secret)


# -- the hooks -----------------------------------------------------------------


def _hook_of(
    cls: type, section: InstanceSection, host: str | None, old: Instance | None
) -> Any:
    """Return the hook for an entry: a new one, or the one that it has already.

    :param cls: its class
    :param section: its configuration
    :param host: the share service's host
    :param old: the instance that runs now, if there is one
    :raises UnresolvedNameError: if it cannot be constructed
    """
    if old is None:
        return make_hook(cls, section, host)
    section.append_config_values(old.section.options.values())
    if section.values == old.section.values:
        return old.hook
    # Also where the old one is kept: the constructor checks the new values.
    new = make_hook(cls, section, host)
    return old.hook if section.same_but_mutable(old.section) else new


def make_hook(cls: type, section: InstanceSection, host: str | None) -> Any:
    """Construct a hook.

    :raises UnresolvedNameError: if its constructor raises
    """
    try:
        hook: Any = cls(configuration=section, host=host)
        hook.instance_name = section.name
    except (Exception, SystemExit) as error:
        text = one_line(error, secret_options(section))
        raise UnresolvedNameError(f"making the hook failed: {text}") from error
    if section.safe_get("hook_dispatch") == "background":
        # Without its library there is a problem: see dispatch_problems().
        with contextlib.suppress(ImportError):
            hook.dispatcher = Background(
                f"{section.name} of {section.config_group or 'DEFAULT'}",
                section.safe_get("hook_queue_size"),
                section.safe_get("hook_queue_timeout"),
                section.safe_get("hook_drain_timeout"),
            )
    return hook


# -- the problems --------------------------------------------------------------


def dispatch_problems(cls: type, section: InstanceSection) -> Iterator[Problem]:
    """Yield the errors in the way a hook is to be dispatched."""
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


def _operation_problems(
    section: InstanceSection, operations: Iterable[str]
) -> Iterator[Problem]:
    """Yield the patterns of a hook that match no operation."""
    option = "hook_operations"
    for pattern in section.safe_get(option):
        name = pattern.removeprefix("!")
        if not fnmatch.filter(operations, name):
            cause = "unknown operation: no operation matches"
            advice = _suggested_operation(name, operations)
            if name != pattern:
                advice = advice.replace("write ", "write !", 1)
            yield Problem(section.where(option), option, pattern, cause, advice)


def _suggested_operation(pattern: str, operations: Iterable[str]) -> str:
    """Return the advice for a pattern that matches no operation."""
    if pattern in METHODS:
        return f"write {METHODS[pattern]}"
    kinds = {f"{operation.partition('_')[0]}_*" for operation in operations}
    return instead(pattern, {*operations, *kinds}, 0.8)


def _method_problems(
    own: InstanceSection, methods: Iterable[str], driver: Any
) -> Iterator[Problem]:
    """Yield the names in ``hook_methods`` that cannot be woven.

    :param driver: the driver or its class; None if neither is known
    """
    for method in methods:
        cause = advice = ""
        if driver is not None and not callable(getattr(driver, method, None)):
            cause = "unknown operation: the driver has no such method"
            advice = instead(method, {*dir(driver)} - {method})
        else:
            cause = invalid_method_name(method) or ""
        if cause:
            where = own.where("hook_methods")
            yield Problem(where, "hook_methods", method, cause, advice)

# SPDX-License-Identifier: Apache-2.0
"""Options, the order in which they are looked up, and the hooks of a section."""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import glob
import importlib
import inspect
import math
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg
from oslo_log import log
from stevedore.driver import DriverManager
from stevedore.exception import NoMatches

from aspects.dispatch import Background
from aspects.hook import (
    SWITCHES,
    Configuration,
    HookBase,
    SharedOpt,
    hook_options,
    instance_options,
    secret_options,
)
from aspects.names import (
    ENTRY_POINTS,
    Wrong,
    class_at,
    installed,
    instead,
    is_path,
    not_loaded,
    one_line,
)
from aspects.operations import METHODS, ContextFactory, new_admin_context
from aspects.proxy import Weaving, never_runs, no_driver_method, weave, weaving

LOG = log.getLogger(__name__)


class _SharedListOpt(SharedOpt, cfg.ListOpt):
    pass


section_options: list[cfg.Opt] = [
    _SharedListOpt(
        "hook_drivers",
        default=[],
        mutable=True,
        help="The hooks of this backend, in order. An entry is [name=]what; what "
        "is path.to:Class, path.to.Class or the short name of an installed hook. "
        "Options of one instance go into a section [backend:name].",
    ),
    cfg.ListOpt(
        "hook_methods",
        default=[],
        help="Further driver methods to weave, under their own names.",
    ),
    cfg.IntOpt(
        "periodic_hooks_ticks",
        default=1,
        min=1,
        mutable=True,
        help="Run periodic actions on every so-manieth tick.",
    ),
]


#: Read once, when the service starts: by Manila itself, and for the proxy's class.
_AT_START = ("periodic_hooks_interval", "hook_methods")


# Whether an option was declared mutable.
_declared: weakref.WeakKeyDictionary[cfg.Opt, bool] = weakref.WeakKeyDictionary()


def is_mutable(option: cfg.Opt) -> bool:
    """Tell whether an option was declared mutable.

    One that was not has the hook instance made anew when its value changes.
    """
    return _declared.get(option, option.mutable)


class Problem(NamedTuple):
    """One thing that is wrong in a section."""

    section: str
    option: str
    value: str
    cause: str
    advice: str = ""
    """what to write or do instead, where that is known"""

    def __str__(self) -> str:
        text = f"[{self.section}] {self.option} = {self.value}: {self.cause}"
        return f"{text}: {self.advice}" if self.advice else text


class HookConfigError(Exception):
    """The hooks of a section are misconfigured.

    :param problems: everything that is wrong, in the order of the section
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        # One line each, whatever a file or an exception has in it.
        self.problems = tuple(
            Problem(*(" ".join(part.split()) for part in problem))
            for problem in problems
        )
        super().__init__("\n".join(map(str, self.problems)))


def _group(conf: cfg.ConfigOpts, name: str | None) -> Any:
    """Return the options of a section; those of ``[DEFAULT]`` for None."""
    return conf[name] if name else conf


class BackendSection:
    """The section of one backend, where there is no Manila to give it.

    :param conf: oslo.config's options, e.g. ``cfg.CONF``
    :param group: the name of the section; None for ``[DEFAULT]``
    """

    def __init__(self, conf: cfg.ConfigOpts, group: str | None) -> None:
        self.conf = conf
        self.config_group = group

    def append_config_values(self, options: Sequence[cfg.Opt]) -> None:
        """Register options in the section.

        :param options: the options
        """
        self.conf.register_opts(options, group=self.config_group)

    def safe_get(self, key: str) -> Any:
        """Return the value of an option, or None where there is none.

        :param key: the option's name
        """
        try:
            return _group(self.conf, self.config_group)[key]
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError, KeyError):
            return None

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return getattr(_group(self.conf, self.config_group), key)


class InstanceSection:
    """What one hook instance is configured by.

    An option is looked up in ``[backend:name]``, then ``[backend]``, then
    ``[DEFAULT]``, then it has its default. The values are those of the moment it
    was registered: a file that changes is followed as a whole, or not at all.

    :param section: the backend's section
    :param name: the name of the instance, as in ``hook_drivers``; None for
        what is set for the backend alone, in its section
    """

    def __init__(self, section: Configuration, name: str | None) -> None:
        self.section = section
        self.name = name
        self.config_group = section.config_group
        # Manila's and Cinder's Configuration are always of the global CONF.
        self.conf: cfg.ConfigOpts = getattr(section, "conf", None) or cfg.CONF
        #: Whether the section is known to be a group of ``conf``.
        self.is_group = isinstance(section, BackendSection) or hasattr(
            section, "local_conf"
        )
        #: The sections, in the order of look-up; None is [DEFAULT].
        self.groups: tuple[str | None, ...] = (self.config_group,)
        if name is not None:
            own = f"{self.config_group or 'DEFAULT'}:{name}"
            self.groups = tuple(dict.fromkeys((own, self.config_group, None)))
        #: The options of this instance, by name, as they were declared.
        self.options: dict[str, cfg.Opt] = {}
        #: Their values.
        self.values: dict[str, Any] = {}
        # Before a hook of upstream's registers its immutable ones.
        if name is not None:
            self.append_config_values([*hook_options, *instance_options])

    def append_config_values(self, options: Sequence[cfg.Opt]) -> None:
        """Register options everywhere where they are looked up.

        :param options: the options
        """
        if not self.is_group:
            self.section.append_config_values(options)
        for option in options:
            if option.dest in self.options:
                continue
            self.options[option.dest] = option
            for group in self.groups:
                self._register(option, group)
            self.values[option.dest] = self._read(option.dest)

    def _register(self, option: cfg.Opt, group: str | None) -> None:
        if option.required:
            # One place is enough: problems() tells of one that has it nowhere, which
            # oslo.config would raise for each place.
            option = copy.copy(option)
            option.required = False
        # If the service has another option of that name there, it is what an
        # operator who writes the name there means.
        with contextlib.suppress(cfg.DuplicateOptError):
            self.conf.register_opt(option, group=group)
        if option.dest in _AT_START:
            return
        # All are followed: an instance with an option that was not declared so is
        # made anew when it changes. Manila registers its own of these names as
        # immutable, and an option that is registered cannot be replaced.
        for each in (option, self.conf._get_opt_info(option.dest, group)["opt"]):
            _declared.setdefault(each, each.mutable)
            each.mutable = True

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the values of the options now."""
        for option in self.options.values():
            found = [_check(self.conf, group, option) for group in self.groups]
            yield from filter(None, found)
            if option.required and not any(found) and self.values[option.dest] is None:
                section = self.groups[0] or "DEFAULT"
                yield Problem(section, option.name, "", "there is no value")

    def safe_get(self, key: str) -> Any:
        """Return the value of an option, or None where there is none.

        :param key: the option's name
        """
        if key in self.values:
            return self.values[key]
        return self._read(key)

    def _read(self, key: str) -> Any:
        """Read the value of an option in the files, or else its default."""
        for group in self.groups:
            try:
                value, is_set = _value(self.conf, group, key, self.options.get(key))
            except (KeyError, *_NOT_VALID):
                # There is none; what is wrong with one is told by problems().
                continue
            if is_set:
                if value is None and key in self.options:
                    # A number that is left empty. Told by problems(), unless the
                    # default is none, too.
                    break
                return value
        if key not in self.options or not self.is_group:
            found = self.section.safe_get(key)
            if found is not None:
                return found
        if key not in self.options:
            # Another's option, e.g. Manila's state_path: with its default.
            return BackendSection(self.conf, None).safe_get(key)
        return self.options[key].default

    def same_but_mutable(self, other: InstanceSection) -> bool:
        """Tell whether all options but the mutable ones have the same values.

        :param other: what an instance of the same hook is configured by
        """
        return all(
            self.values[key] == other.values.get(key)
            for key, option in self.options.items()
            if not is_mutable(option) and key not in _AT_START
        )

    def where(self, key: str) -> str:
        """Return the section that an option has its value from.

        :param key: the option's name
        :return: the backend's own section where it has its default
        """
        for group in self.groups:
            with contextlib.suppress(*_NOT_VALID):
                location = self.conf.get_location(key, group)
                if location and location.location is not cfg.Locations.opt_default:
                    return group or "DEFAULT"
        return self.config_group or "DEFAULT"

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") or "options" not in vars(self):
            raise AttributeError(key)
        value = self.safe_get(key)
        return getattr(self.section, key) if value is None else value


# What a value that is no good raises; a $name in it may lead to itself.
_NOT_VALID = (ValueError, cfg.Error, RecursionError)


def _value(
    conf: cfg.ConfigOpts, group: str | None, key: str, option: cfg.Opt | None
) -> tuple[Any, bool]:
    """Return the value of an option in one section, and whether it is set there.

    :param conf: the options
    :param group: the section; None for ``[DEFAULT]``
    :param key: the option's name
    :param option: the option as it was declared; another hook may have one of the
        same name and another type
    :raises ValueError: if it is not of that type
    """
    location = conf.get_location(key, group)
    value = _group(conf, group)[key]
    is_set = location is not None and (
        location.location is not cfg.Locations.opt_default
    )
    if option is not None and is_set and isinstance(value, (str, int, float)):
        registered = conf._get_opt_info(key, group)["opt"].type
        value = value if registered == option.type else option.type(value)
    return value, is_set


def _check(conf: cfg.ConfigOpts, group: str | None, option: cfg.Opt) -> Problem | None:
    """Return what is wrong with the value of an option in one section."""
    section = group or "DEFAULT"
    try:
        value, is_set = _value(conf, group, option.dest, option)
    except _NOT_VALID as error:
        if option.secret:
            return Problem(section, option.name, "***", "not a valid value")
        # oslo.config's own text goes on about the file; the cause stands last.
        cause = str(error).rpartition(" is not valid: ")[2]
        if isinstance(error, RecursionError):
            cause = "a $name in it leads to itself"
        return Problem(section, option.name, _raw_value(conf, section, option), cause)
    if is_set:
        # oslo.config takes both for a number.
        if value is None and option.default is not None:
            return Problem(section, option.name, "", "there is no value")
        if isinstance(value, float) and not math.isfinite(value):
            return Problem(section, option.name, str(value), "not a finite number")
    return None


def _raw_value(conf: cfg.ConfigOpts, section: str, option: cfg.Opt) -> str:
    """Return what stands in the files for an option whose value is wrong."""
    # What oslo.config reads in the environment goes before what is in files.
    variable = f"OS_{section}__{option.dest}".upper()
    if variable in os.environ:
        return os.environ[variable]
    raw = "?"
    files = [*conf.config_file]
    for folder in conf.config_dir or ():
        files += sorted(glob.glob(os.path.join(folder, "*.conf")))
    for file in files:
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(file, sections).parse()
        for name in (option.name, option.dest):
            raw = ", ".join(sections.get(section, {}).get(name, [raw]))
    return raw


def class_named(what: str) -> type:
    """Import the class that an entry of ``hook_drivers`` names.

    :param what: ``path.to:Class``, ``path.to.Class`` or a short name
    :raises Wrong: saying what is wrong with it
    """
    if ":" in what:
        module, _, name = what.partition(":")
    elif "." in what:
        module, _, name = what.rpartition(".")
    else:
        return _installed(what)
    if not is_path(module) or not is_path(name):
        meant = entry_meant(what)
        advice = "" if meant == what else f"write {meant}"
        raise Wrong("it is no path.to:Class, path.to.Class or short name", advice)
    return class_at(module, name, _is_hook)


def entry_meant(entry: str) -> str:
    """Return the entry that one that is no path was meant to be.

    :param entry: e.g. ``./my/hooks.py:Hook`` or ``name:my.hooks:Hook``
    """
    path = re.sub(r"(^|=)\./|\.py(?=:|$)", r"\1", entry).replace("/", ".")
    return re.sub(r"^(\w+):(?=.*:)", r"\1=", path)


def _installed(what: str) -> type:
    """Import an installed hook by its short name."""

    def failed(manager: Any, entry_point: Any, error: BaseException) -> None:
        # That of stevedore's cache does not know its distribution.
        (known, *_) = (each for each in installed() if each.name == what)
        raise not_loaded(known, error)

    try:
        found: Any = DriverManager(
            ENTRY_POINTS, what, on_load_failure_callback=failed
        ).driver
    except NoMatches:
        names = [entry_point.name for entry_point in installed()]
        raise Wrong(
            f"there is no installed hook of that name (installed: {', '.join(names)})",
            instead(what, names),
        ) from None
    if not inspect.isclass(found):
        raise Wrong(f"it is a {type(found).__name__}, not a class")
    return found


def _is_hook(value: object) -> bool:
    return inspect.isclass(value) and hasattr(value, "_execute_pre_hook")


def _hook_class(what: str) -> type:
    """Import the class of a hook.

    :raises Wrong: saying what is wrong with it
    """
    cls: Any = class_named(what)
    if not _is_hook(cls):
        raise Wrong("it is not a hook", "see aspects.HookBase")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise Wrong(
            f"class {cls.__name__!r} leaves out {missing}",
            "give it one, even if it does nothing",
        )
    if wrong := never_runs(cls):
        raise Wrong(f"class {cls.__name__!r}: {wrong}")
    return cls  # type: ignore[no-any-return]


def _make_hook(cls: type, section: InstanceSection, host: str | None) -> Any:
    """Make one hook instance.

    :raises Wrong: saying why that is not possible
    """
    try:
        hook: Any = cls(configuration=section, host=host)
        hook.instance_name = section.name
    except (Exception, SystemExit) as error:
        text = one_line(error, {"secrets": secret_options(section)})
        raise Wrong(f"making the hook failed: {text}") from error
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


def parse_entry(entry: str) -> tuple[str, str]:
    """Split an entry of ``hook_drivers`` into the instance's name and what.

    :raises Wrong: if it is none
    """
    name, named, what = (part.strip() for part in entry.rpartition("="))
    if not entry:
        raise Wrong("there is nothing between two commas", "take one of them out")
    if not what or (named and not name):
        side = "before" if what else "after"
        raise Wrong("it is no [name=]what", f"write something {side} the =")
    if re.search(r"[\s=]", name):
        # As where a comma between two entries is lost.
        raise Wrong(f"the instance would be called {name!r}")
    return name or what.rpartition(":")[2].rpartition(".")[2], what


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
                raise Wrong(
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
        except Wrong as error:
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
    :raises Wrong: if the new values are no good
    """
    section.append_config_values(list(old.section.options.values()))
    if section.values != old.section.values:
        new = _make_hook(type(old.hook), section, host)
        if not section.same_but_mutable(old.section):
            return new
    return old.hook


def weave_from_config(
    driver: Any,
    configuration: Configuration,
    host: str | None,
    *,
    new_context: ContextFactory = new_admin_context,
) -> Any:
    """Weave the hooks that a backend section names into a driver.

    :param driver: any share driver instance
    :param configuration: the backend's section: Manila's or Cinder's own
        ``Configuration``, or a :class:`BackendSection`
    :param host: the share service's host, e.g. ``node1@alpha``
    :param new_context: see :func:`aspects.weave`
    :return: the woven driver; the driver itself if the section names no hooks
    :raises HookConfigError: if anything is wrong in the section, with all of it
    :raises AlreadyWoven: if the driver is woven
    """
    planned = plan(configuration, host, driver)
    if planned.problems:
        raise HookConfigError(planned.problems)
    if not planned.instances:
        return driver
    _set_switches(planned)
    woven = weave(
        driver,
        planned.hooks,
        configuration.config_group,
        host,
        hook_methods=planned.own.safe_get("hook_methods"),
        periodic_hooks_ticks=planned.own.safe_get("periodic_hooks_ticks"),
        new_context=new_context,
    )
    _follow(configuration, planned, weaving(woven))
    return woven


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


def _follow(configuration: Configuration, planned: Plan, woven: Weaving) -> None:
    """Have a chain follow the files after ``mutate_config_files()``."""
    # What is here lives as long as the options do: nothing of the hooks is.
    woven.instances = planned.instances
    reference, conf = weakref.ref(woven), planned.own.conf
    del woven, planned

    def mutated() -> bool:
        about = reference()
        if about is None:
            return False
        new = plan(configuration, about.host, before=about.instances)
        if new.problems:
            log_refusal(new.problems)
            return True
        instances = []
        for what, section, hook in new.instances:
            # A hook that is kept has its own section, which gets the new values.
            known = [old for old in about.instances if old.hook is hook]
            for old in known:
                old.section.values = section.values
            instances.append(known[0] if known else Instance(what, section, hook))
        about.instances = instances
        about.periodic_hooks_ticks = new.own.safe_get("periodic_hooks_ticks")
        about.replace(new.hooks, lambda: _set_switches(new))
        return True

    follow(conf, mutated)


class _Followers:
    """What is to be done when the options have changed; the options keep it."""

    def __init__(self) -> None:
        self.each: list[Callable[[], bool]] = []

    def mutated(self, conf: cfg.ConfigOpts, fresh: object) -> None:
        for each in tuple(self.each):
            if not each():
                self.each.remove(each)


# By the options' id, since they have no hash.
_followers: weakref.WeakValueDictionary[int, _Followers] = weakref.WeakValueDictionary()


def follow(conf: cfg.ConfigOpts, mutated: Callable[[], bool]) -> None:
    """Have something done after each ``mutate_config_files()``.

    Unlike oslo.config's own hooks, it may be what is done that calls this again.

    :param conf: the options
    :param mutated: what to do; false when it need not be done again
    """
    followers = _followers.get(id(conf))
    if followers is None:
        followers = _followers[id(conf)] = _Followers()
        conf.register_mutate_hook(followers.mutated)
    followers.each.append(mutated)


def log_refusal(problems: Iterable[Problem]) -> None:
    """Log what is wrong with an edited configuration."""
    for problem in HookConfigError(problems).problems:
        LOG.error("The hooks go on as they were: %s", problem)

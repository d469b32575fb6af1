# SPDX-License-Identifier: Apache-2.0
"""Options, the order in which they are looked up, and the hooks of a section."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import glob
import importlib
import inspect
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg
from oslo_log import log
from stevedore.driver import DriverManager
from stevedore.exception import NoMatches
from stevedore.extension import ExtensionManager

from aspects.dispatch import Background
from aspects.hook import (
    SWITCHES,
    Configuration,
    HookBase,
    SharedOpt,
    hook_options,
    instance_options,
)
from aspects.operations import METHODS, ContextFactory, new_admin_context
from aspects.proxy import Weaving, weave, weaving
from aspects.secrets import text_of

LOG = log.getLogger(__name__)

#: Where installed hooks are found by their short names.
ENTRY_POINTS = "manila_aspects.hooks"


class _SharedListOpt(SharedOpt, cfg.ListOpt):
    pass


section_options: list[cfg.Opt] = [
    _SharedListOpt(
        "hook_drivers",
        default=[],
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


class Problem(NamedTuple):
    """One thing that is wrong in a section."""

    section: str
    option: str
    value: str
    cause: str

    def __str__(self) -> str:
        return f"[{self.section}] {self.option} = {self.value}: {self.cause}"


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
    ``[DEFAULT]``, then it has its default.

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
        #: The options of this instance, by name.
        self.options: dict[str, cfg.Opt] = {}
        #: The last value of each option that could be read.
        self.last: dict[str, Any] = {}
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
            self.options.setdefault(option.dest, option)
            for group in self.groups:
                # If the service has another option of that name there, it is
                # what an operator who writes the name there means.
                with contextlib.suppress(cfg.DuplicateOptError):
                    self.conf.register_opt(option, group=group)
                if option.mutable:
                    # Manila registers its own of these names as immutable, and
                    # an option that is registered cannot be replaced.
                    self.conf._get_opt_info(option.dest, group)["opt"].mutable = True

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the values of the options now."""
        for option in self.options.values():
            for group in self.groups:
                if problem := _check(self.conf, group, option):
                    yield problem

    def safe_get(self, key: str) -> Any:
        """Return the value of an option, or None where there is none.

        :param key: the option's name
        :return: its value; the last one, or else the default, while what
            stands in the file cannot be read
        """
        for group in self.groups:
            try:
                location = self.conf.get_location(key, group)
                value = _group(self.conf, group)[key]
            except (cfg.NoSuchOptError, cfg.NoSuchGroupError, KeyError):
                continue
            except (ValueError, cfg.Error):
                # Told by problems(), at start-up and after a mutation.
                if key in self.last:
                    return self.last[key]
                continue
            if location and location.location is not cfg.Locations.opt_default:
                self.last[key] = value
                return value
        if key not in self.options or not self.is_group:
            found = self.section.safe_get(key)
            if found is not None:
                return found
        if key not in self.options:
            # Another's option, e.g. Manila's state_path: with its default.
            return BackendSection(self.conf, None).safe_get(key)
        return self.options[key].default

    def where(self, key: str) -> str:
        """Return the section that an option has its value from.

        :param key: the option's name
        :return: the backend's own section where it has its default
        """
        for group in self.groups:
            with contextlib.suppress(cfg.Error, KeyError, ValueError):
                location = self.conf.get_location(key, group)
                if location and location.location is not cfg.Locations.opt_default:
                    return group or "DEFAULT"
        return self.config_group or "DEFAULT"

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") or "options" not in vars(self):
            raise AttributeError(key)
        value = self.safe_get(key)
        return getattr(self.section, key) if value is None else value


def _check(conf: cfg.ConfigOpts, group: str | None, option: cfg.Opt) -> Problem | None:
    """Return what is wrong with the value of an option in one section."""
    try:
        conf.get_location(option.dest, group)
    except (ValueError, cfg.Error) as error:
        section = group or "DEFAULT"
        if option.secret:
            return Problem(section, option.name, "***", "not a valid value")
        # oslo.config's own text goes on about the file; the cause stands last.
        cause = str(error).rpartition(" is not valid: ")[2]
        return Problem(section, option.name, _raw_value(conf, section, option), cause)
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


class _Wrong(Exception):
    """Why an entry of ``hook_drivers`` gives no hook."""


def _class_named(what: str) -> type:
    """Import the class that an entry names.

    :raises _Wrong: saying what is wrong with it
    """
    if ":" in what:
        path, _, name = what.partition(":")
    elif "." in what:
        path, _, name = what.rpartition(".")
    else:
        return _installed(what)
    if not path or not name:
        raise _Wrong("write path.to:Class, path.to.Class or a short name")
    try:
        found: Any = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(error.name + ".")):
            raise _Wrong(f"there is no module {error.name!r}") from None
        raise _Wrong(f"importing {path!r} failed: {_text(error)}") from error
    except (Exception, SystemExit) as error:
        raise _Wrong(f"importing {path!r} failed: {_text(error)}") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _Wrong(
                f"module {path!r} has no class {name!r}"
                + _near(name, [n for n, v in vars(found).items() if _is_hook(v)])
            ) from None
    if not inspect.isclass(found):
        raise _Wrong(f"{what!r} is a {type(found).__name__}, not a class")
    return found


def _installed(what: str) -> type:
    """Import an installed hook by its short name."""

    def failed(manager: Any, entry_point: Any, error: BaseException) -> None:
        raise _Wrong(f"importing {entry_point.value!r} failed: {_text(error)}")

    try:
        found: Any = DriverManager(
            ENTRY_POINTS, what, on_load_failure_callback=failed
        ).driver
    except NoMatches:
        installed: Any = ExtensionManager(
            ENTRY_POINTS, on_load_failure_callback=lambda *failure: None
        )
        names = sorted(installed.names())
        raise _Wrong(
            f"there is no installed hook of that name (installed: {', '.join(names)})"
            + _near(what, names)
        ) from None
    if not inspect.isclass(found):
        raise _Wrong(f"{what!r} is a {type(found).__name__}, not a class")
    return found


def _is_hook(value: object) -> bool:
    return inspect.isclass(value) and hasattr(value, "_execute_pre_hook")


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _text(error: BaseException) -> str:
    # An error's own text may quote an option that is a secret.
    return f"{type(error).__name__}: {text_of(error)}"


def _make_hook(what: str, section: InstanceSection, host: str | None) -> Any:
    """Make one hook instance.

    :raises _Wrong: saying why that is not possible
    """
    cls = _class_named(what)
    if not _is_hook(cls):
        raise _Wrong(f"{what!r} is not a hook: see aspects.HookBase")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise _Wrong(f"class {cls.__name__!r} leaves out {missing}")
    try:
        hook: Any = cls(configuration=section, host=host)
        hook.instance_name = section.name
    except (Exception, SystemExit) as error:
        text = _text(error)
        for option in section.options.values():
            if option.secret and (value := section.safe_get(option.dest)):
                text = text.replace(str(value), "***")
        raise _Wrong(f"making the hook failed: {text}") from error
    dispatch = section.safe_get("hook_dispatch")
    if dispatch not in getattr(cls, "dispatches", HookBase.dispatches):
        raise _Wrong(f"hook_dispatch = {dispatch}: {cls.__name__} delivers no events")
    if dispatch == "background":
        try:
            hook.dispatcher = Background(
                f"{section.name} of {section.config_group or 'DEFAULT'}",
                section.safe_get("hook_queue_size"),
                section.safe_get("hook_queue_timeout"),
                section.safe_get("hook_drain_timeout"),
            )
        except ImportError as error:
            raise _Wrong(
                f"hook_dispatch = {dispatch}: {error}: "
                "pip install 'manila-aspects[background]'"
            ) from error
    return hook


def _hooks_of(
    section: Configuration, entries: Sequence[str], host: str | None
) -> tuple[list[Any], list[InstanceSection], list[Problem]]:
    """Make the hooks of a backend section.

    :return: the hooks, what each is configured by, what is wrong
    """
    hooks: list[Any] = []
    sections: dict[str, InstanceSection] = {}
    problems: list[Problem] = []
    for entry in entries:
        try:
            name, what = _parse(entry)
            if name in sections:
                raise _Wrong(
                    f"there are two instances of the name {name!r}: "
                    "give each its own, as in name=what"
                )
            sections[name] = InstanceSection(section, name)
            hooks.append(_make_hook(what, sections[name], host))
        except _Wrong as error:
            group = section.config_group or "DEFAULT"
            problems.append(Problem(group, "hook_drivers", entry, str(error)))
    for instance in sections.values():
        problems += instance.problems()
    return hooks, list(sections.values()), problems


def _parse(entry: str) -> tuple[str, str]:
    """Split an entry of ``hook_drivers`` into the instance's name and what."""
    name, named, what = (part.strip() for part in entry.rpartition("="))
    if not what or (named and not name):
        raise _Wrong("write [name=]what")
    return name or what.rpartition(":")[2].rpartition(".")[2], what


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
    own = InstanceSection(configuration, None)
    own.append_config_values(section_options)
    problems = list(own.problems())
    entries = own.safe_get("hook_drivers")
    if not entries and not problems:
        return driver
    hooks, sections, wrong = _hooks_of(configuration, entries, host)
    problems += wrong
    methods = tuple(own.safe_get("hook_methods"))
    group = configuration.config_group or "DEFAULT"
    for method in methods:
        if not callable(getattr(driver, method, None)):
            near = _near(method, dir(driver))
            cause = f"unknown operation: the driver has no such method{near}"
            problems.append(Problem(group, "hook_methods", method, cause))
    for section in sections:
        problems += _unknown_operations(section, {*METHODS.values(), *methods})
    if problems:
        raise HookConfigError(dict.fromkeys(problems))
    _set_switches(hooks, sections)
    woven = weave(
        driver,
        hooks,
        configuration.config_group,
        host,
        hook_methods=methods,
        periodic_hooks_ticks=own.safe_get("periodic_hooks_ticks"),
        new_context=new_context,
    )
    _follow(own, sections, weakref.ref(weaving(woven)))
    return woven


def _unknown_operations(
    section: InstanceSection, operations: Iterable[str]
) -> Iterator[Problem]:
    """Yield the patterns of a hook that no operation matches."""
    option = "hook_operations"
    for pattern in section.safe_get(option):
        if not fnmatch.filter(operations, pattern):
            near = _near(pattern, operations)
            cause = f"unknown operation: no operation matches{near}"
            yield Problem(section.where(option), option, pattern, cause)


def _set_switches(hooks: Sequence[Any], sections: Sequence[InstanceSection]) -> None:
    """Set the switches of all hooks from their sections.

    Not through the setters, each of which would renew the chain: it is replaced
    as a whole.
    """
    values = [
        {switch: section.safe_get(option) for switch, option in SWITCHES.items()}
        for section in sections
    ]
    for hook, switches in zip(hooks, values):
        if isinstance(hook, HookBase):
            vars(hook).update(switches)
        else:
            for switch, value in switches.items():
                setattr(hook, switch, value)


def _follow(
    own: InstanceSection,
    sections: Sequence[InstanceSection],
    reference: weakref.ref[Weaving],
) -> None:
    """Have a chain follow the files after ``mutate_config_files()``."""

    def mutated(conf: cfg.ConfigOpts, fresh: object) -> None:
        woven = reference()
        if woven is None:
            return
        problems = [p for section in (own, *sections) for p in section.problems()]
        known = {*METHODS.values(), *woven.hook_methods}
        for section in sections:
            problems += _unknown_operations(section, known)
        if problems:
            for problem in HookConfigError(dict.fromkeys(problems)).problems:
                LOG.error("The hooks go on as they were: %s", problem)
            return
        woven.periodic_hooks_ticks = own.safe_get("periodic_hooks_ticks")
        with woven.chain.replaced():
            _set_switches(woven.hooks, sections)

    own.conf.register_mutate_hook(mutated)

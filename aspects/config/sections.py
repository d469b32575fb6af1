# SPDX-License-Identifier: Apache-2.0
"""Sections, and the order in which options are looked up."""

from __future__ import annotations

import contextlib
import copy
import glob
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

from oslo_config import cfg

from aspects.config.options import (
    _AT_START,
    _declared,
    hook_options,
    instance_options,
    is_mutable,
)
from aspects.config.problems import Problem
from aspects.hook import Configuration


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

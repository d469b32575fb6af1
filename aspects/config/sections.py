# SPDX-License-Identifier: Apache-2.0
"""Backend sections and instance sections."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from oslo_config import cfg

from aspects.config.lookup import (
    Lookup,
    Origin,
    cause_of,
    registered,
    reloadable,
)
from aspects.config.options import SharedOpt, hook_options, instance_options
from aspects.config.problems import Problem
from aspects.hook import Configuration
from aspects.secrets import without_secrets


def _group(conf: cfg.ConfigOpts, name: str | None) -> Any:
    """Return the options of a section; those of ``[DEFAULT]`` for None."""
    return conf[name] if name else conf


# The beginnings of an error in a reference to another option.
_REFERENCE_ERRORS = ("no such ", "circular reference", "template substitution error")


def _secret_problem(section: str, name: str, cause: str) -> Problem:
    """Return the problem for an invalid value of a secret option.

    :param section: the section that it is set in
    :param name: the option's name in that section
    :param cause: the error, which may repeat the value
    """
    shown = "not a valid value"
    if not cause.startswith(_REFERENCE_ERRORS):
        return Problem(section, name, "***", shown)
    shown += ": a $ in it begins a reference to another option"
    return Problem(section, name, "***", shown, "write $$ for a literal $")


class BackendSection:
    """The section of one backend, for programs without Manila's own object.

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
        """Return the value of an option, or None if there is no such option.

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
    """The configuration of one hook instance.

    An option is looked up in ``[backend:name]``, then ``[backend]``, then
    ``[DEFAULT]``; otherwise it has its default. Values are read once, when options are
    added, so that a reload applies a changed file as a whole or not at all.

    :param section: the backend's section
    :param name: the name of the instance, as in ``hook_drivers``; None for the
        backend's own options, which are looked up in its section alone
    """

    def __init__(self, section: Configuration, name: str | None) -> None:
        self.section = section
        self.name = name
        self.config_group = section.config_group
        # Manila's and Cinder's Configuration always read the global CONF.
        self.conf: cfg.ConfigOpts = getattr(section, "conf", None) or cfg.CONF
        #: The sections, in look-up order; None is [DEFAULT].
        self.groups: tuple[str | None, ...] = (self.config_group,)
        if name is not None:
            own = f"{self.config_group or 'DEFAULT'}:{name}"
            self.groups = tuple(dict.fromkeys((own, self.config_group, None)))
        #: Name -> option, as declared, or made secret by :meth:`hide`.
        self.options: dict[str, cfg.Opt] = {}
        #: Name -> value.
        self.values: dict[str, Any] = {}
        #: The values of the secret options of all hooks of the backend.
        self.other_secrets: list[Any] = []
        self._origins: dict[str, Origin | None] = {}
        self._rejected: dict[str, list[tuple[Origin, str]]] = {}
        self._lookup = Lookup(
            self.conf,
            self.config_group or "DEFAULT",
            [*dict.fromkeys(group or "DEFAULT" for group in self.groups)],
        )
        # Whether the section may read its values from options other than ``conf``.
        self._is_foreign = not (
            isinstance(section, BackendSection) or hasattr(section, "local_conf")
        )
        # First, because the base class of Manila's hooks adds options of the same names
        # that are not mutable.
        if name is not None:
            self.append_config_values([*hook_options, *instance_options])

    def append_config_values(self, options: Iterable[cfg.Opt]) -> None:
        """Add options, and read their values.

        :param options: the options; an option is ignored if the instance already has
            one of its name
        :raises oslo_config.cfg.DuplicateOptError: if a section that does not read
            :attr:`conf` has another option of that name
        """
        before = len(self.options)
        for option in options:
            if option.dest not in self.options:
                self._register(option)
                self._lookup.declare(option)
                self.options[option.dest] = option
        if len(self.options) > before:
            # Read all options again, because any of them may refer to a new one.
            for option in [*self.options.values()]:
                self._read(option)

    def _register(self, option: cfg.Opt) -> None:
        """Register an option with the service's oslo.config, except under Manila.

        Manila logs the values of all registered options, at start-up and after a
        reload, and exits if one of them is not valid. It would read each section alone,
        with the type that the first hook declares. Options that are read only at
        start-up are registered even so, because oslo.config then warns that it ignores
        a change.
        """
        shown = reloadable(option)
        # oslo.config rejects a second option of one name unless the two are equal.
        shown._vars_for_cmp = option._vars_for_cmp  # type: ignore[method-assign]
        groups = {self.groups[0], self.config_group}
        if isinstance(option, SharedOpt):
            groups.update(self.groups)
            # Manila's own option is immutable, so oslo.config would warn that it
            # ignores a change.
            for group in groups:
                if record := registered(self.conf, option.dest, group or "DEFAULT"):
                    record["opt"].mutable = shown.mutable
        if self._is_foreign:
            self.section.append_config_values([shown])
        elif isinstance(self.section, BackendSection) or not shown.mutable:
            # On a reload, oslo.config would log the old and new values of a secret.
            for group in () if option.secret else groups:
                # The program or another hook may have an option of that name.
                with contextlib.suppress(cfg.DuplicateOptError):
                    self.conf.register_opt(shown, group=group)

    def _read(self, option: cfg.Opt) -> None:
        """Look up the value of an option."""
        dest, section = option.dest, self.config_group or "DEFAULT"
        rejected: list[tuple[Origin, str]] = []

        def reject(origin: Origin | None, error: Exception) -> None:
            if origin is None:
                origin = Origin(section, dest, str(option.default))
                rejected.append((origin, f"{cause_of(error)} (the default)"))
            else:
                rejected.append((origin, cause_of(error)))

        self._lookup.references.clear()
        value, origin = self._lookup.find(option, reject)
        if origin is None and not rejected and self._is_foreign:
            try:
                found = self.section.safe_get(dest)
                value = value if found is None else found
            except Exception as error:
                reject(Origin(section, dest, "?"), error)
        if option.required and value is None and not rejected:
            nearest = Origin(self.groups[0] or "DEFAULT", dest, "")
            rejected.append((nearest, "required option is not set"))
        self.values[dest], self._origins[dest] = value, origin
        self._rejected[dest] = rejected
        if any(reference.secret for reference in self._lookup.references):
            self.hide([dest])

    def problems(self) -> Iterator[Problem]:
        """Yield the errors in the values, in the order of the options."""
        for dest, rejected in self._rejected.items():
            option = self.options[dest]
            for (section, name, text, *_), cause in rejected:
                if option.secret and text:
                    yield _secret_problem(section, name, cause)
                    continue
                if name != dest:
                    cause += f" ({name} is a deprecated name of {dest})"
                text, cause = (
                    without_secrets(part, None, {dest: text}) for part in (text, cause)
                )
                yield Problem(section, name, text, cause)

    def hide(self, names: Iterable[str]) -> None:
        """Make options secret, even if they are not declared so.

        :param names: the names of the options; unknown names are ignored
        """
        for dest in self.options.keys() & set(names):
            self.options[dest] = copy.copy(self.options[dest])
            self.options[dest].secret = True

    @property
    def hook_secrets(self) -> list[Any]:
        """The values of secret options: of this hook and the other hooks."""
        own = [
            self.values[dest]
            for dest, option in self.options.items()
            if option.secret and self.values[dest] is not None
        ]
        return own + self.other_secrets

    def update(self, other: InstanceSection) -> None:
        """Replace all options and values by those of a later reading.

        :param other: the later configuration of the same hook instance
        """
        self.options, self.values = other.options, other.values
        self._origins, self._rejected = other._origins, other._rejected
        self._lookup, self.other_secrets = other._lookup, other.other_secrets

    def safe_get(self, key: str) -> Any:
        """Return the value of an option, or None if there is no such option.

        :param key: the name of an option of the instance, or of the service, e.g.
            Manila's ``state_path``; both are looked up in the same order
        """
        if key in self.values:
            return self.values[key]
        for group in self.groups:
            with contextlib.suppress(ValueError, RecursionError, cfg.Error):
                location = self.conf.get_location(key, group)
                if location and location.location is not cfg.Locations.opt_default:
                    return _group(self.conf, group)[key]
        value = self.section.safe_get(key)
        return BackendSection(self.conf, None).safe_get(key) if value is None else value

    def same_immutable_values(self, other: InstanceSection) -> bool:
        """Return whether all immutable options have the same values.

        :param other: the configuration of another instance of the same hook
        """
        return all(
            value == other.values.get(dest)
            for dest, value in self.values.items()
            if not self.options[dest].mutable
        )

    def origin(self, key: str) -> Origin | None:
        """Return the origin of an option's value, or None if it has its default.

        :param key: the name of an option of the instance
        """
        return self._origins[key]

    def where(self, key: str) -> str:
        """Return the section that an option is set in.

        :param key: the name of an option of the instance
        :return: the backend's section if the option has its default
        """
        origin = self._origins[key]
        return origin.section if origin else self.config_group or "DEFAULT"

    def __getattr__(self, key: str) -> Any:
        if "values" not in vars(self):
            # copy.copy() looks up attributes before __init__ has run.
            raise AttributeError(key)
        value = self.safe_get(key)
        return getattr(self.section, key) if value is None else value

# SPDX-License-Identifier: Apache-2.0
"""Look up an option in several sections, reading each as oslo.config does."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from oslo_config import cfg, sources

from aspects.config.options import AT_START, SharedOpt


class Origin(NamedTuple):
    """The place where the value of an option is set."""

    section: str
    """the section, e.g. ``alpha:ops``"""
    name: str
    """the option's name in that section, which may be a deprecated one"""
    text: str
    """the value as written"""
    detail: str = ""
    """the environment variable or the file; empty if neither is known"""
    in_environment: bool = False


class Found(NamedTuple):
    """The value of an option."""

    value: Any
    origin: Origin | None
    """None for the default"""


#: Called with the origin of an invalid value (None for the default) and the error.
Reject = Callable[[Origin | None, Exception], None]


def reloadable(option: cfg.Opt) -> cfg.Opt:
    """Return a copy of an option that oslo.config reads again on a reload.

    A hook instance is re-created when an immutable option changes, and a required
    option may be set in any of several sections. So oslo.config checks neither.

    :param option: the option as declared; it is not modified
    """
    option = copy.copy(option)
    option.mutable = option.dest not in AT_START
    option.required = False
    return option


def registered(conf: cfg.ConfigOpts, name: str, section: str) -> dict[str, Any]:
    """Return oslo.config's record of an option, empty if it has none.

    :param conf: the options
    :param name: the option's name
    :param section: the section
    """
    group: Any = conf if section == "DEFAULT" else conf._groups.get(section)
    return getattr(group, "_opts", {}).get(name, {})  # type: ignore[no-any-return]


class Lookup(cfg.ConfigOpts):
    """The options of one hook instance and the sections where they are looked up.

    Each instance has its own options, because Manila or another hook may have an option
    of the same name and another type in the same section. Files, environment and other
    sources are as the service has read them; a reload creates a new look-up.

    :param conf: the service's options
    :param backend: the backend's section
    :param sections: the sections, nearest first
    """

    def __init__(
        self, conf: cfg.ConfigOpts, backend: str, sections: Sequence[str]
    ) -> None:
        super().__init__()
        self._service = conf
        self._backend = backend
        self._sections = sections
        self._declared: dict[str, cfg.Opt] = {}
        #: The options that values refer to by ``$name``.
        self.references: list[cfg.Opt] = []
        self._path: list[tuple[str, ...]] = []
        # The values that the service has read.
        self._namespace = conf._namespace
        self._mutable_ns = conf._mutable_ns
        self._use_env = conf._use_env
        self._sources = conf._sources

    def declare(self, option: cfg.Opt) -> None:
        """Add an option.

        :param option: the option
        """
        self._declared[option.dest] = option
        for section in self._sections:
            here = reloadable(option)
            # A default in the first section would hide the values in the others.
            here.default = None
            if section != self._sections[-1]:
                # A deprecated name in a section that is not looked up has the
                # precedence of the last section, so only that one keeps it.
                here.deprecated_opts = [
                    old
                    for old in option.deprecated_opts
                    if not old.group or _normalized(old.group) == _normalized(section)
                ]
            self.register_opt(here, section)

    def find(
        self,
        option: cfg.Opt,
        reject: Reject,
        sections: Sequence[str] = (),
    ) -> Found:
        """Return the value of an option: the nearest valid one.

        :param option: a declared option
        :param reject: called for each invalid value on the way
        :param sections: the sections to look in; empty for all
        :return: the default if it is not set
        """
        sections = sections or self._sections
        values = self._values(option, reject, sections)
        found = next(values, None)
        if isinstance(option, SharedOpt):
            # Check the other values too: Manila reads each when it logs its options.
            list(values)
        if found is not None:
            return found
        try:
            return Found(self._default_of(option, sections), None)
        except Exception as error:
            reject(None, error)
        return Found(option.default, None)

    def _values(
        self, option: cfg.Opt, reject: Reject, sections: Sequence[str]
    ) -> Iterator[Found]:
        """Yield the values of an option, nearest first."""
        for section in sections:
            try:
                value, is_set = self._read(option, section)
            except Exception as error:
                reject(self._origin(option, section), error)
            else:
                if is_set:
                    yield Found(value, self._origin(option, section))

    def _read(self, option: cfg.Opt, section: str) -> tuple[Any, bool]:
        """Return the value in one section, and whether it is set there.

        :raises Exception: if it is not valid
        """
        record = registered(self._service, option.dest, section)
        if "override" in record:
            return self._set_in_code(option, record, "override"), True
        value, location = self._do_get(option.dest, self._groups[section])
        if value is None and location is None:
            return None, False
        # oslo.config accepts an empty value and nan for a number.
        if value is None and option.default is not None:
            raise ValueError("empty value")
        if not all(map(math.isfinite, _floats(value))):
            raise ValueError("not a finite number")
        return value, True

    def _default_of(self, option: cfg.Opt, sections: Sequence[str]) -> Any:
        """Return the default of an option; ``set_default`` overrides the declared one.

        :raises Exception: if it is not valid
        """
        for section in sections:
            record = registered(self._service, option.dest, section)
            if "default" in record:
                return self._set_in_code(option, record, "default")
        if option.default is None:
            return None
        return self._convert_value(self._substitute(option.default), option)

    def _set_in_code(self, option: cfg.Opt, record: dict[str, Any], kind: str) -> Any:
        """Return a value of ``set_override`` or ``set_default``.

        :raises Exception: if it is not valid
        """
        value = self._substitute(record[kind])
        # The value already has the type of the option registered with the service.
        if value is None or record["opt"].type == option.type:
            return value
        return self._convert_value(value, option)

    def _get(
        self,
        name: str,
        group: str | cfg.OptGroup | None = None,
        namespace: Any = None,
    ) -> Any:
        """Return the value for a ``$name`` or ``$group.name``; oslo.config calls this.

        An option of the instance has the value that the hook gets. Any other option is
        the service's, from the backend's section or else from ``[DEFAULT]``.

        :raises Exception: if there is no such option, or its value is not valid
        """
        sections: Sequence[str] = (self._backend, "DEFAULT")
        own = self._sections
        # For a plain $name, oslo.config passes the group of the referring value.
        named = group if group not in self._groups.values() else None
        if isinstance(named, cfg.OptGroup):
            sections = [named.name]
            own = sections if named.name in own else []
        option = self._declared.get(name)
        if option is not None and own:
            with self._following(name, option, own):
                return self.find(option, _raise, own).value
        for section in sections:
            if record := registered(self._service, name, section):
                group = self._service._groups.get(section)
                with self._following(name, record["opt"], [section]):
                    return self._service._get(name, group)
        # oslo.config resolves deprecated names, and raises the error for unknown ones.
        return self._service._get(name, named)

    @contextlib.contextmanager
    def _following(
        self, name: str, option: cfg.Opt, sections: Sequence[str]
    ) -> Iterator[None]:
        """Follow a reference, adding its name to the text of an error."""
        reference = (name, *sections)
        if reference in self._path:
            raise RecursionError
        self.references.append(option)
        self._path.append(reference)
        try:
            yield
        except RecursionError:
            raise
        except Exception as error:
            raise cfg.Error(f"{name}: {cause_of(error)}") from error
        finally:
            self._path.pop()

    def _origin(self, option: cfg.Opt, section: str) -> Origin:
        """Return the origin of the value in one section."""
        dest = option.dest
        record = registered(self._service, dest, section)
        if "override" in record:
            return Origin(section, dest, str(record["override"]))
        if self._use_env:
            text, location = self._env_driver.get(section, dest, option)
            if location is not None:
                return Origin(section, dest, text, location.detail, True)
        here = self._get_opt_info(dest, section)["opt"]
        names = [(section, dest)]
        names += [
            (old.group or section, old.name or dest) for old in here.deprecated_opts
        ]
        namespace: Any = (here.mutable and self._mutable_ns) or self._namespace
        with contextlib.suppress(KeyError):
            texts, location = namespace._get_file_value(names, normalized=True)
            for place in names:
                with contextlib.suppress(KeyError):
                    if namespace._get_file_value([place], normalized=True)[0] is texts:
                        return Origin(*place, ", ".join(texts), location.detail)
        found = (source.get(section, dest, option) for source in self._sources)
        text = next((text for text, _ in found if text is not sources._NoValue), "?")
        return Origin(section, dest, str(text))


def cause_of(error: Exception) -> str:
    """Return the reason why a value is not valid, without the option's name.

    :param error: the error from reading it
    """
    if isinstance(error, RecursionError):
        return "circular reference"
    if isinstance(error, (ValueError, cfg.Error)):
        # The text of oslo.config's error begins with the option and the file.
        return str(error).rpartition(" is not valid: ")[2]
    return f"{type(error).__name__}: {error}"


def _raise(origin: Origin | None, error: Exception) -> None:
    raise error


def _normalized(section: str) -> str:
    """Return the form of a section's name that oslo.config compares."""
    return cfg._normalize_group_name(section)


def _floats(value: Any) -> Iterator[float]:
    """Yield the floating-point numbers in a value, also in lists and dicts."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _floats(item)

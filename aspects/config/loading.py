# SPDX-License-Identifier: Apache-2.0
"""Resolve an entry of ``hook_drivers`` to a class."""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stevedore.driver import DriverManager
from stevedore.exception import NoMatches

from aspects.config.options import ENTRY_POINTS
from aspects.config.problems import nearest, one_line, suggest
from aspects.core.signature import never_runs
from aspects.errors import UnresolvedNameError


def class_named(what: str) -> type:
    """Import the class that an entry of ``hook_drivers`` names.

    :param what: ``path.to:Class``, ``path.to.Class`` or a short name
    :raises UnresolvedNameError: if it does not name a class that can be imported
    """
    if ":" in what:
        module, _, name = what.partition(":")
    elif "." in what:
        module, _, name = what.rpartition(".")
    else:
        return _installed(what)
    if not is_path(module) or not is_path(name):
        meant = suggested_entry(what)
        advice = "" if meant == what else f"did you mean {meant}?"
        raise UnresolvedNameError(
            "expected path.to:Class, path.to.Class or a short name", advice
        )
    return class_at(module, name, _is_hook)


def suggested_entry(entry: str) -> str:
    """Return the entry that was probably meant by one that is not a path.

    :param entry: e.g. ``./my/hooks.py:Hook`` or ``name:my.hooks:Hook``
    """
    path = re.sub(r"(^|=)\./|\.py(?=:|$)", r"\1", entry).replace("/", ".")
    return re.sub(r"^(\w+):(?=.*:)", r"\1=", path)


def _installed(what: str) -> type:
    """Import an installed hook by its short name."""

    def failed(manager: Any, entry_point: Any, error: BaseException) -> None:
        # The entry point in stevedore's cache does not know its distribution.
        (known, *_) = (found for found in installed() if found.name == what)
        raise not_loaded(known, error)

    try:
        found: Any = DriverManager(
            ENTRY_POINTS, what, on_load_failure_callback=failed
        ).driver
    except NoMatches:
        names = [entry_point.name for entry_point in installed()]
        raise UnresolvedNameError(
            f"unknown hook (installed: {', '.join(names)})", suggest(what, names)
        ) from None
    if not inspect.isclass(found):
        raise UnresolvedNameError(f"expected a class, got {type(found).__name__}")
    return found


def _is_hook(value: object) -> bool:
    return inspect.isclass(value) and hasattr(value, "_execute_pre_hook")


def _hook_class(what: str) -> type:
    """Import the class of a hook.

    :raises UnresolvedNameError: if it cannot be imported, or is not a complete hook
    """
    cls: Any = class_named(what)
    if not _is_hook(cls):
        raise UnresolvedNameError(
            f"class {cls.__name__!r} is not a hook", "inherit from aspects.HookBase"
        )
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise UnresolvedNameError(
            f"class {cls.__name__!r} does not implement {missing}",
            "define each abstract method, even if it does nothing",
        )
    if wrong := never_runs(cls):
        raise UnresolvedNameError(f"class {cls.__name__!r}: {wrong}")
    return cls  # type: ignore[no-any-return]


def parse_entry(entry: str) -> tuple[str, str]:
    """Split an entry of ``hook_drivers``.

    :param entry: ``[name=]hook``
    :return: the name of the instance, and its class or short name
    :raises UnresolvedNameError: if the entry is malformed
    """
    name, equals, what = (part.strip() for part in entry.rpartition("="))
    if not entry:
        raise UnresolvedNameError("empty entry", "remove the extra comma")
    if not what or (equals and not name):
        missing = "a name before" if what else "a class or short name after"
        raise UnresolvedNameError("expected [name=]hook", f"add {missing} the =")
    if re.search(r"[\s=]", name):
        # Most likely the comma between two entries is missing.
        raise UnresolvedNameError(
            f"invalid instance name {name!r}", "separate entries with commas"
        )
    return name or what.rpartition(":")[2].rpartition(".")[2], what


DISTRIBUTION = "manila-aspects"

_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


def import_error(what: str, error: BaseException) -> UnresolvedNameError:
    """Return the error for a failed import, with advice.

    :param what: the module, or the value of the entry point
    :param error: the exception that the import raised
    """
    advice = ""
    if isinstance(error, SyntaxError):
        advice = f"check that it supports {_PYTHON}"
    elif isinstance(error, ModuleNotFoundError):
        advice = _advice_for_missing(error.name or "")
    elif "circular import" in str(error):
        advice = "import it in the function that needs it"
    return UnresolvedNameError(f"failed to import {what!r}: {one_line(error)}", advice)


def _advice_for_missing(module: str) -> str:
    """Return the advice for a module that was not found."""
    install = f"install it in the Python of {sys.prefix}"
    parent, _, name = module.rpartition(".")
    for file in _built_for_other_pythons(parent, name):
        tag = re.search(r"\.cpython-(\d)(\d+)-", file.name)
        python = f"Python {tag[1]}.{tag[2]}" if tag else "another Python"
        return f"{file.name} is for {python}, but this is {_PYTHON}; {install}"
    if not parent and any(Path(path).exists() for path in (name, f"{name}.py")):
        where = "it is in the current directory, which manila-share does not search"
        return f"{where}; {install}"
    # Among all top-level modules some name is similar to almost any other.
    names = [module_info.name for module_info in pkgutil.iter_modules(_places(parent))]
    if near := nearest(name, names, 0.6 if parent else 0.86):
        return f"did you mean {parent}.{near}?" if parent else f"did you mean {near}?"
    return "" if parent else install


def _places(parent: str) -> list[str]:
    """Return the directories of a package's modules; without a package, sys.path."""
    if not parent:
        return sys.path
    return list(getattr(sys.modules.get(parent), "__path__", ()))


def _built_for_other_pythons(parent: str, name: str) -> Iterator[Path]:
    """Yield the files of an extension module that other Pythons can import."""
    for place in _places(parent):
        with contextlib.suppress(OSError):
            yield from sorted(Path(place).glob(f"{name}.*-*.so"))


# -- classes -------------------------------------------------------------------


def class_at(
    module: str, name: str, like: Callable[[Any], bool] = inspect.isclass
) -> type:
    """Import a class.

    :param module: the path of its module
    :param name: its name in the module; the name of a nested class has dots
    :param like: returns whether a value may be suggested for a near miss
    :raises UnresolvedNameError: if the class does not exist
    """
    found: Any = _module_at(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise _no_class(module, name, found, like)
        found = getattr(found, part)
    if inspect.ismodule(found):
        raise _is_module(found, like)
    if not inspect.isclass(found):
        comma = isinstance(found, tuple) and len(found) == 1
        advice = f"remove the comma after {name} = ..." if comma else ""
        raise UnresolvedNameError(
            f"expected a class, got {type(found).__name__}", advice
        )
    return found


def _module_at(path: str) -> Any:
    """Import a module.

    :raises UnresolvedNameError: if the import fails
    """
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and f"{path}.".startswith(f"{error.name}."):
            cause = f"no module named {error.name!r}"
            raise UnresolvedNameError(cause, _advice_for_missing(error.name)) from None
        raise import_error(path, error) from error
    except (Exception, SystemExit) as error:
        raise import_error(path, error) from error


def _no_class(
    module: str, name: str, where: Any, like: Callable[[Any], bool]
) -> UnresolvedNameError:
    """Return the error for a class that a module does not have."""
    with contextlib.suppress(UnresolvedNameError):
        return _is_module(_module_at(f"{module}.{name}"), like)
    # The outer part of a dotted name may be a value without attributes.
    attributes = getattr(where, "__dict__", {})
    names = [key for key, value in attributes.items() if like(value)]
    cause = f"module {module!r} has no class {name!r}"
    return UnresolvedNameError(cause, suggest(name, names))


def _is_module(module: Any, like: Callable[[Any], bool]) -> UnresolvedNameError:
    """Return the error for a module where a class was expected."""
    path = module.__name__
    own = [
        f"{path}.{name}"
        for name, value in vars(module).items()
        if like(value) and value.__module__ == path
    ]
    advice = f"did you mean {own[0]}?" if len(own) == 1 else ""
    return UnresolvedNameError(f"{path!r} is a module, not a class", advice)


def driver_at(path: str) -> type:
    """Import a class as Manila does it.

    :param path: ``path.to.Class``
    :raises UnresolvedNameError: if the path does not lead to a class
    """
    module, _, name = path.rpartition(".")
    if not module or not is_path(path):
        meant = path.replace(":", ".", 1)
        advice = "name the module and the class, separated by a dot"
        if ":" in path and is_path(meant):
            advice = f"did you mean {meant}?"
        raise UnresolvedNameError("expected path.to.Class", advice)
    return class_at(module, name)


def is_path(text: str) -> bool:
    """Return whether a text is a dotted path, of a module or a name in a module."""
    return all(part.isidentifier() for part in text.split("."))


# -- installed hooks -----------------------------------------------------------


def installed() -> list[importlib.metadata.EntryPoint]:
    """Return the entry points of the installed hooks, by name."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return sorted(found, key=lambda entry_point: entry_point.name)


def not_loaded(
    entry_point: importlib.metadata.EntryPoint, error: BaseException
) -> UnresolvedNameError:
    """Return the error for an installed hook that cannot be imported, with advice.

    :param entry_point: the entry point of the hook
    :param error: the exception that the import raised
    """
    unresolved = import_error(entry_point.value, error)
    return UnresolvedNameError(
        unresolved.cause, _install_line(entry_point, error) or unresolved.advice
    )


def _install_line(
    entry_point: importlib.metadata.EntryPoint, error: BaseException
) -> str:
    """Return the command that installs the library of a ready hook.

    :return: empty if no library is missing, or the hook is not a ready hook
    """
    dist = entry_point.dist
    if not isinstance(error, ImportError) or dist is None or dist.name != DISTRIBUTION:
        return ""
    return f"pip install '{DISTRIBUTION}[{entry_point.name}]'"

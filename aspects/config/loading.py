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
from aspects.config.problems import instead, nearest, one_line
from aspects.core.signature import never_runs
from aspects.errors import UnresolvedNameError


def class_named(what: str) -> type:
    """Import the class that an entry of ``hook_drivers`` names.

    :param what: ``path.to:Class``, ``path.to.Class`` or a short name
    :raises UnresolvedNameError: saying what is wrong with it
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
        raise UnresolvedNameError(
            "it is no path.to:Class, path.to.Class or short name", advice
        )
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
        raise UnresolvedNameError(
            f"there is no installed hook of that name (installed: {', '.join(names)})",
            instead(what, names),
        ) from None
    if not inspect.isclass(found):
        raise UnresolvedNameError(f"it is a {type(found).__name__}, not a class")
    return found


def _is_hook(value: object) -> bool:
    return inspect.isclass(value) and hasattr(value, "_execute_pre_hook")


def _hook_class(what: str) -> type:
    """Import the class of a hook.

    :raises UnresolvedNameError: saying what is wrong with it
    """
    cls: Any = class_named(what)
    if not _is_hook(cls):
        raise UnresolvedNameError("it is not a hook", "see aspects.HookBase")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise UnresolvedNameError(
            f"class {cls.__name__!r} leaves out {missing}",
            "give it one, even if it does nothing",
        )
    if wrong := never_runs(cls):
        raise UnresolvedNameError(f"class {cls.__name__!r}: {wrong}")
    return cls  # type: ignore[no-any-return]


def parse_entry(entry: str) -> tuple[str, str]:
    """Split an entry of ``hook_drivers`` into the instance's name and what.

    :raises UnresolvedNameError: if it is none
    """
    name, named, what = (part.strip() for part in entry.rpartition("="))
    if not entry:
        raise UnresolvedNameError(
            "there is nothing between two commas", "take one of them out"
        )
    if not what or (named and not name):
        side = "before" if what else "after"
        raise UnresolvedNameError(
            "it is no [name=]what", f"write something {side} the ="
        )
    if re.search(r"[\s=]", name):
        # As where a comma between two entries is lost.
        raise UnresolvedNameError(f"the instance would be called {name!r}")
    return name or what.rpartition(":")[2].rpartition(".")[2], what


DISTRIBUTION = "manila-aspects"

_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


def failed(what: str, error: BaseException) -> UnresolvedNameError:
    """Return why an import failed, and what helps.

    :param what: the module, or the entry point
    :param error: what its import raised
    """
    advice = ""
    if isinstance(error, SyntaxError):
        advice = f"this is {_PYTHON}, and it may be written for another"
    elif isinstance(error, ModuleNotFoundError):
        advice = _of_missing(error.name or "")
    elif "circular import" in str(error):
        advice = "import it in the function that needs it"
    return UnresolvedNameError(f"importing {what!r} failed: {one_line(error)}", advice)


def _of_missing(module: str) -> str:
    """Return what helps where there is no module."""
    here = f"install it in the Python of {sys.prefix}"
    parent, _, name = module.rpartition(".")
    for file in _of_other_pythons(parent, name):
        of = re.search(r"\.cpython-(\d)(\d+)-", file.name)
        whom = f"Python {of[1]}.{of[2]}" if of else "another Python"
        return f"there is {file.name}, for {whom}, and this is {_PYTHON}: {here}"
    if not parent and any(Path(path).exists() for path in (name, f"{name}.py")):
        where = "it is in the current directory, where manila-share does not look"
        return f"{where}: {here}"
    # Of all that there is, much has a name that is nearly any other.
    names = [each.name for each in pkgutil.iter_modules(_places(parent))]
    if near := nearest(name, names, 0.6 if parent else 0.86):
        return f"write {parent}.{near}" if parent else f"write {near}"
    return "" if parent else here


def _places(parent: str) -> list[str]:
    """Return the directories that the modules of a package are in; of none: all."""
    if not parent:
        return sys.path
    return list(getattr(sys.modules.get(parent), "__path__", ()))


def _of_other_pythons(parent: str, name: str) -> Iterator[Path]:
    """Yield the files of a module that another Python could import."""
    for place in _places(parent):
        with contextlib.suppress(OSError):
            yield from sorted(Path(place).glob(f"{name}.*-*.so"))


# -- classes -------------------------------------------------------------------


def class_at(
    module: str, name: str, like: Callable[[Any], bool] = inspect.isclass
) -> type:
    """Import a class.

    :param module: the path of its module
    :param name: its name there; that of a class in a class has dots
    :param like: whether something is what may be meant, for a near miss
    :raises UnresolvedNameError: if there is no such class
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
        advice = f"take the comma after {name} = ... out" if comma else ""
        raise UnresolvedNameError(
            f"it is a {type(found).__name__}, not a class", advice
        )
    return found


def _module_at(path: str) -> Any:
    """Import a module.

    :raises UnresolvedNameError: if that fails
    """
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and f"{path}.".startswith(f"{error.name}."):
            cause = f"there is no module {error.name!r}"
            raise UnresolvedNameError(cause, _of_missing(error.name)) from None
        raise failed(path, error) from error
    except (Exception, SystemExit) as error:
        raise failed(path, error) from error


def _no_class(
    module: str, name: str, where: Any, like: Callable[[Any], bool]
) -> UnresolvedNameError:
    """Return what is wrong with the name of a class."""
    with contextlib.suppress(UnresolvedNameError):
        return _is_module(_module_at(f"{module}.{name}"), like)
    # A value in a module need not have names of its own.
    there = getattr(where, "__dict__", {})
    names = [each for each, value in there.items() if like(value)]
    cause = f"module {module!r} has no class {name!r}"
    return UnresolvedNameError(cause, instead(name, names))


def _is_module(module: Any, like: Callable[[Any], bool]) -> UnresolvedNameError:
    """Return what is wrong with a module in the place of a class."""
    path = module.__name__
    own = [
        f"{path}.{name}"
        for name, value in vars(module).items()
        if like(value) and value.__module__ == path
    ]
    advice = f"write {own[0]}" if len(own) == 1 else ""
    return UnresolvedNameError(f"{path!r} is a module, not a class", advice)


def driver_at(path: str) -> type:
    """Import a class as Manila does it.

    :param path: ``path.to.Class``
    :raises UnresolvedNameError: saying what is wrong with the path
    """
    module, _, name = path.rpartition(".")
    if not module or not is_path(path):
        meant = path.replace(":", ".", 1)
        advice = "write its module and its class, with a dot between them"
        if ":" in path and is_path(meant):
            advice = f"write {meant}"
        raise UnresolvedNameError("it is no path.to.Class", advice)
    return class_at(module, name)


def is_path(text: str) -> bool:
    """Tell whether something is the path of a module or of what is in one."""
    return all(part.isidentifier() for part in text.split("."))


# -- installed hooks -----------------------------------------------------------


def installed() -> list[importlib.metadata.EntryPoint]:
    """Return the entry points of the installed hooks, by name."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return sorted(found, key=lambda entry_point: entry_point.name)


def not_loaded(
    entry_point: importlib.metadata.EntryPoint, error: BaseException
) -> UnresolvedNameError:
    """Return why an installed hook cannot be imported, and what helps.

    :param entry_point: that of the hook
    :param error: what its import raised
    """
    wrong = failed(entry_point.value, error)
    return UnresolvedNameError(
        wrong.cause, _install_line(entry_point, error) or wrong.advice
    )


def _install_line(
    entry_point: importlib.metadata.EntryPoint, error: BaseException
) -> str:
    """Return the command that installs what a ready hook needs.

    :return: empty where no library is missing, or the hook is none of ours
    """
    of = entry_point.dist
    if not isinstance(error, ImportError) or of is None or of.name != DISTRIBUTION:
        return ""
    return f"pip install '{DISTRIBUTION}[{entry_point.name}]'"

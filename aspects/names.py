# SPDX-License-Identifier: Apache-2.0
"""Names in a configuration: what they name, and what they were meant to be.

It serves start-up and the commands, which tell the same of a name that is wrong.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from aspects.secrets import text_of

#: Where installed hooks are found by their short names.
ENTRY_POINTS = "manila_aspects.hooks"

DISTRIBUTION = "manila-aspects"

_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


class Wrong(Exception):
    """Why a name names nothing.

    :param cause: in one line
    :param advice: what to write or do instead, if that is known
    """

    def __init__(self, cause: str, advice: str = "") -> None:
        super().__init__(f"{cause}: {advice}" if advice else cause)
        self.cause = cause
        self.advice = advice


# -- near misses ---------------------------------------------------------------


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return which of some names another name is nearly, whatever its case.

    :param name: the name
    :param names: the names that it may be meant to be
    :param cutoff: how near it has to be: 1 if it is the same, 0 if there is nothing
        in common
    :return: empty if it is none of them
    """
    by_lower = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), by_lower, 1, cutoff)
    return by_lower[near[0]] if near else ""


def instead(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the advice for a name that is none of some names.

    :param name: the name, or several without the comma between them
    :param names: the names that it may be meant to be
    :param cutoff: as for :func:`nearest`
    :return: empty if there is none
    """
    if len(several := re.split(r"[\s;]+", name)) > 1:
        return f"write {', '.join(filter(None, several))}"
    near = nearest(name, names, cutoff)
    return f"write {near}" if near else ""


# -- errors --------------------------------------------------------------------


def one_line(error: BaseException, secrets: dict[str, Any] | None = None) -> str:
    """Return an error's type and text, in one line and without secrets.

    :param error: the error
    :param secrets: what else its text is not to have, as for ``without_secrets``
    """
    text = f"{type(error).__name__}: {text_of(error, None, secrets)}"
    return " ".join(text.split())


def failed(what: str, error: BaseException) -> Wrong:
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
    return Wrong(f"importing {what!r} failed: {one_line(error)}", advice)


def _of_missing(module: str) -> str:
    """Return what helps where there is no module."""
    here = f"install it in the Python of {sys.prefix}"
    parent, _, name = module.rpartition(".")
    for file in _of_other_pythons(parent, name):
        of = re.search(r"\.cpython-(\d)(\d+)-", file.name)
        whom = f"Python {of[1]}.{of[2]}" if of else "another Python"
        return f"there is {file.name}, for {whom}, and this is {_PYTHON}: {here}"
    if not parent and any(Path(path).exists() for path in (name, f"{name}.py")):
        where = "it is in the current folder, where manila-share does not look"
        return f"{where}: {here}"
    # Of all that there is, much has a name that is nearly any other.
    names = [each.name for each in pkgutil.iter_modules(_places(parent))]
    if near := nearest(name, names, 0.6 if parent else 0.86):
        return f"write {parent}.{near}" if parent else f"write {near}"
    return "" if parent else here


def _places(parent: str) -> list[str]:
    """Return the folders that the modules of a package are in; of none: all."""
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
    :raises Wrong: if there is no such class
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
        raise Wrong(f"it is a {type(found).__name__}, not a class", advice)
    return found


def _module_at(path: str) -> Any:
    """Import a module.

    :raises Wrong: if that fails
    """
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and f"{path}.".startswith(f"{error.name}."):
            cause = f"there is no module {error.name!r}"
            raise Wrong(cause, _of_missing(error.name)) from None
        raise failed(path, error) from error
    except (Exception, SystemExit) as error:
        raise failed(path, error) from error


def _no_class(module: str, name: str, where: Any, like: Callable[[Any], bool]) -> Wrong:
    """Return what is wrong with the name of a class."""
    with contextlib.suppress(Wrong):
        return _is_module(_module_at(f"{module}.{name}"), like)
    # A value in a module need not have names of its own.
    there = getattr(where, "__dict__", {})
    names = [each for each, value in there.items() if like(value)]
    cause = f"module {module!r} has no class {name!r}"
    return Wrong(cause, instead(name, names))


def _is_module(module: Any, like: Callable[[Any], bool]) -> Wrong:
    """Return what is wrong with a module in the place of a class."""
    path = module.__name__
    own = [
        f"{path}.{name}"
        for name, value in vars(module).items()
        if like(value) and value.__module__ == path
    ]
    advice = f"write {own[0]}" if len(own) == 1 else ""
    return Wrong(f"{path!r} is a module, not a class", advice)


def driver_at(path: str) -> type:
    """Import a class as Manila does it.

    :param path: ``path.to.Class``
    :raises Wrong: saying what is wrong with the path
    """
    module, _, name = path.rpartition(".")
    if not module or not is_path(path):
        meant = path.replace(":", ".", 1)
        advice = "write its module and its class, with a dot between them"
        if ":" in path and is_path(meant):
            advice = f"write {meant}"
        raise Wrong("it is no path.to.Class", advice)
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
) -> Wrong:
    """Return why an installed hook cannot be imported, and what helps.

    :param entry_point: that of the hook
    :param error: what its import raised
    """
    wrong = failed(entry_point.value, error)
    return Wrong(wrong.cause, _install_line(entry_point, error) or wrong.advice)


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

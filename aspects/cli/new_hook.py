# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects new-hook``: write the skeleton of a hook."""

from __future__ import annotations

import argparse
import importlib.resources
import importlib.util
import keyword
import re
import string
import tempfile
from pathlib import Path
from typing import Any

from aspects.cli import output
from aspects.cli.command import CommandError, add_command
from aspects.config.loading import installed

#: The names that suit a distribution, and a module once - is replaced by _.
_NAME = re.compile(r"[a-z]([a-z0-9_-]*[a-z0-9])?", re.IGNORECASE)

#: Module names that pip and pytest reserve for themselves.
_RESERVED = ("setup", "conftest")

#: Template -> file.
FILES = {
    "README.rst.in": "README.rst",
    "pyproject.toml.in": "pyproject.toml",
    "hook.py.in": "$module.py",
    "test.py.in": "test_$module.py",
    "manila.conf.sample.in": "manila.conf.sample",
    "demo.conf.in": "demo.conf",
}


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of ``new-hook``.

    :param commands: the subparsers of ``manila-aspects``
    :return: the command's parser
    """
    parser = add_command(
        commands,
        "new-hook",
        "write the skeleton of a hook of your own",
        "Write a directory with a package: a hook with an option, its entry point, a "
        "test that passes, a configuration to begin with, and one that runs it in "
        "manila-aspects demo.",
        ("new-hook quota", "new-hook quota-guard --directory ~/src"),
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="the hook's short name: letters, digits, - and _",
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="where to make the directory NAME; the current directory by default",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Write the skeleton, and print its files and the next steps.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if the skeleton cannot be written
    """
    try:
        project, files = _write(arguments.name, arguments.directory)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    for file in files:
        output.print_line(str(file))
    output.print_line("")
    output.print_line("try it:")
    for line in _next_steps(project):
        output.print_line(f"  {line}")
    return 0


def _write(name: str, directory: Path) -> tuple[Path, list[Path]]:
    """Write a package with one hook: all of it, or nothing.

    :param name: the hook's short name
    :param directory: the parent of the new directory; created if necessary
    :return: the new directory, the files in it
    :raises ValueError: if no hook can have that name
    :raises OSError: if the files cannot be written
    """
    module = _module_name(name)
    project = directory / name
    if project.exists():
        raise ValueError(f"there is a directory {project} already")
    values = {
        "name": name,
        "module": module,
        "cls": _class_name(name),
        "underline": "=" * len(name),
    }
    templates = importlib.resources.files("aspects.cli") / "templates"
    directory.mkdir(parents=True, exist_ok=True)
    # The directory gets its name only once it is complete.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory) as temporary:
        unfinished = Path(temporary, name)
        unfinished.mkdir()
        files = []
        for template, file in FILES.items():
            text = (templates / template).read_text("utf-8")
            files.append(string.Template(file).substitute(values))
            text = string.Template(text).substitute(values)
            (unfinished / files[-1]).write_text(text, "utf-8")
        unfinished.rename(project)
    return project, [project / file for file in files]


def _class_name(name: str) -> str:
    """Return the name of a hook's class."""
    words = [word for word in re.split("[-_]+", name) if word.lower() != "hook"]
    cls = "".join(word[0].upper() + word[1:] for word in words)
    # "hook-1" without "hook" begins with a digit, which no class may.
    return f"Hook{cls}" if cls[:1].isdigit() else f"{cls}Hook"


def _module_name(name: str) -> str:
    """Return the name of a hook's module.

    :raises ValueError: if no hook can have that name
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a hook: it has to be of letters, digits, - and "
            "_, begin with a letter and end with a letter or digit"
        )
    if keyword.iskeyword(module):
        raise ValueError(f"{name!r} is no name for a hook: Python has that word")
    if module.lower() in _RESERVED or module.lower().startswith("test_"):
        raise ValueError(
            f"{name!r} is no name for a hook: pip or pytest has a use of its own for "
            f"{module}.py"
        )
    for entry_point in installed():
        if name == entry_point.name:
            raise ValueError(
                f"there is an installed hook of that name: {name} ({entry_point.value})"
            )
    if _exists(module):
        raise ValueError(f"{name!r} is no name for a hook: there is a module {module}")
    return module


def _exists(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return True
    # The directory of an earlier skeleton is a namespace package, without origin.
    return spec is not None and spec.origin is not None


def _next_steps(project: Path) -> list[str]:
    """Return the commands that install, test and run a skeleton.

    :param project: its directory
    """
    return [
        f"cd {project}",
        "pip install -e '.[test]'",
        "pytest",
        "manila-aspects demo --serve --config-file demo.conf",
    ]

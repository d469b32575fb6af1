# SPDX-License-Identifier: Apache-2.0
"""Implement ``manila-aspects new-hook``, which creates a hook package."""

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

#: A valid name of a distribution that is also one of a module, with _ for each -.
_NAME = re.compile(r"[a-z]([a-z0-9_-]*[a-z0-9])?", re.IGNORECASE)

#: Module names with a special meaning for pip or pytest.
_RESERVED = ("setup", "conftest")

#: Template -> the file that is created from it.
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
        "create a package with a new hook",
        "Create a directory with an installable package: a hook with an option, its "
        "entry point, a passing test, a sample configuration, and a configuration that "
        "runs the hook in manila-aspects demo.",
        ("new-hook quota", "new-hook quota-guard --directory /tmp"),
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="short name of the hook, made of letters, digits, - and _",
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        type=_existing_directory,
        default=Path(),
        help="existing directory to create the directory NAME in (default: the current "
        "directory)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Create the package, and print its files and the next steps.

    :param arguments: the parsed command line
    :return: the exit status
    :raises CommandError: if the package cannot be created
    """
    try:
        project, files = _write(arguments.name, arguments.directory)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    for file in files:
        output.print_line(str(file))
    output.print_line("")
    output.print_line("next steps:")
    for line in _next_steps(project):
        output.print_line(f"  {line}")
    return 0


def _existing_directory(text: str) -> Path:
    """Return the path of a directory.

    :param text: the path, as given on the command line
    :raises argparse.ArgumentTypeError: if it is not an existing directory
    """
    directory = Path(text)
    if not directory.exists():
        raise argparse.ArgumentTypeError(f"{text!r} does not exist; create it first")
    if not directory.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a directory")
    return directory


def _write(name: str, directory: Path) -> tuple[Path, list[Path]]:
    """Create a package with one hook. An error leaves no partial package.

    :param name: the hook's short name
    :param directory: the parent of the new directory
    :return: the new directory, and the files in it
    :raises ValueError: if the name is invalid or taken
    :raises OSError: if the files cannot be written
    """
    module = _module_name(name)
    project = directory / name
    if project.exists():
        raise ValueError(f"{project} already exists")
    values = {
        "name": name,
        "module": module,
        "cls": _class_name(name),
        "underline": "=" * len(name),
    }
    templates = importlib.resources.files("aspects.cli") / "templates"
    # Written to a temporary directory first, so that no incomplete package remains.
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
    """Return the class name for the short name of a hook."""
    words = [word for word in re.split("[-_]+", name) if word.lower() != "hook"]
    cls = "".join(word[0].upper() + word[1:] for word in words)
    # "hook-1" without "hook" starts with a digit, and a class name must not.
    return f"Hook{cls}" if cls[:1].isdigit() else f"{cls}Hook"


def _module_name(name: str) -> str:
    """Return the module name for the short name of a hook.

    :raises ValueError: if the short name is invalid or taken
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"invalid hook name {name!r}; use letters, digits, - and _, with a letter "
            "first and a letter or a digit last"
        )
    if keyword.iskeyword(module):
        raise ValueError(f"invalid hook name {name!r}: it is a Python keyword")
    if module.lower() in _RESERVED or module.lower().startswith("test_"):
        raise ValueError(
            f"invalid hook name {name!r}: pip or pytest treats {module}.py specially; "
            "choose another name"
        )
    for entry_point in installed():
        if name == entry_point.name:
            raise ValueError(
                f"hook name {name!r} is taken by an installed hook, {entry_point.value}"
            )
    if _exists(module):
        raise ValueError(f"invalid hook name {name!r}: module {module} already exists")
    return module


def _exists(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return True
    # An earlier package in the current directory is a namespace package here, which
    # has no origin.
    return spec is not None and spec.origin is not None


def _next_steps(project: Path) -> list[str]:
    """Return the commands that install, test and run a new hook.

    :param project: the directory of its package
    """
    return [
        f"cd {project}",
        "pip install -e '.[test]'",
        "pytest",
        "manila-aspects demo --serve --config-file demo.conf",
    ]

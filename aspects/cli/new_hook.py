# SPDX-License-Identifier: Apache-2.0
"""Write the skeleton of a hook: ``manila-aspects new-hook``."""

from __future__ import annotations

import importlib.resources
import importlib.util
import keyword
import re
import string
import tempfile
from pathlib import Path

from aspects.config.loading import installed

#: What is a name of a distribution, and of a module once - is _.
_NAME = re.compile(r"[a-z]([a-z0-9_-]*[a-z0-9])?", re.IGNORECASE)

#: Files of these names are not for a package's modules.
_TAKEN = ("setup", "conftest")

#: Template -> file.
FILES = {
    "README.rst.in": "README.rst",
    "pyproject.toml.in": "pyproject.toml",
    "hook.py.in": "$module.py",
    "test.py.in": "test_$module.py",
    "manila.conf.sample.in": "manila.conf.sample",
    "demo.conf.in": "demo.conf",
}


def write(name: str, directory: Path) -> tuple[Path, list[Path]]:
    """Write a package with one hook.

    :param name: the hook's short name
    :param directory: where to make the folder of that name; made if need be
    :return: the folder, the files in it
    :raises ValueError: if there can be no hook of that name
    :raises OSError: if the files cannot be written
    """
    module = _module(name)
    folder = directory / name
    if folder.exists():
        raise ValueError(f"there is a folder {folder} already")
    values = {
        "name": name,
        "module": module,
        "cls": _class(name),
        "underline": "=" * len(name),
    }
    templates = importlib.resources.files("aspects.cli") / "templates"
    directory.mkdir(parents=True, exist_ok=True)
    # All of it or nothing: it gets its name when it is whole.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory) as unfinished:
        whole = Path(unfinished, name)
        whole.mkdir()
        files = []
        for template, file in FILES.items():
            text = (templates / template).read_text("utf-8")
            files.append(string.Template(file).substitute(values))
            written = string.Template(text).substitute(values)
            (whole / files[-1]).write_text(written, "utf-8")
        whole.rename(folder)
    return folder, [folder / file for file in files]


def _class(name: str) -> str:
    """Return the name of a hook's class."""
    words = [word for word in re.split("[-_]+", name) if word.lower() != "hook"]
    cls = "".join(word[0].upper() + word[1:] for word in words)
    # What begins with a digit once "hook" is left out, as hook-1, cannot.
    return f"Hook{cls}" if cls[:1].isdigit() else f"{cls}Hook"


def _module(name: str) -> str:
    """Return the module of a hook.

    :raises ValueError: if there can be none
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a hook: it has to be of letters, digits, - and "
            "_, begin with a letter and end with a letter or digit"
        )
    if keyword.iskeyword(module):
        raise ValueError(f"{name!r} is no name for a hook: Python has that word")
    if module.lower() in _TAKEN or module.lower().startswith("test_"):
        raise ValueError(
            f"{name!r} is no name for a hook: pip or pytest has a use of its own for "
            f"{module}.py"
        )
    for entry_point in installed():
        if name == entry_point.name:
            raise ValueError(
                f"there is an installed hook of that name: {name} ({entry_point.value})"
            )
    if _is_there(module):
        raise ValueError(f"{name!r} is no name for a hook: there is a module {module}")
    return module


def _is_there(module: str) -> bool:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return True
    # A mere folder, as that of an earlier skeleton, has no origin.
    return found is not None and found.origin is not None


def next_steps(folder: Path) -> list[str]:
    """Return the commands that install, test and run a skeleton.

    :param folder: where it is
    """
    return [
        f"cd {folder}",
        "pip install -e '.[test]'",
        "pytest",
        "manila-aspects demo --serve --config-file demo.conf",
    ]

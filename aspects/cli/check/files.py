# SPDX-License-Identifier: Apache-2.0
"""Find the configuration files and split them into lines."""

from __future__ import annotations

import argparse
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oslo_config import cfg

from aspects.cli.command import CommandError

#: A command-line option, :data:`FILE` or :data:`DIRECTORY`, and its value.
Source = tuple[str, Path]

FILE, DIRECTORY = "--config-file", "--config-dir"


class _AppendSource(argparse.Action):
    """Append files and directories to one list, which keeps their relative order."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        sources = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*sources, (self.option_strings[0], values)])


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name files and directories, as ``sources``.

    :param parser: the parser of a command
    """
    parser.add_argument(
        FILE,
        dest="sources",
        metavar="FILE",
        type=Path,
        action=_AppendSource,
        default=[],
        help="file to read; repeatable (default: the files that manila-share finds, "
        "e.g. /etc/manila/manila.conf)",
    )
    parser.add_argument(
        DIRECTORY,
        dest="sources",
        metavar="DIR",
        type=Path,
        action=_AppendSource,
        default=[],
        help="directory whose *.conf files are read, in the order of their names; "
        "repeatable; among all files and directories, the last value of an option wins",
    )


def all_sources(sources: Sequence[Source]) -> list[Source]:
    """Return the sources of ``manila-share`` with a command line, in their order.

    Its default files are read unless the command line has files. Its default
    directories are read unless the command line has directories.

    :param sources: the sources of the command line
    :raises CommandError: if there are none
    """
    used = [option for option, _ in sources]
    finders = ((FILE, cfg.find_config_files), (DIRECTORY, cfg.find_config_dirs))
    found = [
        (option, Path(path))
        for option, find in finders
        if option not in used
        for path in find("manila", "manila-share")
    ]
    if not found and not sources:
        raise CommandError("no configuration found; specify one with --config-file")
    return [*found, *sources]


def files_of(sources: Sequence[Source]) -> Iterator[str]:
    """Yield the paths of the files, in the order in which oslo.config reads them.

    :param sources: files and directories
    """
    for option, path in sources:
        if option == DIRECTORY:
            yield from sorted(glob.glob(os.path.join(path, "*.conf")))
        else:
            yield str(path)


# -- sections ------------------------------------------------------------------


def normalized(section: str) -> str:
    """Return the name under which oslo.config finds a section.

    :param section: the name, in any case
    """
    if section == "DEFAULT":
        return section
    # [default] differs from [DEFAULT], but [default:x] is the same as [DEFAULT:x].
    return re.sub("^default:", "DEFAULT:", section.lower())


def backend_of(section: str) -> str:
    """Return the backend that a section belongs to.

    :param section: a backend section or an instance section
    """
    return section.partition(":")[0]


# -- lines ---------------------------------------------------------------------


class Line(NamedTuple):
    """A line that begins a section or sets an option."""

    file: str
    number: int
    section: str
    """as written"""
    option: str = ""
    """empty if the line begins a section"""
    value: str = ""
    within: tuple[str, str] | None = None
    """for an indented line, the section and option whose value it continues"""

    @property
    def key(self) -> str:
        """The normalized name of the section."""
        return normalized(self.section)


#: The effective lines, by normalized section and option.
Index = Mapping[tuple[str, str], Line]


def index_of(lines: Iterable[Line]) -> Index:
    """Return the effective lines: the last one of each option, if not indented.

    :param lines: the lines of all files, in the order in which they are read
    """
    return {(line.key, line.option): line for line in lines if not line.within}


_OPTION = re.compile(r"([^=:]*)(?:[=:](.*))?")

#: An indented section header, which oslo.config reads as part of a value.
_INDENTED_SECTION = re.compile(r"\s+\[([\w.: -]+)\]?$")


def lines_of(file: str, text: str) -> Iterator[Line]:
    """Yield the lines of a file that are not comments.

    :param file: the path of the file
    :param text: the content of the file
    """
    section = ""
    previous: tuple[str, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip()
        if line.startswith("["):
            section, previous = line[1:-1], None
            yield Line(file, number, section)
        elif match := _INDENTED_SECTION.match(line):
            # The following lines were meant for this section.
            section = match[1]
            yield Line(file, number, section, within=previous)
        elif line and line[0] not in "#;" and (match := _OPTION.match(line)):
            option, value = (part.strip() for part in match.groups(""))
            if line[0].isspace():
                yield Line(file, number, section, option, value, previous)
            else:
                previous = (section, option)
                yield Line(file, number, section, option, value)

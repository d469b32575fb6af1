# SPDX-License-Identifier: Apache-2.0
"""Find the configuration files, and split them into lines."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from oslo_config import cfg

#: An option of the command line, :data:`FILE` or :data:`DIRECTORY`, and its value.
Source = tuple[str, Path]

FILE, DIRECTORY = "--config-file", "--config-dir"


def default_sources(sources: Sequence[Source]) -> Iterator[Source]:
    """Yield the sources that ``manila-share`` adds in front of the given ones.

    It adds its own files unless files are given, and its own directories unless
    directories are given.

    :param sources: the given sources
    """
    given = [option for option, _ in sources]
    for option, find in (
        (FILE, cfg.find_config_files),
        (DIRECTORY, cfg.find_config_dirs),
    ):
        if option not in given:
            for path in find("manila", "manila-share"):
                yield option, Path(path)


def files_of(sources: Sequence[Source]) -> Iterator[str]:
    """Yield the paths of the files, in the order in which oslo.config reads them.

    :param sources: files, and directories with ``*.conf`` files
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
    # [default] is another section than [DEFAULT]; [default:x] is [DEFAULT:x].
    return re.sub("^default:", "DEFAULT:", section.lower())


def backend_of(section: str) -> str:
    """Return the backend that a section belongs to.

    :param section: the section of a backend or of a hook instance
    """
    return section.partition(":")[0]


# -- lines ---------------------------------------------------------------------


class Line(NamedTuple):
    """A line of a file that begins a section or has an option."""

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
    """Return the effective lines: the last one of each option, indented ones aside.

    :param lines: the lines of all files, in the order in which they are read
    """
    return {(line.key, line.option): line for line in lines if not line.within}


_OPTION = re.compile(r"([^=:]*)(?:[=:](.*))?")

#: The beginning of a section, which oslo.config only sees without the indentation.
_INDENTED_SECTION = re.compile(r"\s+\[([\w.: -]+)\]?$")


def lines_of(file: str, text: str) -> Iterator[Line]:
    """Yield the lines of a file, comments aside.

    :param file: its path
    :param text: its text
    """
    section = ""
    previous: tuple[str, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip()
        if line.startswith("["):
            section, previous = line[1:-1], None
            yield Line(file, number, section)
        elif match := _INDENTED_SECTION.match(line):
            # The lines after it were meant for this section.
            section = match[1]
            yield Line(file, number, section, within=previous)
        elif line and line[0] not in "#;" and (match := _OPTION.match(line)):
            option, value = (part.strip() for part in match.groups(""))
            if line[0].isspace():
                yield Line(file, number, section, option, value, previous)
            else:
                previous = (section, option)
                yield Line(file, number, section, option, value)

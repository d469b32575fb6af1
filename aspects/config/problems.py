# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a configuration, and suggestions for it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from aspects.secrets import text_of


class Problem(NamedTuple):
    """One thing that is wrong in a section."""

    section: str
    option: str
    value: str
    cause: str
    advice: str = ""
    """what to write or do instead, where that is known"""

    def __str__(self) -> str:
        text = f"[{self.section}] {self.option} = {self.value}: {self.cause}"
        return f"{text}: {self.advice}" if self.advice else text


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


def one_line(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return an error's type and text, in one line and without secrets.

    :param error: the error
    :param secrets: values that its text must not have
    """
    text = f"{type(error).__name__}: {text_of(error, secrets=secrets)}"
    return " ".join(text.split())

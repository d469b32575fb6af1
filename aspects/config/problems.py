# SPDX-License-Identifier: Apache-2.0
"""Errors in a configuration, and suggestions of corrections."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from aspects.secrets import text_of


class Problem(NamedTuple):
    """One error in a section."""

    section: str
    option: str
    value: str
    cause: str
    advice: str = ""
    """a suggestion or an instruction; empty if there is none"""

    def __str__(self) -> str:
        subject = f"[{self.section}] {self.option}"
        subject += f" = {self.value}" if self.value else ""
        text = f"{subject}: {self.cause}"
        return f"{text}; {self.advice}" if self.advice else text


#: The advice for a value with a comment.
COMMENT = "move the comment to its own line"

# -- near misses ---------------------------------------------------------------


def nearest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the candidate that is most similar to a name, ignoring case.

    :param name: the name
    :param candidates: the known names
    :param cutoff: the least similarity, from 0 (any name) to 1 (the same name)
    :return: empty if no candidate is similar enough
    """
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.lower(), by_lower, 1, cutoff)
    return by_lower[near[0]] if near else ""


def suggest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str:
    """Suggest a correction for an unknown name.

    :param name: the name, or several without the comma between them
    :param candidates: the known names
    :param cutoff: the least similarity: see :func:`nearest`
    :return: ``did you mean ...?``; empty if no candidate is similar enough
    """
    if re.search(r"\s[#;]", name):
        return COMMENT
    if len(several := re.split(r"[\s;]+", name)) > 1:
        return f"did you mean {', '.join(filter(None, several))}?"
    near = nearest(name, candidates, cutoff)
    return f"did you mean {near}?" if near else ""


# -- errors --------------------------------------------------------------------


def one_line(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """Return an error's type and text, in one line and without secrets.

    :param error: the error
    :param secrets: values to remove from its text
    """
    text = f"{type(error).__name__}: {text_of(error, secrets=secrets)}"
    return " ".join(text.split())

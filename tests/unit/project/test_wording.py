# SPDX-License-Identifier: Apache-2.0
"""No text of the project has a turn that a native engineer would not write."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.pages import ROOT

#: Regular expression of a turn -> what to write in its place. Underscores count as
#: spaces, so the names of tests and variables are read too.
TURNS = {
    r"(?:re)?tell(?:s|ing)?|told": "report, notify, pass, log, return or emit",
    r"so[- ]manieth": "every N-th",
    r"stands?(?! in for)": "is",
    r"lies(?= (?:in|on|at)\b)": "is",
    r"by then": "by that time, or the event that is meant",
    r"all the same": "anyway, or say what happens",
    r"for ever": "forever, or without end",
    r"so many(?! \w+ that)": "N, or the number of",
    r"(?:some|no|any)body'?s?": "who it is, or the passive voice",
    r"whoever": "who it is",
    r"(?:ours|theirs|yours)": "the noun",
    r"(?:of|on) (?:its|their) own accord": "by itself",
    r"(?<!there )(?:is|are|was|were) no(?= \w)(?! longer\b| more\b)": "is not a",
    r"that there (?:is|are)(?: not)?": "that exists, or does not",
    r"go(?:es)? on(?! (?:the|a)\b)|went on|going on": "continue, proceed",
    r"be of|is of(?= (?!course))|are of": "belongs to, or the noun with a hyphen",
    r"once more": "again",
    r"heed(?:s|ed)?|unheeded": "follow, respect",
    r"mind (?:two|three) things": "note",
    r"ha(?:ve|s|d) (?:it|them) (?:be|run|do|go|come)": "make, let or cause",
    r"as it (?:is|was) to be": "as expected",
    r"to be had|can be had": "is available",
    r"learns? of": "receive, or is notified",
    r"what (?:it|they|he|she) (?:is|are|was|were) (?:of|by|from|for)": "the noun",
    r"nothing else is (?:known|said|told)": "say what is known",
    r"comes? upon": "find",
    r"hath|thereof|therein|whereof|wherein|thereby": "today's word",
    r"anew": "again",
    r"folders?": "directory",
    r"endings?": "completion",
    r"(?:pre|post|error|periodic)[- ]actions?": "hook method",
    r"(?:un)?misspelt": "misspelled",
    r"put in (?:its|their) place": "replaced by",
    r"in (?:its|their) stead": "instead",
    r"what is wrong(?= with)": "the errors in",
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"other end": "receiver",
}

#: First words of a docstring that is not a verb with a noun.
NOT_A_SUMMARY = re.compile(
    r"(?:What|Have|Whether|Where|Who|Whose|Which|How|Why|As|Of|That|The same|Those)\b"
)

_TURNS = {re.compile(rf"(?<![\w-])(?:{turn})(?![\w-])", re.I): turn for turn in TURNS}

_SKIPPED = {
    "LICENSE",
    "tests/unit/project/test_wording.py",
}

_TEXTS = {".cfg", ".conf", ".in", ".ini", ".md", ".py", ".rst", ".sample", ".svg"}
_TEXTS |= {".toml", ".txt", ".yaml", ".yml"}

_TREES = ("aspects", "bench", "doc/source", "etc", "hooks", "releasenotes", "tests")


def texts() -> list[Path]:
    """Return the files with text for users and maintainers."""
    files = [file for file in ROOT.iterdir() if file.is_file()]
    for tree in _TREES:
        files += (ROOT / tree).rglob("*")
    return sorted(
        file
        for file in files
        if file.suffix in _TEXTS
        and file.is_file()
        and str(file.relative_to(ROOT)) not in _SKIPPED
    )


def prose_of(text: str) -> str:
    """Return a text on one line, without comment marks, underscores as spaces."""
    text = re.sub(r"\n[ \t]*(?:#:?[ \t]*)?", " ", text)
    return re.sub(r"[_\s]+", " ", re.sub(r"\"\s+f?\"", "", text))


def found_in(text: str) -> list[str]:
    """Return the banned turns in a text, each with its surroundings."""
    prose = prose_of(text)
    return [
        f"...{prose[max(match.start() - 30, 0) : match.end() + 20]}...: {TURNS[turn]}"
        for pattern, turn in _TURNS.items()
        for match in pattern.finditer(prose)
    ]


@pytest.mark.parametrize("file", texts(), ids=lambda file: str(file.relative_to(ROOT)))
def test_no_text_has_a_banned_turn(file: Path) -> None:
    assert found_in(file.read_text("utf-8", "replace")) == []


MODULES = [file for file in texts() if file.suffix == ".py"]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_docstring_begins_with_a_verb_or_a_noun(file: Path) -> None:
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]
    assert [doc for doc in docs if NOT_A_SUMMARY.match(doc)] == []


@pytest.mark.parametrize(
    "text",
    [
        "The driver is told of it.",
        "# The option stands\n    # by then in the file.",
        'f"it is no "\n    f"operation"',
        "def test_an_ending_is_run():",
        "hooks that there are not",
    ],
)
def test_a_turn_is_found(text: str) -> None:
    assert found_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "There is no such option.",
        "A snapshot stands in for the result.",
        "The storage is no longer mounted.",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert found_in(text) == []

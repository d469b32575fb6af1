# SPDX-License-Identifier: Apache-2.0
"""Write the figures of runs into the documentation: ``python -m bench.page``.

``python -m bench.page RUN.json [RUN.json ...]`` takes files of ``python -m bench
--json``. It fills the marked parts of ``doc/source/reference/benchmark.rst`` and draws
its picture. The table has all runs; the other figures are those of the last run.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.__main__ import FULL
from bench.figures import BadFileError, Figures
from bench.report import human, times

DOCS = Path(__file__).resolve().parent.parent / "doc" / "source"
PAGE = DOCS / "reference" / "benchmark.rst"
PICTURE = DOCS / "_static" / "overhead.png"


def answer(runs: Sequence[Figures]) -> str:
    """Return the cost of hooks in words, as reStructuredText.

    :param runs: the runs
    """
    new = runs[-1]
    adds = {
        count: new.added(f"woven/{count}/keyword", "direct/keyword")
        for count in (1, 8, 64)
    }
    disabled = new.added("woven/disabled/keyword", "direct/keyword")
    proxy = new.added("proxy/keyword", "direct/keyword")
    whole = new.median("create/1")
    hooks = {
        count: new.added(f"create/hooks/{count}", "create/hooks/0") for count in (1, 8)
    }
    ratios = {
        count: new.ratio(f"woven/{count}/keyword", f"upstream/{count}/keyword")
        for count in (1, 8)
    }
    answers = {
        "Per call": (
            f"One hook whose methods do nothing adds {human(adds[1])} to a driver call "
            f"by keyword, eight add {human(adds[8])}, sixty-four {human(adds[64])}.",
            "The whole call takes "
            f"{ratios[1]:.0%} of the time that it takes with one of Manila's own hooks,"
            f" and {ratios[8]:.0%} with eight.",
            f"Eight disabled hooks add {human(disabled)} together; "
            f"a bare proxy adds {human(proxy)}.",
        ),
        "At 100 calls a second": (
            "A backend with a hundred driver calls a second, more than most storage "
            f"can serve, spends {human(100 * adds[8])} of each second in eight "
            f"hooks: {100 * adds[8]:.2%} of one core.",
        ),
        "In a real create": (
            "A ``create_share`` through Manila's manager, with a driver that answers "
            f"at once and a SQLite database, takes {human(whole)}.",
            f"One hook takes {human(hooks[1])} of it, eight take {human(hooks[8])}: "
            f"**{hooks[1] / whole:.2%} and {hooks[8] / new.median('create/8'):.2%}**.",
            "Hooks take longer here than in a loop, because other code uses the "
            "processor's caches between the calls.",
        ),
    }
    return "\n\n".join(
        "\n".join([title, *(_filled(sentence, "    ") for sentence in sentences)])
        for title, sentences in answers.items()
    )


def machine(runs: Sequence[Figures]) -> str:
    """Return the conditions of the last run, as reStructuredText.

    :param runs: the runs
    """
    metadata = runs[-1].suite.get_benchmarks()[0].get_metadata()
    python = metadata.get("python_version", "").partition(" ")[0]
    return _filled(
        f"These figures are from a {_kind(runs[-1])} run with Python {python} on "
        f"{metadata.get('cpu_count', '?')} cores "
        f"({metadata.get('cpu_model_name', 'unknown processor')})."
    )


def ceilings(runs: Sequence[Figures]) -> str:
    """Return a table of all checks, as reStructuredText.

    :param runs: the runs, one column each
    """
    rows = [["ratio", "limit", *(str(number + 1) for number in range(len(runs)))]]
    for checks in zip(*(run.checks() for run in runs)):
        first = checks[0]
        limit = f"{'≥' if first.at_least else '≤'} {first.limit:.2f}"
        rows.append([first.title, limit, *(times(check.value) for check in checks)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [" ".join(cell.ljust(w) for cell, w in zip(row, widths)) for row in rows]
    rule = " ".join("=" * width for width in widths)
    kinds = " or ".join(sorted({_kind(run) for run in runs}))
    title = f"Values of {len(runs)} {kinds} run{'s in a row' if len(runs) > 1 else ''}:"
    table = [rule, lines[0], rule, *lines[1:], rule]
    return "\n".join([title, "", *(line.rstrip() for line in table)])


def _kind(run: Figures) -> str:
    (processes,) = (stage.processes for stage in FULL if stage.group == "calls")
    return "full" if len(run.runs("direct/keyword")) >= processes else "quick"


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        88,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


#: The marked parts of the page.
PARTS: Mapping[str, Callable[[Sequence[Figures]], str]] = {
    "answer": answer,
    "machine": machine,
    "ceilings": ceilings,
}


def filled(page: str, runs: Sequence[Figures]) -> str:
    """Return the page with the figures of runs in its marked parts.

    :param page: the text of the page
    :param runs: the runs
    :raises BadFileError: if the page lacks a part, or the last run a figure
    """
    for name, part in PARTS.items():
        try:
            text = f".. begin {name}\n\n{part(runs)}\n\n.. end {name}\n"
        except KeyError as error:
            raise BadFileError(f"{name}: not measured: {error.args[0]}") from None
        page, found = re.subn(
            rf"^\.\. begin {name}$.*?^\.\. end {name}\n",
            lambda match, text=text: text,  # type: ignore[misc]
            page,
            count=1,
            flags=re.DOTALL | re.MULTILINE,
        )
        if not found:
            raise BadFileError(
                f"{PAGE.name}: missing '.. begin {name}' or '.. end {name}'"
            )
    return page


def main() -> None:
    """Fill the page and draw the picture."""
    from bench import plot

    if len(sys.argv) < 2:
        sys.exit("usage: python -m bench.page RUN.json [RUN.json ...]")
    try:
        runs = [Figures.load(Path(name)) for name in sys.argv[1:]]
        PAGE.write_text(filled(PAGE.read_text("utf-8"), runs), "utf-8")
        plot.draw(runs[-1], PICTURE)
    except BadFileError as error:
        sys.exit(f"bench.page: error: {error}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Print tables, lines and progress, in color if the output is a terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from aspects.cli.command import CommandError

#: Receives a status message before a slow step.
Progress = Callable[[str], None]


class Table(NamedTuple):
    """A table, or a paragraph if there are no rows."""

    title: str
    text: str = ""
    """a line between the title and the rows"""
    columns: tuple[str, ...] = ()
    """the headers of the columns"""
    rows: Sequence[tuple[str, ...]] = ()
    """the cells of each row"""


def print_line(text: str, style: str = "") -> None:
    """Print a line.

    :param text: the line
    :param style: the color of the line on a terminal
    """
    console = _console(sys.stdout) if style else None
    if console is None:
        print(text)  # noqa: T201
    else:
        for line in _wrapped(text, console.width):
            console.print(line, style=style, markup=False, soft_wrap=True)


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables with their titles.

    :param tables: the tables
    """
    console = _console(sys.stdout)
    for table in tables:
        if console is None:
            print("\n".join(_plain_lines(table)))  # noqa: T201
        else:
            _print_rich(console, table)


def print_error(text: str) -> None:
    """Print a line about a problem to standard error.

    :param text: the line
    """
    print(f"manila-aspects: {text}", file=sys.stderr)  # noqa: T201


@contextlib.contextmanager
def live() -> Iterator[Callable[[Sequence[str], Iterable[Table]], None]]:
    """Return a function that replaces the contents of the terminal.

    :raises CommandError: without a terminal or without rich
    """
    console = _console(sys.stdout)
    if console is None:
        raise CommandError(
            "--watch needs a terminal and rich; run pip install 'manila-aspects[cli]'"
        )
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, screen=True, auto_refresh=False) as terminal:

        def show(lines: Sequence[str], tables: Iterable[Table]) -> None:
            text = io.StringIO()
            page = Console(
                file=text,
                width=console.width,
                color_system=console.color_system,
                force_terminal=True,
                highlight=False,
                emoji=False,
            )
            for line in lines:
                page.print(Text(line))
            for table in tables:
                _print_rich(page, table)
            terminal.update(Text.from_ansi(text.getvalue()), refresh=True)

        yield show


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Show progress on a terminal, and keep imported modules off stdout."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    console = _console(sys.stderr)
    with contextlib.redirect_stdout(sys.stderr):
        if console is None:
            yield lambda text: None
            return
        from rich.text import Text

        with console.status("") as status:
            yield lambda text: status.update(Text(text))


def _wrapped(text: str, width: int, indent: str = "    ") -> list[str]:
    """Return the lines of a text, without a break in a word.

    :param text: the text
    :param width: the width of the terminal; a longer word has a longer line
    :param indent: the indentation of the second line and the following ones
    """
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def _console(stream: TextIO) -> Any:
    """Return a rich console; None without a terminal or without rich."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    return Console(file=stream, highlight=False, emoji=False)


def _plain_lines(table: Table) -> Iterator[str]:
    yield table.title
    if table.text:
        yield f"  {table.text}"
    if table.rows:
        # A value in a configuration file may span several lines.
        rows = [
            [" ".join(cell.split()) for cell in row]
            for row in (table.columns, *table.rows)
        ]
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths))
            yield f"  {'  '.join(cells)}".rstrip()
    yield ""


def _fits(table: Table, width: int) -> bool:
    """Return whether a table is narrow enough without a break in a word."""
    # rich pads each column, and adds an edge on both sides.
    return sum(_longest_words(table)) + 3 * len(table.columns) + 3 <= width


def _longest_words(table: Table) -> list[int]:
    """Return the length of the longest word in each column."""
    rows = (table.columns, *table.rows)
    return [
        max(len(word) for cell in column for word in cell.split() or [""])
        for column in zip(*rows)
    ]


def _print_rich(console: Any, table: Table) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    console.print(Text(table.title, "bold"))
    if table.text:
        for line in _wrapped(f"  {table.text}", console.width):
            console.print(Text(line), soft_wrap=True)
    if table.rows and not _fits(table, console.width):
        # Each row is a paragraph, since columns would break words.
        for row in table.rows:
            for column, cell in zip(table.columns, row):
                text = f"  {column}: {cell}" if column else f"  {cell}"
                for number, line in enumerate(_wrapped(text, console.width)):
                    styled = Text(line)
                    if number == 0:
                        styled.stylize("cyan", 2, 2 + len(column))
                    console.print(styled, soft_wrap=True)
            console.print()
    elif table.rows:
        grid = RichTable(box=box.SIMPLE_HEAD, header_style="cyan", pad_edge=True)
        for column, length in zip(table.columns, _longest_words(table)):
            grid.add_column(column, min_width=length, overflow="fold")
        for row in table.rows:
            grid.add_row(*map(Text, row))
        console.print(grid)
    else:
        console.print()

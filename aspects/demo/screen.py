# SPDX-License-Identifier: Apache-2.0
"""Print the demo's output with rich: in color on a terminal, else as plain text."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aspects.demo.journal import COMPLETIONS, TICK, Call, Run
from aspects.demo.watch import clipped
from aspects.requests import SECTION

#: Columns of plain text, unless the environment variable COLUMNS has another number.
PLAIN_WIDTH = 100

_COLORS = {
    "result": "green",
    "pending": "yellow",
    "partial": "red",
    "failure": "red",
    "veto": "yellow",
    "error": "red",
}


def new_console() -> Console:
    """Return a console for standard output.

    Without a terminal, the text is plain. ``NO_COLOR`` disables all escape sequences,
    bold and dim text included.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names in results may have characters that the encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    colors = not os.environ.get("NO_COLOR")
    console = Console(
        highlight=False, emoji=False, color_system="auto" if colors else None
    )
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PLAIN_WIDTH
    return console


class Screen:
    """Write to standard output, from any thread."""

    def __init__(
        self,
        console: Console | None = None,
        *,
        verbose: bool = False,
        quiet: bool = False,
        ticks: bool = False,
    ) -> None:
        """Use a console.

        :param console: rich's console; one for standard output by default
        :param verbose: whether to print durations, whole results and tracebacks
        :param quiet: whether to print calls only if they or a method failed
        :param ticks: whether to print ticks; those with an error are always printed
        """
        self._console = console or new_console()
        self._verbose, self._quiet, self._ticks = verbose, quiet, ticks
        # A call may have several lines, which other threads must not separate.
        self._lock = threading.Lock()
        # What was last printed of a routine operation.
        self._last: dict[tuple[str, str, str], list[str]] = {}

    def _print(self, *lines: str) -> None:
        with self._lock:
            for line in lines:
                text = Text.from_markup(line, emoji=False)
                self._console.print(text, soft_wrap=True)

    def _new_table(self, title: str, columns: Sequence[str]) -> Table:
        style = box.HEAVY_HEAD if self._console.is_terminal else box.ASCII
        table = Table(title=title, title_justify="left", box=style)
        for name in columns:
            table.add_column(name, overflow="fold")
        return table

    # -- notes and steps -------------------------------------------------------

    def note(self, text: str) -> None:
        """Print a line."""
        self._print(escape(text))

    def detail(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self._quiet:
            self.note(text)

    def warn(self, level: str, text: str) -> None:
        """Print a warning or an error of this library."""
        self._print(f"[yellow]{level}:[/] {escape(text)}")

    def step(self, number: int, title: str) -> None:
        """Print the title of the next step."""
        if not self._quiet:
            self._print(f"[bold]{number:2} {escape(title)}[/]")

    def reached(self, text: str) -> None:
        """Print the result of a step."""
        if not self._quiet:
            self._print(f"   [green]ok[/] {escape(text)}")

    def failed(self, text: str) -> None:
        """Print the error of a step."""
        self._print(f"   [red]failed[/] {escape(text)}")

    # -- calls -----------------------------------------------------------------

    def call(self, call: Call) -> None:
        """Print a call or a tick, in one line if nothing failed.

        A routine operation is printed again only if its outcome has changed.

        :param call: the call, which has ended
        """
        lines = [self._head(call), *self._failures(call)]
        news = call.requested or self._is_news(call, lines)
        if call.operation == TICK:
            wanted = self._ticks or (news and len(lines) > 1)
        else:
            wanted = news and not (self._quiet and len(lines) == 1)
        if wanted:
            self._print(*lines, *self._details(call))

    def late_run(self, call: Call, run: Run) -> None:
        """Print a method that ran in the background, if it raised.

        :param call: the call, which had ended before
        :param run: the run
        """
        if run.failure or (self._verbose and not self._quiet):
            head = f"   [cyan]{escape(call.backend)}[/] {escape(_named(call))}"
            self._print(
                f"{head} in the background: [dim]{run.kind} {_durations([run])} ms[/]",
                *self._suppressed([run]),
            )

    def _is_news(self, call: Call, lines: list[str]) -> bool:
        key = (call.backend, call.operation, call.method)
        with self._lock:
            before, self._last[key] = self._last.get(key), lines
        return before != lines

    def _head(self, call: Call) -> str:
        name, outcome = _named(call), call.outcome
        if call.reported:
            outcome += f", {call.reported}"
        plain = f"   {call.backend} {name} {outcome} "
        text = call.failure.text if call.failure else call.result
        if not any(run.hook for run in call.runs):
            text = f"(no hook method ran) {text}"
        if not call.failure and not self._verbose:
            text = clipped(text, max(self._console.width - len(plain), 20))
        return (
            f"   [cyan]{escape(call.backend)}[/] {escape(name)} "
            f"[{_COLORS[call.reported or outcome]}]{outcome}[/] {escape(text)}"
        ).rstrip()

    def _failures(self, call: Call) -> Iterator[str]:
        """Yield a line for each exception, and for a failure in the result."""
        if call.reason:
            yield f"      [yellow]{escape(call.reason)}[/]"
        if call.failure:
            cause = call.cause
            if cause is None:
                last = f" after {call.last.name}" if call.last else ""
                yield self._raised(f"raised{last}", call.failure.place)
            else:
                rest = ""
                of_api = call.backend == SECTION
                if cause.kind == "pre":
                    rest = "; request not made" if of_api else "; driver not called"
                elif cause.kind == "post":
                    rest = "; request was made" if of_api else "; driver had returned"
                yield self._raised(f"raised by {cause.name}", call.failure.place, rest)
                yield from self._traceback(cause)
        yield from self._suppressed(call.suppressed)

    def _suppressed(self, runs: Iterable[Run]) -> Iterator[str]:
        for run in runs:
            if run.failure:
                what = "not enforced" if run.failure.veto else "suppressed"
                text = f"{what} {run.failure.text}, raised by {run.name}"
                yield self._raised(text, run.failure.place)
                yield from self._traceback(run)

    def _raised(self, text: str, place: str, rest: str = "") -> str:
        at = f" at {place}" if place else ""
        return f"      [yellow]{escape(text + at)}[/]{escape(rest)}"

    def _traceback(self, run: Run) -> Iterator[str]:
        if self._verbose and run.failure and run.hook and not run.failure.veto:
            for line in run.failure.traceback:
                yield f"         [dim]{escape(line)}[/]"

    def _details(self, call: Call) -> Iterator[str]:
        """Yield the durations of the methods, with the driver's between them."""
        if not self._verbose:
            return
        parts = []
        if pre := call.of("pre"):
            parts.append(f"pre {_durations(pre)}")
        if call.operation != TICK:
            driver = call.driver_seconds
            parts.append("driver " + ("not called" if driver is None else _ms(driver)))
        for kind in (*COMPLETIONS, "periodic"):
            if runs := call.of(kind):
                parts.append(f"{kind} {_durations(runs)}")
        yield "      [dim]" + " | ".join(parts) + " ms[/]"

    # -- after the scenario ----------------------------------------------------

    def summary(self, calls: Sequence[Call], ticks: dict[str, tuple[int, int]]) -> None:
        """Print a table of all calls, and a line for each backend's ticks.

        :param calls: all calls
        :param ticks: backend -> number of ticks, and of runs of its periodic hooks
        """
        if self._quiet:
            return
        columns = ("backend", "operation (driver method)", "calls", "errors", "vetoes")
        table = self._new_table("Calls", (*columns, "hooks ms", "driver ms"))
        for column in table.columns[2:]:
            column.justify, column.no_wrap = "right", True
        rows: dict[tuple[str, str], list[Call]] = {}
        for call in calls:
            rows.setdefault((call.backend, _named(call)), []).append(call)
        for (backend, name), same in sorted(rows.items(), key=lambda row: row[0][0]):
            failed = sum(call.failed for call in same)
            vetoed = sum(call.outcome == "veto" for call in same)
            driver = [c.driver_seconds for c in same if c.driver_seconds is not None]
            table.add_row(
                escape(backend),
                escape(name),
                str(len(same)),
                str(failed or "-"),
                str(vetoed or "-"),
                _mean([call.hook_seconds for call in same]),
                _mean(driver),
            )
        with self._lock:
            self._console.print(table)
        for backend, (count, rounds) in ticks.items():
            self.note(f"{backend}: {count} ticks, periodic hooks ran {rounds} times")

    def arrived(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Print a table of the output that the hooks' receivers have.

        :param rows: hook, destination and content
        """
        table = self._new_table(
            "Output of the hooks", ("hook", "destination", "content")
        )
        for row in rows:
            table.add_row(*map(escape, row))
        if not self._quiet:
            with self._lock:
                self._console.print(table)

    def differences(self, lines: Iterable[str]) -> None:
        """Print the checks that failed."""
        self._print("[red]Failed checks:[/]", *(f"  {escape(line)}" for line in lines))


def _named(call: Call) -> str:
    if call.operation == TICK:
        return "tick"
    if call.method == call.operation:
        return call.operation
    return f"{call.operation} ({call.method})"


def _durations(runs: Iterable[Run]) -> str:
    return ", ".join(
        f"{escape(run.hook)} {_ms(run.seconds)}"
        + (" [red]raised[/]" if run.failure else "")
        for run in runs
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _mean(values: Sequence[float]) -> str:
    return _ms(sum(values) / len(values)) if values else "-"

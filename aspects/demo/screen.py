# SPDX-License-Identifier: Apache-2.0
"""Print the demo's output with rich: in color on a terminal, else as plain text."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aspects.demo.journal import COMPLETIONS, HookRun, JoinPoint
from aspects.demo.verdict import STATISTICS

#: Columns of plain text: as many as the tables need, where rich assumes 80.
PLAIN_WIDTH = 140


class Screen:
    """Write to standard output, from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        """Use a console.

        :param console: rich's console; standard output by default
        """
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        # A join point has two lines, which other threads must not separate.
        self._lock = threading.Lock()
        self._repeated: Counter[str] = Counter()

    def _print(self, *lines: str) -> None:
        with self._lock:
            for line in lines:
                self._console.print(Text.from_markup(line), soft_wrap=True)

    # -- during the scenario ---------------------------------------------------

    def note(self, text: str) -> None:
        """Print a line."""
        with self._lock:
            self._console.print(escape(text), soft_wrap=True)

    def step(self, number: int, title: str) -> None:
        """Print the title of the next step."""
        self._print(f"[bold]{number:2} {escape(title)}[/]")

    def reached(self, text: str) -> None:
        """Print the result of a step."""
        self._print(f"   [green]ok[/] {escape(text)}")

    def failed(self, text: str) -> None:
        """Print the error of a step."""
        with self._lock:
            self._console.print(f"   [red]failed[/] {escape(text)}", soft_wrap=True)

    def point(self, point: JoinPoint) -> None:
        """Print a join point after its last completion."""
        if point.operation == STATISTICS.operation:
            self._repeated[point.backend] += 1
            # Manila asks each second; the summary counts all of these calls.
            if self._repeated[point.backend] > 1:
                return
        color, mark = ("red", "error") if point.failed else ("green", "result")
        if point.vetoed:
            mark = "veto"
        head = (
            f"   [cyan]{escape(point.backend)}[/] {escape(_named(point))} "
            f"[{color}]{mark}[/] {escape(point.outcome)}"
        )
        self._print(head, "      " + _times(point))

    def periodic(self, runs: Sequence[HookRun]) -> None:
        """Print the periodic methods of one tick."""
        self._print(
            f"   [cyan]{escape(runs[0].backend)}[/] tick",
            f"      [dim]periodic {_durations(runs)} ms[/]",
        )

    # -- after the scenario ----------------------------------------------------

    def summary(
        self, points: Sequence[JoinPoint], ticks: dict[str, tuple[int, int]]
    ) -> None:
        """Print a table of all join points, and a line for each backend's ticks.

        :param points: all join points
        :param ticks: backend -> number of ticks, and of runs of its periodic hooks
        """
        table = Table(title="Join points", title_justify="left")
        for name in ("backend", "operation (driver method)"):
            table.add_column(name)
        for name in ("calls", "results", "errors", "vetoes", "hooks ms", "driver ms"):
            table.add_column(name, justify="right")
        rows: dict[tuple[str, str, str], list[JoinPoint]] = {}
        for point in points:
            key = (point.backend, point.operation, point.method)
            rows.setdefault(key, []).append(point)
        for key, same in sorted(rows.items(), key=lambda row: row[0][0]):
            vetoes = sum(1 for point in same if point.vetoed)
            errors = sum(1 for point in same if point.failed) - vetoes
            driver = [p.driver_seconds for p in same if p.driver_seconds is not None]
            table.add_row(
                key[0],
                _named(same[0]),
                str(len(same)),
                str(len(same) - errors - vetoes),
                str(errors or "-"),
                str(vetoes or "-"),
                _mean(point.hook_seconds for point in same),
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
        table = Table(title="Output of the hooks", title_justify="left")
        for name in ("hook", "destination", "content"):
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        with self._lock:
            self._console.print(table)

    def differences(self, lines: Iterable[str]) -> None:
        """Print the checks that failed."""
        with self._lock:
            self._console.print("[red]Failed checks:[/]")
            for line in lines:
                self._console.print(f"  {escape(line)}", soft_wrap=True)


def _named(point: JoinPoint) -> str:
    if point.method == point.operation:
        return point.operation
    return f"{point.operation} ({point.method})"


def _times(point: JoinPoint) -> str:
    """Return the durations of the hook methods, with the driver's between them."""
    parts = []
    if pre := point.of("pre"):
        parts.append(f"pre {_durations(pre)}")
    driver = point.driver_seconds
    parts.append("driver " + ("not called" if driver is None else _ms(driver)))
    if completions := point.of(*COMPLETIONS):
        parts.append(f"{completions[0].kind} {_durations(completions)}")
    return "[dim]" + " | ".join(parts) + " ms[/]"


def _durations(runs: Iterable[HookRun]) -> str:
    return ", ".join(
        f"{escape(run.hook)} {_ms(run.seconds)}"
        + (" [red]raised[/]" if run.raised else "")
        for run in runs
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _mean(seconds: Iterable[float]) -> str:
    values = list(seconds)
    return f"{sum(values) / len(values) * 1000:.2f}" if values else "-"

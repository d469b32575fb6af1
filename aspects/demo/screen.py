# SPDX-License-Identifier: Apache-2.0
"""What the demo shows, with rich: colors on a terminal, plain text elsewhere."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aspects.demo.journal import ENDINGS, Action, JoinPoint
from aspects.demo.verdict import REPEATED

#: A file has as many columns as the table needs, not the 80 that rich assumes.
PLAIN_WIDTH = 140


class Screen:
    """Write to standard output, from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        """Begin with an empty screen.

        :param console: where to write to; standard output by default
        """
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        # rich renders a console's lines one at a time, but a join point is two.
        self._lock = threading.Lock()
        self._repeated: Counter[str] = Counter()

    def _print(self, *lines: str) -> None:
        with self._lock:
            for line in lines:
                self._console.print(Text.from_markup(line), soft_wrap=True)

    # -- what happens ----------------------------------------------------------

    def note(self, text: str) -> None:
        """Say something in a line of its own."""
        with self._lock:
            self._console.print(escape(text), soft_wrap=True)

    def step(self, number: int, title: str) -> None:
        """Say what the client is about to do."""
        self._print(f"[bold]{number:2} {escape(title)}[/]")

    def reached(self, text: str) -> None:
        """Say what the client saw."""
        self._print(f"   [green]ok[/] {escape(text)}")

    def failed(self, text: str) -> None:
        """Say what the client should have seen, and did not."""
        with self._lock:
            self._console.print(f"   [red]failed[/] {escape(text)}", soft_wrap=True)

    def point(self, point: JoinPoint) -> None:
        """Show a join point that is over."""
        if point.operation == REPEATED.operation:
            self._repeated[point.backend] += 1
            # Manila asks each second; the table counts the others.
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

    def periodic(self, actions: Sequence[Action]) -> None:
        """Show the periodic actions of one tick."""
        self._print(
            f"   [cyan]{escape(actions[0].backend)}[/] tick",
            f"      [dim]periodic {_each(actions)} ms[/]",
        )

    # -- what happened ---------------------------------------------------------

    def summary(
        self, points: Sequence[JoinPoint], ticks: dict[str, tuple[int, int]]
    ) -> None:
        """Show a table of all join points and a line for each backend's ticks.

        :param points: all join points
        :param ticks: for each backend the ticks, and how often its periodic
            hooks ran
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
        """Show what arrived at the other ends of the hooks.

        :param rows: hook, place, what arrived there
        """
        table = Table(title="What arrived", title_justify="left")
        for name in ("hook", "where", "what"):
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        with self._lock:
            self._console.print(table)

    def differences(self, lines: Iterable[str]) -> None:
        """Show what is not as it should be."""
        with self._lock:
            self._console.print("[red]Not as it should be:[/]")
            for line in lines:
                self._console.print(f"  {escape(line)}", soft_wrap=True)


def _named(point: JoinPoint) -> str:
    if point.method == point.operation:
        return point.operation
    return f"{point.operation} ({point.method})"


def _times(point: JoinPoint) -> str:
    """Write the actions in their order, the driver between them."""
    parts = []
    if pre := point.of("pre"):
        parts.append(f"pre {_each(pre)}")
    driver = point.driver_seconds
    parts.append("driver " + ("not called" if driver is None else _ms(driver)))
    if endings := point.of(*ENDINGS):
        parts.append(f"{endings[0].kind} {_each(endings)}")
    return "[dim]" + " | ".join(parts) + " ms[/]"


def _each(actions: Iterable[Action]) -> str:
    return ", ".join(
        f"{escape(action.hook)} {_ms(action.seconds)}"
        + (" [red]raised[/]" if action.raised else "")
        for action in actions
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _mean(seconds: Iterable[float]) -> str:
    values = list(seconds)
    return f"{sum(values) / len(values) * 1000:.2f}" if values else "-"

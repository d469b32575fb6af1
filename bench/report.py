# SPDX-License-Identifier: Apache-2.0
"""Make tables of the figures, of a comparison and of the checks."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table

from bench.figures import PEERS, Check, Figures

#: The relative change below which --compare dims a figure as noise.
NOISE = 0.05

STYLES = ("positional", "keyword")

_SYSTEMS = ("woven", *PEERS)


def human(value: float, unit: str = "second") -> str:
    """Return seconds or bytes as text, in a unit of suitable size.

    :param value: the value
    :param unit: ``second`` or ``byte``
    """
    sign = "-" if value < 0 else ""
    value = abs(value)
    if unit == "byte":
        if value < 10240:
            return f"{sign}{value:,.0f} B"
        return f"{sign}{value / 1024:,.1f} KiB"
    for name, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= factor:
            return f"{sign}{value / factor:.3g} {name}"
    return f"{sign}{value * 1e9:.3g} ns"


def times(ratio: float) -> str:
    """Return a ratio as text.

    :param ratio: the ratio
    """
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:#.3g}"


def _label(name: str, other: str) -> str:
    """Return a short name for the other figure of a ratio."""
    parts, other_parts = name.split("/"), other.split("/")
    if parts[0] in ("create", "request"):
        return f"whole {parts[0]}"
    if parts[0] != other_parts[0]:
        return other_parts[0]
    return next((b for a, b in zip(parts, other_parts) if a != b), other)


def calls_table(figures: Figures) -> Table:
    """Return a table of calls by number of hooks, one row for each system.

    :param figures: the measured values
    """
    rows: dict[tuple[str, str], dict[int, str]] = {}
    for name in figures.names():
        parts = name.split("/")
        if len(parts) == 3 and parts[1].isdigit() and parts[2] in STYLES:
            rows.setdefault((parts[0], parts[2]), {})[int(parts[1])] = name
    counts = sorted({count for row in rows.values() for count in row})
    table = Table(
        title="A call, by number of no-op hooks", box=box.SIMPLE, pad_edge=False
    )
    table.add_column("")
    for count in counts:
        table.add_column(str(count), justify="right")
    for style in STYLES:
        woven = rows.get(("woven", style), {})
        systems = [system for system in _SYSTEMS if (system, style) in rows]
        for system in systems:
            row = rows[system, style]
            cells = (
                human(figures.median(row[count])) if count in row else ""
                for count in counts
            )
            table.add_row(f"{system}, {style}", *cells)
        for system in systems:
            row = rows[system, style]
            if system == "woven" or not woven:
                continue
            cells = (
                times(figures.ratio(woven[count], row[count]))
                if count in row and count in woven
                else ""
                for count in counts
            )
            table.add_row(f"  woven / {system}", *cells, style="cyan")
        table.add_section()
    return table


def others_table(figures: Figures) -> Table:
    """Return a table of all figures that do not depend on the number of hooks.

    :param figures: the measured values
    """
    table = Table(title="Other figures", box=box.SIMPLE, pad_edge=False)
    table.add_column("figure")
    table.add_column("median", justify="right")
    table.add_column("±", justify="right")
    table.add_column("times as much as")
    for name in figures.names():
        parts = name.split("/")
        if len(parts) == 3 and parts[1].isdigit() and parts[2] in STYLES:
            continue
        unit = figures.unit(name)
        ratios = (
            f"{_label(name, other)} {times(figures.ratio(name, other))}"
            for other in figures.against(name)
        )
        table.add_row(
            name,
            human(figures.median(name), unit),
            human(figures.spread(name), unit),
            ", ".join(ratios),
        )
    return table


def checks_table(checks: Iterable[Check]) -> Table:
    """Return a table of the ratios and their limits.

    :param checks: the checks
    """
    table = Table(title="Ceilings", box=box.SIMPLE, pad_edge=False)
    table.add_column("ratio")
    table.add_column("value", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    for check in checks:
        bound = "≥" if check.at_least else "≤"
        table.add_row(
            check.title,
            times(check.value),
            f"{bound} {check.limit:.2f}",
            "[green]passed[/]" if check.holds else "[bold red]failed[/]",
        )
    return table


def compare_table(old: Figures, new: Figures) -> Table:
    """Return a table of the changes between two runs.

    Other load on the machine changes the times of a run; the ratio to the first
    figure that each is compared with changes less.

    :param old: the earlier run
    :param new: the later run
    """
    table = Table(title="Changes", box=box.SIMPLE, pad_edge=False)
    table.add_column("figure")
    for title in ("old", "new", "change", "old ratio", "new ratio", "change"):
        table.add_column(title, justify="right")
    for name in new.names():
        if name not in old:
            continue
        unit = new.unit(name)
        before, after = old.median(name), new.median(name)
        cells = [human(before, unit), human(after, unit), _change(before, after)]
        for other in new.against(name)[:1]:
            if other in old:
                was, is_ = old.ratio(name, other), new.ratio(name, other)
                cells += [times(was), times(is_), _change(was, is_)]
        table.add_row(name, *cells)
    return table


def _change(before: float, after: float) -> str:
    change = after / before - 1
    text = f"{change:+.0%}"
    if abs(change) < NOISE:
        return f"[dim]{text}[/]"
    return f"[red]{text}[/]" if change > 0 else f"[green]{text}[/]"


def answer(figures: Figures) -> list[str]:
    """Return the cost of hooks in words, as far as it was measured.

    :param figures: the measured values
    """
    lines = []
    adds = {
        count: figures.added(f"woven/{count}/keyword", "direct/keyword")
        for count in (1, 8, 64)
        if f"woven/{count}/keyword" in figures
    }
    if adds:
        parts = ", ".join(f"{human(added)} for {n}" for n, added in adds.items())
        lines.append(f"Time that no-op hooks add to a call: {parts}.")
    if 8 in adds:
        lines.append(
            f"At 100 calls a second, 8 hooks take {human(100 * adds[8])} of each second"
            f" ({100 * adds[8]:.3%})."
        )
    for count in (1, 8):
        hooked, whole = f"create/hooks/{count}", f"create/{count}"
        if hooked in figures and "create/hooks/0" in figures:
            part = figures.added(hooked, "create/hooks/0")
            share = part / figures.median(whole)
            takes = "hooks take" if count > 1 else "hook takes"
            lines.append(
                f"Of a real create_share ({human(figures.median(whole))}), {count} "
                f"{takes} {human(part)}: {share:.3%}."
            )
    if "request/none" in figures:
        whole = figures.median("request/none")
        part = figures.median("request/hooks")
        lines.append(
            f"Beside a create request ({human(whole)}), a guard of ten rules in "
            f"Manila's API takes {human(part)}: {part / whole:.3%}."
        )
    return lines

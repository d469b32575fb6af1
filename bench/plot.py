# SPDX-License-Identifier: Apache-2.0
"""Draw the overhead against the number of hooks, one line for each system."""

from __future__ import annotations

from pathlib import Path

from bench.figures import BadFileError, Figures

#: System -> label, color, marker.
LINES = {
    "upstream": ("Manila's add_hooks", "#b5651d", "s"),
    "aspectlib": ("aspectlib", "#7b6ca8", "^"),
    "pluggy": ("pluggy", "#4f8a5b", "D"),
    "floor": ("written by hand", "#555555", "x"),
    "woven": ("manila-aspects", "#c2185b", "o"),
}

#: The style in which Manila's manager calls a driver.
STYLE = "keyword"


def overheads(figures: Figures, system: str) -> dict[int, float]:
    """Return the time that a system adds to a direct call, by number of hooks.

    :param figures: the measured values
    :param system: a key of :data:`LINES`
    :return: number of hooks -> seconds
    """
    found = {}
    for name in figures.names():
        what, _, rest = name.partition("/")
        count, _, style = rest.partition("/")
        if what == system and style == STYLE and count.isdigit():
            found[int(count)] = figures.added(name, f"direct/{STYLE}")
    return dict(sorted(found.items()))


def draw(figures: Figures, path: Path) -> None:
    """Draw the picture as PNG.

    :param figures: the measured values
    :param path: the file; overwritten if it exists
    :raises BadFileError: if no call was measured, or the file cannot be written
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=120, layout="constrained")
    counts: set[int] = set()
    values: list[float] = []
    for system, (label, color, marker) in LINES.items():
        line = overheads(figures, system)
        if not line:
            continue
        counts.update(line)
        microseconds = [seconds * 1e6 for seconds in line.values()]
        values += microseconds
        emphasized = system == "woven"
        axes.plot(
            list(line),
            microseconds,
            label=label,
            color=color,
            marker=marker,
            markersize=8 if emphasized else 6,
            linewidth=3 if emphasized else 1.8,
            linestyle="--" if system == "floor" else "-",
        )
    if not counts:
        pyplot.close(figure)
        raise BadFileError(f"{path}: no calls were measured")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted(counts), labels=[str(count) for count in sorted(counts)])
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100, 200, 500])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(min(values) / 1.3, max(values) * 1.3)
    axes.set_xlabel("no-op hooks, pre and post methods enabled", fontsize=13)
    axes.set_ylabel("overhead in µs", fontsize=13)
    axes.tick_params(labelsize=12)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=12, frameon=False)
    axes.set_title("Overhead of hooks on a driver call", fontsize=14)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    try:
        figure.savefig(path)
    except OSError as error:
        raise BadFileError(f"{path}: {error.strerror or error}") from None
    finally:
        pyplot.close(figure)

# SPDX-License-Identifier: Apache-2.0
"""The command: ``python -m bench``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from bench.figures import Figures

#: What must be installed: import name -> distribution.
NEEDS = {
    "aspectlib": "aspectlib",
    "manila": "manila",
    "matplotlib": "matplotlib",
    "pluggy": "pluggy",
    "pyperf": "pyperf",
    "rich": "rich",
}


class Stage(NamedTuple):
    """One group of cases: how many processes measure it, how many seconds each."""

    group: str
    title: str
    processes: int
    seconds: float


QUICK = (
    Stage("calls", "calls and peers", 4, 4),
    Stage("paths", "ticks, errors, weaving", 1, 6),
    Stage("threads", "threads", 1, 9),
    Stage("memory", "memory", 1, 2),
    Stage("imports", "imports", 1, 4),
    Stage("create", "a real create_share", 1, 8),
)

FULL = (
    Stage("calls", "calls and peers", 20, 11),
    Stage("paths", "ticks, errors, weaving", 5, 10),
    Stage("threads", "threads", 5, 15),
    Stage("memory", "memory", 1, 2),
    Stage("imports", "imports", 1, 25),
    Stage("create", "a real create_share", 3, 25),
)


class UsageError(Exception):
    """What the user asked for cannot be done; the text is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command's arguments."""
    made = _Parser(
        prog="python -m bench",
        description="Measure what hooks cost, beside other systems that do the same.",
    )
    made.add_argument(
        "--quick", action="store_true", help="less precise, in under a minute"
    )
    made.add_argument(
        "--json", type=Path, metavar="FILE", help="write every figure to FILE"
    )
    made.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the overhead to FILE.png"
    )
    made.add_argument(
        "--compare",
        type=Path,
        metavar="OLD.json",
        help="show what changed since a run with --json",
    )
    made.add_argument(
        "--check",
        action="store_true",
        help="end with status 1 if a ratio is beyond its limit in ceilings.ini",
    )
    made.add_argument(
        "--load",
        type=Path,
        metavar="FILE",
        help="measure nothing, take the figures of a run with --json",
    )
    return made


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments, and refuse at once what would fail at the end.

    :raises UsageError: if something is wrong with them
    """
    options = parser().parse_args(arguments)
    if options.quick and options.load:
        raise UsageError("--quick measures and --load does not: give one of them")
    if options.plot and options.plot.suffix != ".png":
        raise UsageError(f"--plot {options.plot}: the name must end with .png")
    for option in ("json", "plot"):
        path = getattr(options, option)
        if path is None:
            continue
        directory = path.absolute().parent
        if path.is_dir() or not directory.is_dir():
            raise UsageError(f"--{option} {path}: no file can be written there")
        if not os.access(path if path.exists() else directory, os.W_OK):
            raise UsageError(f"--{option} {path}: permission denied")
    return options


def missing() -> list[str]:
    """Return what must be installed and is not."""
    return [
        distribution
        for name, distribution in NEEDS.items()
        if importlib.util.find_spec(name) is None
    ]


def measure_stage(stage: Stage, output: Path, progress: Callable[[float], None]) -> Any:
    """Have one group measured, by one process after the other.

    :return: the suite of pyperf
    :raises UsageError: if a worker fails, with the last line of what it said
    """
    import pyperf  # type: ignore[import-untyped]

    suite = None
    for number in range(stage.processes):
        command = [sys.executable, "-W", "ignore", "-m", "bench.worker"]
        with (
            (output / "stderr").open("w+", encoding="utf-8") as stderr,
            subprocess.Popen(
                [*command, stage.group, str(stage.seconds), str(output / "suite")],
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as worker,
        ):
            try:
                for line in worker.stdout or ():
                    progress((number + float(line)) / stage.processes)
            except BaseException:
                worker.terminate()
                raise
            status = worker.wait()
            stderr.seek(0)
            said = stderr.read().strip().splitlines()
        if status:
            last = said[-1] if said else f"status {status}"
            raise UsageError(f"measuring {stage.title} failed: {last}")
        measured = pyperf.BenchmarkSuite.load(str(output / "suite"))
        if suite is None:
            suite = measured
        else:
            suite.add_runs(measured)
    return suite


def measure(stages: Sequence[Stage], console: Any) -> Figures:
    """Measure everything, showing how far it is."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from bench.figures import Figures

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    suite = None
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        whole = sum(stage.processes * stage.seconds for stage in stages)
        total = progress.add_task("everything", total=whole)
        before = 0.0
        for stage in stages:
            task = progress.add_task(stage.title, total=1.0)
            length = stage.processes * stage.seconds

            def show(
                done: float,
                task: Any = task,
                before: float = before,
                length: float = length,
            ) -> None:
                progress.update(task, completed=done)
                progress.update(total, completed=before + done * length)

            measured = measure_stage(stage, Path(directory), show)
            before += length
            if suite is None:
                suite = measured
            else:
                suite.add_runs(measured)
    return Figures(suite)


def run(arguments: Sequence[str]) -> int:
    """Do what the command does.

    :return: the exit status
    :raises UsageError: if it cannot be done
    """
    options = parse(arguments)
    if lacking := missing():
        raise UsageError(
            f"not installed: {', '.join(lacking)}; pip install -e '.[bench]'"
        )
    from rich.console import Console

    from bench import figures, report

    try:
        old = figures.Figures.load(options.compare) if options.compare else None
        figures.read_ceilings(figures.CEILINGS)
        if options.load:
            new = figures.Figures.load(options.load)
        else:
            stages = QUICK if options.quick else FULL
            new = measure(stages, Console(stderr=True))
        checks = new.checks()
        if options.json:
            new.dump(options.json)
        if options.plot:
            from bench import plot

            plot.draw(new, options.plot)
    except figures.BadFileError as error:
        raise UsageError(str(error)) from None
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    console.print(report.calls_table(new))
    console.print(report.others_table(new))
    if old:
        console.print(report.compare_table(old, new))
    console.print(report.checks_table(checks))
    for line in report.answer(new):
        console.print(line, highlight=False)
    return int(options.check and not all(check.holds for check in checks))


def main() -> NoReturn:
    """Run the command, and end with its status."""
    try:
        sys.exit(run(sys.argv[1:]))
    except UsageError as error:
        sys.stderr.write(f"bench: error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()

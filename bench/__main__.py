# SPDX-License-Identifier: Apache-2.0
"""Run the command ``python -m bench``."""

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

#: The required packages: import name -> distribution.
NEEDS = {
    "aspectlib": "aspectlib",
    "manila": "manila",
    "matplotlib": "matplotlib",
    "pluggy": "pluggy",
    "pyperf": "pyperf",
    "rich": "rich",
}


class Stage(NamedTuple):
    """One group of cases: the processes that measure it, and the seconds of each."""

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
    Stage("request", "a request for a share", 1, 8),
)

FULL = (
    Stage("calls", "calls and peers", 20, 11),
    Stage("paths", "ticks, errors, weaving", 5, 10),
    Stage("threads", "threads", 5, 15),
    Stage("memory", "memory", 1, 2),
    Stage("imports", "imports", 1, 25),
    Stage("create", "a real create_share", 3, 25),
    Stage("request", "a request for a share", 3, 25),
)


class UsageError(Exception):
    """Raised when the command cannot do what it is asked; the text is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    result = _Parser(
        prog="python -m bench",
        description="Measure the cost of hooks, here and in other systems.",
    )
    result.add_argument(
        "--quick", action="store_true", help="shorten the run to less than a minute"
    )
    result.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="file to which all figures are written",
    )
    result.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="file to which the overhead is plotted",
    )
    result.add_argument(
        "--compare",
        type=Path,
        metavar="OLD.json",
        help="file of an earlier run with --json to compare with",
    )
    result.add_argument(
        "--check",
        action="store_true",
        help="exit with status 1 if a ratio exceeds its limit in ceilings.ini",
    )
    result.add_argument(
        "--load",
        type=Path,
        metavar="FILE",
        help="file of an earlier run with --json to report on, instead of measuring",
    )
    return result


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments, and reject at once what would fail at the end.

    :param arguments: the arguments, without the program's name
    :raises UsageError: if they are not valid
    """
    options = parser().parse_args(arguments)
    if options.quick and options.load:
        raise UsageError("--quick and --load exclude each other; give one of them")
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
    """Return the distributions that are not installed."""
    return [
        distribution
        for name, distribution in NEEDS.items()
        if importlib.util.find_spec(name) is None
    ]


def measure_stage(stage: Stage, output: Path, progress: Callable[[float], None]) -> Any:
    """Measure one group of cases in several processes, one after the other.

    :param stage: the group
    :param output: a directory for temporary files
    :param progress: gets the part that is done, from 0 to 1
    :return: a suite of pyperf
    :raises UsageError: if a worker fails, with the last line of its standard error
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
            errors = stderr.read().strip().splitlines()
        if status:
            last = errors[-1] if errors else f"status {status}"
            raise UsageError(f"measuring {stage.title} failed: {last}")
        measured = pyperf.BenchmarkSuite.load(str(output / "suite"))
        if suite is None:
            suite = measured
        else:
            suite.add_runs(measured)
    return suite


def measure(stages: Sequence[Stage], console: Any) -> Figures:
    """Measure all groups of cases, with a progress bar.

    :param stages: the groups
    :param console: rich's console for the progress bar
    """
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
    """Run the command.

    :param arguments: the arguments, without the program's name
    :return: the exit status
    :raises UsageError: if the command cannot do what it is asked
    """
    options = parse(arguments)
    if distributions := missing():
        raise UsageError(
            f"not installed: {', '.join(distributions)}; run pip install -e '.[bench]'"
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
    """Run the command, and exit with its status."""
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

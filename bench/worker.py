# SPDX-License-Identifier: Apache-2.0
"""Measure one group of cases in one process.

The command starts ``python -m bench.worker GROUP SECONDS OUTPUT``. It writes its
progress to standard output, one number from 0 to 1 on each line, and the measured
values to the file OUTPUT, as a suite of pyperf. The values of all cases of a group
are from the same rounds: the first value of each is from the first round.
"""

from __future__ import annotations

import contextlib
import gc
import random
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyperf  # type: ignore[import-untyped]

#: The minimum duration of one measurement, in seconds.
SAMPLE = 0.0005

#: The duration of one measurement with threads, in seconds: many times the interval
#: at which Python switches threads.
THREADS_SAMPLE = 0.05

THREADS = (1, 2, 4, 8)

#: The start of this process, on ``perf_counter``.
STARTED = time.perf_counter()

Values = dict[str, list[float]]


def report(done: float) -> None:
    """Report progress to the command.

    :param done: the part that is done, from 0 to 1
    """
    sys.stdout.write(f"{min(done, 1.0):.3f}\n")
    sys.stdout.flush()


def rounds(seconds: float, least: int = 5) -> Iterator[int]:
    """Yield the number of each round, and report progress.

    :param seconds: the time from the start of the process to the last round, so that
        a busy machine measures less, not longer
    :param least: the minimum number of rounds
    """
    number = 0
    while True:
        elapsed = time.perf_counter() - STARTED
        report(elapsed / seconds)
        if elapsed >= seconds and number >= least:
            return
        yield number
        number += 1


def settle() -> None:
    """Exclude all present objects from garbage collection.

    The collector stays enabled, as in a service, but skips the benchmark's own
    objects.
    """
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def service_logging() -> Iterator[None]:
    """Set up oslo.log as a service does: into a file, without debug messages."""
    from oslo_config import cfg
    from oslo_log import log

    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        log.register_options(cfg.CONF)
        cfg.CONF(
            ["--log-file", str(Path(directory) / "share.log")],
            project="manila",
            default_config_files=[],
            default_config_dirs=[],
        )
        log.setup(cfg.CONF, "manila")
        yield


def interleaved(
    takes: Mapping[str, Callable[[], float]], seconds: float, least: int = 5
) -> Values:
    """Measure each case once in each round, in random order.

    So other load on the machine affects all cases alike.

    :param takes: case name -> a function that returns one measurement
    :param seconds: see :func:`rounds`
    :param least: see :func:`rounds`
    """
    values: Values = {name: [] for name in takes}
    order = list(takes)
    shuffle = random.Random(0).shuffle
    for _ in rounds(seconds, least):
        shuffle(order)
        for name in order:
            values[name].append(takes[name]())
    return values


def calibrated(time_of: Callable[[int], float]) -> int:
    """Return the number of iterations that take as long as :data:`SAMPLE`.

    :param time_of: runs a number of iterations; returns the seconds that they take
    """
    # The first call of an operation makes its plan. It takes hundreds of times as long
    # as any other call, so that one iteration would seem to be enough.
    time_of(1)
    loops = 1
    while time_of(loops) < SAMPLE:
        loops *= 2
    return loops


def measure_cases(group: str, seconds: float) -> Values:
    """Measure a group of cases that are statements.

    :param group: the name of its function in :mod:`bench.cases`
    :param seconds: see :func:`rounds`
    """
    # Manila registers command-line options when it is imported, which must happen
    # before service_logging() parses the command line.
    from bench import cases, peers  # noqa: F401

    timer = time.perf_counter

    def taker(case: cases.Case) -> Callable[[], float]:
        loop = cases.loop_of(case)
        loops = calibrated(lambda loops: cases.time_of(loop, loops, timer))
        return lambda: cases.time_of(loop, loops, timer) / loops

    with service_logging():
        takes = {case.name: taker(case) for case in getattr(cases, group)()}
        settle()
        return interleaved(takes, seconds)


def measure_threads(seconds: float) -> Values:
    """Measure the time per call of several threads together.

    :param seconds: see :func:`rounds`
    """
    from bench import cases

    timer = time.perf_counter

    def take(loop: cases.Loop, count: int, loops: int) -> float:
        ready = threading.Barrier(count)
        spans: list[tuple[float, float]] = []

        def run() -> None:
            ready.wait()
            start = timer()
            cases.time_of(loop, loops // count, timer)
            spans.append((start, timer()))

        workers = [threading.Thread(target=run) for _ in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        span = max(end for _, end in spans) - min(start for start, _ in spans)
        return span / (loops // count * count)

    def loops_of(loop: cases.Loop) -> int:
        loops = 1024
        while (took := cases.time_of(loop, loops, timer)) < THREADS_SAMPLE / 8:
            loops *= 2
        return int(loops * THREADS_SAMPLE / took)

    with service_logging():
        # One loop for all numbers of threads: two loops that are compiled from the
        # same source may differ in speed.
        loops = {name: cases.loop_of(case) for name, case in cases.threads().items()}
        counts = {name: loops_of(loop) for name, loop in loops.items()}
        settle()
        values: Values = {}
        for _ in rounds(seconds):
            for count in THREADS:
                # Direct and woven one after the other, as their ratio is the figure.
                for name, loop in loops.items():
                    value = take(loop, count, counts[name])
                    values.setdefault(f"threads/{count}/{name}", []).append(value)
        return values


def measure_memory(seconds: float) -> Values:
    """Measure the memory of a woven driver, in bytes, by tracemalloc.

    Each driver has one hook of its own. Drivers and hooks are made before.

    :param seconds: not used: the number of drivers is fixed
    """
    import aspects
    from bench.subjects import Driver, hooks

    count, last = 1000, 100
    drivers = [Driver() for _ in range(count)]
    chains = [hooks(1) for _ in range(count)]
    woven: list[Any] = [None] * count
    held = [0] * (count + 1)
    settle()
    tracemalloc.start()
    held[0] = tracemalloc.get_traced_memory()[0]
    for number in range(count):
        woven[number] = aspects.weave(drivers[number], chains[number])
        held[number + 1] = tracemalloc.get_traced_memory()[0]
    for driver in woven[-last:]:
        driver.create_share(None, {})
    called = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    report(1)
    thousandth = (held[-1] - held[-1 - last]) / last
    return {
        "memory/first": [held[1] - held[0]],
        "memory/1000th": [thousandth],
        "memory/1000th/called": [thousandth + (called - held[-1]) / last],
    }


def measure_imports(seconds: float) -> Values:
    """Measure imports, each in a new process.

    :param seconds: see :func:`rounds`
    """
    imports = {
        "import/oslo": "from oslo_config import cfg; from oslo_log import log",
        "import/aspects": "import aspects",
    }

    def take(statement: str) -> float:
        code = (
            "from time import perf_counter; start = perf_counter(); "
            f"{statement}; print(perf_counter() - start)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        return float(done.stdout)

    def taker(statement: str) -> Callable[[], float]:
        take(statement)  # Writes the byte code, and caches it in memory.
        return lambda: take(statement)

    takes = {name: taker(statement) for name, statement in imports.items()}
    return interleaved(takes, seconds)


def measure_create(seconds: float) -> Values:
    """Measure real creates; see :mod:`bench.create`.

    :param seconds: see :func:`rounds`
    """
    from bench import create

    return _measure_takes(create.creates(), seconds)


def measure_request(seconds: float) -> Values:
    """Measure requests for a share; see :mod:`bench.request`.

    :param seconds: see :func:`rounds`
    """
    from bench import request

    return _measure_takes(request.creates(), seconds)


def _measure_takes(
    creates: AbstractContextManager[list[Callable[[], dict[str, float]]]],
    seconds: float,
) -> Values:
    with creates as takes:
        settle()
        values: Values = {}
        for _ in rounds(seconds, 10):
            for take in takes:
                for name, value in take().items():
                    values.setdefault(name, []).append(value)
        return values


MEASURES: dict[str, Callable[[float], Values]] = {
    "calls": lambda seconds: measure_cases("calls", seconds),
    "paths": lambda seconds: measure_cases("paths", seconds),
    "threads": measure_threads,
    "memory": measure_memory,
    "imports": measure_imports,
    "create": measure_create,
    "request": measure_request,
}


def suite_of(values: Values) -> pyperf.BenchmarkSuite:
    """Return a suite of pyperf, with its metadata of this machine.

    :param values: case name -> values, in seconds or bytes
    """
    first = pyperf.Run([1.0], metadata={"name": "machine"})
    common = first.get_metadata()
    benchmarks = []
    for name, taken in values.items():
        unit = "byte" if name.startswith("memory/") else "second"
        metadata = {**common, "name": name, "unit": unit}
        run = pyperf.Run(
            [float(f"{value:.5g}") for value in taken],
            metadata=metadata,
            collect_metadata=False,
        )
        benchmarks.append(pyperf.Benchmark([run]))
    return pyperf.BenchmarkSuite(benchmarks)


def main(arguments: Sequence[str]) -> None:
    """Measure one group.

    :param arguments: the group, the seconds and the output file
    """
    group, seconds, output = arguments
    values = MEASURES[group](float(seconds))
    suite_of(values).dump(output, replace=True)


if __name__ == "__main__":
    main(sys.argv[1:])

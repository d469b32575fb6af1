# SPDX-License-Identifier: Apache-2.0
"""Compute medians, ratios and checks from measured values.

A ratio of two figures is the median of the ratios within one round, not the ratio
of two medians: other load on the machine in that round slowed both down.
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pyperf  # type: ignore[import-untyped]

CEILINGS = Path(__file__).with_name("ceilings.ini")

#: The systems that run hooks around a call; each has figures by number of hooks.
PEERS = ("floor", "upstream", "pluggy", "aspectlib")


class BadFileError(Exception):
    """Raised when a file cannot be read, used or written; the text is one line."""


class Figures:
    """The measured values of one run.

    :param suite: values in rounds, as the workers write them
    """

    def __init__(self, suite: pyperf.BenchmarkSuite) -> None:
        self.suite = suite
        self._runs: dict[str, list[tuple[float, ...]]] = {}
        self._units: dict[str, str] = {}
        for benchmark in suite.get_benchmarks():
            name = benchmark.get_name()
            self._runs[name] = [run.values for run in benchmark.get_runs()]
            self._units[name] = benchmark.get_unit()

    @classmethod
    def load(cls, path: Path) -> Figures:
        """Read the file of an earlier run with ``--json``.

        :param path: the file
        :raises BadFileError: if it cannot be read, or is another kind of file
        """
        try:
            figures = cls(pyperf.BenchmarkSuite.load(str(path)))
        except OSError as error:
            raise BadFileError(f"{path}: {error.strerror or error}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadFileError(f"{path}: not a file of a run with --json") from None
        if not figures.names():
            raise BadFileError(f"{path}: it has no figures")
        return figures

    def dump(self, path: Path) -> None:
        """Write values, medians, ratios and checks as JSON.

        pyperf reads the file too: ``python -m pyperf stats FILE``.

        :param path: the file
        :raises BadFileError: if it cannot be written
        """
        try:
            self.suite.dump(str(path), replace=True)
            data = json.loads(path.read_text("utf-8"))
            data["figures"] = {
                name: {
                    "median": self.median(name),
                    "spread": self.spread(name),
                    "unit": self.unit(name),
                    "ratios": {to: self.ratio(name, to) for to in self.against(name)},
                }
                for name in self.names()
            }
            data["checks"] = {
                check.name: {
                    "title": check.title,
                    "value": check.value,
                    "limit": check.limit,
                    "at_least": check.at_least,
                    "holds": check.holds,
                }
                for check in self.checks()
            }
            path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        except OSError as error:
            raise BadFileError(f"{path}: {error.strerror or error}") from None

    def names(self) -> list[str]:
        """Return the names of all figures."""
        return list(self._runs)

    def __contains__(self, name: str) -> bool:
        return name in self._runs

    def runs(self, name: str) -> list[tuple[float, ...]]:
        """Return the values of a figure, process by process."""
        return self._runs[name]

    def values(self, name: str) -> list[float]:
        """Return all values of a figure, in seconds or bytes."""
        return [value for run in self._runs[name] for value in run]

    def unit(self, name: str) -> str:
        """Return ``second`` or ``byte``."""
        return self._units[name]

    def median(self, name: str) -> float:
        """Return a figure, in seconds or bytes."""
        return median(self.values(name))

    def spread(self, name: str) -> float:
        """Return the median distance of the values from their median."""
        middle = self.median(name)
        return median(abs(value - middle) for value in self.values(name))

    def rounds(self, *names: str) -> Iterator[tuple[float, ...]]:
        """Yield one value of each figure, round by round.

        :param names: the names of the figures
        """
        for runs in zip(*(self._runs[name] for name in names)):
            yield from zip(*runs)

    def ratio(self, over: str, under: str) -> float:
        """Return the ratio of two figures, round by round.

        :param over: the name of the numerator
        :param under: the name of the denominator
        """
        return median(a / b for a, b in self.rounds(over, under))

    def added(self, over: str, under: str) -> float:
        """Return the difference of two figures, round by round.

        :param over: the name of the greater one
        :param under: the name of the one that is subtracted
        :return: the median of the differences, in seconds or bytes
        """
        return median(a - b for a, b in self.rounds(over, under))

    def against(self, name: str) -> list[str]:
        """Return the figures that a figure is compared with.

        :param name: the name of the figure
        """
        return [other for other in _against(name) if other in self and name in self]

    def checks(self, ceilings: Path = CEILINGS) -> list[Check]:
        """Return the checks whose figures were measured.

        :param ceilings: the file with the limits
        :raises BadFileError: if that file is not valid
        """
        checks = []
        for name, title, limit, at_least in read_ceilings(ceilings):
            try:
                value = CHECKS[name](self)
            except KeyError:
                continue  # of a group that was not measured
            checks.append(Check(name, title, value, limit, at_least))
        return checks


class Check(NamedTuple):
    """One ratio and its limit."""

    name: str
    title: str
    value: float
    limit: float
    at_least: bool

    @property
    def holds(self) -> bool:
        """Return whether the ratio is within its limit."""
        if self.at_least:
            return self.value >= self.limit
        return self.value <= self.limit


def _against(name: str) -> Iterable[str]:
    what, _, rest = name.partition("/")
    if what == "proxy":
        return [f"direct/{rest}"]
    if what == "woven":
        count, _, style = rest.rpartition("/")
        if rest == "coroutine":
            return ["direct/coroutine", "woven/1/keyword"]
        base = style if count in ("none", "disabled") or not count else None
        if base:
            return [f"direct/{base}", f"proxy/{base}"]
        return [f"direct/{style}", *(f"{peer}/{rest}" for peer in PEERS)]
    if what in PEERS:
        style = rest.rpartition("/")[2]
        floor = [] if what == "floor" else [f"floor/{rest}"]
        return [f"direct/{style}", *floor]
    if name.startswith("create/hooks/"):
        return [f"create/{rest.partition('/')[2]}"]
    if what == "request":
        return ["request/none"] if rest != "none" else []
    if name == "memory/1000th":
        return ["memory/first"]
    if what == "weave" and rest != "proxy":
        return ["weave/proxy"]
    base = name.rpartition("/")[0]
    return (
        {
            "suppressed": ["suppressed/direct", "suppressed/upstream"],
            "error": ["error/direct"],
            "replaced": ["replaced/direct", "replaced/floor"],
            "tick": [f"{base}/loop"],
            "threads": [f"{base}/direct"],
            "import": ["import/oslo"],
        }.get(what, [])
        if name.endswith(("/woven", "/aspects"))
        else []
    )


# -- the checks ------------------------------------------------------------------


def _floor(count: int) -> Callable[[Figures], float]:
    return lambda figures: max(
        figures.ratio(f"woven/{count}/{style}", f"floor/{count}/{style}")
        for style in ("positional", "keyword")
    )


def _growth(figures: Figures) -> float:
    # The cost of one hook is less than the noise of a call with 64, so this is the
    # mean of the 33rd to the 64th.
    return max(
        figures.added(f"woven/64/{style}", f"woven/32/{style}")
        / 32
        / figures.added(f"woven/2/{style}", f"woven/1/{style}")
        for style in ("positional", "keyword")
    )


def _threads(figures: Figures) -> float:
    # Throughput is the inverse of the time per call.
    eight, one = (
        figures.ratio(f"threads/{count}/direct", f"threads/{count}/woven")
        for count in (8, 1)
    )
    return eight / one


#: Section of ceilings.ini -> the function that computes its ratio. Of two styles of
#: call, or of attribute and method, the worse one counts.
CHECKS: Mapping[str, Callable[[Figures], float]] = {
    "disabled": lambda figures: max(
        figures.ratio(f"woven/disabled/{style}", f"proxy/{style}")
        for style in ("positional", "keyword")
    ),
    "passthrough": lambda figures: max(
        figures.ratio(f"woven/{what}", f"proxy/{what}")
        for what in ("attribute", "method")
    ),
    "upstream-1": lambda figures: figures.ratio(
        "woven/1/keyword", "upstream/1/keyword"
    ),
    "upstream-8": lambda figures: figures.ratio(
        "woven/8/keyword", "upstream/8/keyword"
    ),
    "pluggy-1": lambda figures: figures.ratio("woven/1/keyword", "pluggy/1/keyword"),
    "floor-1": _floor(1),
    "floor-64": _floor(64),
    "growth": _growth,
    "threads": _threads,
    "memory": lambda figures: figures.median("memory/1000th") / 1024,
    # From the call of a woven coroutine method to its result, over a call of the
    # woven function with the same hook. Neither waits, so no event loop runs.
    "coroutine-1": lambda figures: figures.ratio("woven/coroutine", "woven/1/keyword"),
    "admission": lambda figures: figures.ratio("request/hooks", "request/none"),
}


def read_ceilings(path: Path) -> list[tuple[str, str, float, bool]]:
    """Read the limits.

    :param path: the file
    :return: for each check its name, title and limit, and whether the limit is a
        minimum
    :raises BadFileError: if the file is missing or not valid
    """
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
    except OSError as error:
        raise BadFileError(f"{path.name}: {error.strerror or error}") from None
    except (configparser.Error, UnicodeDecodeError) as error:
        text = str(error).splitlines()[0]
        raise BadFileError(f"{path.name}: {text}") from None
    ceilings = []
    for name in parser.sections():
        section: Mapping[str, Any] = parser[name]
        limits = [key for key in ("at_most", "at_least") if key in section]
        if name not in CHECKS:
            raise BadFileError(f"{path.name}: [{name}]: unknown check")
        if len(limits) != 1:
            raise BadFileError(f"{path.name}: [{name}]: expected at_most or at_least")
        try:
            limit = float(section[limits[0]])
        except ValueError:
            raise BadFileError(
                f"{path.name}: [{name}] {limits[0]}: not a number"
            ) from None
        title = section.get("title", name)
        ceilings.append((name, title, limit, limits[0] == "at_least"))
    return ceilings

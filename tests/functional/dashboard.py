# SPDX-License-Identifier: Apache-2.0
"""The dashboard of etc/grafana, on a driver with hooks whose receiver fails at times.

``python -m tests.functional.dashboard`` runs for two minutes, and draws the panels into
doc/source/_static/dashboard.png.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import random
import re
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aspects
from tests.support.config import woven_by
from tests.support.pages import DOCS, ROOT
from tests.support.programs import free_port
from tests.support.receiver import Answer, Receiver, Request, status
from tests.support.wait import wait_for

from .prometheus import Prometheus

DASHBOARD = ROOT / "etc" / "grafana" / "manila-aspects.json"

#: The picture in the documentation.
PICTURE = DOCS / "_static" / "dashboard.png"

#: Grafana's variables, as in a dashboard of all backends with a scrape each second.
VARIABLES = {"$backend": ".*", "$__rate_interval": "10s"}

#: Seconds between two points of a panel.
STEP = 1.0

CONFIG = """
[alpha]
hook_drivers = metrics, limits=guard, trial=guard, flaky={module}:Flaky,
    mail={module}:Mail, ops=webhook
enable_pre_hooks = True
enable_post_hooks = True
metrics_port = {port}
[alpha:limits]
guard_max_size = 80
[alpha:trial]
guard_max_size = 50
hook_enforcement = warn
[alpha:flaky]
suppress_post_hooks_errors = True
hook_failure_limit = 3
hook_failure_pause = 5
[alpha:mail]
hook_dispatch = background
hook_queue_size = 40
hook_queue_timeout = 0
[alpha:ops]
hook_dispatch = durable
hook_outbox_path = {directory}/outbox
webhook_url = {url}
"""

Series = tuple[dict[str, str], list[tuple[float, float]]]


class Target(NamedTuple):
    """A query of a panel."""

    panel: str
    unit: str
    expression: str
    legend: str

    def name(self, labels: dict[str, str]) -> str:
        """Return the name of a series in the legend."""
        return re.sub(r"{{(\w+)}}", lambda match: labels[match[1]], self.legend)


def targets() -> list[Target]:
    """Return the queries of the dashboard, with values for its variables."""
    found = []
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression, expression
            found.append(
                Target(panel["title"], unit, expression, target["legendFormat"])
            )
    return found


# -- the run ---------------------------------------------------------------------------

#: Set while the receiver and the hooks below fail.
trouble = threading.Event()


class Driver:
    """A driver that takes some time, and fails at times."""

    def __init__(self) -> None:
        self.random = random.Random(17)

    def _work(self) -> None:
        time.sleep(self.random.uniform(0.005, 0.03))
        if self.random.random() < 0.1:
            raise OSError("no such pool")

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        self._work()

    def extend_share(self, share: Any, new_size: int, share_server: Any = None) -> None:
        self._work()

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        self._work()


class Flaky(aspects.HookBase):
    """A hook whose post method fails while there is trouble."""

    may_veto = False

    def _execute_pre_hook(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None:
        if trouble.is_set():
            raise OSError("the receiver is gone")

    def _execute_periodic_hook(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


class Mail(Flaky):
    """A hook whose post method hangs while there is trouble."""

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.01)
        while trouble.is_set():
            time.sleep(0.05)


class Unreliable(Receiver):
    """A receiver that is unavailable at times, and rejects events of failed calls."""

    def _taken(self, request: Request) -> Answer:
        if trouble.is_set():
            return status(503)
        return status(400 if request.event["type"].endswith("error") else 204)


def call_until(ended: threading.Event, driver: Any) -> None:
    """Call the driver about 20 times a second.

    :param ended: set at the end
    :param driver: the woven driver
    """
    random_ = random.Random(4711)
    while not ended.wait(0.03):
        share = {"id": "1", "size": random_.randint(1, 100)}
        calls = [
            lambda share=share: driver.create_share(None, share),
            lambda share=share: driver.extend_share(share, share["size"]),
            lambda share=share: driver.delete_share(None, share),
        ]
        with contextlib.suppress(OSError, aspects.Veto):
            random_.choice(calls)()


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Prometheus]:
    """Call a driver with hooks, and scrape its metrics with a Prometheus.

    :param directory: the directory for all files
    """
    port, ended = free_port(), threading.Event()
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Unreliable())
        text = textwrap.dedent(CONFIG).format(
            module=__name__, port=port, directory=directory, url=receiver.url
        )
        driver = stack.enter_context(woven_by(text, directory, Driver()))
        prometheus = stack.enter_context(Prometheus(directory, port))
        caller = threading.Thread(target=call_until, args=(ended, driver))
        caller.start()
        stack.callback(caller.join)
        stack.callback(ended.set)
        stack.callback(trouble.clear)
        yield prometheus


def answers(prometheus: Prometheus, began: float) -> dict[Target, list[Series]]:
    """Return the answer to each query of the dashboard.

    :param prometheus: the server
    :param began: time of the first point, in seconds since 1970
    """
    now = time.time()
    return {
        target: prometheus.query_range(target.expression, began, now, STEP)
        for target in targets()
    }


# -- the picture -----------------------------------------------------------------------

UNITS = {"ops": "per second", "s": "seconds", "short": ""}


def draw(found: dict[Target, list[Series]], path: Path) -> None:
    """Draw the panels as PNG, without the series that are always 0.

    :param found: the series of each query
    :param path: the file; overwritten if it exists
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = {target.panel: target.unit for target in found}
    rows = math.ceil(len(panels) / 3)
    figure, grid = pyplot.subplots(
        rows, 3, figsize=(13, 3.2 * rows), dpi=80, layout="constrained"
    )
    axes_of = dict(zip(panels, grid.flat))
    began = min(
        points[0][0] for series in found.values() for _, points in series if points
    )
    for target, series in found.items():
        for labels, points in series:
            times = [moment - began for moment, _ in points]
            values = [value for _, value in points]
            if any(value > 0 for value in values):
                axes_of[target.panel].plot(times, values, label=target.name(labels))
    for panel, axes in axes_of.items():
        axes.set_title(panel, fontsize=13, loc="left")
        axes.set_ylabel(UNITS[panels[panel]])
        axes.set_ylim(bottom=0)
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=8, framealpha=0.8, edgecolor="none", ncols=2)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    figure.savefig(path)
    pyplot.close(figure)


def main() -> None:
    """Draw the picture in the documentation from a run of two minutes."""
    logging.disable()
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as server:
        wait_for(lambda: server.value("up") == 1, "the first scrape")
        began = time.time()
        for seconds, failing in ((30, False), (40, True), (50, False)):
            (trouble.set if failing else trouble.clear)()
            time.sleep(seconds)
        draw(answers(server, began), PICTURE)


if __name__ == "__main__":
    main()

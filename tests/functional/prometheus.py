# SPDX-License-Identifier: Apache-2.0
"""Run a real Prometheus that scrapes one endpoint every second."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.programs import Program, free_port, need
from tests.support.wait import wait_for

CONFIG = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: manila-share
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


class Prometheus:
    """A Prometheus on a free loopback port, which stops at the end of the block.

    :param directory: the directory for its data
    :param port: the loopback port to scrape
    """

    def __init__(self, directory: Path, port: int) -> None:
        program = need("prometheus", "prometheus")
        self.config = directory / "prometheus.yml"
        self.config.write_text(CONFIG.format(port=port))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.command = [
            program,
            f"--config.file={self.config}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        self.log = directory / "prometheus.log"

    def __enter__(self) -> Prometheus:
        self.program = Program(self.command, self.log)
        try:
            wait_for(lambda: self._get("/-/ready"), "Prometheus")
        except BaseException:
            self.program.kill()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.program.stop()

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:
            body: bytes = reply.read()
            return body

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series of an expression."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        result: list[dict[str, Any]] = json.loads(self._get(path))["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def query_range(
        self, expression: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Return the labels and the points of each series, as Grafana gets them.

        :param expression: the expression
        :param start: time of the first point, in seconds since 1970
        :param end: time of the last point
        :param step: seconds between two points
        """
        query = {"query": expression, "start": start, "end": end, "step": step}
        path = "/api/v1/query_range?" + urllib.parse.urlencode(query)
        result: list[dict[str, Any]] = json.loads(self._get(path))["data"]["result"]
        return [
            (
                series["metric"],
                [(time, float(value)) for time, value in series["values"]],
            )
            for series in result
        ]

    def value(self, expression: str) -> float | None:
        """Return the value of the only series of an expression; None without one."""
        values = [value for _, value in self.query(expression)]
        assert len(values) <= 1, values
        return values[0] if values else None

    def wait_for(self, expression: str, value: float) -> None:
        """Wait until the only series of an expression has a value."""

        def has() -> bool:
            found = self.value(expression)
            assert found == value, found
            return True

        wait_for(has, f"{expression} == {value:g}", pause=0.2)


def problems(text: str) -> str:
    """Return the problems that Prometheus' promtool finds in a page of metrics."""
    promtool = need("promtool", "prometheus")
    result = subprocess.run(
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return result.stdout + result.stderr

# SPDX-License-Identifier: Apache-2.0
"""Test that the benchmark of durable delivery runs; no test measures a speed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("requests")
pytest.importorskip("tenacity")

from bench import outbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_the_benchmark_of_durable_delivery_shows_each_figure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outbox.main(["--events", "48", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    rates = [re.fullmatch(r" +(\d+) workers +\d+", line) for line in lines[1:4]]
    assert [rate and rate[1] for rate in rates] == ["1", "16", "32"]
    figure = r" +(\d+) threads +[\d.]+ ms +[\d.]+ ms +[\d.]+"
    ratios = [re.fullmatch(figure, line) for line in lines[5:]]
    assert [ratio and ratio[1] for ratio in ratios] == ["1", "32"]
    assert list(tmp_path.iterdir()) == []

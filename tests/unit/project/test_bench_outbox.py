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
    options = "--events 48 --rounds 1 --waiting 10000 --seconds 0.5"
    outbox.main(options.split())
    lines = capsys.readouterr().out.splitlines()
    figure = r" +(\d+) workers, batches of +(\d+) +\d+"
    rates = [re.fullmatch(figure, line) for line in (*lines[1:4], *lines[5:7])]
    found = [rate and rate.groups() for rate in rates]
    both = [("20", "1"), ("20", "100")]
    assert found == [("1", "1"), *both, *both]
    figure = r" +(\d+) threads +[\d.]+ ms +[\d.]+ ms +[\d.]+"
    ratios = [re.fullmatch(figure, line) for line in lines[8:10]]
    assert [ratio and ratio[1] for ratio in ratios] == ["1", "32"]
    assert re.fullmatch(r" +[\d.]+ ms +[\d.]+ ms", lines[11])
    figure = r" +batches of +(\d+) +[1-9]\d* +\d+"
    counts = [re.fullmatch(figure, line) for line in lines[13:]]
    assert [count and count[1] for count in counts] == ["1", "100"]
    assert list(tmp_path.iterdir()) == []

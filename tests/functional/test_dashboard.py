# SPDX-License-Identifier: Apache-2.0
"""Each query of the dashboard has data in a real Prometheus that scrapes a real run."""

import re
import time

import pytest

from tests.support.pages import ROOT
from tests.support.wait import wait_for

from . import dashboard
from .dashboard import answers, draw, running, targets, trouble

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return the answer to each query, from a run in which all parts had trouble."""
    began = time.time()

    def has_data(*exceptions):
        missing = {
            target.expression
            for target, series in answers(prometheus, began).items()
            if target.panel not in exceptions
            and not any(value > 0 for _, points in series for _, value in points)
        }
        assert not missing
        return True

    with running(tmp_path_factory.mktemp("run")) as prometheus:
        trouble.set()
        later = ("Dead letters", "Deliveries")
        wait_for(lambda: has_data(*later), "data of the trouble", 120, pause=1)
        trouble.clear()
        wait_for(has_data, "data of all queries", 120, pause=1)
        alerts = (ROOT / "etc/prometheus/alerts.yml").read_text("utf-8")
        names = {*re.findall(r"\bmanila_aspects_\w+", alerts)}
        return (
            answers(prometheus, began),
            {name: prometheus.query(name) for name in names},
            prometheus.query("manila_aspects_ticks_total"),
        )


@pytest.mark.parametrize("target", targets(), ids=str)
def test_each_query_has_data_and_a_legend(target, found):
    series = found[0][target]
    assert any(value > 0 for _, points in series for _, value in points)
    # A label that the series do not have is a KeyError.
    names = [target.name(labels) for labels, _ in series]
    assert len({*names}) == len(names)


def test_each_metric_of_the_alerts_exists(found):
    assert len(found[1]) > 8
    assert [name for name, series in found[1].items() if not series] == []


def test_the_backends_to_choose_from_are_those_that_are_scraped(found):
    assert [labels["backend"] for labels, _ in found[2]] == ["alpha"]


def test_panels_are_drawn_from_the_answers(found, tmp_path):
    pytest.importorskip("matplotlib")
    draw(found[0], tmp_path / "dashboard.png")
    assert (tmp_path / "dashboard.png").read_bytes().startswith(b"\x89PNG")
    assert dashboard.PICTURE.exists()

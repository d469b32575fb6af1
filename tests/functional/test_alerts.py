# SPDX-License-Identifier: Apache-2.0
"""The alerts in etc/prometheus, tested by Prometheus' promtool."""

import re
import subprocess

import pytest
import yaml

from tests.support.pages import DOCS, ROOT
from tests.support.programs import need

DIRECTORY = ROOT / "etc" / "prometheus"


def promtool(*arguments):
    return subprocess.run(
        [need("promtool", "prometheus"), *arguments],
        cwd=DIRECTORY,
        capture_output=True,
        text=True,
        timeout=60,
    )


def alerts():
    """Return the names of the alerts."""
    (group,) = yaml.safe_load((DIRECTORY / "alerts.yml").read_text())["groups"]
    return [rule["alert"] for rule in group["rules"]]


def moments(alert):
    """Return whether an alert fires at each moment that its cases test."""
    tests = yaml.safe_load((DIRECTORY / "alerts_test.yml").read_text())["tests"]
    return {
        bool(moment.get("exp_alerts"))
        for test in tests
        for moment in test["alert_rule_test"]
        if moment["alertname"] == alert
    }


@pytest.mark.parametrize(
    "command", ["check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_promtool_accepts_the_alerts_and_their_cases(command):
    result = promtool(*command.split())
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("alert", alerts())
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert):
    assert moments(alert) == {True, False}


def test_page_lists_the_alerts():
    page = (DOCS / "admin/hooks/metrics.rst").read_text("utf-8")
    assert re.findall(r"^``(ManilaAspects\w+)``", page, re.M) == alerts()

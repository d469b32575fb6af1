# SPDX-License-Identifier: Apache-2.0
"""The status report of a woven driver."""

import json

import pytest

import aspects
from tests.support.config import ConfigFile
from tests.support.drivers import Driver

pytest.importorskip("manila")
from aspects.manila.report import report

HERE = "tests.support.entries.recording"


def test_a_report_shows_each_hook_in_order_with_its_settings_and_counters(tmp_path):
    file = ConfigFile(
        tmp_path / "service.conf",
        f"""
        [alpha]
        hook_drivers = first={HERE}:Recorder, {HERE}:Upstream
        enable_post_hooks = True
        enable_periodic_hooks = True
        periodic_hooks_ticks = 2
        [alpha:first]
        enable_pre_hooks = True
        enable_post_hooks = False
        suppress_pre_hooks_errors = True
        failing = True
        hook_operations = create_*, *_access
        hook_dispatch = background
        """,
    )
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    woven.create_share(object(), {})
    aspects.tick(woven, None, [])
    status = report(aspects.weaving(woven))
    chain = status.pop("chain")
    assert status == {"host": "node1@alpha", "ticks": 1, "periodic_hooks_ticks": 2}
    assert list(chain) == ["1. first", "2. Upstream"]
    names = ("suppressed", "slow", "skipped", "not_enforced", "dropped")
    counts = dict.fromkeys(names, 0)
    assert chain == {
        "1. first": {
            "class": f"{HERE}:Recorder",
            "enabled": "pre, periodic",
            "operations": "create_*, *_access",
            "dispatch": "background",
            "breaker": "none",
            "counts": counts | {"suppressed": 1},
        },
        "2. Upstream": {
            "class": f"{HERE}:Upstream",
            "enabled": "post, periodic",
            "operations": "*",
            "dispatch": "inline",
            "breaker": "none",
            "counts": counts,
        },
    }
    # Plain data.
    assert json.loads(json.dumps(chain)) == chain

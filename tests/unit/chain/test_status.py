# SPDX-License-Identifier: Apache-2.0
"""The state of a hook, as ``aspects.hook_status`` returns it."""

from __future__ import annotations

import pytest

import aspects
from aspects.core import breaker
from tests.support.clock import Clock
from tests.support.drivers import Driver
from tests.support.hooks import Recorder, UpstreamRecorder

from .common import CONTEXT


def test_status_of_a_new_hook() -> None:
    assert aspects.hook_status(Recorder("first", enabled=["post", "periodic"])) == {
        "hook": "first",
        "class": "tests.support.hooks:Recorder",
        "enabled": ["post", "periodic"],
        "operations": ["*"],
        "enforcement": "deny",
        "dispatch": "inline",
        "breaker": None,
        "counts": {"suppressed": 0, "slow": 0, "skipped": 0, "not_enforced": 0},
    }


def test_status_of_a_hook_of_manila() -> None:
    found = aspects.hook_status(UpstreamRecorder("plain", enabled=["pre"]))
    assert (found["hook"], found["enabled"]) == ("plain", ["pre"])
    assert (found["enforcement"], found["breaker"]) == ("deny", None)


@pytest.mark.parametrize(
    ("attribute", "dispatch"),
    [(None, "inline"), ("dispatcher", "background"), ("outbox", "durable")],
)
def test_status_shows_the_dispatch(attribute: str | None, dispatch: str) -> None:
    hook = Recorder("hook")
    if attribute:
        setattr(hook, attribute, object())
    assert aspects.hook_status(hook)["dispatch"] == dispatch


def test_a_durable_hook_is_not_in_the_background() -> None:
    hook = Recorder("hook")
    hook.dispatcher = hook.outbox = object()  # type: ignore[attr-defined]
    assert aspects.hook_status(hook)["dispatch"] == "durable"


def test_status_shows_the_breaker_and_the_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(breaker, "time", clock)
    hook = Recorder(
        "hook", enabled=["post"], suppress=["post"], post=RuntimeError("no pool")
    )
    hook.hook_failure_limit, hook.hook_failure_pause = 3, 60.0
    driver = aspects.weave(Driver(), [hook])
    states = []
    for seconds in (0, 0, 0, 0, 59.5, 0.5):
        clock.advance(seconds)
        found = aspects.hook_status(hook)
        counts = found["counts"]
        states.append((found["breaker"], counts["suppressed"], counts["skipped"]))
        driver.create_share(CONTEXT, "share")
    assert states == [
        ("closed", 0, 0),
        ("closed", 1, 0),
        ("closed", 2, 0),
        ("open", 3, 0),
        ("open", 3, 1),
        ("half-open", 3, 2),
    ]

# SPDX-License-Identifier: Apache-2.0
"""Helpers shared by the tests of the dispatch."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import aspects
from tests.support.hooks import (
    PlainRecorder,
    Recorder,
    UpstreamRecorder,
)

CONTEXT = SimpleNamespace(auth_token="t0ken-Zq9")
KINDS = [Recorder, PlainRecorder, UpstreamRecorder]


def deferred(
    hook: Any, size: int = 1000, timeout: float = 1.0, drain: float = 10.0
) -> Any:
    """Set the dispatcher that ``hook_dispatch = background`` sets."""
    name = f"{hook.instance_name} of alpha"
    hook.dispatcher = aspects.Background(name, size, timeout, drain)
    return hook


def held(gate: threading.Event, *more: Any, **options: Any) -> Any:
    """Return a hook whose post method waits at a gate."""
    enabled = options.pop("enabled", ["post"])
    answers = {key: options.pop(key) for key in ("error", "pre") if key in options}
    hook = Recorder(
        "slow", enabled=enabled, post=lambda seen: gate.wait(30) and None, **answers
    )
    return deferred(hook, *more, **options)


def fails(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("no such pool")

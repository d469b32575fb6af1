# SPDX-License-Identifier: Apache-2.0
"""A create request over HTTP, and the time of a guard with ten rules in Manila's API.

One process runs Manila, whose share API is woven with one guard. A request is timed as
a whole, without the guard and with it. Two stopwatches time the call of the share API:
one around the hooks, one around Manila's own method. Their difference is the time that
the guard takes, including its query for the share type.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest import mock

import aspects
from aspects.demo.service import DUMMY_DRIVER, ManilaService

#: Number of rules that judge a request.
RULES = 10

_RULE = """
- name: size-{0}
  operations: [create_share]
  when: share.size > 1000 + {0} && share.metadata[?"tier"].orValue("") != "bulk"
  reason: "{{share.name}} has {{share.size}} GiB"
"""

Take = Callable[[], dict[str, float]]


@contextlib.contextmanager
def creates() -> Iterator[list[Take]]:
    """Run Manila; yield functions that time a request, without and with the guard."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        rules = Path(directory, "rules.yaml")
        rules.write_text("".join(map(_RULE.format, range(RULES))), "utf-8")
        guard = {
            "hook_drivers": "guard",
            "enable_pre_hooks": True,
            "guard_rules_file": rules,
        }
        with ManilaService(
            {"alpha": DUMMY_DRIVER},
            defaults={"share_api_class": "aspects.manila.ShareAPI"},
            sections={"share_api": guard, "quota": {"shares": -1, "gigabytes": -1}},
        ) as service:
            service.stop_ticks()
            with _stopwatches() as watches:
                yield [_taker(service, watches, name) for name in ("none", "guard")]


@contextlib.contextmanager
def _stopwatches() -> Iterator[dict[str, float]]:
    """Time each call of the share API; yield the last times, around and within."""
    from aspects.manila.api import RequestWeaving

    last = {}
    around = RequestWeaving.around

    def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                last[name] = perf_counter() - start

        return run

    def watched(weaving: Any, operation: Any, method: Callable[..., Any]) -> Any:
        run = around(weaving, operation, timed("within", method))
        return timed("around", run)

    with mock.patch.object(RequestWeaving, "around", watched):
        yield last


def _taker(service: ManilaService, watches: dict[str, float], name: str) -> Take:
    import requests
    from manila import share

    (guard,) = aspects.weaving(share.API()).hooks
    session = requests.Session()
    session.headers.update(service.headers)
    session.headers["X-OpenStack-Manila-API-Version"] = "2.65"
    body = {"share": {"share_proto": "NFS", "size": 1, "name": "bench"}}

    def take() -> dict[str, float]:
        guard.pre_hooks_enabled = name == "guard"
        start = perf_counter()
        response = session.post(f"{service.endpoint}/shares", json=body, timeout=60)
        whole = perf_counter() - start
        response.raise_for_status()
        taken = {f"request/{name}": whole}
        if name == "guard":
            taken["request/hooks"] = watches["around"] - watches["within"]
        return taken

    return take

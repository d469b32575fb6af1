# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects status`` shows the backends of a real ``manila-share``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import free_port, installed
from tests.support.wait import wait_for

from .share_service import THREADS, ShareService, share_service

SECTION = """
hook_drivers = metrics, log=audit
enable_pre_hooks = True
enable_post_hooks = True
enable_periodic_hooks = True
metrics_port = {port}
audit_log_path = {directory}/audit.log
"""


def statuses(service: ShareService) -> dict[str, dict[str, Any]]:
    """Return what the command prints about each backend."""
    done = subprocess.run(
        [installed("manila-aspects"), "status", "--format", "json"]
        + ["--config-file", str(service.config_file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return {found["backend"]: found for found in json.loads(done.stdout)["backends"]}


def wait_for_status(
    service: ShareService, text: str, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, dict[str, Any]]:
    """Wait until something holds of both backends, and return their statuses."""

    def both() -> dict[str, dict[str, Any]]:
        found = statuses(service)
        assert all(map(holds, found.values())), found
        return found

    found: dict[str, dict[str, Any]] = wait_for(both, text, 60, pause=0.5)
    return found


@pytest.mark.parametrize("threads", THREADS)
def test_each_backend_shows_its_process_and_the_reload_that_it_rejected(
    tmp_path: Path, threads: dict[str, str]
) -> None:
    sections = {
        name: SECTION.format(port=free_port(), directory=tmp_path)
        for name in ("alpha", "beta")
    }
    with share_service(tmp_path, sections, threads) as service:
        found = wait_for_status(service, "ticks", lambda status: status["ticks"] > 0)
        assert list(found) == ["alpha", "beta"]
        assert {found[name]["pid"] for name in found} == {*service.children()}
        for name, status in found.items():
            assert status["host"] == f"node1@{name}"
            assert [hook["hook"] for hook in status["chain"]] == ["metrics", "log"]
            assert status["chain"][1]["enabled"] == ["pre", "post", "periodic"]
            assert status["last_reload"] is None
        wrong = {n: s.replace("log=audit", "log=adit") for n, s in sections.items()}
        service.configure(wrong)
        service.hang_up()
        found = wait_for_status(
            service, "a rejected reload", lambda status: bool(status["last_reload"])
        )
        for name, status in found.items():
            (problem,) = status["last_reload"]["problems"]
            assert problem.startswith(f"[{name}] hook_drivers = log=adit: unknown hook")
            assert [hook["hook"] for hook in status["chain"]] == ["metrics", "log"]

# SPDX-License-Identifier: Apache-2.0
"""Hooks start and stop with the processes of a real ``manila-share``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.wait import wait_for

from .share_service import (
    DRIVER,
    EVENTLET,
    NATIVE,
    ShareService,
    tracebacks_of_ours,
)
from .stop_parts import DIRECTORY

# A service that does not stop is to be seen.
pytestmark = pytest.mark.timeout(180)

HERE = f"{__package__}.stop_parts"

BACKEND = f"""
share_driver = {HERE}.Driver
hook_drivers = broken={HERE}:Broken, slow={HERE}:Slow
hook_dispatch = background
enable_pre_hooks = True
enable_post_hooks = True
"""


class OneBackend(ShareService):
    """A service without ``enabled_share_backends``: what it has is in [DEFAULT].

    With them, and on eventlet, Manila 23 does not stop by itself, with or without
    hooks: a thread of its lock coordinator is begun before the fork, and waited
    for after it.
    """

    def configure(self, backends: Mapping[str, str]) -> None:
        (lines,) = backends.values()
        self.config_file.write_text(f"{self.common('')}\n[DEFAULT]\n{DRIVER}{lines}\n")


class Told:
    """What was told, in order, by the parts of a service.

    :param service: the service
    :param backends: its backends, each of which has a process of its own
    """

    def __init__(self, service: ShareService, backends: tuple[str, ...]) -> None:
        self.service = service
        self.backends = backends

    def lines(self, backend: str) -> list[tuple[str, Any, int]]:
        """Return what was told, the number of a call, the process."""
        path = self.service.directory / "told"
        told = path.read_text("utf-8").splitlines() if path.exists() else []
        return [tuple(line) for each, *line in map(json.loads, told) if each == backend]

    def of(self, what: str, backend: str) -> list[tuple[Any, int]]:
        """Return the numbers and processes of one thing that was told."""
        return [told for each, *told in self.lines(backend) if each == what]


@pytest.fixture(params=[False, True], ids=["native", "eventlet"])
def started(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., Told]]:
    """Return what starts a service whose queues have filled up a little."""
    services: list[ShareService] = []

    def start(more: str = "") -> Told:
        if request.param:
            backends: tuple[str, ...] = ("DEFAULT",)
            environment, kind = EVENTLET, OneBackend
        else:
            backends, environment, kind = ("alpha", "beta"), NATIVE, ShareService
        service = kind(
            tmp_path,
            dict.fromkeys(backends, BACKEND + more),
            {**environment, DIRECTORY: str(tmp_path), "PYTHONWARNINGS": "ignore"},
        )
        services.append(service)
        service.start()
        told = Told(service, backends)
        for backend in backends:
            wait_for(
                lambda backend=backend: len(told.of("call", backend)) >= 3,
                f"calls of {backend}",
                timeout=60,
            )
            assert told.of("did", backend) == []
        return told

    yield start
    for service in services:
        service.kill()


def terminate(service: ShareService) -> None:
    """Ask a service to stop, and return when it is stopping."""
    assert service.program is not None
    service.program.process.terminate()
    service.logged("Caught SIGTERM")


def test_hooks_run_from_the_start_of_a_process_to_its_end(
    started: Callable[..., Told],
) -> None:
    told = started()
    service = told.service
    # Each is in the middle of a call.
    (service.directory / "hold").touch()
    for backend in told.backends:
        wait_for(lambda backend=backend: told.of("held", backend), backend)
    terminate(service)
    # Not one action is done before the service stops.
    (service.directory / "go").touch()
    for backend in told.backends:
        calls = told.of("call", backend)
        wait_for(
            lambda backend=backend, due=calls[:-1]: told.of("did", backend) == due,
            f"actions of {backend}",
        )
    (service.directory / "hold").unlink()
    assert service.program is not None
    assert service.program.process.wait(60) == 0

    processes = set()
    for backend in told.backends:
        calls = told.of("call", backend)
        assert told.of("did", backend) == calls
        (process,) = {process for _, process in calls}
        processes.add(process)
        # Made in the process that forks, started in the one that runs the driver.
        assert told.of("made", backend) == [[None, service.pid]]
        for what in ("start", "do_setup", "stop"):
            assert told.of(what, backend) == [[None, process]]
        order = [what for what, *_ in told.lines(backend)]
        assert order[:4] == ["made", "start", "call", "do_setup"]
        assert order[-1] == "stop"
    assert len(processes - {service.pid}) == len(told.backends)
    assert "Dropped" not in service.log()


def test_a_service_that_stops_waits_so_long_and_no_longer(
    started: Callable[..., Told],
) -> None:
    told = started("hook_drain_timeout = 1\n")
    service = told.service
    terminate(service)
    assert service.program is not None
    service.program.process.wait(40)
    dropped = [line for line in service.log().splitlines() if "Dropped" in line]
    assert len(dropped) == len(told.backends)
    for backend in told.backends:
        assert told.of("did", backend) == []
        (line,) = (line for line in dropped if f"slow of {backend}" in line)
        count = int(line.partition("Dropped ")[2].split()[0])
        # The last may have been on its way into the queue.
        assert len(told.of("call", backend)) - count in (0, 1)
        assert len(told.of("stop", backend)) == 1


def test_a_hook_that_cannot_start_is_one_line_and_the_service_runs(
    started: Callable[..., Told],
) -> None:
    told = started()
    service = told.service
    (service.directory / "go").touch()
    service.stop()
    log = service.log().splitlines()
    lines = [line for line in log if "Failed to start hook broken" in line]
    assert len(lines) == len(told.backends)
    for backend in told.backends:
        assert len(told.of("do_setup", backend)) == 1
        section = None if backend == "DEFAULT" else backend
        (line,) = (line for line in lines if f"backend {section}: " in line)
        assert " ERROR " in line
        assert ": OSError: nobody answers" in line
    assert tracebacks_of_ours(service.log()) == []

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
    THREADS,
    ShareService,
    project_tracebacks,
    share_service,
)
from .stop_parts import DIRECTORY

# Fail a test whose service does not stop.
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
    """A service without ``enabled_share_backends``, configured in ``[DEFAULT]``.

    On eventlet, a Manila since 21 with ``enabled_share_backends`` does not stop by
    itself, with or without hooks. It starts a thread of its lock coordinator before the
    fork and waits for that thread after the fork.
    """

    def configure(self, backends: Mapping[str, str]) -> None:
        (lines,) = backends.values()
        self.config_file.write_text(f"{self.common('')}\n[DEFAULT]\n{DRIVER}{lines}\n")


class Events:
    """The events that the driver and the hooks of a service record, in order.

    :param service: the service
    :param backends: names of its backends, each of which has its own process
    """

    def __init__(self, service: ShareService, backends: tuple[str, ...]) -> None:
        self.service = service
        self.backends = backends

    def of(self, backend: str) -> list[tuple[str, Any, int]]:
        """Return name, call number and process ID of each event of a backend."""
        path = self.service.directory / "events"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        events = map(json.loads, lines)
        return [tuple(event) for owner, *event in events if owner == backend]

    def named(self, event: str, backend: str) -> list[tuple[Any, int]]:
        """Return call number and process ID of each event of one name."""
        return [
            (number, pid) for name, number, pid in self.of(backend) if name == event
        ]


@pytest.fixture(params=THREADS)
def start_service(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., Events]]:
    """A function that starts a service and waits until calls are queued."""
    services: list[ShareService] = []

    def start(options: str = "") -> Events:
        environment = request.param
        if environment == NATIVE:
            backends: tuple[str, ...] = ("alpha", "beta")
            kind: type[ShareService] = ShareService
        else:
            backends, kind = ("DEFAULT",), OneBackend
        service = kind(
            tmp_path,
            dict.fromkeys(backends, BACKEND + options),
            {**environment, DIRECTORY: str(tmp_path), "PYTHONWARNINGS": "ignore"},
        )
        services.append(service)
        service.start()
        events = Events(service, backends)
        for backend in backends:
            wait_for(
                lambda backend=backend: len(events.named("pre", backend)) >= 3,
                f"calls of {backend}",
                timeout=60,
            )
            assert events.named("post", backend) == []
        return events

    yield start
    for service in services:
        service.kill()


def terminate(service: ShareService) -> None:
    """Send SIGTERM to a service and wait until it handles it."""
    assert service.program is not None
    service.program.process.terminate()
    service.wait_for_log("Caught SIGTERM")


def test_hooks_run_from_the_start_of_a_process_to_its_end(
    start_service: Callable[..., Events],
) -> None:
    events = start_service()
    service = events.service
    # Every process blocks in a driver call.
    (service.directory / "hold").touch()
    for backend in events.backends:
        wait_for(
            lambda backend=backend: events.named("get_share_stats", backend),
            f"blocked call of {backend}",
        )
    terminate(service)
    # No post method has returned when the service begins to stop.
    (service.directory / "go").touch()
    for backend in events.backends:
        calls = events.named("pre", backend)
        wait_for(
            lambda backend=backend, due=calls[:-1]: (
                events.named("post", backend) == due
            ),
            f"post methods of {backend}",
        )
    (service.directory / "hold").unlink()
    assert service.program is not None
    assert service.program.process.wait(60) == 0

    processes = set()
    for backend in events.backends:
        calls = events.named("pre", backend)
        assert events.named("post", backend) == calls
        (process,) = {process for _, process in calls}
        processes.add(process)
        # The parent constructs the hook; the process of the driver starts it.
        assert events.named("construct", backend) == [(None, service.pid)]
        for event in ("start", "do_setup", "stop"):
            assert events.named(event, backend) == [(None, process)]
        order = [event for event, *_ in events.of(backend)]
        assert order[:4] == ["construct", "start", "pre", "do_setup"]
        assert order[-1] == "stop"
    assert len(processes - {service.pid}) == len(events.backends)
    assert "Dropped" not in service.log()


def test_hooks_stop_on_eventlet_although_manila_waits_for_a_thread(
    tmp_path: Path,
) -> None:
    backends = ("alpha", "beta")
    environment = {**EVENTLET, DIRECTORY: str(tmp_path), "PYTHONWARNINGS": "ignore"}
    sections = dict.fromkeys(backends, BACKEND)
    with share_service(tmp_path, sections, environment) as service:
        events = Events(service, backends)
        (tmp_path / "go").touch()
        for backend in backends:
            wait_for(
                lambda backend=backend: events.named("post", backend),
                f"calls of {backend}",
                timeout=60,
            )
        terminate(service)
        for backend in backends:
            wait_for(
                lambda backend=backend: events.named("stop", backend),
                f"stop of {backend}",
                timeout=60,
            )
            assert events.named("post", backend) == events.named("pre", backend)


def test_a_stopping_service_drops_its_queue_after_the_drain_timeout(
    start_service: Callable[..., Events],
) -> None:
    events = start_service("hook_drain_timeout = 1\n")
    service = events.service
    terminate(service)
    assert service.program is not None
    service.program.process.wait(40)
    dropped = [line for line in service.log().splitlines() if "Dropped" in line]
    assert len(dropped) == len(events.backends)
    for backend in events.backends:
        assert events.named("post", backend) == []
        (line,) = (line for line in dropped if f"slow of {backend}" in line)
        count = int(line.partition("Dropped ")[2].split()[0])
        # The queue may not have received the last call yet.
        assert len(events.named("pre", backend)) - count in (0, 1)
        assert len(events.named("stop", backend)) == 1


def test_a_hook_that_fails_to_start_is_logged_once_while_the_service_runs(
    start_service: Callable[..., Events],
) -> None:
    events = start_service()
    service = events.service
    (service.directory / "go").touch()
    service.stop()
    log = service.log().splitlines()
    lines = [line for line in log if "Failed to start hook broken" in line]
    assert len(lines) == len(events.backends)
    for backend in events.backends:
        assert len(events.named("do_setup", backend)) == 1
        section = None if backend == "DEFAULT" else backend
        (line,) = (line for line in lines if f"backend {section}: " in line)
        assert " ERROR " in line
        assert ": OSError: the receiver does not answer" in line
    # No traceback has a frame of the hook.
    assert "stop_parts.py" not in service.log()
    assert project_tracebacks(service.log()) == []

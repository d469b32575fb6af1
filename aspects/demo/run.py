# SPDX-License-Identifier: Apache-2.0
"""Run the demo: the scenario, or the service alone for a hook author."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aspects
from aspects.demo import backends, client, releases, scenario, verdict
from aspects.demo.arrivals import Arrivals, Receiver, free_port
from aspects.demo.hooks import Watched, journal, watch_late
from aspects.demo.screen import Screen
from aspects.demo.service import ManilaService, directory_for


def demo(
    keep: Path | None = None, config_files: Sequence[Path] = (), serve: bool = False
) -> int:
    """Run the demo.

    :param keep: the directory to write to and keep; a temporary one by default
    :param config_files: files that Manila reads after its ``manila.conf``
    :param serve: run the service until it is interrupted, without the scenario
    :returns: 0 if all checks passed, else 1
    :raises ServiceError: if the service cannot run
    :raises aspects.HookConfigError: if hooks are misconfigured
    """
    screen = Screen()
    began = time.monotonic()
    for name, woven in backends.WOVEN.items():
        journal.chain_lengths[name] = len(woven.hooks)
    journal.on_point = screen.point
    journal.on_periodic = screen.periodic
    with ExitStack() as stack:
        directory = stack.enter_context(directory_for(keep))
        receiver = stack.enter_context(Receiver(backends.SECRET))
        port = free_port()
        service = stack.enter_context(
            ManilaService(
                backends.backends(),
                sections=backends.sections(directory, receiver.url, port),
                directory=directory,
                config_files=config_files,
            )
        )
        seconds = time.monotonic() - began
        screen.note(f"Manila {releases.release()} started in {seconds:.1f} s")
        if serve:
            _watch_all(service)
            return _serve(service, screen)
        passed = _run(service, screen, receiver, port)
    screen.note(
        f"{'All checks passed in' if passed else 'Checks failed after'} "
        f"{time.monotonic() - began:.1f} s"
        + (f"; the files are in {keep}" if keep else "")
    )
    return 0 if passed else 1


# -- the scenario --------------------------------------------------------------


def _run(
    service: ManilaService, screen: Screen, receiver: Receiver, metrics_port: int
) -> bool:
    drivers = {name: m.driver for name, m in service.managers.items()}
    woven = {name: d for name, d in drivers.items() if aspects.is_woven(d)}
    for name in drivers:
        hooks = ", ".join(_names(woven[name])) if name in woven else "none, not woven"
        screen.note(f"{name}: {service.driver_name(name)}, hooks: {hooks}")
    expected, failures = _run_steps(service, screen)
    # Ticks come each second. The steps usually take longer than the ticks need.
    least = max(2 * backend.ticks for backend in backends.WOVEN.values())
    deadline = time.monotonic() + 2 * least
    while time.monotonic() < deadline and any(
        aspects.weaving(driver).ticks < least for driver in woven.values()
    ):
        time.sleep(0.1)
    service.stop_ticks()
    ticks = {name: aspects.weaving(driver).ticks for name, driver in woven.items()}
    runs = journal.runs
    failures += verdict.differences(runs, expected, ticks, woven)
    screen.summary(
        journal.points, {n: (t, _periodic_runs(n)) for n, t in ticks.items()}
    )
    audit_log = backends.audit_log(service.directory)
    arrivals = Arrivals(runs, "alpha", audit_log, receiver, metrics_port)
    failures += arrivals.differences()
    screen.arrived(arrivals.rows())
    if failures:
        screen.differences(failures)
    return not failures


def _run_steps(
    service: ManilaService, screen: Screen
) -> tuple[list[scenario.Expected], list[str]]:
    """Run the steps of the scenario.

    :returns: the expected join points, and the error of the step that failed
    """
    sdk = client.connect(service.endpoint, service.headers, service.token)
    life = scenario.Life(service, sdk)
    expected = list(scenario.START)
    for number, step in enumerate(scenario.STEPS, 1):
        screen.step(number, step.title)
        expected += step.expected
        try:
            screen.reached(step.run(life))
        except Exception as error:
            # The following steps would only fail as a consequence.
            text = client.explain(error)
            screen.failed(text)
            return expected, [f"step {number}, {step.title}: {text}"]
    return expected, []


def _names(driver: Any) -> list[str]:
    hooks = aspects.weaving(driver).hooks
    return [getattr(h, "instance_name", "") or type(h).__name__ for h in hooks]


def _periodic_runs(backend: str) -> int:
    counts = Counter(
        run.hook
        for run in journal.runs
        if run.backend == backend and run.kind == "periodic"
    )
    return max(counts.values(), default=0)


# -- the service for hook authors ----------------------------------------------


def _watch_all(service: ManilaService) -> None:
    """Watch the hooks that do not inherit :class:`Watched`."""
    for name, manager in service.managers.items():
        if aspects.is_woven(manager.driver):
            weaving = aspects.weaving(manager.driver)
            journal.chain_lengths[name] = len(weaving.hooks)
            for hook in weaving.hooks:
                if not isinstance(hook, Watched):
                    watch_late(hook, name)


def _serve(service: ManilaService, screen: Screen) -> int:
    """Wait for Ctrl-C or SIGTERM; SIGHUP reloads the configuration."""
    stop, reload = threading.Event(), threading.Event()
    for line in _example(service):
        screen.note(line)
    with _signals(stop, reload):
        while not stop.wait(0.2):
            if reload.is_set():
                reload.clear()
                service.reload()
                _watch_all(service)
                screen.note("configuration reloaded")
    screen.note("stopping")
    return 0


def _example(service: ManilaService) -> Iterator[str]:
    token = f"-H 'X-Auth-Token: {service.token}'"
    version = f"-H 'X-OpenStack-Manila-API-Version: {client.MICROVERSION}'"
    backend = next(iter(service.managers))
    body = (
        '{"share_type": {"name": "demo", "share_type_access:is_public": true,'
        ' "extra_specs": {"driver_handles_share_servers": "False",'
        f' "share_backend_name": "{backend}"}}}}}}'
    )
    share = '{"share": {"share_proto": "NFS", "size": 1, "share_type": "demo"}}'
    post = f"curl -s {token} {version} -H 'Content-Type: application/json'"
    yield f"endpoint: {service.endpoint}"
    yield f"log: {service.log_file}"
    yield f"configuration: {service.config_file}"
    yield "create a share type and a share, then list the shares:"
    yield f"{post} {service.endpoint}/types -d '{body}'"
    yield f"{post} {service.endpoint}/shares -d '{share}'"
    yield f"curl -s {token} {version} {service.endpoint}/shares/detail"
    yield "Press Ctrl-C to stop"
    sys.stdout.flush()


@contextmanager
def _signals(stop: threading.Event, reload: threading.Event) -> Iterator[None]:
    wanted = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: reload}
    before = {
        number: signal.signal(number, lambda *_, event=event: event.set())
        for number, event in wanted.items()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

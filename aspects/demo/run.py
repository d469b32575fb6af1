# SPDX-License-Identifier: Apache-2.0
"""Run the demo: all of the scenario, or the service for an author's own hooks."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aspects
from aspects.demo import backends, client, scenario, verdict
from aspects.demo.arrivals import Arrivals, Receiver, free_port
from aspects.demo.hooks import Watched, journal, watch_late
from aspects.demo.screen import Screen
from aspects.demo.service import ManilaService, directory_for


def demo(
    keep: Path | None = None, config_files: Sequence[Path] = (), serve: bool = False
) -> int:
    """Run the demo.

    :param keep: directory to write to and keep; a temporary one by default
    :param config_files: files that Manila reads after its ``manila.conf``
    :param serve: leave the service up until it is interrupted, and run nothing
    :returns: 0 if all went as it should, else 1
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
        screen.note(f"Manila is up after {time.monotonic() - began:.1f} s")
        if serve:
            _watch_all(service)
            return _serve(service, screen)
        good = _run(service, screen, receiver, port)
    screen.note(
        f"{'As it should be' if good else 'Not as it should be'}, "
        f"after {time.monotonic() - began:.1f} s"
        + (f"; all of it is in {keep}" if keep else "")
    )
    return 0 if good else 1


# -- the scenario --------------------------------------------------------------


def _run(
    service: ManilaService, screen: Screen, receiver: Receiver, metrics_port: int
) -> bool:
    drivers = {name: m.driver for name, m in service.managers.items()}
    woven = {name: d for name, d in drivers.items() if aspects.is_woven(d)}
    for name in drivers:
        hooks = ", ".join(_names(woven[name])) if name in woven else "none, not woven"
        screen.note(f"{name}: {service.driver_name(name)}, hooks: {hooks}")
    due, wrong = _live(service, screen)
    # Ticks need their time; the share's life takes longer than that, mostly.
    least = max(2 * each.ticks for each in backends.WOVEN.values())
    deadline = time.monotonic() + 2 * least
    while time.monotonic() < deadline and any(
        aspects.weaving(driver).ticks < least for driver in woven.values()
    ):
        time.sleep(0.1)
    service.stop_ticks()
    ticks = {name: aspects.weaving(driver).ticks for name, driver in woven.items()}
    actions = journal.actions
    wrong += verdict.differences(actions, due, ticks, woven)
    screen.summary(journal.points, {n: (t, _rounds(n)) for n, t in ticks.items()})
    audit_log = backends.audit_log(service.directory)
    arrivals = Arrivals(actions, "alpha", audit_log, receiver, metrics_port)
    wrong += arrivals.differences()
    screen.arrived(arrivals.rows())
    if wrong:
        screen.differences(wrong)
    return not wrong


def _live(
    service: ManilaService, screen: Screen
) -> tuple[list[scenario.Due], list[str]]:
    """Take the share through its life.

    :returns: the join points that are due, and what went wrong
    """
    sdk = client.connect(service.endpoint, service.headers, service.token)
    life = scenario.Life(service, sdk)
    due = list(scenario.START)
    for number, step in enumerate(scenario.STEPS, 1):
        screen.step(number, step.title)
        due += step.due
        try:
            screen.reached(step.run(life))
        except Exception as error:
            # The steps after it would only tell what follows from it.
            text = client.explain(error)
            screen.failed(text)
            return due, [f"step {number}, {step.title}: {text}"]
    return due, []


def _names(driver: Any) -> list[str]:
    hooks = aspects.weaving(driver).hooks
    return [getattr(h, "instance_name", "") or type(h).__name__ for h in hooks]


def _rounds(backend: str) -> int:
    last = [a.hook for a in journal.actions if a.backend == backend]
    return max(
        sum(
            1
            for a in journal.actions
            if a.backend == backend and a.kind == "periodic" and a.hook == hook
        )
        for hook in set(last) | {""}
    )


# -- the service for authors ---------------------------------------------------


def _watch_all(service: ManilaService) -> None:
    """Show the author's hooks too, whatever they inherit."""
    for name, manager in service.managers.items():
        if aspects.is_woven(manager.driver):
            weaving = aspects.weaving(manager.driver)
            journal.chain_lengths[name] = len(weaving.hooks)
            for hook in weaving.hooks:
                if not isinstance(hook, Watched):
                    watch_late(hook, name)


def _serve(service: ManilaService, screen: Screen) -> int:
    """Wait for Ctrl-C or SIGTERM; SIGHUP reads the configuration again."""
    stop, reload = threading.Event(), threading.Event()
    for line in _example(service):
        screen.note(line)
    with _signals(stop, reload):
        while not stop.wait(0.2):
            if reload.is_set():
                reload.clear()
                service.reload()
                _watch_all(service)
                screen.note("configuration read again")
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
    yield "make a share type, then a share, and look at it:"
    yield f"{post} {service.endpoint}/types -d '{body}'"
    yield f"{post} {service.endpoint}/shares -d '{share}'"
    yield f"curl -s {token} {version} {service.endpoint}/shares/detail"
    yield "Ctrl-C stops it"
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

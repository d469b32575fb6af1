# SPDX-License-Identifier: Apache-2.0
"""Run the demo: the scenario, or the service alone for a hook author."""

from __future__ import annotations

import json
import logging
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aspects
from aspects.config import reload
from aspects.demo import backends, client, releases, scenario, verdict, watch
from aspects.demo.arrivals import Arrivals, Receiver, free_port
from aspects.demo.journal import Call, Journal
from aspects.demo.screen import Screen
from aspects.demo.service import ManilaService, ServiceError, directory_for
from aspects.requests import SECTION

#: The share API with hooks, in the format of ``share_api_class``.
SHARE_API = "aspects.manila.ShareAPI"


def demo(
    screen: Screen,
    keep: Path | None = None,
    config_files: Sequence[Path] = (),
    serve: bool = False,
) -> int:
    """Run the demo.

    :param screen: the output
    :param keep: the directory to write to and keep; a temporary one by default
    :param config_files: files that Manila reads after its ``manila.conf``
    :param serve: run the service until it is interrupted, without the scenario. Then
        the hooks are those of ``config_files``, if there are any.
    :returns: 0 if all checks passed, else 1
    :raises ServiceError: if the service cannot run
    :raises aspects.HookConfigError: if hooks are misconfigured
    """
    began = time.monotonic()
    journal = Journal()
    journal.on_call, journal.on_late_run = screen.call, screen.late_run
    own_hooks = not (serve and config_files)
    with ExitStack() as stack:
        warnings = stack.enter_context(_Warnings(screen))
        stack.enter_context(watch.watching(journal))
        directory = stack.enter_context(directory_for(keep))
        receiver = stack.enter_context(Receiver(backends.SECRET))
        port = free_port()
        sections = backends.sections(directory, receiver.url, port)
        if own_hooks and releases.has_rules():
            rules_file = backends.rules_file(directory)
            rules_file.write_text(backends.RULES, encoding="utf-8")
        service = stack.enter_context(
            ManilaService(
                backends.backends(hooks=own_hooks),
                defaults={"share_api_class": SHARE_API} if own_hooks else None,
                sections=sections if own_hooks else None,
                directory=directory,
                config_files=config_files,
            )
        )
        seconds = time.monotonic() - began
        screen.detail(f"Manila {releases.release()} started in {seconds:.1f} s")
        for name, manager in service.managers.items():
            screen.detail(f"{name}: {service.driver_name(name)}, {_hooks(manager)}")
        if service.requests:
            screen.detail(f"{SECTION}: {_names(service.requests)}")
        if serve:
            return _serve(service, screen, warnings)
        passed = _run(service, screen, journal, receiver, port)
    screen.note(
        f"{'All checks passed in' if passed else 'Checks failed after'} "
        f"{time.monotonic() - began:.1f} s"
        + (f"; the files are in {keep}" if keep else "")
    )
    return 0 if passed else 1


def _hooks(manager: Any) -> str:
    if not aspects.is_woven(manager.driver):
        return "hooks: none, not woven"
    return _names(aspects.weaving(manager.driver))


def _names(weaving: aspects.Weaving) -> str:
    return f"hooks: {', '.join(map(aspects.hook_name, weaving.hooks))}"


# -- the scenario --------------------------------------------------------------


def _run(
    service: ManilaService,
    screen: Screen,
    journal: Journal,
    receiver: Receiver,
    metrics_port: int,
) -> bool:
    drivers = {name: m.driver for name, m in service.managers.items()}
    woven = {name: d for name, d in drivers.items() if aspects.is_woven(d)}
    expected, violations, failures = _run_steps(service, screen)
    # Ticks come each second. The steps usually take longer than the ticks need.
    least = max(2 * backend.ticks for backend in backends.WOVEN.values())
    deadline = time.monotonic() + 2 * least
    while time.monotonic() < deadline and any(
        aspects.weaving(driver).ticks < least for driver in woven.values()
    ):
        time.sleep(0.1)
    service.stop_ticks()
    counts = {name: aspects.weaving(driver).ticks for name, driver in woven.items()}
    calls, ticks = journal.calls, journal.ticks
    chains = [*woven, *([SECTION] if service.requests else [])]
    failures += verdict.differences(calls, ticks, expected, counts, chains)
    screen.summary(
        calls, {n: (count, _rounds(n, ticks)) for n, count in counts.items()}
    )
    audit_log = backends.audit_log(service.directory)
    arrivals = Arrivals(
        [*calls, *ticks], "alpha", audit_log, receiver, metrics_port, violations
    )
    failures += arrivals.differences()
    screen.arrived(arrivals.rows())
    if failures:
        screen.differences(failures)
    return not failures


def _run_steps(
    service: ManilaService, screen: Screen
) -> tuple[list[scenario.Expected], list[str], list[str]]:
    """Run the steps of the scenario.

    :returns: the expected join points, the expected events about violations, and the
        error of the step that failed
    """
    sdk = client.connect(service.endpoint, service.headers, service.token)
    life = scenario.Life(service, sdk)
    expected, violations = list(scenario.START), list[str]()
    for number, step in enumerate(scenario.STEPS, 1):
        screen.step(number, step.title)
        expected += step.expected
        violations += step.violations
        try:
            screen.reached(step.run(life))
        except Exception as error:
            # The following steps would only fail as a consequence.
            text = client.explain(error)
            screen.failed(text)
            return expected, violations, [f"step {number}, {step.title}: {text}"]
    return expected, violations, []


def _rounds(backend: str, ticks: Sequence[Call]) -> int:
    return sum(1 for tick in ticks if tick.backend == backend and tick.runs)


# -- the service for hook authors ----------------------------------------------


class _Warnings(logging.Handler):
    """Print the warnings and errors of this library.

    Those of a hook method are printed with its call.
    """

    #: The loggers of the library, and of options that a reload cannot change.
    _LOGGERS = ("aspects", "hooks", "oslo_config.cfg")

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen
        #: The number of errors because of which a reload was rejected.
        self.rejections = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == reload.__name__ and record.levelno >= logging.ERROR:
            self.rejections += 1
        of_method = record.name == "aspects.core.log"
        if not of_method or watch.in_call_without_failure():
            text = " ".join(record.getMessage().split())
            self._screen.warn(record.levelname.lower(), text)

    def __enter__(self) -> _Warnings:
        for name in self._LOGGERS:
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *raised: object) -> None:
        for name in self._LOGGERS:
            logging.getLogger(name).removeHandler(self)


def _serve(service: ManilaService, screen: Screen, warnings: _Warnings) -> int:
    """Wait for Ctrl-C or SIGTERM; SIGHUP reloads the configuration."""
    stop, hangup = threading.Event(), threading.Event()
    for line in _example(service):
        screen.note(line)
    sys.stdout.flush()
    with _signals(stop, hangup):
        while not stop.wait(0.2):
            if hangup.is_set():
                hangup.clear()
                screen.note(_reload(service, warnings))
    screen.note("stopping")
    return 0


def _reload(service: ManilaService, warnings: _Warnings) -> str:
    """Reload the configuration, and return the outcome as a line."""
    before = warnings.rejections
    try:
        service.reload()
    except ServiceError as error:
        return f"configuration rejected, nothing has changed: {error}"
    if warnings.rejections > before:
        return "configuration rejected: backends with an error keep their hooks"
    return "configuration reloaded"


def _example(service: ManilaService) -> Iterator[str]:
    """Yield requests for a share on one backend: one with hooks, if there is one."""
    backend = min(
        service.managers,
        key=lambda name: not aspects.is_woven(service.managers[name].driver),
    )
    facts = service.facts(backend)
    specs = {
        "driver_handles_share_servers": str(facts.handles_share_servers),
        "share_backend_name": facts.backend_name,
    }
    share_type = {
        "name": "demo",
        "share_type_access:is_public": True,
        "extra_specs": specs,
    }
    share = {"share_proto": facts.protocol, "size": 1, "share_type": "demo"}
    token = f"-H 'X-Auth-Token: {service.token}'"
    version = f"-H 'X-OpenStack-Manila-API-Version: {client.MICROVERSION}'"
    get = f"curl -s {token} {version} {service.endpoint}"

    def post(path: str, body: object) -> str:
        content = "-H 'Content-Type: application/json'"
        return f"{get}/{path} {content} -d {shlex.quote(json.dumps(body))}"

    yield f"endpoint: {service.endpoint}"
    yield f"log: {service.log_file}"
    yield f"configuration: {service.config_file}"
    yield f"create a share type and a share on {backend}, then list the shares:"
    yield post("types", {"share_type": share_type})
    if facts.handles_share_servers:
        network = post("share-networks", {"share_network": {"name": "demo"}})
        first_id = 'grep -o \'"id": "[^"]*\' | head -n 1 | cut -d \'"\' -f 4'
        yield f"network=$({network} | {first_id})"
        request = post("shares", {"share": {**share, "share_network_id": "NETWORK"}})
        yield request.replace("NETWORK", "'$network'")
    else:
        yield post("shares", {"share": share})
    yield f"{get}/shares/detail"
    yield "Press Ctrl-C to stop"


@contextmanager
def _signals(stop: threading.Event, hangup: threading.Event) -> Iterator[None]:
    wanted = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGHUP: hangup}
    before = {
        number: signal.signal(number, lambda *_, event=event: event.set())
        for number, event in wanted.items()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

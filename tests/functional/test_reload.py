# SPDX-License-Identifier: Apache-2.0
"""A real ``manila-share`` reloads its configuration and reports on its hooks."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.wait import wait_for

from .share_service import EVENTLET, THREADS, ShareService, share_service

#: The log message about a file that cannot be parsed.
UNPARSABLE = "manila.conf:1, Invalid section (must end with ]): '[alpha'"

ENABLED = (
    "enable_pre_hooks = True\nenable_post_hooks = True\nenable_periodic_hooks = True\n"
)


def with_audit(directory: Path, *names: str, more: str = "") -> dict[str, str]:
    """Return the section of ``alpha`` with audit hooks.

    :param directory: directory of the audit files, one for each hook
    :param names: names of the hooks, in the order of the chain
    :param more: options to append to the section
    """
    drivers = ", ".join(f"{name}=audit" for name in names)
    text = f"{ENABLED}periodic_hooks_ticks = 2\nhook_drivers = {drivers}\n{more}"
    for name in names:
        text += f"\n[alpha:{name}]\naudit_log_path = {directory}/{name}.log\n"
    return {"alpha": text}


def count_lines(directory: Path, name: str) -> int:
    """Return the number of lines that an audit hook has written."""
    file = directory / f"{name}.log"
    if not file.exists():
        return 0
    return len([json.loads(line) for line in file.read_text().splitlines()])


def wait_for_lines(directory: Path, name: str) -> None:
    """Wait until an audit hook has written two more lines.

    The first may belong to a call that began before a reload.
    """
    before = count_lines(directory, name)
    wait_for(lambda: count_lines(directory, name) >= before + 2, f"lines of {name}", 60)


@pytest.fixture(params=THREADS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShareService]:
    sections = with_audit(tmp_path, "one", "two")
    with share_service(tmp_path, sections, request.param) as service:
        wait_for_lines(tmp_path, "two")
        yield service


def test_sighup_applies_valid_edits_and_rejects_invalid_ones(
    service: ShareService,
) -> None:
    directory = service.directory

    # A valid edit adds, removes and reorders hooks.
    service.configure(with_audit(directory, "three", "two"))
    service.hang_up()
    wait_for_lines(directory, "three")
    before = count_lines(directory, "one")
    wait_for_lines(directory, "two")
    assert count_lines(directory, "one") == before

    # An unknown hook is rejected with the message of a start, and the chain remains.
    bad = with_audit(directory, "four")
    service.configure({"alpha": bad["alpha"].replace("four=audit", "four=adit")})
    service.hang_up()
    for problem in (
        "[alpha] hook_drivers = four=adit: unknown hook (installed: ",
        "; did you mean audit?",
    ):
        service.wait_for_log(problem)
    wait_for_lines(directory, "three")
    assert not count_lines(directory, "four")
    assert "Traceback" not in service.log()

    # An invalid value is rejected too. A reload logs the values of Manila's options but
    # does not read this one, which would raise an error.
    service.configure(
        with_audit(directory, "four", more="[alpha:four]\nhook_dispatch = off")
    )
    service.hang_up()
    service.wait_for_log("[alpha:four] hook_dispatch = off: ")
    wait_for_lines(directory, "three")
    assert not count_lines(directory, "four")
    assert "Traceback" not in service.log()

    if service.native:
        # An unparsable file is rejected too. On eventlet it ends the launcher of
        # oslo.service, with or without hooks.
        before = len(service.log())
        service.config_file.write_text("[alpha\nhook_drivers", "utf-8")
        service.hang_up()
        wait_for(lambda: UNPARSABLE in service.log()[before:], UNPARSABLE)
        wait_for_lines(directory, "three")
        wait_for_lines(directory, "three")

    # The next valid edit is applied.
    service.configure(with_audit(directory, "five"))
    service.hang_up()
    wait_for_lines(directory, "five")


@pytest.mark.parametrize("threads", THREADS)
def test_the_report_has_the_chain_and_the_counts_of_each_backend(
    tmp_path: Path, threads: dict[str, str]
) -> None:
    with share_service(tmp_path, two_backends(tmp_path, "one", "two"), threads) as (
        service
    ):
        wait_for_lines(tmp_path, "two")
        alpha, beta = (
            report_when(service, "alpha", ""),
            report_when(service, "beta", ""),
        )
        assert chain_in(alpha) == ["one", "two"]
        assert chain_in(beta) == ["fails"]
        quiet = "[alpha:one]\nenable_periodic_hooks = False\n"
        service.configure(two_backends(tmp_path, "two", "one", more=quiet))
        service.hang_up()
        alpha = report_when(service, "alpha", "1. two = ")
        beta = report_when(service, "beta", r"suppressed = [1-9]")
    assert chain_in(alpha) == ["two", "one"]
    assert re.findall(r"^ +enabled = (.*)$", alpha, re.M) == [
        "pre, post, periodic",
        "pre, post",
    ]
    # A count of zero is reported too.
    for name in ("suppressed", "slow", "skipped", "dropped"):
        assert re.findall(rf"^ +{name} = (\d+)$", alpha, re.M) == ["0", "0"]
    assert "class = hooks.audit:AuditHook\n" in alpha
    assert "host = node1@alpha\n" in alpha
    assert "host = node1@beta\n" in beta
    assert re.findall(r"^ +(?:slow|skipped|dropped) = (\d+)$", beta, re.M) == ["0"] * 3


def two_backends(directory: Path, *names: str, more: str = "") -> dict[str, str]:
    """Return sections: ``alpha`` with audit hooks, ``beta`` with a failing hook."""
    hook = "tests.support.entries.recording:Recorder"
    text = f"{ENABLED}hook_drivers = fails={hook}\nfailing = True\n"
    for method in ("pre", "post", "periodic"):
        text += f"suppress_{method}_hooks_errors = True\n"
    return {**with_audit(directory, *names, more=more), "beta": text}


def report_when(service: ShareService, backend: str, pattern: str) -> str:
    """Request reports with SIGUSR2 until the report on a backend matches a pattern.

    :return: the report on that backend
    """

    def request() -> str:
        for child in service.children():
            wait_until_idle(service, child)
            os.kill(child, signal.SIGUSR2)
            # The name of a report has its time in seconds: avoid two of one name.
            time.sleep(1.1)
        files = sorted(service.directory.glob("*gurumeditation*"))
        text = "".join(file.read_text() for file in files)
        found = re.findall(rf"^{backend} = \n((?: .*\n)+)", text, re.M)
        return found[-1] if found and re.search(pattern, found[-1]) else ""

    return str(wait_for(request, f"{pattern} in the report of {backend}", 60))


def wait_until_idle(service: ShareService, child: int) -> None:
    """Wait until a process has just run its periodic tasks.

    On eventlet, a signal may interrupt Python code, in which oslo.reports then raises
    a TypeError. ``doc/source/user/eventlet.rst`` has the details.
    """

    def updates() -> int:
        message = rf" {child} INFO manila.share.manager .*Updating share status"
        return len(re.findall(message, service.log()))

    # The process is still starting when it logs the first update.
    before = max(updates(), 1)
    # On native threads, a reload replaces the processes.
    wait_for(
        lambda: updates() > before or child not in service.children(),
        f"{child} updates its status",
        60,
    )
    time.sleep(0.3)


def chain_in(report: str) -> list[str]:
    """Return the names of the hooks in a report, which numbers them in order."""
    hooks = re.findall(r"^ +(\d+)\. (\w+) = $", report, re.M)
    assert [int(number) for number, _ in hooks] == list(range(1, len(hooks) + 1))
    return [name for _, name in hooks]


def test_reloading_an_unparsable_file_ends_the_service_on_eventlet(
    tmp_path: Path,
) -> None:
    # oslo.service ends, with or without hooks: see doc/source/user/eventlet.rst.
    with share_service(tmp_path, with_audit(tmp_path, "one"), EVENTLET) as service:
        wait_for_lines(tmp_path, "one")
        service.config_file.write_text("[alpha\nhook_drivers", "utf-8")
        service.hang_up()
        assert service.program is not None
        assert service.program.process.wait(60) == 1
        assert UNPARSABLE in service.log()


def test_a_reload_adds_hooks_to_a_backend_without_any(tmp_path: Path) -> None:
    with share_service(tmp_path, {"alpha": ""}) as service:
        service.wait_for_log("Updating share status")
        service.configure(with_audit(tmp_path, "late"))
        service.hang_up()
        wait_for_lines(tmp_path, "late")
        assert "Traceback" not in service.log()

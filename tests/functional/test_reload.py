# SPDX-License-Identifier: Apache-2.0
"""A real ``manila-share`` follows its file, and reports on its hooks."""

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

from .share_service import EVENTLET, NATIVE, ShareService, share_service

#: What is said of a file that cannot be read at all.
UNPARSABLE = "manila.conf:1, Invalid section (must end with ]): '[alpha'"

ON = "enable_pre_hooks = True\nenable_post_hooks = True\nenable_periodic_hooks = True\n"


def with_audit(directory: Path, *names: str, more: str = "") -> dict[str, str]:
    """Return backend sections in which these audit hooks write a file each."""
    drivers = ", ".join(f"{name}=audit" for name in names)
    text = f"{ON}periodic_hooks_ticks = 2\nhook_drivers = {drivers}\n{more}"
    for name in names:
        text += f"\n[alpha:{name}]\naudit_log_path = {directory}/{name}.log\n"
    return {"alpha": text}


def lines(directory: Path, name: str) -> int:
    file = directory / f"{name}.log"
    if not file.exists():
        return 0
    return len([json.loads(line) for line in file.read_text().splitlines()])


def more_lines(directory: Path, name: str) -> None:
    had = lines(directory, name)
    wait_for(lambda: lines(directory, name) > had + 1, f"lines of {name}", 60)


@pytest.fixture(params=[NATIVE, EVENTLET], ids=["native", "eventlet"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShareService]:
    sections = with_audit(tmp_path, "one", "two")
    with share_service(tmp_path, sections, request.param) as service:
        more_lines(tmp_path, "two")
        yield service


def test_sighup(service: ShareService) -> None:
    directory = service.directory

    # Hooks are added, removed and reordered.
    service.configure(with_audit(directory, "three", "two"))
    service.hang_up()
    more_lines(directory, "three")
    had = lines(directory, "one")
    more_lines(directory, "two")
    assert lines(directory, "one") == had

    # A bad edit is refused, in the words of a start, and the old chain goes on.
    bad = with_audit(directory, "four")
    service.configure({"alpha": bad["alpha"].replace("four=audit", "four=adit")})
    service.hang_up()
    for problem in (
        "[alpha] hook_drivers = four=adit: unknown hook (installed: ",
        "; did you mean audit?",
    ):
        service.logged(problem)
    more_lines(directory, "three")
    assert not lines(directory, "four")
    assert "Traceback" not in service.log()

    # A bad value as well; Manila, which logs all of its options, does not read it.
    service.configure(
        with_audit(directory, "four", more="[alpha:four]\nhook_dispatch = off")
    )
    service.hang_up()
    service.logged("keeping the current hooks: [alpha:four] hook_dispatch = off: ")
    more_lines(directory, "three")
    assert not lines(directory, "four")
    assert "Traceback" not in service.log()

    if service.native:
        # What is no configuration at all is refused too. Without these hooks as
        # with them, it ends the launcher of oslo.service on eventlet.
        had = len(service.log())
        service.config_file.write_text("[alpha\nhook_drivers", "utf-8")
        service.hang_up()
        wait_for(lambda: UNPARSABLE in service.log()[had:], UNPARSABLE)
        more_lines(directory, "three")
        more_lines(directory, "three")

    # And a good one is followed again.
    service.configure(with_audit(directory, "five"))
    service.hang_up()
    more_lines(directory, "five")


@pytest.mark.parametrize("threads", [NATIVE, EVENTLET], ids=["native", "eventlet"])
def test_report(tmp_path: Path, threads: dict[str, str]) -> None:
    with share_service(tmp_path, two_backends(tmp_path, "one", "two"), threads) as (
        service
    ):
        more_lines(tmp_path, "two")
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
    assert re.findall(r"^ +on = (.*)$", alpha, re.M) == [
        "pre, post, periodic",
        "pre, post",
    ]
    # Nothing happened to these, which is told as well.
    for name in ("suppressed", "slow", "skipped", "dropped"):
        assert re.findall(rf"^ +{name} = (\d+)$", alpha, re.M) == ["0", "0"]
    assert "class = hooks.audit:AuditHook\n" in alpha
    assert "host = node1@alpha\n" in alpha
    assert "host = node1@beta\n" in beta
    assert re.findall(r"^ +(?:slow|skipped|dropped) = (\d+)$", beta, re.M) == ["0"] * 3


def two_backends(directory: Path, *names: str, more: str = "") -> dict[str, str]:
    """Return alpha with audit hooks, and beta with a hook that always fails."""
    hook = "tests.support.entries.recording:Recorder"
    text = f"{ON}hook_drivers = fails={hook}\nfailing = True\n"
    for action in ("pre", "post", "periodic"):
        text += f"suppress_{action}_hooks_errors = True\n"
    return {**with_audit(directory, *names, more=more), "beta": text}


def report_when(service: ShareService, backend: str, pattern: str) -> str:
    """Have reports written, with SIGUSR2, until that of a backend has something.

    :return: what it tells of that backend
    """

    def asked() -> str:
        for child in service.children():
            wait_until_at_rest(service, child)
            os.kill(child, signal.SIGUSR2)
            # A file has the second in its name, and two would write to one.
            time.sleep(1.1)
        files = sorted(service.directory.glob("*gurumeditation*"))
        text = "".join(file.read_text() for file in files)
        found = re.findall(rf"^{backend} = \n((?: .*\n)+)", text, re.M)
        return found[-1] if found and re.search(pattern, found[-1]) else ""

    return str(wait_for(asked, f"{pattern} in the report of {backend}", 60))


def wait_until_at_rest(service: ShareService, child: int) -> None:
    """Wait until a process has just done its work of a second.

    On eventlet, a signal that comes between two lines of Python has oslo.reports
    raise a TypeError in what runs at that time, a start for one. See the page on
    eventlet.
    """

    def updates() -> int:
        said = rf" {child} INFO manila.share.manager .*Updating share status"
        return len(re.findall(said, service.log()))

    # The first is in the middle of the start.
    had = max(updates(), 1)
    wait_for(lambda: updates() > had, f"{child} updates its status", 5)
    time.sleep(0.3)


def chain_in(report: str) -> list[str]:
    """Return the names of the hooks of a report, in the order of their numbers."""
    hooks = re.findall(r"^ +(\d+)\. (\w+) = $", report, re.M)
    assert [int(turn) for turn, _ in hooks] == list(range(1, len(hooks) + 1))
    return [name for _, name in hooks]


def test_an_unparsable_file_ends_it_on_eventlet(tmp_path: Path) -> None:
    # That is oslo.service's: with hooks as without them. See the page on eventlet.
    with share_service(tmp_path, with_audit(tmp_path, "one"), EVENTLET) as service:
        more_lines(tmp_path, "one")
        service.config_file.write_text("[alpha\nhook_drivers", "utf-8")
        service.hang_up()
        assert service.program is not None
        assert service.program.process.wait(60) == 1
        assert UNPARSABLE in service.log()


def test_hooks_for_a_backend_that_had_none(tmp_path: Path) -> None:
    with share_service(tmp_path, {"alpha": ""}) as service:
        service.logged("Updating share status")
        service.configure(with_audit(tmp_path, "late"))
        service.hang_up()
        more_lines(tmp_path, "late")
        assert "Traceback" not in service.log()

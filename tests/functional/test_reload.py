# SPDX-License-Identifier: Apache-2.0
"""A real ``manila-share`` follows its file, and reports on its hooks."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .parts import wait_for
from .share_service import EVENTLET, NATIVE, ShareService, share_service

ON = "enable_pre_hooks = True\nenable_post_hooks = True\nenable_periodic_hooks = True\n"


def with_audit(folder: Path, *names: str, more: str = "") -> dict[str, str]:
    """Return backend sections in which these audit hooks write a file each."""
    drivers = ", ".join(f"{name}=audit" for name in names)
    text = f"{ON}periodic_hooks_ticks = 2\nhook_drivers = {drivers}\n{more}"
    for name in names:
        text += f"\n[alpha:{name}]\naudit_log_path = {folder}/{name}.log\n"
    return {"alpha": text}


def lines(folder: Path, name: str) -> int:
    file = folder / f"{name}.log"
    if not file.exists():
        return 0
    return len([json.loads(line) for line in file.read_text().splitlines()])


def more_lines(folder: Path, name: str) -> None:
    had = lines(folder, name)
    wait_for(lambda: lines(folder, name) > had + 1, f"lines of {name}", 60)


@pytest.fixture(params=[NATIVE, EVENTLET], ids=["native", "eventlet"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShareService]:
    sections = with_audit(tmp_path, "one", "two")
    with share_service(tmp_path, sections, request.param) as service:
        more_lines(tmp_path, "two")
        yield service


def test_sighup_and_report(service: ShareService) -> None:
    folder = service.folder

    # Hooks are added, removed and reordered.
    service.configure(with_audit(folder, "three", "two"))
    service.hang_up()
    more_lines(folder, "three")
    had = lines(folder, "one")
    more_lines(folder, "two")
    assert lines(folder, "one") == had

    # A bad edit is refused, in the words of a start, and the old chain goes on.
    bad = with_audit(folder, "four")
    service.configure({"alpha": bad["alpha"].replace("four=audit", "four=adit")})
    service.hang_up()
    for problem in (
        "[alpha] hook_drivers = four=adit: there is no installed hook of that name",
        "did you mean 'audit'?",
    ):
        service.logged(problem)
    more_lines(folder, "three")
    assert not lines(folder, "four")
    assert "Traceback" not in service.log()

    # A bad value as well, though the launcher itself stumbles over that.
    service.configure(
        with_audit(folder, "four", more="[alpha:four]\nhook_dispatch = off")
    )
    service.hang_up()
    service.logged("The hooks go on as they were: [alpha:four] hook_dispatch = off: ")
    more_lines(folder, "three")
    assert not lines(folder, "four")

    if service.native:
        # What is no configuration at all is refused too. Without these hooks as
        # with them, it ends the launcher of oslo.service on eventlet.
        service.config_file.write_text("[alpha\nhook_drivers", "utf-8")
        service.hang_up()
        more_lines(folder, "three")
        more_lines(folder, "three")

    # And a good one is followed again.
    service.configure(with_audit(folder, "five"))
    service.hang_up()
    more_lines(folder, "five")

    # SIGUSR2 has a report written.
    (child,) = service.children()
    os.kill(child, signal.SIGUSR2)
    report = wait_for(lambda: report_in(service), "the report")
    for text in (
        "alpha = ",
        "1. five = ",
        "hooks.audit:AuditHook",
        "pre, post, periodic",
    ):
        assert text in report, report


def report_in(service: ShareService) -> str:
    """Return the section on hooks of the report, once it is there as a whole."""
    text = "".join(f.read_text() for f in service.folder.glob("*gurumeditation*"))
    section = text.partition("Share driver hooks")[2]
    return section if "ticks = " in section else ""


def test_hooks_for_a_backend_that_had_none(tmp_path: Path) -> None:
    with share_service(tmp_path, {"alpha": ""}) as service:
        service.logged("Updating share status")
        service.configure(with_audit(tmp_path, "late"))
        service.hang_up()
        more_lines(tmp_path, "late")
        assert "Traceback" not in service.log()

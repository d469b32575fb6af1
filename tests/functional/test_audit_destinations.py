# SPDX-License-Identifier: Apache-2.0
"""The audit hook with a real syslog daemon and the real logrotate.

No test has a real journal, since systemd does not run in a container: the unit tests
read the native protocol from a socket in its place.
"""

from __future__ import annotations

import contextlib
import grp
import gzip
import json
import os
import pwd
import re
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aspects.testing import FakeDriver
from tests.support.config import woven_by
from tests.support.pages import ROOT
from tests.support.programs import Program, free_port, need
from tests.support.schema import validated_line
from tests.support.wait import wait_for

OPTIONS = (
    "[alpha]\nhook_drivers = audit\nenable_pre_hooks = True\nenable_post_hooks = True\n"
)

RSYSLOG = """
global(workDirectory="{directory}" maxMessageSize="128k")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
template(name="parsed" type="string"
    string="%pri-text%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%\\n")
ruleset(name="write") {{
    action(type="omfile" file="{directory}/received" template="parsed")
}}
input(type="imuxsock" socket="{directory}/log" useSpecialParser="off" ruleset="write")
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="write")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="write")
"""


class Rsyslog:
    """A running syslog daemon, which writes the parts of each message to a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._program = need("rsyslogd", "rsyslog")
        self._config = directory / "rsyslog.conf"
        self.udp, self.tcp = free_port(), free_port()
        self._config.write_text(
            RSYSLOG.format(directory=directory, udp=self.udp, tcp=self.tcp)
        )
        self.received = directory / "received"
        self.start()

    def start(self) -> None:
        command = [self._program, "-n", "-f", str(self._config), "-i", "NONE"]
        self._running = Program(command, self.directory / "rsyslog.log")
        wait_for(self._listens, "rsyslog listens", timeout=60)

    def _listens(self) -> bool:
        socket.create_connection(("127.0.0.1", self.tcp), 1).close()
        return stat.S_ISSOCK((self.directory / "log").stat().st_mode)

    def kill(self) -> None:
        self._running.kill()

    def stop(self) -> None:
        self._running.stop(60)

    def addresses(self) -> dict[str, str]:
        return {
            "unix": f"{self.directory}/log",
            "udp": f"udp://127.0.0.1:{self.udp}",
            "tcp": f"tcp://127.0.0.1:{self.tcp}",
        }

    def messages(self) -> list[list[str]]:
        """Return the parts of each message."""
        text = self.received.read_text() if self.received.exists() else ""
        return [line.split("|", 5) for line in text.splitlines()]


@pytest.fixture
def rsyslog() -> Iterator[Rsyslog]:
    # The path of a socket has at most 107 characters.
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = Rsyslog(directory)
        stack.callback(running.kill)
        yield running


@pytest.mark.parametrize("transport", ["unix", "udp", "tcp"])
def test_a_syslog_daemon_gets_each_line(
    tmp_path: Path, rsyslog: Rsyslog, transport: str
) -> None:
    address = rsyslog.addresses()[transport]
    text = f"{OPTIONS}audit_destination = syslog\naudit_syslog_address = {address}\n"
    driver = FakeDriver(delete_share=OSError("first\nsecond | third"))
    with woven_by(text, tmp_path, driver) as woven:
        for number in range(20):
            woven.create_share(None, {"id": f"i{number}", "share_id": f"s{number}"})
        with pytest.raises(OSError, match="second"):
            woven.delete_share(None, {"id": "i0", "share_id": "s0"})
    wait_for(lambda: len(rsyslog.messages()) == 21, "all lines arrive", timeout=60)
    messages = rsyslog.messages()
    lines = [validated_line(message[5].removeprefix(" ")) for message in messages]
    assert [line["share_id"] for line in lines[:20]] == [f"s{n}" for n in range(20)]
    assert lines[20]["error"] == "first\nsecond | third"
    severities = ["info"] * 20 + ["warning"]
    for message, severity in zip(messages, severities, strict=True):
        facility, _, level = message[0].partition(".")
        assert level == severity
        assert facility in ("audit", "13")
        assert message[1:5] == ["manila-aspects", str(os.getpid()), "audit", "-"]


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_lines_arrive_again_after_a_restart_of_the_daemon(
    tmp_path: Path, rsyslog: Rsyslog, transport: str
) -> None:
    address = rsyslog.addresses()[transport]
    text = f"{OPTIONS}audit_destination = syslog\naudit_syslog_address = {address}\n"
    with woven_by(text, tmp_path, FakeDriver()) as woven:
        woven.create_share(None, {"id": "i1", "share_id": "before"})
        wait_for(lambda: len(rsyslog.messages()) == 1, "the first line", timeout=60)
        rsyslog.stop()
        with pytest.raises(OSError, match=f"^{re.escape(address)}: "):
            woven.create_share(None, {"id": "i1", "share_id": "down"})
        rsyslog.start()
        woven.create_share(None, {"id": "i1", "share_id": "after"})
        wait_for(lambda: len(rsyslog.messages()) == 2, "the next line", timeout=60)
    shares = [json.loads(message[5])["share_id"] for message in rsyslog.messages()]
    assert shares == ["before", "after"]


def test_the_sample_for_logrotate_rotates_without_losing_a_line(tmp_path: Path) -> None:
    logrotate = need("logrotate", "logrotate")
    log = tmp_path / "audit.log"
    config = (ROOT / "etc/logrotate.d/manila-aspects").read_text()
    user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())
    replacements = {
        "/var/log/manila/audit.log": str(log),
        "manila manila": f"{user.pw_name} {group.gr_name}",
    }
    for old, new in replacements.items():
        assert config.count(old) == 1
        config = config.replace(old, new)
    sample, state = tmp_path / "sample", tmp_path / "state"
    sample.write_text(config)
    sample.chmod(0o644)
    written: list[list[str]] = [[], []]
    ended = threading.Event()

    def create_shares(woven: Any, number: int) -> None:
        while not ended.is_set():
            share = f"{number}-{len(written[number])}"
            woven.create_share(None, {"id": share, "share_id": share})
            written[number].append(share)

    def new_lines(counts: list[int]) -> bool:
        return all(len(shares) > count + 1 for shares, count in zip(written, counts))

    text = f"{OPTIONS}audit_log_path = {log}\n"
    with woven_by(text, tmp_path, FakeDriver()) as woven:
        threads = [
            threading.Thread(target=create_shares, args=(woven, number), daemon=True)
            for number in range(2)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(4):
                # The lines of both threads are in the new file, not on their way.
                counts = [len(shares) for shares in written]
                wait_for(lambda counts=counts: new_lines(counts), "new lines", 60)
                ran = subprocess.run(
                    [logrotate, "--force", "--state", str(state), str(sample)],
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert (ran.returncode, ran.stderr) == (0, "")
            wait_for(log.exists, "a line in the last file", 60)
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)
    files = sorted(tmp_path.glob("audit.log*"))
    rotated = ["audit.log", "audit.log.1", *(f"audit.log.{n}.gz" for n in (2, 3, 4))]
    assert [file.name for file in files] == [*rotated, "audit.log.lock"]
    lines = []
    for file in files[:-1]:
        assert stat.S_IMODE(file.stat().st_mode) & ~0o640 == 0
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
        lines += [validated_line(line)["share_id"] for line in text.splitlines()]
    assert sorted(lines) == sorted(written[0] + written[1])

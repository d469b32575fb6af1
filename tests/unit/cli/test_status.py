# SPDX-License-Identifier: Apache-2.0
"""Test ``manila-aspects status``, which shows the hooks of running services."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import aspects
from aspects import cli

pytest.importorskip("prometheus_client")
from aspects.cli import status as status_command
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.programs import free_port
from tests.support.receiver import SilentServer

# A test that hangs on a server fails early.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(aspects.__file__).parents[1]

HOOKS = "tests.support.entries.recording"

CONFIG = """
[DEFAULT]
enabled_share_backends = alpha, beta
enable_post_hooks = True
[alpha]
hook_drivers = metrics, first={hooks}:Recorder
metrics_port = {alpha}
[alpha:first]
hook_dispatch = background
[beta]
hook_drivers = numbers=hooks.metrics:MetricsHook, second={hooks}:Recorder
[beta:numbers]
metrics_port = {beta}
"""


class Result(NamedTuple):
    status: int
    out: str
    err: str


class Deployment:
    """A configuration file, and the backends of it that run in this process."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.ports = {"alpha": free_port(), "beta": free_port()}
        self.path = directory / "manila.conf"
        self.stack = contextlib.ExitStack()
        self.drivers: dict[str, Any] = {}
        self._capsys = capsys
        self.write(CONFIG)

    def write(self, text: str) -> None:
        self.file = ConfigFile(self.path, text.format(hooks=HOOKS, **self.ports))

    def start(self, *backends: str) -> None:
        for backend in backends:
            section = aspects.BackendSection(self.file.conf, backend)
            woven = aspects.weave_from_config(BusyDriver(), section, f"node1@{backend}")
            aspects.weaving(woven).start()
            self.stack.callback(aspects.weaving(woven).stop)
            self.drivers[backend] = woven

    def run(self, *arguments: str) -> Result:
        command = ["status", "--config-file", str(self.path), *arguments]
        found = cli.main(command)
        return Result(found, *self._capsys.readouterr())


@pytest.fixture
def deployment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, capsys)
    with deployment.stack:
        yield deployment


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], None]]:
    """Return a function that makes a server answer each request on a port."""
    with contextlib.ExitStack() as stack:

        def answer(port: int, body: bytes) -> None:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *args: Any) -> None:
                    """Do not log requests."""

            server = stack.enter_context(HTTPServer(("127.0.0.1", port), Handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)

        yield answer


def cells(out: str, hook: str) -> str:
    """Return the cells of the row of a hook, without its number and name."""
    (row,) = [line.split() for line in out.splitlines() if f" {hook} " in line]
    return " ".join(row[2:])


def test_all_backends_are_shown(deployment: Deployment) -> None:
    deployment.start("alpha", "beta")
    aspects.tick(deployment.drivers["beta"], None, [])
    result = deployment.run()
    assert (result.status, result.err) == (0, "")
    process = f"process {os.getpid()}"
    assert f"backend alpha\n  host node1@alpha, {process}, 0 ticks, no" in result.out
    assert f"backend beta\n  host node1@beta, {process}, 1 tick, no" in result.out
    # Enabled, dispatch, breaker, waiting, oldest, dead, dropped, suppressed, skipped.
    assert cells(result.out, "first") == "post background - 0 - - 0 0 0"
    assert cells(result.out, "second") == "post inline - - - - - 0 0"


def test_json_has_the_answers_of_the_servers(deployment: Deployment) -> None:
    deployment.start("alpha")
    result = deployment.run("--format", "json")
    assert (result.status, result.err) == (1, "")
    alpha, beta = json.loads(result.out)["backends"]
    (hook, _) = aspects.weaving(deployment.drivers["alpha"]).hooks
    found = hook.endpoint.status()
    assert alpha == {
        "backend": "alpha",
        "url": f"http://127.0.0.1:{deployment.ports['alpha']}/status",
        "pid": found["pid"],
        **found["backends"][0],
    }
    assert set(beta) == {"backend", "url", "problem"}
    assert "Connection refused" in beta["problem"]


def test_server_that_is_down_is_one_line_and_others_are_shown(
    deployment: Deployment,
) -> None:
    deployment.start("alpha")
    result = deployment.run()
    assert result.status == 1
    assert "backend alpha" in result.out
    assert "backend beta" not in result.out
    port = deployment.ports["beta"]
    assert result.err == (
        f"manila-aspects: backend beta: http://127.0.0.1:{port}/status does not "
        "answer: Connection refused; check whether the service runs\n"
    )


def test_server_that_hangs_is_one_line(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_command, "TIMEOUT", 0.1)
    silent = SilentServer()
    deployment.ports["beta"] = silent.port
    deployment.write(CONFIG.replace("alpha, beta", "beta"))
    result = deployment.run()
    silent.close()
    assert (result.status, result.out) == (1, "")
    assert re.fullmatch(
        r"manila-aspects: backend beta: .*: timed out; .*\n", result.err
    )


@pytest.mark.parametrize(
    "body",
    [
        b"# HELP python_info\n",
        b"\xff",
        b"[]",
        b'{"backends": null, "pid": 1}',
        b'{"backends": [{"backend": "beta"}], "pid": 1}',
        b'{"backends": [{"backend": ["beta"]}], "pid": 1}',
    ],
)
def test_other_server_on_the_port_is_one_line(
    deployment: Deployment, answering: Callable[[int, bytes], None], body: bytes
) -> None:
    answering(deployment.ports["beta"], body)
    deployment.start("alpha")
    result = deployment.run()
    assert result.status == 1
    assert "backend alpha" in result.out
    assert result.err.count("\n") == 1
    assert "does not answer with a status; check what uses the port" in result.err


def test_server_of_another_backend_is_a_problem(deployment: Deployment) -> None:
    deployment.ports["beta"] = deployment.ports["alpha"]
    deployment.write(CONFIG)
    deployment.start("alpha")
    result = deployment.run()
    assert result.status == 1
    assert "backend beta: " in result.err
    assert "serves other backends (alpha)" in result.err
    # With one port, one process may serve both.
    deployment.start("beta")
    assert deployment.run().status == 0


def test_answer_cannot_control_the_terminal(
    deployment: Deployment, answering: Callable[[int, bytes], None]
) -> None:
    deployment.start("alpha")
    alpha = deployment.run("--format", "json")
    (backend, _) = json.loads(alpha.out)["backends"]
    backend["backend"] = "beta"
    backend["chain"][0]["hook"] = "\x1b[2Jno"
    backend["last_reload"] = {"time": "\x1b]0;no", "problems": ["\x9b2J"]}
    answer = {"pid": 1, "backends": [backend, {**backend, "backend": "\x1b[31m"}]}
    answering(deployment.ports["beta"], json.dumps(answer).encode())
    result = deployment.run()
    assert result.status == 0
    assert "?[2Jno" in result.out
    assert "\x1b" not in result.out
    assert "\x9b" not in result.out


def test_rejected_reload_is_shown(deployment: Deployment) -> None:
    deployment.start("alpha", "beta")
    text = deployment.path.read_text("utf-8")
    deployment.file.mutate(text.replace("= background", "= backgrond"))
    result = deployment.run()
    assert result.status == 0
    assert "host node1@alpha" in result.out
    assert re.search(r"node1@alpha.*reload rejected at 20", result.out)
    assert re.search(r"node1@beta.*reload accepted at 20", result.out)
    assert "[alpha:first] hook_dispatch = backgrond" in result.out


def test_a_proxy_is_not_used(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    deployment.start("alpha", "beta")
    assert deployment.run().status == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[DEFAULT]\nenabled_share_backends = a\n[a]\n",
            "no enabled backend has hooks",
        ),
        (
            "[DEFAULT]\nhook_drivers = {hooks}:Recorder\n",
            "backend DEFAULT: hook_drivers has no metrics hook; add metrics to it",
        ),
        (
            "[DEFAULT]\nhook_drivers = metrics\nmetrics_port = 0\n",
            "backend DEFAULT: metrics_port = 0 selects any port; set a port",
        ),
        (
            "[DEFAULT]\nhook_drivers = metrics\nmetrics_port = many\n",
            "backend DEFAULT: [DEFAULT] metrics_port = many: ",
        ),
        (
            "[DEFAULT]\nhook_drivers = sise\n",
            "backend DEFAULT: hook_drivers = sise: unknown hook",
        ),
        ("hook_drivers = metrics\n", "Section must be started before assignment"),
    ],
)
def test_configuration_without_a_server_is_one_line(
    deployment: Deployment, text: str, expected: str
) -> None:
    deployment.path.write_text(text.format(hooks=HOOKS))
    result = deployment.run()
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("manila-aspects: ")
    assert result.err.count("\n") == 1
    assert expected in result.err


def test_missing_file_is_one_line(deployment: Deployment) -> None:
    deployment.path.unlink()
    result = deployment.run()
    assert (result.status, result.out) == (1, "")
    assert "No such file or directory" in result.err


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8788/status"),
        ("0.0.0.0", "http://127.0.0.1:8788/status"),
        ("::", "http://[::1]:8788/status"),
        ("fe80::1", "http://[fe80::1]:8788/status"),
        ("node1.example.com", "http://node1.example.com:8788/status"),
    ],
)
def test_url_is_that_of_the_address_to_connect_to(
    tmp_path: Path, host: str, url: str
) -> None:
    file = tmp_path / "manila.conf"
    file.write_text(
        "[DEFAULT]\nenabled_share_backends = alpha\n"
        f"[share_api]\nhook_drivers = metrics\nmetrics_host = {host}\n"
    )
    (place,) = status_command.places_of([("--config-file", file)])
    assert (place.backend, place.url) == ("share_api", url)


def test_neither_manila_nor_the_driver_is_imported(deployment: Deployment) -> None:
    text = CONFIG.replace("[beta]\n", "[beta]\nshare_driver = manila.driver.Driver\n")
    deployment.write(text)
    script = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] != "manila", name

sys.meta_path.insert(0, Finder())
from aspects import cli
sys.exit(cli.main(sys.argv[1:]))
"""
    command = ["status", "--config-file", str(deployment.path), "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert len(json.loads(done.stdout)["backends"]) == 2


# -- watching ------------------------------------------------------------------


def test_watching_requires_a_terminal(deployment: Deployment) -> None:
    result = deployment.run("--watch")
    assert (result.status, result.out) == (1, "")
    assert "--watch needs a terminal and rich" in result.err


def test_watching_excludes_json(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        deployment.run("--watch", "--format", "json")
    assert exited.value.code == 2


def test_watching_shows_changes_until_it_is_interrupted(
    deployment: Deployment,
) -> None:
    deployment.start("alpha")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "aspects.cli", "status", "--watch"]
        + ["--config-file", str(deployment.path)],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(slave)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(master, 65536)

    try:
        until(b"0 ticks")
        until(b"backend beta: ")
        aspects.tick(deployment.drivers["alpha"], None, [])
        until(b"1 tick,")
        process.send_signal(signal.SIGINT)
        # The terminal leaves its alternate screen.
        until(b"\x1b[?1049l")
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
        os.close(master)

# SPDX-License-Identifier: Apache-2.0
"""Test ``manila-aspects new-hook`` like a hook author, up to a real Manila."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

import aspects
from tests.support.programs import Program
from tests.support.wait import wait_for

COMMAND = [sys.executable, "-m", "aspects.cli"]

ROOT = str(Path(aspects.__file__).parents[1])

#: The time in seconds that Manila may take to start on a busy machine.
PATIENCE = 120


def run(
    *command: str | Path, cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command, which must not print a traceback."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return environment variables that make pip install to a separate directory."""
    site = tmp_path_factory.mktemp("site")
    path = os.pathsep.join([str(site), ROOT, os.environ.get("PYTHONPATH", "")])
    temporary = tmp_path_factory.mktemp("tmp")
    return {
        **os.environ,
        "PYTHONPATH": path.rstrip(os.pathsep),
        "PIP_TARGET": str(site),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]
) -> tuple[Path, str]:
    """Return the directory of a new hook, and the output of the command."""
    where = tmp_path_factory.mktemp("src")
    done = run(*COMMAND, "new-hook", "quota-guard", cwd=where, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return where / "quota-guard", done.stdout


@pytest.fixture(scope="module")
def directory(written: tuple[Path, str], env: dict[str, str]) -> Path:
    """Return the directory of the new hook once the hook is installed."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = run(*pip, written[0], cwd=written[0].parent, env=env)
    assert done.returncode == 0, done.stderr
    return written[0]


def test_the_test_of_a_new_hook_passes(directory: Path, env: dict[str, str]) -> None:
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = run(*pytest_, cwd=directory, env=env)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^=+ 2 passed in ", done.stdout, re.M)


def test_the_test_of_a_new_hook_fails_if_the_hook_does_not_log(
    written: tuple[Path, str], env: dict[str, str], tmp_path: Path
) -> None:
    for file in ("quota_guard.py", "test_quota_guard.py"):
        text = (written[0] / file).read_text("utf-8")
        (tmp_path / file).write_text(text.replace("LOG.info(", "LOG.debug("))
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    assert run(*pytest_, cwd=tmp_path, env=env).returncode == 1


def test_an_installed_new_hook_is_listed(directory: Path, env: dict[str, str]) -> None:
    done = run(*COMMAND, "show", "hooks", cwd=directory.parent, env=env)
    assert (
        "quota-guard (quota_guard:QuotaGuardHook)\n"
        "  Log slow calls of the share driver.\n"
    ) in done.stdout
    assert re.search(r"^  quota_guard_seconds +Float\(min=0\)", done.stdout, re.M)


def test_the_name_of_an_installed_hook_is_rejected(
    directory: Path, env: dict[str, str]
) -> None:
    (directory.parent / "again").mkdir()
    again = [*COMMAND, "new-hook", "quota-guard", "--directory", "again"]
    done = run(*again, cwd=directory.parent, env=env)
    assert done.returncode == 1
    assert done.stderr == (
        "manila-aspects: hook name 'quota-guard' is taken by an installed hook, "
        "quota_guard:QuotaGuardHook\n"
    )
    assert list((directory.parent / "again").iterdir()) == []


def test_the_sample_configuration_of_a_new_hook_is_valid(
    directory: Path, env: dict[str, str]
) -> None:
    check = [*COMMAND, "check", "--config-file", directory / "manila.conf.sample"]
    done = run(*check, cwd=directory.parent, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = re.findall(r"^  1 .*$", done.stdout, re.M)
    assert row.split() == [
        *("1", "quota-guard", "quota_guard:QuotaGuardHook"),
        *("pre,", "post", "pre,", "post", "inline", "*"),
    ]


@pytest.fixture
def demo(
    written: tuple[Path, str], env: dict[str, str], tmp_path: Path
) -> Iterator[Program]:
    """Run the last command that new-hook prints, with the hook not installed."""
    last = written[1].splitlines()[-1].split()
    assert last[0] == "manila-aspects"
    log = tmp_path / "demo.out"
    without = {**env, "PYTHONPATH": env["PYTHONPATH"].partition(os.pathsep)[2]}
    program = Program(["env", "-C", str(written[0]), *COMMAND, *last[1:]], log, without)
    yield program
    program.kill()


def test_a_new_hook_logs_a_call_in_a_real_manila(demo: Program) -> None:
    def printed(pattern: str) -> str:
        """Return the match of a pattern in the output of the demo, once it is there."""

        def found() -> str | None:
            match = re.search(pattern, demo.log.read_text("utf-8"), re.M)
            return match and match[1]

        text = demo.log.read_text("utf-8")
        return str(wait_for(found, f"{pattern} in: {text}", PATIENCE))

    endpoint = printed("^endpoint: (.*)$")
    log = printed("^log: (.*)$")
    assert printed("(Press Ctrl-C to stop)")
    api = requests.Session()
    api.headers["X-Auth-Token"] = "admin:demo"
    api.headers["X-OpenStack-Manila-API-Version"] = "2.82"
    share_type = {
        "name": "demo",
        "share_type_access:is_public": True,
        "extra_specs": {
            "driver_handles_share_servers": "False",
            "share_backend_name": "alpha",
        },
    }
    share = {"share_proto": "NFS", "size": 1, "share_type": "demo"}
    for path, body in (
        ("types", {"share_type": share_type}),
        ("shares", {"share": share}),
    ):
        response = api.post(f"{endpoint}/{path}", json=body, timeout=PATIENCE)
        assert response.ok, response.text
    assert printed(r"^   alpha create_share_instance .* result (\d) x ") == "3"
    line = re.compile(
        r" INFO quota_guard .*create_share_instance took \d+\.\d{3} s$", re.M
    )
    wait_for(
        lambda: line.search(Path(log).read_text("utf-8")), "the hook's line in the log"
    )
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(PATIENCE) == 0
    assert "Traceback" not in demo.log.read_text("utf-8")

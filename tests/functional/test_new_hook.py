# SPDX-License-Identifier: Apache-2.0
"""``manila-aspects new-hook``, as an author uses it: from the name to a real Manila."""

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

#: Seconds that a Manila may take to come up, on a busy machine.
PATIENCE = 120


def run(
    *command: str | Path, cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
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
    """The environment of an author: what he installs is in a directory of its own."""
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
    """The directory of a new hook, and what the command said."""
    where = tmp_path_factory.mktemp("src")
    done = run(*COMMAND, "new-hook", "quota-guard", cwd=where, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return where / "quota-guard", done.stdout


@pytest.fixture(scope="module")
def directory(written: tuple[Path, str], env: dict[str, str]) -> Path:
    """The same, once it is installed."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = run(*pip, written[0], cwd=written[0].parent, env=env)
    assert done.returncode == 0, done.stderr
    return written[0]


def test_its_test_passes(directory: Path, env: dict[str, str]) -> None:
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = run(*pytest_, cwd=directory, env=env)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^=+ 2 passed in ", done.stdout, re.M)


def test_its_test_fails_when_the_hook_does_nothing(
    written: tuple[Path, str], env: dict[str, str], tmp_path: Path
) -> None:
    for file in ("quota_guard.py", "test_quota_guard.py"):
        text = (written[0] / file).read_text("utf-8")
        (tmp_path / file).write_text(text.replace("LOG.info(", "LOG.debug("))
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    assert run(*pytest_, cwd=tmp_path, env=env).returncode == 1


def test_it_is_an_installed_hook(directory: Path, env: dict[str, str]) -> None:
    done = run(*COMMAND, "show", "hooks", cwd=directory.parent, env=env)
    assert (
        "quota-guard (quota_guard:QuotaGuardHook)\n"
        "  Log each call of the driver that took long.\n"
    ) in done.stdout
    assert re.search(r"^  quota_guard_seconds +Float\(min=0\)", done.stdout, re.M)


def test_its_name_is_taken_then(directory: Path, env: dict[str, str]) -> None:
    again = [*COMMAND, "new-hook", "quota-guard", "--directory", "again"]
    done = run(*again, cwd=directory.parent, env=env)
    assert done.returncode == 1
    assert done.stderr == (
        "manila-aspects: there is an installed hook of that name: quota-guard "
        "(quota_guard:QuotaGuardHook)\n"
    )
    assert not (directory.parent / "again").exists()


def test_its_sample_is_right(directory: Path, env: dict[str, str]) -> None:
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
    """The last line that the command says, before the hook is installed."""
    last = written[1].splitlines()[-1].split()
    assert last[0] == "manila-aspects"
    log = tmp_path / "demo.out"
    without = {**env, "PYTHONPATH": env["PYTHONPATH"].partition(os.pathsep)[2]}
    program = Program(["env", "-C", str(written[0]), *COMMAND, *last[1:]], log, without)
    yield program
    program.kill()


def test_it_acts_in_a_real_manila(demo: Program) -> None:
    def said(pattern: str) -> str:
        def found() -> str | None:
            match = re.search(pattern, demo.log.read_text("utf-8"), re.M)
            return match and match[1]

        text = demo.log.read_text("utf-8")
        return str(wait_for(found, f"{pattern} in: {text}", PATIENCE))

    endpoint = said("^endpoint: (.*)$")
    log = said("^log: (.*)$")
    assert said("(Ctrl-C stops it)")
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
        answer = api.post(f"{endpoint}/{path}", json=body, timeout=PATIENCE)
        assert answer.ok, answer.text
    actions = said(r"alpha create_share_instance .*\n( +pre .*) ms$")
    assert re.fullmatch(
        r" +pre quota-guard \S+ \| driver \S+ \| post quota-guard \S+", actions
    )
    line = re.compile(
        r" INFO quota_guard .*create_share_instance took \d+\.\d{3} s$", re.M
    )
    wait_for(
        lambda: line.search(Path(log).read_text("utf-8")), "the hook's line in the log"
    )
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(PATIENCE) == 0
    assert "Traceback" not in demo.log.read_text("utf-8")

# SPDX-License-Identifier: Apache-2.0
"""Real programs for the tests, to find, start and stop."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest


def need(program: str, package: str) -> str:
    """Find a program that a test needs.

    Without it the test is skipped, but not under CI, which has to install it.

    :param program: its name in the path, or its own path
    :param package: Debian's package
    :returns: its path
    """
    found = shutil.which(program)
    return found or _not_there(f"no {program}: apt-get install {package}")


def installed(program: str) -> str:
    """Return the path of a program that is installed beside this Python.

    :param program: its name
    """
    return str(Path(sys.executable).with_name(program))


def need_module(name: str, package: str) -> Any:
    """Import a module that a test needs; without it as :func:`need`.

    :param name: the module's
    :param package: what pip installs
    :returns: the module
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        _not_there(f"no {name}: pip install '{package}'")


def _not_there(text: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A program of its own process group, killed as a whole at the end.

    :param command: the command line
    :param log: the file that its output goes to
    :param env: the whole environment; that of the tests by default
    """

    def __init__(
        self, command: list[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=None if env is None else dict(env),
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill it, with SIGKILL, and all that it started in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout: float = 10.0) -> int:
        """Ask it to stop, with SIGTERM; kill it when it takes too long.

        :param timeout: seconds
        :returns: its exit status
        """
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.kill()
        return self.process.wait()

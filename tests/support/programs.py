# SPDX-License-Identifier: Apache-2.0
"""Find, start and stop real programs."""

from __future__ import annotations

import abc
import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.support.wait import wait_for

if TYPE_CHECKING:
    from typing_extensions import Self


def need(program: str, package: str) -> str:
    """Find a program that a test needs.

    If it is not installed, the test is skipped, but fails under CI.

    :param program: its name or path
    :param package: the Debian package that contains it
    :returns: its path
    """
    found = shutil.which(program)
    return found or not_there(f"no {program}: apt-get install {package}")


@contextlib.contextmanager
def frozen(process: int) -> Iterator[None]:
    """Freeze a process: it keeps its connections and does not respond.

    :param process: its ID
    """
    os.kill(process, signal.SIGSTOP)
    try:
        # The signal does not stop all threads at once.
        wait_for(lambda: _states(process) == {"T"}, "the process is frozen")
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def _states(process: int) -> set[str]:
    """Return the states of the threads of a process, as in proc(5)."""
    files = Path(f"/proc/{process}/task").glob("*/stat")
    return {file.read_text().rpartition(")")[2].split()[0] for file in files}


def installed(program: str) -> str:
    """Return the path of a program that is installed beside this Python.

    :param program: its name
    """
    return str(Path(sys.executable).with_name(program))


def need_module(name: str, package: str) -> Any:
    """Import a module that a test needs, or skip or fail like :func:`need`.

    :param name: the module's name
    :param package: the requirement to install with pip
    :returns: the module
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        not_there(f"no {name}: pip install '{package}'")


def not_there(text: str) -> NoReturn:
    """Skip a test that lacks something, but fail it under CI.

    :param text: what is missing, and the command that installs it
    """
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def handles_sighup(pid: int) -> bool:
    """Return whether SIGHUP has a handler in a process, so that it does not end it.

    :param pid: the process ID
    """
    status = Path(f"/proc/{pid}/status").read_text()
    caught = status.partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) & 1 << (signal.SIGHUP - 1))


def children_of(pid: int) -> list[int]:
    """Return the IDs of the child processes of a process.

    :param pid: the process ID
    """
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


_reserved: list[socket.socket] = []


def free_port() -> int:
    """Return a port of the loopback address, reserved until this process ends.

    A server that sets SO_REUSEADDR can listen on it. Until one does, connections are
    refused.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)
    port: int = reserved.getsockname()[1]
    return port


class Server(abc.ABC):
    """A server that runs within a ``with`` statement."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start the server and wait until it is ready."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop the server, also after a start that failed."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class Program:
    """A program in its own process group, which is killed at the end.

    :param command: the command line
    :param log: the file for its output
    :param env: the whole environment; the environment of the tests by default
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
        """Kill the whole process group with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout: float = 10.0) -> int:
        """Stop the program with SIGTERM, and kill it after the timeout.

        :param timeout: seconds
        :returns: its exit status
        """
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.kill()
        return self.process.wait()

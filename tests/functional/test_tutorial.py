# SPDX-License-Identifier: Apache-2.0
"""The commands of the tutorials print the output that the pages show."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.pages import ROOT, blocks_of, commands_of
from tests.support.programs import need
from tests.support.wait import wait_for

# It installs Manila over the network.
pytestmark = pytest.mark.timeout(900)

#: The command that the test replaces by a copy of the project.
CLONE = "git clone URL manila-aspects"

#: The option of a command that runs until Ctrl-C.
SERVES = "--serve"


class Tutorial(NamedTuple):
    """A page of the documentation whose commands the test runs."""

    page: str
    directory: str
    """the directory that one of its commands creates"""
    has_skeleton: bool
    """whether the files of the page replace files that new-hook has written"""


TUTORIALS = [
    Tutorial("user/tutorial.rst", "max-size", has_skeleton=True),
    Tutorial("user/tutorial_rules.rst", "protection", has_skeleton=False),
]


class Terminal:
    """A shell that runs commands one after the other.

    :param directory: its first working directory
    :param output: the file for its output
    """

    def __init__(self, directory: Path, output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            # -e: the shell exits when a command fails.
            self.process = subprocess.Popen(
                ["bash", "--norc", "-e"],
                cwd=directory,
                env=clean_environment(output.parent / "tmp"),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._commands = 0
        self._serves = False
        # Like an interactive shell, it continues after Ctrl-C.
        self.type("trap : INT")

    def type(self, command: str) -> None:
        """Type a command, without waiting."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def run(self, command: str) -> str:
        """Run a command, and return what it printed.

        :raises AssertionError: if it fails
        """
        if self._serves:
            self.interrupt()
        self._commands += 1
        begin, end = (f"@{self._commands}{mark}@" for mark in ("begin", "end"))
        for line in (f"echo {begin}", command, f"echo {end}"):
            self.type(line)
        deadline = time.monotonic() + 600
        while end not in self.output():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"$ {command}\n{self.output()[-5000:]}")
            time.sleep(0.05)
        return self.output().partition(begin)[2].partition(end)[0]

    def serve(self, command: str) -> None:
        """Run a command that runs until Ctrl-C, without waiting."""
        self._serves = True
        self.type(f"{command} || :")

    def sees(self, line: str) -> None:
        """Wait until the output has a line."""
        wait_for(lambda: line in self.output(), repr(line), timeout=60)

    def output(self) -> str:
        """Return all output so far."""
        return self._output.read_text("utf-8", "replace")

    def interrupt(self) -> None:
        """Send SIGINT to all programs of the terminal, as Ctrl-C does."""
        os.killpg(self.process.pid, signal.SIGINT)
        self._serves = False

    def close(self) -> None:
        """Kill the shell and all programs in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def clean_environment(temporary: Path) -> dict[str, str]:
    """Return an environment with Python and without this project.

    The settings and the cache of pip are those of the machine.

    :param temporary: the directory for temporary files
    """
    temporary.mkdir(exist_ok=True)
    python = str(Path(sys.base_prefix) / "bin")
    return {
        **{k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("PIP_")},
        "PATH": os.pathsep.join([python, "/usr/local/bin", "/usr/bin", "/bin"]),
        "LANG": "C.UTF-8",
        "TMPDIR": str(temporary),
        # Compiling would take most of the test's time.
        "PIP_NO_COMPILE": "1",
    }


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    with ExitStack() as stack:
        found = {}
        for name in ("", "second terminal"):
            found[name] = Terminal(tmp_path, tmp_path / f"{name or 'terminal'}.out")
            stack.callback(found[name].close)
        yield found


@pytest.mark.parametrize("tutorial", TUTORIALS)
def test_the_commands_of_a_tutorial_print_its_output(
    terminals: dict[str, Terminal], tmp_path: Path, tutorial: Tutorial
) -> None:
    need("curl", "curl")
    first, second = terminals[""], terminals["second terminal"]
    directory = tmp_path / tutorial.directory
    for block in blocks_of(tutorial.page):
        if block.language != "console":
            assert (directory / block.caption).exists() == tutorial.has_skeleton
            (directory / block.caption).write_text(block.text + "\n", "utf-8")
            continue
        terminal = terminals[block.caption]
        for command, printed in commands_of(block):
            if command == CLONE:
                copy_project(tmp_path / "manila-aspects")
            elif SERVES in command:
                terminal.serve(command)
                for line in printed:
                    terminal.sees(line)
                # The text of the page says so between two blocks.
                second.run(f"cd {tutorial.directory}")
            elif command:
                output = terminal.run(command)
                for line in printed:
                    assert line in output, f"$ {command}\n{output}"
            else:
                for line in printed:
                    terminal.sees(line)
    assert "Traceback" not in first.output() + second.output()
    # Manila has removed its files.
    assert not list((tmp_path / "tmp").glob("manila-aspects-*"))


def copy_project(directory: Path) -> None:
    """Copy the project to the directory of the clone."""
    ignored = (".?*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(*ignored))

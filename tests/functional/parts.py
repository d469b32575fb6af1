# SPDX-License-Identifier: Apache-2.0
"""Real parts for the tests: programs to start and stop, examples out of the docs."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from oslo_config import cfg

import aspects

DOCS = Path(__file__).parents[2] / "doc" / "source"


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


def wait_for(
    what: Callable[[], Any], text: str, timeout: float = 30.0, pause: float = 0.05
) -> Any:
    """Wait until something is true.

    :param what: is asked again and again; an error is a no
    :param text: what is waited for, for the failure
    :param timeout: seconds
    :param pause: seconds between two questions
    :returns: the answer
    """
    deadline = time.monotonic() + timeout
    last: Any = None
    while time.monotonic() < deadline:
        try:
            if answer := what():
                return answer
            last = answer
        except Exception as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"not in {timeout:g} s: {text} (last: {last!r})")


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


def example(page: str, replace: Mapping[str, str] | None = None, block: int = 0) -> str:
    """Return a configuration block out of the documentation, as it stands there.

    :param page: the page's path below ``doc/source``
    :param replace: texts that cannot be the same on the machine of the test, as
        paths and ports, and what to put in their place; each must occur
    :param block: which of the page's ``ini`` blocks
    """
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(r"^\.\. code-block:: ini\n\n((?:   .*\n|\n)+)", text, re.M)
    found = textwrap.dedent(blocks[block])
    for old, new in (replace or {}).items():
        assert old in found, f"{old!r} is not in the example of {page}"
        found = found.replace(old, new)
    return found


@contextlib.contextmanager
def woven_by(
    text: str,
    folder: Path,
    driver: Any,
    backend: str = "alpha",
    host: str = "node1@alpha",
) -> Iterator[Any]:
    """Weave a driver as the text of a ``manila.conf`` says, and start its hooks.

    :param text: the configuration
    :param folder: where to write it
    :param driver: the driver
    :param backend: the backend section
    :param host: the share service's host
    """
    file = folder / "manila.conf"
    file.write_text(text, "utf-8")
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(file)], project="manila", default_config_dirs=[])
    woven = aspects.weave_from_config(
        driver, aspects.BackendSection(conf, backend), host
    )
    about = aspects.weaving(woven)
    about.start()
    try:
        yield woven
    finally:
        about.stop()

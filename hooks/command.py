# SPDX-License-Identifier: Apache-2.0
"""A program of the operator's for each action."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

import aspects
from hooks.events.hook import EventHook

#: The program's PATH; that of the service may be anything.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: How many characters are told of what a program writes to standard error.
TOLD = 1000

#: How many bytes of it are kept: more, since secrets are taken out before it is cut.
KEPT = 65536

#: Seconds that a program may take to end when it was killed. One that waits for a
#: dead file server does not end at all.
KILL_TIMEOUT = 1.0

#: How often the children of a program are looked for: one may fork meanwhile.
KILL_ROUNDS = 10


class CommandError(Exception):
    """A program failed, or took too long."""


class CommandHook(EventHook):
    """Run a program, with the event as JSON on its standard input.

    In a pre action its exit status is a decision: 0 lets the call go on, any other
    is a veto. In the other actions it is an error, and so is a program that is
    killed, in any: ``suppress_*_hooks_errors`` apply to it.

    The program gets no secret of the call, and what it writes to standard error is
    told without those that it has from elsewhere.

    :raises ValueError: if an option is wrong, naming it
    """

    #: It is the program that is deferred: what it is told is of the moment.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("post", "error", "periodic")

    options = (
        cfg.StrOpt(
            "command",
            mutable=True,
            help="The program, and arguments for it, quoted as for a shell though "
            "none is run: an absolute path, or a name to look up in the program's "
            f"PATH, {PATH} by default.",
        ),
        cfg.FloatOpt(
            "command_timeout",
            default=5.0,
            min=0.1,
            max=86400,
            mutable=True,
            help="Seconds after which the program and its children are killed, which "
            "is an error and no veto.",
        ),
        cfg.ListOpt(
            "command_environment",
            default=[],
            mutable=True,
            secret=True,
            help="What the program has in its environment beside PATH, LANG and LC_*: "
            "NAME=value, or NAME for the value that the service has.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        # An operator is to know at start-up, not at the first share.
        self._command(self._environment())

    def _command(self, environment: Mapping[str, str]) -> list[str]:
        """Return the program's path and its arguments.

        :param environment: the program's
        :raises ValueError: if there is no such program
        """
        option = self.get_config_option("command")
        if not option:
            raise ValueError("command is not set")
        try:
            program, *arguments = shlex.split(option)
        except ValueError as error:
            raise ValueError(f"command = {option}: {error}") from None
        if "/" in program and not program.startswith("/"):
            raise ValueError(f"command = {option}: write an absolute path")
        path = shutil.which(program, path=environment["PATH"])
        if path is None:
            raise ValueError(
                f"command = {option}: {program!r} is not there, or not executable"
            )
        return [path, *arguments]

    def _environment(self) -> dict[str, str]:
        """Return what the program has in its environment.

        :raises ValueError: if the option for it is wrong
        """
        environment = {"PATH": PATH}
        for name, value in os.environ.items():
            if name == "LANG" or name.startswith("LC_"):
                environment[name] = value
        for entry in self.get_config_option("command_environment"):
            name, given, value = entry.partition("=")
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                # Without the value, which may be a secret.
                raise ValueError(f"command_environment: {name!r} is not a name")
            if given:
                environment[name] = value
            elif name in os.environ:
                environment[name] = os.environ[name]
        return environment

    # -- the actions -------------------------------------------------------------

    def _emit(
        self, kind: str, told: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        given = (context, kind, told, operation, *call)
        # A decision is waited for.
        if self.dispatcher and kind != "pre":
            self.dispatcher.put(self, kind, operation, self._run, *given)
        else:
            self._run(*given)

    def _run(
        self, context: Any, kind: str, told: dict[str, Any], operation: Any, *call: Any
    ) -> None:
        """Run the program with an event.

        :param context: the context of the action
        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param told: the event
        :param operation: the operation
        :param call: the ``args`` and ``kwargs`` that the action got
        :raises aspects.Veto: if it ended in a pre action, not with status 0
        :raises CommandError: if it ended like that in another, or was killed
        :raises ValueError: if an option is wrong by now
        :raises OSError: if it cannot be run
        """
        environment = self._environment()
        command = self._command(environment)
        environment["MANILA_ASPECTS_PHASE"] = kind
        environment["MANILA_ASPECTS_EVENT_ID"] = told["id"]
        for name in ("operation", "method", "backend", "host"):
            value = told["data"].get(name) or ""
            environment[f"MANILA_ASPECTS_{name.upper()}"] = value
        timeout = self.get_config_option("command_timeout")
        text = json.dumps(told).encode() + b"\n"
        status, complaint = run(command, text, environment, timeout)
        if status == 0:
            return
        if status is None:
            how = f"killed, since it took over {timeout:g} s"
        else:
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
        # A variable with the name of a secret is one, too.
        named = {**operation.arguments(*call), "the environment": environment}
        said = _one_line(complaint, context, named)
        reason = ": ".join(filter(None, (os.path.basename(command[0]), how, said)))
        if kind == "pre" and status is not None and status > 0:
            raise aspects.Veto(reason)
        raise CommandError(reason)


def _one_line(complaint: bytes, context: Any, arguments: Mapping[str, Any]) -> str:
    """Return what a program wrote, without secrets, as one line that is not long."""
    if len(complaint) == KEPT:
        # Nobody would find the half of a secret.
        complaint = re.sub(rb"\S+\Z", b"", complaint)
    text = aspects.without_secrets(
        complaint.decode(errors="replace"), context, arguments
    )
    printable = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(printable.split())[:TOLD]


# -- the program -----------------------------------------------------------------


def run(
    command: Sequence[str], text: bytes, environment: Mapping[str, str], timeout: float
) -> tuple[int | None, bytes]:
    """Run a program, and kill what is left of it.

    :param command: its path and its arguments
    :param text: its standard input
    :param environment: its environment, which has an event id of its own
    :param timeout: seconds after which it is killed
    :return: its exit status, negative for the signal that it died of, None if it
        was killed for the time it took; how its standard error begins
    :raises OSError: if it cannot be run
    """
    with contextlib.ExitStack() as stack:
        # In memory and not in a pipe, so that there is nobody to wait for it to be
        # read, nor to be told that it will not be.
        stdin = stack.enter_context(open(os.memfd_create("event"), "w+b"))
        stdin.write(text)
        stdin.seek(0)
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        stderr = stack.enter_context(open(reader, "rb", buffering=0))
        with open(writer, "wb", buffering=0) as its_stderr:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=its_stderr,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        status = None
        try:
            status, complaint = _follow(process.pid, stderr, timeout)
        finally:
            _kill_group(process.pid)
            if status is None:
                _kill_all(environment["MANILA_ASPECTS_EVENT_ID"])
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_TIMEOUT)
        return status, complaint


def _follow(pid: int, stderr: Any, timeout: float) -> tuple[int | None, bytes]:
    """Wait for a program to end, and read what it writes all the while.

    :param pid: its process id
    :param stderr: the pipe that it writes to; its children may keep that open
    :param timeout: seconds to wait
    :return: as :func:`run`
    :raises ChildProcessError: if the service does not learn how children end
    """
    deadline = time.monotonic() + timeout
    status, kept = None, b""
    process = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while status is None and (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fd == process:
                        status = _status(pid)
                    elif read := stderr.read(KEPT):
                        kept = (kept + read)[:KEPT]
                    else:
                        selector.unregister(stderr)
    finally:
        os.close(process)
    return status, (kept + (stderr.read(KEPT) or b""))[:KEPT]


def _status(pid: int) -> int | None:
    """Return how a process ended; it stays, and its id its own."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if ended is None:
        return None
    return ended.si_status * (1 if ended.si_code == os.CLD_EXITED else -1)


def _kill_group(pid: int) -> None:
    """Kill the process group of a program that has not been waited for."""
    # Until then nothing else gets its id.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _kill_all(event_id: str) -> None:
    """Kill all that has an event's id in its environment.

    :param event_id: which children inherit, in whatever session they are
    """
    mark = f"MANILA_ASPECTS_EVENT_ID={event_id}".encode()
    for _ in range(KILL_ROUNDS):
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        if not sum(_kill_marked(pid, mark) for pid in pids):
            return


def _kill_marked(pid: int, mark: bytes) -> bool:
    try:
        # First, so that it is the one that is looked at, or else nobody.
        process = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            found = mark in file.read().split(b"\0")
        if found:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        return found
    except OSError:
        return False
    finally:
        os.close(process)

# SPDX-License-Identifier: Apache-2.0
"""Run an operator's program for each hook method."""

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
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

import aspects
from hooks.events.decision import (
    MAX_SIZE,
    arguments_in,
    object_in,
    reason_in,
    short_line,
)
from hooks.events.errors import InvalidDecisionError
from hooks.events.hook import EventHook

#: The program's PATH. The service's own may be anything.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The variable with the ID of the event, by which the children of a program are found.
EVENT_ID = "MANILA_ASPECTS_EVENT_ID"

#: The number of bytes that are kept of each output. It exceeds the maximum length of a
#: reason, as secrets are removed before the text is cut.
MAX_OUTPUT = MAX_SIZE

#: The number of bytes that the kernel reads of the first line of a script, and the
#: number of scripts that may be the interpreters of each other.
FIRST_LINE, SCRIPTS = 256, 5

#: How long, in seconds, to search for the children of a program, and to wait for a
#: killed program to end. A program that waits for a dead file server never ends.
KILL_TIMEOUT = 1.0

#: The number of searches for the children of a program: one may fork during a search.
KILL_ROUNDS = 10


class CommandError(Exception):
    """Raised when a program failed or timed out."""


class CommandHook(EventHook):
    """Run a program, with the event as JSON on its standard input.

    In the pre method, exit status 0 allows the call and any other status is a veto.
    In the other methods, a status other than 0 is an error. In all of them, a
    killed program is an error. ``suppress_*_hooks_errors`` apply to errors.

    The program of a pre method may write a JSON object to standard output, with the
    ``reason`` of a veto, or with ``arguments`` to replace in the call.

    The program gets no secret of the call. Secrets are removed from the text that
    it writes to standard error.

    :raises ValueError: naming the option, if an option is invalid
    """

    # The program runs in the background, but the event is made during the call.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("post", "error", "periodic")
    pre_has_effects: ClassVar = True

    options = (
        cfg.StrOpt(
            "command",
            mutable=True,
            help="The program and its arguments, quoted as for a shell; no shell is "
            "run. The program is an absolute path, or a name to look up in its PATH, "
            f"by default {PATH}.",
        ),
        cfg.FloatOpt(
            "command_timeout",
            default=5.0,
            min=0.1,
            max=86400,
            mutable=True,
            help="Time, in seconds, after which the program and its children are "
            "killed. That is an error, not a veto.",
        ),
        cfg.ListOpt(
            "command_environment",
            default=[],
            mutable=True,
            secret=True,
            help="Environment variables of the program besides PATH, LANG and LC_*: "
            "NAME=value, or NAME to copy the value from the service's environment.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        # Report invalid options when the service starts, not at the first call.
        self._command(self._environment())

    def _command(self, environment: Mapping[str, str]) -> list[str]:
        """Return the path and the arguments of the program.

        :param environment: the environment of the program
        :raises ValueError: if the program or its interpreter does not exist or is not
            executable. The message has no arguments, which may be secrets
        """
        option = self.get_config_option("command")
        if not option:
            raise ValueError("command: required option is not set")
        try:
            program, *arguments = shlex.split(option)
        except ValueError as error:
            raise ValueError(f"command: {error}") from None
        if "/" in program and not program.startswith("/"):
            raise ValueError(
                f"command: {program!r} is a relative path; write an absolute path, or "
                "a name to look up in PATH"
            )
        path = shutil.which(program, path=environment["PATH"])
        if path is None or not os.path.isfile(path):
            text = f"command: {program!r} does not exist or is not executable"
            if re.search("[|&;<>]", program):
                text += "; no shell is run, write a script or sh -c '...'"
            raise ValueError(text)
        _check_interpreter(path, environment["PATH"])
        return [path, *arguments]

    def _environment(self) -> dict[str, str]:
        """Return the environment of the program.

        :raises ValueError: if ``command_environment`` is invalid
        """
        environment = {"PATH": PATH}
        for name, value in os.environ.items():
            if name == "LANG" or name.startswith("LC_"):
                environment[name] = value
        for entry in self.get_config_option("command_environment"):
            name, has_value, value = entry.partition("=")
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                # The value may be a secret, so the message has only the name.
                raise ValueError(
                    f"command_environment: {name!r} is not a variable name; write "
                    "NAME or NAME=value"
                )
            if has_value:
                environment[name] = value
            elif name in os.environ:
                environment[name] = os.environ[name]
        return environment

    def _values(self, environment: Mapping[str, str]) -> list[str]:
        """Return the values of the variables in ``command_environment``.

        :param environment: the environment of the program
        """
        entries = self.get_config_option("command_environment")
        names = [entry.partition("=")[0] for entry in entries]
        return [environment[name] for name in names if name in environment]

    # -- the hook methods --------------------------------------------------------

    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> Mapping[str, Any] | None:
        args = (context, kind, event, operation, *call)
        # The pre method may veto the call, so the call waits for its program.
        if self.dispatcher and kind != "pre":
            self.dispatcher.put(self, kind, operation, self._run, *args)
            return None
        return self._run(*args)

    def _run(
        self, context: Any, kind: str, event: dict[str, Any], operation: Any, *call: Any
    ) -> Mapping[str, Any] | None:
        """Run the program with an event.

        :param context: the context of the hook method
        :param kind: ``pre``, ``post``, ``error`` or ``periodic``
        :param event: the event
        :param operation: the operation
        :param call: the ``args`` and ``kwargs`` of the hook method
        :return: new values for arguments of the call, from the program of a pre method;
            None if it gives none
        :raises aspects.Veto: if the program of a pre method exits with a status
            other than 0
        :raises CommandError: if another program does, if a program is killed, if
            its arguments for the call are not valid, or if a file that it needs to
            start does not exist
        :raises ValueError: if an option has become invalid
        :raises OSError: if the program cannot be run
        """
        environment = self._environment()
        command = self._command(environment)
        environment["MANILA_ASPECTS_HOOK_METHOD"] = kind
        environment[EVENT_ID] = event["id"]
        for name in ("operation", "method", "backend", "host"):
            value = event["data"].get(name) or ""
            environment[f"MANILA_ASPECTS_{name.upper()}"] = value
        timeout = self.get_config_option("command_timeout")
        text = json.dumps(event).encode() + b"\n"
        name = os.path.basename(command[0])
        try:
            status, stderr, stdout = run(
                command, text, environment, timeout, keep_stdout=kind == "pre"
            )
        except FileNotFoundError:
            raise CommandError(
                f"{name}: cannot run: the loader in its header does not exist"
            ) from None
        given = object_in(stdout) if len(stdout) < MAX_OUTPUT else None
        if status == 0:
            try:
                return arguments_in(given or {})
            except InvalidDecisionError as error:
                raise CommandError(f"{name}: standard output: {error}") from None
        if status is None:
            outcome = f"killed after {timeout:g} s (command_timeout)"
        else:
            outcome = f"exit status {status}" if status > 0 else f"signal {-status}"
        # A program may show its arguments and its environment in its messages.
        arguments = {**operation.arguments(*call), "the command": command}
        secrets = self._values(environment)
        message = one_line(stderr, context, arguments, secrets)
        problem = ": ".join(filter(None, (name, outcome, message)))
        if kind == "pre" and status is not None and status > 0:
            reason = reason_in(given or {})
            reason = short_line(reason, context, arguments, secrets=secrets)
            raise aspects.Veto(reason or problem)
        raise CommandError(problem)


def one_line(
    stderr: bytes,
    context: Any,
    arguments: Mapping[str, Any],
    secrets: Iterable[str] = (),
) -> str:
    """Return the text of standard error, without secrets, as one short line.

    :param stderr: the beginning of standard error, as from :func:`run`
    :param context: the request's context, which has a token
    :param arguments: the arguments of the call
    :param secrets: further secret values
    """
    if len(stderr) == MAX_OUTPUT:
        # Remove the last word: a secret that was cut would not be recognized.
        stderr = re.sub(rb"\S+\Z", b"", stderr)
    text = stderr.decode(errors="replace")
    return short_line(text, context, arguments, secrets=secrets)


# -- the program -----------------------------------------------------------------


def _check_interpreter(program: str, path: str) -> None:
    """Check that the interpreter in the first line of a script exists.

    Without it, the system reports that the script does not exist.

    :param program: the path of the program, which may be a script
    :param path: the PATH of the program
    :raises ValueError: naming the interpreter, if it does not exist or is not
        executable
    """
    for _ in range(SCRIPTS):
        try:
            with open(program, "rb", buffering=0) as file:
                line = file.read(FIRST_LINE).partition(b"\n")[0]
        except OSError:
            # A program may be executable, but not readable.
            return
        if not line.startswith(b"#!"):
            return
        words = re.split(r"[ \t]+", os.fsdecode(line[2:]).strip(" \t"), maxsplit=1)
        # The program runs in this directory.
        interpreter = os.path.join("/", words[0])
        found = _executable(interpreter, interpreter, program)
        if os.path.basename(interpreter) == "env" and len(words) == 2:
            if (name := _run_by_env(words[1])) is None:
                return
            found = _executable(name, shutil.which(name, path=path), program)
        program = found


def _run_by_env(argument: str) -> str | None:
    """Return the program that ``env`` runs; None if that is too hard to find out.

    :param argument: the text after ``#!/usr/bin/env``, which is one argument
    """
    if not argument.startswith("-"):
        return argument
    split = re.match(r"(?:-v?S|--split-string=)\s*([\w./+][\w./+\r-]*)(?!\S)", argument)
    return split[1] if split else None


def _executable(interpreter: str, found: str | None, program: str) -> str:
    """Return the path of an interpreter.

    :param interpreter: the interpreter as in the script
    :param found: its path; None if it is not in the PATH
    :param program: the path of the script
    :raises ValueError: if it does not exist or is not executable
    """
    if found and os.path.isfile(found) and os.access(found, os.X_OK):
        return found
    text = (
        f"command: the interpreter {interpreter!r} of {program} does not exist or is "
        "not executable"
    )
    if interpreter.endswith("\r"):
        text += "; the lines of the file end with CRLF, convert them to LF"
    raise ValueError(text)


def run(
    command: Sequence[str],
    text: bytes,
    environment: Mapping[str, str],
    timeout: float,
    *,
    keep_stdout: bool = False,
) -> tuple[int | None, bytes, bytes]:
    """Run a program, then kill the processes that it left behind.

    :param command: the path of the program and its arguments
    :param text: the standard input of the program
    :param environment: the environment of the program, with the ID of one event
    :param timeout: time, in seconds, after which the program is killed
    :param keep_stdout: whether to return standard output; it is discarded otherwise
    :return: the exit status, negative for a signal, None after the timeout; and the
        beginnings of standard error and of standard output
    :raises OSError: if the program cannot be run
    """
    with contextlib.ExitStack() as stack:
        # A file in memory never blocks the writer and never breaks, as a pipe does
        # if the program does not read it.
        stdin = stack.enter_context(open(os.memfd_create("event"), "w+b"))
        stdin.write(text)
        stdin.seek(0)
        outputs: list[Any] = []
        with contextlib.ExitStack() as until_started:
            writers: list[Any] = [subprocess.DEVNULL] * 2
            for n in range(1 + keep_stdout):
                reader, writer = os.pipe()
                os.set_blocking(reader, False)
                outputs.append(stack.enter_context(open(reader, "rb", buffering=0)))
                writers[n] = until_started.enter_context(
                    open(writer, "wb", buffering=0)
                )
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stderr=writers[0],
                stdout=writers[1],
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        status = None
        try:
            status, (stderr, *stdout) = _wait(process.pid, outputs, timeout)
        finally:
            _kill_group(process.pid)
            if status is None:
                kill_children(environment[EVENT_ID])
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_TIMEOUT)
        return status, stderr, b"".join(stdout)


def _wait(
    pid: int, outputs: Sequence[Any], timeout: float
) -> tuple[int | None, list[bytes]]:
    """Wait for a program to end, reading its output meanwhile.

    :param pid: the process ID of the program
    :param outputs: the pipes of its output, which its children may keep open
    :param timeout: how long to wait, in seconds
    :return: the exit status as from :func:`run`, and the beginning of each output
    :raises ChildProcessError: if the service ignores SIGCHLD, so that the kernel
        keeps no exit status
    """
    deadline = time.monotonic() + timeout
    status, kept = None, dict.fromkeys(outputs, b"")
    process = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process, selectors.EVENT_READ)
            for pipe in outputs:
                selector.register(pipe, selectors.EVENT_READ)
            while status is None and (left := deadline - time.monotonic()) > 0:
                ready = selector.select(left)
                # On eventlet, each file that is ready resumes this green thread. Each
                # after the first must end a sleep, not what the thread waits for next.
                for _ in outputs:
                    time.sleep(0)
                for key, _ in ready:
                    output: Any = key.fileobj
                    if key.fd == process:
                        status = _status(pid)
                    elif read := output.read(MAX_OUTPUT):
                        kept[output] = (kept[output] + read)[:MAX_OUTPUT]
                    else:
                        selector.unregister(output)
    finally:
        os.close(process)
    return status, [
        (read + (pipe.read(MAX_OUTPUT) or b""))[:MAX_OUTPUT]
        for pipe, read in kept.items()
    ]


def _status(pid: int) -> int | None:
    """Return the exit status of a process without releasing its process ID."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if ended is None:
        return None
    return ended.si_status * (1 if ended.si_code == os.CLD_EXITED else -1)


def _kill_group(pid: int) -> None:
    """Kill the process group of a program that has not been reaped."""
    # Until it is reaped, no other process gets its ID.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_children(event_id: str) -> None:
    """Kill the processes that have an event's ID in their environment.

    :param event_id: the ID, which children inherit, in any session
    """
    # A thread, since reading the environment of a process may hang if that process
    # waits for a dead file server.
    thread = threading.Thread(target=_kill_all, args=(event_id,), daemon=True)
    thread.start()
    thread.join(KILL_TIMEOUT)


def _kill_all(event_id: str) -> None:
    mark = f"{EVENT_ID}={event_id}".encode()
    for _ in range(KILL_ROUNDS):
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        if not sum(_kill_marked(pid, mark) for pid in pids):
            return


def _kill_marked(pid: int, mark: bytes) -> bool:
    try:
        # Opened first: if the ID is reused before the environment is read, the
        # signal reaches no process.
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

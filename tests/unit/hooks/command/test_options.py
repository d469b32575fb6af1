# SPDX-License-Identifier: Apache-2.0
"""The options of the command hook."""

import logging
import os
import re
import stat
from pathlib import Path

import pytest

import aspects
from hooks import command
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver

from .common import SECRET, SHARE

# A test that hangs on a program fails early.
pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("command =", "command: required option is not set"),
        ("command = /nowhere/program", "'/nowhere/program' does not exist"),
        ("command = no-such-program-x", "'no-such-program-x' does not exist"),
        ("command = {directory}", "does not exist or is not executable"),
        ("command = {directory}/plain", "does not exist or is not executable"),
        ("command = /bin/echo; /bin/true", "; no shell is run, write a script"),
        ("command = sub/program", "relative path; write an absolute path"),
        ("command = /bin/sh 'x", "command: No closing quotation"),
        ("command = /bin/sh\ncommand_timeout = 0", "greater than or equal to 0.1"),
        (
            "command = /bin/sh\ncommand_environment = A=1, 2B=x",
            "'2B' is not a variable name",
        ),
    ],
)
def test_invalid_option_is_reported_at_start_up(tmp_path, options, cause):
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    assert not (tmp_path / "plain").stat().st_mode & stat.S_IXUSR
    text = f"[alpha]\nhook_drivers = command\n{options.format(directory=tmp_path)}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(
            BusyDriver(), aspects.BackendSection(file.conf, "alpha"), "node1@alpha"
        )
    (problem,) = caught.value.problems
    assert problem.section == "alpha"
    assert cause in str(problem)


@pytest.mark.parametrize(
    ("line", "interpreter"),
    [
        (b"#!/bin/no-such-shell", "/bin/no-such-shell"),
        (b"#! /bin/no-such-shell -e", "/bin/no-such-shell"),
        (b"#!\t/bin/no-such-shell\t-e", "/bin/no-such-shell"),
        (b"#!bin/no-such-shell", "/bin/no-such-shell"),
        (b"#!/bin/sh\r", "/bin/sh\\r"),
        (b"#!/bin/sh -e\r", None),
        (b"#!/bin", "/bin"),
        (b"#!/etc/passwd", "/etc/passwd"),
        (b"#!", "/"),
        (b"#!/usr/bin/env pyhton3", "pyhton3"),
        (b"#!/usr/bin/env sh\r", "sh\\r"),
        (b"#!/usr/bin/env sh -e", "sh -e"),
        (b"#!/usr/bin/env -S pyhton3 -u", "pyhton3"),
        (b"#!/usr/bin/env -Spyhton3", "pyhton3"),
        (b"#!/usr/bin/env --split-string=sh\r", "sh\\r"),
        (b"#!/bin/sh", None),
        (b"#!/bin/sh -e", None),
        (b"#!bin/sh", None),
        (b"#!/usr/bin/env sh", None),
        (b"#!/usr/bin/env -S sh -e", None),
        (b"#!/usr/bin/env -S A=1 sh", None),
        (b"#!/usr/bin/env -i sh", None),
        (b"#!/usr/bin/env", None),
        (b"plain text", None),
        (b"", None),
    ],
)
def test_interpreter_that_does_not_exist_is_reported_at_start_up(
    woven, tmp_path, line, interpreter
):
    program = tmp_path / "program"
    program.write_bytes(line + b"\nexit 0\n")
    program.chmod(0o755)
    if interpreter is None:
        woven(program)
        return
    with pytest.raises(aspects.HookConfigError) as caught:
        woven(program)
    (problem,) = caught.value.problems
    assert (
        f"command: the interpreter '{interpreter}' of {program} does not exist"
        in problem.cause
    )
    assert ("CRLF" in problem.cause) == line.endswith(b"\r")


def test_interpreter_of_an_interpreter_is_checked(woven, tmp_path, program):
    inner = program("", "inner", "#!/bin/no-such-shell\n")
    outer = program("", "outer", f"#!{inner}\n")
    with pytest.raises(aspects.HookConfigError, match=r"no-such-shell' of .*/inner"):
        woven(outer)
    loop = program("", "loop", f"#!{tmp_path}/loop\n")
    woven(loop)


def test_pipe_in_place_of_the_program_is_reported_at_start_up(woven, tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o755)
    with pytest.raises(aspects.HookConfigError, match="pipe' does not exist"):
        woven(tmp_path / "pipe")
    os.mkfifo(tmp_path / "shell", 0o755)
    program = tmp_path / "program"
    program.write_text(f"#!{tmp_path}/shell\n")
    program.chmod(0o755)
    with pytest.raises(aspects.HookConfigError, match="the interpreter"):
        woven(program)


def test_interpreter_that_was_removed_is_an_error(woven, program, context):
    inner = program("", "inner")
    driver = woven(program("", "outer", f"#!{inner}\n"))
    inner.unlink()
    with pytest.raises(ValueError, match=r"the interpreter '.*inner' of .*outer"):
        driver.create_share(context, SHARE)
    assert len(driver.calls) == 0


def test_loader_that_does_not_exist_is_an_error(woven, tmp_path, context):
    """A program for another C library, whose loader is not installed."""
    program = tmp_path / "program"
    binary = Path("/bin/true").read_bytes()
    loader = re.search(rb"/lib[\w./-]*/ld-[\w.-]+\0", binary)
    if not loader:
        pytest.skip("/bin/true has no loader")
    program.write_bytes(binary.replace(loader[0], loader[0].replace(b"ld-", b"lx-")))
    program.chmod(0o755)
    driver = woven(program)
    with pytest.raises(command.CommandError, match="program: cannot run: the loader"):
        driver.create_share(context, SHARE)
    assert len(driver.calls) == 0


@pytest.mark.parametrize("text", ["/nowhere/program", "sub/program", "/bin/sh '"])
def test_error_does_not_show_the_arguments_of_the_program(woven, text):
    """They may be secrets, and an error is logged."""
    with pytest.raises(aspects.HookConfigError) as caught:
        woven(f"{text} --login joe:{SECRET} {SECRET}")
    assert SECRET not in str(caught.value)


def test_error_about_the_environment_option_does_not_show_its_values(tmp_path):
    text = "[alpha]\nhook_drivers = command\ncommand = /bin/sh\n"
    text += f"command_environment = TO KEN={SECRET}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(
            BusyDriver(), aspects.BackendSection(file.conf, "alpha"), "node1@alpha"
        )
    assert "'TO KEN' is not a variable name" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_environment_option_is_not_in_the_log_of_options(woven, program, caplog):
    """Manila logs all options when it starts with ``debug = True``, and at a reload."""
    driver = woven(program(""), f"command_environment = TOKEN={SECRET}\n")
    file = driver._self_file
    with caplog.at_level(logging.DEBUG):
        file.conf.log_opt_values(logging.getLogger(), logging.DEBUG)
        file.mutate(file.path.read_text().replace(SECRET, f"{SECRET}-2"))
    assert "alpha.command_timeout" in caplog.text
    (hook,) = aspects.weaving(driver).hooks
    assert hook.get_config_option("command_environment") == [f"TOKEN={SECRET}-2"]
    assert SECRET not in caplog.text


def test_weaving_does_not_run_the_program(woven, program, tmp_path):
    woven(program(f"touch {tmp_path}/ran\n"))
    assert not (tmp_path / "ran").exists()


def test_options_follow_the_file(woven, program, context, tmp_path):
    driver = woven(program(f"touch {tmp_path}/first\n", "one"))
    driver.create_share(context, SHARE)
    assert (tmp_path / "first").exists()
    file = driver._self_file
    other = program("exit 1\n", "other")
    file.mutate(file.path.read_text().replace(f"{tmp_path}/one", str(other)))
    with pytest.raises(aspects.Veto, match="other: exit status 1"):
        driver.create_share(context, SHARE)


def test_program_that_was_removed_is_an_error(woven, program, context):
    path = program("exit 0\n")
    driver = woven(path)
    path.unlink()
    with pytest.raises(ValueError, match="does not exist"):
        driver.create_share(context, SHARE)
    assert len(driver.calls) == 0


def test_program_that_cannot_be_run_is_an_error(woven, program, context):
    """The file is executable, but not in a format that the system can run."""
    driver = woven(program("\0nothing", start=""))
    with pytest.raises(OSError, match="Exec format error"):
        driver.create_share(context, SHARE)
    assert len(driver.calls) == 0

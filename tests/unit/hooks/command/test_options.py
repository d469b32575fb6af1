# SPDX-License-Identifier: Apache-2.0
"""The options of the command hook."""

import logging
import stat

import pytest

import aspects
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
        ("command = sub/program", "relative path; write an absolute path"),
        ("command = /bin/sh 'x", "command = /bin/sh 'x: No closing quotation"),
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

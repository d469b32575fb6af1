# SPDX-License-Identifier: Apache-2.0
"""What comes of the program's status and output."""

import signal

import pytest

import aspects
from hooks import command
from tests.support.drivers import BusyDriver

from .common import SECRET, SHARE

# A program that nobody waits for is to be seen soon.
pytestmark = pytest.mark.timeout(60)


def test_status_of_a_pre_action_is_a_decision(woven, program, context):
    path = program("echo noise; echo quota is used up >&2; exit 3\n")
    driver = woven(path, "suppress_pre_hooks_errors = True\n")
    with pytest.raises(aspects.Veto) as caught:
        driver.create_share(context, SHARE)
    assert str(caught.value) == "program: exit status 3: quota is used up"
    assert len(driver.calls) == 0


def test_veto_without_a_word(woven, program, context):
    with pytest.raises(aspects.Veto) as caught:
        woven(program("exit 1\n")).create_share(context, SHARE)
    assert str(caught.value) == "program: exit status 1"


AFTER = '[ "$MANILA_ASPECTS_PHASE" = pre ] && exit 0; echo no >&2; exit 4\n'


def test_status_of_a_post_action_is_an_error(woven, program, context):
    path = program(AFTER)
    with pytest.raises(command.CommandError) as caught:
        woven(path).create_share(context, SHARE)
    assert str(caught.value) == "program: exit status 4: no"
    woven(path, "suppress_post_hooks_errors = True\n").create_share(context, SHARE)


def test_status_of_a_periodic_action_is_an_error(woven, program, context):
    path = program(AFTER)
    with pytest.raises(command.CommandError):
        aspects.tick(woven(path), context, [])
    aspects.tick(woven(path, "suppress_periodic_hooks_errors = True\n"), context, [])


def test_status_of_an_error_action_is_logged(woven, program, context, caplog):
    driver = woven(program(AFTER), driver=BusyDriver(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        driver.create_share(context, SHARE)
    assert "CommandError: program: exit status 4: no" in caplog.text


@pytest.mark.parametrize("suppress", [False, True])
def test_program_that_dies_is_no_decision(woven, program, context, suppress):
    path = program('[ "$MANILA_ASPECTS_PHASE" = pre ] || exit 0; kill -SEGV $$\n')
    driver = woven(path, f"suppress_pre_hooks_errors = {suppress}\n")
    if suppress:
        driver.create_share(context, SHARE)
    else:
        with pytest.raises(command.CommandError, match=f"signal {signal.SIGSEGV:d}$"):
            driver.create_share(context, SHARE)
    assert len(driver.calls) == suppress


@pytest.mark.parametrize("suppress", [False, True])
def test_program_that_takes_too_long_is_no_decision(woven, program, context, suppress):
    path = program(
        '[ "$MANILA_ASPECTS_PHASE" = pre ] || exit 0; echo at it >&2; exec sleep 60\n'
    )
    options = f"suppress_pre_hooks_errors = {suppress}\ncommand_timeout = 0.2\n"
    driver = woven(path, options)
    if suppress:
        driver.create_share(context, SHARE)
    else:
        with pytest.raises(command.CommandError) as caught:
            driver.create_share(context, SHARE)
        assert str(caught.value) == ("program: killed, since it took over 0.2 s: at it")
    assert len(driver.calls) == suppress


def test_what_it_writes_is_one_short_line(woven, program, context):
    path = program(
        r"printf 'first\n\n\033[31msecond\0\342\200\250third \377 %3000d' 7 >&2"
        "\nexit 1\n"
    )
    with pytest.raises(aspects.Veto) as caught:
        woven(path).create_share(context, SHARE)
    text = str(caught.value).removeprefix("program: exit status 1: ")
    assert text == "first [31msecond third � 7"
    path = program("printf '%03000d' 7 >&2\nexit 1\n")
    with pytest.raises(aspects.Veto) as caught:
        woven(path).create_share(context, SHARE)
    assert str(caught.value).endswith(": " + "0" * command.TOLD)


@pytest.mark.parametrize("phase", ["pre", "post", "error", "periodic"])
def test_no_secret_in_what_it_writes(woven, program, context, caplog, phase):
    key, variable = "rule-key-x1", "variable-x2"
    path = program(
        f'[ "$MANILA_ASPECTS_PHASE" = {phase} ] || exit 0\n'
        f'echo "{SECRET} {key} $API_TOKEN password=plain" >&2; exit 1\n'
    )
    driver = woven(
        path,
        f"command_environment = API_TOKEN={variable}\n",
        BusyDriver(OSError("failed") if phase == "error" else None),
    )
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": key}]
    text = ""
    try:
        if phase == "periodic":
            aspects.tick(driver, context, [])
        elif phase == "error":
            driver.create_share(context, {**SHARE, "access_key": key})
        else:
            driver.update_access(context, SHARE, rules, rules, [])
    except (OSError, aspects.Veto, command.CommandError) as error:
        text = str(error)
    text += caplog.text
    if phase == "periodic":
        # A tick has no arguments.
        text = text.replace(key, "***")
    assert "exit status 1: *** *** *** password=***" in text
    for secret in (SECRET, key, variable, "plain"):
        assert secret not in text


def test_no_half_of_a_secret_where_the_rest_is_not_kept(woven, program, context):
    """What is kept is full of a secret that is cut at its end."""
    key = "abcdefghij" * 30
    path = program(
        f"yes {key} | head -c 1000000 | tr '\\n' ' ' >&2; exit 1\n",
    )
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": key}]
    with pytest.raises(aspects.Veto) as caught:
        woven(path).update_access(context, SHARE, rules, rules, [])
    text = str(caught.value).removeprefix("program: exit status 1: ")
    assert set(text) == {"*", " "}

# SPDX-License-Identifier: Apache-2.0
"""The effects of the program's exit status and output."""

import signal
import subprocess
import sys
import threading

import pytest

import aspects
from hooks import command
from hooks.events import decision
from tests.support.drivers import BusyDriver

from .common import SECRET, SHARE

# A test that hangs on a program fails early.
pytestmark = pytest.mark.timeout(60)


def test_exit_status_of_a_pre_method_is_a_veto(woven, program, context):
    path = program("echo noise; echo quota is used up >&2; exit 3\n")
    driver = woven(path, "suppress_pre_hooks_errors = True\n")
    with pytest.raises(aspects.Veto) as caught:
        driver.create_share(context, SHARE)
    assert str(caught.value) == "program: exit status 3: quota is used up"
    assert len(driver.calls) == 0


def test_reason_of_a_veto_without_output_is_the_exit_status(woven, program, context):
    with pytest.raises(aspects.Veto) as caught:
        woven(program("exit 1\n")).create_share(context, SHARE)
    assert str(caught.value) == "program: exit status 1"


FAILS_AFTER_PRE = (
    '[ "$MANILA_ASPECTS_HOOK_METHOD" = pre ] && exit 0; echo no >&2; exit 4\n'
)


def test_exit_status_of_a_post_method_is_an_error(woven, program, context):
    path = program(FAILS_AFTER_PRE)
    with pytest.raises(command.CommandError) as caught:
        woven(path).create_share(context, SHARE)
    assert str(caught.value) == "program: exit status 4: no"
    woven(path, "suppress_post_hooks_errors = True\n").create_share(context, SHARE)


def test_exit_status_of_a_periodic_method_is_an_error(woven, program, context):
    path = program(FAILS_AFTER_PRE)
    with pytest.raises(command.CommandError):
        aspects.tick(woven(path), context, [])
    aspects.tick(woven(path, "suppress_periodic_hooks_errors = True\n"), context, [])


def test_exit_status_of_an_error_method_is_logged(woven, program, context, caplog):
    driver = woven(program(FAILS_AFTER_PRE), driver=BusyDriver(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        driver.create_share(context, SHARE)
    assert "CommandError: program: exit status 4: no" in caplog.text


@pytest.mark.parametrize("suppress", [False, True])
def test_program_that_a_signal_kills_is_an_error(woven, program, context, suppress):
    path = program('[ "$MANILA_ASPECTS_HOOK_METHOD" = pre ] || exit 0; kill -SEGV $$\n')
    driver = woven(path, f"suppress_pre_hooks_errors = {suppress}\n")
    if suppress:
        driver.create_share(context, SHARE)
    else:
        with pytest.raises(command.CommandError, match=f"signal {signal.SIGSEGV:d}$"):
            driver.create_share(context, SHARE)
    assert len(driver.calls) == suppress


@pytest.mark.parametrize("suppress", [False, True])
def test_program_that_times_out_is_an_error(woven, program, context, suppress):
    path = program(
        '[ "$MANILA_ASPECTS_HOOK_METHOD" = pre ] || exit 0\n'
        "echo at it >&2\nexec sleep 60\n"
    )
    options = f"suppress_pre_hooks_errors = {suppress}\ncommand_timeout = 0.2\n"
    driver = woven(path, options)
    if suppress:
        driver.create_share(context, SHARE)
    else:
        with pytest.raises(command.CommandError) as caught:
            driver.create_share(context, SHARE)
        assert str(caught.value) == (
            "program: killed after 0.2 s (command_timeout): at it"
        )
    assert len(driver.calls) == suppress


@pytest.mark.slow
def test_search_for_children_that_hangs_does_not_delay_the_call(
    woven, program, context, monkeypatch
):
    """Reading the environment of a process may hang, for instance on a dead NFS."""
    searched, ended = [], threading.Event()

    def hang(pid, mark):
        searched.append(pid)
        return not ended.wait(50)

    monkeypatch.setattr(command, "_kill_marked", hang)
    driver = woven(program("exec sleep 60\n"), "command_timeout = 0.2\n")
    try:
        with pytest.raises(command.CommandError, match="killed after"):
            driver.create_share(context, SHARE)
        assert len(searched) == 1
        assert not ended.is_set()
    finally:
        ended.set()


def test_standard_error_becomes_one_short_line(woven, program, context):
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
    assert str(caught.value).endswith(": " + "0" * decision.MAX_REASON)


@pytest.mark.parametrize("kind", ["pre", "post", "error", "periodic"])
def test_secrets_are_removed_from_standard_error(woven, program, context, caplog, kind):
    key, variable = "rule-key-x1", "variable-x2"
    path = program(
        f'[ "$MANILA_ASPECTS_HOOK_METHOD" = {kind} ] || exit 0\n'
        f'echo "{SECRET} {key} $API_TOKEN password=plain" >&2; exit 1\n'
    )
    driver = woven(
        path,
        f"command_environment = API_TOKEN={variable}\n",
        BusyDriver(OSError("failed") if kind == "error" else None),
    )
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": key}]
    text = ""
    try:
        if kind == "periodic":
            aspects.tick(driver, context, [])
        elif kind == "error":
            driver.create_share(context, {**SHARE, "access_key": key})
        else:
            driver.update_access(context, SHARE, rules, rules, [])
    except (OSError, aspects.Veto, command.CommandError) as error:
        text = str(error)
    text += caplog.text
    if kind == "periodic":
        # A tick has no arguments.
        text = text.replace(key, "***")
    assert "exit status 1: *** *** *** password=***" in text
    for secret in (SECRET, key, variable, "plain"):
        assert secret not in text


def test_arguments_and_variables_of_the_program_are_removed_from_standard_error(
    woven, program, context
):
    path = program('echo "usage: $* with $QUOTA_URL and $COPIED" >&2; exit 1\n')
    driver = woven(
        f"{path} --verbose --password hunter4 --api-key=k-e-y",
        "command_environment = QUOTA_URL=http://quota/hunter3\n",
    )
    with pytest.raises(aspects.Veto) as caught:
        driver.create_share(context, SHARE)
    assert str(caught.value) == (
        "program: exit status 1: "
        "usage: --verbose --password *** --api-key=*** with *** and"
    )
    program('shift 2; echo "$1 is not known, $2" >&2; exit 1\n')
    with pytest.raises(aspects.Veto) as caught:
        driver.create_share(context, SHARE)
    assert str(caught.value).endswith("*** is not known, --api-key=***")


def test_a_secret_that_is_cut_is_removed_too(woven, program, context):
    """The kept part of standard error ends within a secret."""
    key = "abcdefghij" * 30
    path = program(
        f"yes {key} | head -c 1000000 | tr '\\n' ' ' >&2; exit 1\n",
    )
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": key}]
    with pytest.raises(aspects.Veto) as caught:
        woven(path).update_access(context, SHARE, rules, rules, [])
    text = str(caught.value).removeprefix("program: exit status 1: ")
    assert set(text) == {"*", " "}


def printing(text, status=0):
    """Return a program that writes to standard output in each method."""
    return f"cat <<'END'\n{text}\nEND\necho from standard error >&2\nexit {status}\n"


def test_a_json_object_has_the_reason_of_a_veto(woven, program, context):
    key = "rule-key-x1"
    reason = f"no\\n{SECRET} {key} variable-x2 " + "x" * 5000
    path = program(printing(f'{{"reason": "{reason}", "allowed": true}}', 3))
    driver = woven(path, "command_environment = API_TOKEN=variable-x2\n")
    with pytest.raises(aspects.Veto) as caught:
        driver.create_share(context, {**SHARE, "access_key": key})
    text = str(caught.value)
    assert text.startswith("no *** *** *** xxx")
    assert len(text) == decision.MAX_REASON
    assert not driver.calls


@pytest.mark.parametrize("dispatch", ["inline", "background"])
def test_a_json_object_replaces_arguments(woven, program, context, dispatch):
    pytest.importorskip("futurist")
    path = program(printing('{\n"arguments": {"new_size": 7},\n"allowed": false}'))
    driver = woven(path, f"hook_dispatch = {dispatch}\n", BusyDriver())
    driver.extend_share(SHARE, 71)
    aspects.weaving(driver).stop()
    assert [call.arguments["new_size"] for call in driver.calls] == [7]


@pytest.mark.parametrize("suppress", [False, True])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ("[1]", command.CommandError, "^program: standard output: arguments is not"),
        ('{"a b": 1}', command.CommandError, "^program: standard output: a key of"),
        ('{"color": 1}', TypeError, "has no argument 'color'"),
    ],
)
def test_arguments_that_are_not_valid_are_an_error(
    woven, program, context, arguments, error, message, suppress
):
    path = program(printing(f'{{"arguments": {arguments}}}'))
    driver = woven(path, f"suppress_pre_hooks_errors = {suppress}\n")
    if suppress:
        driver.create_share(context, SHARE)
    else:
        with pytest.raises(error, match=message):
            driver.create_share(context, SHARE)
    assert len(driver.calls) == suppress


OTHER_TEXTS = [
    "false",
    "0",
    "quota is used up",
    '["reason"]',
    '{"reason": "one"} {"reason": "two"}',
    'reason: {"reason": "one"}',
    '{"reason": "one"',
    '{"reason": 5}',
    '{"reason": ""}',
    '{"reason": "%s"}' % ("x" * command.MAX_OUTPUT),
]


@pytest.mark.parametrize("text", OTHER_TEXTS, ids=range(len(OTHER_TEXTS)))
def test_other_text_on_standard_output_is_discarded(woven, program, context, text):
    text = f"cat {program(text, 'text', start='')}\n"
    driver = woven(program(text))
    driver.create_share(context, SHARE)
    assert len(driver.calls) == 1
    driver = woven(program(text + "echo no >&2\nexit 1\n"))
    with pytest.raises(aspects.Veto, match=r"^program: exit status 1: no$"):
        driver.create_share(context, SHARE)


def test_standard_output_of_the_other_methods_is_discarded(woven, program, context):
    path = program(
        '[ "$MANILA_ASPECTS_HOOK_METHOD" = pre ] && exit 0\n'
        "test -c /proc/self/fd/1 || exit 1\necho '{\"arguments\": [1]}'\n"
    )
    driver = woven(path)
    driver.create_share(context, SHARE)
    aspects.tick(driver, context, [])


#: The event loop does not run between the end of the program and the next poll, so both
#: the end and the output are ready at once.
ON_EVENTLET = """
import eventlet
eventlet.monkey_patch()
import os, queue
from eventlet import hubs
from hooks.command import EVENT_ID, run

items, found = queue.Queue(), []
def work():
    program = ["/bin/sh", "-c", "echo no >&2; echo out; exit 4"]
    found.append(run(program, b"", {EVENT_ID: "1"}, 60, keep_stdout=True))
    found.append(items.get())

worker = eventlet.spawn(work)
while len(hubs.get_hub().get_readers()) < 3:
    eventlet.sleep(0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
while not found:
    eventlet.sleep(0)
items.put("item")
worker.wait()
print(found)
"""


@pytest.mark.slow
def test_on_eventlet_a_program_resumes_nothing_but_its_own_hook():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ON_EVENTLET],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[(4, b'no\\n', b'out\\n'), 'item']\n", "")

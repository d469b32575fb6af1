# SPDX-License-Identifier: Apache-2.0
"""The command hook: a program of the operator's for each action."""

import datetime
import json
import logging
import os
import signal
import stat
import time

import pytest
from oslo_context import context as oslo_context

import aspects
from hooks import command

from .fixtures_hooks.config_file import ConfigFile
from .fixtures_hooks.threads import in_a_thread

# A program that nobody waits for is to be seen soon.
pytestmark = pytest.mark.timeout(60)

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}
ALL = """
    enable_pre_hooks = True
    enable_post_hooks = True
    enable_periodic_hooks = True
"""

#: Writes down what it gets, one file for each run.
RECORDER = """
import json, os, sys
opened = [name for name in os.listdir("/proc/self/fd") if int(name) > 2]
told = {
    "arguments": sys.argv[1:],
    "event": json.load(sys.stdin),
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "files": [n for n in opened if os.path.exists(f"/proc/self/fd/{n}")],
    "leads": os.getpid() == os.getsid(0),
}
folder = os.environ["FOLDER"]
with open(f"{folder}/{len(os.listdir(folder))}.json", "w") as file:
    json.dump(told, file)
"""


class Driver:
    def __init__(self, fails=None):
        self.fails = fails
        self.calls = 0

    def create_share(self, context, share, share_server=None):
        self.calls += 1
        if self.fails:
            raise self.fails

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        self.calls += 1


@pytest.fixture
def context():
    return in_a_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        request_id="req-1",
        auth_token=SECRET,
    )


@pytest.fixture
def program(tmp_path):
    """Return what writes a program and returns its path."""

    def write(text, name="program", start="#!/bin/sh\n"):
        path = tmp_path / name
        path.write_text(start + text)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def woven(tmp_path):
    """Return what weaves a driver with the hook; it has the file it is made of."""

    def weave(path, options="", driver=None, switches=ALL):
        text = f"[alpha]\nhook_drivers = own=command\ncommand = {path}\n"
        text += switches.replace("    ", "") + options
        file = ConfigFile(tmp_path / "service.conf", text)
        section = aspects.BackendSection(file.conf, "alpha")
        woven = aspects.weave_from_config(driver or Driver(), section, "node1@alpha")
        woven._self_file = file
        return woven

    return weave


@pytest.fixture
def recorded(tmp_path, program):
    """The path of a program that records, the options for it, and the records."""
    folder = tmp_path / "runs"
    folder.mkdir()
    path = program(RECORDER, "recorder", "#!/usr/bin/env python3\n")

    def records():
        files = sorted(folder.iterdir(), key=lambda file: int(file.stem))
        return [json.loads(file.read_text()) for file in files]

    return path, f"command_environment = FOLDER={folder}\n", records


# What the program gets


def test_each_action_runs_it_with_its_event(woven, recorded, context):
    path, options, records = recorded
    woven(f"{path} 'two words' $$HOME `id`", options).create_share(context, SHARE)
    driver = woven(path, options, Driver(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        driver.create_share(context, SHARE)
    aspects.tick(driver, context, [SHARE])
    pre, post, _, error, periodic = records()
    # No shell had a look at them, and oslo.config has two dollars for one.
    assert pre["arguments"] == ["two words", "$HOME", "`id`"]
    prefix = "org.openstack.manila.share."
    assert [each["event"]["type"] for each in (pre, post, error, periodic)] == [
        f"{prefix}create_share_instance.start",
        f"{prefix}create_share_instance.end",
        f"{prefix}create_share_instance.error",
        f"{prefix}periodic",
    ]
    assert pre["event"]["data"]["share_id"] == "s1"
    assert "outcome" not in pre["event"]["data"]
    assert "duration" not in pre["event"]["data"]
    assert post["event"]["data"]["outcome"] == "success"
    assert post["event"]["data"]["duration"] >= 0
    assert error["event"]["data"]["error"] == "no space"
    assert periodic["event"]["data"]["share_instance_ids"] == ["i1"]


def test_in_the_background_it_is_told_of_the_moment(
    woven, program, recorded, context, tmp_path
):
    path, options, records = recorded
    waits = program(
        f'[ "$MANILA_ASPECTS_PHASE" = pre ] || until [ -e {tmp_path}/go ]\n'
        f"do sleep 0.05; done\nexec {path}\n"
    )
    driver = woven(waits, f"{options}hook_dispatch = background\n")
    share = dict(SHARE)
    # By the driver's end, and on a tick.
    driver.create_share(context, share)
    with pytest.raises(TypeError):
        driver.create_share(context, share, None, "one too many")
    aspects.tick(driver, context, [share])
    share["share_id"] = share["id"] = "changed later"
    returned = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(0.5)
    (tmp_path / "go").touch()
    aspects.weaving(driver).stop()
    told = [each["event"] for each in records()]
    assert [each["type"].rpartition(".")[2] for each in told] == [
        *("start", "start", "end", "error", "periodic")
    ]
    for each in told:
        assert datetime.datetime.fromisoformat(each["time"]) < returned
        assert each["data"].get("duration", 0) < 0.5
        assert "changed later" not in json.dumps(each)
    assert told[2]["data"]["share_id"] == "s1"
    # A decision was waited for.
    assert driver.calls == 1


def test_in_the_background_its_failure_is_logged_without_secrets(
    woven, program, context, caplog
):
    path = program(
        '[ "$MANILA_ASPECTS_PHASE" = pre ] && exit 0\n'
        f'echo "{SECRET} k-e-y" >&2; exit 3\n'
    )
    driver = woven(path, "hook_dispatch = background\n")
    rule = {"access_to": "joe", "access_type": "cephx", "access_key": "k-e-y"}
    driver.update_access(context, SHARE, [rule], [rule], [])
    aspects.tick(driver, context, [])
    aspects.weaving(driver).stop()
    assert "post action of hook own of backend alpha in allow_access" in caplog.text
    assert "periodic action of hook own of backend alpha in periodic" in caplog.text
    assert "CommandError: program: exit status 3: *** ***" in caplog.text
    assert SECRET not in caplog.text


def test_environment_is_small_and_tells_of_the_action(
    woven, recorded, context, monkeypatch
):
    path, options, records = recorded
    for name in [name for name in os.environ if name.startswith("LC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("OS_PASSWORD", SECRET)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PROXY", "http://proxy")
    options = options.strip() + ", PROXY, NOT_SET, EMPTY=, SUM=1+1=2\n"
    driver = woven(path, options)
    driver.create_share(context, SHARE)
    aspects.tick(driver, context, [])
    pre, post, periodic = records()
    common = {
        "PATH": command.PATH,
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "PROXY": "http://proxy",
        "EMPTY": "",
        "SUM": "1+1=2",
        "FOLDER": pre["environment"]["FOLDER"],
        "MANILA_ASPECTS_BACKEND": "alpha",
        "MANILA_ASPECTS_HOST": "node1@alpha",
        "MANILA_ASPECTS_OPERATION": "create_share_instance",
        "MANILA_ASPECTS_METHOD": "create_share",
    }
    of_periodic = {
        **common,
        "MANILA_ASPECTS_OPERATION": "",
        "MANILA_ASPECTS_METHOD": "",
    }
    for run, phase, expected in [
        (pre, "pre", common),
        (post, "post", common),
        (periodic, "periodic", of_periodic),
    ]:
        assert run["environment"] == {
            **expected,
            "MANILA_ASPECTS_PHASE": phase,
            "MANILA_ASPECTS_EVENT_ID": run["event"]["id"],
        }


def test_it_is_alone(woven, recorded, context):
    """In a folder, a session and with files that are not the service's."""
    path, options, records = recorded
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        woven(path, options).create_share(context, SHARE)
    finally:
        os.close(reader)
        os.close(writer)
    for run in records():
        assert run["folder"] == "/"
        assert run["leads"]
        assert run["files"] == []


def test_path_may_be_another(woven, program, context, tmp_path):
    path = program(f"touch {tmp_path}/ran\n", "by-name")
    driver = woven(
        "by-name", f"command_environment = PATH={path.parent}:{command.PATH}\n"
    )
    driver.create_share(context, SHARE)
    assert (tmp_path / "ran").exists()


def test_no_secret_of_the_call_is_given_to_it(woven, recorded, context):
    path, options, records = recorded
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": SECRET}]
    woven(path, options).update_access(context, SHARE, rules, rules, [])
    runs = records()
    assert [run["event"]["data"]["operation"] for run in runs] == ["allow_access"] * 2
    assert SECRET not in json.dumps(runs)


# What comes of it


def test_status_of_a_pre_action_is_a_decision(woven, program, context):
    path = program("echo noise; echo quota is used up >&2; exit 3\n")
    driver = woven(path, "suppress_pre_hooks_errors = True\n")
    with pytest.raises(aspects.Veto) as caught:
        driver.create_share(context, SHARE)
    assert str(caught.value) == "program: exit status 3: quota is used up"
    assert driver.calls == 0


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
    driver = woven(program(AFTER), driver=Driver(OSError("no space")))
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
    assert driver.calls == suppress


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
    assert driver.calls == suppress


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


# No secrets


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
        Driver(OSError("failed") if phase == "error" else None),
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


# The options


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("command =", "command is not set"),
        ("command = /nowhere/program", "'/nowhere/program' is not there"),
        ("command = no-such-program-x", "'no-such-program-x' is not there"),
        ("command = {folder}", "is not there, or not executable"),
        ("command = {folder}/plain", "is not there, or not executable"),
        ("command = sub/program", "write an absolute path"),
        ("command = /bin/sh 'x", "command = /bin/sh 'x: No closing quotation"),
        ("command = /bin/sh\ncommand_timeout = 0", "greater than or equal to 0.1"),
        ("command = /bin/sh\ncommand_environment = A=1, 2B=x", "'2B' is not a name"),
    ],
)
def test_what_is_wrong_is_told_at_the_start(tmp_path, options, cause):
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    assert not (tmp_path / "plain").stat().st_mode & stat.S_IXUSR
    text = f"[alpha]\nhook_drivers = command\n{options.format(folder=tmp_path)}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(
            Driver(), aspects.BackendSection(file.conf, "alpha"), "node1@alpha"
        )
    (problem,) = caught.value.problems
    assert problem.section == "alpha"
    assert cause in str(problem)


def test_secret_in_the_environment_option_is_not_told(tmp_path):
    text = "[alpha]\nhook_drivers = command\ncommand = /bin/sh\n"
    text += f"command_environment = TO KEN={SECRET}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(
            Driver(), aspects.BackendSection(file.conf, "alpha"), "node1@alpha"
        )
    assert "'TO KEN' is not a name" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_environment_option_is_not_in_the_log_of_options(woven, program, caplog):
    """As Manila writes it when it starts with ``debug = True``, and at a reload."""
    driver = woven(program(""), f"command_environment = TOKEN={SECRET}\n")
    file = driver._self_file
    with caplog.at_level(logging.DEBUG):
        file.conf.log_opt_values(logging.getLogger(), logging.DEBUG)
        file.mutate(file.path.read_text().replace(SECRET, f"{SECRET}-2"))
    assert "alpha.command_timeout" in caplog.text
    (hook,) = aspects.weaving(driver).hooks
    assert hook.get_config_option("command_environment") == [f"TOKEN={SECRET}-2"]
    assert SECRET not in caplog.text


def test_making_the_hook_runs_nothing(woven, program, tmp_path):
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


def test_program_that_is_gone_is_an_error(woven, program, context):
    path = program("exit 0\n")
    driver = woven(path)
    path.unlink()
    with pytest.raises(ValueError, match="is not there"):
        driver.create_share(context, SHARE)
    assert driver.calls == 0


def test_program_that_cannot_be_run_is_an_error(woven, program, context):
    """It is executable, and nothing that the system could execute."""
    driver = woven(program("\0nothing", start=""))
    with pytest.raises(OSError, match="Exec format error"):
        driver.create_share(context, SHARE)
    assert driver.calls == 0

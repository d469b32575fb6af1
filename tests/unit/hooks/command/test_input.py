# SPDX-License-Identifier: Apache-2.0
"""The input of the program: the event, its environment and its path."""

import datetime
import json
import os

import pytest

import aspects
from hooks import command
from tests.support.clock import Clock
from tests.support.drivers import BusyDriver

from .common import SECRET, SHARE

# A test that hangs on a program fails early.
pytestmark = pytest.mark.timeout(60)


#: Records its input and environment, in one file a run.
RECORDER = """
import json, os, sys
opened = [name for name in os.listdir("/proc/self/fd") if int(name) > 2]
record = {
    "arguments": sys.argv[1:],
    "event": json.load(sys.stdin),
    "environment": dict(os.environ),
    "directory": os.getcwd(),
    "files": [n for n in opened if os.path.exists(f"/proc/self/fd/{n}")],
    "leads": os.getpid() == os.getsid(0),
}
directory = os.environ["DIRECTORY"]
with open(f"{directory}/{len(os.listdir(directory))}.json", "w") as file:
    json.dump(record, file)
"""


@pytest.fixture
def recorded(tmp_path, program):
    """Return the path of a recording program, its options, and its records."""
    directory = tmp_path / "runs"
    directory.mkdir()
    path = program(RECORDER, "recorder", "#!/usr/bin/env python3\n")

    def records():
        files = sorted(directory.iterdir(), key=lambda file: int(file.stem))
        return [json.loads(file.read_text()) for file in files]

    return path, f"command_environment = DIRECTORY={directory}\n", records


def test_each_hook_method_runs_the_program_with_its_event(woven, recorded, context):
    path, options, records = recorded
    woven(f"{path} 'two words' $$HOME `id`", options).create_share(context, SHARE)
    driver = woven(path, options, BusyDriver(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        driver.create_share(context, SHARE)
    aspects.tick(driver, context, [SHARE])
    pre, post, _, error, periodic = records()
    # No shell expanded the arguments; oslo.config turned $$ into $.
    assert pre["arguments"] == ["two words", "$HOME", "`id`"]
    prefix = "org.openstack.manila.share."
    assert [run["event"]["type"] for run in (pre, post, error, periodic)] == [
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


def test_event_in_the_background_is_made_during_the_call(
    woven, program, recorded, context, tmp_path, monkeypatch
):
    clock = Clock()
    monkeypatch.setattr("hooks.events.hook.time", clock)
    path, options, records = recorded
    waits = program(
        f'[ "$MANILA_ASPECTS_HOOK_METHOD" = pre ] || until [ -e {tmp_path}/go ]\n'
        f"do sleep 0.05; done\nexec {path}\n"
    )
    driver = woven(waits, f"{options}hook_dispatch = background\n")
    share = dict(SHARE)
    # A call that returns, a call that raises, and a tick.
    driver.create_share(context, share)
    with pytest.raises(TypeError):
        driver.create_share(context, share, None, "one too many")
    aspects.tick(driver, context, [share])
    share["share_id"] = share["id"] = "changed later"
    returned = datetime.datetime.now(datetime.timezone.utc)
    clock.advance(60)
    (tmp_path / "go").touch()
    aspects.weaving(driver).stop()
    events = [run["event"] for run in records()]
    assert [event["type"].rpartition(".")[2] for event in events] == [
        *("start", "start", "end", "error", "periodic")
    ]
    for event in events:
        assert datetime.datetime.fromisoformat(event["time"]) < returned
        assert event["data"].get("duration", 0) == 0
        assert "changed later" not in json.dumps(event)
    assert events[2]["data"]["share_id"] == "s1"
    # The driver ran after the pre method's program had allowed the call.
    assert len(driver.calls) == 1


def test_failure_in_the_background_is_logged_without_secrets(
    woven, program, context, caplog
):
    path = program(
        '[ "$MANILA_ASPECTS_HOOK_METHOD" = pre ] && exit 0\n'
        f'echo "{SECRET} k-e-y" >&2; exit 3\n'
    )
    driver = woven(path, "hook_dispatch = background\n")
    rule = {"access_to": "joe", "access_type": "cephx", "access_key": "k-e-y"}
    driver.update_access(context, SHARE, [rule], [rule], [])
    aspects.tick(driver, context, [])
    aspects.weaving(driver).stop()
    assert "post method of hook own of backend alpha in allow_access" in caplog.text
    assert "periodic method of hook own of backend alpha in periodic" in caplog.text
    assert "CommandError: program: exit status 3: *** ***" in caplog.text
    assert SECRET not in caplog.text


def test_environment_has_only_the_documented_variables(
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
        "DIRECTORY": pre["environment"]["DIRECTORY"],
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
    for run, kind, expected in [
        (pre, "pre", common),
        (post, "post", common),
        (periodic, "periodic", of_periodic),
    ]:
        assert run["environment"] == {
            **expected,
            "MANILA_ASPECTS_HOOK_METHOD": kind,
            "MANILA_ASPECTS_EVENT_ID": run["event"]["id"],
        }


def test_directory_session_and_open_files_are_not_those_of_the_service(
    woven, recorded, context
):
    path, options, records = recorded
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        woven(path, options).create_share(context, SHARE)
    finally:
        os.close(reader)
        os.close(writer)
    for run in records():
        assert run["directory"] == "/"
        assert run["leads"]
        assert run["files"] == []


def test_command_environment_may_set_path(woven, program, context, tmp_path):
    path = program(f"touch {tmp_path}/ran\n", "by-name")
    driver = woven(
        "by-name", f"command_environment = PATH={path.parent}:{command.PATH}\n"
    )
    driver.create_share(context, SHARE)
    assert (tmp_path / "ran").exists()


def test_program_gets_no_secret_of_the_call(woven, recorded, context):
    path, options, records = recorded
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": SECRET}]
    woven(path, options).update_access(context, SHARE, rules, rules, [])
    runs = records()
    assert [run["event"]["data"]["operation"] for run in runs] == ["allow_access"] * 2
    assert SECRET not in json.dumps(runs)

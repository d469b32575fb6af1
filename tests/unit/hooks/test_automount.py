# SPDX-License-Identifier: Apache-2.0
"""The automount program: access rules, commands and options.

Real mounts, and the notifications, are in the functional tests.
"""

import json
import shlex
import signal
import sys
import threading
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from oslo_config import cfg

import aspects
from aspects.testing import FakeDriver, make_hook
from hooks import automount
from hooks.events import event
from tests.support.threads import run_in_thread
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(60)

SECRET = "hunter2-Zq9"
HOST = ("10.0.0.7", "fd00::7", "joe")
MOUNT = "mount {source} {target} {options}"


def rule(to="10.0.0.7", level="rw", kind="ip"):
    return {"access_type": kind, "access_to": to, "access_level": level}


def data_of(operation="allow_access", method="update_access", **rules):
    return {
        "operation": operation,
        "method": method,
        "share_id": "s1",
        "export_locations": ["10.0.0.10:/s1", "10.0.0.20:/s1"],
        **rules,
    }


# The access of a host


@pytest.mark.parametrize(
    ("to", "kind", "level"),
    [
        ("10.0.0.7", "ip", "rw"),
        ("10.0.0.7/32", "ip", "rw"),
        ("10.0.0.0/24", "ip", "rw"),
        ("10.0.0.5/24", "ip", "rw"),
        ("0.0.0.0/0", "ip", "rw"),
        ("fd00::/64", "ip", "rw"),
        ("fd00:0::7", "ip", "rw"),
        ("joe", "user", "rw"),
        ("10.0.0.70", "ip", ""),
        ("10.0.0.0/30", "ip", ""),
        ("fd01::/64", "ip", ""),
        ("joe", "ip", ""),
        ("jo", "user", ""),
        (None, "ip", ""),
    ],
)
def test_rule_matches_addresses_networks_and_users(to, kind, level):
    data = data_of(access_rules=[rule(to, kind=kind)])
    assert automount.access_of_host(data, HOST) == level


@pytest.mark.parametrize(
    ("levels", "level"),
    [(["ro"], "ro"), (["ro", "rw"], "rw"), (["rw", "ro"], "rw"), ([], "")],
)
def test_highest_of_several_access_levels_counts(levels, level):
    data = data_of(access_rules=[rule(level=one) for one in levels])
    assert automount.access_of_host(data, HOST) == level


OTHER = rule("10.0.0.8")


@pytest.mark.parametrize(
    ("data", "level"),
    [
        # update_access has all rules in force after the call.
        (data_of(access_rules=[rule()], add_rules=[rule()]), "rw"),
        (data_of(access_rules=[rule(), OTHER], add_rules=[OTHER]), "rw"),
        (data_of("deny_access", access_rules=[OTHER], delete_rules=[rule()]), ""),
        (data_of("deny_access", access_rules=[rule()], delete_rules=[rule()]), "rw"),
        (data_of("deny_access", delete_rules=[OTHER]), ""),
        (data_of("update_access", access_rules=[rule(level="ro")]), "ro"),
        (data_of("update_access"), ""),
        ({**data_of(access_rules=[OTHER]), "incomplete": ["access_rules"]}, None),
        ({**data_of(access_rules=[rule()]), "incomplete": ["metadata"]}, "rw"),
        # Without update_access, a call has one rule, and the hook adds the others.
        (data_of(method="allow_access", add_rules=[rule()]), None),
        (data_of("deny_access", "deny_access", delete_rules=[rule()]), None),
        (
            data_of(
                "deny_access",
                "deny_access",
                delete_rules=[rule()],
                access_rules=[rule("10.0.0.0/24", "ro")],
            ),
            "ro",
        ),
        (data_of("delete_share_instance", "delete_share"), ""),
    ],
)
def test_access_after_a_call(data, level):
    assert automount.access_of_host(data, HOST) == level


@pytest.mark.parametrize(
    ("method", "rules", "level"),
    [
        ("update_access", ([rule()], [rule()], []), "rw"),
        ("update_access", ([], [], [rule()]), ""),
        ("update_access", ([], [], []), ""),
        ("allow_access", (rule(level="ro"),), None),
        ("deny_access", (rule(),), None),
    ],
)
def test_access_after_a_call_of_a_woven_driver(method, rules, level):
    seen = []

    class Spy(aspects.HookBase):
        def _execute_pre_hook(self, context, func_name, *args, **kwargs):
            seen.append(event.data_of(context, func_name, args, kwargs))

        _execute_post_hook = _execute_periodic_hook = _execute_pre_hook

    hook = Spy(None, "node1")
    hook.pre_hooks_enabled = True
    driver = aspects.weave(FakeDriver(), [hook], "alpha", "node1")
    share = {"id": "i1", "share_id": "s1", "export_locations": [{"path": "h:/s1"}]}
    getattr(driver, method)(SimpleNamespace(), share, *rules)
    (data,) = seen
    assert data["share_id"] == "s1"
    assert automount.access_of_host(data, HOST) == level


@pytest.mark.parametrize(
    ("states", "notified"),
    [
        ({"r1": "active", "r2": "active"}, ["10.0.0.7", "10.0.0.8"]),
        ({"r1": "active", "r2": "error"}, ["10.0.0.7"]),
        ({"r1": "error", "r2": "error"}, []),
        # Manila knows no such rule, and sets all rules to "error".
        ({"r3": "error"}, []),
    ],
)
def test_refused_rules_are_not_notified(states, notified):
    sent = []

    class Hook(automount.AutomountHook):
        def deliver(self, event):
            sent.append(event)

    result = {name: {"state": state} for name, state in states.items()}
    options = {"notification_transport_url": "fake://", "enable_post_hooks": True}
    hook = make_hook(Hook, **options)
    rules = [
        {"id": "i1", "access_id": "r1", **rule("10.0.0.7")},
        {"id": "i2", "access_id": "r2", **rule("10.0.0.8")},
    ]
    driver = aspects.weave(FakeDriver(update_access=result), [hook])
    driver.update_access(SimpleNamespace(), {"id": "s1"}, rules, rules, [])
    (message,) = sent
    # The program handles only notifications of this type.
    assert message["type"] == "org.openstack.manila.share.allow_access.end"
    for name in ("access_rules", "add_rules"):
        assert [rule["access_to"] for rule in message["data"][name]] == notified


def test_no_notification_if_the_rules_in_force_are_unknown():
    sent = []

    class Hook(automount.AutomountHook):
        def deliver(self, event):
            sent.append(event)

    options = {"notification_transport_url": "fake://", "enable_post_hooks": True}
    hook = make_hook(Hook, **options)
    driver = aspects.weave(FakeDriver(update_access="no dict"), [hook])
    driver.update_access(SimpleNamespace(), {"id": "s1"}, [rule()], [rule()], [])
    assert sent == []


# The table of mounts


def test_only_mount_points_are_mounted(tmp_path):
    assert automount.mounted(Path("/proc")) in ("rw", "ro")
    assert automount.mounted(tmp_path) == ""
    assert automount.mounted(tmp_path / "missing") == ""


@pytest.fixture
def table(monkeypatch, tmp_path):
    """Return a function that sets the kernel's table of mounts, initially empty."""
    file = tmp_path / "mountinfo"
    real = open

    def opened(path, *args, **kwargs):
        return real(file if path == "/proc/self/mountinfo" else path, *args, **kwargs)

    monkeypatch.setattr(automount, "open", opened, raising=False)

    def write(*mounts):
        file.write_text(
            "".join(
                f"36 35 98:0 / {target} {options} master:1 - nfs h:/s rw\n"
                for target, options in mounts
            )
        )

    write()
    return write


def test_escaped_paths_in_the_table_are_found(table):
    table((r"/a\040b\134c", "ro,noatime"), ("/a", "rw"), ("/ro", "rw"))
    assert automount.mounted(Path(r"/a b\c")) == "ro"
    assert automount.mounted(Path("/a")) == "rw"
    assert automount.mounted(Path("/ro")) == "rw"
    assert automount.mounted(Path("/a b")) == ""


def test_last_of_several_mounts_on_a_directory_counts(table):
    table(("/a", "ro"), ("/a", "rw"))
    assert automount.mounted(Path("/a")) == "rw"


# Mounting and unmounting


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Return the script to run, the commands seen, and a file that makes it fail."""
    log = tmp_path / "commands"
    log.touch()
    script = tmp_path / "run"
    script.write_text(
        f"#!{sys.executable} -IS\n"
        "import json, os, sys\n"
        f"with open({str(log)!r}, 'a') as log:\n"
        "    print(json.dumps(sys.argv[1:]), file=log)\n"
        f"if os.path.exists({str(tmp_path / 'fail')!r}):\n"
        f"    sys.exit('password={SECRET}: no')\n"
        f"with open({str(tmp_path / 'mountinfo')!r}, 'r+') as table:\n"
        "    lines = table.readlines()\n"
        "    if sys.argv[1] == 'umount':\n"
        "        lines.reverse()\n"
        "        found = [l for l in lines if l.split(' ')[4] == sys.argv[2]]\n"
        "        lines.remove(found[0])\n"
        "        lines.reverse()\n"
        "    else:\n"
        "        level = sys.argv[-1].split(',')[0]\n"
        "        target = sys.argv[3]\n"
        "        lines.append(f'36 35 98:0 / {target} {level} - nfs h:/s rw\\n')\n"
        "    table.seek(0)\n"
        "    table.writelines(lines)\n"
        "    table.truncate()\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(automount, "PAUSE", 0)
    return SimpleNamespace(
        run=str(script),
        fail=tmp_path / "fail",
        seen=lambda: [json.loads(line) for line in log.read_text().splitlines()],
    )


@pytest.fixture
def mounts(tmp_path, table, commands):
    root = tmp_path / "mounts"
    return automount.Mounts(
        root,
        HOST,
        f"{commands.run} mount {{source}} {{target}} -o {{options}},nodev",
        f"{commands.run} umount {{target}}",
    )


@pytest.mark.parametrize("level", ["rw", "ro"])
def test_share_is_mounted_with_the_access_level(mounts, commands, level):
    mounts.update(data_of(access_rules=[rule(level=level)]))
    target = mounts.root / "s1"
    expected = ["mount", "10.0.0.10:/s1", str(target), "-o", f"{level},nodev"]
    assert commands.seen() == [expected]
    assert target.is_dir()


@pytest.mark.parametrize(
    ("current", "wanted", "run"),
    [
        ("rw", "rw", []),
        ("ro", "ro", []),
        ("", "", []),
        ("rw", "", ["umount"]),
        ("rw", "ro", ["umount", "mount"]),
        ("ro", "rw", ["umount", "mount"]),
        ("rw", None, []),
    ],
)
def test_only_a_change_of_access_runs_commands(
    mounts, commands, table, current, wanted, run
):
    if current:
        table((mounts.root / "s1", current))
    rules = {"access_rules": [rule(level=wanted)] if wanted else []}
    method = "update_access"
    if wanted is None:
        method, rules = "allow_access", {"add_rules": [OTHER]}
    mounts.update(data_of(method=method, **rules))
    assert [command[0] for command in commands.seen()] == run


def test_empty_mount_point_is_removed_after_unmounting(mounts, table):
    target = mounts.root / "s1"
    for content, left in ((False, False), (True, True)):
        target.mkdir(parents=True, exist_ok=True)
        if content:
            (target / "file").touch()
        table((target, "rw"))
        mounts.update(data_of("delete_share_instance", "delete_share"))
        assert target.exists() is left


def test_no_shell_expands_the_export_location(mounts, commands):
    data = data_of(access_rules=[rule()])
    data["export_locations"] = ["h:/a b; $(touch c) {target}"]
    mounts.update(data)
    assert commands.seen()[0][1] == "h:/a b; $(touch c) {target}"


@pytest.mark.parametrize(
    "share", ["../etc", "a/b", "", ".", "..", "-o", "a b", "a\n", "/etc", None]
)
def test_unsafe_share_id_is_rejected(mounts, commands, share):
    for data in (data_of(access_rules=[rule()]), data_of("delete_share_instance", "x")):
        with pytest.raises(ValueError, match="unsafe share ID"):
            mounts.update(data | {"share_id": share or ""})
    assert commands.seen() == []


@pytest.mark.parametrize("source", ["-oexec", "", "a\nb", "a\0b", None])
def test_unsafe_export_location_is_rejected(mounts, commands, source):
    data = data_of(access_rules=[rule()])
    data["export_locations"] = [] if source is None else [source, "h:/good"]
    with pytest.raises(ValueError, match="unsafe export location"):
        mounts.update(data)
    assert commands.seen() == []
    assert not mounts.root.exists()


def test_failing_command_is_tried_several_times(mounts, commands):
    commands.fail.touch()
    with pytest.raises(OSError, match="status 1"):
        mounts.update(data_of(access_rules=[rule()]))
    assert len(commands.seen()) == automount.ATTEMPTS
    # Without the directory, nothing can be written to it instead of the share.
    assert not (mounts.root / "s1").exists()
    commands.fail.unlink()
    mounts.update(data_of(access_rules=[rule()]))
    assert len(commands.seen()) == automount.ATTEMPTS + 1


@pytest.fixture
def children(tmp_path, table, monkeypatch):
    """Return a function that mounts with a shell script whose child never ends.

    It returns the error, and the IDs of the children.
    """
    monkeypatch.setattr(automount, "TIMEOUT", 0.5)
    monkeypatch.setattr(automount, "PAUSE", 0)
    monkeypatch.setattr(automount, "ATTEMPTS", 1)
    pids = tmp_path / "pids"

    def mount(script):
        file = tmp_path / "mount"
        file.write_text(f"#!/bin/sh\npids={pids}\n{script}\n")
        file.chmod(0o755)
        mounts = automount.Mounts(
            tmp_path / "mounts", HOST, f"{file} {MOUNT}", "umount {target}"
        )
        with pytest.raises(OSError, match="/s1: ") as caught:
            mounts.update(data_of(access_rules=[rule()]))
        return str(caught.value), [int(pid) for pid in pids.read_text().split()]

    return mount


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("start", ["", "setsid "])
@pytest.mark.slow
def test_hanging_command_is_killed_with_its_children(children, start):
    """A child that survives would mount after access has been denied."""
    error, pids = children(
        f'{start}sh -c "echo \\$\\$ >> $pids; exec sleep 1000" &\n'
        "echo $$ >> $pids; sleep 1000"
    )
    assert "killed after 0.5 s" in error
    assert len(pids) == 2
    wait_for(lambda: all(map(ended, pids)), "the processes end")


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 32])
def test_process_that_a_command_leaves_behind_is_killed(children, status):
    """For instance ``mount -o bg`` tries again in the background, for days."""
    error, pids = children(
        'setsid sh -c "echo \\$\\$ > $pids; exec sleep 1000" &\n'
        f"until [ -s $pids ]; do sleep 0.01; done; exit {status}"
    )
    assert f"exit status {status}" in error
    wait_for(lambda: all(map(ended, pids)), "the process ends")


def test_command_without_an_effect_is_an_error(tmp_path, table, monkeypatch):
    monkeypatch.setattr(automount, "PAUSE", 0)
    mounts = automount.Mounts(
        tmp_path / "mounts", HOST, f"true {MOUNT}", "true {target}"
    )
    with pytest.raises(OSError, match="s1: exit status 0, but without the expected"):
        mounts.update(data_of(access_rules=[rule()]))
    table((mounts.root / "s1", "rw"))
    with pytest.raises(OSError, match="s1: exit status 0, but without the expected"):
        mounts.update(data_of(access_rules=[]))


def test_mount_counts_whatever_the_exit_status(mounts, commands, monkeypatch):
    """The last attempt may have mounted, although it was killed or failed."""
    run = automount.run
    monkeypatch.setattr(automount, "ATTEMPTS", 1)
    monkeypatch.setattr(
        automount, "run", lambda *args: (run(*args) and None, b"killed", b"")
    )
    mounts.update(data_of(access_rules=[rule()]))
    assert automount.mounted(mounts.root / "s1") == "rw"
    assert len(commands.seen()) == 1


@pytest.mark.parametrize("wanted", ["rw", "ro", ""])
def test_all_of_several_mounts_are_unmounted(mounts, commands, table, wanted):
    target = mounts.root / "s1"
    table((target, "rw"), (mounts.root / "s2", "rw"), (target, "ro"), (target, "ro"))
    rules = [rule(level=wanted)] if wanted else []
    mounts.update(data_of(access_rules=rules))
    run = [command[0] for command in commands.seen()]
    # A mount with the wanted access is left alone, and what is below it is hidden.
    assert (
        run == {"": ["umount"] * 3, "rw": ["umount"] * 3 + ["mount"], "ro": []}[wanted]
    )
    assert automount.mounted(target) == wanted
    assert automount.mounted(mounts.root / "s2") == "rw"


def test_command_that_unmounts_several_at_once_runs_once(mounts, table, monkeypatch):
    target = mounts.root / "s1"
    table((target, "rw"), (target, "rw"))
    seen = []

    def run(command, *rest):
        seen.append(command[1])
        table()
        return 0, b"", b""

    monkeypatch.setattr(automount, "run", run)
    mounts.update(data_of(access_rules=[]))
    assert seen == ["umount"]


# The checks of shares whose commands failed


NEVER = threading.Event()


@pytest.mark.slow
def test_share_that_could_not_be_unmounted_is_unmounted_later(
    mounts, commands, table, caplog
):
    target = mounts.root / "s1"
    table((target, "rw"))
    commands.fail.touch()
    with pytest.raises(OSError, match="status 1"):
        mounts.update(data_of(access_rules=[]))
    for _ in range(2 * automount.CHECKS):
        mounts.check(NEVER)
    assert caplog.text.count("access to share s1 again") == 2 * automount.CHECKS
    assert SECRET not in caplog.text
    commands.fail.unlink()
    mounts.check(NEVER)
    assert automount.mounted(target) == ""


def test_mount_that_appears_after_access_was_denied_is_undone(mounts, commands, table):
    """A command that was given up may have had its effect later."""
    commands.fail.touch()
    with pytest.raises(OSError, match="status 1"):
        mounts.update(data_of(access_rules=[rule()]))
    commands.fail.unlink()
    mounts.update(data_of(access_rules=[]))
    mounts.check(NEVER)
    table((mounts.root / "s1", "rw"))
    mounts.check(NEVER)
    assert automount.mounted(mounts.root / "s1") == ""


@pytest.mark.slow
def test_share_that_could_not_be_mounted_is_tried_a_limited_number_of_times(
    mounts, commands
):
    commands.fail.touch()
    with pytest.raises(OSError, match="status 1"):
        mounts.update(data_of(access_rules=[rule()]))
    before = len(commands.seen())
    for _ in range(2 * automount.CHECKS):
        mounts.check(NEVER)
    assert len(commands.seen()) == before + automount.CHECKS


def test_shares_without_failures_are_not_checked(mounts, commands, table):
    mounts.update(data_of(access_rules=[rule()]))
    # The operator unmounts it.
    table()
    mounts.check(NEVER)
    assert len(commands.seen()) == 1


def test_check_ends_when_the_program_stops(mounts, commands):
    commands.fail.touch()
    with pytest.raises(OSError, match="status 1"):
        mounts.update(data_of(access_rules=[rule()]))
    before = len(commands.seen())
    stopping = threading.Event()
    stopping.set()
    mounts.check(stopping)
    assert len(commands.seen()) == before


# Calls that report one rule


@pytest.fixture
def in_process(mounts, table, monkeypatch):
    """Return a :class:`Mounts` whose commands change the table in this process."""
    levels = {}

    def run(command, *rest):
        if command[1] == "umount":
            del levels[command[2]]
        else:
            levels[command[3]] = command[-1].split(",")[0]
        table(*levels.items())
        return 0, b"", b""

    monkeypatch.setattr(automount, "run", run)
    return mounts


NETWORK = rule("10.0.0.0/24", "ro")


def allowed(changed):
    return data_of(method="allow_access", add_rules=[changed])


def denied(changed):
    return data_of("deny_access", "deny_access", delete_rules=[changed])


@pytest.mark.parametrize("seed", range(20))
def test_share_is_mounted_while_any_rule_allows_it(in_process, seed):
    """Compare random changes with a list of the rules in force."""
    random = Random(seed)
    rules = [rule(), rule(level="ro"), NETWORK, rule("joe", "rw", "user"), OTHER]
    in_force = []
    for _ in range(30):
        changed = random.choice(rules)
        if random.random() < 0.2:
            in_force = random.sample(rules, random.randrange(len(rules)))
            data = data_of(access_rules=in_force)
        elif changed in in_force:
            in_force = [one for one in in_force if one != changed]
            data = denied(changed)
        else:
            in_force = [*in_force, changed]
            data = allowed(changed)
        in_process.update(data)
        expected = automount.access_of_host(data_of(access_rules=in_force), HOST)
        assert automount.mounted(in_process.root / "s1") == expected


def test_mount_of_an_earlier_program_counts_as_a_rule(in_process, table, caplog):
    target = in_process.root / "s1"
    table((target, "rw"))
    in_process.update(allowed(NETWORK))
    assert "rules of share s1 are not known" in caplog.text
    in_process.update(denied(NETWORK))
    in_process.update(denied(rule()))
    assert automount.mounted(target) == "rw"


def test_rules_of_a_deleted_share_are_forgotten(in_process):
    in_process.update(allowed(rule()))
    in_process.update(data_of("delete_share_instance", "delete_share"))
    assert automount.mounted(in_process.root / "s1") == ""
    in_process.update(allowed(NETWORK))
    assert automount.mounted(in_process.root / "s1") == "ro"
    assert list(in_process._rules) == ["s1"]
    in_process.update(data_of("delete_share_instance", "delete_share"))
    assert not in_process._rules


class WithoutUpdateAccess:
    """A driver that implements allow_access and deny_access only."""

    def update_access(
        self, context, share, access_rules, add_rules, delete_rules, update_rules
    ):
        raise NotImplementedError

    def allow_access(self, context, share, access, share_server=None):
        """Allow anything."""

    deny_access = allow_access


@pytest.fixture
def sending(monkeypatch):
    """Return a woven driver, and the data of the notifications that the hook sends."""
    sent = []
    monkeypatch.setattr(
        automount.AutomountHook,
        "deliver",
        lambda self, sent_event: sent.append(sent_event["data"]),
    )
    hook = make_hook(
        automount.AutomountHook,
        notification_transport_url="fake://",
        enable_post_hooks=True,
    )
    return aspects.weave(WithoutUpdateAccess(), [hook], "alpha", "node1"), sent


def change(driver, add=(), delete=(), in_force=(), share="s1"):
    """Change the rules of a share as Manila does."""
    instance = {"id": f"i-{share}", "share_id": share, "export_locations": []}
    with pytest.raises(NotImplementedError):
        driver.update_access(None, instance, [*in_force], [*add], [*delete], [])
    for one in add:
        driver.allow_access(None, instance, one, share_server=None)
    for one in delete:
        driver.deny_access(None, instance, one, share_server=None)


def test_hook_adds_the_rules_in_force_for_a_driver_without_update_access(sending):
    driver, sent = sending
    change(driver, [rule(), OTHER], in_force=[rule(), OTHER])
    change(driver, [NETWORK], [OTHER], [rule(), NETWORK])
    change(driver, delete=[rule(), NETWORK])
    assert [(data["method"], data["access_rules"]) for data in sent] == [
        ("allow_access", [rule(), OTHER]),
        ("allow_access", [rule(), OTHER]),
        ("allow_access", [rule(), NETWORK]),
        ("deny_access", [rule(), NETWORK]),
        ("deny_access", []),
        ("deny_access", []),
    ]


def test_hook_adds_no_rules_of_another_call(sending):
    driver, sent = sending
    change(driver, [rule()], in_force=[rule()])
    instance = {"id": "i-s1", "share_id": "s1", "export_locations": []}
    # These calls do not follow from the last update_access.
    driver.allow_access(None, instance, OTHER)
    driver.deny_access(None, instance, rule())
    driver.allow_access(None, {**instance, "id": "i2"}, rule())
    run_in_thread(driver.allow_access, None, instance, rule())
    assert [data.get("access_rules") for data in sent] == [[rule()], *[None] * 4]


def test_missing_command_is_an_error(tmp_path, table, monkeypatch):
    monkeypatch.setattr(automount, "PAUSE", 0)
    mounts = automount.Mounts(
        tmp_path / "mounts", HOST, f"/no/such/{MOUNT}", "umount {target}"
    )
    with pytest.raises(FileNotFoundError):
        mounts.update(data_of(access_rules=[rule()]))


def test_dry_run_prints_the_commands(tmp_path, table, capsys):
    root = tmp_path / "the mounts"
    mounts = automount.Mounts(root, HOST, MOUNT, "umount {target}", dry_run=True)
    mounts.update(data_of(access_rules=[rule()]))
    table((str(root / "s1").replace(" ", r"\040"), "rw"))
    mounts.update(data_of("delete_share_instance", "delete_share"))
    printed = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    target = str(root / "s1")
    assert printed == [
        ["mount", "10.0.0.10:/s1", target, "rw"],
        ["umount", target],
    ]
    assert not root.exists()


def test_symbolic_links_in_the_root_are_resolved(tmp_path, table, commands):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    mounts = automount.Mounts(
        tmp_path / "link", HOST, f"{commands.run} {MOUNT}", "umount {target}"
    )
    # The kernel's table has paths without symbolic links.
    table((tmp_path / "real" / "s1", "rw"))
    mounts.update(data_of(access_rules=[rule()]))
    assert commands.seen() == []


# The notifications


@pytest.fixture
def notified(mounts):
    def notify(kind, data):
        automount.Endpoint(mounts).info(
            {}, "share.node1", kind, {"data": data}, {"message_id": "m1"}
        )

    return notify


@pytest.mark.parametrize(
    "kind",
    [
        "share.allow_access.start",
        "share.allow_access.error",
        "share.create_share_instance.end",
        "share.periodic",
        "compute.instance.create.end",
    ],
)
def test_other_notifications_are_ignored(notified, commands, kind):
    notified(kind, data_of(access_rules=[rule()]))
    assert commands.seen() == []


def test_notification_that_fails_is_logged_without_secrets(notified, commands, caplog):
    commands.fail.touch()
    for data in ({}, data_of(access_rules=[{}]), data_of(access_rules=[rule()])):
        caplog.clear()
        notified("share.allow_access.end", data)
        assert "Failed to handle notification m1" in caplog.text
        assert SECRET not in caplog.text
    commands.fail.unlink()
    notified("share.allow_access.end", data_of(access_rules=[rule()]))
    assert (commands.seen()[-1])[0] == "mount"


def test_errors_do_not_show_secrets_of_the_commands(
    tmp_path, table, caplog, monkeypatch
):
    monkeypatch.setattr(automount, "PAUSE", 0)
    script = tmp_path / "mount"
    script.write_text('#!/bin/sh\necho "cannot mount: $*; s-e-1, s-e-2" >&2; exit 1\n')
    script.chmod(0o755)
    caplog.set_level("DEBUG")
    mount = f"{script} --token s-e-1 -o user=joe,password=s-e-2,{{options}} {MOUNT}"
    mounts = automount.Mounts(tmp_path / "mounts", HOST, mount, "umount {target}")
    notification = {}, "share.node1", "share.allow_access.end"
    automount.Endpoint(mounts).info(
        *notification, {"data": data_of(access_rules=[rule()])}, {"message_id": "m1"}
    )
    mounts.check(NEVER)
    assert "cannot mount: --token *** -o user=joe,password=*** mount" in caplog.text
    assert "; ***, ***" in caplog.text
    assert "s-e-" not in caplog.text


def test_log_of_a_command_and_a_dry_run_have_no_secrets(
    in_process, tmp_path, caplog, capsys
):
    caplog.set_level("DEBUG")
    mount = "run mount {source} {target} -o password=s-e-2 --token s-e-3 -o {options}"
    arguments = HOST, mount, "umount {target}"
    mounts = automount.Mounts(tmp_path / "mounts", *arguments)
    mounts.update(data_of(access_rules=[rule()]))
    assert "Ran run mount" in caplog.text
    dry = automount.Mounts(tmp_path / "other", *arguments, dry_run=True)
    dry.update(data_of(access_rules=[rule()]))
    for text in (caplog.text, capsys.readouterr().out):
        assert "-o password=*** --token *** -o rw" in text
        assert "s-e-2" not in text
        assert "s-e-3" not in text


# The options of the program


def addresses_of(tmp_path, *arguments, file=""):
    """Return the addresses of a host that the program would use."""
    path = tmp_path / "automount.conf"
    path.write_text(f"[DEFAULT]\n{file}\n")
    conf = cfg.ConfigOpts()
    conf.register_cli_opts(automount.program_options)
    arguments = "--root", "/shares", "--config-file", str(path), *arguments
    conf(arguments, default_config_files=[], default_config_dirs=[])
    mounts = automount.Mounts(
        Path(conf.root), conf.address, conf.mount_command, conf.umount_command
    )
    return mounts.addresses


@pytest.mark.parametrize(
    ("variable", "arguments", "file", "addresses"),
    [
        ("192.0.2.7", (), "", ["192.0.2.7"]),
        ("192.0.2.7, fd00::7,joe", (), "", ["192.0.2.7", "fd00::7", "joe"]),
        ("192.0.2.7", (), "address = 10.0.0.7", ["192.0.2.7"]),
        ("192.0.2.7", ("--address", "joe"), "", ["joe"]),
        ("7", (), "", ["7"]),
        (None, ("--address", "joe"), "address = jim", ["jim", "joe"]),
        (None, (), "address = joe\naddress = jim", ["joe", "jim"]),
    ],
)
def test_addresses_come_from_the_environment_too(
    tmp_path, monkeypatch, variable, arguments, file, addresses
):
    monkeypatch.delenv("OS_DEFAULT__ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("OS_DEFAULT__ADDRESS", variable)
    found = addresses_of(tmp_path, *arguments, file=file)
    assert sorted(found) == sorted(addresses)


@pytest.mark.parametrize("variable", ["", " ", ","])
def test_variable_without_an_address_is_an_error(monkeypatch, capsys, variable):
    monkeypatch.setenv("OS_DEFAULT__ADDRESS", variable)
    assert automount.main(["--root", "/shares", "--transport-url", "fake://"]) == 1
    assert "--address: expected at least one address" in capsys.readouterr().err


GOOD = {"--address": "10.0.0.7", "--root": "/shares", "--transport-url": "fake://"}


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"--address": None}, "address"),
        ({"--root": None}, "root"),
        ({"--mount-command": "mount {source} {target}"}, "{options}"),
        ({"--mount-command": "mount {target} {options}"}, "{source}"),
        ({"--mount-command": "mount '{source} {target} {options}"}, "quotation"),
        ({"--mount-command": MOUNT + " {shares}"}, "shares"),
        ({"--mount-command": MOUNT + " {"}, "mount-command"),
        ({"--mount-command": MOUNT + " {source.x}"}, "mount-command"),
        ({"--umount-command": "umount"}, "{target}"),
        ({"--umount-command": "umount {target} {source}"}, "source"),
        ({"--transport-url": f"rabit://u:{SECRET}@h/"}, "'rabit'"),
        ({"--transport-url": f"rabbit://u:{SECRET}@h:{SECRET}/"}, "transport-url"),
        ({"--mount-command": f"mount --token {SECRET} {{source}}"}, "missing a field"),
        ({"--umount-command": f"umount '{SECRET} {{target}}"}, "quotation"),
        ({"--config-file": "/no/such/file"}, "/no/such/file"),
    ],
)
def test_invalid_option_is_one_line_without_secrets(capsys, options, cause):
    arguments = [f"{name}={value}" for name, value in (GOOD | options).items() if value]
    assert automount.main(arguments) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("manila-aspects-automount: ")
    assert cause in stderr
    assert stderr.count("\n") == 1
    assert SECRET not in stderr


@pytest.fixture
def signals():
    """Restore the handlers of the signals that stop the program."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers):
        signal.signal(number, handler)


@pytest.mark.slow
def test_program_checks_the_shares_until_it_is_stopped(monkeypatch, signals):
    checks = []

    def check(self, stopping):
        checks.append(stopping.is_set())
        if len(checks) == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(automount, "CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(automount.Mounts, "check", check)
    assert automount.main([f"{name}={value}" for name, value in GOOD.items()]) == 0
    assert checks == [False] * 3


def test_broker_that_hangs_does_not_delay_the_end_forever(monkeypatch, caplog):
    ended = threading.Event()

    class Listener:
        def stop(self):
            ended.wait(50)

        def wait(self):
            """Return at once."""

    def leave(status):
        raise SystemExit(status)

    monkeypatch.setattr(automount, "STOP_TIMEOUT", 0.1)
    monkeypatch.setattr(automount.os, "_exit", leave)
    with pytest.raises(SystemExit, match="1"):
        automount._stop(Listener())
    assert "Ended 0.1 s after it was stopped" in caplog.text
    ended.set()


def test_hook_has_a_default_topic_of_its_own():
    defaults = {
        option.dest: option.default for option in automount.AutomountHook.options
    }
    assert defaults["notification_topics"] == ["manila_aspects_automount"]
    assert defaults["notification_timeout"] == 5

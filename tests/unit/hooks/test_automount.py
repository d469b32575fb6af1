# SPDX-License-Identifier: Apache-2.0
"""The automount program: access rules, commands and options.

Real mounts, and the notifications, are in the functional tests.
"""

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import aspects
from aspects.testing import FakeDriver
from hooks import automount
from hooks.events import event

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
        # Without update_access, a call has one rule.
        (data_of(method="allow_access", add_rules=[rule()]), "rw"),
        (data_of(method="allow_access", add_rules=[OTHER]), None),
        (data_of("deny_access", "deny_access", delete_rules=[rule()]), ""),
        (data_of("deny_access", "deny_access", delete_rules=[OTHER]), None),
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
        ("allow_access", (rule(level="ro"),), "ro"),
        ("deny_access", (rule(),), ""),
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
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        f"with open({str(log)!r}, 'a') as log:\n"
        "    print(json.dumps(sys.argv[1:]), file=log)\n"
        f"if os.path.exists({str(tmp_path / 'fail')!r}):\n"
        f"    sys.exit('password={SECRET}: no')\n"
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


def test_hanging_command_times_out(tmp_path, table, monkeypatch):
    monkeypatch.setattr(automount, "TIMEOUT", 0.05)
    monkeypatch.setattr(automount, "PAUSE", 0)
    mount = f"{sys.executable} -c 'import time; time.sleep(60)' {MOUNT}"
    mounts = automount.Mounts(tmp_path / "mounts", HOST, mount, "umount {target}")
    with pytest.raises(TimeoutError, match="timed out"):
        mounts.update(data_of(access_rules=[rule()]))


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


# The options of the program


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


def test_hook_has_a_default_topic_of_its_own():
    defaults = {
        option.dest: option.default for option in automount.AutomountHook.options
    }
    assert defaults["notification_topics"] == ["manila_aspects_automount"]
    assert defaults["notification_timeout"] == 5

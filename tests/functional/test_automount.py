# SPDX-License-Identifier: Apache-2.0
"""The automount hook and program, with a real broker and real mounts."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oslo_config import cfg

import aspects
from hooks import automount
from hooks.automount import mounted
from tests.support import rabbit, releases
from tests.support.config import woven_by
from tests.support.pages import example
from tests.support.programs import Program, free_port, installed
from tests.support.wait import wait_for

#: The broker of the documentation's examples.
URL = "rabbit://manila:secret@rabbit.example.com:5672/"

SECRET = "hunter2-Zq9"
CONTEXT = SimpleNamespace(request_id="req-1", auth_token=SECRET)
BIND = "mount --bind -o {options} {source} {target}"

broker = rabbit.broker


class Storage(dict[str, Any]):
    """Manila's private storage of a driver, without its database."""

    def update(self, entity: str, details: Any) -> None:  # type: ignore[override]
        self[entity] = details

    def delete(self, entity: str) -> None:
        del self[entity]


@pytest.fixture
def dummy(manila: Any, directory: Path) -> Any:
    """Return Manila's dummy driver with exports that are local directories."""
    # The import loads Manila's share manager, which reads the configuration once. So
    # it must follow the fixture that configures Manila.
    from manila.tests.share.drivers.dummy import DummyDriver

    exports = directory / "exports"

    class Driver(DummyDriver):  # type: ignore[misc]
        def _get_export(self, mountpoint: str, *rest: Any) -> Any:
            export = exports / Path(mountpoint).name
            export.mkdir(exist_ok=True)
            (export / "hello").write_text(mountpoint)
            return super()._get_export(mountpoint, *rest) | {"path": str(export)}

    file = directory / "driver.conf"
    file.write_text(
        "[alpha]\n"
        "driver_handles_share_servers = False\n"
        "dummy_driver_default_driver_method_delay = 0\n"
        "dummy_driver_driver_methods_delays =\n"
    )
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(file)], default_config_dirs=[])
    section = aspects.BackendSection(conf, "alpha")
    return Driver(configuration=section, private_storage=Storage())


def share_of(driver: Any, name: str = "s1") -> dict[str, Any]:
    """Create a share, and return it as Manila passes it to a driver."""
    share = {"id": f"{name}-i", "share_id": name, "share_proto": "NFS"}
    share["export_locations"] = driver.create_share(CONTEXT, share)
    return share


def rule(to: str = "10.0.0.7", level: str = "rw", kind: str = "ip") -> dict[str, str]:
    return {
        "access_type": kind,
        "access_to": to,
        "access_level": level,
        "access_key": SECRET,
    }


def allow(driver: Any, share: Any, new: Any, *others: Any) -> None:
    driver.update_access(CONTEXT, share, [*others, new], [new], [], [])


def deny(driver: Any, share: Any, old: Any, *others: Any) -> None:
    driver.update_access(CONTEXT, share, [*others], [], [old], [])


def sync(driver: Any, share: Any, *rules: Any) -> None:
    driver.update_access(CONTEXT, share, [*rules], [], [], [])


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return a directory to mount in; unmount everything below it afterwards."""
    (tmp_path / "exports").mkdir()
    yield tmp_path
    with open("/proc/self/mountinfo") as table:
        targets = [line.split(" ")[4] for line in table]
    for target in reversed(targets):
        if target.startswith(f"{tmp_path}/"):
            subprocess.run(["umount", target], check=True, timeout=30)


@pytest.fixture
def mountable(directory: Path) -> None:
    """Skip the test if mounting is not permitted; fail it under CI."""
    source, target = directory / "exports", directory / "probe"
    target.mkdir()
    probe = subprocess.run(
        ["mount", "--bind", str(source), str(target)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    if probe.returncode:
        text = f"mounting is not permitted; run as root ({probe.stderr.strip()})"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    subprocess.run(["umount", str(target)], check=True, timeout=30)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Return a topic for one test, as all tests share the broker."""
    return str(request.node.name)


@pytest.fixture
def driver(
    dummy: Any, broker: rabbit.Rabbit, directory: Path, topic: str
) -> Iterator[Any]:
    """Return a driver that is woven with the hook."""
    text = example(
        "admin/hooks/automount.rst",
        {URL: broker.url, "automount_web1, automount_web2": topic},
    )
    with woven_by(text, directory, dummy) as woven:
        yield woven


Start = Callable[..., Program]


@pytest.fixture
def start(broker: rabbit.Rabbit, directory: Path, topic: str) -> Iterator[Start]:
    """Return a function that starts the program with the example's file."""
    started: list[Program] = []
    script = installed("manila-aspects-automount")

    def run(*arguments: str) -> Program:
        text = example(
            "admin/hooks/automount.rst",
            {
                URL: broker.url,
                "automount_web1": topic,
                "/shares": f"{directory}/mounts",
            },
            block=1,
        )
        file = directory / "automount.conf"
        file.write_text(text)
        command = [script, "--config-file", str(file), *arguments]
        # A program that is started again appends to the same log.
        program = Program(command, directory / "automount.log")
        started.append(program)
        return program

    yield run
    for program in started:
        program.stop()
    assert SECRET not in (directory / "automount.log").read_text()


def wait_until_mounted(target: Path, level: str) -> None:
    """Wait until a mount point has an access level; empty for unmounted."""
    wait_for(lambda: mounted(target) == level, f"{target} is {level!r}")


pytestmark = pytest.mark.usefixtures("directory")


@pytest.mark.usefixtures("mountable")
def test_example_mounts_and_unmounts_a_share(
    driver: Any, start: Start, directory: Path
) -> None:
    program = start("--mount-command", BIND)
    target = directory / "mounts" / "s1"
    share = share_of(driver)
    allow(driver, share, rule("10.0.0.8"))
    allow(driver, share, rule(), rule("10.0.0.8"))
    wait_until_mounted(target, "rw")
    assert (target / "hello").read_text().endswith("s1_s1_i")
    (target / "written").write_text("by the host")
    # Neither the rule of another host nor a repeated rule changes the mount.
    deny(driver, share, rule("10.0.0.8"), rule())
    allow(driver, share, rule())
    deny(driver, share, rule())
    wait_until_mounted(target, "")
    wait_for(lambda: not target.exists(), "its directory is removed")
    assert (Path(share["export_locations"][0]["path"]) / "written").exists()
    assert program.stop() == 0
    commands = [
        line.partition("Ran ")[2]
        for line in program.log.read_text().splitlines()
        if "Ran " in line
    ]
    assert [command.split()[0] for command in commands] == ["mount", "umount"]


@pytest.mark.usefixtures("mountable")
def test_share_is_mounted_with_the_highest_access_level(
    driver: Any, start: Start, directory: Path
) -> None:
    start("--mount-command", BIND)
    target = directory / "mounts" / "s1"
    share = share_of(driver)
    network = rule("10.0.0.0/24", "ro")
    allow(driver, share, network)
    wait_until_mounted(target, "ro")
    with pytest.raises(OSError, match="Read-only"):
        (target / "written").write_text("no")
    allow(driver, share, rule(), network)
    wait_until_mounted(target, "rw")
    # The rule of the network is still in force.
    deny(driver, share, rule(), network)
    wait_until_mounted(target, "ro")


@pytest.mark.usefixtures("mountable")
def test_share_of_a_driver_without_update_access_is_mounted_while_a_rule_allows_it(
    dummy: Any, driver: Any, start: Start, directory: Path
) -> None:
    from manila.share.access import ShareInstanceAccess

    def not_implemented(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    for name in ("allow_access", "deny_access"):
        setattr(type(dummy), name, lambda *args, **kwargs: None)
    type(dummy).update_access = not_implemented
    manila = ShareInstanceAccess(None, driver)

    def change(add: list[Any], delete: list[Any], *in_force: Any) -> None:
        update = [[]] if releases.HAS_UPDATE_RULES else []
        manila._update_rules_through_share_driver(
            CONTEXT, share, [*in_force], add, delete, *update, [], None
        )

    program = start("--mount-command", BIND)
    target = directory / "mounts" / "s1"
    share = share_of(driver)
    one = {**rule(), "id": "r1"}
    network = {**rule("10.0.0.0/24", "ro"), "id": "r2"}
    change([one], [], one)
    wait_until_mounted(target, "rw")
    change([network], [], one, network)
    # The next program does not know the rules before its start.
    wait_for(lambda: program.log.read_text().count("Ran mount") == 1, "the log")
    assert program.stop() == 0
    start("--mount-command", BIND)
    change([], [network], one)
    other = share_of(driver, "s2")
    share = other
    change([one], [], one)
    wait_until_mounted(directory / "mounts" / "s2", "rw")
    # Notifications are handled in order.
    assert mounted(target) == "rw"
    # The program logs a mount after it has made it.
    wait_for(lambda: program.log.read_text().count("Ran ") > 1, "the log")
    assert program.log.read_text().count("Ran ") == 2
    change([network], [one], network)
    wait_until_mounted(directory / "mounts" / "s2", "ro")
    change([], [network])
    wait_until_mounted(directory / "mounts" / "s2", "")


@pytest.mark.usefixtures("mountable")
def test_full_sync_of_access_rules_updates_the_mount(
    driver: Any, start: Start, directory: Path
) -> None:
    start("--mount-command", BIND, "--address", "10.9.9.9", "--address", "fd00::7")
    target = directory / "mounts" / "s1"
    share = share_of(driver)
    sync(driver, share, rule("fd00::/64", "ro"))
    wait_until_mounted(target, "ro")
    sync(driver, share, rule("10.9.9.9", "rw"))
    wait_until_mounted(target, "rw")
    sync(driver, share, rule("10.0.0.99"))
    wait_until_mounted(target, "")
    # The address of the file counts besides those of the command line.
    sync(driver, share, rule("10.0.0.7"))
    wait_until_mounted(target, "rw")
    sync(driver, share)
    wait_until_mounted(target, "")


@pytest.mark.usefixtures("mountable")
def test_deleted_share_is_unmounted(driver: Any, start: Start, directory: Path) -> None:
    start("--mount-command", BIND)
    shares = [share_of(driver, name) for name in ("s1", "s2")]
    for share in shares:
        allow(driver, share, rule())
    for name in ("s1", "s2"):
        wait_until_mounted(directory / "mounts" / name, "rw")
    driver.delete_share(CONTEXT, shares[0])
    wait_until_mounted(directory / "mounts" / "s1", "")
    assert mounted(directory / "mounts" / "s2") == "rw"


@pytest.mark.usefixtures("mountable")
def test_failing_command_is_retried_and_does_not_stop_the_next(
    driver: Any, start: Start, directory: Path
) -> None:
    program = start("--mount-command", BIND)
    missing, late = share_of(driver, "s1"), share_of(driver, "s2")
    gone = directory / "gone"
    missing["export_locations"] = [{"path": str(gone / "s1")}]
    late["export_locations"] = [{"path": str(gone)}]
    allow(driver, missing, rule())
    allow(driver, late, rule())
    wait_for(lambda: "Failed to handle" in program.log.read_text(), "given up")
    assert not (directory / "mounts" / "s1").exists()
    # The first share was retried twice; this is the first retry of the second.
    wait_for(lambda: program.log.read_text().count("Retrying") == 3, "the second fails")
    gone.mkdir()
    wait_until_mounted(directory / "mounts" / "s2", "rw")


@pytest.fixture
def mounts(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that creates the mounts of a host."""
    monkeypatch.setattr(automount, "PAUSE", 0)
    return lambda mount=BIND: automount.Mounts(
        directory / "mounts", ["10.0.0.7"], mount, "umount {target}"
    )


def event(directory: Path, *rules: Any) -> dict[str, Any]:
    """Return the data of an event with all rules in force."""
    return {
        "operation": "update_access",
        "method": "update_access",
        "share_id": "s1",
        "export_locations": [str(directory / "exports")],
        "access_rules": [*rules],
    }


@pytest.mark.usefixtures("mountable")
def test_all_of_several_mounts_on_a_directory_are_unmounted(
    mounts: Any, directory: Path
) -> None:
    target = directory / "mounts" / "s1"
    target.mkdir(parents=True)
    for _ in range(3):
        command = ["mount", "--bind", str(directory / "exports"), str(target)]
        subprocess.run(command, check=True, timeout=30)
    mounts().update(event(directory))
    assert mounted(target) == ""
    assert not target.exists()


@pytest.mark.usefixtures("mountable")
def test_busy_share_is_unmounted_when_it_is_free(mounts: Any, directory: Path) -> None:
    target = directory / "mounts" / "s1"
    host = mounts()
    host.update(event(directory, rule()))
    with (
        (target / "open").open("w"),
        pytest.raises(OSError, match=r"umount: .*s1: exit status 32: .*busy"),
    ):
        host.update(event(directory))
    assert mounted(target) == "rw"
    host.check(threading.Event())
    assert mounted(target) == ""


@pytest.mark.usefixtures("mountable")
@pytest.mark.parametrize("prefix", ["", "setsid "])
def test_mount_that_was_given_up_does_not_appear_after_access_was_denied(
    mounts: Any, directory: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setattr(automount, "TIMEOUT", 1.0)
    monkeypatch.setattr(automount, "ATTEMPTS", 1)
    script, began, later = (directory / name for name in ("slow", "began", "later"))
    later.write_text(f'#!/bin/sh\necho $$ > {began}\nsleep 3\nmount --bind "$@"\n')
    script.write_text(f'#!/bin/sh\n{prefix}{later} "$1" "$2" &\nwait\n')
    for file in (later, script):
        file.chmod(0o755)
    host = mounts(f"{script} {{source}} {{target}} {{options}}")
    with pytest.raises(OSError, match=r"slow: .*/s1: killed after 1 s"):
        host.update(event(directory, rule()))
    host.update(event(directory))
    # Its parent, which was this process or init, has reaped it.
    pid = int(began.read_text())
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the process ends")
    assert mounted(directory / "mounts" / "s1") == ""


@pytest.mark.usefixtures("mountable")
def test_notifications_wait_at_the_broker_for_a_killed_program(
    driver: Any, start: Start, directory: Path
) -> None:
    program = start("--mount-command", BIND)
    first, second = share_of(driver, "s1"), share_of(driver, "s2")
    allow(driver, first, rule())
    wait_until_mounted(directory / "mounts" / "s1", "rw")
    program.kill()
    # The mount remains, and further notifications wait at the broker.
    allow(driver, second, rule())
    deny(driver, first, rule())
    assert mounted(directory / "mounts" / "s1") == "rw"
    start("--mount-command", BIND)
    wait_until_mounted(directory / "mounts" / "s2", "rw")
    wait_until_mounted(directory / "mounts" / "s1", "")


@pytest.mark.usefixtures("mountable")
def test_notification_is_redelivered_if_the_program_is_killed_while_mounting(
    driver: Any, start: Start, directory: Path
) -> None:
    began = directory / "began"
    slow = directory / "slow"
    slow.write_text(f"#!/bin/sh\ntouch {began}\nexec sleep 1000\n")
    slow.chmod(0o755)
    program = start("--mount-command", f"{slow} {{source}} {{target}} {{options}}")
    allow(driver, share_of(driver), rule())
    wait_for(began.exists, "the command runs")
    program.kill()
    start("--mount-command", BIND)
    wait_until_mounted(directory / "mounts" / "s1", "rw")


@pytest.mark.usefixtures("mountable")
def test_stopping_program_leaves_the_other_notifications_at_the_broker(
    driver: Any, start: Start, directory: Path
) -> None:
    slow = directory / "slow"
    slow.write_text('#!/bin/sh\nsleep 0.5\nexec mount --bind "$1" "$2"\n')
    slow.chmod(0o755)
    program = start("--mount-command", f"{slow} {{source}} {{target}} {{options}}")
    for number in range(10):
        allow(driver, share_of(driver, f"s{number}"), rule())
    targets = [directory / "mounts" / f"s{number}" for number in range(10)]
    wait_until_mounted(targets[0], "rw")
    # It finishes the notification that it handles, and no other.
    assert program.stop(timeout=60) == 0
    assert not all(map(mounted, targets))
    start("--mount-command", BIND)
    for target in targets:
        wait_until_mounted(target, "rw")


@pytest.mark.usefixtures("mountable")
def test_program_waits_for_the_broker(
    broker: rabbit.Rabbit, driver: Any, start: Start, directory: Path
) -> None:
    broker.kill()
    try:
        program = start("--mount-command", BIND)
        wait_for(lambda: "Connection failed" in program.log.read_text(), "it tries")
    finally:
        broker.start()
    allow(driver, share_of(driver), rule())
    wait_until_mounted(directory / "mounts" / "s1", "rw")


def test_program_stops_without_a_broker(
    broker: rabbit.Rabbit, start: Start, directory: Path
) -> None:
    url = f"rabbit://guest:{SECRET}@127.0.0.1:{free_port()}/"
    program = start("--transport-url", url)
    wait_for(lambda: "Connection failed" in program.log.read_text(), "it tries")
    assert program.stop(timeout=60) == -signal.SIGTERM


def test_dry_run_prints_the_commands_and_mounts_nothing(
    broker: rabbit.Rabbit, driver: Any, start: Start, directory: Path
) -> None:
    program = start("--dry-run")
    share = share_of(driver)
    allow(driver, share, rule(level="ro"))
    deny(driver, share, rule(level="ro"))
    other = share_of(driver, "s2")
    other["export_locations"] = [{"path": "10.0.0.10:/a b; touch c"}]
    allow(driver, other, rule())

    def printed() -> list[str]:
        lines = program.log.read_text().splitlines()
        return [line for line in lines if line.startswith(("mount ", "umount "))]

    wait_for(lambda: len(printed()) >= 2, "the commands")
    export = share["export_locations"][0]["path"]
    mounts = directory / "mounts"
    assert printed() == [
        f"mount -t nfs -o ro,nosuid,nodev {export} {mounts}/s1",
        f"mount -t nfs -o rw,nosuid,nodev '10.0.0.10:/a b; touch c' {mounts}/s2",
    ]
    assert shlex.split(printed()[1])[-2] == "10.0.0.10:/a b; touch c"
    assert not mounts.exists()


def test_broker_may_be_set_in_the_environment(
    broker: rabbit.Rabbit, driver: Any, directory: Path, topic: str
) -> None:
    script = installed("manila-aspects-automount")
    command = [script, "--topic", topic, "--address", "10.0.0.7", "--dry-run"]
    program = Program(
        [*command, "--root", str(directory / "mounts")],
        directory / "automount.log",
        {**os.environ, "OS_DEFAULT__TRANSPORT_URL": broker.url},
    )
    try:
        allow(driver, share_of(driver), rule())
        wait_for(lambda: "mount -t nfs" in program.log.read_text(), "the command")
    finally:
        program.stop()


def test_hook_sends_only_changes_of_access(
    broker: rabbit.Rabbit, dummy: Any, directory: Path
) -> None:
    text = example(
        "admin/hooks/automount.rst",
        {URL: broker.url, "notification_topics = automount_web1, automount_web2": ""},
    )
    text = f"[DEFAULT]\nenable_pre_hooks = True\nenable_periodic_hooks = True\n{text}"
    with (
        rabbit.Inbox(broker.url, "manila_aspects_automount") as inbox,
        woven_by(text, directory, dummy) as driver,
    ):
        share = share_of(driver)
        allow(driver, share, rule())
        sync(driver, share, rule())
        deny(driver, share, rule())
        driver.extend_share(share, 2)
        with pytest.raises(KeyError):
            driver.delete_share(CONTEXT, {"id": "unknown"})
        driver.delete_share(CONTEXT, share)
        aspects.tick(driver, CONTEXT, [share])
        inbox.wait(4)
    assert [message.event_type for message in inbox.messages] == [
        "share.allow_access.end",
        "share.update_access.end",
        "share.deny_access.end",
        "share.delete_share_instance.end",
    ]
    assert SECRET not in repr(inbox.messages)

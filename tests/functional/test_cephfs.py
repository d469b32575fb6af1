# SPDX-License-Identifier: Apache-2.0
"""The hooks in front of Manila's driver for CephFS, with a real Ceph.

``manila-api``, ``manila-scheduler`` and ``manila-share`` run with one backend. Clients
create, mount, resize, snapshot, clone, group and delete shares. Each test compares the
reports of the audit, webhook, command and metrics hooks with one another, and with the
subvolumes, groups, access and snapshots that Ceph has.
"""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

import aspects
from tests.support import receiver
from tests.support.programs import free_port
from tests.support.receiver import Receiver
from tests.support.schema import validated, validated_line
from tests.support.wait import wait_for

from .ceph import GIB, MANILA, Ceph, CephError, why_no_fuse
from .cloud import HEADERS, Cloud
from .share_service import NATIVE, ROOT, project_tracebacks

pytestmark = pytest.mark.timeout(600)

BACKEND = "ceph"

DEFAULTS = """
debug = True
periodic_interval = 1
enabled_share_protocols = CEPHFS
"""

DRIVER = """
share_driver = manila.share.drivers.cephfs.driver.CephFSDriver
driver_handles_share_servers = False
"""

#: The maximum size of a share by the guard's rule, in GiB.
MAX_SIZE = 4

CONFIG = """
cephfs_conf_path = {ceph}
cephfs_auth_id = {user}
# The free capacity is that of now, not that of a minute ago.
cephfs_cached_allocated_capacity_update_interval = 1
hook_drivers = metrics, audit, ops=webhook, guard, command
enable_pre_hooks = True
enable_post_hooks = True
audit_log_path = {directory}/audit.log
metrics_port = {metrics_port}
guard_max_size = {max_size}
command = {directory}/command
command_timeout = 60

[ceph:ops]
hook_dispatch = durable
hook_outbox_path = {directory}/outbox
webhook_url = {url}
"""

#: Records the event and the environment; denies new shares while the file "full"
#: exists.
COMMAND = """#!/bin/sh
cat >> {directory}/command.events
env >> {directory}/command.environment
case $MANILA_ASPECTS_HOOK_METHOD.$MANILA_ASPECTS_OPERATION in
pre.create_share_instance)
    if test -e {directory}/full; then
        echo "the array is full" >&2
        exit 1
    fi
esac
"""

#: Seconds for which Ceph delays a clone, so that it is not finished at once.
CLONE_DELAY = 2

#: Access level of Manila -> that of Ceph.
LEVELS = {"rw": "rw", "ro": "r"}


class Manila:
    """A client of the share API.

    :param endpoint: the URL of the share API
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._session = requests.Session()
        self._session.headers.update(HEADERS)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request.

        :return: the body of the response, or None if the resource does not exist
        """
        response = self._session.request(
            method, self._endpoint + path, json=body, timeout=120
        )
        if response.status_code == 404:
            return None
        assert response.ok, response.text
        return response.json() if response.content else {}

    def create(self, kind: str, **values: Any) -> str:
        """Request a new resource, and return its ID.

        :param kind: the type, such as ``share_group``
        :param values: its values
        """
        path = f"/{kind.replace('_', '-')}s"
        created = self.request("POST", path, {kind: values})
        return str(created[kind]["id"])

    def create_share(self, size: int = 1, **values: Any) -> str:
        """Request a share.

        :param size: GiB
        :return: its ID
        """
        values = {"share_proto": "CEPHFS", "size": size, **values}
        return self.create("share", **{"share_type": BACKEND, **values})

    def act(self, share_id: str, **action: Any) -> Any:
        """Send an action on a share, such as ``extend={"new_size": 2}``."""
        return self.request("POST", f"/shares/{share_id}/action", action)

    def allow(self, share_id: str, user: str, level: str = "rw") -> str:
        """Request an access rule, and return its ID.

        :param share_id: the share
        :param user: the auth ID
        :param level: ``rw`` or ``ro``
        """
        rule = {"access_type": "cephx", "access_to": user, "access_level": level}
        return str(self.act(share_id, allow_access=rule)["access"]["id"])

    def rule(self, share_id: str, rule_id: str) -> Any:
        """Return an access rule, or None."""
        path = f"/share-access-rules?share_id={share_id}"
        found = self.request("GET", path)["access_list"]
        return next((rule for rule in found if rule["id"] == rule_id), None)

    def get(self, kind: str, resource_id: str) -> Any:
        """Return a resource, or None.

        :param kind: the type, such as ``share_group``
        :param resource_id: its ID
        """
        path = f"/{kind.replace('_', '-')}s/{resource_id}"
        return (self.request("GET", path) or {}).get(kind)

    def delete(self, kind: str, resource_id: str, query: str = "") -> None:
        """Delete a resource, and wait until it is gone.

        :param kind: the type, such as ``share_group``
        :param resource_id: its ID
        :param query: the query of the request
        """
        path = f"/{kind.replace('_', '-')}s/{resource_id}{query}"
        self.request("DELETE", path)
        wait_for(
            lambda: self.get(kind, resource_id) is None,
            f"{kind} is deleted",
            timeout=120,
            pause=0.2,
        )

    def wait(self, kind: str, resource_id: str, status: str) -> Any:
        """Wait for a status of a resource, and return the resource.

        :param kind: the type, such as ``share_group``
        :param resource_id: its ID
        :param status: the status
        """

        def found() -> Any:
            resource = self.get(kind, resource_id)
            assert resource["status"] == status, resource["status"]
            return resource

        return wait_for(found, f"{kind} is {status}", timeout=120, pause=0.2)

    def wait_for_rule(self, share_id: str, rule_id: str, state: str) -> Any:
        """Wait for a state of an access rule, and return the rule."""

        def found() -> Any:
            rule = self.rule(share_id, rule_id)
            assert rule["state"] == state, rule["state"]
            return rule

        return wait_for(found, f"the rule is {state}", timeout=120, pause=0.2)


class Stored(NamedTuple):
    """A share on Ceph, without its size."""

    #: Pairs of an auth ID and Ceph's access level.
    access: frozenset[tuple[str, str]]
    snapshots: frozenset[str]


class World:
    """A Ceph, a Manila in front of it, and the output of the hooks.

    :param directory: the directory for files
    :param ceph: the Ceph
    :param cloud: the Manila
    """

    def __init__(self, directory: Path, ceph: Ceph, cloud: Cloud) -> None:
        self.directory = directory
        self.ceph = ceph
        self.cloud = cloud
        self.manila = Manila(cloud.endpoint)
        self.server = Receiver()
        self.metrics_port = free_port()
        #: All keys of Ceph's clients so far.
        self.keys: set[str] = set()
        #: The ID of the share type, which the fixture sets.
        self.share_type = ""
        #: The number of calls that the hooks reported before the last start.
        self.earlier = 0

    def configure(self) -> None:
        """Write the configuration and the program of the command hook."""
        program = self.directory / "command"
        program.write_text(COMMAND.format(directory=self.directory))
        program.chmod(0o755)
        text = CONFIG.format(
            ceph=self.ceph.config_file,
            user=MANILA,
            directory=self.directory,
            metrics_port=self.metrics_port,
            max_size=MAX_SIZE,
            url=self.server.url,
        )
        manager = "aspects.manila.ShareManager"
        self.cloud.configure({BACKEND: text}, manager, DRIVER, DEFAULTS)

    def share(self, **values: Any) -> str:
        """Create a share, and return its ID."""
        share_id = self.manila.create_share(**values)
        self.manila.wait("share", share_id, "available")
        return share_id

    def allow(self, share_id: str, user: str, level: str = "rw") -> Any:
        """Allow access to a share, and return the rule."""
        rule_id = self.manila.allow(share_id, user, level)
        return self.manila.wait_for_rule(share_id, rule_id, "active")

    # -- the reports of the hooks --------------------------------------------------

    def audit(self) -> list[dict[str, Any]]:
        """Return the calls in the audit log, without routine operations."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        return requested(map(validated_line, lines))

    def polls(self, share_id: str) -> list[str]:
        """Return the outcomes of the polls of a share's status in the audit log."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        return [
            report["outcome"]
            for report in map(validated_line, lines)
            if report.get("share_id") == share_id
            and report["operation"] == "get_share_status"
        ]

    def webhook(self) -> list[dict[str, Any]]:
        """Return the ended calls that the receiver of the webhook has got."""
        # An event may arrive twice.
        events = {event["id"]: event for event in self.server.events}
        return ended(events.values())

    def command(self) -> list[dict[str, Any]]:
        """Return the ended calls that the program of the command hook has got."""
        return ended(self._command_events())

    def _command_events(self) -> list[dict[str, Any]]:
        lines = (self.directory / "command.events").read_text().splitlines()
        return [validated(json.loads(line)) for line in lines]

    def metrics(self) -> str:
        """Return the page of metrics."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as response:
            return str(response.read().decode())

    def counted(self) -> Counter[tuple[str, str, str]]:
        """Return the number of calls by operation, method and outcome."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for family in text_string_to_metric_families(self.metrics()):
            for name, labels, value, *_ in family.samples:
                if name == "manila_aspects_calls_total" and is_requested(labels):
                    counts[key_of(labels)] += int(value)
        return +counts

    def reports_on(self, share_id: str, operation: str) -> list[dict[str, Any]]:
        """Return the reports on a share in the audit log."""
        return [
            report
            for report in self.audit()
            if report.get("share_id") == share_id and report["operation"] == operation
        ]

    def outcomes(self, share_id: str, operation: str) -> list[str]:
        """Return the outcomes of an operation on a share in the audit log."""
        return [report["outcome"] for report in self.reports_on(share_id, operation)]

    def started(self, share_id: str, operation: str) -> bool:
        """Return whether the command hook reported the start of an operation."""
        ends = f"{operation}.start"
        return any(
            event["type"].endswith(ends) and event["data"]["share_id"] == share_id
            for event in self._command_events()
        )

    # -- comparisons ---------------------------------------------------------------

    def check(self) -> None:
        """Check that the hooks report the same, and what Ceph has."""
        self.keys.update(self.ceph.keys().values())
        self.check_reports()
        self.check_storage()

    def check_reports(self) -> None:
        """Check that all hooks report the same calls."""
        calls = self.audit()
        wait_for(
            lambda: comparable(self.webhook()) == comparable(calls),
            "the webhook's events are those of the audit log",
        )
        # A hook gets nothing of a call that it vetoed, or a hook before it.
        allowed = [call for call in calls if call["outcome"] != "veto"]
        assert comparable(self.command()) == comparable(allowed)
        assert self.counted() == Counter(map(key_of, calls[self.earlier :]))

    def check_storage(self) -> None:
        """Check that Ceph has what the successful calls have made."""
        subvolumes = self.ceph.subvolumes()
        assert self.reported_storage() == {
            name: Stored(subvolume.access, subvolume.snapshots)
            for name, subvolume in subvolumes.items()
        }
        groups = {subvolume.group for subvolume in subvolumes.values()} - {None}
        assert groups <= self.reported_groups() == set(self.ceph.groups())
        # Access of deleted shares is gone too.
        users = {
            user for subvolume in subvolumes.values() for user, _ in subvolume.access
        }
        assert {f"client.{user}" for user in users} == self.users_of_shares()

    def users_of_shares(self) -> set[str]:
        """Return the clients of Ceph whose access is to subvolumes."""
        dump = self.ceph.command("auth ls")["auth_dump"]
        return {
            entity["entity"]
            for entity in dump
            if "path=/volumes" in str(entity["caps"])
        }

    def reported_storage(self) -> dict[str, Stored]:
        """Return the shares that the calls in the audit log have left, by subvolume."""
        access: dict[str, set[tuple[str, str]]] = {}
        snapshots: dict[str, set[str]] = {}
        instances: dict[str, str] = {}
        for call in self.audit():
            # A clone is on Ceph while it is pending.
            if call["outcome"] not in ("success", "pending"):
                continue
            operation, share_id = call["operation"], call.get("share_id", "")
            if operation == "create_share_instance":
                instances[share_id] = call["share_instance_id"]
                access[share_id], snapshots[share_id] = set(), set()
            elif operation == "delete_share_instance":
                access.pop(share_id, None)
                snapshots.pop(share_id, None)
            elif operation in ("allow_access", "deny_access"):
                access[share_id] |= rules_of(call, "add_rules")
                access[share_id] -= rules_of(call, "delete_rules")
            elif operation == "create_snapshot":
                snapshots[share_id].add(call["snapshot_id"])
            elif operation == "delete_snapshot":
                snapshots[share_id].remove(call["snapshot_id"])
        return {
            instances[share_id]: Stored(
                frozenset(access[share_id]), frozenset(snapshots[share_id])
            )
            for share_id in access
        }

    def reported_groups(self) -> set[str]:
        """Return the groups that the calls in the audit log have left."""
        groups: set[str] = set()
        for call in self.audit():
            if call["outcome"] == "success":
                if call["operation"] == "create_share_group":
                    groups.add(call["share_group_id"])
                elif call["operation"] == "delete_share_group":
                    groups.remove(call["share_group_id"])
        return groups

    def subvolume(self, share_id: str) -> Any:
        """Return the subvolume of a share that the hooks reported as created."""
        (call,) = self.reports_on(share_id, "create_share_instance")
        return self.ceph.subvolumes()[call["share_instance_id"]]

    def outputs(self) -> dict[str, bytes]:
        """Return everything that the hooks and Manila have written and sent."""
        texts = {name: text.encode() for name, text in self.cloud.logs().items()}
        for file in self.directory.rglob("*"):
            if file.is_file() and not file.name.startswith("manila-"):
                texts[str(file.relative_to(self.directory))] = file.read_bytes()
        sent = [
            request.body + str(request.headers).encode()
            for request in self.server.requests
        ]
        return {
            **texts,
            "webhook": b"\n".join(sent),
            "metrics": self.metrics().encode(),
        }


def is_requested(call: Any) -> bool:
    return aspects.Operation(call["operation"]).requested


def requested(calls: Any) -> list[dict[str, Any]]:
    """Return the calls without those of routine operations."""
    return [call for call in calls if is_requested(call)]


def ended(events: Any) -> list[dict[str, Any]]:
    """Return the calls of events that report an end."""
    ends = [event for event in events if not event["type"].endswith(".start")]
    return requested(event["data"] for event in ends)


def key_of(call: Any) -> tuple[str, str, str]:
    return call["operation"], call["method"], call["outcome"]


def comparable(calls: list[dict[str, Any]]) -> list[str]:
    """Return calls without what each hook measures itself, in a defined order."""
    measured = ("time", "duration")
    return sorted(
        json.dumps({k: v for k, v in call.items() if k not in measured}, sort_keys=True)
        for call in calls
    )


def rules_of(call: dict[str, Any], name: str) -> set[tuple[str, str]]:
    return {
        (rule["access_to"], LEVELS[rule["access_level"]]) for rule in call.get(name, ())
    }


SHARE_TYPE = {
    "name": BACKEND,
    "extra_specs": {
        "driver_handles_share_servers": "False",
        "snapshot_support": "True",
        "create_share_from_snapshot_support": "True",
    },
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("cephfs")
    for name in ("ceph", "manila"):
        (directory / name).mkdir()
    with contextlib.ExitStack() as stack:
        ceph = Ceph(directory / "ceph")
        environment = {**NATIVE, "PYTHONPATH": f"{ROOT}:{ceph.modules}"}
        cloud = Cloud(directory / "manila", environment, [BACKEND])
        world = World(directory / "manila", ceph, cloud)
        with futures.ThreadPoolExecutor() as pool:
            stack.callback(ceph.stop)
            starting = pool.submit(ceph.start)
            stack.enter_context(world.server)
            stack.enter_context(cloud)
            world.configure()
            cloud.prepare()
            starting.result()
        delay = {"name": "mgr/volumes/snapshot_clone_delay", "value": str(CLONE_DELAY)}
        ceph.command("config set", who="mgr", **delay)
        cloud.start()
        made = world.manila.request("POST", "/types", {"share_type": SHARE_TYPE})
        world.share_type = made["share_type"]["id"]
        yield world


@pytest.fixture
def user() -> str:
    """Return an auth ID that Ceph does not have."""
    return f"user-{uuid.uuid4().hex[:8]}"


def test_a_share_lives_on_ceph_as_the_hooks_report_it(world: World, user: str) -> None:
    before = world.ceph.subvolumes()
    share_id = world.share(size=1)
    world.check()
    assert world.subvolume(share_id).size == GIB

    rule = world.allow(share_id, user)
    reader = world.allow(share_id, f"{user}-reader", "ro")
    world.check()
    assert world.subvolume(share_id).access == {(user, "rw"), (f"{user}-reader", "r")}
    first, _ = world.reports_on(share_id, "allow_access")
    (location,) = first["export_locations"]
    assert location.endswith(world.subvolume(share_id).path)

    snapshot_id = world.manila.create("snapshot", share_id=share_id)
    world.manila.wait("snapshot", snapshot_id, "available")
    world.check()
    assert world.subvolume(share_id).snapshots == {snapshot_id}

    for number in (rule["id"], reader["id"]):
        world.manila.act(share_id, deny_access={"access_id": number})
    wait_for(lambda: not world.subvolume(share_id).access, "no access")
    wait_for(lambda: not world.manila.rule(share_id, reader["id"]), "no rule")
    world.check()

    world.manila.delete("snapshot", snapshot_id)
    world.manila.delete("share", share_id)
    world.check()
    assert world.ceph.subvolumes() == before


@pytest.mark.skipif(bool(why_no_fuse()), reason=why_no_fuse())
def test_only_allowed_clients_mount_a_share(
    world: World, user: str, tmp_path: Path
) -> None:
    share_id = world.share()
    writer, reader = world.allow(share_id, user), world.allow(share_id, "reader", "ro")
    path = world.subvolume(share_id).path

    def mounted(rule: Any, name: str) -> Any:
        arguments = (rule["access_to"], rule["access_key"], path)
        return world.ceph.mounted(tmp_path / name, *arguments)

    with mounted(writer, "writer") as directory:
        (directory / "file").write_text("data")
    with mounted(reader, "reader") as directory:
        assert (directory / "file").read_text() == "data"
        with pytest.raises(PermissionError):
            (directory / "file").write_text("other")
    world.check()

    world.manila.act(share_id, deny_access={"access_id": writer["id"]})
    wait_for(lambda: not world.manila.rule(share_id, writer["id"]), "no rule")
    assert world.outcomes(share_id, "deny_access") == ["success"]
    with pytest.raises(CephError), mounted(writer, "denied"):
        pass
    world.check()
    world.manila.delete("share", share_id)
    world.check()


def test_a_resize_is_reported_as_ceph_did_it(world: World) -> None:
    share_id = world.share(size=1)
    world.manila.act(share_id, extend={"new_size": 3})
    wait_for(lambda: world.subvolume(share_id).size == 3 * GIB, "3 GiB")
    world.manila.wait("share", share_id, "available")
    world.manila.act(share_id, shrink={"new_size": 2})
    wait_for(lambda: world.subvolume(share_id).size == 2 * GIB, "2 GiB")
    world.manila.wait("share", share_id, "available")
    assert world.outcomes(share_id, "extend_share") == ["success"]
    assert world.outcomes(share_id, "shrink_share") == ["success"]

    world.ceph.make_file(world.subvolume(share_id).path, GIB + 1)
    wait_for(lambda: world.subvolume(share_id).used > GIB, "over 1 GiB is used")
    world.manila.act(share_id, shrink={"new_size": 1})
    world.manila.wait("share", share_id, "available")
    wait_for(lambda: len(world.outcomes(share_id, "shrink_share")) == 2, "a report")

    refused = world.reports_on(share_id, "shrink_share")[1]
    assert refused["outcome"] == "failure"
    assert refused["error_type"] == "ShareShrinkingPossibleDataLoss"
    assert world.subvolume(share_id).size == 2 * GIB
    world.check()
    world.manila.delete("share", share_id)
    world.check()


class Clone(NamedTuple):
    """A share from a snapshot, and the outcome that was reported of its creation."""

    share_id: str
    #: While Ceph had not begun to copy.
    first: list[str]
    #: The outcomes of the polls of its status, when it was available.
    polls: list[str]


@pytest.fixture(scope="module")
def clone(world: World) -> Clone:
    source = world.share()
    snapshot_id = world.manila.create("snapshot", share_id=source)
    world.manila.wait("snapshot", snapshot_id, "available")
    clone_id = world.manila.create_share(snapshot_id=snapshot_id)
    world.manila.wait("share", clone_id, "creating_from_snapshot")
    first = world.outcomes(clone_id, "create_share_instance")
    world.manila.wait("share", clone_id, "available")
    wait_for(lambda: "success" in world.polls(clone_id), "the end is reported")
    return Clone(clone_id, first, world.polls(clone_id))


def test_a_share_from_a_snapshot_is_a_finished_clone(
    world: World, clone: Clone
) -> None:
    (created,) = world.reports_on(clone.share_id, "create_share_instance")
    assert created["method"] == "create_share_from_snapshot"
    status = world.ceph.volume("clone status", clone_name=created["share_instance_id"])
    assert status["status"]["state"] == "complete"
    world.check()


def test_an_unfinished_clone_is_pending_until_its_end_is_reported(
    clone: Clone,
) -> None:
    assert clone.first == ["pending"]
    *earlier, last = clone.polls
    assert last == "success"
    assert {*earlier} <= {"pending"}


def test_groups_and_their_shares_are_those_of_ceph(world: World, user: str) -> None:
    types = [world.share_type]
    type_id = world.manila.create("share_group_type", name=BACKEND, share_types=types)
    group_id = world.manila.create(
        "share_group", share_group_type_id=type_id, share_types=types
    )
    world.manila.wait("share_group", group_id, "available")
    share_id = world.share(share_group_id=group_id)
    world.allow(share_id, user)
    world.check()
    assert world.subvolume(share_id).group == group_id
    assert world.ceph.groups() == [group_id]

    snapshot_id = world.manila.create("share_group_snapshot", share_group_id=group_id)

    def status() -> Any:
        found = world.manila.get("share_group_snapshot", snapshot_id)["status"]
        return found if found != "creating" else None

    created = wait_for(status, "the group snapshot")
    (report,) = [
        call
        for call in world.audit()
        if call["operation"] == "create_share_group_snapshot"
    ]
    # Whether it works depends on the version of Manila's driver.
    outcomes = {"available": "success", "error": "failure"}
    assert report["outcome"] == outcomes[created]
    assert report["share_group_snapshot_id"] == snapshot_id
    assert bool(world.subvolume(share_id).snapshots) == (created == "available")
    world.check_reports()

    world.manila.delete("share_group_snapshot", snapshot_id)
    world.manila.delete("share", share_id, f"?share_group_id={group_id}")
    world.manila.delete("share_group", group_id)
    assert world.ceph.groups() == []
    world.check()


class Refused(NamedTuple):
    """A share with an access rule that Ceph refused."""

    share_id: str
    rule: Any


@pytest.fixture
def refused(world: World, user: str) -> Iterator[Refused]:
    """Request access for an auth ID that was not created by Manila."""
    world.ceph.command(
        "auth get-or-create", entity=f"client.{user}", caps=["mon", "allow r"]
    )
    share_id = world.share()
    rule_id = world.manila.allow(share_id, user)
    yield Refused(share_id, world.manila.wait_for_rule(share_id, rule_id, "error"))
    world.manila.delete("share", share_id)
    world.ceph.command("auth rm", entity=f"client.{user}")
    world.check()


def test_a_refused_auth_id_stays_as_it_is(world: World, refused: Refused) -> None:
    assert not world.subvolume(refused.share_id).access
    (kept,) = world.ceph.command(
        "auth get", entity=f"client.{refused.rule['access_to']}"
    )
    assert kept["caps"] == {"mon": "allow r"}
    world.check_reports()


def test_a_refused_auth_id_is_reported_as_failure(
    world: World, refused: Refused
) -> None:
    world.check_reports()
    (report,) = world.reports_on(refused.share_id, "allow_access")
    assert report["outcome"] == "failure"
    assert report["failed_items"] == [refused.rule["id"]]
    (event,) = [
        event
        for event in world.server.events
        if event["data"]["request_id"] == report["request_id"]
        and event["data"].get("outcome")
    ]
    assert event["type"].endswith(".allow_access.error")


def deny_by_guard(world: World) -> tuple[int, str]:
    """Return a size that the guard denies, and the reason."""
    return MAX_SIZE + 1, f"guard_max_size = {MAX_SIZE}"


def deny_by_command(world: World) -> tuple[int, str]:
    """Let the program deny new shares; return any size, and the reason."""
    (world.directory / "full").touch()
    return 1, "the array is full"


@pytest.mark.parametrize("deny", [deny_by_guard, deny_by_command])
def test_a_vetoed_share_leaves_nothing_on_ceph(
    world: World, deny: Callable[[World], tuple[int, str]]
) -> None:
    before, clients = world.ceph.subvolumes(), set(world.ceph.keys())
    size, reason = deny(world)
    try:
        share_id = world.manila.create_share(size)
        world.manila.wait("share", share_id, "error")
    finally:
        (world.directory / "full").unlink(missing_ok=True)

    (report,) = world.reports_on(share_id, "create_share_instance")
    assert report["outcome"] == "veto"
    assert reason in report["error"]
    assert world.ceph.subvolumes() == before
    assert set(world.ceph.keys()) == clients
    world.check()
    world.manila.delete("share", share_id)
    assert world.ceph.subvolumes() == before
    world.check()


def test_a_killed_service_loses_no_report(world: World, user: str) -> None:
    share_id = world.share()
    world.allow(share_id, user)
    world.check()
    # The receiver is down until the service is killed, so that events remain on disk.
    world.server.answers = [receiver.status(503)] * 1000
    with world.ceph.frozen_manager():
        world.manila.act(share_id, extend={"new_size": 2})
        wait_for(lambda: world.started(share_id, "extend_share"), "a call", 120)
        world.cloud.kill_share()
    world.server.answers.clear()
    world.earlier = len(world.audit())
    # The call had begun, and its end is unknown.
    assert world.reports_on(share_id, "extend_share") == []

    world.cloud.start_share()
    # An administrator repeats the operation.
    world.manila.act(share_id, reset_status={"status": "available"})
    world.manila.act(share_id, extend={"new_size": 3})
    wait_for(lambda: world.outcomes(share_id, "extend_share"), "a report", 120)
    world.manila.wait("share", share_id, "available")
    assert world.outcomes(share_id, "extend_share") == ["success"]
    assert world.subvolume(share_id).size == 3 * GIB
    world.check()
    begun = [
        event["data"]["request_id"]
        for event in world.server.events
        if event["type"].endswith("extend_share.start")
        and event["data"]["share_id"] == share_id
    ]
    # The event of the killed call has arrived too, and before the other.
    repeated = world.reports_on(share_id, "extend_share")[0]["request_id"]
    assert list(dict.fromkeys(begun))[1:] == [repeated]
    world.manila.delete("share", share_id)
    world.check()


def test_no_key_is_in_any_output(world: World, user: str) -> None:
    share_id = world.share()
    rule = world.allow(share_id, user)
    world.check()
    assert rule["access_key"] in world.keys
    outputs = world.outputs()
    for name in ("audit.log", "command.events", "webhook"):
        assert user.encode() in outputs[name], name
    assert b" DEBUG " in outputs["manila-share"]
    found = {
        name
        for name, output in outputs.items()
        if any(key.encode() in output for key in world.keys)
    }
    assert found == set()


#: The last line of a traceback of a veto, which Manila logs like a driver's error.
VETO = re.compile(
    r" ERROR [\w.]+ (hooks\.guard\.limits\.NoValidHost|aspects\.errors\.Veto): "
)

TRACEBACK = "Traceback (most recent call last):"


def test_the_log_has_no_error_of_the_hooks(world: World) -> None:
    for log in world.cloud.logs().values():
        assert "Failed to start" not in log
        for text in log.split(TRACEBACK)[1:]:
            assert VETO.search(text) or project_tracebacks(TRACEBACK + text) == []

# SPDX-License-Identifier: Apache-2.0
"""The request operations, compared with the source of Manila's share API."""

from __future__ import annotations

import copy
import pickle
import runpy
from typing import Any

import pytest

import aspects
from aspects.requests import API, REQUESTS
from aspects.weaving import Weaving
from tests.support.hooks import Recorder
from tests.support.manager_source import releases
from tests.support.pages import DOCS

RELEASES = {
    int(name.split(".")[0]): source["share_api"] for name, source in releases().items()
}

#: The methods that request handlers call and that only read.
READS = {
    "access_get",
    "access_get_all",
    "get",
    "get_all",
    "get_all_snapshots",
    "get_all_snapshots_with_count",
    "get_all_with_count",
    "get_latest_snapshot_for_share",
    "get_share_network",
    "get_snapshot",
    "migration_get_progress",
    "share_server_migration_get_progress",
    "snapshot_access_get",
    "snapshot_access_get_all",
}

#: The methods that no request handler calls on the object of ``share_api_class``, and
#: that change something -> their caller.
PARTS = {
    "allow_access_to_instance": "allow_access, and the share manager",
    "create_instance": "create, and the share manager",
    "create_share_instance_and_get_request_spec": "create, create_share_replica",
    "delete_scheduler_hints": "delete, unmanage",
    "deny_access_to_instance": "deny_access",
    "save_scheduler_hints": "create",
    "transfer_accept": "Manila's transfer API, on an object of Manila's own class",
    "update_access_to_instance": "update_access",
}

#: The beginnings of further methods that only the API object calls, and that read.
READING = ("check_if_", "check_is_", "get_", "snapshot_export_location", "update_meta")


@pytest.mark.parametrize("release", RELEASES)
def test_every_method_that_a_request_calls_is_an_operation_or_only_reads(
    release: int,
) -> None:
    called = RELEASES[release]["called"].keys()
    assert called - API.methods.keys() == READS
    for name in RELEASES[release]["internal"].keys() - PARTS.keys():
        reads = name.startswith(READING) or name == (
            "share_server_migration_get_destination"
        )
        assert reads, name
    assert not RELEASES[release]["internal"].keys() & API.methods.keys()


def test_a_request_calls_the_method_of_every_operation() -> None:
    called = {name for source in RELEASES.values() for name in source["called"]}
    for operation, methods in REQUESTS.items():
        assert set(methods or [operation]) <= called
        assert len(methods) <= 1


def test_the_documentation_has_a_table_of_the_requests() -> None:
    table = runpy.run_path(str(DOCS / "conf.py"))["requests_table"]()
    cells = [row.split("\n") for row in table.split("   * - ")[2:]]
    rows = [[cell.strip().removeprefix("- ") for cell in row if cell] for row in cells]
    series = ("2024.1", "2024.2", "2025.1", "2025.2", "2026.1", "2026.2")
    expected = []
    for operation, methods in REQUESTS.items():
        method = (*methods, operation)[0]
        majors = [n for n, source in RELEASES.items() if method in source["called"]]
        assert majors == [*range(majors[0], 24)]
        arguments = RELEASES[23]["called"][method].replace(" ", ", ")
        since = f"{majors[0]} ({series[majors[0] - 18]})"
        expected.append([operation, method, arguments, since])
    assert rows == expected
    since_of = {row[0]: row[3] for row in rows}
    assert since_of["create_share"] == "18 (2024.1)"
    assert since_of["update_access"] == "20 (2025.1)"
    assert since_of["create_qos_type"] == "22 (2026.1)"


class Api:
    """An object with a method of each request, and others."""

    def update_share_replica(self, context: Any, share_replica: Any) -> Any:
        return share_replica

    def update_access(self, ctx: Any, share: Any, access: Any, values: Any) -> Any:
        return values

    def get(self, context: Any, share_id: str) -> str:
        return share_id

    def delete(self, context: Any, share: Any, force: bool = False) -> Any:
        return self.delete_instance(context, share)

    def delete_instance(self, context: Any, share_instance: Any) -> str:
        return "deleted"


class Requests(Weaving):
    __slots__ = ()
    interface = API


@pytest.fixture
def hook() -> Recorder:
    return Recorder("hook", enabled=["pre", "post"])


@pytest.fixture
def woven(hook: Recorder) -> Any:
    return aspects.weave(Api(), [hook], "share_api", "node1", kind=Requests)


CONTEXT = object()


def operations(hook: Recorder) -> list[str]:
    return [call.func_name for call in hook.calls if call.kind == "pre"]


def test_a_request_has_the_name_of_its_operation(woven: Any, hook: Recorder) -> None:
    woven.delete(CONTEXT, "share")
    (operation,) = operations(hook)
    assert operation == "delete_share"
    assert operation.method == "delete"


def test_a_method_that_the_api_calls_on_itself_is_not_a_request(
    woven: Any, hook: Recorder
) -> None:
    assert woven.delete(CONTEXT, "share") == "deleted"
    assert operations(hook) == ["delete_share"]
    woven.delete_instance(CONTEXT, "instance")
    assert operations(hook) == ["delete_share", "delete_share_instance"]


def test_a_method_that_only_reads_is_not_woven(woven: Any, hook: Recorder) -> None:
    assert woven.get(CONTEXT, "id") == "id"
    assert not operations(hook)
    assert "get" not in aspects.weaving(woven).operations


def test_a_request_is_never_routine(woven: Any, hook: Recorder) -> None:
    woven.update_share_replica(CONTEXT, "replica")
    (operation,) = operations(hook)
    # The driver's operation of this name is routine.
    assert operation.requested
    assert pickle.loads(pickle.dumps(operation)).requested


def test_an_update_of_a_rule_is_not_an_update_of_the_rules_of_a_driver(
    woven: Any, hook: Recorder
) -> None:
    woven.update_access(CONTEXT, "share", "access", {"add_rules": ["rule"]})
    (operation,) = operations(hook)
    assert operation == "update_access"
    call = (("share", "access", {"access_level": "ro"}), {})
    expected = {
        "share": "share",
        "access": "access",
        "values": {"access_level": "ro"},
    }
    assert operation.arguments(*call) == operation.manila_arguments(*call) == expected


def test_a_copy_of_the_api_is_woven_in_the_same_way(woven: Any, hook: Recorder) -> None:
    copy.copy(woven).delete(CONTEXT, "share")
    assert operations(hook) == ["delete_share"]

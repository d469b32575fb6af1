# SPDX-License-Identifier: Apache-2.0
"""Every operation that changes something, and every share in its calls."""

import functools
import inspect

import pytest
from oslo_context import context as oslo_context

import aspects
from aspects.operations import METHODS, OPERATIONS, ROUTINE_OPERATIONS
from aspects.testing import SIGNATURES, FakeDriver, make_hook
from hooks.guard import GuardHook
from tests.support.threads import run_in_thread

from .common import ALWAYS, share_of, vetoed

FORBIDDEN = share_of(
    id="i2", share_id="s2", project_id="p2", share_type_id="t2", share_type_name="tape"
)
FINE = share_of(share_type_id="t1", share_type_name="gold")

#: The drivers' methods that change something when a user requests it.
REQUESTED = sorted(
    method
    for method in SIGNATURES
    if METHODS.get(method, method) not in ROUTINE_OPERATIONS
)
ROUTINE = sorted(set(SIGNATURES) - set(REQUESTED))


def snapshot_of(share):
    return {"id": "n1", "snapshot_id": "n0", "share_id": share["id"], "share": share}


def group_snapshot_of(*shares):
    members = [snapshot_of(share) for share in shares]
    return {"id": "h1", "share_group_snapshot_members": members}


def server_of(*shares):
    return {"id": "v1", "share_instances": list(shares)}


def request_of(*shares):
    """Return the request of share_server_migration_check_compatibility()."""
    specs = [
        {
            "share_properties": {"size": 10, "project_id": share["project_id"]},
            "share_instance_properties": {"share_type_id": share["share_type_id"]},
            "share_type": {"id": share["share_type_id"]},
        }
        for share in shares
    ]
    return {"shares_size": 10, "shares_req_spec": specs}


def mapping_of(share):
    """Return a snapshot in the form in which create_replica() receives it."""
    snapshots = {"active_replica_snapshot": snapshot_of(FINE)}
    return {**snapshots, "share_replica_snapshot": snapshot_of(share)}


#: Parameter -> a function that returns the argument for a share.
SHARES = {
    "active_replica": lambda share: share,
    "active_replica_snapshot": snapshot_of,
    "backup": lambda share: {"id": "b1", "share_id": "s1", "share": share},
    "destination_share": lambda share: share,
    "new_replica": lambda share: share,
    "parent_share": lambda share: share,
    "replica": lambda share: share,
    "replica_list": lambda share: [FINE, share],
    "replica_snapshot": snapshot_of,
    "replica_snapshots": lambda share: [snapshot_of(FINE), snapshot_of(share)],
    "share": lambda share: share,
    "share_group_dict": lambda share: {"id": "g1", "shares": [FINE, share]},
    "share_group_snapshot_dict": lambda share: group_snapshot_of(FINE, share),
    "share_instance": lambda share: share,
    "share_instances": lambda share: [FINE, share],
    "share_replica": lambda share: share,
    "shares": lambda share: [FINE, share],
    "shares_request_spec": lambda share: request_of(FINE, share),
    "snap_dict": lambda share: group_snapshot_of(FINE, share),
    "snapshot": snapshot_of,
    "snapshot_mappings": lambda share: {"n1": snapshot_of(share)},
    "snapshots": lambda share: [snapshot_of(FINE), snapshot_of(share)],
    "source_share": lambda share: share,
    "source_snapshots": lambda share: [snapshot_of(FINE), snapshot_of(share)],
}

#: Parameters that count in calls without any of the above.
SURROUNDINGS = {
    name: lambda share: server_of(FINE, share)
    for name in (
        "dest_share_server",
        "destination_share_server",
        "server_details",
        "share_server",
        "src_share_server",
    )
} | {
    name: lambda share: {"id": "w1", "project_id": share["project_id"]}
    for name in (
        "new_share_network",
        "old_share_network",
        "share_network",
        "share_network_subnet",
    )
}

#: The arguments of parameters without shares.
OTHER = {
    "new_project": "p1",
    "new_size": 20,
    **dict.fromkeys(("count", "dest_host", "identifier", "new_user")),
    **dict.fromkeys(("quiesce_wait_time", "share_server_id"), "1"),
    **{name: {} for name in ("current_security_service", "new_security_service")},
    **{name: {} for name in ("driver_options", "metadata", "new_network_info")},
    **{name: {} for name in ("access", "network_info", "security_services")},
    **{
        f"{kind}_network_allocations": {"shares": [FORBIDDEN]}
        for kind in ("current", "new")
    },
    **{
        f"{kind}_rules": [{"access_to": "192.0.2.1", "share": FORBIDDEN}]
        for kind in (
            *("access", "add", "delete", "update"),
            *("share_access", "share_instance", "snapshot_access"),
        )
    },
}


@functools.cache
def guard(freezes=(), **options):
    return make_hook(GuardHook, guard_freeze=list(freezes), **options)


def guarded(**options):
    return aspects.weave(FakeDriver(), [guard(**options)])


def parameters_of(method):
    parameters = inspect.signature(getattr(FakeDriver, method)).parameters
    hidden = {"self", "context", "kwargs", "refresh"}
    return [name for name in parameters if name not in hidden]


def call(driver, method, **changes):
    """Make a call with fine shares, except for some arguments.

    The call runs in a thread with the current context of a request, as in Manila.
    """
    arguments = {
        name: OTHER[name] if name in OTHER else (SHARES | SURROUNDINGS)[name](FINE)
        for name in parameters_of(method)
    }
    arguments.update(changes)

    def run():
        context = oslo_context.RequestContext(user_id="u9", project_id="p9")
        if "context" in inspect.signature(getattr(FakeDriver, method)).parameters:
            arguments["context"] = context
        return vetoed(getattr(driver, method), **arguments)

    return run_in_thread(run)


def shares_in(method):
    """Return the parameters of a method whose shares are judged."""
    parameters = parameters_of(method)
    return [name for name in parameters if name in SHARES] or [
        name for name in parameters if name in SURROUNDINGS
    ]


def operation_of(method):
    # Of update_access, the call above adds, deletes and updates rules.
    return METHODS.get(method, method)


def test_the_methods_are_those_of_all_operations():
    operations = {operation_of(method) for method in REQUESTED}
    assert operations == OPERATIONS.keys() - ROUTINE_OPERATIONS


def test_each_parameter_is_known():
    parameters = {name for method in SIGNATURES for name in parameters_of(method)}
    assert parameters == SHARES.keys() | SURROUNDINGS.keys() | OTHER.keys()


@pytest.mark.parametrize("method", REQUESTED)
def test_a_total_freeze_forbids_the_operation(method):
    driver = guarded(freezes=(ALWAYS,))
    assert f"{operation_of(method)} is frozen" in call(driver, method)
    assert driver.calls == []


@pytest.mark.parametrize("method", ROUTINE)
def test_a_routine_operation_is_frozen_only_by_name(method):
    operation = operation_of(method)
    driver = guarded(freezes=(ALWAYS,))
    assert call(driver, method) is None
    assert len(driver.calls) == 1
    driver = guarded(freezes=(ALWAYS,), hook_operations=operation)
    assert "is frozen" in call(driver, method)
    assert driver.calls == []


@pytest.mark.parametrize("method", REQUESTED)
def test_a_call_with_fine_shares_is_allowed(method):
    driver = guarded(guard_denied_projects="p2", guard_denied_share_types="tape, t2")
    assert call(driver, method) is None
    assert len(driver.calls) == 1


@pytest.mark.parametrize(
    ("method", "parameter"),
    [(method, name) for method in REQUESTED for name in shares_in(method)],
)
def test_each_share_of_the_call_is_judged(method, parameter):
    changes = {parameter: (SHARES | SURROUNDINGS)[parameter](FORBIDDEN)}
    driver = guarded(guard_denied_projects="p2")
    denied = "project p2 is denied (guard_denied_projects)"
    assert call(driver, method, **changes) == denied
    driver = guarded(guard_allowed_projects="p1")
    assert "project p2 is not allowed" in call(driver, method, **changes)
    if parameter.partition("share_network")[1]:
        # A share network has no share type.
        return
    driver = guarded(guard_denied_share_types="t2")
    assert "is denied (guard_denied_share_types)" in call(driver, method, **changes)
    driver = guarded(guard_allowed_share_types="t1")
    assert "is not allowed" in call(driver, method, **changes)
    assert driver.calls == []


@pytest.mark.parametrize(
    "method", [method for method in REQUESTED if not shares_in(method)]
)
def test_a_call_without_shares_has_the_project_of_the_request(method):
    driver = guarded(guard_denied_projects="p9")
    assert "project p9 is denied" in call(driver, method)


def test_other_shares_of_a_share_server_do_not_count_for_a_share():
    driver = guarded(guard_denied_projects="p2", guard_denied_share_types="t2")
    server = server_of(FORBIDDEN)
    assert call(driver, "create_share", share_server=server) is None
    assert call(driver, "unmanage_with_server", share_server=server) is None
    assert call(driver, "allocate_admin_network", share_server=server)

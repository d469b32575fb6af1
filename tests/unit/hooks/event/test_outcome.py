# SPDX-License-Identifier: Apache-2.0
"""Tests of the outcomes that the results of driver methods report."""

import copy
import inspect
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import aspects
from aspects.operations import METHODS
from aspects.testing import SIGNATURES, FakeDriver
from hooks.events import outcome
from hooks.events.hook import EventHook
from tests.support.config import ConfigFile
from tests.support.hooks import Recorder
from tests.support.results import CONTINUED_BY, POLLED, ROWS, Row

from .common import RULE, operation

#: Driver methods from whose results Manila reads no outcome: it ignores them, or they
#: are facts such as export locations.
WITHOUT_OUTCOME = {
    *("allow_access", "deny_access", "create_share", "delete_share", "ensure_share"),
    *("delete_snapshot", "unmanage_snapshot", "unmanage_snapshot_with_server"),
    *("unmanage", "unmanage_with_server", "extend_share", "shrink_share"),
    *("revert_to_replicated_snapshot", "delete_replica", "transfer_accept"),
    *("do_setup", "get_share_stats", "teardown_server", "unmanage_server"),
    *("delete_backup", "migration_cancel", "migration_complete"),
    *("share_server_migration_cancel", "share_server_migration_get_progress"),
    *("allocate_network", "allocate_admin_network", "deallocate_network"),
    *("update_network_allocation", "update_admin_network_allocation"),
    *("update_share_from_metadata", "update_share_network_subnet_from_metadata"),
}

rows = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def read(row):
    called = aspects.Operation(METHODS[row.method], row.method)
    return outcome.of_results(called, (), row.arguments, row.result)


@rows
def test_a_result_has_its_outcome(row):
    found = read(row)
    assert (found.name, found.failed_items) == (row.outcome, row.failed)
    assert bool(found.reason) == (row.outcome in ("partial", "failure"))


def test_each_driver_method_has_a_row_or_no_outcome():
    """A new driver method needs a decision."""
    assert not WITHOUT_OUTCOME & outcome.READERS.keys()
    assert SIGNATURES.keys() == outcome.READERS.keys() | WITHOUT_OUTCOME


def test_each_reader_has_rows():
    tested = {outcome.READERS[row.method] for row in ROWS}
    assert {*outcome.READERS.values()} == tested


def test_unfinished_work_is_reported_until_its_end():
    pending = {row.method for row in ROWS if row.outcome == "pending"}
    ended = {row.method for row in ROWS if row.outcome == "success"}
    # The others are not continued by Manila, as their notes say.
    notes = {row.method for row in ROWS if row.outcome == "pending" and row.note}
    assert pending <= {*CONTINUED_BY} | POLLED | notes
    # Each method that Manila polls with is an operation, and reports the end.
    assert ended >= POLLED
    for method in POLLED:
        assert not aspects.Operation(METHODS[method], method).requested


# -- random results --------------------------------------------------------------------


class Hostile:
    """An object whose every use fails."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __getitem__(self, key):
        raise RuntimeError(key)

    def __bool__(self):
        raise RuntimeError("bool")

    def __eq__(self, other):
        raise RuntimeError("eq")

    __hash__ = object.__hash__

    def __str__(self):
        raise RuntimeError("str")


HOSTILE = Hostile()
statuses = st.sampled_from(
    ["error", "available", "creating", "deleted", "out_of_sync", "active", "", None]
)
words = st.sampled_from(
    [
        *("id", "status", "state", "replica_state", "access_rules_status", "r1", "a"),
        *("share_access_rules", "snapshot_updates", "total_progress", "size", 1, None),
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | statuses | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(words, inner, max_size=3)
    ),
    max_leaves=12,
)
arguments = st.dictionaries(
    st.sampled_from(
        [
            *("access_rules", "add_rules", "delete_rules", "replica", "new_replica"),
            *("replica_snapshots", "shares", "snap_dict"),
        ]
    ),
    values,
)


@pytest.mark.slow
@given(st.sampled_from(sorted(outcome.READERS)), values, arguments)
def test_any_result_has_an_outcome_and_stays_as_it_is(method, result, given_arguments):
    called = aspects.Operation(METHODS[method], method)
    before = copy.deepcopy((result, given_arguments))
    found = outcome.of_results(called, (), given_arguments, result)
    assert found.name in outcome.OUTCOMES
    assert all(type(item) is str for item in found.failed_items)
    # Items are reported of failures only.
    assert found.failed or (found.failed_items, found.reason) == ((), None)
    json.dumps(found.failed_items)
    assert (result, given_arguments) == before


def hostile_results():
    yield HOSTILE
    yield [HOSTILE]
    yield HOSTILE, HOSTILE
    yield None, [HOSTILE]
    yield {HOSTILE: HOSTILE}
    for key in ("status", "replica_state", "snapshot_updates", "size"):
        yield {key: HOSTILE}
        yield [{"id": HOSTILE, key: HOSTILE}]
        yield {"r1": {key: HOSTILE, "state": HOSTILE}}


@pytest.mark.parametrize("method", sorted(outcome.READERS))
def test_a_result_that_cannot_be_read_has_an_outcome(method):
    called = aspects.Operation(METHODS[method], method)
    for result in hostile_results():
        for given_arguments in ({}, {"access_rules": HOSTILE, "replica": HOSTILE}):
            found = outcome.of_results(called, (), given_arguments, result)
            assert found.name in outcome.OUTCOMES


@pytest.mark.parametrize("method", sorted(outcome.READERS))
def test_an_iterator_keeps_its_items(method):
    called = aspects.Operation(METHODS[method], method)
    for wrap in (lambda items: items, lambda items: (None, items)):
        items = iter([{"id": "a", "status": "error"}])
        outcome.of_results(called, (), {}, wrap(items))
        assert next(items)["id"] == "a"


ids = st.lists(st.sampled_from("abcdef"), unique=True)


@pytest.mark.slow
@given(ids, ids, ids)
@example(["a"], ["a"], [])
def test_the_failed_rules_decide_between_failure_and_partial(added, other, failed):
    """The call has failed if all rules that it changes have."""
    rules = [{**RULE, "access_id": name} for name in {*added, *other}]
    changes = [rule for rule in rules if rule["access_id"] in added]
    result = {name: {"state": "error"} for name in failed}
    result |= {name: {"state": "active"} for name in added if name not in failed}
    call = {"access_rules": rules, "add_rules": changes, "delete_rules": []}
    found = outcome.of_results(operation("update_access"), (), call, result)
    if not {*failed} <= {*added, *other}:
        expected = "failure"
    elif not failed:
        expected = "success"
    else:
        whole = {*added} or {*other}
        expected = "failure" if whole <= {*failed} else "partial"
    assert found.name == expected


class Quota(aspects.Veto):
    pass


class SnapshotResourceNotFound(Exception):  # noqa: N818
    """An exception with the name of Manila's."""


DELETING = {"replica_snapshot": {"status": "deleting"}}
CREATING = {"replica_snapshot": {"status": "creating"}}


@pytest.mark.parametrize(
    ("method", "arguments", "error", "name"),
    [
        ("create_share", {}, aspects.Veto("no"), "veto"),
        ("create_share", {}, Quota("no"), "veto"),
        ("create_share", {}, ValueError("no"), "failure"),
        ("create_share", {}, KeyboardInterrupt(), "failure"),
        # Manila deletes a snapshot that its driver no longer finds.
        ("update_replicated_snapshot", DELETING, SnapshotResourceNotFound(), "success"),
        ("update_replicated_snapshot", CREATING, SnapshotResourceNotFound(), "failure"),
        ("update_replicated_snapshot", {}, SnapshotResourceNotFound(), "failure"),
        ("update_replicated_snapshot", DELETING, ValueError("no"), "failure"),
        ("create_share", DELETING, SnapshotResourceNotFound(), "failure"),
    ],
)
def test_the_error_decides_the_outcome(method, arguments, error, name):
    called = aspects.Operation(METHODS[method], method)
    found = outcome.of_error(called, (), arguments, error)
    assert found == (name, (), None)


# -- the events ------------------------------------------------------------------------


class Events(EventHook):
    """A hook that keeps its events."""

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        self.events = []

    def _emit(self, kind, event, context, operation, *call):
        self.events.append(event)


@pytest.fixture
def call(tmp_path):
    """Return a function that calls a driver method, and returns the events' data."""

    def run(row, *others):
        text = "[alpha]\nenable_pre_hooks = True\nenable_post_hooks = True\n"
        file = ConfigFile(tmp_path / "service.conf", text)
        hook = Events(aspects.BackendSection(file.conf, "alpha"), "node1@alpha")
        driver = FakeDriver()
        if isinstance(row.result, Exception):
            driver.answer(**{row.method: row.result})
        else:
            driver.answer(**{row.method: lambda call: copy.deepcopy(row.result)})
        woven = aspects.weave(driver, [hook, *others], "alpha", "node1@alpha")
        method = getattr(woven, row.method)
        names = inspect.signature(method).parameters
        values = {name: row.arguments.get(name) for name in names}
        if isinstance(row.result, Exception):
            with pytest.raises(type(row.result)):
                method(**values)
        else:
            assert method(**values) == row.result
        return hook.events

    return run


@rows
def test_an_event_reports_the_outcome_of_a_result(call, row):
    start, end = call(row)
    failed = row.outcome in ("partial", "failure")
    assert start["type"].endswith(".start")
    assert end["type"].endswith(".error" if failed else ".end")
    assert "outcome" not in start["data"]
    assert end["data"]["outcome"] == row.outcome
    assert end["data"].get("failed_items") == ([*row.failed] if failed else None)
    assert ("error" in end["data"]) == failed
    assert "error_type" not in end["data"]


def test_an_exception_that_manila_takes_for_success_is_an_end(call):
    method, error = "update_replicated_snapshot", SnapshotResourceNotFound("gone")
    _, end = call(Row("", method, error, "success", arguments=DELETING))
    assert end["type"].endswith(".end")
    assert (end["data"]["outcome"], end["data"]["error"]) == ("success", "gone")


@pytest.mark.parametrize("result", [None, OSError("no")])
def test_a_veto_in_warn_mode_is_in_the_last_event_of_its_call(call, result):
    freeze = Recorder("freeze", pre=aspects.Veto("frozen"))
    freeze.hook_enforcement = "warn"
    start, end = call(Row("", "create_snapshot", result, ""), freeze)
    assert "would_deny" not in start["data"]
    assert end["data"]["would_deny"] == [{"hook": "freeze", "reason": "frozen"}]
    assert end["data"]["outcome"] == ("failure" if result else "success")

# SPDX-License-Identifier: Apache-2.0
"""Requests of users, and calls that Manila makes by itself."""

import pytest
from oslo_context import context as oslo_context

import aspects
from aspects.testing import FakeDriver
from tests.support.threads import run_in_thread

from .common import ALWAYS, share_of, vetoed

#: The operations of an example of a freeze.
DELETIONS = "hook_operations = delete_*, unmanage_*, deny_*, *update_access"


@pytest.fixture
def frozen(woven):
    def weave(operations="hook_operations = *"):
        return woven(f"guard_freeze = {ALWAYS}", operations)

    return weave


def in_thread_of(context, call, *args):
    """Make a call in a thread with a current context, and return the veto's reason."""

    def run():
        context.update_store()
        return vetoed(call, *args)

    return run_in_thread(run)


@pytest.mark.parametrize("operations", ["hook_operations = *", DELETIONS])
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        # A share that has been in the recycle bin long enough.
        ("delete_share", [share_of(status="deleting")]),
        # The rules that were pending when the share service stopped.
        ("update_access", [share_of(), [], [], [{"access_to": "192.0.2.1"}], []]),
        ("snapshot_update_access", [{"id": "n1", "share": share_of()}, [], [], []]),
        ("deallocate_network", ["v1"]),
    ],
)
def test_what_manila_does_by_itself_is_allowed(
    frozen, admin_context, operations, method, arguments
):
    driver = frozen(operations)
    assert vetoed(getattr(driver, method), admin_context, *arguments) is None


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("delete_share", "delete_share_instance"),
        ("delete_snapshot", "delete_snapshot"),
    ],
)
def test_a_name_also_forbids_what_manila_does_by_itself(
    frozen, admin_context, method, operation
):
    driver = frozen(f"hook_operations = {operation}, create_*")
    call = getattr(driver, method)
    assert f"{operation} is frozen" in vetoed(call, admin_context, share_of())
    call = driver.teardown_server
    assert in_thread_of(admin_context, call, {"id": "v1"}) is None


def test_a_rule_about_shares_is_for_requests_too(woven, admin_context, context):
    driver = woven("guard_denied_projects = p1")
    assert vetoed(driver.delete_share, admin_context, share_of()) is None
    assert vetoed(driver.delete_share, context, share_of())


@pytest.mark.parametrize("status", ["deferred_deleting", "error_deferred_deleting"])
def test_a_deferred_deletion_is_a_request(frozen, admin_context, status):
    driver = frozen(DELETIONS)
    share = share_of(status=status)
    rules = [[], [], [{"access_to": "192.0.2.1"}], []]
    snapshot = {"id": "n1", "status": status, "share": share_of()}
    assert vetoed(driver.update_access, admin_context, share, *rules)
    assert vetoed(driver.delete_share, admin_context, share)
    assert vetoed(driver.delete_snapshot, admin_context, snapshot)
    assert driver.calls == []


@pytest.mark.parametrize("fields", [{"user_id": "u1"}, {"project_id": "p1"}])
def test_a_context_with_a_user_or_a_project_is_that_of_a_request(frozen, fields):
    request = run_in_thread(oslo_context.RequestContext, is_admin=True, **fields)
    driver = frozen()
    assert vetoed(driver.delete_share, request, share_of())
    assert in_thread_of(request, driver.teardown_server, {"id": "v1"})


def test_the_current_context_counts_for_a_method_without_one(frozen, admin_context):
    driver = frozen()
    assert in_thread_of(admin_context, driver.unmanage_with_server, share_of()) is None
    assert in_thread_of(admin_context, driver.teardown_server, {"id": "v1"}) is None


class Anonymous:
    """A context without the attributes of Manila's."""


@pytest.mark.parametrize("context", [None, Anonymous()], ids=["none", "another"])
def test_a_call_with_an_unknown_origin_is_a_request(frozen, context):
    driver = frozen()
    assert vetoed(driver.delete_share, context, share_of())
    assert vetoed(driver.extend_share, share_of(), 20)
    assert vetoed(driver.setup_server, [])
    # Manila runs only this method, of those without a context, on a timer.
    assert vetoed(driver.teardown_server, {"id": "v1"}) is None


class TestManila:
    """The contexts that Manila makes."""

    @pytest.fixture
    def manila_context(self):
        return pytest.importorskip("manila.context")

    def test_context_of_a_timer_is_not_that_of_a_request(self, frozen, manila_context):
        timer = run_in_thread(manila_context.get_admin_context)
        driver = frozen()
        for context in (timer, timer.elevated()):
            assert vetoed(driver.delete_share, context, share_of()) is None
            assert in_thread_of(context, driver.teardown_server, {}) is None

    def test_context_of_a_request_keeps_its_user_on_the_way(
        self, frozen, manila_context
    ):
        """A request comes as a dict over RPC, and most of the manager elevates it."""

        def receive():
            sent = manila_context.RequestContext(
                user_id="u1", project_id="p1", is_admin=False
            )
            received = manila_context.RequestContext.from_dict(sent.to_dict())
            # Other code of the same thread does not replace the current context.
            manila_context.get_admin_context()
            driver = frozen()
            assert vetoed(driver.teardown_server, {"id": "v1"})
            assert vetoed(driver.delete_share, received.elevated(), share_of())

        run_in_thread(receive)

    def test_placeholder_of_the_share_manager_has_an_unknown_origin(self, configured):
        manager = pytest.importorskip("aspects.manila.manager")
        section = aspects.BackendSection(
            configured(f"guard_freeze = {ALWAYS}").conf, "alpha"
        )
        driver = aspects.weave_from_config(
            FakeDriver(), section, "node1@alpha", new_context=manager.new_context
        )
        assert vetoed(driver.extend_share, share_of(), 20)
        assert vetoed(driver.teardown_server, {"id": "v1"}) is None

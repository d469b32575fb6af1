# SPDX-License-Identifier: Apache-2.0
"""Manila's share manager, driven only through the woven driver."""

from __future__ import annotations

import contextlib
import threading
from typing import Any
from unittest import mock

import pytest
from manila import context as manila_context
from manila import db, service
from manila.common import constants
from manila.share.manager import ShareManager as PlainManager
from manila.tests import db_utils
from manila.tests.share.drivers.dummy import DummyDriver
from oslo_context import context as oslo_context

import aspects

from . import recorder
from .test_operations import World, world  # noqa: F401 (a fixture)


def test_bootstrap(manila: Any) -> None:
    for name in ("alpha", "servers"):
        manager = manila.managers[name]
        assert isinstance(manager, PlainManager)
        assert aspects.is_woven(manager.driver)
        assert isinstance(manager.driver, DummyDriver)
        assert type(aspects.unweave(manager.driver)) is DummyDriver
        assert manager.access_helper.driver is manager.driver
        assert manager.snapshot_access_helper.driver is manager.driver
        # Upstream's manager-level hooks would run them a second time.
        assert manager.hooks == []


def test_backend_without_hooks_stays_unwrapped(manila: Any) -> None:
    driver = manila.managers["plain"].driver
    assert type(driver) is DummyDriver
    assert not aspects.is_woven(driver)


def test_backends_have_their_own_hooks(manila: Any) -> None:
    alpha, servers = (
        aspects.weaving(manila.managers[name].driver) for name in ("alpha", "servers")
    )
    assert [type(h) for h in alpha.hooks] == [recorder.Recorder, recorder.Upstream]
    assert [type(h) for h in servers.hooks] == [recorder.Recorder, recorder.Upstream]
    assert not set(alpha.hooks) & set(servers.hooks)
    assert {h.host for h in alpha.hooks} == {manila.managers["alpha"].host}
    assert {h.host for h in servers.hooks} == {manila.managers["servers"].host}
    assert [h.instance_name for h in alpha.hooks] == ["first", "Upstream"]


def test_upstream_hook(world: World) -> None:  # noqa: F811
    share = world.share()
    world.access(share, constants.ACCESS_STATE_QUEUED_TO_APPLY)

    pre, post = (s for s in recorder.SEEN if isinstance(s.hook, recorder.Upstream))
    assert (pre.kind, post.kind) == ("pre", "post")
    assert pre.operation == post.operation == "allow_access"
    # It takes no *args, as Manila's manager passes everything by keyword.
    assert pre.kwargs["share"]["share_id"] == share["id"]
    assert [r["access_to"] for r in pre.kwargs["add_rules"]] == ["10.0.0.1"]
    assert pre.kwargs["delete_rules"] == []
    # The other takes what the manager passed: two by position, five by keyword.
    assert len(post.args) == 2
    assert sorted(post.kwargs) == [
        "add_rules",
        "delete_rules",
        "share_server",
        "update_rules",
    ]
    assert post.received == ({"name": "allow_access", "server": None}, None)


def test_context_of_calls_without_one(
    world: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # That of another test may be the thread's current one.
    monkeypatch.setattr(oslo_context, "_request_store", threading.local())
    world.manager.publish_service_capabilities(world.context)
    world.manager.extend_share(world.context, world.share()["id"], 2, None)

    contexts = {str(s.operation): s.context for s in recorder.SEEN}
    assert sorted(contexts) == ["extend_share", "publish_service_capabilities"]
    for context in contexts.values():
        assert isinstance(context, manila_context.RequestContext)
        assert context.is_admin


def test_veto_leaves_share_in_error(
    world: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = []
    driver = aspects.unweave(world.manager.driver)
    hook = aspects.weaving(world.manager.driver).hooks[1]
    share = world.share("creating")

    def forbid(*args: Any, **kwargs: Any) -> None:
        raise aspects.Veto("not today")

    monkeypatch.setattr(hook, "_execute_pre_hook", forbid, raising=True)
    monkeypatch.setattr(driver, "create_share", lambda *a, **k: called.append(a))
    with pytest.raises(aspects.Veto, match="not today"):
        world.manager.create_share_instance(world.context, share.instance["id"])

    assert called == []
    assert db.share_get(world.context, share["id"])["status"] == "error"
    endings = [(s.kind, str(s.received[1])) for s in recorder.SEEN if s.received]
    assert endings == [("error", "not today")]


def test_access_helper(world: World) -> None:  # noqa: F811
    share = world.share()
    world.access(share, constants.ACCESS_STATE_QUEUED_TO_APPLY)
    instance = share.instance["id"]

    (rule,) = db.share_access_get_all_for_instance(world.context, instance)
    assert rule["state"] == "active"
    world.manager.access_helper.update_access_rules(
        world.context, instance, delete_all_rules=True
    )
    assert db.share_access_get_all_for_instance(world.context, instance) == []
    assert [s.operation for s in recorder.SEEN if s.kind == "post"] == (
        ["allow_access"] * 2 + ["deny_access"] * 2
    )


def test_snapshot_helper(world: World) -> None:  # noqa: F811
    snapshot = world.snapshot(world.share())
    db_utils.create_snapshot_access(
        share_snapshot_id=snapshot["id"], access_type="ip", access_to="10.0.0.1"
    )
    world.manager.snapshot_update_access(world.context, snapshot.instance["id"])

    (rule,) = db.share_snapshot_access_get_all_for_snapshot_instance(
        world.context, snapshot.instance["id"]
    )
    assert rule["state"] == "active"


def test_driver_state_lands_on_the_driver(world: World) -> None:  # noqa: F811
    driver = aspects.unweave(world.manager.driver)
    driver.initialized = False
    assert not world.manager.is_service_ready()
    world.manager.init_host(world.manager.service_id)
    assert driver.initialized
    assert world.manager.is_service_ready()

    share = world.share("creating")
    instance = share.instance["id"]
    world.manager.create_share_instance(world.context, instance)
    assert driver.private_storage.get(instance, "fake_provider_location")
    assert world.manager.driver.private_storage is driver.private_storage


def test_ticks(world: World) -> None:  # noqa: F811
    """Every second one of alpha's, each one of the other's, none of the third's."""
    alpha, servers = world.manager, world.servers
    before = aspects.weaving(alpha.driver).ticks
    assert before % 2 == 0
    others = aspects.weaving(servers.driver).ticks
    share = world.share()

    def tick(manager: Any) -> list[Any]:
        recorder.SEEN.clear()
        manager._execute_periodic_hook(world.context)
        return [(type(s.hook), s.received) for s in recorder.SEEN]

    assert tick(alpha) == []
    assert [hook for hook, given in tick(servers)] == [
        recorder.Recorder,
        recorder.Upstream,
    ]
    ran = tick(alpha)
    assert [hook for hook, given in ran] == [recorder.Recorder, recorder.Upstream]
    for _, given in ran:
        assert share.instance["id"] in [instance["id"] for instance in given]
    assert tick(world.service.managers["plain"]) == []
    assert aspects.weaving(alpha.driver).ticks == before + 2
    assert aspects.weaving(servers.driver).ticks == others + 1


def test_periodic_task_of_the_manager_is_the_tick(world: World) -> None:  # noqa: F811
    """Once in the list of periodic tasks, at the interval of the file."""
    tasks = [
        task
        for name, task in type(world.manager)._periodic_tasks
        if name == "_execute_periodic_hook"
    ]
    assert tasks == [type(world.manager)._execute_periodic_hook]
    assert tasks[0]._periodic_spacing == 3600


class Stopped(recorder.Recorder):
    """A hook that knows whether it was stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("broken", ["stop", "wait", "coordinator"])
def test_no_error_at_the_end_of_a_service_keeps_hooks_from_stopping(
    manila: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    hook = Stopped(None, "host@alpha")
    woven = aspects.weave(DummyDriver.__new__(DummyDriver), [hook])
    aspects.weaving(woven).start()
    gone = OSError("the broker is gone")
    ending = service.Service.__new__(service.Service)
    super(service.Service, ending).__init__()
    ending.rpcserver = mock.Mock()
    ending.manager = mock.Mock(driver=woven)
    ending.coordinator = None
    ending.service_id = 1
    monkeypatch.setattr(service.db, "service_update", mock.Mock())
    if broken == "coordinator":
        ending.coordinator = mock.Mock()
        ending.coordinator.stop.side_effect = gone
        monkeypatch.setattr(
            service.coordination, "LOCK_COORDINATOR", ending.coordinator
        )
    else:
        getattr(ending.rpcserver, broken).side_effect = gone
    with contextlib.suppress(OSError):
        ending.stop()
    assert hook.stopped

# SPDX-License-Identifier: Apache-2.0
"""Manila's share manager calls only the woven driver."""

from __future__ import annotations

import contextlib
import threading
from typing import Any
from unittest import mock

import pytest
from manila import context as manila_context
from manila import db, exception, service
from manila.common import constants
from manila.share.manager import ShareManager as PlainManager
from manila.tests import db_utils
from manila.tests.share.drivers.dummy import DummyDriver
from oslo_context import context as oslo_context

import aspects
from tests.support import releases

from . import recorder
from .test_operations import World, world  # noqa: F401 (a fixture)


def test_the_share_manager_and_its_helpers_have_the_woven_driver(manila: Any) -> None:
    for name in ("alpha", "servers"):
        manager = manila.managers[name]
        assert isinstance(manager, PlainManager)
        assert aspects.is_woven(manager.driver)
        assert isinstance(manager.driver, DummyDriver)
        assert type(aspects.unweave(manager.driver)) is DummyDriver
        assert manager.access_helper.driver is manager.driver
        assert manager.snapshot_access_helper.driver is manager.driver
        # Manila's manager-level hooks would run the same hooks twice.
        assert manager.hooks == []


def test_a_backend_without_hooks_keeps_its_driver(manila: Any) -> None:
    driver = manila.managers["plain"].driver
    assert type(driver) is DummyDriver
    assert not aspects.is_woven(driver)


def test_each_backend_has_its_own_hooks(manila: Any) -> None:
    alpha, servers = (
        aspects.weaving(manila.managers[name].driver) for name in ("alpha", "servers")
    )
    assert [type(hook) for hook in alpha.hooks] == [
        recorder.Recorder,
        recorder.Upstream,
    ]
    assert [type(hook) for hook in servers.hooks] == [
        recorder.Recorder,
        recorder.Upstream,
    ]
    assert not set(alpha.hooks) & set(servers.hooks)
    assert {hook.host for hook in alpha.hooks} == {manila.managers["alpha"].host}
    assert {hook.host for hook in servers.hooks} == {manila.managers["servers"].host}
    assert [hook.instance_name for hook in alpha.hooks] == ["first", "Upstream"]


def test_a_hook_of_manilas_contract_receives_the_arguments_of_the_call(
    world: World,  # noqa: F811
) -> None:
    share = world.share()
    world.access(share, constants.ACCESS_STATE_QUEUED_TO_APPLY)

    pre, post = (s for s in recorder.SEEN if isinstance(s.hook, recorder.Upstream))
    assert (pre.kind, post.kind) == ("pre", "post")
    assert pre.operation == post.operation == "allow_access"
    # The pre method has no *args and receives all arguments by keyword.
    assert pre.kwargs["share"]["share_id"] == share["id"]
    assert [r["access_to"] for r in pre.kwargs["add_rules"]] == ["10.0.0.1"]
    assert pre.kwargs["delete_rules"] == []
    # The post method has *args and receives positional arguments as such.
    assert len(post.args) == 2
    names = {"add_rules", "delete_rules", "share_server"}
    names |= {"update_rules"} if releases.HAS_UPDATE_RULES else set()
    assert set(post.kwargs) == names
    assert post.received == ({"name": "allow_access", "server": None}, None)


def test_hooks_receive_an_admin_context_in_calls_without_a_context(
    world: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The context of another test may be the current one of this thread.
    monkeypatch.setattr(oslo_context, "_request_store", threading.local())
    world.manager.publish_service_capabilities(world.context)
    world.manager.extend_share(world.context, world.share()["id"], 2, None)

    contexts = {str(seen.operation): seen.context for seen in recorder.SEEN}
    assert sorted(contexts) == ["extend_share", "publish_service_capabilities"]
    for context in contexts.values():
        assert isinstance(context, manila_context.RequestContext)
        assert context.is_admin


def test_a_veto_puts_the_share_into_the_state_error(
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
    completions = [(s.kind, str(s.received[1])) for s in recorder.SEEN if s.received]
    assert completions == [("error", "not today")]


def test_the_access_helper_calls_the_woven_driver(world: World) -> None:  # noqa: F811
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


def test_the_snapshot_access_helper_activates_a_rule(world: World) -> None:  # noqa: F811
    snapshot = world.snapshot(world.share())
    db_utils.create_snapshot_access(
        share_snapshot_id=snapshot["id"], access_type="ip", access_to="10.0.0.1"
    )
    world.manager.snapshot_update_access(world.context, snapshot.instance["id"])

    (rule,) = db.share_snapshot_access_get_all_for_snapshot_instance(
        world.context, snapshot.instance["id"]
    )
    assert rule["state"] == "active"


def test_attributes_set_on_the_woven_driver_reach_the_driver(world: World) -> None:  # noqa: F811
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


def test_periodic_hooks_run_every_n_ticks_of_their_backend(
    world: World,  # noqa: F811
) -> None:
    # alpha has periodic_hooks_ticks = 2, servers has the default of 1.
    alpha, servers = world.manager, world.servers
    before = aspects.weaving(alpha.driver).ticks
    assert before % 2 == 0
    servers_before = aspects.weaving(servers.driver).ticks
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
    assert aspects.weaving(servers.driver).ticks == servers_before + 1


def test_the_share_manager_has_one_periodic_hook_task(
    world: World,  # noqa: F811
) -> None:
    tasks = [
        task
        for name, task in type(world.manager)._periodic_tasks
        if name == "_execute_periodic_hook"
    ]
    assert tasks == [type(world.manager)._execute_periodic_hook]
    # The value of the option periodic_hooks_interval, which conftest sets.
    assert tasks[0]._periodic_spacing == 3600


class Stopped(recorder.Recorder):
    """A hook that records whether it was stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


def running_service(driver: Any) -> service.Service:
    """Return a service that has a woven driver, whose hooks have started."""
    aspects.weaving(driver).start()
    running = service.Service.__new__(service.Service)
    super(service.Service, running).__init__()
    running.rpcserver = mock.Mock()
    running.manager = mock.Mock(driver=driver)
    running.coordinator = None
    running.service_id = 1
    return running


@pytest.mark.parametrize("broken", ["stop", "wait", "database", "coordinator"])
def test_hooks_stop_although_a_part_of_the_service_fails_to_stop(
    manila: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    hook = Stopped(None, "host@alpha")
    woven = aspects.weave(DummyDriver.__new__(DummyDriver), [hook])
    error = OSError("connection to the broker lost")
    stopping = running_service(woven)
    update = mock.Mock(side_effect=error if broken == "database" else None)
    monkeypatch.setattr(service.db, "service_update", update)
    if broken == "coordinator":
        stopping.coordinator = mock.Mock()
        stopping.coordinator.stop.side_effect = error
        monkeypatch.setattr(
            service.coordination, "LOCK_COORDINATOR", stopping.coordinator
        )
    elif broken != "database":
        getattr(stopping.rpcserver, broken).side_effect = error
    with contextlib.suppress(OSError):
        stopping.stop()
    assert hook.stopped


def test_a_service_that_was_never_started_stops_without_an_error(
    manila: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Stopped(None, "host@alpha")
    stopping = running_service(aspects.weave(DummyDriver.__new__(DummyDriver), [hook]))
    # The parent process of Manila until 20 stops the services of its children.
    stopping.service_id = None
    missing = exception.ServiceNotFound(service_id=None)
    monkeypatch.setattr(service.db, "service_update", mock.Mock(side_effect=missing))
    stopping.stop()
    assert hook.stopped

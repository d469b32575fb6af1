# SPDX-License-Identifier: Apache-2.0
"""The guard hook judges requests in a real share manager, and all shares in them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from manila import context as manila_context
from manila import db
from manila.tests import db_utils
from oslo_utils import timeutils

import aspects
from aspects.testing import make_hook
from hooks.guard import GuardHook
from tests.support.threads import run_in_thread

from .test_operations import World, world  # noqa: F401

#: A freeze that is in force whenever the test runs.
ALWAYS = "* * * * * 2h Europe/Berlin"

Guard = Callable[..., None]


@pytest.fixture
def guard(world: World) -> Iterator[Guard]:  # noqa: F811
    """Return a function that replaces the hooks of all backends by a guard."""
    drivers = [world.manager.driver, world.servers.driver]
    weavings = [aspects.weaving(driver) for driver in drivers]
    before = [weaving.hooks for weaving in weavings]

    def replace(**options: Any) -> None:
        for weaving in weavings:
            weaving.replace([make_hook(GuardHook, **options)])

    yield replace
    for weaving, hooks in zip(weavings, before):
        weaving.replace(hooks)


def as_user(call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Make a call in a thread of its own, as for a request that came over RPC."""

    def run() -> None:
        sent = manila_context.RequestContext("u1", "p1", is_admin=True).to_dict()
        call(manila_context.RequestContext.from_dict(sent), *args, **kwargs)

    run_in_thread(run)


def on_a_timer(task: Callable[[Any], None]) -> None:
    """Run a periodic task in a thread of its own, as the service does."""
    run_in_thread(lambda: task(manila_context.get_admin_context()))


class TestShareServers:
    @pytest.fixture
    def server(self, world: World) -> Any:  # noqa: F811
        long_ago = timeutils.utcnow() - datetime.timedelta(days=1)
        return db_utils.create_share_server(
            host=world.servers.host,
            updated_at=long_ago,
            backend_details={"server_id": "v1"},
        )

    def status(self, server: Any) -> str | None:
        admin = manila_context.get_admin_context()
        found = db.share_server_get_all_by_host(admin, server["host"])
        return {other["id"]: other["status"] for other in found}.get(server["id"])

    def test_an_unused_server_is_removed_during_a_freeze(
        self,
        world: World,  # noqa: F811
        guard: Guard,
        server: Any,
    ) -> None:
        guard(guard_freeze=[ALWAYS])
        on_a_timer(world.servers.delete_free_share_servers)
        assert self.status(server) is None

    def test_a_request_to_delete_a_server_is_vetoed(
        self,
        world: World,  # noqa: F811
        guard: Guard,
        server: Any,
    ) -> None:
        guard(guard_freeze=[ALWAYS], hook_operations=["delete_*"])
        with pytest.raises(aspects.Veto, match="delete_share_server is frozen"):
            as_user(world.servers.delete_share_server, server)
        assert self.status(server) == "error"

    def test_the_name_of_the_operation_extends_the_freeze_to_the_timer(
        self,
        world: World,  # noqa: F811
        guard: Guard,
        server: Any,
    ) -> None:
        guard(guard_freeze=[ALWAYS], hook_operations=["delete_share_server"])
        on_a_timer(world.servers.delete_free_share_servers)
        assert self.status(server) == "error"


class TestDeletions:
    def test_a_deferred_deletion_waits_for_the_end_of_the_freeze(
        self,
        world: World,  # noqa: F811
        guard: Guard,
    ) -> None:
        guard(guard_freeze=[ALWAYS])
        share = world.share()
        as_user(
            world.manager.delete_share_instance,
            share.instance["id"],
            deferred_delete=True,
        )

        def statuses() -> list[str]:
            every = db.share_instance_get_all_by_share(world.context, share["id"])
            return [instance["status"] for instance in every]

        assert statuses() == ["error_deferred_deleting"]
        on_a_timer(world.manager.do_deferred_share_deletion)
        assert statuses() == ["error_deferred_deleting"]
        guard(guard_max_size=500)
        on_a_timer(world.manager.do_deferred_share_deletion)
        assert statuses() == []

    def test_a_timer_deletes_a_share_unless_its_operation_is_named(
        self,
        world: World,  # noqa: F811
        guard: Guard,
    ) -> None:
        """Manila deletes expired shares of the recycle bin through the share API."""
        share = world.share("deleting")
        instance = share.instance["id"]

        def delete(context: Any) -> None:
            world.manager.delete_share_instance(context, instance)

        guard(guard_freeze=[ALWAYS], hook_operations=["delete_share_instance"])
        with pytest.raises(aspects.Veto):
            on_a_timer(delete)
        guard(guard_freeze=[ALWAYS], hook_operations=["delete_*"])
        on_a_timer(delete)
        assert db.share_instance_get_all_by_share(world.context, share["id"]) == []


class TestShares:
    DENIED = "project p2 is denied"

    def test_a_backup_is_not_restored_onto_a_forbidden_share(
        self,
        world: World,  # noqa: F811
        guard: Guard,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        driver = aspects.unweave(world.manager.driver)
        monkeypatch.setattr(driver, "restore_to_target_support", True)
        guard(guard_denied_projects="p2")
        fine, forbidden = world.share(project_id="p1"), world.share(project_id="p2")
        backup = db_utils.create_backup(fine["id"], size=1, project_id="p1")
        restore = world.manager.restore_backup
        with pytest.raises(aspects.Veto, match=self.DENIED):
            as_user(restore, backup, forbidden["id"])
        as_user(restore, backup, fine["id"])

    def test_a_group_snapshot_with_a_forbidden_member_is_vetoed(
        self,
        world: World,  # noqa: F811
        guard: Guard,
    ) -> None:
        shares = [world.share(), world.share()]
        group = db_utils.create_share_group(project_id="p1", host=world.manager.host)
        snapshot = db_utils.create_share_group_snapshot(group["id"], project_id="p1")
        for share in shares:
            db_utils.create_share_group_snapshot_member(
                snapshot["id"],
                share_instance_id=share.instance["id"],
                user_id="u1",
                project_id="p1",
            )
        create = world.manager.create_share_group_snapshot
        denied = shares[1].instance["share_type_id"]
        guard(guard_denied_share_types=denied)
        with pytest.raises(aspects.Veto, match="is denied"):
            as_user(create, snapshot["id"])
        guard(guard_denied_share_types="another")
        as_user(create, snapshot["id"])

    def test_a_replica_beyond_the_maximum_is_vetoed(
        self,
        world: World,  # noqa: F811
        guard: Guard,
    ) -> None:
        share, replica = world.replica("out_of_sync")
        db.share_update(world.context, share["id"], {"size": 6})
        guard(guard_max_size=5)
        create = world.manager.create_share_replica
        with pytest.raises(aspects.Veto, match="exceeds") as caught:
            as_user(create, replica["id"], share_id=share["id"])
        assert type(caught.value).__name__ == "NoValidHost"
        found = db.share_replica_get(world.context, replica["id"])
        assert found["status"] == "error"

# SPDX-License-Identifier: Apache-2.0
"""The metadata and the share types of the shares that Manila passes to drivers."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest
from manila import context as manila_context
from manila import db
from sqlalchemy import MetaData

import aspects

from .test_operations import TABLE, World, world  # noqa: F401 (a fixture)

METADATA = {"protected": "true", "owner": "alice"}
SPECS = {"driver_handles_share_servers": "False", "tier": "gold"}


class Described(World):
    """The records of the operations' calls, where each share has metadata and specs."""

    def share(self, status: str = "available", **values: Any) -> Any:
        return super().share(status, metadata=dict(METADATA), **values)

    def share_type(self, **specs: str) -> str:
        return super().share_type(tier="gold", **specs)


class Asking(aspects.testing.Recorder):
    """A hook that asks for the metadata and the type of each share of a call."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.answers: list[tuple[Any, ...]] = []

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        for name, share in func_name.arguments(args, kwargs).items():
            if name in ("share", "replica", "new_replica"):
                answer = (
                    func_name,
                    share,
                    aspects.share_metadata(context, share),
                    aspects.share_type(context, share),
                )
                self.answers.append(answer)


@pytest.mark.parametrize(
    "operation",
    [
        *("create_share_instance", "delete_share_instance", "extend_share"),
        *("unmanage_share", "create_share_replica", "promote_share_replica"),
    ],
)
def test_all_hooks_of_a_call_share_one_query_for_the_facts_of_a_share(
    operation: str,
    manila: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not before the fixture: Manila reads its configuration first.
    from aspects.manila.shares import Database

    described = Described(manila)
    hooks = [Asking(name="first"), Asking(name="second")]
    woven = aspects.weave(aspects.unweave(described.manager.driver), hooks)
    monkeypatch.setattr(described.manager, "driver", woven)
    queries: Counter[str] = Counter()
    for question in ("metadata", "share_type"):
        method = getattr(Database, question)

        def counted(
            self: Any, share: Any, question: str = question, method: Any = method
        ) -> Any:
            queries[question] += 1
            return method(self, share)

        monkeypatch.setattr(Database, question, counted)

    TABLE[operation][1](described)

    first, second = (hook.answers for hook in hooks)
    assert first == second
    assert operation in [name for name, *_ in first]
    for _, share, metadata, share_type in first:
        assert metadata == METADATA
        assert share_type.id == share["share_type_id"]
        assert share_type.name.startswith("type-")
        assert share_type.extra_specs.items() >= SPECS.items()
    assert queries == {"metadata": len(first), "share_type": len(first)}


def test_the_metadata_of_a_model_is_not_what_its_key_says(world: World) -> None:  # noqa: F811
    share = world.share(metadata=dict(METADATA))
    instance = db.share_instance_get(
        world.context, share.instance["id"], with_share_data=True
    )
    assert isinstance(instance["metadata"], MetaData)

    assert aspects.share_metadata(world.context, instance) == METADATA
    assert aspects.share_metadata(world.context, share) == METADATA


def test_a_new_context_sees_changed_metadata(world: World) -> None:  # noqa: F811
    share = world.share()
    assert aspects.share_metadata(world.context, share) == {}
    db.share_metadata_update(world.context, share["id"], METADATA, delete=False)

    admin = manila_context.get_admin_context()
    assert aspects.share_metadata(admin, share) == METADATA


def test_a_user_context_is_enough_for_a_private_share_type(world: World) -> None:  # noqa: F811
    private = db.share_type_create(
        world.context, {"name": "private", "is_public": False, "extra_specs": SPECS}
    )
    share = world.share(share_type_id=private["id"])
    user = manila_context.RequestContext(
        user_id="u", project_id="p", is_admin=False, overwrite=False
    )

    share_type = aspects.share_type(user, share)

    assert share_type == aspects.ShareType(private["id"], "private", SPECS)


def test_a_deleted_share_type_still_has_its_name(world: World) -> None:  # noqa: F811
    share = world.share()
    type_id = share["share_type_id"]
    name = db.share_type_get(world.context, type_id)["name"]
    db.share_instance_update(
        world.context, share.instance["id"], {"share_type_id": None}
    )
    db.share_type_destroy(world.context, type_id)

    found = aspects.share_type(world.context, {"share_type_id": type_id})

    assert found == aspects.ShareType(type_id, name, {})


def test_a_share_that_manila_does_not_have_is_its_own_source(world: World) -> None:  # noqa: F811
    share = {"share_id": "unknown", "metadata": METADATA, "share_type": {"name": "a"}}
    assert aspects.share_metadata(world.context, share) == METADATA
    assert aspects.share_type(world.context, share).name == "a"


def test_a_failing_database_reaches_the_hook(
    world: World,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = mock.Mock(side_effect=OSError("no database"))
    monkeypatch.setattr(db, "share_metadata_get", failing)
    with pytest.raises(OSError, match="no database"):
        aspects.share_metadata(world.context, {"share_id": "1"})

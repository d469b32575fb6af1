# SPDX-License-Identifier: Apache-2.0
"""The rules of a file judge calls and shares of a real share manager."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manila import context as manila_context
from manila import db, exception

import aspects
from aspects.testing import make_hook
from hooks.guard import GuardHook
from hooks.metrics import MetricsHook

from .test_guard_requests import as_user
from .test_operations import TABLE, World, world  # noqa: F401 (a fixture)

pytest.importorskip("cel_expr_python")

from hooks.guard.variables import VARIABLES

RULES = """
- name: protected
  operations: [delete_share_instance]
  when: share.metadata[?"protected"].orValue("") == "true" && "member" in user.roles
  reason: '{share.name} of {share.project} is protected, {share.size} GiB'
- name: tier
  operations: [extend_share]
  when: share.type.extra_specs[?"tier"].orValue("") == "gold" && new_size > 5
  reason: '{share.type.name}: {new_size} GiB'
- name: world
  operations: [allow_access, update_access]
  when: access.to == "10.0.0.1"
  reason: '{access.to} {access.type} {access.level}'
- name: snapshots
  operations: [create_snapshot]
  when: snapshot.name == "fake" || snapshot.size > 0
  reason: '{snapshot.size}'
- name: owner
  operations: []
  when: '!("owner" in share.metadata)'
  reason: share {share.name} has no owner
  audit: true
"""

#: Each variable, with a value that no call has.
EACH = " || ".join(
    {
        "string": f'{name} == "none"',
        "int": f"{name} == 12345",
        "timestamp": f'{name} < timestamp("2001-01-01T00:00:00Z")',
    }.get(variable.type, f"{name}.size() == 12345")
    for name, variable in VARIABLES.items()
)

Weave = Callable[..., Any]


@pytest.fixture
def weave(
    world: World,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Weave:
    """Return a function that weaves the driver with a guard, and other hooks."""
    file = tmp_path / "rules.yaml"

    def replace(text: str, *others: Any) -> GuardHook:
        file.write_text(text, "utf-8")
        guard = make_hook(GuardHook, name="guard", guard_rules_file=str(file))
        driver = aspects.unweave(world.manager.driver)
        woven = aspects.weave(driver, [*others, guard], backend="alpha")
        monkeypatch.setattr(world.manager, "driver", woven)
        monkeypatch.setattr(world.manager.access_helper, "driver", woven)
        return guard

    return replace


def user(**values: Any) -> Any:
    return manila_context.RequestContext("u1", "p1", is_admin=True, **values)


def instances_of(world: World, share: Any) -> list[Any]:  # noqa: F811
    found = db.share_instance_get_all_by_share(world.context, share["id"])
    return [instance["status"] for instance in found]


def test_a_share_with_protecting_metadata_is_not_deleted(
    world: World,  # noqa: F811
    weave: Weave,
) -> None:
    weave(RULES)
    named = {"display_name": "db", "project_id": "p1"}
    protected = world.share(metadata={"protected": "true"}, **named)
    other = world.share(metadata={"protected": "false"}, **named)
    delete = world.manager.delete_share_instance
    with pytest.raises(aspects.Veto) as caught:
        delete(user(roles=["member"]), protected.instance["id"])
    assert str(caught.value) == "db of p1 is protected, 1 GiB (rule protected)"
    assert instances_of(world, protected) == ["error_deleting"]
    delete(user(roles=["member"]), other.instance["id"])
    assert instances_of(world, other) == []
    # The condition is not true of a user with another role.
    delete(user(roles=["reader"]), protected.instance["id"])
    assert instances_of(world, protected) == []


def test_the_limit_depends_on_an_extra_spec(
    world: World,  # noqa: F811
    weave: Weave,
) -> None:
    weave(RULES)
    gold, tin = (world.share_type(tier=tier) for tier in ("gold", "tin"))
    for share_type, denied in ((gold, True), (tin, False)):
        share = world.share(share_type_id=share_type)
        extend = world.manager.extend_share
        if denied:
            name = db.share_type_get(world.context, gold)["name"]
            with pytest.raises(exception.ShareExtendingError, match=f"{name}: 6 GiB"):
                as_user(extend, share["id"], 6, [])
        else:
            as_user(extend, share["id"], 6, [])


def test_an_access_rule_and_a_snapshot_are_judged(
    world: World,  # noqa: F811
    weave: Weave,
) -> None:
    weave(RULES)
    world.context = user()
    with pytest.raises(aspects.Veto, match=r"10\.0\.0\.1 ip rw \(rule world\)"):
        TABLE["allow_access"][1](world)
    with pytest.raises(aspects.Veto, match=r"1 \(rule snapshots\)"):
        TABLE["create_snapshot"][1](world)


@pytest.mark.parametrize("operation", TABLE)
def test_rules_can_be_evaluated_in_each_operation(
    world: World,  # noqa: F811
    weave: Weave,
    operation: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Each variable is a rule of its own: a rule does not apply to a call without what
    # it names. The rules only warn, so that an error is logged.
    rules = "\n".join(
        f"- name: r{number}\n  when: {when!r}\n  reason: no\n  enforcement: warn"
        for number, when in enumerate(EACH.split(" || "))
    )
    weave(rules)
    world.context = user()
    TABLE[operation][1](world)
    logged = [text for text in caplog.messages if text.startswith("rule r")]
    # Manila does not pass the size of a replicated snapshot.
    known = "snapshot.size is not known in this call"
    assert [text for text in logged if not text.endswith(known)] == []
    assert not logged or "replicated_snapshot" in operation


def test_shares_without_an_owner_are_reported_on_a_tick(
    world: World,  # noqa: F811
    weave: Weave,
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = make_hook(MetricsHook, metrics_port=0)
    guard = weave(RULES, metrics)
    share = world.share(display_name="db")
    world.share(metadata={"owner": "alice"})

    def tick() -> Any:
        world.manager._execute_periodic_hook(manila_context.get_admin_context())
        labels = {"backend": "alpha", "hook": "guard", "rule": "owner"}
        registry = metrics.endpoint.registry
        name = "manila_aspects_guard_violations"
        assert guard.violations() == {"owner": registry.get_sample_value(name, labels)}
        return registry.get_sample_value(name, labels)

    before = tick()
    assert f"violation appeared: share {share['id']}" in caplog.text
    assert "share db has no owner (rule owner)" in caplog.text
    db.share_metadata_update(world.context, share["id"], {"owner": "bob"}, delete=False)
    assert tick() == before - 1
    assert f"violation resolved: share {share['id']}" in caplog.text

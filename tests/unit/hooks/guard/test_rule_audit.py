# SPDX-License-Identifier: Apache-2.0
"""The existing shares that violate rules, on each tick."""

import pytest
from prometheus_client import generate_latest

import aspects
from aspects.testing import FakeDriver, make_hook
from hooks.audit import AuditHook
from hooks.events.hook import EventHook
from hooks.guard import GuardHook
from hooks.metrics import MetricsHook
from tests.support.schema import validated

from .common import share_of
from .rules import one_rule, written

pytest.importorskip("cel_expr_python")

LARGE = one_rule("share.size > 15", reason="{share.size} GiB", audit="true")


class Events(EventHook):
    """An event hook that keeps its events."""

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        self.events = []

    def _emit(self, kind, event, context, operation, *call):
        self.events.append(validated(event))

    def violations(self):
        prefix = "org.openstack.manila.share.violation."
        return [
            (event["type"].removeprefix(prefix), event["data"])
            for event in self.events
            if event["type"].startswith(prefix)
        ]


class Failing(Events):
    """An event hook whose receiver is down."""

    def report(self, context, event):
        raise ConnectionError("down")


@pytest.fixture
def ticking(tmp_path, admin_context):
    """Return a guard with rules, an event hook, and a function that ticks."""

    def weave(text, *others, driver=None, **options):
        path = written(tmp_path, text)
        guard = make_hook(GuardHook, name="guard", guard_rules_file=path, **options)
        events = make_hook(Events)
        hooks = [guard, *others, events]
        woven = aspects.weave(
            driver or FakeDriver(), hooks, backend="alpha", host="host@alpha"
        )

        def tick(*shares):
            assert aspects.tick(woven, admin_context, list(shares))

        # Kept by the function, because the guard refers to its chain only weakly.
        tick.woven = woven
        return guard, events, tick

    return weave


def test_violation_is_reported_once_when_it_appears_and_once_when_it_goes(
    ticking, caplog
):
    guard, events, tick = ticking(LARGE)
    small, large = share_of(), share_of(id="i2", share_id="s2", size=20)
    tick(small)
    assert events.violations() == []
    assert guard.violations() == {"rule": 0}
    for _ in range(3):
        tick(small, large)
    ((state, data),) = events.violations()
    assert state == "appeared"
    expected = {
        "hook": "guard",
        "rule": "rule",
        "reason": "20 GiB (rule rule)",
        "share_id": "s2",
        "share_instance_id": "i2",
        "share_project_id": "p1",
        "backend": "alpha",
        "host": "host@alpha",
    }
    assert {name: data[name] for name in expected} == expected
    assert guard.violations() == {"rule": 1}
    (line,) = [text for text in caplog.messages if "violation" in text]
    assert line == (
        "Hook guard of backend alpha: violation appeared: share s2 (instance i2): "
        "20 GiB (rule rule)"
    )
    for _ in range(3):
        tick(small, {**large, "size": 10})
    assert [state for state, _ in events.violations()] == ["appeared", "resolved"]
    assert guard.violations() == {"rule": 0}
    assert sum("violation resolved" in text for text in caplog.messages) == 1


def test_event_has_the_attributes_of_cloudevents(ticking):
    _, events, tick = ticking(LARGE)
    tick(share_of(size=20))
    event = next(found for found in events.events if "violation" in found["type"])
    assert event["type"] == "org.openstack.manila.share.violation.appeared"
    assert event["source"] == "/manila/host%40alpha"
    assert event["subject"] == "s1"


def test_share_that_is_deleted_violates_no_rule(ticking):
    guard, events, tick = ticking(LARGE)
    tick(share_of(size=20))
    tick()
    assert [state for state, _ in events.violations()] == ["appeared", "resolved"]
    assert guard.violations() == {"rule": 0}


def test_only_rules_with_audit_are_applied(ticking):
    rules = f"{LARGE}\n- name: b\n  when: 'true'\n  reason: b\n"
    guard, events, tick = ticking(rules)
    tick(share_of(size=20))
    assert [data["rule"] for _, data in events.violations()] == ["rule"]
    assert guard.violations() == {"rule": 1}


def test_rule_for_no_operation_is_for_audit_alone(ticking, context):
    text = one_rule("share.size > 15", "[]", audit="true")
    _, events, tick = ticking(text)
    tick.woven.create_share(context, share_of(size=20))
    tick(share_of(size=20))
    assert len(events.violations()) == 1


def test_metadata_and_share_type_are_those_of_the_share(ticking):
    text = one_rule(
        'share.type.name == "gold" && !("owner" in share.metadata)', audit="true"
    )
    guard, _, tick = ticking(text)
    gold = share_of(share_type={"name": "gold"})
    tick(gold, {**gold, "id": "i2", "metadata": {"owner": "x"}}, share_of(id="i3"))
    assert guard.violations() == {"rule": 1}


def test_rule_that_cannot_be_evaluated_keeps_what_was_found(ticking, caplog):
    text = one_rule('share.metadata.owner == "x"', audit="true")
    guard, events, tick = ticking(text)
    known = share_of(metadata={"owner": "x"})
    tick(known)
    tick(share_of(metadata={}), share_of(id="i2"))
    assert [state for state, _ in events.violations()] == ["appeared"]
    assert guard.violations() == {"rule": 1}
    (line,) = [text for text in caplog.messages if text.startswith("Failed to audit")]
    assert line == (
        'Failed to audit 2 of 2 shares: rule rule: there is no key "owner"; test for '
        "it with has() or in"
    )


def test_audit_follows_the_rules(ticking, tmp_path):
    guard, events, tick = ticking(LARGE)
    tick(share_of(size=20))
    values = guard.configuration.values
    written(tmp_path, one_rule("share.size > 50", audit="true"))
    values["guard_rules_file"] = type(values["guard_rules_file"]).read(
        str(tmp_path / "rules.yaml")
    )
    tick(share_of(size=20))
    assert [state for state, _ in events.violations()] == ["appeared", "resolved"]
    values["guard_rules_file"] = None
    tick(share_of(size=20))
    assert guard.violations() == {}


def test_guard_without_a_file_audits_nothing(admin_context):
    guard = make_hook(GuardHook, guard_max_size=5)
    driver = aspects.weave(FakeDriver(), [guard])
    assert aspects.tick(driver, admin_context, [share_of(size=20)])
    assert guard.violations() == {}


def test_data_of_the_driver_without_shares_is_ignored(ticking):
    class Driver(FakeDriver):
        def get_periodic_hook_data(self, context, share_instances):
            return {"anything": share_instances}

    guard, events, tick = ticking(LARGE, driver=Driver())
    tick(share_of(size=20))
    assert events.violations() == []
    assert guard.violations() == {"rule": 0}


def test_hook_that_fails_does_not_keep_others_from_the_event(ticking, caplog):
    _, events, tick = ticking(LARGE, make_hook(Failing, enable_periodic_hooks=False))
    tick(share_of(size=20))
    assert len(events.violations()) == 1
    assert "failed to report" not in caplog.text
    failing = make_hook(Failing, name="down", suppress_periodic_hooks_errors=True)
    _, events, tick = ticking(LARGE, failing)
    tick(share_of(size=20))
    assert len(events.violations()) == 1
    assert "Hook down failed to report a violation: ConnectionError" in caplog.text


def test_audit_log_has_calls_only(ticking, tmp_path):
    path = tmp_path / "audit.log"
    audit = make_hook(AuditHook, audit_log_path=str(path))
    _, events, tick = ticking(LARGE, audit)
    tick(share_of(size=20))
    assert len(events.violations()) == 1
    assert not path.exists()


def test_secret_in_a_reason_is_masked(ticking):
    text = one_rule("true", reason="of {share.name}", audit="true")
    _, events, tick = ticking(text)
    tick(share_of(display_name="s3cr3t-k3y", access_key="s3cr3t-k3y"))
    ((_, data),) = events.violations()
    assert data["reason"] == "of *** (rule rule)"


def test_metrics_have_the_number_of_violations_of_each_rule(ticking):
    metrics = make_hook(MetricsHook, metrics_port=0)
    rules = f"{LARGE}\n{one_rule('false', audit='true').replace('rule', 'none', 1)}"
    _, _, tick = ticking(rules, metrics)

    def counts():
        text = generate_latest(metrics.endpoint.registry).decode()
        lines = [line for line in text.splitlines() if "violations{" in line]
        return sorted(lines)

    tick(share_of(size=20), share_of(id="i2", size=30))
    prefix = 'manila_aspects_guard_violations{backend="alpha",hook="guard",rule='
    assert counts() == [f'{prefix}"none"}} 0.0', f'{prefix}"rule"}} 2.0']
    tick(share_of(size=5))
    assert counts() == [f'{prefix}"none"}} 0.0', f'{prefix}"rule"}} 0.0']

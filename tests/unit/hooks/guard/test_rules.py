# SPDX-License-Identifier: Apache-2.0
"""Freezes, projects, share types and sizes."""

import datetime
import zoneinfo

import pytest

import aspects
from aspects.testing import FakeDriver

from .common import ALWAYS, MINUTE, UTC, share_of, vetoed


class RenamedParameters(FakeDriver):
    """A driver with names of its own for its parameters."""

    def create_share(self, context, the_share, *args, **kwargs):
        super().create_share(context, the_share)

    def extend_share(self, ext_share, ext_size, share_server=None):
        super().extend_share(ext_share, ext_size)

    def shrink_share(self, *args, **kwargs):
        super().shrink_share(*args, **kwargs)


class TestFreeze:
    def test_veto_has_the_end_of_the_freeze(self, woven, context):
        driver = woven(f"guard_freeze = {ALWAYS}")
        before = datetime.datetime.now(UTC) + 90 * MINUTE - MINUTE
        text = vetoed(driver.delete_share, context, share_of())
        start, _, rest = text.partition(" until ")
        until, _, rule = rest.partition(" ")
        assert start == "delete_share_instance is frozen"
        assert rule == f"(guard_freeze = {ALWAYS})"
        until = datetime.datetime.fromisoformat(until)
        berlin = until.astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
        assert until.utcoffset() == berlin.utcoffset()
        assert before <= until <= before + 2 * MINUTE
        assert driver.calls == []

    def test_veto_names_the_freeze_that_ends_last(self, woven, context):
        hour, day = "* * * * * 1h UTC", "* * * * * 1d UTC"
        for order in ([hour, day], [day, hour]):
            driver = woven(*(f"guard_freeze = {text}" for text in order))
            assert f"(guard_freeze = {day})" in vetoed(
                driver.create_share, context, share_of()
            )

    def test_calls_outside_of_the_freeze_are_allowed(self, woven, context):
        month = datetime.datetime.now(UTC).month % 12 + 1
        # The month after the next, as the current month may end during the test.
        month = month % 12 + 1
        driver = woven(f"guard_freeze = 0 0 1 {month} * 1d UTC")
        assert vetoed(driver.create_share, context, share_of()) is None

    def test_only_the_operations_of_the_instance_are_frozen(self, woven, context):
        driver = woven(f"guard_freeze = {ALWAYS}", "hook_operations = delete_*")
        assert vetoed(driver.create_share, context, share_of()) is None
        assert vetoed(driver.delete_share, context, share_of())

    def test_routine_operations_are_not_frozen(self, woven, admin_context):
        driver = woven(f"guard_freeze = {ALWAYS}")
        driver.do_setup(admin_context)
        driver.get_share_stats(True)
        driver.update_replica_state(admin_context, [], share_of(), [], [])
        assert len(driver.calls) == 3

    @pytest.mark.parametrize("pattern", ["*", "init_*, publish_*"])
    def test_a_pattern_does_not_freeze_routine_operations(
        self, woven, admin_context, pattern
    ):
        driver = woven(f"guard_freeze = {ALWAYS}", f"hook_operations = {pattern}")
        driver.do_setup(admin_context)
        driver.get_share_stats(True)

    def test_a_name_freezes_a_routine_operation(self, woven, admin_context):
        driver = woven(f"guard_freeze = {ALWAYS}", "hook_operations = *, init_host")
        assert vetoed(driver.do_setup, admin_context)
        assert vetoed(driver.get_share_stats, True) is None

    def test_ticks_are_not_frozen(self, woven, admin_context):
        driver = woven(f"guard_freeze = {ALWAYS}", "enable_periodic_hooks = True")
        assert aspects.tick(driver, admin_context, []) is True

    def test_veto_is_not_suppressed(self, woven, context):
        driver = woven(f"guard_freeze = {ALWAYS}", "suppress_pre_hooks_errors = True")
        assert vetoed(driver.create_share, context, share_of())
        assert driver.calls == []

    def test_completion_of_an_allowed_call_does_nothing(self, woven, context):
        driver = woven("enable_post_hooks = True", "hook_methods = create_share")
        driver.create_share(context, share_of())
        assert [str(call) for call in driver.calls] == ["create_share"]


class TestProjects:
    DENIED = "project p1 is denied (guard_denied_projects)"
    NOT_ALLOWED = "project p1 is not allowed (guard_allowed_projects)"

    def test_denied_project_is_vetoed(self, woven, context):
        driver = woven("guard_denied_projects = p0, p1")
        assert vetoed(driver.create_share, context, share_of()) == self.DENIED
        other = share_of(project_id="p2")
        assert vetoed(driver.create_share, context, other) is None

    def test_project_that_is_not_allowed_is_vetoed(self, woven, context):
        driver = woven("guard_allowed_projects = p2, p3")
        assert vetoed(driver.create_share, context, share_of()) == self.NOT_ALLOWED
        other = share_of(project_id="p2")
        assert vetoed(driver.create_share, context, other) is None

    def test_denied_takes_precedence_over_allowed(self, woven, context):
        driver = woven("guard_allowed_projects = p1", "guard_denied_projects = p1")
        assert vetoed(driver.create_share, context, share_of()) == self.DENIED

    def test_project_of_the_share_is_checked(self, woven, context):
        """The request's project may be that of an administrator."""
        driver = woven("guard_denied_projects = p1")
        other = share_of(project_id="p2")
        assert vetoed(driver.delete_share, context, other) is None

    def test_project_of_the_request_is_checked_without_a_share(self, woven, context):
        driver = woven("guard_denied_projects = p1", "hook_operations = init_host")
        assert vetoed(driver.do_setup, context) == self.DENIED

    def test_project_that_receives_a_share_is_checked(self, woven, context):
        driver = woven("guard_denied_projects = p2")
        call = driver.transfer_accept
        assert vetoed(call, context, share_of(), "u2", "p3") is None
        assert vetoed(call, context, share_of(), "u2", "p2") == (
            "project p2 is denied (guard_denied_projects)"
        )

    def test_call_without_a_project_is_allowed(self, woven):
        driver = woven("guard_allowed_projects = p1")
        with_own_context = woven("guard_denied_projects = p1").teardown_server
        assert vetoed(driver.teardown_server, {"id": "v1"}) is None
        assert vetoed(with_own_context, {"id": "v1"}) is None


class Model:
    """A database model whose other columns cannot be loaded."""

    def __init__(self, **columns):
        self.columns = columns

    def __getitem__(self, key):
        return getattr(self, key)

    def __getattr__(self, key):
        if key in self.columns:
            return self.columns[key]
        raise RuntimeError(f"cannot load {key}")


class TestShareTypes:
    @pytest.mark.parametrize(
        "share",
        [
            share_of(share_type_id="t1", share_type={"name": "gold"}),
            share_of(share_type_id="t1", share_type_name="gold"),
            Model(
                project_id="p1", size=1, share_type_id="t1", share_type={"name": "gold"}
            ),
        ],
        ids=["instance", "replica", "model"],
    )
    def test_share_type_matches_by_name_and_by_id(self, woven, context, share):
        for entry in ("gold", "t1"):
            driver = woven(f"guard_denied_share_types = tin, {entry}")
            assert vetoed(driver.create_share, context, share) == (
                "share type gold is denied (guard_denied_share_types)"
            )
            driver = woven(f"guard_allowed_share_types = tin, {entry}")
            assert vetoed(driver.create_share, context, share) is None
        driver = woven("guard_denied_share_types = tin")
        assert vetoed(driver.create_share, context, share) is None
        driver = woven("guard_allowed_share_types = tin")
        assert vetoed(driver.create_share, context, share) == (
            "share type gold is not allowed (guard_allowed_share_types)"
        )

    def test_share_type_may_be_known_by_id_alone(self, woven, context):
        """Manila's calls that change access rules have no name of the share type."""
        share = share_of(share_type_id="t1")
        driver = woven("guard_denied_share_types = t1")
        assert "share type t1 is denied" in vetoed(driver.delete_share, context, share)
        driver = woven("guard_allowed_share_types = gold")
        assert vetoed(driver.delete_share, context, share)

    def test_call_without_a_share_is_allowed(self, woven, context):
        driver = woven("guard_allowed_share_types = gold")
        assert vetoed(driver.teardown_server, {}) is None

    def test_veto_of_a_new_share_has_the_name_that_manila_knows(self, woven, context):
        """Manila selects its user message by the name of the class."""
        driver = woven("guard_denied_share_types = gold", "guard_max_size = 5")
        gold = share_of(share_type_name="gold")
        for share, call, name in [
            (gold, driver.create_share, "NoValidHost"),
            (share_of(), driver.create_share, "NoValidHost"),
            (gold, driver.delete_share, "Veto"),
        ]:
            with pytest.raises(aspects.Veto) as caught:
                call(context, share)
            assert type(caught.value).__name__ == name


class TestSizes:
    MIN, MAX = "guard_min_size = 10", "guard_max_size = 20"

    @pytest.mark.parametrize("size", [10, 20, "15", None, 0])
    def test_size_within_the_limits_is_allowed(self, woven, context, size):
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.create_share, context, share_of(size=size)) is None
        assert vetoed(driver.manage_existing, share_of(size=size), {}) is None

    def test_size_of_a_new_share_outside_of_the_limits_is_vetoed(self, woven, context):
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.create_share, context, share_of(size=9)) == (
            "size 9 GiB is below the minimum of 10 GiB (guard_min_size = 10)"
        )
        assert vetoed(driver.create_share, context, share_of(size=21)) == (
            "size 21 GiB exceeds the maximum of 20 GiB (guard_max_size = 20)"
        )
        assert vetoed(driver.manage_existing, share_of(size=21), {})

    @pytest.mark.parametrize("driver", [FakeDriver, RenamedParameters])
    def test_new_size_of_a_share_is_checked(self, woven, driver):
        driver = woven(self.MIN, self.MAX, driver=driver())
        assert "21 GiB" in vetoed(driver.extend_share, share_of(), 21)
        assert vetoed(driver.extend_share, share_of(), 20, share_server=None) is None
        assert "9 GiB" in vetoed(driver.shrink_share, share_of(), 9, share_server=None)
        assert vetoed(driver.shrink_share, share_of(), 10) is None

    def test_new_size_may_be_a_keyword_argument(self, woven):
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.extend_share, share=share_of(), new_size=21)
        assert vetoed(driver.shrink_share, new_size=9, share=share_of())

    def test_change_towards_the_limits_is_allowed(self, woven):
        """A share that is older than the rule may be outside of the limits."""
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.shrink_share, share_of(size=100), 50) is None
        assert vetoed(driver.extend_share, share_of(size=1), 5) is None

    def test_size_of_a_new_replica_is_checked(self, woven, context):
        driver = woven(self.MAX)
        large, replicas = share_of(size=21), [share_of(size=21)]
        with pytest.raises(aspects.Veto, match="21 GiB") as caught:
            driver.create_replica(context, replicas, large, [], [])
        assert type(caught.value).__name__ == "NoValidHost"
        assert vetoed(driver.create_replica, context, [], share_of(), [], []) is None
        assert vetoed(driver.promote_replica, context, replicas, large, []) is None

    def test_sizes_of_all_shares_of_a_new_group_are_checked(self, woven, context):
        driver = woven(self.MAX)
        call = driver.create_share_group_from_share_group_snapshot
        group = {"id": "g1", "shares": [share_of(), share_of(size=21)]}
        assert "21 GiB" in vetoed(call, context, group, {})
        assert vetoed(call, context, {"id": "g1", "shares": [share_of()]}, {}) is None
        assert vetoed(driver.create_share_group, context, {"id": "g1"}) is None
        assert vetoed(driver.delete_share_group, context, group) is None

    def test_calls_that_do_not_change_the_size_are_allowed(self, woven, context):
        driver = woven(self.MAX)
        assert vetoed(driver.delete_share, context, share_of(size=100)) is None


def test_share_is_found_under_any_parameter_name(woven, context):
    driver = woven("guard_denied_projects = p1", driver=RenamedParameters())
    assert vetoed(driver.create_share, context, share_of())
    assert vetoed(driver.extend_share, share_of(), 1)
    assert vetoed(driver.shrink_share, share_of(), 1)

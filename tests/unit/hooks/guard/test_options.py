# SPDX-License-Identifier: Apache-2.0
"""The options of the guard hook."""

import pytest

import aspects
from aspects.testing import FakeDriver
from hooks import guard
from tests.support.config import ConfigFile

from .common import ALWAYS, share_of, vetoed


def test_no_rule_no_veto(woven, context):
    assert vetoed(woven().create_share, context, share_of()) is None
    empty = [f"{option.name} =" for option in guard.GuardHook.options[:5]]
    assert vetoed(woven(*empty).create_share, context, share_of()) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["guard_freeze = * * * * * 1h UTC", "guard_freeze = 0 22 * * fri 60h Mars"],
            "guard_freeze = 0 22 * * fri 60h Mars: there is no time zone 'Mars'",
        ),
        (
            ["guard_min_size = 20", "guard_max_size = 10"],
            "guard_min_size = 20: more than guard_max_size = 10",
        ),
        (["guard_max_size = big"], "guard_max_size = big: "),
        (["guard_min_size = -1"], "guard_min_size = -1: "),
    ],
)
def test_what_is_wrong_is_told_at_the_start(woven, options, told):
    with pytest.raises(aspects.HookConfigError) as caught:
        woven(*options)
    (problem,) = caught.value.problems
    assert problem.section == "alpha"
    assert told in str(problem)


def test_rules_follow_the_file(configured, context):
    file = configured("guard_max_size = 20")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    assert vetoed(driver.create_share, context, share_of()) is None
    before = file.path.read_text()
    file.mutate(f"{before}\nguard_freeze = {ALWAYS}\n")
    assert vetoed(driver.create_share, context, share_of())
    file.mutate(before.replace("20", "5"))
    assert "5" in vetoed(driver.create_share, context, share_of())
    file.mutate(before)
    assert vetoed(driver.create_share, context, share_of()) is None


def test_last_good_rules_stay(configured, context, caplog):
    file = configured(f"guard_freeze = {ALWAYS}")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    before = file.path.read_text()
    file.mutate(before.replace(ALWAYS, "* * * * * 90m Europe/Berlinn"))
    for _ in range(3):
        assert ALWAYS in vetoed(driver.create_share, context, share_of())
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert (
        "guard_freeze = * * * * * 90m Europe/Berlinn: there is no time zone "
        "'Europe/Berlinn'"
    ) in record.getMessage()
    file.mutate(before.replace(ALWAYS, "* * * * * 2h UTC"))
    assert "2h UTC" in vetoed(driver.create_share, context, share_of())


def test_value_of_a_wrong_type_leaves_the_rest(configured, context, caplog):
    file = configured("guard_max_size = 5")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    file.mutate(file.path.read_text().replace("= 5", "= five"))
    assert "guard_max_size = 5" in vetoed(driver.create_share, context, share_of())
    assert "guard_max_size = five" in caplog.text


def test_two_instances_for_two_sets_of_operations(tmp_path, context):
    text = f"""
    [alpha]
    hook_drivers = freeze=guard, limit=guard
    enable_pre_hooks = True
    [alpha:freeze]
    guard_freeze = {ALWAYS}
    hook_operations = delete_*
    [alpha:limit]
    guard_max_size = 5
    """
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    assert "frozen" in vetoed(driver.delete_share, context, share_of())
    assert "GiB" in vetoed(driver.create_share, context, share_of())
    assert vetoed(driver.create_share, context, share_of(size=1)) is None

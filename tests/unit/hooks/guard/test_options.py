# SPDX-License-Identifier: Apache-2.0
"""The options of the guard hook."""

import pytest

import aspects
from aspects.testing import FakeDriver
from hooks import guard
from tests.support.config import ConfigFile

from .common import ALWAYS, share_of, vetoed


def test_guard_without_rules_allows_all_calls(woven, context):
    assert vetoed(woven().create_share, context, share_of()) is None
    empty = [f"{option.name} =" for option in guard.GuardHook.options[1:6]]
    assert vetoed(woven(*empty).create_share, context, share_of()) is None


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ([], "it has no rule"),
        (["guard_denied_projects ="], "it has no rule"),
        (["guard_max_size = 5", "hook_operations ="], "hook_operations is empty"),
        (["guard_denied_projects = p1"], ""),
        ([f"guard_freeze = {ALWAYS}"], ""),
    ],
)
def test_guard_that_can_forbid_nothing_is_logged_at_the_start(
    woven, caplog, options, cause
):
    weaving = aspects.weaving(woven(*options))
    weaving.start()
    weaving.stop()
    found = [text for text in caplog.messages if "has no effect" in text]
    assert len(found) == bool(cause)
    expected = f"Hook guard of backend alpha: the hook has no effect, since {cause}"
    assert all(text.startswith(expected) for text in found)


def test_guard_without_pre_hooks_is_ineffective(woven):
    driver = woven("guard_max_size = 5")
    (hook,) = aspects.weaving(driver).hooks
    assert hook.ineffective() is None
    hook.pre_hooks_enabled = False
    assert hook.ineffective() == (
        "the hook has no effect, since enable_pre_hooks is False",
        "set enable_pre_hooks = True",
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ["guard_freeze = * * * * * 1h UTC", "guard_freeze = 0 22 * * fri 60h Mars"],
            "guard_freeze = 0 22 * * fri 60h Mars: unknown time zone 'Mars'",
        ),
        (
            ["guard_min_size = 20", "guard_max_size = 10"],
            "guard_min_size = 20: exceeds guard_max_size = 10",
        ),
        (["guard_max_size = big"], "guard_max_size = big: "),
        (["guard_min_size = -1"], "guard_min_size = -1: "),
    ],
)
def test_invalid_option_is_reported_at_start_up(woven, options, problem):
    with pytest.raises(aspects.HookConfigError) as caught:
        woven(*options)
    (reported,) = caught.value.problems
    assert reported.section == "alpha"
    assert problem in str(reported)


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


def test_invalid_option_at_a_reload_keeps_the_current_rules(
    configured, context, caplog
):
    file = configured(f"guard_freeze = {ALWAYS}")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    before = file.path.read_text()
    file.mutate(before.replace(ALWAYS, "* * * * * 90m Europe/Berlinn"))
    for _ in range(3):
        assert ALWAYS in vetoed(driver.create_share, context, share_of())
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (
        "guard_freeze = * * * * * 90m Europe/Berlinn: unknown time zone "
        "'Europe/Berlinn'"
    ) in error.getMessage()
    file.mutate(before.replace(ALWAYS, "* * * * * 2h UTC"))
    assert "2h UTC" in vetoed(driver.create_share, context, share_of())


def test_value_of_the_wrong_type_at_a_reload_keeps_the_current_rules(
    configured, context, caplog
):
    file = configured("guard_max_size = 5")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    file.mutate(file.path.read_text().replace("= 5", "= five"))
    assert "guard_max_size = 5" in vetoed(driver.create_share, context, share_of())
    assert "guard_max_size = five" in caplog.text


def test_two_instances_have_two_sets_of_rules(tmp_path, context):
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

# SPDX-License-Identifier: Apache-2.0
"""A reload replaces the rules of a file as a whole, or not at all."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

import aspects
from aspects.testing import FakeDriver
from tests.support.config import ConfigFile

from .common import share_of, vetoed
from .rules import one_rule, written

pytest.importorskip("cel_expr_python")


@pytest.fixture
def reloaded(tmp_path):
    """Return a woven driver, and a function that edits its rules and reloads."""

    def weave(text, *options):
        path = written(tmp_path, text)
        lines = [
            "[alpha]",
            "hook_drivers = guard",
            "enable_pre_hooks = True",
            f"guard_rules_file = {path}",
            *options,
        ]
        file = ConfigFile(tmp_path / "service.conf", "\n".join(lines))
        section = aspects.BackendSection(file.conf, "alpha")
        driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")

        def edit(text):
            written(tmp_path, text)
            file.conf.mutate_config_files()

        return driver, edit

    return weave


def test_rules_follow_their_file_after_a_reload(reloaded, context, tmp_path):
    driver, edit = reloaded(one_rule("share.size > 5"))
    (hook,) = aspects.weaving(driver).hooks
    assert vetoed(driver.create_share, context, share_of())
    written(tmp_path, one_rule("share.size > 50"))
    # Not before the service reloads its configuration.
    assert vetoed(driver.create_share, context, share_of())
    edit(one_rule("share.size > 50"))
    assert vetoed(driver.create_share, context, share_of()) is None
    assert aspects.weaving(driver).hooks == (hook,)


def test_mistake_at_a_reload_keeps_the_current_rules(reloaded, context, caplog):
    driver, edit = reloaded(one_rule("share.size > 5"))
    edit(one_rule("share.sise > 50"))
    assert vetoed(driver.create_share, context, share_of())
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert re.fullmatch(
        r"Configuration reload rejected, keeping the current hooks: \[alpha\] "
        r"guard_rules_file = .*rules\.yaml: line 3, column 10: undeclared reference to "
        r"'share\.sise'; did you mean share\.size\?",
        error.getMessage(),
    )
    edit(one_rule("share.size > 50"))
    assert vetoed(driver.create_share, context, share_of()) is None


def test_file_that_disappears_keeps_the_current_rules(
    reloaded, context, caplog, tmp_path
):
    driver, _ = reloaded(one_rule("share.size > 5"))
    conf = aspects.weaving(driver).hooks[0].configuration.conf
    (tmp_path / "rules.yaml").unlink()
    conf.mutate_config_files()
    assert vetoed(driver.create_share, context, share_of())
    assert "No such file or directory" in caplog.text


def test_mistake_fails_the_start(reloaded):
    with pytest.raises(aspects.HookConfigError, match="line 3, column 10"):
        reloaded(one_rule("share.sise > 5"))


def version(number):
    """Return the text of a file with three rules of one version."""
    return "\n".join(
        f"- name: rule{rule}\n  when: 'true'\n  reason: v{number}" for rule in range(3)
    )


@pytest.mark.slow
def test_every_request_is_judged_by_one_version_of_the_rules(reloaded, context):
    driver, edit = reloaded(version(0))

    def request(_):
        return vetoed(driver.create_share, context, share_of())

    def versions_in(text):
        found = re.findall(r"v(\d+) \(rule rule\d\)", text)
        assert len(found) == 3, text
        assert len(set(found)) == 1, text
        return int(found[0])

    current = 0
    with ThreadPoolExecutor(64) as threads:
        for number in range(1, 13):
            requests = [threads.submit(request, n) for n in range(2 * 64)]
            is_wrong = number % 4 == 0
            edit(version(number) + ("\n- name: wrong" if is_wrong else ""))
            before, current = current, current if is_wrong else number
            # A request that begins after the reload gets the new rules.
            assert versions_in(request(None)) == current
            seen = {versions_in(found.result(timeout=60)) for found in requests}
            assert seen <= {before, current}
    assert current == 11
    assert driver.calls == []

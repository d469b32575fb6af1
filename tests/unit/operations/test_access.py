# SPDX-License-Identifier: Apache-2.0
"""The operations of ``update_access``, which depend on its rules."""

from __future__ import annotations

from typing import Any

import pytest

import aspects
from tests.support.drivers import AccessDriver
from tests.support.hooks import Recorder

from .common import CONTEXT


@pytest.mark.parametrize(
    ("add", "delete", "update", "operation"),
    [
        (["a"], [], [], "allow_access"),
        (["a", "b"], None, None, "allow_access"),
        ([], ["d"], [], "deny_access"),
        (None, ["d"], None, "deny_access"),
        (["a"], ["d"], [], "update_access"),
        ([], [], [], "update_access"),
        (None, None, None, "update_access"),
        ([], [], ["u"], "update_access"),
        (["a"], [], ["u"], "update_access"),
        ([], ["d"], ["u"], "update_access"),
    ],
)
@pytest.mark.parametrize("by", ["position", "keyword"])
def test_the_rules_determine_the_operation_of_update_access(
    hook: Recorder, add: Any, delete: Any, update: Any, operation: str, by: str
) -> None:
    woven = aspects.weave(AccessDriver(), [hook], "alpha", "node@alpha")
    if by == "position":
        woven.update_access(CONTEXT, "share", ["x"], add, delete, update)
    else:
        woven.update_access(
            CONTEXT,
            "share",
            ["x"],
            add_rules=add,
            delete_rules=delete,
            update_rules=update,
            share_server=None,
        )
    assert len(hook.trace) == 2
    for seen in hook.trace:
        assert seen.func_name == operation
        assert isinstance(seen.func_name, aspects.Operation)
        assert seen.func_name.method == "update_access"
        assert seen.func_name.backend == "alpha"
        assert seen.func_name.host == "node@alpha"
        assert seen.func_name.arguments(seen.args, seen.kwargs)["add_rules"] == add


def test_update_access_of_a_driver_without_update_rules(hook: Recorder) -> None:
    class Older:
        def update_access(
            self, context: Any, share: Any, access_rules: Any, add_rules: Any,
            delete_rules: Any, share_server: Any = None,
        ) -> None: ...  # fmt: skip

    woven = aspects.weave(Older(), [hook])
    woven.update_access(CONTEXT, "share", [], [], ["d"])
    assert {seen.func_name for seen in hook.trace} == {"deny_access"}


def test_a_call_keeps_its_operation_when_the_driver_changes_the_rules(
    hook: Recorder,
) -> None:
    class Emptying(AccessDriver):
        def update_access(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
            kwargs["add_rules"].clear()

    woven = aspects.weave(Emptying(), [hook])
    woven.update_access(CONTEXT, "share", [], add_rules=["a"], delete_rules=[])
    assert [seen.func_name for seen in hook.trace] == ["allow_access"] * 2


def test_a_hook_can_veto_only_the_access_that_it_selects() -> None:
    def refuse(seen: Any) -> None:
        if seen.func_name == "allow_access":
            raise aspects.Veto("no access")

    woven = aspects.weave(AccessDriver(), [Recorder(pre=refuse)])
    with pytest.raises(aspects.Veto):
        woven.update_access(CONTEXT, "share", [], ["a"], [])
    assert woven.update_access(CONTEXT, "share", [], [], ["d"]) == "result"

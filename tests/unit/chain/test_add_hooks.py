# SPDX-License-Identifier: Apache-2.0
"""The decorator ``add_hooks``."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import aspects
from tests.support.drivers import DecoratedCoroutineDriver, DecoratedDriver
from tests.support.hooks import Recorder, UpstreamRecorder, methods_of
from tests.support.ways import finish

CONTEXT = object()


class Own:
    """A driver with decorated methods."""

    def __init__(self, *hooks: Any) -> None:
        self.hooks = hooks

    @aspects.add_hooks
    def create_share(
        self, context: Any, share: dict[str, Any], *, share_server: Any = None
    ) -> str:
        """Create a share."""
        return "result"

    @aspects.add_hooks
    def delete_share(self, context: Any, share: Any) -> str:
        return self.create_share(context, share)

    @aspects.add_hooks
    def update_access(
        self, context: Any, share: Any, rules: Any, add_rules: Any, delete_rules: Any
    ) -> None: ...

    @aspects.add_hooks
    def reboot(self, when: Any, method: Any = None, operation: Any = None) -> Any:
        return when, method, operation

    @aspects.add_hooks
    async def extend_share(self, share: Any, new_size: int) -> int:
        """Extend a share."""
        return new_size


def test_a_decorated_method_keeps_its_signature() -> None:
    assert str(inspect.signature(Own.create_share)) == (
        "(self, context: 'Any', share: 'dict[str, Any]', *, "
        "share_server: 'Any' = None) -> 'str'"
    )
    assert list(inspect.signature(Own().create_share).parameters) == [
        "context",
        "share",
        "share_server",
    ]
    assert Own.create_share.__name__ == "create_share"
    assert Own.create_share.__qualname__ == "Own.create_share"
    assert Own.create_share.__doc__ == "Create a share."
    assert Own.create_share.__module__ == __name__
    assert inspect.isfunction(Own.create_share)
    assert inspect.iscoroutinefunction(Own.extend_share)
    assert not inspect.iscoroutinefunction(Own.create_share)


def test_the_hooks_of_the_object_run_in_order() -> None:
    trace: list[Any] = []
    own = Own(Recorder("one", trace), Recorder("two", trace))
    assert own.create_share(CONTEXT, {"id": 1}) == "result"
    assert methods_of(trace) == ["one.pre", "two.pre", "one.post", "two.post"]


def test_hooks_get_positional_and_keyword_arguments_as_passed() -> None:
    hook = Recorder()
    own = Own(hook)
    own.create_share(CONTEXT, {"id": 1}, share_server=2)
    own.create_share(share={"id": 1}, context=CONTEXT)
    for seen in hook.trace[:2]:
        assert seen.context is CONTEXT
        assert (seen.args, seen.kwargs) == (({"id": 1},), {"share_server": 2})
    for seen in hook.trace[2:]:
        assert seen.context is CONTEXT
        assert (seen.args, seen.kwargs) == ((), {"share": {"id": 1}})


def test_a_method_has_its_operation_or_else_its_own_name() -> None:
    hook = Recorder()
    own = Own(hook)
    own.create_share(CONTEXT, {})
    own.reboot("now")
    own.update_access(CONTEXT, "share", [], [], ["d"])
    names = [seen.func_name for seen in hook.trace]
    assert names == [
        *["create_share_instance"] * 2,
        *["reboot"] * 2,
        *["deny_access"] * 2,
    ]
    assert [name.method for name in names[::2]] == [
        "create_share",
        "reboot",
        "update_access",
    ]
    assert names[0].arguments(({},), {"share_server": 1}) == {
        "share": {},
        "share_server": 1,
    }


def test_an_operation_has_the_backend_and_host_of_the_object() -> None:
    hook = Recorder()
    own = DecoratedDriver()
    own.hooks = (hook,)
    own.create_share(CONTEXT, "share")
    assert hook.trace[0].func_name.backend == "alpha"
    assert hook.trace[0].func_name.host == "node@alpha"
    hook.trace.clear()
    Own(hook).create_share(CONTEXT, {})
    assert hook.trace[0].func_name.backend is None
    assert hook.trace[0].func_name.host is None


def test_arguments_may_have_any_name() -> None:
    hook = Recorder()
    assert Own(hook).reboot(when=1, method=2, operation=3) == (1, 2, 3)
    assert hook.trace[0].kwargs == {"when": 1, "method": 2, "operation": 3}


def test_the_hooks_of_the_object_are_read_at_each_call() -> None:
    own, other, hook = Own(), Own(), Recorder()
    assert own.create_share(CONTEXT, {}) == "result"
    own.hooks = (hook,)
    own.create_share(CONTEXT, {})
    assert len(hook.trace) == 2
    other.create_share(CONTEXT, {})
    assert len(hook.trace) == 2


def test_the_hooks_may_be_any_iterable() -> None:
    own, hook = Own(), Recorder()
    own.hooks = [hook]  # type: ignore[assignment]
    own.create_share(CONTEXT, {})
    assert len(hook.trace) == 2


def test_each_decorated_method_is_a_join_point_when_another_calls_it() -> None:
    hook = Recorder()
    Own(hook).delete_share(CONTEXT, {})
    assert [f"{seen.kind} {seen.func_name}" for seen in hook.trace] == [
        "pre delete_share_instance",
        "pre create_share_instance",
        "post create_share_instance",
        "post delete_share_instance",
    ]


def test_a_subclass_inherits_the_hooks_around_a_method() -> None:
    class Sub(Own):
        def create_share(self, context: Any, share: Any, **more: Any) -> str:
            return "sub " + super().create_share(context, share, **more)

    hook = Recorder()
    assert Sub(hook).create_share(CONTEXT, {}) == "sub result"
    assert len(hook.trace) == 2


def test_a_vetoed_method_is_not_called() -> None:
    own = Own(Recorder(pre=aspects.Veto("no"), suppress=["pre"]))
    own.create_share = None  # type: ignore[assignment,method-assign]
    with pytest.raises(aspects.Veto, match="no"):
        own.delete_share(CONTEXT, {})


def test_add_hooks_runs_a_hook_of_manilas_contract() -> None:
    hook = UpstreamRecorder(post=aspects.UpdatedResults("updated"))
    assert Own(hook).create_share(CONTEXT, {}, share_server=1) == "updated"


def test_a_coroutine_method_is_awaited_before_its_post_hooks() -> None:
    hook = Recorder(post=aspects.UpdatedResults("updated"))
    assert finish(Own(hook).extend_share("share", 5)) == "updated"
    assert [seen.outcome for seen in hook.trace] == [None, 5]
    own = DecoratedCoroutineDriver()
    own.hooks = (Recorder(pre=aspects.Veto()),)
    with pytest.raises(aspects.Veto):
        finish(own.create_share(CONTEXT, "share"))


def test_a_class_with_decorated_methods_can_be_woven() -> None:
    """The driver's author may have added hooks, and the operator weaves others."""
    trace: list[Any] = []
    own, woven = Recorder("own", trace), Recorder("woven", trace)
    driver = aspects.weave(Own(own), [woven])
    driver.create_share(CONTEXT, {})
    assert methods_of(trace) == ["woven.pre", "own.pre", "own.post", "woven.post"]

# SPDX-License-Identifier: Apache-2.0
"""An operation carries its method, backend, host and arguments."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import aspects
from aspects.operations import METHODS
from tests.support.drivers import CoroutineDriver, Driver
from tests.support.hooks import Recorder
from tests.support.ways import finish

from .common import CONTEXT, Shapes, driver_with


def func_name(hook: Recorder, driver: Any, method: str, *args: Any) -> Any:
    woven = aspects.weave(driver, [hook], "alpha", "node@alpha")
    getattr(woven, method)(*args)
    return hook.trace[-1].func_name


def test_an_operation_is_a_str_equal_to_its_name(hook: Recorder) -> None:
    operation = func_name(hook, Driver(), "create_share", CONTEXT, "share")
    assert isinstance(operation, aspects.Operation)
    assert isinstance(operation, str)
    assert operation == "create_share_instance"
    assert hash(operation) == hash("create_share_instance")
    assert str(operation) == f"{operation}" == "create_share_instance"
    assert operation in {"create_share_instance"}
    assert operation.startswith("create")


def test_an_operation_carries_method_backend_and_host(hook: Recorder) -> None:
    operation = func_name(hook, Driver(), "create_share", CONTEXT, "share")
    assert operation.method == "create_share"
    assert operation.backend == "alpha"
    assert operation.host == "node@alpha"


def test_an_operation_may_have_no_backend_and_host(hook: Recorder) -> None:
    aspects.weave(Driver(), [hook]).create_share(CONTEXT, "share")
    assert hook.trace[0].func_name.backend is None
    assert hook.trace[0].func_name.host is None


def test_two_backends_of_one_class_have_separate_operations() -> None:
    hooks = Recorder(), Recorder()
    for hook, backend in zip(hooks, ("alpha", "beta")):
        woven = aspects.weave(Driver(), [hook], backend, f"node@{backend}")
        woven.create_share(CONTEXT, "share")
    for hook, backend in zip(hooks, ("alpha", "beta")):
        assert hook.trace[0].func_name.backend == backend
        assert hook.trace[0].func_name.host == f"node@{backend}"


@pytest.mark.parametrize("driver", [Driver, CoroutineDriver])
def test_an_operation_is_created_once_per_woven_method(
    hook: Recorder, driver: Any
) -> None:
    woven = aspects.weave(driver(), [hook])
    for _ in range(2):
        result = woven.create_share(CONTEXT, "share")
        if driver is CoroutineDriver:
            finish(result)
    operation = aspects.weaving(woven).operations["create_share"]
    assert len(hook.trace) == 4
    assert all(seen.func_name is operation for seen in hook.trace)


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "arguments"),
    [
        ("create_share", (CONTEXT, 1), {}, {"share": 1}),
        ("create_share", (CONTEXT, 1, 2), {}, {"share": 1, "share_server": 2}),
        (
            "create_share",
            (CONTEXT,),
            {"share_server": 2, "share": 1},
            {"share": 1, "share_server": 2},
        ),
        ("create_share", (), {"context": CONTEXT, "share": 1}, {"share": 1}),
        ("create_share", (CONTEXT, 1), {"extra": 3}, {"share": 1, "extra": 3}),
        ("delete_share", (1, CONTEXT), {"force": True}, {"share": 1, "force": True}),
        ("create_snapshot", (CONTEXT, 1, 2), {}, {"snapshots": (1, 2)}),
        ("extend_share", (1, 2), {}, {"share": 1, "new_size": 2}),
        ("do_setup", (CONTEXT,), {}, {}),
    ],
)
def test_arguments_has_the_calls_arguments_by_name_without_the_context(
    hook: Recorder, method: str, args: Any, kwargs: Any, arguments: Any
) -> None:
    getattr(aspects.weave(Shapes(), [hook]), method)(*args, **kwargs)
    for seen in hook.trace:
        got = seen.func_name.arguments(seen.args, seen.kwargs)
        assert got == arguments
        assert type(got) is dict


def test_arguments_includes_those_that_do_not_fit_the_signature(hook: Recorder) -> None:
    woven = aspects.weave(Shapes(), [hook])
    with pytest.raises(TypeError):
        woven.extend_share(1, 2, 3, other=4)
    seen = hook.trace[0]
    arguments = seen.func_name.arguments(seen.args, seen.kwargs)
    assert arguments == {"args": (1, 2, 3), "other": 4}


def test_a_method_without_a_signature_has_a_context_by_keyword(hook: Recorder) -> None:
    driver = Shapes()
    driver.create_share = dict  # type: ignore[assignment,method-assign]
    woven = aspects.weave(driver, [hook])
    assert woven.create_share(context=CONTEXT, share=1) == {
        "context": CONTEXT,
        "share": 1,
    }
    seen = hook.trace[0]
    assert seen.context is CONTEXT
    assert seen.func_name.arguments(seen.args, seen.kwargs) == {"share": 1}


def test_a_decorated_method_has_the_signature_of_what_it_wraps(hook: Recorder) -> None:
    def decorate(method: Any) -> Any:
        @functools.wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return wrapper

    class Decorated:
        @decorate
        def create_share(self, context: Any, share: Any) -> None: ...

    aspects.weave(Decorated(), [hook]).create_share(CONTEXT, 1)
    seen = hook.trace[0]
    assert seen.context is CONTEXT
    assert seen.func_name.arguments(seen.args, seen.kwargs) == {"share": 1}


def delegate(self: Any, *args: Any, **kwargs: Any) -> None: ...


class Delegating(Shapes):
    """A driver like GlusterFS's, whose base class has the names of the parameters."""

    def create_share(self, *args: Any, **kwargs: Any) -> None: ...

    # Tegile's methods have a decorator with such a signature.
    extend_share = delegate  # type: ignore[assignment]

    def shrink_share(self, *args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("call", "context", "arguments"),
    [
        (lambda d: d.create_share(CONTEXT, "share", "server"), CONTEXT, ("share",)),
        (lambda d: d.create_share(CONTEXT, share="share"), CONTEXT, ("share",)),
        (lambda d: d.extend_share("share", 2), None, ("share", "new_size")),
        # No base class has shrink_share, so the names are unknown.
        (lambda d: d.shrink_share("share", 1), None, ("args",)),
    ],
)
def test_a_delegating_method_has_the_parameter_names_of_its_base_class(
    hook: Recorder, call: Any, context: Any, arguments: tuple[str, ...]
) -> None:
    call(aspects.weave(Delegating(), [hook]))
    for seen in hook.trace:
        if context is not None:
            assert seen.context is context
        assert context not in seen.args
        names = set(seen.func_name.arguments(seen.args, seen.kwargs))
        assert set(arguments) <= names <= {*arguments, "share_server"}


class Decorated(Shapes):
    """A driver like the generic one, whose decorator calls a share a context."""

    def extend_share(self, context: Any, *args: Any, **kwargs: Any) -> None: ...


def test_a_decorators_context_is_not_one_if_the_base_class_has_none(
    hook: Recorder,
) -> None:
    aspects.weave(Decorated(), [hook]).extend_share("share", 2)
    for seen in hook.trace:
        assert seen.context != "share"
        arguments = seen.func_name.arguments(seen.args, seen.kwargs)
        assert arguments == {"share": "share", "new_size": 2}


class Renaming:
    """A driver that names its parameters as drivers of Manila do."""

    def extend_share(self, ext_share: Any, ext_size: Any, server: Any = None) -> None:
        """Take all positions, as the driver for Quobyte."""

    def create_backup(self, context: Any, share: Any, backup: Any, **kw: Any) -> None:
        """Take the rest by keyword, as NetApp's drivers."""

    def update_access(
        self, ctx: Any, share: Any, rules: Any, adds: Any, deletes: Any, server: Any
    ) -> None: ...

    def setup_server(self, *args: Any, **kwargs: Any) -> None: ...

    def delete_share(self, share_server: Any, share: Any) -> None:
        """Take known names in another order."""

    def manage_server(self, context: Any, server: Any, *rest: Any) -> None: ...


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "arguments"),
    [
        ("extend_share", ("a", 2), {}, {"share": "a", "new_size": 2}),
        ("extend_share", ("a",), {"ext_size": 2}, {"share": "a", "new_size": 2}),
        (
            "create_backup",
            (CONTEXT, "a", "b"),
            {"share_server": "s"},
            {"share_instance": "a", "backup": "b", "share_server": "s"},
        ),
        ("setup_server", ("n",), {"metadata": 1}, {"network_info": "n", "metadata": 1}),
        ("delete_share", ("s", "a"), {}, {"share_server": "s", "share": "a"}),
        ("manage_server", (CONTEXT, "s"), {}, {"share_server": "s"}),
    ],
)
def test_manila_arguments_have_the_names_of_manilas_own_class(
    hook: Recorder, method: str, args: Any, kwargs: Any, arguments: Any
) -> None:
    woven = aspects.weave(Renaming(), [hook])
    getattr(woven, method)(*args, **kwargs)
    for seen in hook.trace:
        got = seen.func_name.manila_arguments(seen.args, seen.kwargs)
        assert got == arguments


def test_manila_arguments_of_a_method_that_manila_lacks_keep_their_names() -> None:
    operation = aspects.Operation("purge", function=lambda context, what: None)
    assert operation.manila_arguments(("a",), {}) == {"what": "a"}
    bare = aspects.Operation("purge")
    assert bare.manila_arguments((1, 2), {}) == {"args": (1, 2)}
    unknown = aspects.Operation("extend_share")
    assert unknown.manila_arguments((1, 2, 3, 4), {})["args"] == (4,)
    assert unknown.manila_arguments(("a", 2), {"share_server": 3}) == {
        "share": "a",
        "new_size": 2,
        "share_server": 3,
    }


def test_arguments_change_neither_the_hooks_nor_the_callers(hook: Recorder) -> None:
    aspects.weave(Shapes(), [hook]).create_share(CONTEXT, share=1)
    seen = hook.trace[0]
    seen.func_name.arguments(seen.args, seen.kwargs)["share"] = 2
    assert seen.kwargs == {"share": 1}


def test_a_driver_with_its_own_method_has_its_own_operations() -> None:
    def delete_share(share: Any, force: bool, context: Any) -> None: ...

    hook, driver = Recorder(), Driver()
    aspects.weave(Driver(), [])
    driver.delete_share = delete_share  # type: ignore[assignment,method-assign]
    aspects.weave(driver, [hook]).delete_share("share", True, CONTEXT)
    seen = hook.trace[0]
    assert seen.context is CONTEXT
    assert seen.func_name.arguments(seen.args, seen.kwargs) == {
        "share": "share",
        "force": True,
    }


def test_operations_cannot_be_changed() -> None:
    operations = aspects.weaving(aspects.weave(Driver(), [])).operations
    with pytest.raises(TypeError):
        operations["helper"] = "helper"  # type: ignore[index]


def test_only_update_access_has_operations_that_depend_on_the_call() -> None:
    woven = aspects.weave(driver_with(*METHODS), [])
    for method, operation in aspects.weaving(woven).operations.items():
        if method != "update_access":
            assert operation.for_call(([], ["add"]), {"add_rules": [1]}) is operation

# SPDX-License-Identifier: Apache-2.0
"""Drivers that are not ready before ``do_setup``."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import aspects
from aspects.operations import METHODS
from tests.support.hooks import Recorder

from .common import CONTEXT, Shapes


class Connects:
    """A driver that gets its methods from a client when it is set up."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.looked_up: list[str] = []
        self.client: Any = None

    def do_setup(self, context: Any) -> None:
        self.client = Shapes()

    def _of_the_client(self, name: str) -> Any:
        self.looked_up.append(name)
        if self.client is None:
            raise self.error
        return getattr(self.client, name)

    @property
    def create_share(self) -> Any:
        return self._of_the_client("create_share")

    @functools.cached_property
    def delete_share(self) -> Any:
        return self._of_the_client("delete_share")

    def __getattr__(self, name: str) -> Any:
        return self._of_the_client(name)


ERRORS = [RuntimeError("not before do_setup"), AttributeError("client"), KeyError("k")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    ("method", "args", "arguments"),
    [
        ("create_share", (CONTEXT, 1), {"share": 1}),
        ("delete_share", (1, CONTEXT), {"share": 1}),
        ("create_snapshot", (CONTEXT, 1), {"snapshots": (1,)}),
    ],
)
def test_a_method_that_do_setup_creates_becomes_an_operation(
    hook: Recorder, error: Exception, method: str, args: Any, arguments: Any
) -> None:
    woven = aspects.weave(Connects(error), [hook], "alpha", "node@alpha")
    assert dict(aspects.weaving(woven).operations) == {"do_setup": "init_host"}
    with pytest.raises(type(error)):
        getattr(woven, method)
    woven.do_setup(CONTEXT)
    hook.trace.clear()
    for _ in range(2):
        getattr(woven, method)(*args)
    operation = aspects.weaving(woven).operations[method]
    assert operation == METHODS[method]
    assert (operation.backend, operation.host) == ("alpha", "node@alpha")
    assert [seen.kind for seen in hook.trace] == ["pre", "post"] * 2
    for seen in hook.trace:
        assert seen.func_name is operation
        assert seen.context is CONTEXT
        assert operation.arguments(seen.args, seen.kwargs) == arguments


def test_properties_are_not_evaluated_to_weave_a_driver() -> None:
    driver = Connects(RuntimeError("not before do_setup"))
    aspects.weave(driver, [])
    assert not {"create_share", "delete_share"} & set(driver.looked_up)


def test_a_method_that_do_setup_creates_is_not_shared_with_other_drivers(
    hook: Recorder,
) -> None:
    one, two = (aspects.weave(Connects(ERRORS[0]), [hook]) for _ in range(2))
    one.do_setup(CONTEXT)
    one.create_share(CONTEXT, 1)
    assert "create_share" in aspects.weaving(one).operations
    assert "create_share" not in aspects.weaving(two).operations


class Unready:
    """A callable that raises an error when its attributes are read."""

    def __call__(self, context: Any, share: Any) -> str:
        return "result"

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("not before do_setup")


def test_a_driver_whose_methods_raise_when_inspected_can_be_woven() -> None:
    class Raises:
        create_share = Unready()
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("not before do_setup")

        delete_share = classmethod(lambda cls, context: "deleted")  # type: ignore
        extend_share = functools.partialmethod(lambda self, more: "more", 1)

    woven = aspects.weave(Raises(), [])
    assert woven.create_share(CONTEXT, 1) == "result"
    assert woven.delete_share(CONTEXT) == "deleted"
    assert aspects.weaving(woven).operations.keys() >= {"delete_share", "extend_share"}

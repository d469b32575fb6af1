# SPDX-License-Identifier: Apache-2.0
"""A pre method that returns UpdatedArguments replaces arguments of the call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aspects
from tests.support.hooks import Recorder, methods_of
from tests.support.ways import Way

from .common import CONTEXT


class Call:
    """A driver body that keeps the arguments of its last call."""

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        self.args, self.kwargs = args, kwargs
        return "result"


class Any_:
    """A driver whose method has parameters of every kind."""

    def create_share(
        self,
        first: Any,
        context: Any,
        /,
        share: Any,
        *more: Any,
        size: Any = 1,
        **rest: Any,
    ) -> Any:
        return (first, context, share, more, size, rest)


def updating(
    name: str, trace: list[Any], changes: dict[str, Any], **options: Any
) -> Recorder:
    return Recorder(name, trace, pre=aspects.UpdatedArguments(changes, name), **options)


def test_later_hooks_and_the_driver_get_the_new_arguments(
    way: Way, trace: list[Any]
) -> None:
    body = Call()
    hooks = [
        Recorder("before", trace),
        updating("one", trace, {"share": "larger", "share_server": "other"}),
        Recorder("after", trace),
    ]
    assert way.call(way.driver(hooks, body), CONTEXT, "share") == "result"
    arguments = {str(seen): (seen.args, seen.kwargs) for seen in trace}
    new = ("larger",), {"share_server": "other"}
    assert arguments == {
        "before.pre": (("share",), {}),
        "one.pre": (("share",), {}),
        "after.pre": new,
        "before.post": new,
        "one.post": new,
        "after.post": new,
    }


def test_the_driver_gets_the_context_where_the_caller_passed_it(
    trace: list[Any],
) -> None:
    woven = aspects.weave(Any_(), [updating("one", trace, {"share": 2, "size": 3})])
    assert woven.create_share("first", CONTEXT, 1, "more", other=4) == (
        *("first", CONTEXT, 2, ("more",), 3),
        {"other": 4},
    )


def test_updated_arguments_have_the_pre_hook_data_of_their_hook(
    way: Way, trace: list[Any]
) -> None:
    hooks = [updating("one", trace, {"share": "larger"})]
    way.call(way.driver(hooks, Call()), CONTEXT, "share")
    assert trace[-1].kind == "post"
    assert trace[-1].data == "one"


def test_the_last_of_several_updates_of_an_argument_wins(way: Way) -> None:
    hooks = [updating(size, [], {"share": size}) for size in ("large", "larger")]
    driver = way.driver(hooks, Call())
    assert way.call(driver, CONTEXT, "share") == "result"


class Plain:
    """A driver whose method has one parameter."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def create_share(self, context: Any, share: Any) -> None:
        self.got.append(share)


@pytest.mark.parametrize("name", ["no_such_argument", "context", "self"])
def test_an_update_of_an_unknown_argument_is_an_error_of_the_hook(
    trace: list[Any], name: str
) -> None:
    driver = Plain()
    hooks = [Recorder("before", trace), updating("one", trace, {name: "value"})]
    with pytest.raises(TypeError, match=rf"create_share\(\) has no argument '{name}'"):
        aspects.weave(driver, hooks).create_share(CONTEXT, "share")
    assert driver.got == []
    assert methods_of(trace) == [
        *("before.pre", "one.pre"),
        "before.error",
    ]


def test_an_update_that_fails_and_is_suppressed_changes_no_argument(
    trace: list[Any],
) -> None:
    driver = Plain()
    hook = updating("one", trace, {"share": "larger", "nothing": 1}, suppress=["pre"])
    aspects.weave(driver, [hook]).create_share(CONTEXT, "share")
    assert driver.got == ["share"]
    assert trace[-1].args == ("share",)
    assert isinstance(trace[-1].data, TypeError)


def test_updated_arguments_do_not_change_the_operation(trace: list[Any]) -> None:
    class Driver:
        def update_access(self, context, share, access_rules, add_rules, delete_rules):
            return add_rules, delete_rules

    hook = updating("one", trace, {"add_rules": [], "delete_rules": ["rule"]})
    woven = aspects.weave(Driver(), [hook])
    assert woven.update_access(CONTEXT, "share", [], ["rule"], []) == ([], ["rule"])
    assert {str(seen.func_name) for seen in trace} == {"allow_access"}


def test_a_repr_of_an_update_has_no_values() -> None:
    assert "s3cret" not in repr(aspects.UpdatedArguments({"access_key": "s3cret"}))


NAMES = ("first", "share", "more", "size", "other", "another")


@pytest.mark.slow
@settings(max_examples=200)
@given(
    more=st.lists(st.integers(), max_size=2),
    named=st.dictionaries(st.sampled_from(("size", "other")), st.integers()),
    changes=st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=4),
)
def test_any_update_gives_the_driver_the_arguments_of_the_model(
    more: list[int], named: dict[str, int], changes: dict[str, Any]
) -> None:
    if "more" in changes:
        changes["more"] = (changes["more"], 0)
    model = {"first": "f", "share": "s", "more": tuple(more), "size": 1}
    model.update({"size": named.get("size", 1)})
    rest = {name: value for name, value in named.items() if name != "size"}
    for name, value in changes.items():
        (model if name in model else rest)[name] = value
    woven = aspects.weave(Any_(), [updating("one", [], changes)])
    assert woven.create_share("f", CONTEXT, "s", *more, **named) == (
        *(model["first"], CONTEXT, model["share"], model["more"], model["size"]),
        rest,
    )

# SPDX-License-Identifier: Apache-2.0
"""A woven dataclass behaves like the dataclass."""

from __future__ import annotations

import copy
import dataclasses
import sys
from typing import Any

import pytest

import aspects
from tests.support.hooks import Recorder, methods_of

from .kinds import Data, Frozen

CONTEXT = object()


@pytest.fixture
def hook() -> Recorder:
    return Recorder("hook")


@pytest.fixture
def woven(hook: Recorder) -> Any:
    return aspects.weave(Data(name="alpha", size=2), [hook])


def test_the_functions_of_dataclasses_accept_a_woven_dataclass(woven: Any) -> None:
    assert dataclasses.is_dataclass(woven)
    assert dataclasses.fields(woven) == dataclasses.fields(Data)
    assert dataclasses.asdict(woven) == dataclasses.asdict(aspects.unweave(woven))
    assert dataclasses.astuple(woven) == ("alpha", 2, ["pool"], 4, None)


def test_a_field_with_a_woven_dataclass_is_converted_too(woven: Any) -> None:
    held = dataclasses.asdict(Data(parent=woven))
    assert held["parent"] == dataclasses.asdict(woven)
    assert type(held["parent"]) is dict


def test_a_woven_driver_is_a_dataclass_only_if_its_driver_is() -> None:
    assert not dataclasses.is_dataclass(aspects.weave(Recorder(), []))


def test_replace_creates_a_new_driver_that_is_not_woven(
    woven: Any, hook: Recorder
) -> None:
    made = dataclasses.replace(woven, size=5)
    assert type(made) is Data
    assert (made.name, made.size, made.doubled) == ("alpha", 5, 10)
    assert woven.size == 2
    made.create_share(CONTEXT, "share")
    assert hook.trace == []


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace is new in 3.13")
def test_copy_replace_does_the_same_as_dataclasses_replace(woven: Any) -> None:
    made = copy.replace(woven, size=5)  # type: ignore[attr-defined]
    assert type(made) is Data
    assert made.doubled == 10


def test_a_woven_dataclass_matches_a_positional_pattern(woven: Any) -> None:
    match woven:
        case Data(name, size):
            assert (name, size) == ("alpha", 2)
        case _:
            pytest.fail("no match")


def test_a_woven_dataclass_compares_by_its_fields(woven: Any) -> None:
    assert woven == Data(name="alpha", size=2)
    assert Data(name="alpha", size=2) == woven
    assert woven == aspects.weave(Data(name="alpha", size=2), [])
    assert sorted([Data("c"), woven, Data("a", 9)])[1] is woven
    with pytest.raises(TypeError, match="unhashable"):
        hash(woven)


def test_a_woven_frozen_dataclass_is_frozen(hook: Recorder) -> None:
    woven = aspects.weave(Frozen(), [hook])
    with pytest.raises(dataclasses.FrozenInstanceError, match="'size'"):
        woven.size = 5
    with pytest.raises(dataclasses.FrozenInstanceError, match="'size'"):
        del woven.size
    assert woven.size == 1
    assert hash(woven) == hash(Frozen())


def test_the_methods_of_a_woven_dataclass_are_intercepted(
    woven: Any, hook: Recorder
) -> None:
    assert woven.create_share(CONTEXT, "share") == "share"
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]

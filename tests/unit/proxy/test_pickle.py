# SPDX-License-Identifier: Apache-2.0
"""A pickle of a woven driver loads as the plain driver."""

from __future__ import annotations

import copyreg
import multiprocessing.reduction
import pickle
import types
from collections.abc import Callable
from typing import Any

import pytest

import aspects
from tests.support.hooks import Recorder, methods_of

from .kinds import Cyclic, Data, Locked, Plain, Registered, Stated

CONTEXT = object()

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def hook() -> Recorder:
    return Recorder("hook")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_loads_the_plain_driver(hook: Recorder, protocol: int) -> None:
    loaded = pickle.loads(pickle.dumps(aspects.weave(Data(), [hook]), protocol))
    assert type(loaded) is Data
    assert loaded == Data()
    loaded.create_share(CONTEXT, "share")
    assert hook.trace == []


def test_a_driver_and_its_woven_driver_load_as_one_object() -> None:
    driver = Plain()
    woven = aspects.weave(driver, [])
    one, two = pickle.loads(pickle.dumps([woven, driver]))
    assert one is two


@pytest.mark.parametrize("first", ["woven", "driver"])
def test_a_driver_that_refers_to_its_woven_driver_loads_with_a_reference_to_itself(
    first: str,
) -> None:
    driver = Cyclic()
    woven = aspects.weave(driver, [Recorder()])
    driver.helper.driver = woven
    driver.helper.method = woven.create_share
    loaded = pickle.loads(pickle.dumps({"woven": woven, "driver": driver}[first]))
    assert type(loaded) is Cyclic
    assert loaded.helper.driver is loaded
    assert loaded.helper.method.__self__ is loaded


def test_the_pickled_state_is_the_drivers_own() -> None:
    loaded = pickle.loads(pickle.dumps(aspects.weave(Stated(), [])))
    assert (loaded.kept, loaded.lock) == (1, "new")


@pytest.mark.parametrize(
    "dumps", [pickle.dumps, multiprocessing.reduction.ForkingPickler.dumps]
)
def test_a_reducer_that_is_registered_for_the_drivers_class_is_used(
    dumps: Callable[..., Any],
) -> None:
    assert pickle.loads(dumps(aspects.weave(Registered(), []))).made == "by copyreg"
    assert Registered in copyreg.dispatch_table


def test_a_driver_that_cannot_be_pickled_raises_its_own_error(hook: Recorder) -> None:
    driver = Locked()
    with pytest.raises(TypeError) as expected:
        pickle.dumps(driver)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(aspects.weave(driver, [hook]))
    assert str(caught.value) == str(expected.value)


def test_loading_a_pickle_does_not_need_this_package(hook: Recorder) -> None:
    driver = types.SimpleNamespace(create_share=len)
    woven = aspects.weave(driver, [hook])
    for pickled in (pickle.dumps(woven), pickle.dumps(woven.create_share)):
        assert b"aspects" not in pickled
        assert b"hook" not in pickled


def test_a_pickled_woven_method_loads_as_the_plain_drivers_method(
    hook: Recorder,
) -> None:
    method = aspects.weave(Data(), [hook]).create_share
    method(CONTEXT, "share")
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]
    loaded = pickle.loads(pickle.dumps(method))
    assert type(loaded) is types.MethodType
    assert type(loaded.__self__) is Data
    assert loaded(CONTEXT, "share") == "share"
    assert len(hook.trace) == 2

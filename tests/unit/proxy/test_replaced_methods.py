# SPDX-License-Identifier: Apache-2.0
"""A method is looked up on the driver at each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import aspects
from tests.support.drivers import Driver
from tests.support.hooks import Recorder, methods_of
from tests.support.threads import run_in_thread

from .common import CONTEXT, is_intercepted, other


def replace_on_the_driver(driver: Any, woven: Any) -> None:
    driver.create_share = other


def replace_through_the_proxy(driver: Any, woven: Any) -> None:
    woven.create_share = other


def replace_on_the_class(driver: Any, woven: Any) -> None:
    type(driver).create_share = lambda self, context, share: "other"


def replace_in_the_dict(driver: Any, woven: Any) -> None:
    vars(woven)["create_share"] = other


def change_the_class(driver: Any, woven: Any) -> None:
    woven.__class__ = type(
        "Other", (type(driver),), {"create_share": lambda self, c, s: "other"}
    )


REPLACING = [
    replace_on_the_driver,
    replace_through_the_proxy,
    replace_on_the_class,
    replace_in_the_dict,
    change_the_class,
]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("replace", REPLACING)
def test_a_method_replaced_after_weaving_takes_effect_and_stays_woven(
    hook: Recorder, replace: Callable[..., Any], used: bool
) -> None:
    driver = type("Own", (Driver,), {})()
    woven = aspects.weave(driver, [hook])
    if used:
        woven.create_share(CONTEXT, "share")
    replace(driver, woven)
    assert woven.create_share(CONTEXT, "share") == "other"
    assert driver.create_share(CONTEXT, "share") == "other"
    assert is_intercepted(woven, hook)
    assert hook.trace[0].func_name == "create_share_instance"


@pytest.mark.parametrize("replace", [replace_on_the_driver, replace_on_the_class])
def test_a_method_replaced_before_weaving_is_woven(
    hook: Recorder, replace: Callable[..., Any]
) -> None:
    driver = type("Own", (Driver,), {})()
    replace(driver, None)
    woven = aspects.weave(driver, [hook])
    assert woven.create_share(CONTEXT, "share") == "other"
    assert is_intercepted(woven, hook)


def test_replacing_a_method_of_one_driver_does_not_change_others(
    hook: Recorder,
) -> None:
    one, two = (aspects.weave(Driver(), [hook]) for _ in range(2))
    one.create_share = other
    assert two.create_share(CONTEXT, "share") == "result"


def test_deleting_a_method_through_the_proxy_restores_the_classs_method(
    hook: Recorder,
) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    woven.create_share = other
    del woven.create_share
    assert "create_share" not in vars(driver)
    assert woven.create_share(CONTEXT, "share") == "result"
    assert is_intercepted(woven, hook)
    with pytest.raises(AttributeError):
        del woven.create_share


def test_a_method_deleted_from_the_class_raises_attribute_error(hook: Recorder) -> None:
    class Own(Driver):
        def create_snapshot(self, context: Any, snapshot: Any) -> None: ...

    woven = aspects.weave(Own(), [hook])
    woven.create_snapshot(CONTEXT, 1)
    del Own.create_snapshot
    assert not hasattr(woven, "create_snapshot")


@pytest.mark.parametrize("through", [False, True])
def test_a_method_added_after_weaving_is_woven(hook: Recorder, through: bool) -> None:
    driver = Driver()
    woven = aspects.weave(
        driver, [hook], "alpha", "node@alpha", new_context=lambda: "of the service"
    )
    target = woven if through else driver
    target.create_snapshot = lambda context, snapshot: "added"  # type: ignore[union-attr]
    assert woven.create_snapshot(CONTEXT, "snapshot") == "added"
    assert is_intercepted(woven, hook, "create_snapshot")
    operation = hook.trace[0].func_name
    assert operation == operation.method == "create_snapshot"
    assert (operation.backend, operation.host) == ("alpha", "node@alpha")
    assert hook.trace[0].context is CONTEXT
    hook.trace.clear()
    run_in_thread(woven.create_snapshot, None, "snapshot")
    assert hook.trace[0].context == "of the service"


def test_a_method_replaced_by_a_value_passes_through(
    hook: Recorder,
) -> None:
    woven = aspects.weave(Driver(), [hook])
    woven.create_share = None
    assert woven.create_share is None
    with pytest.raises(TypeError):
        woven.create_share(CONTEXT, "share")
    assert hook.trace == []
    del woven.create_share
    assert is_intercepted(woven, hook)


def test_a_method_assigned_back_through_the_proxy_is_woven_once(hook: Recorder) -> None:
    driver = type("Own", (Driver,), {})()
    woven = aspects.weave(driver, [hook])
    woven.create_share = woven.create_share
    assert is_intercepted(woven, hook)
    # The driver's calls of itself are not intercepted.
    hook.trace.clear()
    driver.create_share(CONTEXT, "share")
    assert hook.trace == []


def test_monkeypatch_through_the_proxy_restores_the_method(
    hook: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    for target in (woven, driver):
        with monkeypatch.context() as patch:
            patch.setattr(target, "create_share", other)
            assert woven.create_share(CONTEXT, "share") == "other"
            assert is_intercepted(woven, hook)
        assert woven.create_share(CONTEXT, "share") == "result"
        assert is_intercepted(woven, hook)
        hook.trace.clear()
        assert driver.create_share(CONTEXT, "share") == "result"
        assert hook.trace == []


@pytest.mark.parametrize("through", ["proxy", "driver", "class"])
@pytest.mark.parametrize("autospec", [None, True])
def test_mock_patch_object_works_on_woven_methods(
    hook: Recorder, through: str, autospec: Any
) -> None:
    class Own(Driver):
        pass

    driver = Own()
    woven = aspects.weave(driver, [hook])
    target = {"proxy": woven, "driver": driver, "class": Own}[through]
    before = dict(vars(driver))
    with mock.patch.object(target, "create_share", autospec=autospec) as method:
        method.return_value = "patched"
        assert woven.create_share(CONTEXT, share="share") == "patched"
        leading = (driver,) if autospec and through == "class" else ()
        method.assert_called_once_with(*leading, CONTEXT, share="share")
        woven.create_share.assert_called_once()
        assert is_intercepted(woven, hook)
    assert woven.create_share(CONTEXT, "share") == "result"
    assert is_intercepted(woven, hook)
    assert vars(driver) == before


def test_mock_patch_object_works_on_other_methods(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    with mock.patch.object(woven, "helper", return_value="patched"):
        assert woven.helper() == driver.helper() == "patched"
    assert vars(driver) == {"body": driver.body}
    assert woven.helper() == "result"


def test_mock_patch_dict_works_on_the_attributes(hook: Recorder) -> None:
    woven = aspects.weave(Driver(), [hook])
    with mock.patch.dict(woven.__dict__, {"create_share": other}):
        assert woven.create_share(CONTEXT, "share") == "other"
    assert woven.create_share(CONTEXT, "share") == "result"


def test_a_woven_method_of_another_driver_keeps_its_own_hooks() -> None:
    inner, outer = Recorder("inner"), Recorder("hook")
    backing = aspects.weave(Driver(), [inner])
    for through in (False, True):
        driver = Driver()
        woven = aspects.weave(driver, [outer])
        (woven if through else driver).create_share = backing.create_share
        inner.trace.clear()
        assert is_intercepted(woven, outer)
        assert methods_of(inner.trace) == ["inner.pre", "inner.post"]


def test_a_woven_method_that_is_set_on_the_driver_is_woven_once(hook: Recorder) -> None:
    driver = Driver()
    woven = aspects.weave(driver, [hook])
    driver.create_share = woven.create_share
    assert woven.create_share(CONTEXT, "share") == "result"
    assert methods_of(hook.trace) == ["hook.pre", "hook.post"]

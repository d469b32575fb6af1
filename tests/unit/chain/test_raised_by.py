# SPDX-License-Identifier: Apache-2.0
"""The origin of an error that a hook did not suppress."""

from __future__ import annotations

from typing import Any

import pytest

import aspects
from aspects.core.step import raised_by
from tests.support.hooks import Recorder
from tests.support.ways import Way

from .common import CONTEXT, tracing


class ClosedError(Exception):
    """An exception that rejects new attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_aspects"):
            raise AttributeError(name)
        super().__setattr__(name, value)


def error_of(way: Way, hook: Recorder, outcome: Any = "result") -> Exception:
    with pytest.raises(Exception, match="no") as caught:
        way.call(way.driver([hook], tracing([], outcome)), CONTEXT, "share")
    return caught.value


@pytest.mark.parametrize(
    ("kind", "error", "results"),
    [
        ("pre", ValueError("no"), None),
        ("pre", aspects.Veto("no"), None),
        ("post", ValueError("no"), "result"),
    ],
    ids=["pre", "veto", "post"],
)
def test_the_error_of_a_hook_has_its_origin(
    way: Way, kind: str, error: Exception, results: Any
) -> None:
    hook = Recorder("hook", **{kind: error})
    assert raised_by(error_of(way, hook)) == (hook, kind, results)


def test_the_error_of_the_driver_has_no_origin(way: Way) -> None:
    assert raised_by(error_of(way, Recorder("hook"), RuntimeError("no"))) is None


def test_an_error_that_rejects_its_origin_reaches_the_caller(way: Way) -> None:
    error = ClosedError("no")
    found = error_of(way, Recorder("hook", pre=error))
    assert found is error
    assert raised_by(found) is None

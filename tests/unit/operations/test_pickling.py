# SPDX-License-Identifier: Apache-2.0
"""Operations can be pickled and copied."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest

import aspects
from aspects.operations import METHODS
from tests.support.drivers import AccessDriver

from .common import CONTEXT, Shapes, driver_with


class Odd(AccessDriver):
    """A driver with a default that cannot be pickled."""

    def get_share_stats(
        self, context: Any, refresh: Any, *, key: Any = lambda: 0, **more: Any
    ) -> None: ...


def fields(operation: Any) -> tuple[Any, ...]:
    return (
        type(operation),
        str(operation),
        operation.method,
        operation.backend,
        operation.host,
        operation.requested,
        operation.context_at,
        operation.arguments((1, 2), {"add_rules": 3, "key": 4}),
        operation.arguments((1, 2, 3, 4, 5, 6, 7), {}),
        operation.take_context((1, CONTEXT), {})[1:],
        operation.take_context((), {"context": CONTEXT, "key": 1})[1:],
    )


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("driver", [Odd(), Shapes(), driver_with(*METHODS)])
def test_a_pickled_operation_keeps_its_attributes(driver: Any, protocol: int) -> None:
    woven = aspects.weave(
        driver, [], "alpha", "node@alpha", new_context=lambda: "of the service"
    )
    operations = aspects.weaving(woven).operations
    assert operations
    for operation in operations.values():
        other = pickle.loads(pickle.dumps(operation, protocol))
        assert other is not operation
        assert other == operation
        assert fields(other) == fields(operation)


@pytest.mark.parametrize("driver", [Odd(), AccessDriver()])
def test_a_result_is_not_pickled(driver: Any) -> None:
    woven = aspects.weave(driver, [], "alpha", "node@alpha")
    for operation in aspects.weaving(woven).operations.values():
        noted = operation.with_veto("hook", "no").with_results(lambda: "secret")
        other = pickle.loads(pickle.dumps(noted))
        assert (noted.results(), noted.vetoes) == ("secret", (("hook", "no"),))
        assert (other.results, other.vetoes) == (None, noted.vetoes)
        assert operation.results is None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_access_operation_still_depends_on_the_rules(
    protocol: int,
) -> None:
    woven = aspects.weave(AccessDriver(), [], "alpha", "node@alpha")
    operation = aspects.weaving(woven).operations["update_access"]
    other = pickle.loads(pickle.dumps(operation, protocol))
    for rules in (["a"], []), ([], ["d"]), (["a"], ["d"]):
        args = ("share", [], *rules)
        assert other.for_call(args, {}) == operation.for_call(args, {})
        assert fields(other.for_call(args, {})) == fields(operation.for_call(args, {}))
    assert other.for_call(("share", [], ["a"], []), {}) == "allow_access"


@pytest.mark.slow
def test_an_operation_is_unpickled_without_the_driver_and_manila() -> None:
    woven = aspects.weave(Odd(), [], "alpha", "node@alpha")
    operation = aspects.weaving(woven).operations["get_share_stats"]
    script = f"""
import pickle, sys
operation = pickle.loads({pickle.dumps(operation)!r})
print(operation, operation.method, operation.backend, operation.host)
print(operation.requested, operation.arguments((True,), {{"key": 1}}))
print(operation.current_context().is_admin, "manila" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "publish_service_capabilities get_share_stats alpha node@alpha",
        "False {'refresh': True, 'key': 1}",
        "True False",
    ]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("method", ["update_access", "get_share_stats"])
def test_a_copy_of_an_operation_is_that_operation(copied: Any, method: str) -> None:
    woven = aspects.weave(Odd(), [])
    operation = aspects.weaving(woven).operations[method]
    assert copied(operation) is operation

# SPDX-License-Identifier: Apache-2.0
"""Ways to put hooks around a driver, to run a test in each of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import aspects

from .drivers import CoroutineDriver, DecoratedCoroutineDriver, DecoratedDriver, Driver


def finish(coroutine: Any) -> Any:
    """Run a coroutine that never really waits, without an event loop."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


class Way(NamedTuple):
    """A way to put hooks around a driver's ``create_share``."""

    name: str
    decorated: bool
    coroutine: bool

    def driver(self, hooks: Iterable[Any], body: Any = None) -> Any:
        """Return a driver with these hooks, whose methods call ``body``."""
        if self.decorated:
            driver = (DecoratedCoroutineDriver if self.coroutine else DecoratedDriver)(
                body
            )
            driver.hooks = tuple(hooks)
            return driver
        plain = (CoroutineDriver if self.coroutine else Driver)(body)
        return aspects.weave(plain, hooks, backend="alpha", host="node@alpha")

    def call(
        self, driver: Any, *args: Any, method: str = "create_share", **kwargs: Any
    ) -> Any:
        """Call a method of the driver."""
        result = getattr(driver, method)(*args, **kwargs)
        return finish(result) if self.coroutine else result


WAYS = [
    Way("weave", False, False),
    Way("add_hooks", True, False),
    Way("weave-coroutine", False, True),
    Way("add_hooks-coroutine", True, True),
]

# SPDX-License-Identifier: Apache-2.0
"""Share drivers for tests to weave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aspects
from aspects import testing


class BusyDriver(testing.FakeDriver):
    """A fake driver with the same answer for all methods.

    :param does: an exception to raise, or a function that returns the result
    """

    def __init__(self, does: BaseException | Callable[[], Any] | None = None) -> None:
        super().__init__(**dict.fromkeys(testing.SIGNATURES, self._do))
        self.does = does

    def _do(self, call: testing.DriverCall) -> Any:
        if isinstance(self.does, BaseException):
            raise self.does
        return self.does and self.does()


def create_or_fail(call: testing.DriverCall) -> str:
    """Answer a fake driver's call; fail if the share has a true ``fails``."""
    if call.arguments["share"].get("fails"):
        raise LookupError("no such pool")
    return "export"


class Driver:
    """A share driver with a few methods, which all call ``body``."""

    def __init__(self, body: Callable[..., Any] | None = None) -> None:
        self.body = body or (lambda *args, **kwargs: "result")

    def create_share(
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> Any:
        """Create a share."""
        return self.body(context, share, share_server, **more)

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        return self.body(context, share, share_server)

    def extend_share(self, share: Any, new_size: int, share_server: Any = None) -> Any:
        return self.body(share, new_size, share_server)

    def update_replica_state(
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> Any:
        """Run a routine operation, with the arguments of ``create_share``."""
        return self.body(context, share, share_server, **more)

    def helper(self, *args: Any) -> Any:
        return self.body(*args)


class CoroutineDriver(Driver):
    async def create_share(  # type: ignore[override]
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> Any:
        await asyncio.sleep(0)
        return self.body(context, share, share_server, **more)

    async def update_replica_state(  # type: ignore[override]
        self, context: Any, share: Any, share_server: Any = None, **more: Any
    ) -> Any:
        return self.body(context, share, share_server, **more)


class DecoratedDriver(Driver):
    """A driver with methods that ``add_hooks`` decorates."""

    hooks: tuple[Any, ...] = ()
    backend = "alpha"
    host = "node@alpha"

    create_share = aspects.add_hooks(Driver.create_share)
    update_replica_state = aspects.add_hooks(Driver.update_replica_state)


class DecoratedCoroutineDriver(CoroutineDriver):
    hooks: tuple[Any, ...] = ()
    backend = "alpha"
    host = "node@alpha"

    create_share = aspects.add_hooks(CoroutineDriver.create_share)
    update_replica_state = aspects.add_hooks(CoroutineDriver.update_replica_state)


class AccessDriver:
    """A share driver with the method for access rules alone."""

    #: The result of the method.
    result: Any = "result"

    def update_access(
        self,
        context: Any,
        share: Any,
        access_rules: Any,
        add_rules: Any,
        delete_rules: Any,
        update_rules: Any = None,
        share_server: Any = None,
    ) -> Any:
        return self.result

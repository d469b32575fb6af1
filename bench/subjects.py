# SPDX-License-Identifier: Apache-2.0
"""The driver and the hooks of all cases."""

from __future__ import annotations

from typing import Any

import aspects


class Driver:
    """A driver that does nothing, with the signatures of Manila's drivers.

    Its methods are as short as possible, so that the hooks dominate the figures.
    """

    reserved_share_percentage = 5

    def __init__(self) -> None:
        self.export_locations = ["127.0.0.1:/export"]
        self.pools = ["pool"]

    def create_share(
        self, context: Any, share: Any, share_server: Any = None
    ) -> list[str]:
        """Return the export locations, as an operation."""
        return self.export_locations

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        """Raise an error, as an operation."""
        raise DriverError

    def get_pool(self, share: Any) -> str:
        """Return a pool; this method is not an operation."""
        return "pool"

    def get_periodic_hook_data(self, context: Any, share_instances: Any) -> Any:
        """Return the share instances, as Manila's base class does."""
        return share_instances


class CoroutineDriver:
    """A driver with a coroutine method."""

    def __init__(self) -> None:
        self.export_locations = ["127.0.0.1:/export"]

    async def create_share(
        self, context: Any, share: Any, share_server: Any = None
    ) -> list[str]:
        """Return the export locations without waiting, as an operation."""
        return self.export_locations


class DriverError(Exception):
    """Raised by the driver's ``delete_share``."""


class NoopHook(aspects.HookBase):
    """A hook whose methods do nothing."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        pass

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        pass

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        pass

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        pass


class FailingHook(NoopHook):
    """A hook whose pre method raises."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        raise ValueError("the hook failed")


class ReplacingHook(NoopHook):
    """A hook that replaces the result."""

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        return aspects.UpdatedResults(driver_action_results)


def hooks(
    count: int, cls: type[aspects.HookBase] = NoopHook, *, enabled: bool = True
) -> list[aspects.HookBase]:
    """Return hooks whose pre, post and periodic methods are enabled.

    :param count: the number of hooks
    :param cls: their class
    :param enabled: False to disable all their methods
    """
    made = [cls(None, "bench@alpha") for _ in range(count)]
    for hook in made:
        hook.pre_hooks_enabled = enabled
        hook.post_hooks_enabled = enabled
        hook.periodic_hooks_enabled = enabled
    return made

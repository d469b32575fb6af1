# SPDX-License-Identifier: Apache-2.0
"""Implement the no-op hooks in other systems.

Each function returns an object whose ``create_share`` runs a number of hooks around
that of a driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aspectlib  # type: ignore[import-untyped]
import pluggy
from manila.share import hook as manila_hook
from manila.share import manager as manila_manager

from bench.subjects import Driver

# -- Manila's own ----------------------------------------------------------------


class UpstreamNoopHook(manila_hook.HookBase):  # type: ignore[misc]
    """A hook of Manila's own whose methods do nothing."""

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
    ) -> None:
        pass

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        pass


class UpstreamFailingHook(UpstreamNoopHook):
    """A hook of Manila's own whose pre method raises."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        raise ValueError("the hook failed")


class UpstreamDriver(Driver):
    """A driver whose own method is decorated with Manila's ``add_hooks``.

    In Manila the decorator is on the manager, whose method then calls the driver's.
    Without that second call, the figure is better than Manila's.
    """

    create_share = manila_manager.add_hooks(Driver.create_share)

    def __init__(self, hooks: Sequence[Any]) -> None:
        super().__init__()
        self.hooks = hooks


def upstream(count: int, cls: type[UpstreamNoopHook] = UpstreamNoopHook) -> Any:
    """Return a driver with hooks by Manila's ``add_hooks``; callable by keyword only.

    A second positional argument would be taken for its ``func_name``.

    :param count: the number of hooks
    :param cls: their class
    """
    hooks = [cls(None, "bench@alpha") for _ in range(count)]
    for hook in hooks:
        hook.pre_hooks_enabled = hook.post_hooks_enabled = True
        hook.suppress_pre_hooks_errors = True
    return UpstreamDriver(hooks)


# -- pluggy ----------------------------------------------------------------------

_spec = pluggy.HookspecMarker("bench")
_impl = pluggy.HookimplMarker("bench")


class _Specification:
    @_spec(firstresult=True)
    def create_share(self, context: Any, share: Any, share_server: Any) -> Any: ...


class _Implementation:
    def __init__(self) -> None:
        self.export_locations = Driver().export_locations

    @_impl
    def create_share(self, context: Any, share: Any, share_server: Any) -> Any:
        return self.export_locations


class _Wrapper:
    @_impl(wrapper=True)
    def create_share(self, context: Any, share: Any, share_server: Any) -> Any:
        return (yield)


def with_pluggy(count: int) -> Any:
    """Return one implementation in pluggy's wrappers; callable by keyword only.

    They use the new style, ``wrapper=True``, which is faster than the old one.

    :param count: the number of wrappers
    """
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(_Specification)
    manager.register(_Implementation())
    for _ in range(count):
        manager.register(_Wrapper())
    return manager.hook


# -- aspectlib -------------------------------------------------------------------


@aspectlib.Aspect  # type: ignore[untyped-decorator]
def _noop_aspect(*args: Any, **kwargs: Any) -> Any:
    result = yield aspectlib.Proceed
    yield aspectlib.Return(result)


def with_aspectlib(count: int) -> Any:
    """Return a driver with aspects of aspectlib.

    An aspect that ends without ``Return`` would do the same, more slowly.

    :param count: the number of aspects
    """
    driver = Driver()
    aspectlib.weave(driver, [_noop_aspect] * count, methods="create_share")
    return driver

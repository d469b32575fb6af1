# SPDX-License-Identifier: Apache-2.0
"""Hooks that record the calls of their methods."""

from __future__ import annotations

from typing import Any, NamedTuple

from manila.share import hook as manila_hook

import aspects


class Seen(NamedTuple):
    """One call of a hook method."""

    hook: Any
    kind: str
    operation: str
    context: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    received: Any = None


SEEN: list[Seen] = []


class Recorder(aspects.HookBase):
    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        SEEN.append(Seen(self, "pre", func_name, context, args, kwargs))
        return func_name

    def _execute_post_hook(
        self,
        context,
        func_name,
        pre_hook_data,
        driver_action_results,
        *args,
        **kwargs,
    ):
        received = (pre_hook_data, driver_action_results)
        SEEN.append(Seen(self, "post", func_name, context, args, kwargs, received))

    def _execute_error_hook(
        self, context, func_name, pre_hook_data, error, *args, **kwargs
    ):
        received = (pre_hook_data, error)
        SEEN.append(Seen(self, "error", func_name, context, args, kwargs, received))

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        SEEN.append(
            Seen(self, "periodic", "", context, args, kwargs, periodic_hook_data)
        )


class Upstream(manila_hook.HookBase):
    """A hook as for Manila itself, which passes all arguments by keyword."""

    def _execute_pre_hook(self, *, context, func_name, **kwargs):
        SEEN.append(Seen(self, "pre", func_name, context, (), kwargs))
        return {"name": func_name, "server": kwargs.get("share_server")}

    def _execute_post_hook(
        self,
        func_name,
        driver_action_results,
        context,
        pre_hook_data,
        *args,
        **kwargs,
    ):
        received = (pre_hook_data, driver_action_results)
        SEEN.append(Seen(self, "post", func_name, context, args, kwargs, received))

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        SEEN.append(
            Seen(self, "periodic", "", context, args, kwargs, periodic_hook_data)
        )

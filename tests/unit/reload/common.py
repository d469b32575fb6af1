# SPDX-License-Identifier: Apache-2.0
"""Helpers of the hot reload tests."""

from __future__ import annotations

import contextlib
from typing import Any

from oslo_config import cfg

import aspects

HERE = __name__
CONTEXT = object()
#: The event and the hook instance of each thing that a hook of a test did, in order.
done: list[tuple[str, str]] = []


class LoggingHook(aspects.HookBase):
    """Append what it does, and the name of its instance, to :data:`done`."""

    options = (
        cfg.IntOpt("limit", default=1, min=0, mutable=True),
        cfg.StrOpt("address", default="here"),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        if self.get_config_option("limit") == 13:
            raise ValueError("limit: 13 is unlucky")
        self.address = self.get_config_option("address")

    def log(self, event: str) -> None:
        done.append((event, self.instance_name))

    def start(self) -> None:
        self.log("start")

    def stop(self) -> None:
        self.log("stop")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.log("pre")

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self.log("post")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        self.log("periodic")

    @contextlib.contextmanager
    def observe(self, observed):
        if observed.kind == "driver":
            self.log("driver")
        yield


class ManilaHook:
    """A hook like Manila's own: its switches are plain attributes."""

    pre_hooks_enabled = post_hooks_enabled = True
    periodic_hooks_enabled = False

    def __init__(self, configuration: Any, host: str | None) -> None:
        self.configuration = configuration

    def _execute_pre_hook(self, *args: Any, **kwargs: Any) -> None: ...

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None: ...

    def _execute_periodic_hook(self, *args: Any, **kwargs: Any) -> None: ...


def text(entries: str, *lines: str) -> str:
    """Return the text of a file with the hooks of a backend, of class LoggingHook.

    :param entries: the names of the hooks, one letter each
    :param lines: further lines of the file
    """
    drivers = ", ".join(f"{name}={HERE}:LoggingHook" for name in entries)
    more = "\n".join(lines)
    switches = "enable_pre_hooks = True\nenable_post_hooks = True\n"
    return f"[alpha]\nhook_drivers = {drivers}\n{switches}{more}\n"


def names(woven: Any) -> str:
    """Return the names of the hooks of a driver, one letter each."""
    return "".join(hook.instance_name for hook in aspects.weaving(woven).hooks)


class Other(LoggingHook):
    pass

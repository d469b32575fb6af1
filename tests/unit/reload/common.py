# SPDX-License-Identifier: Apache-2.0
"""What several tests of hot reload use."""

from __future__ import annotations

import contextlib
from typing import Any

from oslo_config import cfg

import aspects

HERE = __name__
CONTEXT = object()
#: What was done, in order, by all hooks of a test.
done: list[tuple[str, str]] = []


class Told(aspects.HookBase):
    """Tells what it does, under the name of its instance."""

    options = (
        cfg.IntOpt("limit", default=1, min=0, mutable=True),
        cfg.StrOpt("address", default="here"),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        if self.get_config_option("limit") == 13:
            raise ValueError("limit: 13 is unlucky")
        self.address = self.get_config_option("address")

    def tell(self, what: str) -> None:
        done.append((what, self.instance_name))

    def start(self) -> None:
        self.tell("start")

    def stop(self) -> None:
        self.tell("stop")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.tell("pre")

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self.tell("post")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        self.tell("periodic")

    @contextlib.contextmanager
    def observe(self, observed):
        if observed.kind == "driver":
            self.tell("driver")
        yield


class OfUpstream:
    """As a hook of Manila's own: its switches are plain attributes."""

    pre_hooks_enabled = post_hooks_enabled = True
    periodic_hooks_enabled = False

    def __init__(self, configuration: Any, host: str | None) -> None:
        self.configuration = configuration

    def _execute_pre_hook(self, *args: Any, **kwargs: Any) -> None: ...

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None: ...

    def _execute_periodic_hook(self, *args: Any, **kwargs: Any) -> None: ...


def text(entries: str, *lines: str) -> str:
    """Return a file whose backend has these hooks, all of class Told."""
    drivers = ", ".join(f"{name}={HERE}:Told" for name in entries)
    more = "\n".join(lines)
    on = "enable_pre_hooks = True\nenable_post_hooks = True\n"
    return f"[alpha]\nhook_drivers = {drivers}\n{on}{more}\n"


def names(woven: Any) -> str:
    return "".join(hook.instance_name for hook in aspects.weaving(woven).hooks)


class Other(Told):
    pass

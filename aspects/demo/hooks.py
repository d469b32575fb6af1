# SPDX-License-Identifier: Apache-2.0
"""The hooks of the demo, whose methods write their runs into a journal.

:class:`Watched` shows a hook on the demo's screen. It times the four hook methods and
calls those of the next class, so that any hook is watched by inheritance::

    class MyWatchedHook(Watched, MyHook):
        pass
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

import aspects
from aspects.demo.journal import HookRun, Journal
from hooks.audit import AuditHook
from hooks.guard import GuardHook
from hooks.metrics import MetricsHook
from hooks.webhook import WebhookHook

#: The runs of all hook methods in this process.
journal = Journal()

#: The maximum number of characters of a result or an error on the screen.
_SHOWN = 100


class Watched(aspects.HookBase):
    """Time each hook method of the next class."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        def run() -> Any:
            return super(Watched, self)._execute_pre_hook(  # type: ignore[safe-super]
                context, func_name, *args, **kwargs
            )

        return watch(self, "pre", func_name, run)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        def run() -> Any:
            return super(Watched, self)._execute_post_hook(  # type: ignore[safe-super]
                context,
                func_name,
                pre_hook_data,
                driver_action_results,
                *args,
                **kwargs,
            )

        return watch(self, "post", func_name, run, shown(driver_action_results))

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        def run() -> Any:
            return super(Watched, self)._execute_error_hook(
                context, func_name, pre_hook_data, error, *args, **kwargs
            )

        return watch(self, "error", func_name, run, shown_error(error))

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        def run() -> Any:
            return super(Watched, self)._execute_periodic_hook(  # type: ignore[safe-super]
                context, periodic_hook_data, *args, **kwargs
            )

        return watch(self, "periodic", "periodic", run)


def watch(
    hook: Any,
    kind: str,
    operation: str,
    run: Callable[[], Any],
    outcome: str = "",
    backend: str | None = None,
) -> Any:
    """Run a hook method and record it in the journal.

    :param hook: the hook
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param operation: the operation
    :param run: the hook method, without parameters
    :param outcome: the result or error that a completion received
    :param backend: the backend section; that of the hook's configuration by default
    :returns: the return value of the hook method
    :raises BaseException: the error of the hook method
    """
    change = raised = ""
    began = time.perf_counter()
    try:
        answer = run()
        seconds = time.perf_counter() - began
        if isinstance(answer, aspects.UpdatedResults):
            change = shown(answer.results)
        return answer
    except BaseException as error:
        seconds = time.perf_counter() - began
        raised = shown_error(error)
        raise
    finally:
        journal.write(
            HookRun(
                kind=kind,
                backend=backend or str(hook.configuration.config_group),
                hook=getattr(hook, "instance_name", "") or type(hook).__name__,
                operation=str(operation),
                method=getattr(operation, "method", ""),
                began=began,
                seconds=seconds,
                outcome=outcome,
                change=change,
                raised=raised,
            )
        )


def watch_late(hook: Any, backend: str) -> None:
    """Watch a hook that does not inherit :class:`Watched`.

    :param hook: a hook instance, possibly of a class for Manila's own hooks
    :param backend: the hook's backend section
    """

    def watched(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(method)

        # functools.wraps keeps the signature, by which the chain passes arguments.
        @functools.wraps(method)
        def watched_method(*args: Any, **kwargs: Any) -> Any:
            arguments = signature.bind(*args, **kwargs).arguments
            arguments.update(arguments.get("kwargs", {}))
            outcome = ""
            if kind == "post":
                outcome = shown(arguments.get("driver_action_results"))
            elif kind == "error":
                outcome = shown_error(arguments["error"])
            return watch(
                hook,
                kind,
                arguments.get("func_name", kind),
                lambda: method(*args, **kwargs),
                outcome,
                backend,
            )

        return watched_method

    for kind in ("pre", "post", "error", "periodic"):
        name = f"_execute_{kind}_hook"
        method = getattr(hook, name, None)
        if method is not None and not hasattr(method, "__wrapped__"):
            setattr(hook, name, watched(kind, method))
    # Setting a switch makes the chain bind the hook methods again.
    hook.pre_hooks_enabled = hook.pre_hooks_enabled


def shown(result: object) -> str:
    """Return a driver's result as text, short enough for a line of the screen."""
    if result is None:
        return "None"
    if isinstance(result, list):
        first = result[0] if result else None
        # Of export locations, show the path of the first one for users.
        for item in result:
            if isinstance(item, dict) and "path" in item and not item["is_admin_only"]:
                first = item["path"]
                break
        text = f"{len(result)} x {_clipped(first)}" if result else "[]"
    elif isinstance(result, dict):
        text = "{" + ", ".join(str(key) for key in result) + "}"
    else:
        text = str(result)
    return _clipped(text)


def shown_error(error: BaseException) -> str:
    """Return an error as one line of text."""
    return _clipped(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _clipped(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class AliasHook(aspects.HookBase):
    """Publish new shares under a host name instead of an address."""

    options = (
        cfg.StrOpt(
            "alias_name",
            mutable=True,
            help="Host name that replaces the address in export locations.",
        ),
    )

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: there are no export locations yet."""

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> aspects.UpdatedResults | None:
        """Replace the address in the locations for users.

        :returns: the new locations, which replace the driver's
        """
        name = self.get_config_option("alias_name")
        if func_name != "create_share_instance" or not name:
            return None
        if not isinstance(driver_action_results, list):
            return None
        return aspects.UpdatedResults(
            [
                location
                if location["is_admin_only"]
                else {**location, "path": _renamed(location["path"], name)}
                for location in driver_action_results
            ]
        )

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing."""


def _renamed(path: str, name: str) -> str:
    address, separator, rest = path.partition(":")
    # Two addresses need two names, or two locations would be equal.
    return f"{name}-{address.rpartition('.')[2]}{separator}{rest}"


class Witness(Watched):
    """A hook that only records its runs."""


class Audit(Watched, AuditHook):
    """The audit hook, watched."""


class Guard(Watched, GuardHook):
    """The guard hook, watched."""


class Metrics(Watched, MetricsHook):
    """The metrics hook, watched."""


class Webhook(Watched, WebhookHook):
    """The webhook hook, watched."""


class Alias(Watched, AliasHook):
    """The alias hook, watched."""

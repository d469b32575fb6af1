# SPDX-License-Identifier: Apache-2.0
"""The hooks of the demo: each writes what it does into a journal.

:class:`Watched` is what makes a hook visible on the demo's screen.  It times the
four actions and hands them on to the next class, so any hook becomes a watched
one by inheritance::

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
from aspects.demo.journal import Action, Journal
from hooks.audit import AuditHook
from hooks.guard import GuardHook
from hooks.metrics import MetricsHook
from hooks.webhook import WebhookHook

#: What the hooks of this process did.
journal = Journal()

#: How much of a result is shown.
_SHOWN = 100


class Watched(aspects.HookBase):
    """Time each action of the hook that stands behind this class."""

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> Any:
        def act() -> Any:
            return super(Watched, self)._execute_pre_hook(  # type: ignore[safe-super]
                context, func_name, *args, **kwargs
            )

        return watch(self, "pre", func_name, act)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        def act() -> Any:
            return super(Watched, self)._execute_post_hook(  # type: ignore[safe-super]
                context,
                func_name,
                pre_hook_data,
                driver_action_results,
                *args,
                **kwargs,
            )

        return watch(self, "post", func_name, act, shown(driver_action_results))

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        def act() -> Any:
            return super(Watched, self)._execute_error_hook(
                context, func_name, pre_hook_data, error, *args, **kwargs
            )

        return watch(self, "error", func_name, act, shown_error(error))

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> Any:
        def act() -> Any:
            return super(Watched, self)._execute_periodic_hook(  # type: ignore[safe-super]
                context, periodic_hook_data, *args, **kwargs
            )

        return watch(self, "periodic", "periodic", act)


def watch(
    hook: Any,
    kind: str,
    operation: str,
    act: Callable[[], Any],
    outcome: str = "",
    backend: str | None = None,
) -> Any:
    """Run one action of a hook and write it into the journal.

    :param hook: the hook
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param operation: the operation
    :param act: the action
    :param outcome: what an ending was told
    :param backend: the backend section, if not that of the hook's configuration
    :returns: what the action returned
    :raises BaseException: what the action raised
    """
    change = raised = ""
    began = time.perf_counter()
    try:
        answer = act()
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
            Action(
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

    :param hook: any hook instance, also one written for Manila's own base class
    :param backend: its backend section
    """

    def watched(kind: str, action: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(action)

        # The chain passes arguments as the action's own signature wants them.
        @functools.wraps(action)
        def act(*args: Any, **kwargs: Any) -> Any:
            named = signature.bind(*args, **kwargs).arguments
            named.update(named.get("kwargs", {}))
            outcome = ""
            if kind == "post":
                outcome = shown(named.get("driver_action_results"))
            elif kind == "error":
                outcome = shown_error(named["error"])
            return watch(
                hook,
                kind,
                named.get("func_name", kind),
                lambda: action(*args, **kwargs),
                outcome,
                backend,
            )

        return act

    for kind in ("pre", "post", "error", "periodic"):
        name = f"_execute_{kind}_hook"
        action = getattr(hook, name, None)
        if action is not None and not hasattr(action, "__wrapped__"):
            setattr(hook, name, watched(kind, action))
    # Setting a switch makes the chain read the hook's actions anew.
    hook.pre_hooks_enabled = hook.pre_hooks_enabled


def shown(result: object) -> str:
    """Write a driver's result as short as a line of the screen needs it."""
    if result is None:
        return "None"
    if isinstance(result, list):
        first = result[0] if result else None
        # Of export locations the one for users tells most: the path.
        for each in result:
            if isinstance(each, dict) and "path" in each and not each["is_admin_only"]:
                first = each["path"]
                break
        text = f"{len(result)} x {_clipped(first)}" if result else "[]"
    elif isinstance(result, dict):
        text = "{" + ", ".join(str(key) for key in result) + "}"
    else:
        text = str(result)
    return _clipped(text)


def shown_error(error: BaseException) -> str:
    """Write an error in one line."""
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
            help="The name that takes the address's place in export locations.",
        ),
    )

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing to do: there are no export locations yet."""

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> aspects.UpdatedResults | None:
        """Put the name into the locations that are for users.

        :returns: the new locations in the place of the driver's
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
        """Nothing to do."""


def _renamed(path: str, name: str) -> str:
    address, separator, rest = path.partition(":")
    # One name for two addresses would make two locations the same.
    return f"{name}-{address.rpartition('.')[2]}{separator}{rest}"


class Witness(Watched):
    """See everything, do nothing."""


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

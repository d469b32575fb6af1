# SPDX-License-Identifier: Apache-2.0
"""Weave the hooks of a backend section into a driver."""

from __future__ import annotations

from typing import Any

from aspects.config.plan import Plan, plan
from aspects.config.reload import follow_section
from aspects.errors import HookConfigError
from aspects.hook import Configuration
from aspects.operations import ContextFactory, new_admin_context
from aspects.weaving import Weaving, weave, weaving


def weave_from_config(
    driver: Any,
    configuration: Configuration,
    host: str | None,
    *,
    new_context: ContextFactory = new_admin_context,
) -> Any:
    """Weave the hooks of a backend section into a driver, with hot reload.

    :param driver: any share driver instance
    :param configuration: the backend's section: Manila's or Cinder's own
        ``Configuration``, or a :class:`BackendSection`
    :param host: the share service's host, e.g. ``node1@alpha``
    :param new_context: see :func:`aspects.weave`
    :return: the woven driver; the driver itself if the section names no hooks
    :raises HookConfigError: with all errors in the section, if it has any
    :raises AlreadyWoven: if the driver is already woven
    """
    planned = plan(configuration, host, driver)
    if not planned.instances and not planned.problems:
        return driver
    return weave_plan(driver, configuration, host, planned, new_context=new_context)


def weave_plan(
    driver: Any,
    configuration: Configuration,
    host: str | None,
    planned: Plan,
    *,
    new_context: ContextFactory = new_admin_context,
    kind: type[Weaving] = Weaving,
) -> Any:
    """Weave the hooks of a plan, even if there are none, with hot reload.

    :param driver: the object to weave
    :param configuration: its section
    :param host: the service's host
    :param planned: the plan of its section
    :param new_context: see :func:`aspects.weave`
    :param kind: see :func:`aspects.weave`
    :return: the woven object
    :raises HookConfigError: with all errors in the section, if it has any
    """
    if planned.problems:
        raise HookConfigError(planned.problems)
    planned.set_switches()
    woven = weave(
        driver,
        planned.hooks,
        configuration.config_group,
        host,
        hook_methods=planned.own.safe_get("hook_methods"),
        periodic_hooks_ticks=planned.own.safe_get("periodic_hooks_ticks"),
        new_context=new_context,
        kind=kind,
    )
    follow_section(configuration, planned, weaving(woven))
    return woven

# SPDX-License-Identifier: Apache-2.0
"""The share manager bootstrap: ``share_manager = aspects.manila.ShareManager``."""

from __future__ import annotations

from typing import Any

from manila import utils
from manila.share import manager
from oslo_config import cfg
from oslo_service import periodic_task

import aspects.manila.report  # noqa: F401 (it adds hooks to the guru meditation report)
from aspects.config.problems import Problem
from aspects.config.reload import follow, log_rejection
from aspects.config.weave import weave_from_config
from aspects.errors import HookConfigError
from aspects.manila.context import new_context
from aspects.manila.startup import reject
from aspects.periodic import tick
from aspects.weaving import is_woven, weaving


class ShareManager(manager.ShareManager):  # type: ignore[misc]
    """Manila's share manager with the hooks of its backend section woven in."""

    driver: Any

    def _init_hook_drivers(self) -> None:
        # Manila calls this last in its constructor, to create its manager-level hooks.
        # Here ``self.hooks`` stays empty, so that no hook runs twice.
        self._hooks_started = False
        reject(self._weave())
        if not is_woven(self.driver):
            follow(cfg.CONF, self._weave_late)

    def _weave(self) -> tuple[Problem, ...]:
        """Weave the hooks that the backend section names now, if any.

        :return: the problems; the driver is not woven if there are any
        """
        try:
            self.driver = weave_from_config(
                self.driver,
                self.configuration,
                self.host,
                new_context=new_context,
            )
        except HookConfigError as error:
            # Logged by the caller: oslo.log would add this exception to the message.
            return error.problems
        self.access_helper.driver = self.driver
        self.snapshot_access_helper.driver = self.driver
        return ()

    def _weave_late(self) -> bool:
        """Weave the hooks of a section that named none at first.

        :return: whether to call this again at the next reload
        """
        if problems := self._weave():
            log_rejection(problems)
        if not is_woven(self.driver):
            return True
        if self._hooks_started:
            weaving(self.driver).start()
        return False

    def init_host(self, *args: Any, **kwargs: Any) -> None:
        """Start the hooks after the fork of the service, then set up the driver."""
        self._hooks_started = True
        if is_woven(self.driver):
            weaving(self.driver).start()
        super().init_host(*args, **kwargs)

    @periodic_task.periodic_task(  # type: ignore[untyped-decorator]
        spacing=cfg.CONF.periodic_hooks_interval
    )
    @utils.require_driver_initialized  # type: ignore[untyped-decorator]
    def _execute_periodic_hook(self, context: Any) -> None:
        """Count a tick every ``periodic_hooks_interval`` seconds."""
        if is_woven(self.driver):
            tick(self.driver, context, lambda: self._share_instances(context))

    def _share_instances(self, context: Any) -> Any:
        """Return the share instances of this backend, with their access rules.

        They have the data of their shares too, e.g. the size.
        """
        instances = self.db.share_instance_get_all_by_host(
            context, self.host, with_share_data=True
        )
        for instance in instances:
            # Manila documents this key as part of the data for periodic hooks.
            instance["access_rules"] = self.db.share_access_get_all_for_instance(
                context, instance["id"]
            )
        return instances

    _periodic_tasks: list[tuple[str, Any]]


# oslo.service lists the base class's task of the same name too, which must not run.
ShareManager._periodic_tasks = [
    (name, task)
    for name, task in ShareManager._periodic_tasks
    if task is not manager.ShareManager._execute_periodic_hook
]

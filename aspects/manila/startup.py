# SPDX-License-Identifier: Apache-2.0
"""The admin context of Manila for hooks, and the error that ends a service."""

from __future__ import annotations

from collections.abc import Iterable

from manila import context as manila_context
from oslo_log import log

from aspects.config.problems import Problem
from aspects.errors import HookConfigError
from aspects.operations import DetachedContext

LOG = log.getLogger(__name__)


class AdminContext(DetachedContext, manila_context.RequestContext):  # type: ignore[misc]
    """Manila's admin context, for a hook."""


def new_context() -> AdminContext:
    """Return an admin context like that of Manila's ``get_admin_context``."""
    return AdminContext(user_id=None, project_id=None, is_admin=True, read_deleted="no")


class StartupError(HookConfigError, SystemExit):
    """Raised at start-up when hooks are misconfigured.

    As a ``SystemExit``, it ends the service with status 1 and the problems on standard
    error, without a traceback.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__(problems)
        self.code = str(self)


def reject(problems: Iterable[Problem]) -> None:
    """End the service if its hooks are misconfigured, and log why.

    :param problems: the errors in the section; there may be none
    :raises StartupError: if there are any
    """
    problems = tuple(problems)
    for problem in problems:
        LOG.critical("%s", problem)
    if problems:
        raise StartupError(problems)

# SPDX-License-Identifier: Apache-2.0
"""The start of a service with hooks, and the error that ends it."""

from __future__ import annotations

from collections.abc import Iterable

from oslo_log import log

from aspects.config.problems import Problem
from aspects.errors import HookConfigError
from aspects.manila.shares import Database
from aspects.shares import register

LOG = log.getLogger(__name__)

# The hooks of all services read the facts of shares from Manila's database.
register(Database())


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

# SPDX-License-Identifier: Apache-2.0
"""Manila's share manager, with the hooks of its backend section woven in."""

from aspects.manila.manager import ShareManager
from aspects.manila.shares import Database
from aspects.shares import register

__all__ = ["ShareManager"]

register(Database())

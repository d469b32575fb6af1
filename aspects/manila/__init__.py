# SPDX-License-Identifier: Apache-2.0
"""Manila's share manager, with the hooks of its backend section woven in."""

from aspects.manila.manager import ShareManager

__all__ = ["ShareManager"]

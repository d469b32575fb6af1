# SPDX-License-Identifier: Apache-2.0
"""Manila's admin context, for hooks."""

from __future__ import annotations

from manila import context as manila_context

from aspects.operations import DetachedContext


class AdminContext(DetachedContext, manila_context.RequestContext):  # type: ignore[misc]
    """Manila's admin context, for a hook."""


def new_context() -> AdminContext:
    """Return an admin context like that of Manila's ``get_admin_context``."""
    return AdminContext(user_id=None, project_id=None, is_admin=True, read_deleted="no")

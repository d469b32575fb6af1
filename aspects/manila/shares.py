# SPDX-License-Identifier: Apache-2.0
"""Read the metadata and the share type of a share from Manila's database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manila import db, exception
from manila.db.sqlalchemy import models

from aspects.manila.context import new_context
from aspects.shares import ShareType, value


class Database:
    """Manila's database, as a source for :mod:`aspects.shares`.

    It reads as an administrator, since a user may not see the type of a share.
    """

    def metadata(self, share: Any) -> Mapping[str, str] | None:
        """Return the metadata of a share, or None if the share is unknown.

        :param share: a share, share instance or replica, as a model or a dict
        """
        whole = isinstance(share, models.Share)
        share_id = value(share, "id" if whole else "share_id")
        if share_id is None:
            return None
        try:
            return db.share_metadata_get(new_context(), share_id)  # type: ignore[no-any-return]
        except exception.NotFound:
            return None

    def share_type(self, share: Any) -> ShareType | None:
        """Return the share type of a share, or None if the type is unknown.

        :param share: a share, share instance or replica, as a model or a dict
        """
        type_id = value(share, "share_type_id")
        if type_id is None:
            return None
        try:
            # A type may have been deleted before its last share.
            found = db.share_type_get(new_context(), type_id, inactive=True)
        except exception.NotFound:
            return None
        return ShareType(found["id"], found["name"], found["extra_specs"])

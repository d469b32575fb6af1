# SPDX-License-Identifier: Apache-2.0
"""What several tests of the guard hook use."""

import datetime

import aspects

UTC = datetime.timezone.utc
MINUTE = datetime.timedelta(minutes=1)
#: Frozen whenever the test runs.
ALWAYS = "* * * * * 90m Europe/Berlin"


def share_of(**fields):
    return {"id": "i1", "share_id": "s1", "project_id": "p1", "size": 10, **fields}


def vetoed(call, *args, **kwargs):
    """Return the text of the veto, or None."""
    try:
        call(*args, **kwargs)
    except aspects.Veto as veto:
        return str(veto)
    return None

# SPDX-License-Identifier: Apache-2.0
"""Data and helpers shared by the tests of the guard hook."""

import datetime

import aspects

UTC = datetime.timezone.utc
MINUTE = datetime.timedelta(minutes=1)
#: A freeze that is in force whenever the test runs.
ALWAYS = "* * * * * 90m Europe/Berlin"


def share_of(**fields):
    return {"id": "i1", "share_id": "s1", "project_id": "p1", "size": 10, **fields}


def vetoed(call, *args, **kwargs):
    """Return the reason of the veto that a call raises; None without a veto."""
    try:
        call(*args, **kwargs)
    except aspects.Veto as veto:
        return str(veto)
    return None

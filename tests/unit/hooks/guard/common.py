# SPDX-License-Identifier: Apache-2.0
"""What several tests of the guard hook use."""

import datetime

import aspects

UTC = datetime.timezone.utc
MINUTE = datetime.timedelta(minutes=1)
#: Frozen whenever the test runs.
ALWAYS = "* * * * * 90m Europe/Berlin"


class Driver:
    """The driver methods that Manila calls, with the names that its own has."""

    def __init__(self):
        self.calls = []

    def _do(self, name):
        self.calls.append(name)

    def do_setup(self, context):
        self._do("do_setup")

    def get_share_stats(self, refresh=False):
        self._do("get_share_stats")

    def create_share(self, context, share, share_server=None):
        self._do("create_share")

    def delete_share(self, context, share, share_server=None):
        self._do("delete_share")

    def extend_share(self, share, new_size, share_server=None):
        self._do("extend_share")

    def shrink_share(self, share, new_size, share_server=None):
        self._do("shrink_share")

    def manage_existing(self, share, driver_options):
        self._do("manage_existing")

    def create_snapshot(self, context, snapshot, share_server=None):
        self._do("create_snapshot")

    def create_replica(self, context, replica_list, new_replica, access_rules):
        self._do("create_replica")

    def update_replica_state(self, context, replica_list, replica, access_rules):
        self._do("update_replica_state")

    def delete_replicated_snapshot(self, context, replica_list, replica_snapshots):
        self._do("delete_replicated_snapshot")

    def teardown_server(self, server_details, security_services=None):
        self._do("teardown_server")


def share_of(**fields):
    return {"id": "i1", "share_id": "s1", "project_id": "p1", "size": 10, **fields}


def vetoed(call, *args, **kwargs):
    """Return the text of the veto, or None."""
    try:
        call(*args, **kwargs)
    except aspects.Veto as veto:
        return str(veto)
    return None

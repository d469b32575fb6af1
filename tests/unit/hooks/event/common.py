# SPDX-License-Identifier: Apache-2.0
"""What several tests of events use."""

import aspects


class Driver:
    def create_share(self, context, share, share_server=None):
        pass

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        pass

    def allow_access(self, context, share, access, share_server=None):
        pass

    def deny_access(self, context, share, access, share_server=None):
        pass

    def create_snapshot(self, context, snapshot, share_server=None):
        pass

    def create_replica(
        self, context, replica_list, new_replica, access_rules, replica_snapshots
    ):
        pass

    def promote_replica(self, context, replica_list, replica, access_rules):
        pass

    def create_replicated_snapshot(self, context, replica_list, replica_snapshots):
        pass

    def teardown_server(self, server_details, security_services=None):
        pass

    def get_share_stats(self, refresh=False):
        pass


def operation(method="create_share"):
    woven = aspects.weave(Driver(), [], "alpha", "node1@alpha")
    return aspects.weaving(woven).operations[method]


RULE = {
    "id": "r1",
    "access_type": "cephx",
    "access_to": "joe",
    "access_level": "rw",
    "state": "queued",
    "access_key": "hunter2-Zq9",
}

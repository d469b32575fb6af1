# SPDX-License-Identifier: Apache-2.0
"""What several tests of the command hook use."""

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}
ALL = """
    enable_pre_hooks = True
    enable_post_hooks = True
    enable_periodic_hooks = True
"""


class Driver:
    def __init__(self, fails=None):
        self.fails = fails
        self.calls = 0

    def create_share(self, context, share, share_server=None):
        self.calls += 1
        if self.fails:
            raise self.fails

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        self.calls += 1

# SPDX-License-Identifier: Apache-2.0
"""Data shared by the tests of the command hook."""

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}
ALL = """
    enable_pre_hooks = True
    enable_post_hooks = True
    enable_periodic_hooks = True
"""

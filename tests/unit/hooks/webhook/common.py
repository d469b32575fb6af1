# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of the webhook hook."""

EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/manila/node1%40alpha",
    "type": "org.openstack.manila.share.create_share_instance.end",
    "time": "2026-01-02T03:04:05+00:00",
    "datacontenttype": "application/json",
    "subject": "s1",
    "data": {"share_id": "s1", "outcome": "success", "error": "größer"},
}

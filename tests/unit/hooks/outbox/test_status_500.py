# SPDX-License-Identifier: Apache-2.0
"""Test of a real receiver that answers all events of one share with an error."""

import itertools

import pytest

pytest.importorskip("requests")
pytest.importorskip("jsonschema")

import aspects
from aspects.testing import FakeDriver
from tests.support import receiver
from tests.support.config import woven_by
from tests.support.wait import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: The number of shares, the first of which fails, and of calls for each.
SHARES, CALLS = 20, 3


class Receiver(receiver.Receiver):
    """A receiver that cannot process the events of one share."""

    def _taken(self, request):
        self.requests.append(request)
        return receiver.status(500 if request.event["subject"] == "s0" else 204)

    def arrived(self, share):
        return [event for event in self.events if event["subject"] == share]


def test_events_with_status_500_hold_up_no_event_of_another_share(tmp_path):
    with Receiver() as server:
        text = (
            "[alpha]\nhook_drivers = webhook\nhook_dispatch = durable\n"
            "enable_pre_hooks = True\nenable_post_hooks = True\n"
            f"webhook_url = {server.url}\nhook_outbox_path = {tmp_path}/outbox\n"
            "hook_drain_timeout = 0\n"
        )
        with woven_by(text, tmp_path, FakeDriver()) as driver:
            (hook,) = aspects.weaving(driver).hooks
            for _, number in itertools.product(range(CALLS), range(SHARES)):
                driver.create_share(None, {"id": "i", "share_id": f"s{number}"})
            others = 2 * CALLS * (SHARES - 1)
            wait_for(lambda: hook.outbox.delivered == others, "the others arrive", 60)
            left = 2 * CALLS
            wait_for(lambda: hook.outbox.pending() == left, "only they are left")
            for number in range(1, SHARES):
                types = [e["type"][-5:] for e in server.arrived(f"s{number}")]
                assert types == ["start", "e.end"] * CALLS
            # Only the first event of the share is tried.
            assert len({event["id"] for event in server.arrived("s0")}) == 1

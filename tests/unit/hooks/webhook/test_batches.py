# SPDX-License-Identifier: Apache-2.0
"""Tests of requests with several events, from the outbox of a webhook."""

import contextlib
import threading

import pytest
from standardwebhooks import Webhook

import aspects
from aspects.testing import FakeDriver
from tests.support.config import woven_by
from tests.support.receiver import Receiver, status
from tests.support.wait import wait_for

from .common import SECRET

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SHARES = [f"s{number}" for number in range(30)]


@contextlib.contextmanager
def events_of_each_share(server, directory, size=10):
    """Write the events of a call for each share while the first request waits."""
    opened = threading.Event()
    answer = server._server.taken

    def wait(request):
        opened.wait(60)
        return answer(request)

    server._server.taken = wait
    text = (
        "[alpha]\nhook_drivers = webhook\nhook_dispatch = durable\n"
        "enable_pre_hooks = True\nenable_post_hooks = True\n"
        f"webhook_url = {server.url}\nwebhook_secret = {SECRET}\n"
        f"webhook_batch_size = {size}\nwebhook_timeout = 60\n"
        f"hook_delivery_workers = 1\nhook_outbox_path = {directory}/outbox\n"
    )
    with woven_by(text, directory, FakeDriver()) as driver:
        for share in SHARES:
            driver.create_share(None, {"id": "i", "share_id": share})
        opened.set()
        (hook,) = aspects.weaving(driver).hooks
        wait_for(lambda: hook.outbox.pending() == 0, "nothing is pending", 60)
        yield hook


def kinds_of(server, share):
    """Return the kinds of the events of a share, in the order of their arrival."""
    events = [event for event in server.events if event["subject"] == share]
    return [event["type"].rpartition(".")[2] for event in events]


def test_a_batch_is_a_signed_array_of_events(tmp_path):
    with Receiver() as server, events_of_each_share(server, tmp_path) as hook:
        assert hook.outbox.delivered == 2 * len(SHARES)
        assert all(kinds_of(server, share) == ["start", "end"] for share in SHARES)
        batches = [request for request in server.requests if request.is_batch]
        assert max(len(batch.events) for batch in batches) == 10
        for batch in batches:
            shares = [event["subject"] for event in batch.events]
            assert len(set(shares)) == len(shares) > 1
        for request in server.requests:
            assert request.is_batch or request.is_event
            headers = {name.lower(): text for name, text in request.headers.items()}
            Webhook(SECRET).verify(request.body, headers)
        ids = [request.headers["webhook-id"] for request in server.requests]
        assert len(set(ids)) == len(ids)


def test_a_receiver_without_batches_gets_each_event(tmp_path):
    class Single(Receiver):
        def _taken(self, request):
            if request.is_batch:
                return status(415)
            return super()._taken(request)

    with Single() as server, events_of_each_share(server, tmp_path) as hook:
        assert hook.outbox.delivered == 2 * len(SHARES)
        assert hook.outbox.dead_letters() == 0
        assert all(kinds_of(server, share) == ["start", "end"] for share in SHARES)


def test_no_batch_is_sent_unless_the_option_is_set(tmp_path):
    with Receiver() as server, events_of_each_share(server, tmp_path, size=1):
        assert not any(request.is_batch for request in server.requests)
        assert all(kinds_of(server, share) == ["start", "end"] for share in SHARES)

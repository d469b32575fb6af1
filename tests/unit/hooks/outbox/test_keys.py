# SPDX-License-Identifier: Apache-2.0
"""Tests that the events of each key are in order, and wait for no other key."""

import collections
import contextlib
import itertools
import json
import pathlib
import sqlite3
import tempfile
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hooks.events import deliverer, lanes
from hooks.events.deliverer import Settings
from hooks.events.errors import RejectedError
from hooks.events.event import key_of
from hooks.events.outbox import Outbox
from hooks.events.store import EventStore
from tests.support.wait import wait_for

from .common import ids_in, transaction

pytestmark = pytest.mark.timeout(120)


def event(share, number):
    return {"id": f"{share}-{number}", "subject": share, "data": {"backend": "alpha"}}


class Receiver:
    """Takes events, fails as a test says, and checks the order of each share."""

    def __init__(self):
        self.ids = []
        self.attempts = collections.Counter()
        #: Share -> the number of its attempts that fail.
        self.failures = collections.Counter()
        #: The number of events of each attempt.
        self.sizes = []
        self.most = 0
        self._lock = threading.Lock()
        self._active = set()

    def __call__(self, *sent):
        shares = {each["subject"] for each in sent}
        with self._lock:
            assert len(shares) == len(sent), "two events of a share in a batch"
            assert not shares & self._active, "two events of a share at once"
            self._active |= shares
            self.sizes.append(len(sent))
            self.most = max(self.most, len(self._active))
            self.attempts.update(shares)
            self.failures.subtract(shares)
            fails = any(self.failures[share] >= 0 for share in shares)
        # Let the threads of other attempts run.
        threading.Event().wait(0.0005)
        with self._lock:
            self._active -= shares
            if fails:
                raise ConnectionError("status 500")
            self.ids += [each["id"] for each in sent]

    def first(self, share):
        """Return the first arrivals of a share's events."""
        return list(dict.fromkeys(i for i in self.ids if i.startswith(f"{share}-")))


@pytest.fixture
def slow_retries(monkeypatch):
    """Make retries so late that only first attempts are made in a test."""
    monkeypatch.setattr(deliverer, "_pause", lambda error, failures: 3600.0)


@pytest.fixture
def quick():
    """Make pauses short, and keep few events in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliverer, "FIRST_PAUSE", 0.001)
        patch.setattr(deliverer, "LONGEST_PAUSE", 0.01)
        patch.setattr(deliverer, "POLL_INTERVAL", 0.02)
        patch.setattr(deliverer, "READ_SIZE", 3)
        patch.setattr(deliverer, "LANE_SIZE", 2)
        patch.setattr(lanes, "LANE_SIZE", 2)
        patch.setattr(lanes, "RETRY_INTERVAL", 0.001)
        yield


SHARES = "abcd"

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(SHARES), st.integers(1, 4)),
        st.tuples(st.just("put while locked"), st.sampled_from(SHARES), st.just(2)),
        st.tuples(st.just("fail"), st.sampled_from(SHARES), st.integers(1, 3)),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
        st.tuples(st.just("fill"), st.just(""), st.just(0)),
    ),
    max_size=20,
)


@pytest.mark.slow
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=STEPS,
    blocked=st.sets(st.sampled_from(SHARES)),
    workers=st.integers(1, 4),
    batch_size=st.integers(1, 3),
)
def test_each_share_is_in_order_whatever_fails(
    quick, steps, blocked, workers, batch_size
):
    """The model is a list for each share."""
    expected = collections.defaultdict(list)
    receiver = Receiver()
    numbers = itertools.count()
    for share in blocked:
        receiver.failures[share] = 10**9
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "alpha.ops"
        outboxes = []

        def start():
            settings = Settings(0.02, workers, batch_size)
            outbox = Outbox(path, receiver, lambda: settings)
            outboxes.append(outbox)
            outbox.start()

        def put(share, count):
            for _ in range(count):
                sent = event(share, next(numbers))
                expected[share].append(sent["id"])
                outboxes[-1].put(sent)

        def arrived(shares):
            wait_for(
                lambda: all(receiver.first(s) == expected[s] for s in shares),
                f"all events of {shares} arrive in order",
                60,
                pause=0.002,
            )

        try:
            start()
            for step, share, count in steps:
                if step == "put":
                    put(share, count)
                elif step == "put while locked":
                    with transaction(path):
                        put(share, count)
                elif step == "fail":
                    receiver.failures[share] += count
                elif step == "restart":
                    outboxes[-1].stop(0)
                    start()
                else:
                    for each in SHARES:
                        put(each, 3)
            # Shares that fail hold up no other.
            arrived(set(SHARES) - blocked)
            receiver.failures.clear()
            arrived(SHARES)
            wait_for(lambda: outboxes[-1].pending() == 0, "nothing is pending", 60)
        finally:
            for outbox in outboxes:
                outbox.stop(0)
            for outbox in outboxes:
                if outbox._deliverer:
                    outbox._deliverer.thread.join(60)


def test_a_share_that_fails_does_not_hold_up_the_others(new, path, slow_retries):
    receiver = Receiver()
    receiver.failures["bad"] = 10**9
    outbox = new(receiver)
    # More than fit into memory, and before all others.
    for number in range(3 * lanes.LANE_SIZE):
        outbox.put(event("bad", number))
    for number in range(3):
        for share in range(40):
            outbox.put(event(f"{share}x", number))
    wait_for(lambda: len(receiver.ids) == 120, "the events of all others arrive", 60)
    assert receiver.attempts["bad"] == 1
    left = 3 * lanes.LANE_SIZE
    wait_for(lambda: outbox.pending() == left, "the others are settled")
    for share in range(40):
        assert receiver.first(f"{share}x") == [f"{share}x-{n}" for n in range(3)]
    # Nor do they keep a later start from delivering others.
    outbox.stop(0)
    later = new(receiver)
    later.put(event("0x", 3))
    wait_for(lambda: "0x-3" in receiver.ids, "it arrives", 60)


def test_nothing_is_delivered_twice_while_nothing_can_be_deleted(new, monkeypatch):
    monkeypatch.setattr(EventStore, "delete_settled", lambda *args, **kwargs: None)
    receiver = Receiver()
    outbox, sent = new(receiver), []
    # The key has no more events between the rounds.
    for _ in range(3):
        receiver.failures["s"] = 1
        for _ in range(2 * lanes.LANE_SIZE + 5):
            sent.append(f"s-{len(sent)}")
            outbox.put({"id": sent[-1], "subject": "s"})
        wait_for(lambda: len(receiver.ids) >= len(sent), "all are delivered", 60)
        assert receiver.ids == sent
    wait_for(lambda: outbox.pending() == 0, "all are counted", 60)


def test_events_of_several_shares_are_delivered_at_once(new):
    together = threading.Barrier(16)
    outbox = new(lambda sent: together.wait(60))
    for share in range(32):
        outbox.put(event(str(share), 0))
    # The barrier breaks unless 16 attempts run at once.
    wait_for(lambda: outbox.delivered == 32, "all are delivered", 100)


def test_attempts_do_not_begin_all_at_once(new, receiver, monkeypatch):
    monkeypatch.setattr(deliverer, "START_INTERVAL", 3600.0)
    outbox = new()
    for share in range(5):
        outbox.put(event(str(share), 0))
    wait_for(lambda: receiver.attempts, "the first one begins")
    threading.Event().wait(0.1)
    assert len(receiver.attempts) == 1


def test_not_more_events_than_workers_are_delivered_at_once(new):
    receiver = Receiver()
    outbox = new(receiver, workers=3)
    for share in range(30):
        outbox.put(event(str(share), 0))
    wait_for(lambda: len(receiver.ids) == 30, "all are delivered", 60)
    assert receiver.most <= 3


def test_slow_failures_leave_half_of_the_workers_to_other_shares(new, monkeypatch):
    monkeypatch.setattr(deliverer, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(lanes, "RETRY_INTERVAL", 0.0)
    tried, ids = collections.Counter(), []
    end = threading.Event()

    def deliver(sent):
        share = sent["subject"]
        tried[share] += 1
        if share.startswith("bad"):
            # The retries take until the end of the test.
            assert tried[share] == 1 or end.wait(60)
            raise ConnectionError("timed out")
        ids.append(sent["id"])

    outbox = new(deliver, workers=4)
    try:
        for share in range(8):
            outbox.put(event(f"bad{share}", 0))
        wait_for(lambda: sum(tried.values()) == 10, "two retries run", 60)
        for share in range(20):
            outbox.put(event(f"{share}x", 0))
        wait_for(lambda: len(ids) == 20, "the events of all others arrive", 60)
        assert sum(tried.values()) == 30
    finally:
        end.set()


def test_a_receiver_that_is_down_is_not_flooded(new, caplog, monkeypatch):
    monkeypatch.setattr(lanes, "MOST_LANES", 50)
    monkeypatch.setattr(deliverer, "READ_SIZE", 10)
    receiver = Receiver()
    outbox = new(receiver)
    for share in range(100):
        receiver.failures[f"{share}x"] = 10**9
        outbox.put(event(f"{share}x", 0))
    wait_for(lambda: sum(receiver.attempts.values()) > 55, "some are retried", 60)
    # Those that were read with the last one are tried, but no more.
    assert len(receiver.attempts) < 60
    assert 0 < caplog.text.count("Failed to deliver") <= deliverer.LOGGED_FAILURES
    receiver.failures.clear()
    wait_for(lambda: len(receiver.ids) == 100, "all are delivered", 100)


def test_a_stop_ends_when_the_receiver_of_many_shares_is_down(new, path):
    receiver = Receiver()
    outbox = new(receiver)
    for share in range(60):
        receiver.failures[f"{share}x"] = 10**9
        outbox.put(event(f"{share}x", 0))
    stopping = threading.Thread(target=outbox.stop, args=(3600,))
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    assert len(ids_in(path)) == 60


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"subject": "share", "data": {"backend": "alpha"}}, "share"),
        ({"data": {"backend": "alpha"}}, "alpha"),
        ({"data": {"backend": None}}, ""),
        ({"data": [1]}, ""),
        ({}, ""),
    ],
)
def test_the_key_of_an_event(data, key):
    assert key_of(data) == key


# -- batches ---------------------------------------------------------------------------


def test_events_of_several_shares_are_delivered_in_batches(new):
    receiver = Receiver()
    opened = threading.Event()

    def deliver(*sent):
        opened.wait(60)
        receiver(*sent)

    outbox = new(deliver, workers=1, batch_size=8)
    for number in range(2):
        for share in range(20):
            outbox.put(event(f"{share}x", number))
    opened.set()
    wait_for(lambda: len(receiver.ids) == 40, "all are delivered", 60)
    # Nothing waits for a batch to be full: the first one had what there was.
    assert sum(receiver.sizes[1:]) >= 32
    assert max(receiver.sizes) == 8
    assert len(receiver.sizes) <= 8
    for share in range(20):
        assert receiver.first(f"{share}x") == [f"{share}x-0", f"{share}x-1"]


def test_a_batch_that_fails_is_delivered_one_by_one(new, slow_retries, caplog):
    receiver = Receiver()
    receiver.failures["badx"] = 10**9
    outbox = new(receiver, workers=1, batch_size=10)
    for share in ("badx", *(f"{n}x" for n in range(29))):
        outbox.put(event(share, 0))
        outbox.put(event(share, 1))
    wait_for(lambda: len(receiver.ids) == 58, "the events of all others arrive", 60)
    # Once at most in a batch, and once alone.
    assert receiver.attempts["badx"] <= 2
    assert caplog.text.count("Failed to deliver a batch of") <= 1
    assert caplog.text.count("Failed to deliver event badx-0, retrying") == 1
    wait_for(lambda: outbox.pending() == 2, "the others are settled")


def test_the_rejected_event_of_a_batch_is_the_only_dead_letter(new):
    sizes = []
    opened = threading.Event()

    def deliver(*sent):
        opened.wait(60)
        sizes.append(len(sent))
        if "badx-0" in [each["id"] for each in sent]:
            raise RejectedError("status 400")

    outbox = new(deliver, workers=1, batch_size=10)
    for share in ("firstx", "badx", *(f"{n}x" for n in range(10))):
        outbox.put(event(share, 0))
    opened.set()
    wait_for(lambda: outbox.pending() == 0, "nothing is pending", 60)
    assert (outbox.delivered, outbox.rejected) == (11, 1)
    wait_for(lambda: outbox.dead_letters() == 1, "it is moved")
    # The batch that failed was sent again as single events; a later one is a batch.
    assert max(sizes) > 1


def test_an_unreadable_row_does_not_hold_up_its_batch(new, path):
    outbox = new(lambda *sent: None)
    outbox.put(event("first", 0))
    outbox.stop(60)
    with contextlib.closing(sqlite3.connect(path / "events.sqlite")) as connection:
        connection.executemany(
            "INSERT INTO queue_waiting (key, data, timestamp) VALUES (?, ?, 0)",
            [(f"{n}x", "no" if n == 2 else json.dumps({"id": n})) for n in range(5)],
        )
        connection.commit()
    outbox = new(lambda *sent: None, workers=1, batch_size=10)
    outbox.start()
    wait_for(lambda: outbox.pending() == 0, "nothing is pending", 60)
    assert (outbox.delivered, outbox.unreadable) == (4, 1)

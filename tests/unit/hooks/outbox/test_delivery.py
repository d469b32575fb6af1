# SPDX-License-Identifier: Apache-2.0
"""Events are delivered in order, and tried until they are."""

import contextlib
import logging
import sqlite3
import threading

import pytest

from hooks.events.errors import DeliveryFailedError, RejectedError
from hooks.events.outbox import FILE
from tests.support.wait import wait_for

from .common import event, ids_in

pytestmark = pytest.mark.timeout(60)


def test_events_are_delivered_in_order(new, receiver):
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    receiver.wait("a", "b", "c")
    assert receiver.attempts[0] == event("a")
    assert outbox.delivered == 3


def test_what_is_delivered_leaves_the_file(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    receiver.wait("a")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    assert ids_in(path) == []


def test_events_of_each_of_many_threads_are_in_order(new, receiver):
    outbox = new()

    def puts(thread):
        for n in range(50):
            outbox.put(event(f"{thread}-{n}"))

    threads = [threading.Thread(target=puts, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    wait_for(lambda: len(receiver.ids) == 400, "all are delivered", 30)
    for thread in range(8):
        mine = [each for each in receiver.ids if each.startswith(f"{thread}-")]
        assert mine == [f"{thread}-{n}" for n in range(50)]


@pytest.mark.slow
def test_one_that_fails_is_tried_until_it_is_delivered(new, path, receiver, caplog):
    receiver.errors["a"] = ConnectionError("refused, password=hunter2")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for(lambda: len(receiver.attempts) > 3, "it is tried again and again")
    # It holds up those after it: they are to stay in order.
    assert ids_in(path) == ["a", "b"]
    assert outbox.pending() == 2
    del receiver.errors["a"]
    receiver.wait("a", "b")
    assert {each["id"] for each in receiver.attempts[:-1]} == {"a"}
    (told,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "Event a was not delivered" in told.getMessage()
    assert "ConnectionError: refused" in told.getMessage()
    assert "hunter2" not in caplog.text


@pytest.mark.slow
def test_the_other_end_may_ask_to_wait(new, receiver):
    receiver.errors["a"] = DeliveryFailedError("busy", retry_after=1.5)
    began = threading.Event()
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "it is tried")
    began.wait(1)
    assert len(receiver.attempts) == 1
    wait_for(lambda: len(receiver.attempts) == 2, "it is tried again")


def test_one_that_is_refused_is_kept_apart(new, path, receiver, caplog):
    receiver.errors["a"] = RejectedError("unknown type, token=hunter2")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    receiver.wait("b")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    assert ids_in(path, "queue_refused") == ["a"]
    assert (outbox.delivered, outbox.refused) == (1, 1)
    assert "Event a was refused" in caplog.text
    assert "unknown type" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.slow
def test_a_row_that_is_no_event_does_not_end_it(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    receiver.wait("a")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute(
            "INSERT INTO queue_waiting (data) VALUES (CAST('?' AS BLOB))"
        )
    outbox.put(event("b"))
    receiver.wait("a", "b")

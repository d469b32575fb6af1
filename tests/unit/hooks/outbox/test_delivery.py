# SPDX-License-Identifier: Apache-2.0
"""Tests that events are delivered in order, with retries."""

import contextlib
import datetime
import logging
import sqlite3
import threading
import time

import pytest
from oslo_config import cfg

import aspects
from hooks.events import deliverer
from hooks.events.deliverer import Settings
from hooks.events.errors import DeliveryFailedError, RejectedError
from hooks.events.outbox import FILE, Outbox
from tests.support.config import ConfigFile
from tests.support.hooks import UnspeakableError
from tests.support.wait import wait_for

from .common import event, ids_in

pytestmark = pytest.mark.timeout(60)

CONF = "[alpha]\nlicense = LIC-1234-ABCD\n"


def test_events_are_delivered_in_order(new, receiver):
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    receiver.wait("a", "b", "c")
    assert receiver.attempts[0] == event("a")
    wait_for(lambda: outbox.delivered == 3, "all are counted")


def test_a_delivered_event_is_deleted_from_the_file(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    receiver.wait("a")
    # A thread that puts an event may have the file meanwhile.
    wait_for(lambda: ids_in(path) == [], "the event is deleted")
    assert outbox.pending() == 0


def test_the_events_of_each_thread_are_delivered_in_order(new, receiver):
    outbox = new()

    def puts(thread):
        for n in range(50):
            outbox.put(event(f"{thread}-{n}"))

    threads = [threading.Thread(target=puts, args=(n,)) for n in range(8)]
    for running in threads:
        running.start()
    for running in threads:
        running.join()
    wait_for(lambda: len(receiver.ids) == 400, "all are delivered", 30)
    for thread in range(8):
        own = [id_ for id_ in receiver.ids if id_.startswith(f"{thread}-")]
        assert own == [f"{thread}-{n}" for n in range(50)]


@pytest.mark.slow
def test_a_failed_delivery_is_retried_until_it_succeeds(new, path, receiver, caplog):
    receiver.errors["a"] = ConnectionError("refused, password=hunter2")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for(lambda: len(receiver.attempts) > 3, "the event is retried three times")
    # The next event waits, to stay in order.
    assert ids_in(path) == ["a", "b"]
    assert outbox.pending() == 2
    del receiver.errors["a"]
    receiver.wait("a", "b")
    assert {attempt["id"] for attempt in receiver.attempts[:-1]} == {"a"}
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "Failed to deliver event a" in warning.getMessage()
    assert "ConnectionError: refused" in warning.getMessage()
    assert "hunter2" not in caplog.text


@pytest.mark.slow
def test_a_retry_waits_as_long_as_the_receiver_asks(new, receiver):
    receiver.errors["a"] = DeliveryFailedError("busy", retry_after=1.5)
    began = threading.Event()
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "the event is tried")
    began.wait(1)
    assert len(receiver.attempts) == 1
    wait_for(lambda: len(receiver.attempts) == 2, "the event is retried")


@pytest.mark.parametrize(
    ("asked", "pause"), [(25, 25), (3000, 3000), (1e9, 3600), (float("inf"), 3600)]
)
def test_a_receiver_may_ask_for_a_pause_of_an_hour(asked, pause):
    error = DeliveryFailedError("busy", retry_after=asked)
    assert deliverer._pause(error, 1) == pause


def asking(retry_after):
    error = ConnectionError("refused")
    error.retry_after = retry_after
    return error


@pytest.mark.parametrize(
    "error",
    [
        *map(asking, [None, "soon", float("nan"), datetime.timedelta(days=1)]),
        UnspeakableError(),
    ],
    ids=["None", "text", "nan", "timedelta", "no text"],
)
def test_an_event_is_retried_whatever_its_error_is(new, receiver, error):
    receiver.errors["a"] = error
    outbox = new(workers=1)
    outbox.put(event("a"))
    wait_for(lambda: len(receiver.attempts) == 2, "the event is retried")
    receiver.errors.clear()
    receiver.wait("a")


def test_an_event_is_retried_after_its_failure_could_not_be_recorded(
    path, receiver, caplog
):
    errors = [ValueError("hook_delivery_attempts = x")]
    failing = threading.Event()

    def settings():
        if failing.is_set() and errors:
            raise errors.pop()
        return Settings(workers=1)

    def deliver(*sent):
        if not receiver.attempts:
            receiver.attempts.append(sent)
            failing.set()
            raise ConnectionError("refused")
        receiver(*sent)

    outbox = Outbox(path, deliver, settings)
    outbox.put(event("a"))
    receiver.wait("a")
    assert "hook_delivery_attempts = x" in caplog.text
    outbox.stop(20)


def test_secret_options_of_the_hook_are_masked(path, receiver, caplog):
    configuration = ConfigFile(path.parent.parent / "service.conf", CONF).conf
    configuration.register_opts([cfg.StrOpt("license", secret=True)], "alpha")
    section = aspects.BackendSection(configuration, "alpha")
    receiver.errors["a"] = RejectedError("license LIC-1234-ABCD expired")
    receiver.errors["b"] = ConnectionError("no answer for LIC-1234-ABCD")
    outbox = Outbox(path, receiver, configuration=section)
    for name in "ab":
        outbox.put(event(name))
    wait_for(lambda: "Failed to deliver event b" in caplog.text, "b fails")
    outbox.stop(0)
    assert "license *** expired" in caplog.text
    assert "no answer for ***" in caplog.text
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        reasons = connection.execute("SELECT reason FROM queue_dead_letters").fetchall()
    assert reasons == [("license *** expired",)]
    assert "LIC-1234-ABCD" not in caplog.text


def test_a_batch_waits_as_long_as_the_receiver_asks(new):
    attempts = []
    opened = threading.Event()

    def deliver(*sent):
        opened.wait(60)
        attempts.append(([each["id"] for each in sent], time.monotonic()))
        if len(sent) > 1:
            raise DeliveryFailedError("busy", retry_after=0.5)

    outbox = new(deliver, workers=1, batch_size=3)
    for name in "abcd":
        outbox.put({"id": name, "subject": name})
    opened.set()
    wait_for(lambda: outbox.pending() == 0, "all are delivered")
    batches = [(ids, when) for ids, when in attempts if len(ids) > 1]
    assert batches
    alone = {ids[0]: when for ids, when in attempts if len(ids) == 1}
    for ids, when in batches:
        assert all(alone[id_] >= when + 0.5 for id_ in ids)


def test_a_process_that_does_not_deliver_stops_at_once(new, receiver, caplog):
    receiver.errors["a"] = ConnectionError("refused")
    one, two = new(), new()
    one.put(event("a"))
    wait_for(lambda: receiver.attempts, "the first one delivers")
    two.put(event("b"))
    # The limit of time for this test is shorter than that of the stop.
    two.stop(3600)
    assert "Stopped with" not in caplog.text
    del receiver.errors["a"]
    receiver.wait("a", "b")


def test_a_pause_that_the_receiver_asks_for_does_not_delay_a_stop(new, receiver):
    receiver.errors["a"] = DeliveryFailedError("busy", retry_after=3600)
    outbox = new()
    outbox.put(event("a"))
    wait_for(lambda: receiver.attempts, "the event is tried")
    thread = outbox._deliverer.thread
    outbox.stop(0)
    thread.join(30)
    assert not thread.is_alive()


def test_a_rejected_event_becomes_a_dead_letter(new, path, receiver, caplog):
    receiver.errors["a"] = RejectedError("unknown type, token=hunter2")
    outbox = new()
    outbox.put(event("a"))
    outbox.put(event("b"))
    receiver.wait("b")
    wait_for(lambda: ids_in(path, "queue_dead_letters") == ["a"], "a is moved")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    assert (outbox.delivered, outbox.rejected) == (1, 1)
    assert "Event a was rejected" in caplog.text
    assert "unknown type" in caplog.text
    assert "hunter2" not in caplog.text


def dead_letters(path):
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        query = "SELECT json_extract(CAST(data AS TEXT), '$.id'), reason"
        return connection.execute(f"{query} FROM queue_dead_letters").fetchall()


@pytest.mark.slow
def test_an_event_is_given_up_after_some_attempts(new, path, receiver, caplog):
    receiver.errors["a"] = ConnectionError("status 500, token=hunter2")
    outbox = new(attempts=3)
    outbox.put(event("a"))
    outbox.put(event("b"))
    receiver.wait("b")
    assert [sent["id"] for sent in receiver.attempts] == ["a", "a", "a", "b"]
    wait_for(lambda: dead_letters(path), "a is moved")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    ((id_, reason),) = dead_letters(path)
    assert id_ == "a"
    assert reason.startswith("status 500")
    assert (outbox.given_up, outbox.rejected, outbox.delivered) == (1, 0, 1)
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    (given_up,) = errors
    assert "Event a was given up after 3 failed attempt(s)" in given_up
    assert "status 500" in given_up
    assert "hunter2" not in caplog.text + reason


def test_an_event_is_given_up_at_an_age(new, path, receiver, monkeypatch):
    receiver.errors["a"] = ConnectionError("status 500")
    receiver.open.clear()
    outbox = new(max_age=3600)
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for(lambda: receiver.attempts, "a is tried")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute("UPDATE queue_waiting SET timestamp = timestamp - 4000")
    receiver.open.set()
    # An old event that can be delivered is delivered.
    receiver.wait("b")
    wait_for(lambda: dead_letters(path) == [("a", "status 500")], "a is moved")
    wait_for(lambda: not outbox.pending(), "nothing is pending")
    assert (outbox.given_up, outbox.delivered) == (1, 1)


@pytest.mark.slow
def test_attempts_of_a_removed_event_do_not_count_for_the_next_one(new, path):
    tried = []

    def deliver(sent):
        tried.append(sent["id"])
        if tried == ["a", "a"]:
            file = sqlite3.connect(path / FILE, timeout=30)
            with contextlib.closing(file), file:
                file.execute("DELETE FROM queue_waiting WHERE _id = 1")
        raise ConnectionError("status 500")

    outbox = new(deliver, attempts=3)
    outbox.put(event("a"))
    outbox.put(event("b"))
    wait_for(lambda: dead_letters(path), "an event is given up")
    assert dead_letters(path) == [("b", "status 500")]
    assert tried == ["a", "a", "b", "b", "b"]


@pytest.mark.slow
def test_delivery_continues_after_a_row_that_is_not_an_event(new, path, receiver):
    outbox = new()
    outbox.put(event("a"))
    receiver.wait("a")
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection, connection:
        connection.execute(
            "INSERT INTO queue_waiting (data) VALUES (CAST('?' AS BLOB))"
        )
    outbox.put(event("b"))
    receiver.wait("a", "b")

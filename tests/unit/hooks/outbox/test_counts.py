# SPDX-License-Identifier: Apache-2.0
"""The age of the oldest event and the number of dead letters, for metrics."""

import contextlib
import sqlite3
import time

import pytest

pytest.importorskip("tenacity")
from hooks.events.errors import RejectedError
from hooks.events.outbox import FILE, OVERFLOW_FILE
from hooks.events.store import EventStore
from tests.support.wait import wait_for

from .common import event

HOUR = 3600


def execute(path, statement, file=FILE):
    connection = sqlite3.connect(path / file, timeout=30)
    with contextlib.closing(connection), connection:
        return connection.execute(statement).fetchall()


def written_before(path, seconds, file=FILE):
    """Store an event from some time ago, and one from a minute later, in a file."""
    EventStore(path / file, lambda: 30.0).open()
    for name, later in (("old", 0), ("new", 60)):
        row = f"""'{{"id": "{name}"}}', {time.time() - seconds + later}"""
        execute(
            path, f"INSERT INTO queue_waiting (data, timestamp) VALUES ({row})", file
        )


def test_age_is_that_of_the_oldest_event(new, path, receiver):
    receiver.open.clear()
    written_before(path, 5 * HOUR)
    outbox = new()
    assert 5 * HOUR <= outbox.oldest_age() < 6 * HOUR
    outbox.start()
    receiver.open.set()
    receiver.wait("old", "new")
    wait_for(lambda: outbox.oldest_age() == 0, "nothing waits")


def test_age_of_events_in_the_overflow_file_counts(new, path):
    written_before(path, 2 * HOUR, OVERFLOW_FILE)
    assert 2 * HOUR <= new().oldest_age() < 3 * HOUR


def test_age_of_no_event_is_0(new):
    assert new().oldest_age() == 0


def test_age_is_never_negative(new, path):
    # The clock may have been set back since.
    written_before(path, -5 * HOUR)
    assert new().oldest_age() == 0


def test_event_without_a_time_has_the_age_0(new, path):
    written_before(path, HOUR)
    execute(path, "UPDATE queue_waiting SET timestamp = NULL")
    assert new().oldest_age() == 0


def test_dead_letters_are_counted_until_they_are_removed(new, path, receiver):
    receiver.errors = {name: RejectedError("unknown type") for name in "ab"}
    outbox = new()
    for name in "abc":
        outbox.put(event(name))
    receiver.wait("c")
    wait_for(lambda: outbox.dead_letters() == 2, "they are moved")
    # Those of other processes count too.
    assert new().dead_letters() == 2
    execute(path, "DELETE FROM queue_dead_letters WHERE _id = 1")
    assert outbox.dead_letters() == 1


def test_counting_dead_letters_does_not_read_them(path):
    EventStore(path / FILE, lambda: 30.0).open()
    count = "SELECT count(*) FROM queue_dead_letters"
    ((*_, plan),) = execute(path, f"EXPLAIN QUERY PLAN {count}")
    assert "COVERING INDEX" in plan


@pytest.mark.parametrize("file", [FILE, OVERFLOW_FILE])
def test_unreadable_file_has_neither(new, path, file):
    (path / file).mkdir(parents=True)
    outbox = new()
    assert outbox.oldest_age() is None
    assert outbox.dead_letters() is None

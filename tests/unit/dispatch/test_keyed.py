# SPDX-License-Identifier: Apache-2.0
"""Tests of a background queue whose methods run in order for each key."""

import collections
import threading

import pytest

pytest.importorskip("futurist")
from hypothesis import given, settings
from hypothesis import strategies as st

import aspects
from tests.support.hooks import Recorder
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(120)


class Queue:
    """A background queue, and the methods that it has run."""

    def __init__(self, **options):
        self.background = aspects.Background("hook of alpha", **options)
        self.hook = Recorder("hook")
        self.ran = []

    def put(self, key, method):
        self.background.put_keyed(key, self.hook, "periodic", "periodic", method, None)

    def record(self, key, number):
        self.put(key, lambda context: self.ran.append((key, number)))


@pytest.fixture
def new():
    queues = []

    def new_queue(**options):
        queues.append(Queue(**options))
        return queues[-1]

    yield new_queue
    for queue in queues:
        queue.background.stop()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(keys=st.lists(st.sampled_from("abcd"), max_size=60), workers=st.integers(1, 5))
def test_methods_of_each_key_run_in_order(keys, workers):
    queue = Queue(workers=workers)
    expected = collections.defaultdict(list)
    for number, key in enumerate(keys):
        expected[key].append(number)
        queue.record(key, number)
    queue.background.stop()
    for key, numbers in expected.items():
        assert [number for ran, number in queue.ran if ran == key] == numbers
    assert (queue.background.pending(), queue.background.dropped) == (0, 0)


def test_methods_of_several_keys_run_at_once(new):
    queue = new(workers=3)
    together, done = threading.Barrier(3), []
    for key in "abc":
        # The barrier breaks unless three methods wait at once.
        queue.put(key, lambda context: done.append(together.wait(60)))
    wait_for(lambda: len(done) == 3, "all have run", 60)


def test_a_slow_method_delays_only_those_of_its_own_key(new):
    queue, gate = new(workers=2), threading.Event()
    try:
        queue.put("slow", lambda context: gate.wait(60))
        queue.record("slow", 0)
        for number in range(5):
            queue.record("quick", number)
        expected = [("quick", number) for number in range(5)]
        wait_for(lambda: queue.ran == expected, "those of the other key run", 60)
    finally:
        gate.set()
    wait_for(lambda: queue.ran[5:] == [("slow", 0)], "the other one runs", 60)


def test_an_error_of_a_method_does_not_end_its_key(new):
    queue = new(workers=2)

    def fail(context):
        raise LookupError("no such pool")

    queue.put("a", fail)
    queue.record("a", 0)
    wait_for(lambda: queue.ran == [("a", 0)], "the next one runs", 60)


def test_a_stop_drops_the_methods_of_all_keys_that_have_not_begun(new):
    queue, gate, begun = new(workers=2, drain=0.1), threading.Event(), []

    def hang(context):
        begun.append(threading.current_thread())
        gate.wait(60)

    try:
        for key in "abab":
            queue.put(key, hang)
        queue.record("c", 0)
        wait_for(lambda: len(begun) == 2, "two methods run", 60)
        queue.background.stop()
        assert queue.background.dropped == 3
        # The next method uses a new queue.
        queue.record("a", 1)
        wait_for(lambda: queue.ran == [("a", 1)], "it runs", 60)
    finally:
        gate.set()
    # A dropped method never runs.
    wait_for(lambda: not any(thread.is_alive() for thread in begun), "the threads end")
    assert len(begun) == 2
    assert queue.background.pending() == 0
    assert queue.ran == [("a", 1)]


def test_a_method_runs_although_no_further_thread_can_start(new, monkeypatch):
    queue = new(workers=4)
    queue.record("a", 0)
    wait_for(lambda: queue.ran, "it runs", 60)

    def fail(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    for number in range(1, 9):
        queue.record("b", number)
    wait_for(lambda: len(queue.ran) == 9, "all run", 60)
    assert [number for _, number in queue.ran] == list(range(9))

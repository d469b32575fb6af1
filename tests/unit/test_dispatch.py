# SPDX-License-Identifier: Apache-2.0
"""Actions in the background: ``hook_dispatch = background``."""

from __future__ import annotations

import contextvars
import gc
import logging
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import aspects

from ..functional.parts import wait_for
from .helpers import (
    NOT_SUPPRESSED,
    WAYS,
    Driver,
    PlainRecorder,
    Recorder,
    Seen,
    UpstreamRecorder,
    Way,
    actions_of,
)

# A queue that nobody empties is to be seen soon.
pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).parents[2]
CONTEXT = SimpleNamespace(auth_token="t0ken-Zq9")
KINDS = [Recorder, PlainRecorder, UpstreamRecorder]


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What an action waits at; it is open at the end."""
    event = threading.Event()
    yield event
    event.set()


def deferred(
    hook: Any, size: int = 1000, timeout: float = 1.0, drain: float = 10.0
) -> Any:
    """Give a hook a dispatcher, as ``hook_dispatch = background`` does."""
    name = f"{hook.instance_name} of alpha"
    hook.dispatcher = aspects.Background(name, size, timeout, drain)
    return hook


def held(gate: threading.Event, *more: Any, **options: Any) -> Any:
    """Return a hook whose post action waits at a gate."""
    enabled = options.pop("enabled", ["post"])
    answers = {key: options.pop(key) for key in ("error", "pre") if key in options}
    hook = Recorder(
        "slow", enabled=enabled, post=lambda seen: gate.wait(30) and None, **answers
    )
    return deferred(hook, *more, **options)


def fails(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("no such pool")


# In what order, and in whose thread.


@pytest.mark.parametrize("kind", KINDS)
def test_pre_actions_are_in_the_callers_thread_and_endings_in_another(
    way: Way, kind: Any
) -> None:
    threads: list[tuple[str, Any]] = []

    def note(seen: Seen) -> None:
        threads.append((seen.action, threading.current_thread()))

    answers = {"pre": note, "post": note, "error": note}
    hook = deferred(kind("hook", **answers))
    way.call(way.driver([hook]), CONTEXT, "share")
    with pytest.raises(RuntimeError):
        way.call(way.driver([hook], fails), CONTEXT, "share")
    hook.dispatcher.stop()
    endings = ["post"] if kind is UpstreamRecorder else ["post", "error"]
    assert sorted(action for action, _ in threads) == sorted(["pre", "pre", *endings])
    here = threading.current_thread()
    assert {each for action, each in threads if action == "pre"} == {here}
    (there,) = {each for action, each in threads if action != "pre"}
    assert there is not here


def test_actions_are_done_one_after_the_other_as_they_came(way: Way) -> None:
    running: list[int] = []

    def alone(seen: Seen) -> None:
        running.append(1)
        time.sleep(0.0005)
        assert len(running) == 1
        running.pop()

    hook = deferred(Recorder("hook", enabled=["post"], post=alone, error=alone))
    driver = way.driver([hook], lambda context, share, _: 1 // (share % 3))
    expected = []
    for number in range(60):
        expected.append(("post" if number % 3 else "error", (number,)))
        try:
            way.call(driver, CONTEXT, number)
        except ZeroDivisionError:
            assert not number % 3
    hook.dispatcher.stop()
    assert [(seen.action, seen.args) for seen in hook.trace] == expected
    assert not running


def test_the_caller_does_not_wait(way: Way, gate: threading.Event) -> None:
    hook = held(gate, error=lambda seen: gate.wait(30))
    assert way.call(way.driver([hook]), CONTEXT, "share") == "result"
    with pytest.raises(RuntimeError, match="no such pool"):
        way.call(way.driver([hook], fails), CONTEXT, "share")
    assert len(hook.trace) <= 1
    gate.set()
    hook.dispatcher.stop()
    assert actions_of(hook.trace) == ["slow.post", "slow.error"]


def test_an_ending_gets_what_it_would_get_inline(way: Way) -> None:
    inline = Recorder("inline", pre="data")
    there = deferred(Recorder("there", pre="data"))
    outcomes: list[Any] = ["result", RuntimeError("no such pool")]
    for outcome in outcomes:

        def body(*args: Any, outcome: Any = outcome) -> Any:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        try:
            way.call(way.driver([inline, there], body), CONTEXT, 1, share_server=2)
        except RuntimeError:
            assert isinstance(outcome, RuntimeError)
    there.dispatcher.stop()
    assert [seen._replace(hook="") for seen in there.trace if seen.action != "pre"] == [
        seen._replace(hook="") for seen in inline.trace if seen.action != "pre"
    ]


def test_a_slow_hook_does_not_hinder_another(gate: threading.Event) -> None:
    slow, quick = held(gate), deferred(Recorder("quick", enabled=["post"]))
    driver = aspects.weave(Driver(), [slow, quick])
    for number in range(5):
        driver.create_share(CONTEXT, number)
    wait_for(lambda: len(quick.trace) == 5, "the other hook's actions")
    assert len(slow.trace) == 1


def test_a_veto_is_still_the_callers(way: Way) -> None:
    hook = deferred(Recorder("hook", pre=aspects.Veto("no")))
    before = deferred(Recorder("before"))
    with pytest.raises(aspects.Veto):
        way.call(way.driver([before, hook]), CONTEXT, "share")
    before.dispatcher.stop()
    assert actions_of(before.trace) == ["before.pre", "before.error"]


@pytest.mark.parametrize("kind", KINDS)
def test_periodic_actions_are_in_the_background_too(
    kind: Any, gate: threading.Event
) -> None:
    hook = deferred(
        kind("hook", enabled=["periodic"], periodic=lambda seen: gate.wait(30))
    )
    driver = aspects.weave(Driver(), [hook])
    assert aspects.tick(driver, CONTEXT, [1]) is True
    assert aspects.tick(driver, CONTEXT, [2]) is True
    gate.set()
    hook.dispatcher.stop()
    assert [(seen.action, seen.data) for seen in hook.trace] == [
        ("periodic", [1]),
        ("periodic", [2]),
    ]


@pytest.mark.parametrize("kinds", [(), ("periodic",), ("post",), ("error", "periodic")])
def test_a_class_says_which_actions_are_deferred(kinds: tuple[str, ...]) -> None:
    class Choosy(Recorder):
        deferred_actions = kinds

    here = threading.current_thread()
    inline: list[str] = []

    def note(seen: Seen) -> None:
        if threading.current_thread() is here:
            inline.append(seen.action)

    every = ("pre", "post", "error", "periodic")
    answers: dict[str, Any] = dict.fromkeys(every, note)
    hook = deferred(Choosy("hook", enabled=every, **answers))
    aspects.weave(Driver(), [hook]).create_share(CONTEXT, "share")
    with pytest.raises(RuntimeError):
        aspects.weave(Driver(fails), [hook]).create_share(CONTEXT, "share")
    aspects.tick(aspects.weave(Driver(), [hook]), CONTEXT, [])
    hook.dispatcher.stop()
    assert set(inline) == set(every) - set(kinds)
    assert {seen.action for seen in hook.trace} == set(every)


WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who")


def test_an_action_has_the_context_variables_of_its_caller() -> None:
    seen: list[str] = []
    hook = deferred(
        Recorder("hook", enabled=["post"], post=lambda _: seen.append(WHO.get("?")))
    )
    driver = aspects.weave(Driver(), [hook])
    for who in ("ann", "bob"):

        def call(who: str = who) -> None:
            WHO.set(who)
            driver.create_share(CONTEXT, "share")

        contextvars.copy_context().run(call)
    driver.create_share(CONTEXT, "share")
    hook.dispatcher.stop()
    assert seen == ["ann", "bob", "?"]


def test_calls_of_many_threads_keep_the_order_of_each() -> None:
    hook = deferred(Recorder("hook", enabled=["post"]), size=7, timeout=30)
    driver = aspects.weave(Driver(), [hook])
    together = threading.Barrier(8)

    def calls(name: int) -> None:
        together.wait(10)
        for number in range(40):
            driver.create_share(CONTEXT, (name, number))

    threads = [threading.Thread(target=calls, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    hook.dispatcher.stop()
    done = [seen.args[0] for seen in hook.trace]
    assert len(done) == 8 * 40
    for name in range(8):
        assert [n for each, n in done if each == name] == list(range(40))
    assert hook.dispatcher.dropped == 0


# What goes wrong in it.


def secrets_in(action: str) -> Callable[[Seen], None]:
    """Return an action that fails, and repeats what it knows in its error."""

    def answer(seen: Seen) -> None:
        raise OSError(f"tried t0ken-Zq9 and k3y-Zq9 and p4ss-Zq9, {action}")

    return answer


class Guarded(Driver):
    def set_secrets(
        self, context: Any, share: Any, rule: Any, new_password: Any
    ) -> Any:
        return self.body(context, share, rule)


@pytest.mark.parametrize("by", ["position", "keyword"])
@pytest.mark.parametrize(
    ("kind", "action"),
    [
        *((kind, "post") for kind in KINDS),
        # Upstream's hooks have no error action.
        (Recorder, "error"),
        (PlainRecorder, "error"),
    ],
)
def test_an_error_is_logged_without_secrets_and_is_not_the_callers(
    by: str, kind: Any, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers: Any = {action: secrets_in(action)}
    hook = deferred(kind("quota of ops", enabled=["post"], **answers))
    body = fails if action == "error" else None
    driver = aspects.weave(
        Guarded(body), [hook], "alpha", "node1", hook_methods=["set_secrets"]
    )
    given = {"share": 1, "rule": {"access_key": "k3y-Zq9"}, "new_password": "p4ss-Zq9"}
    try:
        if by == "position":
            driver.set_secrets(CONTEXT, *given.values())
        else:
            driver.set_secrets(CONTEXT, **given)
    except RuntimeError:
        assert action == "error"
    hook.dispatcher.stop()
    (record,) = [r for r in caplog.records if r.name.startswith("aspects")]
    assert record.levelno >= logging.WARNING
    message = record.getMessage()
    for part in ("quota of ops", "alpha", "set_secrets", action, "OSError", "tried"):
        assert part in message
    assert "Zq9" not in message


def test_an_error_of_a_periodic_action_is_logged_without_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = deferred(
        Recorder("hook", enabled=["periodic"], periodic=OSError("tried t0ken-Zq9"))
    )
    assert aspects.tick(aspects.weave(Driver(), [hook], "alpha"), CONTEXT, [])
    hook.dispatcher.stop()
    assert "periodic action of hook hook of backend alpha in periodic" in caplog.text
    assert "tried ***" in caplog.text
    assert "Zq9" not in caplog.text


@pytest.mark.parametrize("kind", [ValueError, *NOT_SUPPRESSED])
def test_nothing_that_is_raised_ends_the_thread(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    threads = set()

    def answer(seen: Seen) -> None:
        threads.add(threading.current_thread())
        if seen.args == (1,):
            raise kind("once")

    hook = deferred(Recorder("hook", enabled=["post"], post=answer))
    driver = aspects.weave(Driver(), [hook])
    for number in range(3):
        driver.create_share(CONTEXT, number)
    hook.dispatcher.stop()
    assert [seen.args for seen in hook.trace] == [(0,), (1,), (2,)]
    assert len(threads) == 1
    assert f"{kind.__name__}: once" in caplog.text


def test_results_cannot_be_updated_and_that_is_told(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    after = Recorder("after")
    hook = deferred(Recorder("late", post=aspects.UpdatedResults("new")))
    assert way.call(way.driver([hook, after]), CONTEXT, "share") == "result"
    hook.dispatcher.stop()
    assert [s.outcome for s in after.trace if s.action == "post"] == ["result"]
    (message,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    for part in ("late", "create_share_instance", "update", "background"):
        assert part in message


# A full queue.


def filled(gate: threading.Event, size: int, timeout: float) -> tuple[Any, Any]:
    """Return a driver whose hook's queue is full, and the hook."""
    hook = held(gate, size, timeout)
    driver = aspects.weave(Driver(), [hook], "alpha")
    for number in range(size):
        driver.create_share(CONTEXT, number)
    return driver, hook


@pytest.mark.parametrize("timeout", [0, 0.3])
@pytest.mark.parametrize("size", [1, 3])
def test_a_caller_waits_so_long_and_then_the_action_is_dropped(
    gate: threading.Event,
    size: int,
    timeout: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver, hook = filled(gate, size, timeout)
    assert hook.dispatcher.dropped == 0
    for count in (1, 2):
        caplog.clear()
        began = time.monotonic()
        assert driver.create_share(CONTEXT, "too many") == "result"
        assert timeout <= time.monotonic() - began < timeout + 5
        assert hook.dispatcher.dropped == count
        (record,) = caplog.records
        assert record.levelno >= logging.WARNING
        message = record.getMessage()
        for part in ("Dropped 1 ", "slow of alpha", "full", f"so far: {count}"):
            assert part in message
    gate.set()
    hook.dispatcher.stop()
    assert [seen.args for seen in hook.trace] == [(number,) for number in range(size)]


def test_a_caller_goes_on_as_soon_as_there_is_room(gate: threading.Event) -> None:
    driver, hook = filled(gate, 2, 50)
    gate.set()
    driver.create_share(CONTEXT, 2)
    hook.dispatcher.stop()
    assert [seen.args for seen in hook.trace] == [(0,), (1,), (2,)]
    assert hook.dispatcher.dropped == 0


def test_a_queue_that_was_full_takes_actions_again(gate: threading.Event) -> None:
    driver, hook = filled(gate, 1, 0)
    driver.create_share(CONTEXT, "too many")
    gate.set()
    wait_for(lambda: hook.trace, "the action that was in the queue")

    def taken() -> bool:
        driver.create_share(CONTEXT, "again")
        return any(seen.args == ("again",) for seen in hook.trace)

    wait_for(taken, "room in the queue")


def test_what_waits_or_runs_is_pending(gate: threading.Event) -> None:
    hook = held(gate)
    driver = aspects.weave(Driver(), [hook])
    assert hook.dispatcher.pending() == 0
    for number in (1, 2, 3):
        driver.create_share(CONTEXT, number)
        assert hook.dispatcher.pending() == number
    gate.set()
    hook.dispatcher.stop()
    assert hook.dispatcher.pending() == 0


# Its end.


def test_stop_waits_for_what_is_in_the_queue() -> None:
    hook = deferred(Recorder("hook", enabled=["post"], post=lambda _: time.sleep(0.01)))
    driver = aspects.weave(Driver(), [hook])
    for number in range(20):
        driver.create_share(CONTEXT, number)
    aspects.weaving(driver).stop()
    assert [seen.args for seen in hook.trace] == [(number,) for number in range(20)]
    assert hook.dispatcher.dropped == 0


def test_what_is_put_while_it_stops_is_done_after_the_rest(
    gate: threading.Event,
) -> None:
    hook = held(gate)
    driver = aspects.weave(Driver(), [hook])
    for number in range(3):
        driver.create_share(CONTEXT, number)
    stopping = threading.Thread(target=hook.dispatcher.stop)
    stopping.start()
    # Room is not what it waits for: it takes none from a call that comes late.
    time.sleep(0.1)
    driver.create_share(CONTEXT, 3)
    gate.set()
    stopping.join(10)
    assert not stopping.is_alive()
    assert [seen.args for seen in hook.trace] == [(number,) for number in range(4)]
    assert hook.dispatcher.dropped == 0


def test_what_waits_for_room_while_it_stops_is_done_nevertheless(
    gate: threading.Event,
) -> None:
    hook = held(gate, 1, 30, 0)
    driver = aspects.weave(Driver(), [hook])
    driver.create_share(CONTEXT, 0)
    wait_for(lambda: hook.trace, "the first action")
    late = threading.Thread(target=driver.create_share, args=(CONTEXT, 1))
    late.start()
    time.sleep(0.1)
    hook.dispatcher.stop()
    assert hook.dispatcher.dropped == 1
    gate.set()
    late.join(10)
    wait_for(lambda: len(hook.trace) == 2, "the late action")
    assert [seen.args for seen in hook.trace] == [(0,), (1,)]


def test_stop_waits_so_long_and_what_is_left_is_dropped(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    hook = held(gate, drain=0.2)
    driver = aspects.weave(Driver(), [hook])
    for number in range(4):
        driver.create_share(CONTEXT, number)
    wait_for(lambda: hook.trace, "the first action")
    began = time.monotonic()
    aspects.weaving(driver).stop()
    assert 0.2 <= time.monotonic() - began < 5
    assert hook.dispatcher.dropped == 4
    (record,) = [r for r in caplog.records if "Dropped" in r.getMessage()]
    for part in ("Dropped 4 ", "slow of alpha", "0.2 s", "so far: 4"):
        assert part in record.getMessage()
    # What was counted as dropped is not done later on.
    gate.set()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the thread")
    assert [seen.args for seen in hook.trace] == [(0,)]
    assert hook.dispatcher.pending() == 0


@pytest.mark.parametrize("gone", [True, False])
def test_it_can_be_used_again_after_a_stop(gate: threading.Event, gone: bool) -> None:
    hook = held(gate, 2, 5, 10 if gone else 0)
    driver = aspects.weave(Driver(), [hook])
    if gone:
        gate.set()
    driver.create_share(CONTEXT, 1)
    wait_for(lambda: hook.trace, "the first action")
    aspects.weaving(driver).stop()
    gate.set()
    # All the room there is, and one that waits.
    for number in (2, 3, 4):
        driver.create_share(CONTEXT, number)
    wait_for(lambda: len(hook.trace) == 4, "the actions after the stop")
    wait_for(lambda: hook.dispatcher.pending() == 0, "the end of the last action")


def test_stopping_what_does_not_run_does_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = deferred(Recorder("hook", enabled=["post"]))
    driver = aspects.weave(Driver(), [hook])
    aspects.weaving(driver).stop()
    driver.create_share(CONTEXT, 1)
    aspects.weaving(driver).stop()
    aspects.weaving(driver).stop()
    assert len(hook.trace) == 1
    assert caplog.records == []


def test_no_thread_before_the_first_action() -> None:
    before = set(threading.enumerate())
    hook = deferred(Recorder("hook", enabled=["post"]))
    driver = aspects.weave(Driver(), [hook])
    aspects.weaving(driver).start()
    assert set(threading.enumerate()) <= before
    driver.create_share(CONTEXT, 1)
    hook.dispatcher.stop()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the thread")


def test_a_hook_dies_with_its_driver_and_its_thread_with_it() -> None:
    before = set(threading.enumerate())
    hook = deferred(Recorder("hook", enabled=["post"]))
    inner = Driver()
    driver = aspects.weave(inner, [hook])
    driver.create_share(CONTEXT, 1)
    trace = hook.trace
    wait_for(lambda: trace, "the action")
    assert set(threading.enumerate()) - before
    references = [weakref.ref(each) for each in (inner, hook, hook.dispatcher, driver)]
    gc.disable()
    try:
        del hook, inner, driver
        # No cycle: nothing has to be looked for.
        wait_for(lambda: not any(each() for each in references), "the end of all")
    finally:
        gc.enable()
    gc.collect()
    wait_for(lambda: set(threading.enumerate()) <= before, "the end of the thread")


def test_what_is_in_the_queue_is_done_for_a_driver_that_is_gone(
    gate: threading.Event,
) -> None:
    hook = held(gate)
    driver = aspects.weave(Driver(), [hook])
    for number in range(3):
        driver.create_share(CONTEXT, number)
    trace, reference = hook.trace, weakref.ref(hook)
    del hook, driver
    gc.collect()
    gate.set()
    wait_for(lambda: len(trace) == 3, "the actions in the queue")
    wait_for(lambda: gc.collect() is not None and reference() is None, "the hook's end")


# Processes: each of these scripts is run with and without eventlet.

SCRIPT = """
import os, sys, threading, time
import aspects
from tests.unit.helpers import Driver, Recorder

def say(*words):
    print(*words, flush=True)

def woven(size=1000, timeout=1.0, drain=10.0, **options):
    hook = Recorder("hook", enabled=["post"], **options)
    hook.dispatcher = aspects.Background("hook of alpha", size, timeout, drain)
    return aspects.weave(Driver(), [hook], "alpha")

"""

EVENTLET = "import eventlet; eventlet.monkey_patch()\n"


@pytest.fixture(params=["", EVENTLET], ids=["threads", "eventlet"])
def run(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Return what runs a script to its end and returns what it printed."""

    def run_(script: str, timeout: float = 30) -> list[str]:
        text = request.param + SCRIPT + textwrap.dedent(script)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", text],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line for line in (done.stdout + done.stderr).splitlines() if line]

    return run_


def test_the_end_of_each_process_waits_for_what_is_in_its_queue(run: Any) -> None:
    said = run(
        """
        def slowly(seen):
            time.sleep(0.01)
            say(name, "did", seen.args[0])

        driver = woven(post=slowly)
        child = os.fork()
        name = "parent" if child else "child"
        if child:
            os.waitpid(child, 0)
        for number in range(10):
            driver.create_share(None, number)
        """
    )
    assert said == [
        f"{name} did {number}" for name in ("child", "parent") for number in range(10)
    ]


def test_the_end_of_the_interpreter_waits_so_long_and_no_longer(run: Any) -> None:
    said = run(
        """
        driver = woven(drain=0.2, post=lambda seen: time.sleep(1000))
        driver.create_share(None, 1)
        """,
        timeout=10,
    )
    assert "Dropped 1 action(s) of hook hook of alpha" in said[-1]


def test_after_a_fork_each_process_does_its_own(run: Any) -> None:
    said = run(
        """
        open_ = threading.Event()

        def note(seen):
            open_.wait(10)
            say(name, "did", seen.args[0])

        name = "parent"
        driver = woven(post=note)
        driver.create_share(None, 1)
        driver.create_share(None, 2)
        child = os.fork()
        if not child:
            name = "child"
            open_.set()
            for number in (3, 4):
                driver.create_share(None, number)
            aspects.weaving(driver).stop()
            # As the processes of a service end.
            os._exit(0)
        os.waitpid(child, 0)
        open_.set()
        driver.create_share(None, 5)
        """
    )
    assert said == [
        "child did 3",
        "child did 4",
        "parent did 1",
        "parent did 2",
        "parent did 5",
    ]


def test_on_eventlet_as_on_threads(run: Any) -> None:
    said = run(
        """
        go = threading.Event()
        here = threading.get_ident()
        done = []

        def note(seen):
            go.wait(10)
            done.append((seen.args[0], threading.get_ident() != here))

        driver = woven(2, 0.2, post=note)
        for number in range(2):
            driver.create_share(None, number)
        began = time.monotonic()
        driver.create_share(None, "too many")
        say("waited", 0.2 <= time.monotonic() - began < 5, done)
        (hook,) = aspects.weaving(driver).hooks
        say("dropped", hook.dispatcher.dropped)
        go.set()
        aspects.weaving(driver).stop()
        say("stopped", done)

        driver = woven(3, 30, post=note)
        done.clear()

        def calls(name):
            for number in range(20):
                driver.create_share(None, (name, number))

        threads = [threading.Thread(target=calls, args=(name,)) for name in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        aspects.weaving(driver).stop()
        say(len(done), [
            [number for (each, number), _ in done if each == name] == list(range(20))
            for name in range(5)
        ])
        """
    )
    assert [line for line in said if not line.startswith("Dropped")] == [
        "waited True []",
        "dropped 1",
        "stopped [(0, True), (1, True)]",
        f"100 {[True] * 5}",
    ]


@pytest.mark.parametrize("run", [EVENTLET], ids=["eventlet"], indirect=True)
def test_with_eventlet_it_is_a_green_thread(run: Any) -> None:
    said = run(
        """
        native = eventlet.patcher.original("threading")
        there = []
        driver = woven(post=lambda seen: there.append(native.get_ident()))
        driver.create_share(None, 1)
        aspects.weaving(driver).stop()
        say(there == [native.get_ident()])
        """
    )
    assert said == ["True"]

# SPDX-License-Identifier: Apache-2.0
"""The chain follows the file: hooks added, removed, reordered, made anew."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

import pytest
from oslo_config import cfg

import aspects
from aspects.config.reload import follow
from tests.unit.fixtures_hooks.config_file import ConfigFile
from tests.unit.fixtures_hooks.recording import Driver

HERE = "tests.unit.test_reload"
CONTEXT = object()
#: What was done, in order, by all hooks of a test.
done: list[tuple[str, str]] = []


class Told(aspects.HookBase):
    """Tells what it does, under the name of its instance."""

    options = (
        cfg.IntOpt("limit", default=1, min=0, mutable=True),
        cfg.StrOpt("address", default="here"),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        if self.get_config_option("limit") == 13:
            raise ValueError("limit: 13 is unlucky")
        self.address = self.get_config_option("address")

    def tell(self, what: str) -> None:
        done.append((what, self.instance_name))

    def start(self) -> None:
        self.tell("start")

    def stop(self) -> None:
        self.tell("stop")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.tell("pre")

    def _execute_post_hook(self, context, func_name, data, results, *args, **kwargs):
        self.tell("post")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        self.tell("periodic")

    def wrap_driver(self, operation, method):
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.tell("driver")
            return method(*args, **kwargs)

        return wrapped


class OfUpstream:
    """As a hook of Manila's own: its switches are plain attributes."""

    pre_hooks_enabled = post_hooks_enabled = True
    periodic_hooks_enabled = False

    def __init__(self, configuration: Any, host: str | None) -> None:
        self.configuration = configuration

    def _execute_pre_hook(self, *args: Any, **kwargs: Any) -> None: ...

    def _execute_post_hook(self, *args: Any, **kwargs: Any) -> None: ...

    def _execute_periodic_hook(self, *args: Any, **kwargs: Any) -> None: ...


def text(entries: str, *lines: str) -> str:
    """Return a file whose backend has these hooks, all of class Told."""
    drivers = ", ".join(f"{name}={HERE}:Told" for name in entries)
    more = "\n".join(lines)
    on = "enable_pre_hooks = True\nenable_post_hooks = True\n"
    return f"[alpha]\nhook_drivers = {drivers}\n{on}{more}\n"


@pytest.fixture
def file(tmp_path):
    done.clear()
    return ConfigFile(tmp_path / "service.conf", text("ab"))


@pytest.fixture
def woven(file):
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    aspects.weaving(woven).start()
    done.clear()
    yield woven
    # Waits for hooks that are left out and have a call to end.
    aspects.weaving(woven).stop()


def names(woven: Any) -> str:
    return "".join(hook.instance_name for hook in aspects.weaving(woven).hooks)


def acted(woven: Any) -> list[tuple[str, str]]:
    done.clear()
    woven.create_share(CONTEXT, {})
    return list(done)


@pytest.mark.parametrize(
    "entries", ["abc", "cab", "ba", "a", "b", "c", "dcba", "", "cd"]
)
def test_hooks_are_added_removed_and_reordered(file, woven, entries):
    before = dict(zip("ab", aspects.weaving(woven).hooks))
    file.mutate(text(entries))
    lifecycle = list(done)
    assert names(woven) == entries
    for hook in aspects.weaving(woven).hooks:
        known = before.get(hook.instance_name)
        assert known is None or hook is known
    new, gone = set(entries) - set("ab"), set("ab") - set(entries)
    assert sorted(lifecycle) == sorted(
        [("start", name) for name in new] + [("stop", name) for name in gone]
    )
    seen = acted(woven)
    assert [each for each in seen if each[0] in ("pre", "post")] == [
        (action, name) for action in ("pre", "post") for name in entries
    ]
    # What a hook wants around the driver is of the chain as well.
    around = [name for action, name in seen if action == "driver"]
    assert around == list(entries)


def test_all_hooks_can_go_and_come_back(file, woven):
    file.mutate("[alpha]\nhook_drivers =\n")
    assert acted(woven) == []
    file.mutate(text("b"))
    assert acted(woven) == [("pre", "b"), ("driver", "b"), ("post", "b")]


def test_mutable_option_leaves_the_instance_in_place(file, woven):
    before = aspects.weaving(woven).hooks
    for limit in (7, 8):
        file.mutate(text("ab", f"limit = {limit}"))
        assert aspects.weaving(woven).hooks == before
        assert [hook.get_config_option("limit") for hook in before] == [limit] * 2
    assert done == []


def test_other_option_has_the_instance_made_anew(file, woven):
    a, b = aspects.weaving(woven).hooks
    file.mutate(text("ab", "[alpha:b]", "address = there"))
    kept, new = aspects.weaving(woven).hooks
    assert kept is a
    assert new is not b
    assert (a.address, b.address, new.address) == ("here", "here", "there")
    assert new.host == b.host == "node1@alpha"
    assert done == [("start", "b"), ("stop", "b")]
    # The next edit is compared with what runs now.
    file.mutate(text("ab", "[alpha:b]", "address = there", "limit = 2"))
    assert aspects.weaving(woven).hooks == (kept, new)
    assert new.get_config_option("limit") == 2


def test_interval_of_the_ticks_which_is_read_once_makes_nothing_anew(file, woven):
    before = aspects.weaving(woven).hooks
    file.mutate(text("ab", "periodic_hooks_interval = 7"))
    assert aspects.weaving(woven).hooks == before
    assert done == []


def test_new_instance_reads_its_own_section(file, woven):
    file.mutate(text("abc", "[alpha:c]", "limit = 5", "address = far"))
    *_, hook = aspects.weaving(woven).hooks
    assert hook.get_config_option("limit") == 5
    assert hook.address == "far"
    assert hook.host == "node1@alpha"


def test_another_class_under_the_same_name(file, woven):
    file.mutate(text("ab").replace(f"b={HERE}:Told", "b=" + f"{HERE}:Other"))
    assert [type(hook) for hook in aspects.weaving(woven).hooks] == [Told, Other]


class Other(Told):
    pass


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        (text("ab").replace("Told", "Tolt", 1), "[alpha] hook_drivers = a="),
        (text("aab"), "two instances of the name 'a'"),
        (text("abc", "limit = -1"), "[alpha] limit = -1: "),
        (text("ba", "[alpha:b]", "limit = 13"), "limit: 13 is unlucky"),
        (text("a", "hook_operations = create_shar"), "no operation matches"),
    ],
)
def test_bad_edit_changes_nothing(file, woven, caplog, edit, cause):
    before = aspects.weaving(woven).hooks
    with caplog.at_level(logging.ERROR):
        file.mutate(edit)
    (line,) = [r.getMessage() for r in caplog.records if "go on as" in r.getMessage()]
    assert cause in line
    assert aspects.weaving(woven).hooks == before
    assert done == []
    # Also of what is right in it.
    assert [hook.get_config_option("limit") for hook in before] == [1, 1]
    assert [action for action, _ in acted(woven)].count("pre") == 2
    file.mutate(text("b"))
    assert names(woven) == "b"


def test_call_in_flight_ends_with_the_chain_it_began_with(file, woven):
    inside, go_on = threading.Event(), threading.Event()

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert go_on.wait(10)

    woven.create_share = create_share
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    caller.start()
    assert inside.wait(10)
    file.mutate(text("c"))
    go_on.set()
    caller.join(10)
    endings = [name for action, name in done if action == "post"]
    assert endings == ["a", "b"]
    woven.create_share = lambda context, share: None
    assert [n for action, n in acted(woven) if action != "driver"] == ["c", "c"]


def test_hooks_left_out_are_stopped_after_their_last_ending(file, woven):
    inside, go_on = threading.Event(), threading.Event()

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert go_on.wait(10)

    woven.create_share = create_share
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    caller.start()
    assert inside.wait(10)
    done.clear()
    file.mutate(text("c"))
    file.mutate(text("d"))
    # Not c, which no call has.
    assert done == [("start", "c"), ("start", "d"), ("stop", "c")]
    done.clear()
    go_on.set()
    caller.join(10)
    # The end of the process waits for it.
    aspects.weaving(woven).stop()
    assert done == [
        *[("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")],
        ("stop", "d"),
    ]


class Calls:
    """Calls that are in the driver until each is let go on."""

    def __init__(self, woven: Any) -> None:
        self._woven = woven
        self._inside = threading.Semaphore(0)
        self._go_on: list[threading.Event] = []
        self._callers: list[threading.Thread] = []
        woven.create_share = self._create_share

    def _create_share(self, context: Any, share: int) -> None:
        self._inside.release()
        assert self._go_on[share].wait(10)

    def begin(self) -> None:
        """Begin a call, and return when it is in the driver."""
        number = len(self._callers)
        self._go_on.append(threading.Event())
        caller = threading.Thread(
            target=self._woven.create_share, args=(CONTEXT, number)
        )
        self._callers.append(caller)
        caller.start()
        assert self._inside.acquire(timeout=10)

    def end(self, number: int) -> None:
        """End a call, and return when it has."""
        self._go_on[number].set()
        self._callers[number].join(10)


def test_nor_before_a_call_that_began_before_the_edit_before_that(file, woven):
    calls = Calls(woven)
    calls.begin()
    file.mutate(text("ab", "enable_error_hooks = False"))
    done.clear()
    file.mutate(text(""))
    assert not _stopped_soon()
    calls.end(0)
    aspects.weaving(woven).stop()
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]


def test_nor_before_the_end_of_a_tick(file, woven):
    inside, go_on = threading.Event(), threading.Event()

    def share_instances() -> list[Any]:
        inside.set()
        assert go_on.wait(10)
        return []

    file.mutate(text("ab", "enable_periodic_hooks = True"))
    ticking = threading.Thread(
        target=aspects.tick, args=(woven, CONTEXT, share_instances)
    )
    ticking.start()
    assert inside.wait(10)
    done.clear()
    file.mutate(text(""))
    assert not _stopped_soon()
    go_on.set()
    ticking.join(10)
    aspects.weaving(woven).stop()
    assert done == [
        *[("periodic", "a"), ("periodic", "b"), ("stop", "b"), ("stop", "a")]
    ]


@pytest.mark.parametrize("upstreams", [False, True])
def test_the_end_waits_for_the_endings_of_calls_in_flight(file, woven, upstreams):
    if upstreams:
        file.mutate(
            text("ab").replace("drivers = ", f"drivers = u={HERE}:OfUpstream, ")
        )
    calls = Calls(woven)
    calls.begin()
    done.clear()
    stopping = threading.Thread(target=aspects.weaving(woven).stop)
    stopping.start()
    assert not _stopped_soon()
    # Not for those that begin meanwhile, of which there is no end.
    calls.begin()
    done.clear()
    calls.end(0)
    stopping.join(10)
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]
    calls.end(1)


def test_so_they_are_where_a_hook_of_upstreams_is_in_the_chain(file, woven):
    def with_upstreams(entries: str) -> str:
        return text(entries).replace("drivers = ", f"drivers = u={HERE}:OfUpstream, ")

    file.mutate(with_upstreams("ab"))
    calls = Calls(woven)
    calls.begin()
    calls.begin()
    done.clear()
    file.mutate(with_upstreams("").replace("Upstream, ", "Upstream"))
    calls.end(1)
    assert done == [("post", "a"), ("post", "b")]
    done.clear()
    # The first one has them still.
    assert not _stopped_soon()
    calls.end(0)
    aspects.weaving(woven).stop()
    assert done == [("post", "a"), ("post", "b"), ("stop", "b"), ("stop", "a")]


def _stopped_soon() -> bool:
    """Tell whether hooks are stopped now; they are looked after 20 times a second."""
    time.sleep(0.2)
    return any(action == "stop" for action, _ in done)


def test_calls_of_another_driver_do_not_keep_them_from_being_stopped(file, woven):
    section = aspects.BackendSection(file.conf, "alpha")
    other = aspects.weave_from_config(Driver(), section, "node1@alpha")
    upstreams = OfUpstream(None, None)
    calls = Calls(aspects.weave(Driver(), [upstreams, *aspects.weaving(other).hooks]))
    calls.begin()
    done.clear()
    file.mutate(text("b"))
    assert ("stop", "a") in done
    calls.end(0)


def test_who_keeps_an_error_does_not_keep_hooks_from_being_stopped(file, woven):
    def create_share(context: Any, share: Any) -> None:
        raise LookupError("no pool")

    woven.create_share = create_share
    with pytest.raises(LookupError) as kept:
        woven.create_share(CONTEXT, {})
    done.clear()
    file.mutate(text("b"))
    assert done == [("stop", "a")]
    assert kept.value.__traceback__


@pytest.mark.parametrize("left_out", [True, False])
def test_a_call_that_does_not_end_hinders_the_end_of_the_process_no_longer_than_that(
    file, woven, left_out, monkeypatch
):
    monkeypatch.setattr(sys.modules["aspects.weaving"], "LEAVING", 0.01)
    inside, go_on, stopped = (threading.Event() for _ in range(3))

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert go_on.wait(10)

    def stop() -> None:
        aspects.weaving(woven).stop()
        stopped.set()

    woven.create_share = create_share
    before = set(threading.enumerate())
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    stopping = threading.Thread(target=stop)
    caller.start()
    assert inside.wait(10)
    if left_out:
        file.mutate(text("b"))
    waiting = set(threading.enumerate()) - before - {caller}
    # Nor does the interpreter wait for those.
    assert [thread.daemon for thread in waiting] == [True] * left_out
    stopping.start()
    try:
        assert stopped.wait(5)
    finally:
        go_on.set()
        caller.join(10)
        stopping.join(10)
        for thread in waiting:
            thread.join(10)
    assert ("stop", "a") in done
    # What a reload leaves out is stopped after the call nevertheless.
    assert done[-1] == (("stop", "a") if left_out else ("post", "b"))


def test_hooks_that_were_never_started_are_not_by_an_edit(file):
    section = aspects.BackendSection(file.conf, "alpha")
    woven = aspects.weave_from_config(Driver(), section, "node1@alpha")
    file.mutate(text("c"))
    assert names(woven) == "c"
    assert done == []


def test_hooks_that_were_stopped_are_not_started_by_an_edit(file, woven):
    aspects.weaving(woven).stop()
    done.clear()
    file.mutate(text("ac"))
    assert names(woven) == "ac"
    assert done == []


def test_what_follows_an_edit_may_begin_to_follow(file):
    called: list[str] = []

    def second() -> bool:
        called.append("second")
        return True

    def first() -> bool:
        called.append("first")
        follow(file.conf, second)
        return False

    follow(file.conf, first)
    file.mutate(text("a"))
    assert called == ["first"]
    # It wanted no more.
    file.mutate(text("b"))
    assert called == ["first", "second"]

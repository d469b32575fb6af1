# SPDX-License-Identifier: Apache-2.0
"""A reload adds, removes, reorders and re-creates hooks."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

import aspects
from aspects.config.reload import follow

from .common import CONTEXT, HERE, LoggingHook, Other, done, names, text


def events_of_call(woven: Any) -> list[tuple[str, str]]:
    """Make a call and return what the hooks did in it."""
    done.clear()
    woven.create_share(CONTEXT, {})
    return list(done)


@pytest.mark.parametrize(
    "entries", ["abc", "cab", "ba", "a", "b", "c", "dcba", "", "cd"]
)
def test_reload_adds_removes_and_reorders_hooks(file, woven, entries):
    before = dict(zip("ab", aspects.weaving(woven).hooks))
    file.mutate(text(entries))
    lifecycle = list(done)
    assert names(woven) == entries
    for hook in aspects.weaving(woven).hooks:
        known = before.get(hook.instance_name)
        assert known is None or hook is known
    added, removed = set(entries) - set("ab"), set("ab") - set(entries)
    assert sorted(lifecycle) == sorted(
        [("start", name) for name in added] + [("stop", name) for name in removed]
    )
    events = events_of_call(woven)
    assert [(event, name) for event, name in events if event in ("pre", "post")] == [
        (method, name) for method in ("pre", "post") for name in entries
    ]
    # The observers of the driver method change with the chain.
    observers = [name for event, name in events if event == "driver"]
    assert observers == list(entries)


def test_all_hooks_can_be_removed_and_added_again(file, woven):
    file.mutate("[alpha]\nhook_drivers =\n")
    assert events_of_call(woven) == []
    file.mutate(text("b"))
    assert events_of_call(woven) == [("pre", "b"), ("driver", "b"), ("post", "b")]


def test_change_of_a_mutable_option_keeps_the_instance(file, woven):
    before = aspects.weaving(woven).hooks
    for limit in (7, 8):
        file.mutate(text("ab", f"limit = {limit}"))
        assert aspects.weaving(woven).hooks == before
        assert [hook.get_config_option("limit") for hook in before] == [limit] * 2
    assert done == []


def test_change_of_an_immutable_option_recreates_the_instance(file, woven):
    a, b = aspects.weaving(woven).hooks
    file.mutate(text("ab", "[alpha:b]", "address = there"))
    kept, new = aspects.weaving(woven).hooks
    assert kept is a
    assert new is not b
    assert (a.address, b.address, new.address) == ("here", "here", "there")
    assert new.host == b.host == "node1@alpha"
    assert done == [("start", "b"), ("stop", "b")]
    # The next edit is compared with the running instances.
    file.mutate(text("ab", "[alpha:b]", "address = there", "limit = 2"))
    assert aspects.weaving(woven).hooks == (kept, new)
    assert new.get_config_option("limit") == 2


def test_change_of_the_interval_of_ticks_recreates_no_instance(file, woven):
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


def test_instance_can_get_another_class(file, woven):
    file.mutate(text("ab").replace(f"b={HERE}:LoggingHook", "b=" + f"{HERE}:Other"))
    assert [type(hook) for hook in aspects.weaving(woven).hooks] == [LoggingHook, Other]


@pytest.mark.parametrize(
    ("edit", "cause"),
    [
        (
            text("ab").replace("LoggingHook", "MissingHook", 1),
            "[alpha] hook_drivers = a=",
        ),
        (text("aab"), "duplicate instance name 'a'"),
        (text("abc", "limit = -1"), "[alpha] limit = -1: "),
        (text("ba", "[alpha:b]", "limit = 13"), "limit: 13 is unlucky"),
        (text("a", "hook_operations = create_shar"), "no operation matches"),
    ],
)
def test_invalid_edit_changes_nothing(file, woven, caplog, edit, cause):
    before = aspects.weaving(woven).hooks
    with caplog.at_level(logging.ERROR):
        file.mutate(edit)
    (line,) = [r.getMessage() for r in caplog.records if "rejected" in r.getMessage()]
    assert cause in line
    assert aspects.weaving(woven).hooks == before
    assert done == []
    # The valid lines of the edit are not applied either.
    assert [hook.get_config_option("limit") for hook in before] == [1, 1]
    assert [event for event, _ in events_of_call(woven)].count("pre") == 2
    file.mutate(text("b"))
    assert names(woven) == "b"


def test_call_in_flight_completes_with_the_chain_it_began_with(file, woven):
    inside, released = threading.Event(), threading.Event()

    def create_share(context: Any, share: Any) -> None:
        inside.set()
        assert released.wait(10)

    woven.create_share = create_share
    caller = threading.Thread(target=woven.create_share, args=(CONTEXT, {}))
    caller.start()
    assert inside.wait(10)
    file.mutate(text("c"))
    released.set()
    caller.join(10)
    completions = [name for event, name in done if event == "post"]
    assert completions == ["a", "b"]
    woven.create_share = lambda context, share: None
    events = events_of_call(woven)
    assert [name for event, name in events if event != "driver"] == ["c", "c"]


def test_function_called_on_a_reload_can_register_another(file):
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
    # A function that returned False is not called again.
    file.mutate(text("b"))
    assert called == ["first", "second"]

# SPDX-License-Identifier: Apache-2.0
"""Hooks are added, removed, reordered and made anew."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

import aspects
from aspects.config.reload import follow

from .common import CONTEXT, HERE, Other, Told, done, names, text


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

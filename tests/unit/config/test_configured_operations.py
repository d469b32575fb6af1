# SPDX-License-Identifier: Apache-2.0
"""``hook_operations`` in a file."""

import logging

import pytest

import aspects

from .common import (
    CONTEXT,
    KINDS,
    ON,
    RECORDER,
    UPSTREAM,
    _in,
    acted,
    advised_in,
    section_with,
    seen_at_each_line,
    woven_in,
)


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize(
    ("patterns", "runs"),
    [
        ("*", True),
        ("create_*", True),
        ("delete_*, create_share_instance", True),
        ("delete_*", False),
        ("extend_share, *_snapshot", False),
    ],
)
def test_operations_of_a_hook(configured, section, what, patterns, runs):
    options = f"hook_operations = {patterns}\n"
    file = configured(_in(section, what, options) + f"[alpha]\n{ON}")
    assert acted(woven_in(file)) == [["pre", "post"] if runs else []]


def test_operations_are_those_of_an_instance(configured):
    text = f"""
        [alpha]
        hook_drivers = a={RECORDER}, b={UPSTREAM}, c={RECORDER}
        hook_operations = delete_*
        enable_pre_hooks = True
        [alpha:a]
        hook_operations = create_*
        [alpha:b]
        hook_operations = *
        """
    assert acted(woven_in(configured(text))) == [["pre"], ["pre"], []]


def test_a_method_of_hook_methods_is_an_operation_too(configured):
    options = f"{ON}hook_methods = further\nhook_operations = f*r\n"
    woven = woven_in(configured(section_with([RECORDER], options)))
    assert acted(woven) == [[]]
    assert woven.further(CONTEXT) == "further"
    (hook,) = aspects.weaving(woven).hooks
    assert [operation for _, operation in hook.seen] == ["further", "further"]


@KINDS
def test_operations_follow_the_file(configured, entries):
    file = configured(section_with(entries, ON))
    woven = woven_in(file)
    for patterns, expected in [
        ("delete_*", []),
        ("create_*", ["pre", "post"]),
        ("*", ["pre", "post"]),
        ("deny_access", []),
    ]:
        options = f"{ON}hook_operations = {patterns}\n"
        file.mutate(section_with(entries, options))
        assert acted(woven) == [expected] * len(entries)
    file.mutate(section_with(entries, ON))
    assert acted(woven) == [["pre", "post"]] * len(entries)


@KINDS
@pytest.mark.parametrize("to", ["create_*", "delete_*"])
def test_operations_of_a_call_in_flight_are_not_touched(configured, entries, to):
    patterns = {"create_*", "delete_*"}
    before, after = (
        section_with(entries, f"{ON}hook_operations = {each}\n")
        for each in (*(patterns - {to}), to)
    )
    file = configured(before)
    woven = woven_in(file)
    woven.during = lambda: file.mutate(after)
    there, not_there = [["pre", "post"]] * len(entries), [[]] * len(entries)
    assert acted(woven) == (there if to == "delete_*" else not_there)
    woven.during = lambda: None
    assert acted(woven) == (there if to == "create_*" else not_there)


@pytest.mark.slow
@KINDS
def test_operations_are_replaced_with_the_chain_as_a_whole(configured, entries):
    # The first hook and the others change places.
    create, delete = (f"hook_operations = {each}_*\n" for each in ("create", "delete"))
    before = section_with(entries, ON + create) + f"[alpha:a]\n{delete}"
    after = section_with(entries, ON + delete) + f"[alpha:a]\n{create}"
    file = configured(before)
    seen = seen_at_each_line(file, woven_in(file), after)
    runs, rests, others = ["pre", "post"], [], len(entries) - 1
    old, new = [rests] + [runs] * others, [runs] + [rests] * others
    assert old in seen
    assert seen[-1] == new
    assert seen == [old] * seen.count(old) + [new] * seen.count(new)


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("create_shar_instance", "write create_share_instance"),
        ("destroy_*", ""),
        ("create_share", "write create_share_instance"),
        ("Create_*", "write create_*"),
        ("update_acces", "write update_access"),
        ("create_* extend_share", "write create_*, extend_share"),
    ],
)
def test_operations_that_there_are_not(configured, section, what, pattern, advice):
    options = f"hook_operations = delete_*, {pattern}\n"
    (problem,) = advised_in(configured(_in(section, what, options)))
    cause = "unknown operation: no operation matches"
    assert problem == (section, "hook_operations", pattern, cause, advice)


def test_operations_that_there_are_not_leave_the_old_chain_going(configured, caplog):
    file = configured(section_with([RECORDER], f"{ON}hook_operations = create_*\n"))
    woven = woven_in(file)
    wrong = "enable_post_hooks = False\nhook_operations = creat_*\n"
    with caplog.at_level(logging.ERROR):
        file.mutate(section_with([RECORDER], wrong))
    assert acted(woven) == [["pre", "post"]]
    logged = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert logged == [
        "The hooks go on as they were: [alpha] hook_operations = creat_*: unknown "
        "operation: no operation matches: write create_*"
    ]

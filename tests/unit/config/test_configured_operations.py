# SPDX-License-Identifier: Apache-2.0
"""``hook_operations`` in a file."""

import logging

import pytest

import aspects

from .common import (
    CONTEXT,
    ENABLED,
    KINDS,
    RECORDER,
    UPSTREAM,
    full_problems_in,
    methods_run,
    section_with,
    seen_at_each_line,
    text_with,
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
def test_hook_runs_in_the_operations_that_its_patterns_match(
    configured, section, what, patterns, runs
):
    options = f"hook_operations = {patterns}\n"
    file = configured(text_with(section, what, options) + f"[alpha]\n{ENABLED}")
    assert methods_run(woven_in(file)) == [["pre", "post"] if runs else []]


@pytest.mark.slow
def test_each_instance_can_have_operations_of_its_own(configured):
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
    assert methods_run(woven_in(configured(text))) == [["pre"], ["pre"], []]


def test_a_method_of_hook_methods_is_an_operation_too(configured):
    options = f"{ENABLED}hook_methods = further\nhook_operations = f*r\n"
    woven = woven_in(configured(section_with([RECORDER], options)))
    assert methods_run(woven) == [[]]
    assert woven.further(CONTEXT) == "further"
    (hook,) = aspects.weaving(woven).hooks
    assert [operation for _, operation in hook.seen] == ["further", "further"]


@KINDS
def test_operations_change_on_a_reload(configured, entries):
    file = configured(section_with(entries, ENABLED))
    woven = woven_in(file)
    for patterns, expected in [
        ("delete_*", []),
        ("create_*", ["pre", "post"]),
        ("*", ["pre", "post"]),
        ("deny_access", []),
    ]:
        options = f"{ENABLED}hook_operations = {patterns}\n"
        file.mutate(section_with(entries, options))
        assert methods_run(woven) == [expected] * len(entries)
    file.mutate(section_with(entries, ENABLED))
    assert methods_run(woven) == [["pre", "post"]] * len(entries)


@KINDS
@pytest.mark.parametrize("to", ["create_*", "delete_*"])
def test_call_in_flight_keeps_the_operations_of_its_hooks(configured, entries, to):
    patterns = {"create_*", "delete_*"}
    before, after = (
        section_with(entries, f"{ENABLED}hook_operations = {pattern}\n")
        for pattern in (*(patterns - {to}), to)
    )
    file = configured(before)
    woven = woven_in(file)
    woven.during = lambda: file.mutate(after)
    runs, skipped = [["pre", "post"]] * len(entries), [[]] * len(entries)
    assert methods_run(woven) == (runs if to == "delete_*" else skipped)
    woven.during = lambda: None
    assert methods_run(woven) == (runs if to == "create_*" else skipped)


@pytest.mark.slow
@KINDS
def test_operations_are_replaced_with_the_chain_as_a_whole(configured, entries):
    # The edit exchanges the operations of the first hook and the others.
    create, delete = (f"hook_operations = {verb}_*\n" for verb in ("create", "delete"))
    before = section_with(entries, ENABLED + create) + f"[alpha:a]\n{delete}"
    after = section_with(entries, ENABLED + delete) + f"[alpha:a]\n{create}"
    file = configured(before)
    seen = seen_at_each_line(file, woven_in(file), after)
    runs, skipped, others = ["pre", "post"], [], len(entries) - 1
    old, new = [skipped] + [runs] * others, [runs] + [skipped] * others
    assert old in seen
    assert seen[-1] == new
    assert seen == [old] * seen.count(old) + [new] * seen.count(new)


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("create_shar_instance", "did you mean create_share_instance?"),
        ("destroy_*", ""),
        ("create_share", "did you mean create_share_instance?"),
        ("Create_*", "did you mean create_*?"),
        ("update_acces", "did you mean update_access?"),
        ("create_* extend_share", "did you mean create_*, extend_share?"),
    ],
)
def test_pattern_without_an_operation_is_reported(
    configured, section, what, pattern, advice
):
    options = f"hook_operations = delete_*, {pattern}\n"
    (problem,) = full_problems_in(configured(text_with(section, what, options)))
    cause = "no operation matches"
    assert problem == (section, "hook_operations", pattern, cause, advice)


def test_reload_with_an_unknown_operation_keeps_the_old_chain(configured, caplog):
    file = configured(
        section_with([RECORDER], f"{ENABLED}hook_operations = create_*\n")
    )
    woven = woven_in(file)
    wrong = "enable_post_hooks = False\nhook_operations = creat_*\n"
    with caplog.at_level(logging.ERROR):
        file.mutate(section_with([RECORDER], wrong))
    assert methods_run(woven) == [["pre", "post"]]
    logged = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert logged == [
        "Configuration reload rejected, keeping the current hooks: "
        "[alpha] hook_operations = creat_*: no operation matches; "
        "did you mean create_*?"
    ]

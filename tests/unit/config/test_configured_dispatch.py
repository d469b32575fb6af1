# SPDX-License-Identifier: Apache-2.0
"""``hook_dispatch`` in a file."""

import sys
import threading

import pytest

import aspects
from tests.support.entries import recording

from .common import (
    CONTEXT,
    ENABLED,
    RECORDER,
    UPSTREAM,
    full_problems_in,
    hooks_in,
    methods_run,
    problems_in,
    section_with,
    text_with,
    woven_in,
)


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("dispatch", ["inline", "background", ""])
def test_only_background_dispatch_runs_the_post_method_in_another_thread(
    configured, what, section, dispatch
):
    options = f"hook_dispatch = {dispatch}\n" if dispatch else ""
    file = configured(text_with(section, what, options) + f"[alpha]\n{ENABLED}")
    woven = woven_in(file)
    (hook,) = aspects.weaving(woven).hooks
    threads = []
    remember = hook._remember

    def remember_thread(method, *rest):
        threads.append((method, threading.current_thread()))
        remember(method, *rest)

    hook._remember = remember_thread
    woven.create_share(CONTEXT, {})
    aspects.weaving(woven).stop()
    (pre, before), (post, after) = threads
    assert (pre, post) == ("pre", "post")
    assert before is threading.current_thread()
    assert (after is before) == (dispatch != "background")


def test_queue_options_limit_size_waiting_and_draining(configured, caplog):
    text = f"""
        [alpha]
        hook_drivers = ops={RECORDER}
        hook_dispatch = background
        hook_queue_size = 2
        hook_queue_timeout = 0.1
        hook_drain_timeout = 0
        enable_post_hooks = True
        """
    woven = woven_in(configured(text))
    (hook,) = aspects.weaving(woven).hooks
    gate = threading.Event()
    hook._remember = lambda *what: gate.wait(30)
    for _ in range(3):
        woven.create_share(CONTEXT, {})
    (warning,) = [r.getMessage() for r in caplog.records]
    assert "ops of alpha" in warning
    assert "0.1 s" in warning
    aspects.weaving(woven).stop()
    gate.set()
    # Of three calls, the first runs, the second is dropped from the queue when the
    # hook stops, and the third had no capacity.
    assert hook.dispatcher.dropped == 2
    _, abandoned, dropped = (r.getMessage() for r in caplog.records)
    assert "still runs" in abandoned
    assert " 0 s" in abandoned
    assert " 0 s" in dropped


@pytest.mark.parametrize(
    ("group", "name"), [("alpha", "ops of alpha"), (None, "ops of DEFAULT")]
)
def test_a_queue_is_named_after_its_hook_and_section(configured, group, name):
    text = f"[{group or 'DEFAULT'}]\nhook_drivers = ops={RECORDER}\n"
    (hook,) = hooks_in(configured(f"{text}hook_dispatch = background\n"), group)
    assert hook.dispatcher.name == name


@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hook_dispatch", "backgroud"),
        ("hook_queue_size", "0"),
        ("hook_queue_size", "many"),
        ("hook_queue_timeout", "-1"),
        ("hook_drain_timeout", "long"),
    ],
)
def test_invalid_dispatch_option_is_reported_in_its_section(
    configured, section, option, value
):
    file = configured(text_with(section, RECORDER, f"{option} = {value}\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == (section, option, value)
    assert problem.cause


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
def test_durable_dispatch_is_rejected_for_a_hook_without_events(configured, what):
    file = configured(section_with([what], "hook_dispatch = durable\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "hook_dispatch", "durable")
    cls = what.rpartition(":")[2]
    assert problem.cause == f"not supported by {cls}"


class Delivering(recording.Recorder):
    dispatches = ("inline", "durable")


def test_dispatches_of_a_class_are_the_only_valid_ones(configured):
    entry = f"{__name__}:Delivering"
    woven_in(configured(section_with([entry], "hook_dispatch = durable\n")))
    file = configured(section_with([entry], "hook_dispatch = background\n"))
    (problem,) = full_problems_in(file)
    assert problem[:3] == ("alpha", "hook_dispatch", "background")
    assert problem.cause == "not supported by Delivering"
    assert problem.advice == "use inline or durable"


def test_dispatches_of_a_class_are_valid_after_an_edit_too(configured):
    entry = f"{__name__}:Delivering"
    text = section_with([entry], f"hook_dispatch = durable\n{ENABLED}")
    file = configured(text)
    woven = woven_in(file)
    file.mutate(text.replace("enable_post_hooks = True", ""))
    assert methods_run(woven) == [["pre"]]


def test_invalid_dispatch_is_reported_beside_an_error_of_the_constructor(configured):
    entry = "tests.support.entries.recording:Choosy"
    file = configured(section_with([entry], "[alpha:a]\nhook_dispatch = durable\n"))
    assert [problem[:2] for problem in problems_in(file)] == [
        ("alpha:a", "hook_dispatch"),
        ("alpha", "hook_drivers"),
    ]


def test_missing_library_of_background_dispatch_is_reported(configured, monkeypatch):
    monkeypatch.setitem(sys.modules, "futurist", None)
    file = configured(section_with([RECORDER], "hook_dispatch = background\n"))
    (problem,) = full_problems_in(file)
    assert "futurist" in problem.cause
    assert problem.advice == "pip install 'manila-aspects[background]'"
    # A hook that runs inline does not need the library.
    woven_in(configured(section_with([RECORDER], ENABLED)))

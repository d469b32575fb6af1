# SPDX-License-Identifier: Apache-2.0
"""``hook_dispatch`` in a file."""

import sys
import threading

import pytest

import aspects
from tests.support.entries import recording

from .common import (
    CONTEXT,
    ON,
    RECORDER,
    UPSTREAM,
    _in,
    acted,
    advised_in,
    hooks_in,
    problems_in,
    section_with,
    woven_in,
)


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
@pytest.mark.parametrize("section", ["DEFAULT", "alpha", "alpha:a"])
@pytest.mark.parametrize("dispatch", ["inline", "background", ""])
def test_dispatch_of_a_hook(configured, what, section, dispatch):
    options = f"hook_dispatch = {dispatch}\n" if dispatch else ""
    file = configured(_in(section, what, options) + f"[alpha]\n{ON}")
    woven = woven_in(file)
    (hook,) = aspects.weaving(woven).hooks
    threads = []
    remember = hook._remember

    def note(action, *rest):
        threads.append((action, threading.current_thread()))
        remember(action, *rest)

    hook._remember = note
    woven.create_share(CONTEXT, {})
    aspects.weaving(woven).stop()
    (pre, before), (post, after) = threads
    assert (pre, post) == ("pre", "post")
    assert before is threading.current_thread()
    assert (after is before) == (dispatch != "background")


def test_options_of_a_queue(configured, caplog):
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
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1
    assert "ops of alpha" in told[0]
    assert "0.1 s" in told[0]
    aspects.weaving(woven).stop()
    gate.set()
    # One for want of capacity, one that had not begun; the first one still ran.
    assert hook.dispatcher.dropped == 2
    assert "still runs after 0 s" in caplog.records[-2].getMessage()
    assert "they took over 0 s" in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("group", "name"), [("alpha", "ops of alpha"), (None, "ops of DEFAULT")]
)
def test_a_queue_is_called_after_its_hook_and_section(configured, group, name):
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
def test_wrong_options_of_a_dispatch(configured, section, option, value):
    file = configured(_in(section, RECORDER, f"{option} = {value}\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == (section, option, value)
    assert problem.cause


@pytest.mark.parametrize("what", [RECORDER, UPSTREAM])
def test_durable_is_for_hooks_that_deliver_events(configured, what):
    file = configured(section_with([what], "hook_dispatch = durable\n"))
    (problem,) = problems_in(file)
    assert problem[:3] == ("alpha", "hook_dispatch", "durable")
    cls = what.rpartition(":")[2]
    assert problem.cause == f"{cls} delivers no events"


class Delivering(recording.Recorder):
    dispatches = ("inline", "durable")


def test_a_class_says_how_it_can_be_run(configured):
    entry = f"{__name__}:Delivering"
    woven_in(configured(section_with([entry], "hook_dispatch = durable\n")))
    file = configured(section_with([entry], "hook_dispatch = background\n"))
    (problem,) = advised_in(file)
    assert problem[:3] == ("alpha", "hook_dispatch", "background")
    assert problem.advice == "write inline or durable"


def test_so_it_is_after_an_edit(configured):
    entry = f"{__name__}:Delivering"
    text = section_with([entry], f"hook_dispatch = durable\n{ON}")
    file = configured(text)
    woven = woven_in(file)
    file.mutate(text.replace("enable_post_hooks = True", ""))
    assert acted(woven) == [["pre"]]


def test_a_wrong_dispatch_is_told_beside_what_the_constructor_refuses(configured):
    entry = "tests.support.entries.recording:Choosy"
    file = configured(section_with([entry], "[alpha:a]\nhook_dispatch = durable\n"))
    told = problems_in(file)
    assert [each[:2] for each in told] == [
        ("alpha:a", "hook_dispatch"),
        ("alpha", "hook_drivers"),
    ]


def test_dispatch_without_its_library(configured, monkeypatch):
    monkeypatch.setitem(sys.modules, "futurist", None)
    file = configured(section_with([RECORDER], "hook_dispatch = background\n"))
    (problem,) = advised_in(file)
    assert "futurist" in problem.cause
    assert problem.advice == "pip install 'manila-aspects[background]'"
    # Nobody else needs it.
    woven_in(configured(section_with([RECORDER], ON)))

# SPDX-License-Identifier: Apache-2.0
"""Helpers of the configuration tests."""

import os
import sys
from typing import NamedTuple

import pytest

import aspects
from tests.support.entries import recording

FIXTURES = recording.__package__
RECORDER = f"{FIXTURES}.recording:Recorder"
UPSTREAM = f"{FIXTURES}.recording:Upstream"
CONTEXT = object()


def woven_in(file, group="alpha", driver=None):
    section = aspects.BackendSection(file.conf, group)
    return aspects.weave_from_config(
        driver or recording.Driver(), section, f"node1@{group}"
    )


def hooks_in(file, group="alpha"):
    # A share manager keeps the woven driver too; one that is freed ends its hot reload.
    file.woven = woven_in(file, group)
    return aspects.weaving(file.woven).hooks


def methods_run(woven):
    """Make a call and return, for each hook, the methods that ran in it."""
    hooks = aspects.weaving(woven).hooks
    for hook in hooks:
        hook.seen = []
    woven.create_share(CONTEXT, {})
    return [[method for method, *_ in hook.seen] for hook in hooks]


ENABLED = "enable_pre_hooks = True\nenable_post_hooks = True\n"
KINDS = pytest.mark.parametrize(
    "entries",
    [
        [RECORDER],
        [UPSTREAM],
        [RECORDER, UPSTREAM],
        [UPSTREAM, RECORDER],
    ],
    ids=lambda entries: "+".join(entry.rpartition(":")[2] for entry in entries),
)


def section_with(entries, options="", section="alpha"):
    """Return the text of a file with hooks a, b, c and with options in one section."""
    drivers = ", ".join(f"{name}={what}" for name, what in zip("abc", entries))
    text = f"[alpha]\nhook_drivers = {drivers}\n"
    return f"{text}{options}" if section == "alpha" else f"[{section}]\n{options}{text}"


def seen_at_each_line(file, woven, text):
    """Return the methods that run in a call at each line of code of a reload."""
    package = os.path.dirname(aspects.__file__)
    seen = []

    def at_each_line(frame, event, arg):
        if not frame.f_code.co_filename.startswith(package):
            return None
        seen.append(methods_run(woven))
        return at_each_line

    # The calls stand in for those of other threads, which may come at any moment of a
    # reload: each has the old chain or the new one, never a mixture.
    file.write(text)
    before = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        file.conf.mutate_config_files()
    finally:
        sys.settrace(before)
    seen.append(methods_run(woven))
    return seen


def text_with(section, what, options):
    """Return the text of a file with one hook and with options in one section."""
    text = section_with([what], options if section == "alpha" else "")
    return text if section == "alpha" else f"{text}[{section}]\n{options}"


class WithoutAdvice(NamedTuple):
    """A problem without its advice, for tests of the other fields."""

    section: str
    option: str
    value: str
    cause: str


def problems_in(file, group="alpha"):
    """Return the problems of a section, without their advice."""
    return tuple(
        WithoutAdvice(*problem[:4]) for problem in full_problems_in(file, group)
    )


def full_problems_in(file, group="alpha"):
    """Return the problems of a section; there has to be at least one."""
    driver = recording.Driver()
    with pytest.raises(aspects.HookConfigError) as caught:
        woven_in(file, group, driver)
    problems = caught.value.problems
    assert str(caught.value).split("\n") == [
        f"[{problem.section}] {problem.option}"
        + (f" = {problem.value}" if problem.value else "")
        + f": {problem.cause}"
        + (f"; {problem.advice}" if problem.advice else "")
        for problem in problems
    ], "one line for each problem"
    for problem in problems:
        assert problem == (
            problem.section,
            problem.option,
            problem.value,
            problem.cause,
            problem.advice,
        )
    return problems

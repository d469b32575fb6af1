# SPDX-License-Identifier: Apache-2.0
"""What several tests of the configuration use."""

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
    # As a share manager keeps it: what is not there any more follows no file.
    file.woven = woven_in(file, group)
    return aspects.weaving(file.woven).hooks


def acted(woven):
    """Make a call; return which actions of which hook took part in it."""
    hooks = aspects.weaving(woven).hooks
    for hook in hooks:
        hook.seen = []
    woven.create_share(CONTEXT, {})
    return [[action for action, *_ in hook.seen] for hook in hooks]


ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"
KINDS = pytest.mark.parametrize(
    "entries",
    [
        [RECORDER],
        [UPSTREAM],
        [RECORDER, UPSTREAM],
        [UPSTREAM, RECORDER],
    ],
    ids=lambda entries: "+".join(each.rpartition(":")[2] for each in entries),
)


def section_with(entries, options="", section="alpha"):
    """Return the text of a file whose options are in one of the sections."""
    named = ", ".join(f"{name}={what}" for name, what in zip("abc", entries))
    text = f"[alpha]\nhook_drivers = {named}\n"
    return f"{text}{options}" if section == "alpha" else f"[{section}]\n{options}{text}"


def seen_at_each_line(file, woven, text):
    """Return who acts in a call of each moment while the chain follows the file."""
    package = os.path.dirname(aspects.__file__)
    seen = []

    def at_each_line(frame, event, arg):
        if not frame.f_code.co_filename.startswith(package):
            return None
        seen.append(acted(woven))
        return at_each_line

    # Whenever another thread's call comes while the chain follows the file, it
    # has the one chain or the other, never something between.
    file.write(text)
    before = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        file.conf.mutate_config_files()
    finally:
        sys.settrace(before)
    seen.append(acted(woven))
    return seen


def _in(section, what, options):
    text = section_with([what], options if section == "alpha" else "")
    return text if section == "alpha" else f"{text}[{section}]\n{options}"


class Told(NamedTuple):
    """A problem without the advice, which has tests of its own."""

    section: str
    option: str
    value: str
    cause: str


def problems_in(file, group="alpha"):
    return tuple(Told(*problem[:4]) for problem in advised_in(file, group))


def advised_in(file, group="alpha"):
    driver = recording.Driver()
    with pytest.raises(aspects.HookConfigError) as caught:
        woven_in(file, group, driver)
    problems = caught.value.problems
    assert str(caught.value).split("\n") == [
        f"[{problem.section}] {problem.option} = {problem.value}: {problem.cause}"
        + (f": {problem.advice}" if problem.advice else "")
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

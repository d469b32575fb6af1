# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of rules in a file."""

import textwrap

import aspects
from aspects.testing import FakeDriver, make_hook
from hooks.guard import GuardHook


def written(directory, text):
    """Write a file of rules, and return its path."""
    path = directory / "rules.yaml"
    path.write_text(textwrap.dedent(text), "utf-8")
    return str(path)


def one_rule(when, operations="['*']", reason="no", **more):
    """Return the text of a file with one rule."""
    lines = [
        "- name: rule",
        f"  operations: {operations}",
        f"  when: '{when}'",
        f"  reason: '{reason}'",
        *(f"  {key}: {value}" for key, value in more.items()),
    ]
    return "\n".join(lines)


def guarded(directory, text, **options):
    """Return a driver whose guard has the rules of a file."""
    path = written(directory, text)
    hook = make_hook(GuardHook, name="guard", guard_rules_file=path, **options)
    return aspects.weave(FakeDriver(), [hook], backend="alpha")


def mistakes_in(directory, text):
    """Return what a configuration with a file of rules is rejected for."""
    try:
        guarded(directory, text)
    except aspects.HookConfigError as error:
        (problem,) = error.problems
        assert problem.option == "guard_rules_file"
        assert problem.value == str(directory / "rules.yaml")
        return problem.cause
    return None

# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of the audit hook."""

import json

import pytest

import aspects
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}


class NextHook(aspects.HookBase):
    """A hook after the audit hook that raises an error in one of its methods."""

    def __init__(self, fails_in, error, suppress=False):
        self.fails_in = fails_in
        self.error = error
        self.pre_hooks_enabled = self.post_hooks_enabled = True
        self.suppress_pre_hooks_errors = self.suppress_post_hooks_errors = suppress

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        if self.fails_in == "pre":
            raise self.error

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        if self.fails_in == "post":
            raise self.error

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        pass


def warning(text):
    """Return a hook whose vetoes are not enforced."""
    hook = Recorder("freeze", pre=aspects.Veto(text))
    hook.hook_enforcement = "warn"
    return hook


def lines_in(path):
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def problem_of(tmp_path, line):
    """Return the only problem of an audit hook with a wrong option."""
    text = f"[alpha]\nhook_drivers = log=audit\n{line}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(BusyDriver(), section, "node1@alpha")
    (problem,) = caught.value.problems
    assert problem.section == "alpha"
    assert problem.value
    return problem


ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"

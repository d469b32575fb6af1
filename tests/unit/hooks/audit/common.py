# SPDX-License-Identifier: Apache-2.0
"""What several tests of the audit hook use."""

import json

import pytest

import aspects
from tests.support.config import ConfigFile

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}


class Driver:
    def __init__(self, fails=None, during=lambda: None):
        self.fails = fails
        self.during = during

    def _do(self):
        self.during()
        if self.fails:
            raise self.fails

    def create_share(self, context, share, share_server=None):
        self._do()

    def create_share_from_snapshot(self, context, share, snapshot, share_server=None):
        self._do()

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        self._do()

    def create_replica(self, context, replica_list, new_replica, access_rules):
        self._do()

    def get_share_stats(self, refresh=False):
        self._do()

    def teardown_server(self, server_details, security_services=None):
        self._do()


class Next(aspects.HookBase):
    """A hook after the audit hook that fails where it is told to."""

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


def lines_in(path):
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def wrong(tmp_path, line):
    text = f"[alpha]\nhook_drivers = log=audit\n{line}\n"
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(Driver(), section, "node1@alpha")
    (problem,) = caught.value.problems
    assert problem.section == "alpha"
    assert problem.value
    return problem


ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"

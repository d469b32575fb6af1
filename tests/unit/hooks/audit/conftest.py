# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the audit hook."""

import pytest
from oslo_context import context as oslo_context

import aspects
from hooks import audit
from tests.support.clock import Clock
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.threads import run_in_thread

from .common import SECRET


@pytest.fixture
def context():
    return run_in_thread(
        oslo_context.RequestContext,
        user_id="u1",
        project_id="p1",
        request_id="req-1",
        auth_token=SECRET,
    )


@pytest.fixture
def clock(monkeypatch):
    """The clock of the durations in the lines."""
    clock = Clock()
    monkeypatch.setattr("hooks.audit.time", clock)
    monkeypatch.setattr("hooks.audit.file.time", clock)
    monkeypatch.setattr("hooks.events.hook.time", clock)
    return clock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
def configured(tmp_path, path):
    def write(options="enable_pre_hooks = True\nenable_post_hooks = True\n"):
        text = f"[alpha]\nhook_drivers = audit\naudit_log_path = {path}\n{options}"
        return ConfigFile(tmp_path / "service.conf", text)

    return write


@pytest.fixture
def woven(configured):
    """Return a function that weaves a driver with the audit hook and other hooks."""

    def weave(driver=None, *others, file=None):
        section = aspects.BackendSection((file or configured()).conf, "alpha")
        host = "node1@alpha"
        hook = audit.AuditHook(section, host)
        return aspects.weave(driver or BusyDriver(), [hook, *others], "alpha", host)

    return weave

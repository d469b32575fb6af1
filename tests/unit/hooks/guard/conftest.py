# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the guard hook."""

import pytest
from oslo_context import context as oslo_context

import aspects
from aspects.testing import FakeDriver
from tests.support.config import ConfigFile
from tests.support.threads import run_in_thread


@pytest.fixture
def context():
    return run_in_thread(oslo_context.RequestContext, user_id="u1", project_id="p1")


@pytest.fixture
def admin_context():
    """Return the context of what Manila does by itself."""
    return run_in_thread(oslo_context.RequestContext, is_admin=True)


@pytest.fixture
def configured(tmp_path):
    def write(*options):
        lines = ["[alpha]", "hook_drivers = guard", "enable_pre_hooks = True"]
        return ConfigFile(tmp_path / "service.conf", "\n".join([*lines, *options]))

    return write


@pytest.fixture
def woven(configured):
    def weave(*options, driver=None):
        section = aspects.BackendSection(configured(*options).conf, "alpha")
        driver = driver or FakeDriver()
        return aspects.weave_from_config(driver, section, "node1@alpha")

    return weave

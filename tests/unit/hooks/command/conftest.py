# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the command hook."""

import pytest
from oslo_context import context as oslo_context

import aspects
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.threads import run_in_thread

from .common import ALL, SECRET


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
def program(tmp_path):
    """Return a function that writes a program and returns its path."""

    def write(text, name="program", start="#!/bin/sh\n"):
        path = tmp_path / name
        path.write_text(start + text)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def woven(tmp_path):
    """Return a function that weaves a driver with the hook.

    Its ``_self_file`` is the configuration file.
    """

    def weave(path, options="", driver=None, switches=ALL):
        text = f"[alpha]\nhook_drivers = own=command\ncommand = {path}\n"
        text += switches.replace("    ", "") + options
        file = ConfigFile(tmp_path / "service.conf", text)
        section = aspects.BackendSection(file.conf, "alpha")
        woven = aspects.weave_from_config(
            driver or BusyDriver(), section, "node1@alpha"
        )
        woven._self_file = file
        return woven

    return weave

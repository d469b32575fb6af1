# SPDX-License-Identifier: Apache-2.0
"""A driver and hooks for test_stop, which record in a file how they are used."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from manila.tests.share.drivers import dummy

import aspects

#: Environment variable with the directory of the test.
DIRECTORY = "TEST_STOP_DIRECTORY"


def record(configuration: Any, event: str, number: int | None = None) -> None:
    """Append a JSON line to the file ``events``.

    :param configuration: options of the hook or the driver
    :param event: name of the event
    :param number: number of the call of a hook method
    """
    backend = configuration.config_group or "DEFAULT"
    line = json.dumps([backend, event, number, os.getpid()]).encode() + b"\n"
    path = Path(os.environ[DIRECTORY], "events")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


class Driver(dummy.DummyDriver):  # type: ignore[misc]
    """Blocks in ``get_share_stats`` while the file ``hold`` exists."""

    def do_setup(self, context):
        record(self.configuration, "do_setup")
        super().do_setup(context)

    def get_share_stats(self, refresh=False):
        hold = Path(os.environ[DIRECTORY], "hold")
        if hold.exists():
            record(self.configuration, "get_share_stats")
        while hold.exists():
            time.sleep(0.01)
        return super().get_share_stats(refresh)


class Broken(aspects.HookBase):
    """Fails to start."""

    def start(self):
        raise OSError("the receiver does not answer")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """Do nothing."""

    _execute_post_hook = _execute_periodic_hook = _execute_pre_hook


class Slow(aspects.HookBase):
    """Blocks in its post methods until the file ``go`` exists."""

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        self.calls = 0
        record(configuration, "construct")

    def start(self):
        record(self.configuration, "start")

    def stop(self):
        record(self.configuration, "stop")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.calls += 1
        record(self.configuration, "pre", self.calls)
        return self.calls

    def _execute_post_hook(self, context, func_name, pre_hook_data, *args, **kwargs):
        while not Path(os.environ[DIRECTORY], "go").exists():
            time.sleep(0.01)
        record(self.configuration, "post", pre_hook_data)

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        """Do nothing."""

# SPDX-License-Identifier: Apache-2.0
"""A driver and hooks that tell in a file what happens to them, for test_stop."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from manila.tests.share.drivers import dummy

import aspects

#: The environment's name for the directory of the test.
DIRECTORY = "TEST_STOP_DIRECTORY"


def tell(configuration: Any, what: str, number: int | None = None) -> None:
    """Write down what happens, in which process."""
    backend = configuration.config_group or "DEFAULT"
    line = json.dumps([backend, what, number, os.getpid()]).encode() + b"\n"
    path = Path(os.environ[DIRECTORY], "told")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


class Driver(dummy.DummyDriver):  # type: ignore[misc]
    def do_setup(self, context):
        tell(self.configuration, "do_setup")
        super().do_setup(context)

    def get_share_stats(self, refresh=False):
        hold = Path(os.environ[DIRECTORY], "hold")
        if hold.exists():
            tell(self.configuration, "held")
        while hold.exists():
            time.sleep(0.01)
        return super().get_share_stats(refresh)


class Broken(aspects.HookBase):
    def start(self):
        raise OSError("nobody answers")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """Nothing to do."""

    _execute_post_hook = _execute_periodic_hook = _execute_pre_hook


class Slow(aspects.HookBase):
    """Its endings wait until a file is there."""

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        self.calls = 0
        tell(configuration, "made")

    def start(self):
        tell(self.configuration, "start")

    def stop(self):
        tell(self.configuration, "stop")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.calls += 1
        tell(self.configuration, "call", self.calls)
        return self.calls

    def _execute_post_hook(self, context, func_name, pre_hook_data, *args, **kwargs):
        while not Path(os.environ[DIRECTORY], "go").exists():
            time.sleep(0.01)
        tell(self.configuration, "did", pre_hook_data)

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        """Nothing to do."""

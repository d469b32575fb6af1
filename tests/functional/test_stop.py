# SPDX-License-Identifier: Apache-2.0
"""Hooks start and stop with the processes of a real ``manila-share``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import parts

# A service that does not stop is to be seen.
pytestmark = pytest.mark.timeout(180)

#: The backend sections, each of which has a process of its own.
#:
#: With ``enabled_share_backends`` and eventlet Manila 23 itself does not stop: a
#: thread of its lock coordinator is begun before the fork, and waited for after it.
#: Without, it has one backend, and no lock coordinator to stop.
THREADS, EVENTLET = ("alpha", "beta"), ("DEFAULT",)

CONFIG = """
[DEFAULT]
transport_url = fake:/
state_path = {folder}
log_file = {folder}/manila.log
use_stderr = False
host = node1
share_manager = aspects.manila.ShareManager
# The driver is asked for its capabilities each second.
periodic_interval = 1
periodic_fuzzy_delay = 0

[database]
connection = sqlite:///{folder}/manila.sqlite

[oslo_concurrency]
lock_path = {folder}

[coordination]
backend_url = file://{folder}
"""

BACKEND = """
[{backend}]
share_driver = manila_share_parts.Driver
driver_handles_share_servers = False
dummy_driver_default_driver_method_delay = 0
dummy_driver_driver_methods_delays =
hook_drivers = broken=manila_share_parts:Broken, slow=manila_share_parts:Slow
enable_pre_hooks = True
enable_post_hooks = True

[{backend}:slow]
hook_dispatch = background
"""

#: The driver and the hooks, which tell what happens to them in a file.
PARTS = '''
import json
import os
import pathlib
import time

from manila.tests.share.drivers import dummy

import aspects

HERE = pathlib.Path(__file__).parent


def tell(backend, what, number=None):
    line = json.dumps([backend, what, number, os.getpid()]).encode() + b"\\n"
    file = os.open(HERE / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)


class Driver(dummy.DummyDriver):
    def do_setup(self, context):
        tell(self.configuration.config_group or "DEFAULT", "do_setup")
        super().do_setup(context)


class Broken(aspects.HookBase):
    def start(self):
        raise OSError("nobody answers")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        """Nothing to do."""

    _execute_post_hook = _execute_periodic_hook = _execute_pre_hook


class Slow(aspects.HookBase):
    """Its endings wait in its queue until a file is there."""

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        self.backend = configuration.config_group or "DEFAULT"
        self.calls = 0
        tell(self.backend, "made")

    def start(self):
        tell(self.backend, "start")

    def stop(self):
        tell(self.backend, "stop")

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        self.calls += 1
        tell(self.backend, "call", self.calls)
        return self.calls

    def _execute_post_hook(self, context, func_name, pre_hook_data, *args, **kwargs):
        while not (HERE / "go").exists():
            time.sleep(0.01)
        tell(self.backend, "did", pre_hook_data)

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        """Nothing to do."""
'''

DATABASE = """
import sys
from oslo_config import cfg
from manila.common import config
from manila.db import migration
from manila.db.sqlalchemy import api, models

cfg.CONF(["--config-file", sys.argv[1]], project="manila", default_config_dirs=[])
models.BASE.metadata.create_all(api.get_engine())
migration.stamp("head")
"""


class Service:
    """A real ``manila-share``, with all that it has in one folder.

    :param folder: the folder
    :param eventlet: whether it runs on eventlet, and not on native threads
    :param options: of each backend, beside those above
    """

    def __init__(self, folder: Path, eventlet: bool, **options: Any) -> None:
        self.folder = folder
        self.backends = EVENTLET if eventlet else THREADS
        (folder / "manila_share_parts.py").write_text(PARTS, "utf-8")
        config = folder / "manila.conf"
        text = CONFIG.format(folder=folder)
        if not eventlet:
            text += f"[DEFAULT]\nenabled_share_backends = {', '.join(THREADS)}\n"
        for backend in self.backends:
            more = "".join(f"{key} = {value}\n" for key, value in options.items())
            text += BACKEND.format(backend=backend) + more
        config.write_text(text, "utf-8")
        env = {
            **os.environ,
            "OS_MANILA_DISABLE_EVENTLET_PATCHING": str(not eventlet),
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
            "PYTHONWARNINGS": "ignore",
        }
        subprocess.run([sys.executable, "-c", DATABASE, config], env=env, check=True)
        command = Path(sys.executable).with_name("manila-share")
        self.program = parts.Program(
            [str(command), "--config-file", str(config)], folder / "output", env
        )

    def told(self, what: str, backend: str = "") -> list[tuple[Any, int]]:
        """Return the numbers and processes that were told of something, in order."""
        path = self.folder / "told"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [
            (number, process)
            for each, told, number, process in map(json.loads, lines)
            if told == what and backend in ("", each)
        ]

    def log(self) -> list[str]:
        """Return the lines of the service's log."""
        return (self.folder / "manila.log").read_text("utf-8").splitlines()

    def go(self) -> None:
        """Have the slow actions go on."""
        (self.folder / "go").touch()


@pytest.fixture(params=[False, True], ids=["threads", "eventlet"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return what starts a service whose queues have filled up a little."""
    services: list[Service] = []

    def start(**options: Any) -> Service:
        service = Service(tmp_path, request.param, **options)
        services.append(service)
        for backend in service.backends:
            parts.wait_for(
                lambda backend=backend: len(service.told("call", backend)) >= 3,
                f"calls of {backend}",
                timeout=60,
            )
        assert service.told("did") == []
        return service

    yield start
    for service in services:
        service.program.kill()


Started = Callable[..., Service]


def test_hooks_run_from_the_start_of_a_process_to_its_end(started: Started) -> None:
    service = started()
    parent = service.program.process.pid
    service.program.process.terminate()
    # The actions go on only when the service is stopping for sure.
    parts.wait_for(
        lambda: any("Caught SIGTERM" in line for line in service.log()),
        "the service is told to stop",
    )
    service.go()
    assert service.program.process.wait(60) == 0

    processes = set()
    for backend in service.backends:
        calls = service.told("call", backend)
        assert service.told("did", backend) == calls
        (process,) = {process for _, process in calls}
        assert process != parent
        processes.add(process)
        for what in ("start", "do_setup", "stop"):
            assert service.told(what, backend) == [(None, process)]
        # Made in the process that forks, started in the one that runs the driver.
        assert service.told("made", backend) == [(None, parent)]
    assert len(processes) == len(service.backends)
    lines = (service.folder / "told").read_text("utf-8").splitlines()
    for backend in service.backends:
        order = [what for each, what, *_ in map(json.loads, lines) if each == backend]
        assert order[:4] == ["made", "start", "call", "do_setup"]
        assert order[-1] == "stop"
    assert not [line for line in service.log() if "Dropped" in line]


def test_a_service_that_stops_waits_so_long_and_no_longer(started: Started) -> None:
    service = started(hook_drain_timeout=1)
    service.program.process.terminate()
    service.program.process.wait(40)
    assert service.told("did") == []
    dropped = [line for line in service.log() if "Dropped" in line]
    assert len(dropped) == len(service.backends)
    for backend in service.backends:
        (line,) = (line for line in dropped if f"slow of {backend}" in line)
        count = int(line.partition("Dropped ")[2].split()[0])
        assert count == len(service.told("call", backend))
        assert len(service.told("stop", backend)) == 1


def test_a_hook_that_cannot_start_is_one_line_and_the_service_runs(
    started: Started,
) -> None:
    service = started()
    service.go()
    service.program.stop(60)
    for backend in service.backends:
        assert len(service.told("do_setup", backend)) == 1
        lines = [line for line in service.log() if "Hook broken" in line]
        section = None if backend == "DEFAULT" else backend
        (line,) = (line for line in lines if f"backend {section} " in line)
        assert " ERROR " in line
        assert "did not start: OSError: nobody answers" in line
    assert not [line for line in service.log() if "Traceback" in line]

# SPDX-License-Identifier: Apache-2.0
"""A misconfigured hook ends ``manila-share`` with one line for each problem."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFIG = """
[DEFAULT]
transport_url = fake:/
state_path = {directory}
log_file = {directory}/manila.log
use_stderr = False
enabled_share_backends = alpha
share_manager = aspects.manila.ShareManager

[database]
connection = sqlite:///{directory}/manila.sqlite

[alpha]
share_driver = manila.tests.share.drivers.dummy.DummyDriver
driver_handles_share_servers = False
dummy_driver_driver_methods_delays =
hook_drivers = no.such:Hook, audit
enable_pre_hooks = ture
audit_log_path = {directory}/audit.log
"""

PROBLEMS = [
    "[alpha] hook_drivers = no.such:Hook: no module named 'no'; install it in the "
    f"Python of {sys.prefix}",
    "[alpha] enable_pre_hooks = ture: Unexpected boolean value 'ture'",
]


def test_a_misconfigured_hook_ends_the_service_without_a_traceback(
    tmp_path: Path,
) -> None:
    config = tmp_path / "manila.conf"
    config.write_text(CONFIG.format(directory=tmp_path))
    command = shutil.which("manila-share", path=str(Path(sys.executable).parent))
    assert command is not None

    done = subprocess.run(
        [command, "--config-file", str(config)],
        env={**os.environ, "OS_MANILA_DISABLE_EVENTLET_PATCHING": "True"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == PROBLEMS
    log = (tmp_path / "manila.log").read_text()
    assert [line.rpartition("] [alpha]")[2] for line in log.splitlines()][-2:] == [
        problem.removeprefix("[alpha]") for problem in PROBLEMS
    ]
    for text in (done.stderr, log):
        assert "Traceback" not in text

# SPDX-License-Identifier: Apache-2.0
"""The share API of Manila, in the process that answers requests and in others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("manila")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[3]

SCRIPT = """
import os, sys
os.environ["OS_MANILA_DISABLE_EVENTLET_PATCHING"] = "True"
from manila.common import config
config.CONF(["--config-file", {file!r}], project="manila", default_config_dirs=[])
from manila import rpc
rpc.init(config.CONF)
{script}
"""

CONFIGURATION = """
[DEFAULT]
host = node1
transport_url = fake:/
share_api_class = aspects.manila.ShareAPI

[share_api]
hook_drivers = audit
audit_log_path = {directory}/audit.log
enable_pre_hooks = True
"""


def run(script: str, tmp_path: Path, configuration: str = CONFIGURATION) -> None:
    """Run a script after Manila's configuration was read.

    :param script: Python code that asserts something
    :param tmp_path: a directory for the configuration
    :param configuration: the text of ``manila.conf``
    """
    file = tmp_path / "manila.conf"
    file.write_text(configuration.format(directory=tmp_path), "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c"),
            SCRIPT.format(file=str(file), script=script),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_process_gets_the_object_of_manila(tmp_path: Path) -> None:
    run(
        """
from manila import share
from manila.share import api
import aspects
assert share.API is aspects.manila.ShareAPI
assert issubclass(share.API, api.API)
assert type(share.API()) is api.API
# Loading the class imports neither the share manager nor the API.
assert "manila.share.manager" not in sys.modules
assert "aspects.manila.manager" not in sys.modules
assert "manila.api.v2.router" not in sys.modules
""",
        tmp_path,
    )


def test_the_share_manager_imports_the_class_in_the_middle_of_its_own_import(
    tmp_path: Path,
) -> None:
    run(
        """
from oslo_utils import importutils
manager = importutils.import_class("aspects.manila.ShareManager")
from manila import share
from manila.share import api
assert type(share.API()) is api.API
""",
        tmp_path,
    )


def test_the_process_of_the_api_gets_one_woven_object(tmp_path: Path) -> None:
    run(
        """
from manila.api.v2 import router
from manila import share
from manila.share import api
import aspects
first, second = share.API(), share.API()
assert first is second
assert isinstance(first, api.API)
assert type(aspects.unweave(first)) is api.API
weaving = aspects.weaving(first)
assert (weaving.backend, weaving.host) == ("share_api", "node1")
(hook,) = weaving.hooks
assert weaving.operations["delete"] == "delete_share"
assert weaving.operations["delete"].arguments(("share",), {"force": True}) == {
    "share": "share", "force": True
}
assert "manila.share.manager" not in sys.modules
""",
        tmp_path,
    )


def test_a_section_without_hooks_can_get_some_later(tmp_path: Path) -> None:
    without = CONFIGURATION.partition("[share_api]")[0]
    run(
        f"""
from manila.api.v2 import router
from manila import share
import aspects
woven = share.API()
assert aspects.weaving(woven).hooks == ()
assert not hasattr(woven.delete, "_self_chain")
with open({str(tmp_path / "manila.conf")!r}, "w") as file:
    file.write({CONFIGURATION.format(directory=tmp_path)!r})
config.CONF.mutate_config_files()
assert len(aspects.weaving(woven).hooks) == 1
assert hasattr(woven.delete, "_self_chain")
""",
        tmp_path,
        without,
    )

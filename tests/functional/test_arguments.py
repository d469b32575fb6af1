# SPDX-License-Identifier: Apache-2.0
"""The documented arguments and results are those of real calls of Manila.

``tests/data/arguments.json`` has them, and the page is generated from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from manila.share import driver

from aspects.operations import METHODS
from aspects.signatures import SIGNATURES
from tests.support import releases
from tests.support.pages import ROOT

from .arguments import MORE
from .test_operations import TABLE

FILE = ROOT / "tests" / "data" / "arguments.json"

#: The release of Manila that the file is recorded with.
RECORDED = 23

pytestmark = pytest.mark.timeout(1000)


@pytest.fixture(scope="module")
def documented() -> Any:
    return json.loads(FILE.read_text("utf-8"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return what a new Manila passes to hooks, and the file with it."""
    file = tmp_path_factory.mktemp("recorded") / FILE.name
    env = {k: v for k, v in os.environ.items() if k != "PYTEST_XDIST_WORKER"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.functional.arguments", str(file)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text("utf-8")), file


def test_manila_calls_each_operation_that_is_recorded(recorded: Any) -> None:
    called = {METHODS[method] for method in recorded[0]["methods"]}
    # Two operations are update_access with certain rules.
    called |= {"allow_access", "deny_access"}
    more = {name.partition(" ")[0] for name in MORE}
    # Manila 18 does not have these methods.
    for method in (
        "update_share_from_metadata",
        "update_share_network_subnet_from_metadata",
    ):
        if not hasattr(driver.ShareDriver, method):
            more.remove(method)
    assert {*TABLE, *more} <= called


@pytest.mark.skipif(
    releases.MANILA != RECORDED, reason=f"recorded with Manila {RECORDED}"
)
def test_the_documented_arguments_are_those_of_real_calls(
    recorded: Any, documented: Any
) -> None:
    found, file = recorded
    assert documented == found, f"compare {file} with {FILE}, and copy it"
    assert SIGNATURES.keys() == found["methods"].keys() | found["unrecorded"].keys()


def test_each_release_has_the_keys_that_are_documented_as_present(
    recorded: Any, documented: Any
) -> None:
    for kind, keys in documented["keys"].items():
        found = recorded[0]["keys"].get(kind)
        if found:
            assert set(keys["always"]) <= set(found["always"]), kind

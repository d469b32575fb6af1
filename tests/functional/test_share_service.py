# SPDX-License-Identifier: Apache-2.0
"""The helpers of the functional tests recognize the tracebacks of this project."""

from __future__ import annotations

from pathlib import Path

import manila
import pytest

from .share_service import ROOT, project_tracebacks

CHAIN = ROOT / "aspects/core/chain.py"
HOOK = ROOT / "hooks/metrics/__init__.py"
DRIVER = Path(manila.__file__).with_name("share") / "drivers/generic.py"
TEST_DRIVER = ROOT / "tests/functional/stop_parts.py"
LIBRARY = Path(pytest.__file__)


def log_with(*files: Path) -> str:
    """Return a log with one traceback, whose frames are in these files."""
    prefix = "2026-01-01 00:00:00.000 42 ERROR manila.share.manager "
    lines = [f'  File "{file}", line 7, in method' for file in files]
    lines = ["Traceback (most recent call last):", *lines, "OSError: the array is busy"]
    return "".join(
        f"{prefix}{line}\n" for line in ["Failed to extend", *lines, "Retrying"]
    )


@pytest.mark.parametrize(
    "files",
    [
        [DRIVER, CHAIN],
        [DRIVER, CHAIN, HOOK],
        [DRIVER, CHAIN, HOOK, LIBRARY],
        [DRIVER, CHAIN, LIBRARY],
        # A thread of a hook.
        [LIBRARY, HOOK, LIBRARY],
    ],
)
def test_an_error_of_the_chain_or_a_hook_is_a_traceback_of_the_project(
    files: list[Path],
) -> None:
    (found,) = project_tracebacks(log_with(LIBRARY) + log_with(*files))
    assert f'File "{files[-1]}"' in found


@pytest.mark.parametrize(
    "files",
    [
        [],
        [LIBRARY],
        [LIBRARY, DRIVER, CHAIN, DRIVER],
        [CHAIN, HOOK, CHAIN, DRIVER],
        [CHAIN, HOOK, CHAIN, DRIVER, LIBRARY],
        [CHAIN, HOOK, CHAIN, TEST_DRIVER],
    ],
)
def test_an_error_that_passes_through_the_project_is_not_its_traceback(
    files: list[Path],
) -> None:
    assert project_tracebacks(log_with(*files)) == []

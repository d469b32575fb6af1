# SPDX-License-Identifier: Apache-2.0
"""Differences between the releases of Manila that tests depend on.

It imports nothing of this project, whose locks must not exist before eventlet patches
the process.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys

import pytest

#: The major version of the installed Manila.
MANILA = int(importlib.metadata.version("manila").split(".")[0])

#: Until 21 Manila runs on eventlet alone.
HAS_NATIVE_THREADS = MANILA >= 22

#: Since 20 ``update_access`` has ``update_rules``.
HAS_UPDATE_RULES = MANILA >= 20


def after_fork() -> None:
    """Make eventlet usable in a child process, which Manila until 21 runs on."""
    if not HAS_NATIVE_THREADS:
        from eventlet import hubs

        hubs.use_hub()


def patch_like_manila() -> None:
    """Patch this process with eventlet, as Manila until 21 does.

    :raises pytest.UsageError: in a worker of pytest-xdist, which would hang; or if this
        project was imported, whose locks would not be patched
    """
    if HAS_NATIVE_THREADS:
        return
    if "PYTEST_XDIST_WORKER" in os.environ:
        raise pytest.UsageError(
            "pytest-xdist: hangs with eventlet; run pytest without -n"
        )
    if "aspects" in sys.modules:
        raise pytest.UsageError(
            "aspects: imported before eventlet has patched this process; import it "
            "later, in a fixture"
        )
    import eventlet

    eventlet.monkey_patch()

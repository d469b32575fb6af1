# SPDX-License-Identifier: Apache-2.0
"""Handle the differences between the releases of Manila that the demo runs on.

Each function is for one difference, and names the releases that make it necessary.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import re
import sys
from typing import Any


def release() -> str:
    """Return the version of the installed Manila.

    :raises importlib.metadata.PackageNotFoundError: if Manila is not installed
    """
    return importlib.metadata.version("manila")


def has_native_threads() -> bool:
    """Return whether Manila can run on native threads, as it can since 22."""
    return importlib.util.find_spec("manila.monkey_patch") is not None


# Locks that exist before eventlet patches a process stay native, so the patch is first.
_ON_EVENTLET = """
import sys
if sys.path[0] == "":
    del sys.path[0]
import eventlet
eventlet.monkey_patch()
from aspects.cli import main
sys.exit(main())
"""


def choose_threads() -> None:
    """Choose native threads where Manila has them, and eventlet where it has not.

    Until 21 Manila runs on eventlet alone: the command then replaces its process by one
    that is patched. Later releases read the variable when they are imported.
    """
    if has_native_threads():
        os.environ["OS_MANILA_DISABLE_EVENTLET_PATCHING"] = "True"
        # 22 warns on standard error that native threads are experimental.
        logging.getLogger("manila.monkey_patch").addHandler(logging.NullHandler())
    elif not runs_on_eventlet():
        command = [sys.executable, "-c", _ON_EVENTLET, *sys.argv[1:]]
        os.execv(sys.executable, command)


def runs_on_eventlet() -> bool:
    """Return whether eventlet has patched the threads of this process."""
    if importlib.util.find_spec("eventlet") is None:
        return False
    patcher = importlib.import_module("eventlet.patcher")
    return bool(patcher.is_monkey_patched("thread"))


def has_chosen_threads() -> bool:
    """Return whether Manila's services use the threads that the process has.

    The timers of oslo.service would otherwise wait for an event loop that does not run.
    """
    if not has_native_threads():
        return runs_on_eventlet()
    backend = importlib.import_module("oslo_service.backend")
    return bool(backend.get_backend_type() == backend.BackendType.THREADING)


def has_rules() -> bool:
    """Return whether the guard can read a file of rules, as on Python 3.11 and later.

    Without it, the demo leaves out the steps in which rules decide.
    """
    return sys.version_info >= (3, 11)


def paste_configuration(text: str) -> str:
    """Return ``api-paste.ini`` without version 1 of the API.

    Until 21 Manila serves it, and it has no pipeline for ``noauthv2``.

    :param text: the file that Manila installs
    """
    return re.sub(r"^/v1:.*\n", "", text, flags=re.MULTILINE)


def adjust_server(server: Any) -> None:
    """Make a cheroot server accept requests on eventlet, which Manila until 21 needs.

    Its selector does not notice connections that are added while it waits, so it waits
    for a short time only.

    :param server: the server, before it runs
    """
    if runs_on_eventlet():
        server.expiration_interval = 0.02


def close_pool(manager: Any) -> None:
    """Wait for the thread pool of a share manager, and close it.

    It is a green pool on eventlet, and an executor on native threads.

    :param manager: any manager
    """
    pool: Any = getattr(manager, "_tp", None)
    if hasattr(pool, "shutdown"):
        pool.shutdown(wait=True)
    elif pool is not None:
        pool.waitall()

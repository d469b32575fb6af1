# SPDX-License-Identifier: Apache-2.0
"""Locks that are free in a new child process."""

from __future__ import annotations

import os
import threading


def fork_safe_lock() -> threading.RLock:  # type: ignore[valid-type]
    """Return a reentrant lock that no other thread holds when the process forks.

    A fork waits until the lock is free. Otherwise a child process would inherit a lock
    of a thread that it does not have, and wait for it forever. What the lock guards is
    complete in the child too.

    The lock must last as long as the process, and be held for a short time only.
    """
    lock = threading.RLock()
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )
    return lock

# SPDX-License-Identifier: Apache-2.0
"""Wait for other threads and processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


def wait_for(
    what: Callable[[], Any], text: str, timeout: float = 30.0, pause: float = 0.05
) -> Any:
    """Wait until a condition is true.

    :param what: returns a true value when the condition holds; an error counts as false
    :param text: a description of the condition, for the failure
    :param timeout: seconds
    :param pause: seconds between two calls
    :returns: the true value
    """
    deadline = time.monotonic() + timeout
    last: Any = None
    while time.monotonic() < deadline:
        try:
            if answer := what():
                return answer
            last = answer
        except Exception as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"not in {timeout:g} s: {text} (last: {last!r})")


def wait_for_stops() -> None:
    """Wait until all threads that stop removed hooks have ended."""
    for thread in threading.enumerate():
        if thread.name == "manila-aspects-stop":
            thread.join(30)
            assert not thread.is_alive()

# SPDX-License-Identifier: Apache-2.0
"""A thread of its own for what leaves something behind in its thread."""

from concurrent.futures import ThreadPoolExecutor


def run_in_thread(function, *args, **kwargs):
    """Return what a function returns, or raise what it raises.

    A new request context of oslo.context is at once the current one of its
    thread, and there is no way to take it away again.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result()

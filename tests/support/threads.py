# SPDX-License-Identifier: Apache-2.0
"""Run a function in a thread, for functions that change their thread."""

from concurrent.futures import ThreadPoolExecutor


def run_in_thread(function, *args, **kwargs):
    """Run a function in a new thread, and return its result or raise its error.

    A new request context of oslo.context becomes the current context of its thread,
    and there is no way to remove it.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result()

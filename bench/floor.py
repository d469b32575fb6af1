# SPDX-License-Identifier: Apache-2.0
"""The call protocol written by hand for a fixed number of hooks: the floor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from oslo_context import context as oslo_context

import aspects
from bench.subjects import Driver


class HandWritten:
    """An object with a ``create_share`` that is written by hand."""

    create_share: Callable[..., Any]


def by_hand(driver: Driver, hooks: Sequence[aspects.HookBase]) -> HandWritten:
    """Write the call protocol by hand, for exactly these hooks: the floor.

    It is straight-line code that does what the contract of a hook demands and
    nothing else: no list of hooks, no loop, no switches, no suppression, no proxy.
    It

    * passes the context to the hooks, a new one if the call has none, and the
      caller's other arguments as they were passed, positional as positional;
    * passes the return value of each pre method to the completion of the same hook;
    * looks the driver's method up at each call, and calls it with the caller's
      arguments;
    * uses the results in an ``UpdatedResults`` that a post method returns;
    * counts the completions, and when something raises runs the error methods that
      are owed, in reverse order, logs their errors, and raises the first error again.

    The hook methods are bound beforehand. For two hooks it reads::

        def create_share(context, *args, **kwargs):
            if context is None:
                context = get_current() or get_admin_context()
            begun = completed = 0
            try:
                data_0 = pre_0(context, operation, *args, **kwargs)
                begun = 1
                data_1 = pre_1(context, operation, *args, **kwargs)
                begun = 2
                result = driver.create_share(context, *args, **kwargs)
                completed = 1
                answer = post_0(context, operation, data_0, result, *args, **kwargs)
                if isinstance(answer, UpdatedResults):
                    result = answer.results
                completed = 2
                answer = post_1(context, operation, data_1, result, *args, **kwargs)
                if isinstance(answer, UpdatedResults):
                    result = answer.results
                return result
            except BaseException as error:
                if completed <= 1 < begun:
                    try:
                        error_1(context, operation, data_1, error, *args, **kwargs)
                    except Exception:
                        logger.warning(...)
                if completed <= 0 < begun:
                    ...
                raise

    :param driver: the driver
    :param hooks: the hooks, in order
    """
    namespace: dict[str, Any] = {}
    exec(source_by_hand(len(hooks)), namespace)
    written = HandWritten()
    written.create_share = namespace["make"](
        driver,
        aspects.Operation("create_share_instance", "create_share"),
        oslo_context.get_current,
        oslo_context.get_admin_context,
        aspects.UpdatedResults,
        logging.getLogger(__name__),
        *(hook._execute_pre_hook for hook in hooks),
        *(hook._execute_post_hook for hook in hooks),
        *(hook._execute_error_hook for hook in hooks),
    )
    return written


def source_by_hand(count: int) -> str:
    """Return the source of :func:`by_hand`.

    :param count: the number of hooks
    """
    numbers = range(count)
    lines = [
        "def make(driver, operation, get_current, get_admin_context, UpdatedResults,",
        "         logger,",
        *(
            f"         {', '.join(f'{kind}_{i}' for i in numbers)},"
            for kind in ("pre", "post", "error")
            if count
        ),
        "         ):",
        "    def create_share(context, *args, **kwargs):",
        "        if context is None:",
        "            context = get_current() or get_admin_context()",
        "        begun = completed = 0",
        "        try:",
    ]
    for i in numbers:
        lines += [
            f"            data_{i} = pre_{i}(context, operation, *args, **kwargs)",
            f"            begun = {i + 1}",
        ]
    lines.append("            result = driver.create_share(context, *args, **kwargs)")
    for i in numbers:
        lines += [
            f"            completed = {i + 1}",
            f"            answer = post_{i}(",
            f"                context, operation, data_{i}, result, *args, **kwargs",
            "            )",
            "            if isinstance(answer, UpdatedResults):",
            "                result = answer.results",
        ]
    lines += ["            return result", "        except BaseException as error:"]
    for i in reversed(numbers):
        lines += [
            f"            if completed <= {i} < begun:",
            "                try:",
            f"                    error_{i}(",
            f"                        context, operation, data_{i}, error,",
            "                        *args, **kwargs",
            "                    )",
            "                except Exception as failure:",
            "                    logger.warning('an error method failed: %s', failure)",
        ]
    lines += ["            raise", "    return create_share", ""]
    return "\n".join(lines)

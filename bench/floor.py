# SPDX-License-Identifier: Apache-2.0
"""Pre, call and post written by hand: the floor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from oslo_context import context as oslo_context

import aspects
from bench.subjects import Driver


class HandWritten:
    """What has ``create_share`` written by hand."""

    create_share: Callable[..., Any]


def by_hand(driver: Driver, hooks: Sequence[aspects.HookBase]) -> HandWritten:
    """Write pre, call and post by hand, for exactly these hooks: the floor.

    It is straight-line code that does what the contract of a chain demands and
    nothing else: no list of hooks, no loop, no switch to ask, no suppression,
    no proxy. What it does is

    * give the hooks the context, a new one if there is none, and the caller's
      other arguments as they were passed, positional as positional;
    * pass what each pre action returns on to the ending of the same hook;
    * look the driver's method up at each call, and call it with the caller's
      arguments;
    * look for an ``UpdatedResults`` in what each post action returns;
    * remember how far it came, and when something raises give the hooks which
      are still owed an ending their error action in reverse order, log what
      those raise, and raise the first error again.

    The actions are bound beforehand. For two hooks it reads::

        def create_share(context, *args, **kwargs):
            if context is None:
                context = get_current() or get_admin_context()
            begun = ended = 0
            try:
                data_0 = pre_0(context, operation, *args, **kwargs)
                begun = 1
                data_1 = pre_1(context, operation, *args, **kwargs)
                begun = 2
                result = driver.create_share(context, *args, **kwargs)
                ended = 1
                answer = post_0(context, operation, data_0, result, *args, **kwargs)
                if isinstance(answer, UpdatedResults):
                    result = answer.results
                ended = 2
                answer = post_1(context, operation, data_1, result, *args, **kwargs)
                if isinstance(answer, UpdatedResults):
                    result = answer.results
                return result
            except BaseException as error:
                if ended <= 1 < begun:
                    try:
                        error_1(context, operation, data_1, error, *args, **kwargs)
                    except Exception:
                        logger.warning(...)
                if ended <= 0 < begun:
                    ...
                raise
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
    """Return the source of :func:`by_hand` for so many hooks."""
    numbers = range(count)
    lines = [
        "def make(driver, operation, get_current, get_admin_context, UpdatedResults,",
        "         logger,",
        *(
            f"         {', '.join(f'{action}_{i}' for i in numbers)},"
            for action in ("pre", "post", "error")
            if count
        ),
        "         ):",
        "    def create_share(context, *args, **kwargs):",
        "        if context is None:",
        "            context = get_current() or get_admin_context()",
        "        begun = ended = 0",
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
            f"            ended = {i + 1}",
            f"            answer = post_{i}(",
            f"                context, operation, data_{i}, result, *args, **kwargs",
            "            )",
            "            if isinstance(answer, UpdatedResults):",
            "                result = answer.results",
        ]
    lines += ["            return result", "        except BaseException as error:"]
    for i in reversed(numbers):
        lines += [
            f"            if ended <= {i} < begun:",
            "                try:",
            f"                    error_{i}(",
            f"                        context, operation, data_{i}, error,",
            "                        *args, **kwargs",
            "                    )",
            "                except Exception as failure:",
            "                    logger.warning('an error hook failed: %s', failure)",
        ]
    lines += ["            raise", "    return create_share", ""]
    return "\n".join(lines)

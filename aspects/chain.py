# SPDX-License-Identifier: Apache-2.0
"""The way of one call: pre -> driver -> post | error."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from aspects.hook import (
    ERROR,
    POST,
    PRE,
    Action,
    UpdatedResults,
    fitted,
    log_failure,
    suppressed,
)
from aspects.operations import Operation


def call(
    chain: tuple[Step, ...],
    operation: Operation,
    method: Action,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Make one call of a driver method, with its hooks around it.

    Every step whose pre action came to an end gets exactly one ending: post in
    order when all goes well, else error in reverse order.

    :param chain: the steps, in configured order
    :param operation: what the hooks get as ``func_name``
    :param method: the driver's method
    :param args: the caller's positional arguments
    :param kwargs: the caller's keyword arguments
    :return: the result of the driver, or what a hook put in its place
    :raises BaseException: what the driver, or a hook that is not suppressed,
        raised
    """
    context, given, named = operation.take_context(args, kwargs)
    if operation.by_rules:
        operation = operation.by_rules(given, named)
    data: list[Any] = []
    ended = 0
    try:
        for step in chain:
            try:
                data.append(step.pre and step.pre(context, operation, *given, **named))
            except Exception as error:
                if not suppressed(step.hook, "pre", operation, error):
                    raise
                data.append(error)
        result = method(*args, **kwargs)
        for step in chain:
            ended += 1
            if step.post:
                try:
                    answer = step.post(
                        context, operation, data[ended - 1], result, *given, **named
                    )
                    if isinstance(answer, UpdatedResults):
                        result = answer.results
                except Exception as error:
                    if not suppressed(step.hook, "post", operation, error):
                        raise
        return result
    except BaseException as error:
        owed = list(zip(chain, data))[ended:]
        _fail(owed, context, operation, error, given, named)
        raise
    finally:
        # A suppressed error's traceback holds this frame: without this, the
        # two would keep each other, and the driver, alive.
        del data


def _fail(
    owed: list[tuple[Step, Any]],
    context: Any,
    operation: Operation,
    error: BaseException,
    given: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    """Give the steps that are still owed an ending their error action."""
    while owed:
        step, data = owed.pop()
        if step.error:
            try:
                step.error(context, operation, data, error, *given, **named)
            except Exception as failure:
                log_failure(step.hook, "error", operation, failure)
            except BaseException:
                # Not the hook's error but the thread's end: it goes on, after
                # the others had theirs.
                _fail(owed, context, operation, error, given, named)
                raise


async def call_coroutine(
    chain: tuple[Step, ...],
    operation: Operation,
    method: Action,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Make one call of a coroutine method: the same in two halves.

    The first half has the pre actions and error endings, the second takes each
    step's data as it was and has all the endings; between them the method is
    awaited.
    """
    data: list[Any] = []

    def keep(*given: Any, **named: Any) -> None:
        data.append(given[2])

    def outcome(*given: Any, **named: Any) -> Any:
        if raised:
            raise raised[0]
        return returned[0]

    first = [Step(step.hook, step.pre, keep, step.error) for step in chain]
    call(tuple(first), operation, lambda *given, **named: None, args, kwargs)
    second = [
        Step(step.hook, functools.partial(_first, datum), step.post, step.error)
        for step, datum in zip(chain, data)
    ]
    returned: list[Any] = []
    raised: list[BaseException] = []
    try:
        returned.append(await method(*args, **kwargs))
    except BaseException as error:
        raised.append(error)
    try:
        return call(tuple(second), operation, outcome, args, kwargs)
    finally:
        # As in call(): the error's traceback holds this frame.
        raised.clear()
        data.clear()


def _first(value: Any, *given: Any, **named: Any) -> Any:
    return value


class Step:
    """What one hook does in a chain; an action that is off is None.

    :param hook: the hook
    :param pre: its pre action
    :param post: its post action
    :param error: its error action
    """

    __slots__ = ("error", "hook", "post", "pre")

    def __init__(
        self,
        hook: object,
        pre: Action | None,
        post: Action | None,
        error: Action | None,
    ) -> None:
        self.hook = hook
        self.pre = pre
        self.post = post
        self.error = error


def steps_of(hooks: Iterable[Any]) -> tuple[Step, ...]:
    """Make a chain of the actions that are on now.

    :param hooks: the hooks, in configured order
    :return: a step for each hook with an action that is on
    """
    steps = []
    for hook in hooks:
        pre = hook.pre_hooks_enabled and fitted(hook._execute_pre_hook, PRE)
        post = error = None
        if hook.post_hooks_enabled:
            post = fitted(hook._execute_post_hook, POST)
            # Upstream's hooks have no error action.
            if action := getattr(hook, "_execute_error_hook", None):
                error = fitted(action, ERROR)
        if pre or post or error:
            steps.append(Step(hook, pre or None, post, error))
    return tuple(steps)

# SPDX-License-Identifier: Apache-2.0
"""The way of one call: pre -> driver -> post | error."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from aspects.hook import UpdatedResults, log_failure, suppressed
from aspects.operations import Operation

Action = Callable[..., Any]


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
        pre = hook.pre_hooks_enabled and as_positional(hook._execute_pre_hook, PRE)
        post = error = None
        if hook.post_hooks_enabled:
            post = as_positional(hook._execute_post_hook, POST)
            # Upstream's hooks have no error action.
            if action := getattr(hook, "_execute_error_hook", None):
                error = as_positional(action, ERROR)
        if pre or post or error:
            steps.append(Step(hook, pre or None, post, error))
    return tuple(steps)


PRE = ("context", "func_name")
POST = ("context", "func_name", "pre_hook_data", "driver_action_results")
ERROR = ("context", "func_name", "pre_hook_data", "error")
PERIODIC = ("context", "periodic_hook_data")


def as_positional(action: Action, names: tuple[str, ...]) -> Action:
    """Return the action, ready to take what the chain passes by position.

    Manila passes the protocol's own arguments by keyword, so a hook that was
    written for it may have them in another order, or keyword-only.

    :param action: a bound action of a hook
    :param names: the protocol's arguments of that action, in order
    :return: the action itself, unless it needs that
    """
    function = getattr(action, "__func__", action)
    order = _order(function, names)
    if order is None:
        return action
    first, by_name = order

    def reordered(*args: Any, **kwargs: Any) -> Any:
        return action(
            *(args[i] for i in first),
            *args[len(names) :],
            **{names[i]: args[i] for i in by_name},
            **kwargs,
        )

    return reordered


@functools.lru_cache(maxsize=1024)
def _order(
    function: Action, names: tuple[str, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    declared = {parameter.name: parameter.kind for parameter in parameters}
    first = tuple(
        names.index(name)
        for name, kind in declared.items()
        if name in names and kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    )
    by_name = tuple(
        i
        for i, name in enumerate(names)
        if declared.get(name) is inspect.Parameter.KEYWORD_ONLY
    )
    if not by_name and first == tuple(sorted(first)):
        return None
    return first, by_name

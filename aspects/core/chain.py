# SPDX-License-Identifier: Apache-2.0
"""The call protocol: pre methods, the driver, then post or error methods."""

from __future__ import annotations

from typing import Any, Protocol

from aspects.core.breaker import record_failure
from aspects.core.observe import observed
from aspects.core.snapshot import Snapshot
from aspects.core.step import Step
from aspects.hook import Method, Observed, UpdatedArguments, UpdatedResults
from aspects.operations import Operation, is_coroutine

Owed = list[tuple[Step, Any]]

# With [1:], Python would make a new slice at each call.
REST = slice(1, None)


class Enterable(Protocol):
    """A chain, as a call uses it."""

    def enter(self) -> Snapshot:
        """Enter the current snapshot, which the caller has to leave."""


def around(chain: Enterable, operation: Operation, method: Method) -> Method:
    """Put a chain of hooks around a driver method.

    A hook whose turn comes before the driver is *owed* one completion: its post
    method, in order, if all goes well; else its error method, in reverse order.

    :param chain: the hooks
    :param operation: the operation, as hooks get it in ``func_name``
    :param method: the driver method; a coroutine function is awaited
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        # The second way is for all calls; the first is for nearly all, and faster.
        if operation.plain and args and args[0] is not None:
            name, context, given, named = operation, args[0], args[REST], kwargs
        else:
            name, context, given, named = operation.of_call(args, kwargs)
        owed: Owed = []
        snapshot = chain.enter()
        try:
            plan = snapshot.plans[name]
            call = (context, name) + given
            for step in plan.steps:
                if step.skips and step.skips():
                    continue
                try:
                    data = step.pre(*call, **named)
                    if data is not None and issubclass(type(data), UpdatedArguments):
                        args, kwargs = name.with_changes(args, kwargs, data.changes)
                        _, _, given, named = operation.of_call(args, kwargs)
                        call = (context, name) + given
                        data = data.pre_hook_data
                    owed.append((step, data))
                except Exception as error:
                    if not step.suppresses("pre", error, name, context, given, named):
                        raise
                    owed.append((step, error))
                    name = step.note_veto(name, error)
                    call = (context, name) + given
            driver = method
            if plan.observers:
                this = Observed("driver", None, name, context, given, named)
                driver = observed(method, plan.observers, this)
            result = driver(*args, **kwargs)
            while owed:
                step, data = owed.pop(0)
                try:
                    answer = step.post(*(context, name, data, result) + given, **named)
                    if answer is not None and issubclass(type(answer), UpdatedResults):
                        result = answer.results
                except Exception as error:
                    if not step.suppresses("post", error, name, context, given, named):
                        raise
            return result
        except BaseException as error:
            fail(owed, error, name, context, given, named)
            raise
        finally:
            snapshot.leave()

    async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
        # The second way is for all calls; the first is for nearly all, and faster.
        if operation.plain and args and args[0] is not None:
            name, context, given, named = operation, args[0], args[REST], kwargs
        else:
            name, context, given, named = operation.of_call(args, kwargs)
        owed: Owed = []
        snapshot = chain.enter()
        try:
            plan = snapshot.plans[name]
            call = (context, name) + given
            for step in plan.steps:
                if step.skips and step.skips():
                    continue
                try:
                    data = step.pre(*call, **named)
                    if data is not None and issubclass(type(data), UpdatedArguments):
                        args, kwargs = name.with_changes(args, kwargs, data.changes)
                        _, _, given, named = operation.of_call(args, kwargs)
                        call = (context, name) + given
                        data = data.pre_hook_data
                    owed.append((step, data))
                except Exception as error:
                    if not step.suppresses("pre", error, name, context, given, named):
                        raise
                    owed.append((step, error))
                    name = step.note_veto(name, error)
                    call = (context, name) + given
            driver = method
            if plan.observers:
                this = Observed("driver", None, name, context, given, named)
                driver = observed(method, plan.observers, this)
            result = await driver(*args, **kwargs)
            while owed:
                step, data = owed.pop(0)
                try:
                    answer = step.post(*(context, name, data, result) + given, **named)
                    if answer is not None and issubclass(type(answer), UpdatedResults):
                        result = answer.results
                except Exception as error:
                    if not step.suppresses("post", error, name, context, given, named):
                        raise
            return result
        except BaseException as error:
            fail(owed, error, name, context, given, named)
            raise
        finally:
            snapshot.leave()

    return run_coroutine if is_coroutine(method) else run


def fail(
    owed: Owed,
    error: BaseException,
    operation: Operation,
    context: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Run the error methods that are owed, in reverse order.

    :param owed: the steps, in order, each with its data; emptied from the end
    :param error: the exception that the caller gets
    :param operation: the operation
    :param context: the context of the call
    :param args: the positional arguments of the call, less the context
    :param kwargs: the keyword arguments of the call, less the context
    """
    while owed:
        step, data = owed.pop()
        try:
            step.error(context, operation, data, error, *args, **kwargs)
        except Exception as failure:
            record_failure(
                step.hook, "error", operation, failure, context, args, kwargs
            )
        except BaseException:
            # It ends the thread, after the other hooks had their completion.
            fail(owed, error, operation, context, args, kwargs)
            raise

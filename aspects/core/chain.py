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

# A constant, because [1:] would create a slice object in each call.
REST = slice(1, None)


class Enterable(Protocol):
    """The part of a chain that a call uses."""

    def enter(self) -> Snapshot:
        """Enter the current snapshot, and return it; the caller has to leave it."""


def around(chain: Enterable, operation: Operation, method: Method) -> Method:
    """Put a chain of hooks around a driver method.

    A hook whose turn comes before the driver is *owed* one completion: its post method,
    in order, if the call succeeds, or else its error method, in reverse order.

    :param chain: the chain
    :param operation: the operation, which hooks get in ``func_name``
    :param method: the driver method; a coroutine function is awaited
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        # A short cut for nearly all calls; of_call() is right for all of them.
        if operation.plain and args and args[0] is not None:
            name, context, pos, kw = operation, args[0], args[REST], kwargs
        else:
            name, context, pos, kw = operation.of_call(args, kwargs)
        owed: Owed = []
        result: Any = None
        snapshot = chain.enter()
        try:
            plan = snapshot.plans[name]
            call = (context, name) + pos
            for step in plan.steps:
                if step.skips and step.skips():
                    continue
                try:
                    data = step.pre(*call, **kw)
                    if data is not None and issubclass(type(data), UpdatedArguments):
                        args, kwargs = name.with_changes(args, kwargs, data.changes)
                        _, _, pos, kw = operation.of_call(args, kwargs)
                        call = (context, name) + pos
                        data = data.pre_hook_data
                    owed.append((step, data))
                except Exception as error:
                    if not step.suppresses("pre", error, name, context, pos, kw):
                        raise
                    owed.append((step, error))
                    name = step.note_veto(name, error)
                    call = (context, name) + pos
            driver = method
            if plan.observers:
                this = Observed("driver", None, name, context, pos, kw)
                driver = observed(method, plan.observers, this)
            result = driver(*args, **kwargs)
            while owed:
                step, data = owed.pop(0)
                try:
                    answer = step.post(*(context, name, data, result) + pos, **kw)
                    if answer is not None and issubclass(type(answer), UpdatedResults):
                        result = answer.results
                except Exception as error:
                    rest = (context, pos, kw, result)
                    if not step.suppresses("post", error, name, *rest):
                        raise
            return result
        except BaseException as error:
            fail(owed, error, name, context, pos, kw, result)
            raise
        finally:
            snapshot.leave()

    async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
        # A short cut for nearly all calls; of_call() is right for all of them.
        if operation.plain and args and args[0] is not None:
            name, context, pos, kw = operation, args[0], args[REST], kwargs
        else:
            name, context, pos, kw = operation.of_call(args, kwargs)
        owed: Owed = []
        result: Any = None
        snapshot = chain.enter()
        try:
            plan = snapshot.plans[name]
            call = (context, name) + pos
            for step in plan.steps:
                if step.skips and step.skips():
                    continue
                try:
                    data = step.pre(*call, **kw)
                    if data is not None and issubclass(type(data), UpdatedArguments):
                        args, kwargs = name.with_changes(args, kwargs, data.changes)
                        _, _, pos, kw = operation.of_call(args, kwargs)
                        call = (context, name) + pos
                        data = data.pre_hook_data
                    owed.append((step, data))
                except Exception as error:
                    if not step.suppresses("pre", error, name, context, pos, kw):
                        raise
                    owed.append((step, error))
                    name = step.note_veto(name, error)
                    call = (context, name) + pos
            driver = method
            if plan.observers:
                this = Observed("driver", None, name, context, pos, kw)
                driver = observed(method, plan.observers, this)
            result = await driver(*args, **kwargs)
            while owed:
                step, data = owed.pop(0)
                try:
                    answer = step.post(*(context, name, data, result) + pos, **kw)
                    if answer is not None and issubclass(type(answer), UpdatedResults):
                        result = answer.results
                except Exception as error:
                    rest = (context, pos, kw, result)
                    if not step.suppresses("post", error, name, *rest):
                        raise
            return result
        except BaseException as error:
            fail(owed, error, name, context, pos, kw, result)
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
    results: Any = None,
) -> None:
    """Run the error methods that are owed, in reverse order.

    :param owed: the steps, in order, each with its data; emptied from the end
    :param error: the exception that the caller gets
    :param operation: the operation
    :param context: the context of the call
    :param args: the positional arguments of the call, less the context
    :param kwargs: the keyword arguments of the call, less the context
    :param results: the driver's result, if the driver has returned one
    """
    if owed and results is not None:
        operation = operation.with_results(results)
    while owed:
        step, data = owed.pop()
        try:
            step.error(context, operation, data, error, *args, **kwargs)
        except Exception as failure:
            call = (context, args, kwargs, operation.results)
            record_failure(step.hook, "error", operation, failure, *call)
        except BaseException:
            # The exception ends the thread; first the other hooks get their completion.
            fail(owed, error, operation, context, args, kwargs)
            raise

# SPDX-License-Identifier: Apache-2.0
"""The way of one call: pre -> driver -> post | error."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any

from aspects.core.log import log_failure
from aspects.core.step import Step, in_use, observe, steps_of
from aspects.hook import Action, HookBase, UpdatedResults
from aspects.operations import Operation

REST = slice(1, None)


def around(chain: Chain, operation: Operation | _Settled, method: Action) -> Action:
    """Return what makes one call of a driver method, with the hooks around it.

    Every step whose pre action came to an end gets exactly one ending: post in
    order when all goes well, else error in reverse order.

    :param chain: the hooks; a call ends with the steps that it began with
    :param operation: what the hooks get as ``func_name``
    :param method: the driver's method
    """
    at_first = operation.context_at == 0
    by_rules: Any = operation.by_rules
    method = chain.wrapped(operation, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        name: Any = operation
        if at_first and args:
            context, given, named = args[0], args[REST], kwargs
        else:
            context, given, named = name.take_context(args, kwargs)
        if context is None:
            context = name.current_context()
        if by_rules:
            name = by_rules(given, named)
        steps = chain.steps
        if steps is None:
            steps = chain.steps_for(name)
        # Concatenated, and no ** where there is nothing: f(a, b, *given, **{})
        # takes Python more than twice the time.
        pre_args = (context, name) + given
        data: list[Any] = []
        ended = 0
        try:
            for step in steps:
                try:
                    if step.pre is None:
                        data.append(None)
                    elif named:
                        data.append(step.pre(*pre_args, **named))
                    else:
                        data.append(step.pre(*pre_args))
                except Exception as error:
                    if not step.suppresses("pre", error, name, context, given, named):
                        raise
                    data.append(error)
            result = method(*args, **kwargs)
            for step in steps:
                ended += 1
                if step.post is not None:
                    post_args = (context, name, data[ended - 1], result) + given
                    try:
                        if named:
                            answer = step.post(*post_args, **named)
                        else:
                            answer = step.post(*post_args)
                        if answer is not None and isinstance(answer, UpdatedResults):
                            result = answer.results
                    except Exception as error:
                        if not step.suppresses(
                            "post", error, name, context, given, named
                        ):
                            raise
            return result
        except BaseException as error:
            owed = list(zip(steps, data))[ended:]
            fail(owed, context, name, error, given, named)
            raise
        finally:
            # An error's traceback holds this frame: who keeps the one, as data does
            # what is suppressed, is not to keep the other's hooks and their data.
            data = post_args = answer = result = steps = step = None  # type: ignore

    return call


def fail(
    owed: list[tuple[Step, Any]],
    context: Any,
    operation: Operation,
    error: BaseException,
    given: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    """Give the steps that are still owed an ending their error action.

    :param owed: the steps, in configured order, each with its data; taken out of
        it one after the other, from the end
    :param context: the request's context
    :param operation: the operation
    :param error: what the caller gets
    :param given: the positional arguments of the call, less the context
    :param named: the keyword arguments of the call, less the context
    """
    while owed:
        step, data = owed.pop()
        if step.error is not None:
            try:
                step.error(context, operation, data, error, *given, **named)
            except Exception as failure:
                log_failure(
                    step.hook, "error", operation, failure, context, given, named
                )
            except BaseException:
                # Not the hook's error but the thread's end: it goes on, after
                # the others had theirs.
                fail(owed, context, operation, error, given, named)
                raise


def around_coroutine(chain: Chain, operation: Operation, method: Action) -> Action:
    """Return the same for a coroutine method: two halves of it, and an await.

    A function that awaits would cost every call of the other kind, and a second
    one would be the protocol written twice. So the protocol is gone through twice
    instead: the first time with the pre actions and their error endings, around
    nothing; the second time with the endings, around what the driver's method
    returned or raised, and with pre actions that hand on the data of the first.

    :param chain: the hooks; a call ends with the steps that it began with
    :param operation: what the hooks get as ``func_name``
    :param method: the driver's method
    """
    method = chain.wrapped(operation, method)

    async def call(*args: Any, **kwargs: Any) -> Any:
        settled = _Settled(operation, args, kwargs)
        steps = chain.steps_for(settled.operation)
        data: list[Any] = []
        returned: list[Any] = []
        raised: list[BaseException] = []

        def keep(*given: Any, **named: Any) -> None:
            data.append(given[2])

        def outcome() -> Any:
            if raised:
                raise raised[0]
            return returned[0]

        first = Chain(())
        first.steps = tuple(Step(s.hook, s.pre, keep, s.error) for s in steps)
        around(first, settled, _nothing)()
        second = Chain(())
        second.steps = tuple(
            Step(s.hook, functools.partial(_first, datum), s.post, s.error)
            for s, datum in zip(steps, data)
        )
        try:
            returned.append(await method(*args, **kwargs))
        except BaseException as error:
            raised.append(error)
        try:
            return around(second, settled, outcome)()
        finally:
            # As above.
            raised.clear()
            data.clear()
            del first, second, steps, settled

    return call


class _Settled:
    """The context and the operation of one call, for both of its halves."""

    context_at = None

    def __init__(
        self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.taken = operation.take_context(args, kwargs)
        by_rules = operation.by_rules
        self.operation = by_rules(*self.taken[1:]) if by_rules else operation

    def take_context(self, *call: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        return self.taken

    def by_rules(self, *call: Any) -> Operation:
        return self.operation


def _first(value: Any, *given: Any, **named: Any) -> Any:
    return value


def _nothing() -> None:
    return None


class Chain:
    """The ordered hooks of one backend, and what of them is switched on.

    :param hooks: the hooks, in configured order
    """

    __slots__ = ("__weakref__", "_all", "_observed", "hooks", "idle", "steps")

    def __init__(self, hooks: Iterable[Any]) -> None:
        self.take(hooks)
        self.refresh()

    def take(self, hooks: Iterable[Any]) -> None:
        """Have other hooks from the next :meth:`refresh` on.

        :param hooks: the hooks, in order
        """
        self.hooks = tuple(hooks)
        told = [observe(hook, self) for hook in self.hooks]
        self._observed = all(told)

    def refresh(self) -> None:
        """Follow the switches of the hooks; calls in flight keep their steps."""
        self._keep(steps_of(self.hooks) if self._observed else None)

    def _keep(self, steps: tuple[Step, ...] | None) -> None:
        # Calls in flight have those of before.
        known = getattr(self, "_all", None) or ()
        in_use(known[""] if isinstance(known, dict) else known)
        picky = any(step.operations for step in steps or ())
        # The steps of any call; by operation where some are not for all of them, and
        # under no name all; None where they are to be read each time. In one
        # attribute, so that a call finds them to be of the same moment.
        self._all: Any = {"": steps} if picky else steps
        #: The steps of any call; None where only :meth:`steps_for` tells them.
        self.steps = None if picky else steps
        #: Whether there are none, so that a call is the driver's own.
        self.idle = steps == ()

    def steps_for(self, operation: str) -> tuple[Step, ...]:
        """Return the steps of a call of one operation.

        :param operation: the operation
        """
        known = self._all
        if known is None:
            # The switches of a hook are plain attributes: read them each time.
            known = {"": in_use(steps_of(self.hooks))}
        if isinstance(known, tuple):
            return known
        if operation not in known:
            known[operation] = tuple(s for s in known[""] if s.is_for(operation))
        return known[operation]  # type: ignore[no-any-return]

    def wrapped(self, operation: Operation | _Settled, method: Action) -> Action:
        """Return a driver's method with what the hooks want around it.

        :param operation: the operation
        :param method: the driver's method
        """
        for hook in reversed(self.hooks):
            if isinstance(hook, HookBase):
                method = hook.wrap_driver(operation, method)
        return method

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Have the steps stay as they are while switches are set, then follow."""
        self._keep(steps_of(self.hooks))
        try:
            yield
        finally:
            self.refresh()

# SPDX-License-Identifier: Apache-2.0
"""The way of one call: pre -> driver -> post | error."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from aspects.health import guarded
from aspects.hook import (
    PROTOCOLS,
    Action,
    HookBase,
    UpdatedResults,
    error_action,
    fitted,
    log_failure,
    observe,
    suppressed,
)
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
    varies = type(operation) is not Operation
    method = chain.wrapped(operation, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        name: Any = operation
        if at_first and args:
            context, given, named = args[0], args[REST], kwargs
        else:
            context, given, named = name.take_context(args, kwargs)
        if context is None:
            context = name.current_context()
        if varies:
            name = name.for_call(given, named)
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
        self.operation = operation.for_call(*self.taken[1:])

    def take_context(self, *call: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        return self.taken

    def for_call(self, *call: Any) -> Operation:
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


class Step:
    """What one hook does in a chain; an action that is off is None.

    :param hook: the hook
    :param pre: its pre action
    :param post: its post action
    :param error: its error action
    """

    __slots__ = (
        *("__weakref__", "error", "hook", "operations", "post", "pre"),
        *("suppress_post", "suppress_pre"),
    )

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
        self.suppress_pre = getattr(hook, "suppress_pre_hooks_errors", False)
        self.suppress_post = getattr(hook, "suppress_post_hooks_errors", False)
        patterns = getattr(hook, "hook_operations", ())
        listed = isinstance(patterns, (list, tuple)) and "*" not in patterns
        #: Glob patterns of the operations that it is for; empty for all.
        self.operations: tuple[str, ...] = tuple(patterns) if listed else ()

    def suppresses(self, kind: str, error: Exception, *call: Any) -> bool:
        """Tell whether an error of an action stops here, and log it if so.

        :param kind: ``pre`` or ``post``
        :param error: the error
        :param call: the operation, the context, and the arguments of the call
        """
        switch = self.suppress_pre if kind == "pre" else self.suppress_post
        return suppressed(switch, self.hook, kind, error, *call)

    def is_for(self, operation: str) -> bool:
        """Tell whether the hook is run for an operation."""
        if not self.operations:
            return True
        return any(fnmatch.fnmatchcase(operation, each) for each in self.operations)


# The steps that calls in flight alone have, of all chains, by their ids.
_in_use: weakref.WeakValueDictionary[int, Step] = weakref.WeakValueDictionary()


def in_use(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Have steps be found by :func:`in_flight` for as long as somebody has them.

    :param steps: steps that a chain has no more, or never had
    :return: the steps
    """
    steps = tuple(steps)
    for step in steps:
        _in_use[id(step)] = step
    return steps


def in_flight(hooks: Iterable[Any]) -> list[weakref.ref[Step]]:
    """Return the steps of hooks that are in use: each goes with its last call.

    A call that began after its chain was refreshed is not among them.

    :param hooks: the hooks
    """
    hooks = tuple(hooks)
    steps = (ref() for ref in _in_use.valuerefs())
    of_these = (s for s in steps if s and any(s.hook is each for each in hooks))
    return list(map(weakref.ref, of_these))


def steps_of(hooks: tuple[Any, ...]) -> tuple[Step, ...]:
    """Make the steps for the actions that are on now.

    :param hooks: the hooks, in configured order
    :return: a step for each hook with an action that is on
    """
    steps = []
    for hook in hooks:
        pre = post = error = None
        if hook.pre_hooks_enabled:
            pre = action_of(hooks, hook, "pre", hook._execute_pre_hook)
        if hook.post_hooks_enabled:
            post = action_of(hooks, hook, "post", hook._execute_post_hook)
            if action := error_action(hook):
                error = action_of(hooks, hook, "error", action)
        if any(action is not None for action in (pre, post, error)):
            steps.append(Step(hook, pre, post, error))
    return tuple(steps)


def action_of(
    hooks: Iterable[Any], hook: Any, kind: str, action: Action, tick: str = "periodic"
) -> Action:
    """Return what runs for an action of a hook.

    :param hooks: the hooks of the chain, which may wrap it
    :param hook: the hook
    :param kind: ``pre``, ``post``, ``error`` or ``periodic``
    :param action: the hook's action
    :param tick: the operation of a periodic action
    """
    action = fitted(action, PROTOCOLS[kind])
    for each in hooks:
        if isinstance(each, HookBase):
            action = each.wrap_action(hook, kind, action)
    operation = tick if kind == "periodic" else None
    dispatcher = getattr(hook, "dispatcher", None)
    if dispatcher is None:
        return guarded(hook, kind, action, operation)
    if kind not in getattr(hook, "deferred_actions", HookBase.deferred_actions):
        if kind in getattr(hook, "dispatching_actions", ()):
            return action
        return guarded(hook, kind, action, operation)

    def defer(*args: Any, **kwargs: Any) -> None:
        dispatcher.put(hook, kind, operation or args[1], action, *args, **kwargs)

    return defer

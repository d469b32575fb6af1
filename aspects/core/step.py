# SPDX-License-Identifier: Apache-2.0
"""What one hook does in a chain."""

from __future__ import annotations

import fnmatch
import threading
import weakref
from collections.abc import Iterable
from typing import Any, Protocol

from aspects.config.options import SWITCHES
from aspects.core.breaker import guarded
from aspects.core.log import suppressed
from aspects.core.signature import PROTOCOLS, fitted
from aspects.hook import Action, HookBase, _Switch


class _Observer(Protocol):
    def refresh(self) -> None: ...


_observing = threading.Lock()


def observe(hook: object, chain: _Observer) -> bool:
    """Have a chain refreshed whenever a switch of the hook is set.

    :param hook: any hook
    :param chain: what to refresh; it is held weakly
    :return: whether the hook can tell; one whose switches are plain
        attributes, as those of Manila's own base class are, cannot
    """
    if not isinstance(hook, HookBase):
        return False
    for switch in SWITCHES:
        if not isinstance(getattr(type(hook), switch), _Switch):
            return False
    with _observing:
        chains = vars(hook).setdefault("_chains", [])
        if any(each() is chain for each in chains):
            return True
        chains.append(weakref.ref(chain))
        # Now and then, at each doubling, leave out those that are gone.
        if len(chains) & (len(chains) - 1) == 0:
            chains[:] = [each for each in chains if each() is not None]
    return True


def error_action(hook: Any) -> Action | None:
    """Return the error action of a hook, or None where it would do nothing.

    :param hook: any hook; those of upstream have no such action
    """
    action = getattr(hook, "_execute_error_hook", None)
    if getattr(action, "__func__", None) is HookBase._execute_error_hook:
        return None
    return action


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

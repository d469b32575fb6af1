# SPDX-License-Identifier: Apache-2.0
"""A chain, and the immutable snapshots of it that calls enter and leave."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from aspects.core.lease import changed, hold, lease_of, release, start
from aspects.core.observe import observes
from aspects.core.step import Step, Switches, adapt, reports_changes


class Owner(Protocol):
    """The chain that a snapshot was made by."""

    def drained(self, snapshot: Snapshot, /) -> None:
        """Release the hooks of a retired snapshot that no call uses any more."""


class Snapshot:
    """The hooks of a chain and their switches at one moment.

    A call enters the current snapshot, uses nothing else, and leaves it. A change
    of a switch or of the hooks makes a new snapshot and retires the old one, which
    releases its hooks when the last call has left.

    :param hooks: the hooks, adapted, in order
    """

    __slots__ = ("calls", "hooks", "idle", "owner", "plans", "switches")

    #: The chain, once the snapshot is retired.
    owner: Owner

    def __init__(self, hooks: tuple[Any, ...]) -> None:
        self.hooks = hooks
        self.switches = tuple(map(Switches.of, hooks))
        hold(hooks)
        #: Whether a call involves no hook, and so is the driver's own.
        self.idle = not any(
            own.enable("pre", "post") or (own.periodic_hooks_enabled and observes(hook))
            for hook, own in zip(hooks, self.switches)
        )
        # An entry for each call in flight, and one until the snapshot is retired.
        # Appending and popping are atomic.
        self.calls: list[None] = [None]
        self.plans = Plans(hooks, self.switches)

    def leave(self) -> None:
        """Count a call out. The last one to leave a retired snapshot reports it."""
        self.calls.pop()
        if not self.calls:
            self.owner.drained(self)

    def retire(self, owner: Owner) -> None:
        """Report when the last call has left. From here on, no call may enter.

        :param owner: gets the report, which may come more than once
        """
        self.owner = owner
        self.leave()


class Plans(dict[str, "Plan"]):
    """The plans of one snapshot by operation, each made at its first call.

    :param hooks: the hooks, adapted, in order
    :param switches: the switches of each hook
    """

    __slots__ = ("_hooks", "_switches")

    def __init__(self, hooks: tuple[Any, ...], switches: tuple[Switches, ...]) -> None:
        self._hooks = hooks
        self._switches = switches

    def __missing__(self, operation: str) -> Plan:
        plan = self[operation] = Plan(self._hooks, self._switches, operation)
        return plan


class Plan:
    """What the calls of one operation run, in one snapshot.

    :param hooks: the hooks of the snapshot, adapted, in order
    :param switches: the switches of each hook
    :param operation: the operation; ``periodic`` for a tick
    """

    __slots__ = ("observers", "steps")

    def __init__(
        self, hooks: tuple[Any, ...], switches: tuple[Switches, ...], operation: str
    ) -> None:
        selected = [
            (hook, own) for hook, own in zip(hooks, switches) if own.select(operation)
        ]
        #: The hooks that observe, the outermost first.
        self.observers = tuple(
            hook
            for hook, own in selected
            if observes(hook) and own.enable("pre", "post", "periodic")
        )
        kinds = ("periodic",) if operation == "periodic" else ("pre", "post")
        #: The hooks that run, in order.
        self.steps = tuple(
            Step(hook, own, operation, self.observers)
            for hook, own in selected
            if own.enable(*kinds)
        )


class Chain:
    """The ordered hooks of one backend, and the current snapshot of them.

    :param hooks: the hooks, in configured order
    :param backend: the backend section, for the log
    """

    __slots__ = (
        *("__weakref__", "_adapted", "_closed", "_frozen", "_polled", "_polled_values"),
        *("_retired", "_started", "_stopping", "backend", "hooks", "idle", "snapshot"),
    )

    def __init__(self, hooks: Iterable[Any], backend: str | None = None) -> None:
        self.backend = backend
        self._started = self._closed = self._frozen = False
        # The snapshots that calls in flight still use, and the threads that stop hooks.
        self._retired: tuple[Snapshot, ...] = ()
        self._stopping: tuple[threading.Thread, ...] = ()
        self.hooks: tuple[Any, ...] = ()
        self._adapted: tuple[Any, ...] = ()
        self.snapshot = Snapshot(())
        with changed:
            self._set_hooks(*self._adapt(hooks))
            self.refresh()

    def enter(self) -> Snapshot:
        """Enter the current snapshot, which the caller has to leave."""
        if self._polled and self._poll() != self._polled_values:
            self.refresh()
        while True:
            snapshot = self.snapshot
            snapshot.calls.append(None)
            # If it was retired just before, it may have released its hooks.
            if snapshot is self.snapshot:
                return snapshot
            snapshot.leave()

    def refresh(self) -> None:
        """Make a new snapshot after a switch has changed."""
        with changed:
            if self._frozen:
                return
            old = self.snapshot
            self._polled_values = self._poll()
            self.snapshot = Snapshot(() if self._closed else self._adapted)
            #: Whether no call runs a hook.
            self.idle = self.snapshot.idle and not (self._polled and not self._closed)
            self._retired = (*self._retired, old)
            old.retire(self)

    def replace(
        self, hooks: Iterable[Any], set_switches: Callable[[], None] = lambda: None
    ) -> None:
        """Replace the hooks as a whole; calls in flight keep the hooks they have.

        New hooks are started before, if the chain is. Those that are left out stop
        after the last call has left, in a thread of their own.

        :param hooks: the hooks, in order; current hooks may be among them
        :param set_switches: sets the switches of the hooks
        """
        hooks, adapted = self._adapt(hooks)
        # Held from here on: one that was left out before is not stopped any more.
        hold(adapted)
        try:
            if self._started:
                start(adapted, self.backend)
            with changed:
                self._frozen = True
                try:
                    set_switches()
                    self._set_hooks(hooks, adapted)
                finally:
                    self._frozen = False
                    self.refresh()
        finally:
            self._release(adapted)

    def start(self) -> None:
        """Start the hooks, in the process that runs the driver."""
        with changed:
            self._started = True
            adapted = self._adapted
            hold(adapted)
        start(adapted, self.backend)
        with changed:
            self._closed = False
            self.refresh()
            self._release(adapted)

    def stop(self, end: float) -> None:
        """Run no more hooks, and stop them once the last call has left.

        :param end: the time on :func:`time.monotonic` until which to wait for calls
            in flight, and for hooks that were left out before
        """
        with changed:
            earlier = self._stopping
            # Hooks that were never started are not stopped: they go on to run.
            self._started, self._closed = False, self._started
            self.refresh()
            changed.wait_for(lambda: not self._retired, max(0, end - time.monotonic()))
            # The process ends: hooks have to stop beside calls that go on.
            for snapshot in self._retired:
                self.drained(snapshot)
            stopping = [each for each in self._stopping if each not in earlier]
        for thread in earlier:
            thread.join(max(0, end - time.monotonic()))
        for thread in stopping:
            thread.join()
        for hook in reversed(self._adapted):
            # A hook that was never started may have a queue all the same.
            if hook.dispatcher is not None and not lease_of(hook).running:
                hook.dispatcher.stop()

    def _adapt(self, hooks: Iterable[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return hooks as given, and as the chain uses them."""
        hooks = tuple(hooks)
        known = {id(hook): own for hook, own in zip(self.hooks, self._adapted)}
        return hooks, tuple(known.get(id(hook)) or adapt(hook) for hook in hooks)

    def _set_hooks(self, hooks: tuple[Any, ...], adapted: tuple[Any, ...]) -> None:
        self.hooks, self._adapted = hooks, adapted
        # The hooks whose switches have to be compared at each call.
        self._polled = tuple(hook for hook in hooks if not reports_changes(hook))
        for hook in hooks:
            if reports_changes(hook):
                _watch(hook, self)

    def _poll(self) -> tuple[Any, ...]:
        names = Switches._fields
        return tuple(
            [getattr(hook, name, None) for hook in self._polled for name in names]
        )

    def drained(self, snapshot: Snapshot) -> None:
        """Release the hooks of a retired snapshot that no call uses any more.

        :param snapshot: the snapshot
        """
        with changed:
            if snapshot in self._retired:
                self._retired = tuple(s for s in self._retired if s is not snapshot)
                self._release(snapshot.hooks)

    def _release(self, hooks: tuple[Any, ...]) -> None:
        thread = release(hooks, self.backend)
        if thread is not None:
            alive = filter(threading.Thread.is_alive, self._stopping)
            self._stopping = (*alive, thread)


class _Chains:
    """The chains that contain a hook, held weakly."""

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: list[weakref.ref[Chain]] = []

    def __iter__(self) -> Iterator[Chain]:
        references = tuple(self._references)
        return (chain for each in references if (chain := each()) is not None)

    def add(self, chain: Chain) -> None:
        if not any(each is chain for each in self):
            references = self._references
            references.append(weakref.ref(chain))
            # Forget those that are gone now and then: at each doubling.
            if len(references) & (len(references) - 1) == 0:
                references[:] = [each for each in references if each() is not None]


def _watch(hook: Any, chain: Chain) -> None:
    """Refresh a chain whenever a switch of a hook is set."""
    if not isinstance(hook._chains, _Chains):
        hook._chains = _Chains()
    hook._chains.add(chain)


class SingleCallChain:
    """A chain that exists for one call.

    :param hooks: the hooks, in order
    """

    def __init__(self, hooks: Iterable[Any]) -> None:
        self._hooks = tuple(map(adapt, hooks))

    def enter(self) -> Snapshot:
        """Enter a new snapshot, which the caller has to leave."""
        snapshot = Snapshot(self._hooks)
        snapshot.calls.append(None)
        snapshot.retire(self)
        return snapshot

    def drained(self, snapshot: Snapshot) -> None:
        """Release the hooks after the call.

        :param snapshot: the snapshot of the call
        """
        release(self._hooks)

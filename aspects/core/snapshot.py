# SPDX-License-Identifier: Apache-2.0
"""The chain of a backend, and its immutable snapshots, which calls enter and leave."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from aspects.core.lease import changed, drain, hold, release, start
from aspects.core.observe import observes
from aspects.core.step import Step, Switches, adapt, reports_changes


class Owner(Protocol):
    """The chain that created a snapshot."""

    def drained(self, snapshot: Snapshot, /) -> None:
        """Release the hooks of a retired snapshot that no call uses any more."""


class Snapshot:
    """The hooks of a chain and their switches at one moment.

    A call enters the current snapshot, uses nothing else, and leaves it. A change of a
    switch or of the hooks creates a new snapshot and retires the old one. The old one
    releases its hooks after the last call has left.

    :param hooks: the hooks, adapted, in order
    """

    __slots__ = ("calls", "hooks", "idle", "owner", "plans", "switches")

    #: The chain, once the snapshot is retired.
    owner: Owner

    def __init__(self, hooks: tuple[Any, ...]) -> None:
        self.hooks = hooks
        self.switches = tuple(map(Switches.of, hooks))
        hold(hooks)
        #: Whether a call runs no hook, so that the proxy can return the driver method.
        self.idle = not any(
            own.enable("pre", "post") or (own.periodic_hooks_enabled and observes(hook))
            for hook, own in zip(hooks, self.switches)
        )
        # An entry for each call in flight, plus one until the snapshot is retired. A
        # list, because append and pop are atomic.
        self.calls: list[None] = [None]
        self.plans = Plans(hooks, self.switches)

    def leave(self) -> None:
        """Leave the snapshot, and notify its owner if it is retired and now unused."""
        self.calls.pop()
        if not self.calls:
            self.owner.drained(self)

    def retire(self, owner: Owner) -> None:
        """Retire the snapshot: no call may enter it any more.

        :param owner: notified after the last call has left, perhaps more than once
        """
        self.owner = owner
        self.leave()


class Plans(dict[str, "Plan"]):
    """The plans of one snapshot by operation, each created at its first call.

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
    """The steps and observers for the calls of one operation, in one snapshot.

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
        #: The observers, the outermost first.
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
        *("_process", "_retired", "_started", "_stopping", "backend", "hooks", "idle"),
        "snapshot",
    )

    def __init__(self, hooks: Iterable[Any], backend: str | None = None) -> None:
        self.backend = backend
        self._process = os.getpid()
        self._started = self._closed = self._frozen = False
        # Retired snapshots that calls in flight still use, and threads that stop hooks.
        self._retired: tuple[Snapshot, ...] = ()
        self._stopping: tuple[threading.Thread, ...] = ()
        self.hooks: tuple[Any, ...] = ()
        self._adapted: tuple[Any, ...] = ()
        self.snapshot = Snapshot(())
        with changed:
            self._set_hooks(*self._adapt(hooks))
            self.refresh()

    def enter(self) -> Snapshot:
        """Enter the current snapshot, and return it; the caller has to leave it."""
        if self._polled and self._poll() != self._polled_values:
            self.refresh()
        while True:
            snapshot = self.snapshot
            snapshot.calls.append(None)
            # A snapshot that was retired just before may have released its hooks.
            if snapshot is self.snapshot:
                return snapshot
            snapshot.leave()

    def refresh(self) -> None:
        """Create a new snapshot after a switch has changed."""
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
        """Replace all hooks at once; calls in flight keep the hooks they have.

        If the chain is started, new hooks are started first. Removed hooks are stopped
        in a separate thread, after the last call has left.

        :param hooks: the hooks, in order; current hooks may be among them
        :param set_switches: sets the switches of the hooks
        """
        hooks, adapted = self._adapt(hooks)
        # From here on they are not stopped, even if an earlier change removed them.
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
            self._leave_parent()
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

        :param end: the time on :func:`time.monotonic` until which to wait for calls in
            flight, and for hooks that were removed earlier
        """
        with changed:
            self._leave_parent()
            earlier = self._stopping
            # Hooks that were never started are not stopped, so they keep running.
            self._started, self._closed = False, self._started
            self.refresh()
            changed.wait_for(lambda: not self._retired, max(0, end - time.monotonic()))
            # The process exits, so hooks stop even if calls are still in flight.
            for snapshot in self._retired:
                self.drained(snapshot)
            stopping = [thread for thread in self._stopping if thread not in earlier]
        for thread in earlier:
            thread.join(max(0, end - time.monotonic()))
        for thread in stopping:
            thread.join()
        drain(self._adapted, self.backend)

    def _leave_parent(self) -> None:
        """Release the snapshots of the parent process after a fork.

        The calls that its other threads had in flight do not end in this process.
        """
        if self._process != os.getpid():
            self._process = os.getpid()
            self.refresh()
            for snapshot in self._retired:
                self.drained(snapshot)

    def _adapt(self, hooks: Iterable[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the hooks, and the adapted hooks that the chain uses."""
        hooks = tuple(hooks)
        known = {id(hook): own for hook, own in zip(self.hooks, self._adapted)}
        return hooks, tuple(known.get(id(hook)) or adapt(hook) for hook in hooks)

    def _set_hooks(self, hooks: tuple[Any, ...], adapted: tuple[Any, ...]) -> None:
        self.hooks, self._adapted = hooks, adapted
        # The hooks that do not report changes, so that each call reads their switches.
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
        return (chain for ref in references if (chain := ref()) is not None)

    def add(self, chain: Chain) -> None:
        if not any(known is chain for known in self):
            references = self._references
            references.append(weakref.ref(chain))
            # Remove dead references each time the list has doubled.
            if len(references) & (len(references) - 1) == 0:
                references[:] = [ref for ref in references if ref() is not None]


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
        """Enter a new snapshot, and return it; the caller has to leave it."""
        snapshot = Snapshot(self._hooks)
        snapshot.calls.append(None)
        snapshot.retire(self)
        return snapshot

    def drained(self, snapshot: Snapshot) -> None:
        """Release the hooks after the call.

        :param snapshot: the snapshot of the call
        """
        release(self._hooks)

# SPDX-License-Identifier: Apache-2.0
"""Start each hook once, and stop it once no snapshot uses it any more."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from oslo_log import log

from aspects.core.forks import fork_safe_lock
from aspects.core.log import hook_name
from aspects.core.observe import observes
from aspects.hook import HookBase
from aspects.secrets import secret_options, text_of

LOG = log.getLogger(__name__)

#: Seconds that a caller waits for the hooks of a chain to start; each has at least 1.
START_TIMEOUT = 10.0

#: Seconds that a hook has to stop, in addition to ``hook_drain_timeout``.
STOP_TIMEOUT = 5.0

#: Seconds between attempts to start a hook, which double up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

#: Guards changes of chains and leases, and wakes up those who wait for a change.
changed = threading.Condition(fork_safe_lock())


class Lease:
    """The use of one hook by the snapshots of all its chains, in one process.

    :data:`changed` guards it.

    :param holders: the number of snapshots that hold the hook
    """

    __slots__ = ("followed", "holders", "process", "state", "wanted")

    def __init__(self, holders: int = 0) -> None:
        self.holders = holders
        #: The ID of the process: no thread survives a fork, so no hook does either.
        self.process = os.getpid()
        #: Whether the hook is to run: from the start of a chain until it is unused.
        self.wanted = False
        #: ``stopped``, ``starting``, ``started``, ``stopping``, or ``failed`` to start.
        self.state = "stopped"
        #: Whether a thread starts or stops the hook, or waits to try again.
        self.followed = False

    @property
    def unused(self) -> bool:
        """True if the hook runs, or is to run, but no snapshot holds it."""
        return self.wanted and not self.holders

    @property
    def settled(self) -> bool:
        """True if there is nothing to start or to stop."""
        return self.state == ("started" if self.wanted else "stopped")


def lease_of(hook: Any) -> Lease:
    """Return the lease of a hook in this process.

    :param hook: a hook, adapted
    """
    lease = hook._lease
    if lease is None or lease.process != os.getpid():
        with changed:
            lease = hook._lease
            if lease is None or lease.process != os.getpid():
                # The snapshots of the parent process hold the hook in this one too.
                hook._lease = Lease(lease.holders if lease else 0)
            lease = hook._lease
    return lease  # type: ignore[no-any-return]


def hold(hooks: Iterable[Any]) -> None:
    """Add a holder to each hook.

    :param hooks: the hooks, adapted
    """
    with changed:
        for hook in hooks:
            lease_of(hook).holders += 1


def release(hooks: Sequence[Any], backend: str | None = None) -> Any:
    """Remove a holder from each hook, and stop those without holders.

    The hooks are stopped in a thread, because a stop may take long.

    :param hooks: the hooks, adapted, in order
    :param backend: the backend section, for the log
    :return: the thread that stops the hooks; None if none is to be stopped
    """
    with changed:
        for hook in hooks:
            lease_of(hook).holders -= 1
        changed.notify_all()
        unused = [hook for hook in hooks if lease_of(hook).unused]
    return run_in_thread("stop", stop, unused, backend) if unused else None


def run_in_thread(
    verb: str, function: Callable[..., None], *args: Any
) -> threading.Thread | None:
    """Run a function in a daemon thread.

    If the interpreter exits, or the process has too many threads, it runs in the
    calling thread.

    :param verb: the end of the thread's name
    :param function: the function
    :param args: its arguments
    :return: the thread; None if there is none
    """
    thread = threading.Thread(
        target=function, args=args, name=f"manila-aspects-{verb}", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:
        function(*args)
        return None
    return thread


def start(hooks: Iterable[Any], backend: str | None) -> None:
    """Start the hooks that do not run yet, each after the one before it.

    A hook that fails to start is tried again, in a thread, until it starts or is
    stopped. A hook that takes too long continues in a thread, and nothing waits for it.

    :param hooks: the hooks, adapted; the caller is a holder
    :param backend: the backend section, for the log
    """
    end = time.monotonic() + START_TIMEOUT
    for hook in hooks:
        lease = lease_of(hook)
        with changed:
            lease.wanted = True
        _follow_in_thread("start", hook, backend)
        left = max(1.0, end - time.monotonic())
        if not _wait(lease, True, ("started", "failed"), left):
            _log_error(hook, "start", backend, _late("started", left))


def stop(hooks: Sequence[Any], backend: str | None) -> None:
    """Stop the hooks without holders, all at once, but observers after the others.

    A hook that takes too long continues in a thread, and nothing waits for it.

    :param hooks: the hooks, adapted, in order
    :param backend: the backend section, for the log
    """
    for stage in _stages(hooks):
        stopping = []
        for hook in stage:
            lease = lease_of(hook)
            with changed:
                # A chain may have taken the hook back since its last snapshot.
                if not lease.unused:
                    continue
                lease.wanted = False
                changed.notify_all()
            stopping.append(hook)
            _follow_in_thread("stop", hook, backend)
        timeout = _stop_timeout(stopping)
        end = time.monotonic() + timeout
        for hook in stopping:
            left = max(0.0, end - time.monotonic())
            if not _wait(lease_of(hook), False, ("stopped",), left):
                _log_error(hook, "stop", backend, _late("stopped", timeout))


def drain(hooks: Iterable[Any], backend: str | None) -> None:
    """Drain the queues of hooks that were never started, all at once.

    :param hooks: the hooks, adapted
    :param backend: the backend section, for the log
    """
    hooks = [
        hook
        for hook in hooks
        if hook.dispatcher is not None and lease_of(hook).state == "stopped"
    ]
    threads = [
        run_in_thread("stop", _stop_part, hook.dispatcher, hook, backend)
        for hook in hooks
    ]
    end = time.monotonic() + _stop_timeout(hooks)
    for thread in filter(None, threads):
        thread.join(max(0.0, end - time.monotonic()))


def _stages(hooks: Sequence[Any]) -> list[list[Any]]:
    """Return the groups of hooks to stop, one after the other.

    Each observer is in a group of its own after the other hooks, in reverse order, so
    that it can observe them until they stop.

    :param hooks: the hooks, adapted, in order
    """
    hooks = hooks[::-1]
    rest = [hook for hook in hooks if not observes(hook)]
    return [rest, *([hook] for hook in hooks if observes(hook))]


def _stop_timeout(hooks: Iterable[Any]) -> float:
    """Return the seconds to wait for hooks that are stopped at once.

    :param hooks: the hooks, adapted
    """
    return STOP_TIMEOUT + max(map(_drain_timeout, hooks), default=0.0)


def _drain_timeout(hook: Any) -> float:
    timeouts = [getattr(hook.dispatcher, "drain", 0.0)]
    if isinstance(hook, HookBase):
        timeouts.append(hook.get_config_option("hook_drain_timeout"))
    numbers = [timeout for timeout in timeouts if isinstance(timeout, (int, float))]
    return max([0.0, *numbers])


def _wait(lease: Lease, wanted: bool, states: Sequence[str], timeout: float) -> bool:
    """Wait until a hook reaches a state, or another change makes that obsolete.

    :param lease: its lease
    :param wanted: the value of ``lease.wanted`` while the wait makes sense
    :param states: the states
    :param timeout: seconds to wait
    :return: whether it was in time
    """
    with changed:
        return changed.wait_for(
            lambda: lease.state in states or lease.wanted is not wanted, timeout
        )


def _follow_in_thread(verb: str, hook: Any, backend: str | None) -> None:
    """Start or stop a hook in a thread, unless a thread does so already."""
    lease = lease_of(hook)
    with changed:
        if lease.followed or lease.settled:
            return
        lease.followed = True
    arguments = (hook, lease, backend, threading.get_ident())
    if hook.dispatcher is None and not _overrides(hook, verb):
        # There is nothing to run, and so nothing to wait for.
        _follow(*arguments)
    else:
        run_in_thread(verb, _follow, *arguments)


def _overrides(hook: Any, verb: str) -> bool:
    """Return whether a hook has a method ``start`` or ``stop`` of its own."""
    if not isinstance(hook, HookBase):
        return False
    return getattr(getattr(hook, verb), "__func__", None) is not vars(HookBase)[verb]


def _follow(hook: Any, lease: Lease, backend: str | None, caller: int) -> None:
    """Start and stop a hook until its lease is settled.

    :param hook: the hook, adapted
    :param lease: its lease
    :param backend: the backend section, for the log
    :param caller: the ID of the thread that must not wait for another attempt
    """
    failures, pause = 0, FIRST_PAUSE
    while True:
        with changed:
            # A green thread survives a fork, but the hook is the parent process's.
            if lease.settled or lease.process != os.getpid():
                lease.followed = False
                return
            starts = lease.wanted
            if not starts:
                lease.state = "stopping"
            elif lease.state == "stopped":
                lease.state = "starting"
        if not starts:
            _stop_part(hook.dispatcher, hook, backend)
            _stop_part(hook, hook, backend)
            state = "stopped"
            failures, pause = 0, FIRST_PAUSE
        elif (error := _error_of(hook, "start", hook)) is None:
            state = "started"
            if failures:
                LOG.info(
                    "Started hook %(hook)s of backend %(backend)s after %(failures)d "
                    "failed attempt(s)",
                    {"hook": hook_name(hook), "backend": backend, "failures": failures},
                )
        else:
            state = "failed"
            failures += 1
            if failures == 1:
                _log_error(hook, "start", backend, f"{error}; retrying")
        with changed:
            lease.state = state
            changed.notify_all()
            if state == "failed" and threading.get_ident() == caller:
                lease.followed = False
                return
            if state == "failed":
                changed.wait_for(lambda: not lease.wanted, pause)
                pause = min(2 * pause, LONGEST_PAUSE)


def _stop_part(part: Any, hook: Any, backend: str | None) -> None:
    if (error := _error_of(part, "stop", hook)) is not None:
        _log_error(hook, "stop", backend, error)


def _error_of(part: Any, verb: str, hook: Any) -> str | None:
    """Start or stop a hook or its dispatcher.

    :param part: the hook or its dispatcher; None does nothing
    :param verb: ``start`` or ``stop``
    :param hook: the hook, adapted
    :return: the text of the error; None if there is none
    """
    # Manila's contract has neither method.
    if part is None or (part is hook and not isinstance(hook, HookBase)):
        return None
    try:
        getattr(part, verb)()
    # The thread ends with the function, so nothing is meant for the thread itself.
    except BaseException as error:
        secrets = secret_options(hook.configuration)
        return f"{type(error).__name__}: {text_of(error, secrets=secrets)}"
    return None


def _late(state: str, seconds: float) -> str:
    return f"not {state} in {seconds:.0f} s; no longer waiting for it"


def _log_error(hook: Any, verb: str, backend: str | None, error: str) -> None:
    LOG.error(
        "Failed to %(verb)s hook %(hook)s of backend %(backend)s: %(error)s",
        {
            "verb": verb,
            "hook": hook_name(hook),
            "backend": backend,
            "error": error,
        },
    )

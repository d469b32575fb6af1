# SPDX-License-Identifier: Apache-2.0
"""Start each hook once, and stop it once no snapshot uses it any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from oslo_log import log

from aspects.core.log import hook_name
from aspects.hook import HookBase
from aspects.secrets import secret_options, text_of

LOG = log.getLogger(__name__)

#: Guards changes of chains and leases, and wakes up those who wait for a change.
changed = threading.Condition(threading.RLock())


class Lease:
    """The use of one hook by the snapshots of all its chains."""

    __slots__ = ("_process", "holders", "transition")

    def __init__(self) -> None:
        #: The number of snapshots that hold the hook. Guarded by :data:`changed`.
        self.holders = 0
        #: Held during a start or a stop, so that they exclude each other.
        self.transition = threading.Lock()
        # The ID of the process that started the hook: no thread survives a fork.
        self._process: int | None = None

    @property
    def running(self) -> bool:
        """True from the start of the hook in this process until its stop."""
        return self._process == os.getpid()

    @running.setter
    def running(self, running: bool) -> None:
        self._process = os.getpid() if running else None


def lease_of(hook: Any) -> Lease:
    """Return the lease of a hook.

    :param hook: a hook, adapted
    """
    lease = hook._lease
    if lease is None:
        with changed:
            if hook._lease is None:
                hook._lease = Lease()
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

    The hooks are stopped in a thread, because a stop may take long. They are stopped
    in reverse order, so that a hook can observe the later ones until they stop.

    :param hooks: the hooks, adapted, in order
    :param backend: the backend section, for the log
    :return: the thread that stops the hooks; None if none is to be stopped
    """
    with changed:
        for hook in hooks:
            lease_of(hook).holders -= 1
        changed.notify_all()
        unused = [hook for hook in hooks if _is_unused(lease_of(hook))]
    if not unused:
        return None
    thread = threading.Thread(
        target=stop, args=(unused, backend), name="manila-aspects-stop", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:
        # The interpreter exits, or the process has too many threads.
        stop(unused, backend)
        return None
    return thread


def _is_unused(lease: Lease) -> bool:
    return lease.running and not lease.holders


def start(hooks: Iterable[Any], backend: str | None) -> None:
    """Start the hooks that do not run yet.

    :param hooks: the hooks, adapted; the caller is a holder
    :param backend: the backend section, for the log
    """
    for hook in hooks:
        lease = lease_of(hook)
        with lease.transition:
            if not lease.running:
                lease.running = True
                if isinstance(hook, HookBase):
                    _attempt(hook.start, hook, "start", backend)


def stop(hooks: Sequence[Any], backend: str | None, *, forced: bool = False) -> None:
    """Stop the running hooks without holders, in reverse order.

    :param hooks: the hooks, adapted, in order
    :param backend: the backend section, for the log
    :param forced: stop those with holders too, because the process exits
    """
    for hook in reversed(hooks):
        lease = lease_of(hook)
        with lease.transition:
            with changed:
                # A chain may have taken the hook back since its last snapshot.
                if not (lease.running and (forced or not lease.holders)):
                    continue
                lease.running = False
            if hook.dispatcher is not None:
                _attempt(hook.dispatcher.stop, hook, "stop", backend)
            if isinstance(hook, HookBase):
                _attempt(hook.stop, hook, "stop", backend)
    with changed:
        changed.notify_all()


def _attempt(
    method: Callable[[], None], hook: Any, verb: str, backend: str | None
) -> None:
    """Start or stop a hook; log its error, so that the other hooks follow."""
    try:
        method()
    except (Exception, SystemExit) as error:
        secrets = secret_options(hook.configuration)
        LOG.error(
            "Failed to %(verb)s hook %(hook)s of backend %(backend)s: "
            "%(type)s: %(error)s",
            {
                "verb": verb,
                "hook": hook_name(hook),
                "backend": backend,
                "type": type(error).__name__,
                "error": text_of(error, secrets=secrets),
            },
        )

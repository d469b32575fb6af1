# SPDX-License-Identifier: Apache-2.0
"""Base class of the hooks that deliver events to a receiver."""

from __future__ import annotations

import abc
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from oslo_config import cfg

from hooks.events.hook import EventHook


class DeliveryHook(EventHook):
    """Base class of the hooks that deliver each event to a receiver.

    The event is created in the caller's thread, so it reports the state of that moment.
    ``hook_dispatch`` decides which thread delivers it: the caller's, one in the
    background, or the one that drains an :class:`~hooks.events.outbox.Outbox`.
    """

    dispatches: ClassVar = (*EventHook.dispatches, "durable")
    may_veto: ClassVar = False
    pre_has_effects: ClassVar = True
    #: Empty: the deliveries are deferred, not the hook methods.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("pre", "post", "error", "periodic")

    options: ClassVar[Sequence[cfg.Opt]] = (
        cfg.StrOpt(
            "hook_outbox_path",
            help="Directory of the outboxes of hook_dispatch = durable. Each hook "
            "instance has a subdirectory in it, <backend>.<name>. Defaults to "
            "manila-aspects in Manila's state_path.",
        ),
        cfg.FloatOpt(
            "hook_outbox_timeout",
            default=2.0,
            min=0.1,
            max=86400,
            mutable=True,
            help="Maximum time, in seconds, for which a call waits for a file of the "
            "outbox that another program has locked. Further events are then written "
            "to a second file.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self.outbox: Any = None
        if self.get_config_option("hook_dispatch") == "durable":
            self.outbox = self._new_outbox()

    def _new_outbox(self) -> Any:
        try:
            # Only durable delivery needs the library that this imports.
            from hooks.events.outbox import Outbox
        except ImportError as error:
            raise ValueError(
                f"hook_dispatch = durable: {error}; "
                "run pip install 'manila-aspects[durable]'"
            ) from error
        path = self.get_config_option("hook_outbox_path")
        if not path:
            state_path = self.get_config_option("state_path")
            if not state_path:
                raise ValueError(
                    "hook_outbox_path is not set, and neither is state_path; "
                    "set one of them"
                )
            path = os.path.join(state_path, "manila-aspects")
        backend = getattr(self.configuration, "config_group", None) or "DEFAULT"
        name = getattr(self.configuration, "name", None) or type(self).__name__
        try:
            return Outbox(
                Path(path) / directory_name(backend, name),
                self.deliver,
                lambda: float(self.get_config_option("hook_outbox_timeout")),
            )
        except OSError as error:
            raise ValueError(f"hook_outbox_path {path}: {error}") from error

    @abc.abstractmethod
    def deliver(self, event: dict[str, Any]) -> None:
        """Deliver one event, in bounded time.

        With ``background`` and ``durable``, only one thread calls at a time. With
        ``inline``, several callers may do so.

        :param event: attributes of CloudEvents 1.0 and ``data``
        :raises RejectedError: if the receiver rejects the event permanently
        :raises Exception: if the delivery failed and may be retried
        """

    def start(self) -> None:
        """Start delivering, with the pending events of earlier processes first."""
        if self.outbox:
            self.outbox.start()

    def stop(self) -> None:
        """Deliver pending events for up to ``hook_drain_timeout`` seconds, and stop."""
        if self.outbox:
            self.outbox.stop(self.get_config_option("hook_drain_timeout"))

    def counts(self) -> dict[str, int]:
        """Return the counts of the hook and of its outbox.

        :return: counts by name. An outbox adds ``delivered`` and ``rejected``, the
            deliveries of this process, ``pending``, unless its file is unreadable, and
            ``unreadable``, if a row of the file was not an event
        """
        counts = super().counts()
        if self.outbox:
            counts["delivered"] = self.outbox.delivered
            counts["rejected"] = self.outbox.rejected
            if (pending := self.outbox.pending()) is not None:
                counts["pending"] = pending
            if self.outbox.unreadable:
                counts["unreadable"] = self.outbox.unreadable
        return counts

    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> Mapping[str, Any] | None:
        if self.outbox:
            self.outbox.put(event)
        elif self.dispatcher:
            self.dispatcher.put(self, kind, operation, self.deliver, event)
        else:
            self.deliver(event)
        return None


def directory_name(backend: str, name: str) -> str:
    """Return the name of the directory of an outbox.

    Instances may share ``hook_outbox_path`` but not an outbox, since each delivers to
    its own receiver. So the only dot is the one between the two names.

    :param backend: the backend section
    :param name: the name of the hook instance
    """
    parts = [urllib.parse.quote(part, safe="") for part in (backend, name)]
    return ".".join(part.replace(".", "%2E") for part in parts)

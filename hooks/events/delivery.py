# SPDX-License-Identifier: Apache-2.0
"""What the hooks that deliver events have in common."""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from oslo_config import cfg

from hooks.events.hook import EventHook


class DeliveryHook(EventHook):
    """Base of the hooks that deliver an event for what they are told.

    An event is made in the caller's thread, of what is known then. What delivers
    it depends on ``hook_dispatch``: the caller's thread, one in the background, or
    the thread that empties an :class:`~hooks.events.outbox.Outbox`.
    """

    dispatches: ClassVar = (*EventHook.dispatches, "durable")
    may_veto: ClassVar = False
    #: None of its actions: it is the deliveries that are deferred.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("pre", "post", "error", "periodic")

    options: ClassVar[Sequence[cfg.Opt]] = (
        cfg.StrOpt(
            "hook_outbox_path",
            help="Directory for the outboxes of hook_dispatch = durable, one directory "
            "per hook instance, named <backend>.<name>. Default: manila-aspects in "
            "Manila's state_path.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self.outbox: Any = None
        if self.get_config_option("hook_dispatch") == "durable":
            self.outbox = self._new_outbox()

    def _new_outbox(self) -> Any:
        try:
            # Needs libraries that the other ways do without.
            from hooks.events.outbox import Outbox
        except ImportError as error:
            raise ValueError(
                f"hook_dispatch = durable: {error}: "
                "pip install 'manila-aspects[durable]'"
            ) from error
        path = self.get_config_option("hook_outbox_path")
        if not path:
            state_path = self.get_config_option("state_path")
            if not state_path:
                raise ValueError(
                    "hook_outbox_path is not set, and there is no state_path"
                )
            path = os.path.join(state_path, "manila-aspects")
        backend = getattr(self.configuration, "config_group", None) or "DEFAULT"
        name = getattr(self.configuration, "name", None) or type(self).__name__
        # One for each instance, also where the option is set for several: their
        # events go to different places.
        try:
            return Outbox(Path(path) / f"{backend}.{name}", self.deliver)
        except OSError as error:
            raise ValueError(f"hook_outbox_path {path}: {error}") from error

    @abc.abstractmethod
    def deliver(self, event: dict[str, Any]) -> None:
        """Deliver one event, within a time that is bounded.

        It is called in the thread that delivers, never in two at once with
        ``background`` and ``durable``.

        :param event: attributes of CloudEvents 1.0 and ``data``
        :raises RejectedError: if it is no use to try this event again
        :raises Exception: if it was not delivered
        """

    def start(self) -> None:
        """Begin to deliver what is left of the last time."""
        if self.outbox:
            self.outbox.start()

    def stop(self) -> None:
        """Deliver what can be delivered within ``hook_drain_timeout``."""
        if self.outbox:
            self.outbox.stop(self.get_config_option("hook_drain_timeout"))

    def counts(self) -> dict[str, int]:
        """Return what every hook counts, and what its outbox does.

        :return: also the events ``delivered`` and ``refused`` by this process, and
            those that are ``pending``, unless the file of them cannot be read
        """
        counts = super().counts()
        if self.outbox:
            counts["delivered"] = self.outbox.delivered
            counts["refused"] = self.outbox.refused
            if (pending := self.outbox.pending()) is not None:
                counts["pending"] = pending
        return counts

    def _emit(
        self, kind: str, told: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> None:
        if self.outbox:
            self.outbox.put(told)
        elif self.dispatcher:
            self.dispatcher.put(self, kind, operation, self.deliver, told)
        else:
            self.deliver(told)

# SPDX-License-Identifier: Apache-2.0
"""Base class of the hooks that deliver events to a receiver."""

from __future__ import annotations

import abc
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from oslo_config import cfg

import aspects
from hooks.events.errors import RejectedError
from hooks.events.event import key_of
from hooks.events.hook import EventHook


class DeliveryHook(EventHook):
    """Base class of the hooks that deliver each event to a receiver.

    The event is created in the caller's thread, so it reports the state of that moment.
    ``hook_dispatch`` decides which thread delivers it: the caller's, those in the
    background, or those that drain an :class:`~hooks.events.outbox.Outbox`.
    """

    dispatches: ClassVar = (*EventHook.dispatches, "durable")
    may_veto: ClassVar = False
    pre_has_effects: ClassVar = True
    #: Empty: the deliveries are deferred, not the hook methods.
    deferred_methods: ClassVar = ()
    dispatching_methods: ClassVar = ("pre", "post", "error", "periodic")
    #: Whether several threads may deliver at once. If not, there is one worker, so that
    #: no delivery waits for another within its own time limit.
    delivers_in_parallel: ClassVar[bool] = True

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
        cfg.IntOpt(
            "hook_delivery_workers",
            default=20,
            min=1,
            max=1000,
            mutable=True,
            help="Maximum number of concurrent deliveries with hook_dispatch = "
            "background or durable; background reads it only at the start. The "
            "events of each share are delivered one after the other, in order. The "
            "hook notification always sends one at a time.",
        ),
        cfg.IntOpt(
            "hook_delivery_attempts",
            default=0,
            min=0,
            mutable=True,
            help="Number of failed attempts after which an event is given up with "
            "hook_dispatch = durable, and kept as a dead letter. 0 retries forever.",
        ),
        cfg.FloatOpt(
            "hook_delivery_max_age",
            default=0.0,
            min=0,
            mutable=True,
            help="Maximum age, in seconds, at which a failed event is retried with "
            "hook_dispatch = durable. An older event becomes a dead letter when an "
            "attempt fails. 0 retries forever.",
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
        path = outbox_path(self.get_config_option)
        backend = getattr(self.configuration, "config_group", None) or "DEFAULT"
        name = getattr(self.configuration, "name", None) or type(self).__name__
        try:
            return Outbox(
                Path(path) / directory_name(backend, name),
                self._deliver_all,
                self._settings,
                self.configuration,
            )
        except OSError as error:
            raise ValueError(f"hook_outbox_path {path}: {error}") from error

    @property
    def background_workers(self) -> int:  # type: ignore[override]
        """The maximum number of deliveries at once."""
        if not self.delivers_in_parallel:
            return 1
        return int(self.get_config_option("hook_delivery_workers"))

    def _settings(self) -> Any:
        from hooks.events.deliverer import Settings

        return Settings(
            self.get_config_option("hook_outbox_timeout"),
            self.background_workers,
            self.batch_size,
            self.get_config_option("hook_delivery_attempts"),
            self.get_config_option("hook_delivery_max_age"),
        )

    @property
    def batch_size(self) -> int:
        """The maximum number of events in a delivery with ``durable``."""
        return 1

    @abc.abstractmethod
    def deliver(self, event: dict[str, Any]) -> None:
        """Deliver one event, in bounded time.

        Several threads may call at once. With ``background`` and ``durable``, they
        deliver the events of each share one after the other.

        :param event: attributes of CloudEvents 1.0 and ``data``
        :raises RejectedError: if the receiver rejects the event permanently
        :raises Exception: if the delivery failed and may be retried
        """

    def deliver_batch(self, events: Sequence[dict[str, Any]]) -> None:
        """Deliver several events at once, in bounded time.

        It is called only if :attr:`batch_size` is greater than 1. No two of the events
        are about one share. If it raises, they are delivered one by one.

        :param events: the events
        :raises Exception: if the receiver did not confirm all of them
        """
        raise NotImplementedError

    def _deliver_all(self, *events: dict[str, Any]) -> None:
        for event in events:
            # Another program may have written it.
            if not isinstance(event.get("id"), str):
                raise RejectedError("not an event: its id is missing or not a text")
        if len(events) == 1:
            self.deliver(*events)
        else:
            self.deliver_batch(events)

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

        :return: counts by name. An outbox adds ``delivered``, ``rejected`` and
            ``given_up``, the events of this process, ``pending``, unless its file is
            unreadable, and ``unreadable``, if a row of the file was not an event
        """
        counts = super().counts()
        if self.outbox:
            counts["delivered"] = self.outbox.delivered
            counts["rejected"] = self.outbox.rejected
            counts["given_up"] = self.outbox.given_up
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
        elif self.delivers_in_parallel and isinstance(
            self.dispatcher, aspects.Background
        ):
            key = key_of(event)
            self.dispatcher.put_keyed(key, self, kind, operation, self.deliver, event)
        elif self.dispatcher:
            self.dispatcher.put(self, kind, operation, self.deliver, event)
        else:
            self.deliver(event)
        return None


def outbox_path(option: Callable[[str], Any]) -> str:
    """Return the directory that has the outboxes of a hook instance.

    :param option: returns the value of an option of the instance
    :raises ValueError: if no option has it
    """
    if path := option("hook_outbox_path"):
        return str(path)
    if state_path := option("state_path"):
        return os.path.join(state_path, "manila-aspects")
    raise ValueError(
        "hook_outbox_path is not set, and neither is state_path; set one of them"
    )


def directory_name(backend: str, name: str) -> str:
    """Return the name of the directory of an outbox.

    Instances may share ``hook_outbox_path`` but not an outbox, since each delivers to
    its own receiver. So the only dot is the one between the two names.

    :param backend: the backend section
    :param name: the name of the hook instance
    """
    parts = [urllib.parse.quote(part, safe="") for part in (backend, name)]
    return ".".join(part.replace(".", "%2E") for part in parts)

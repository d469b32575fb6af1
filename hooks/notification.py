# SPDX-License-Identifier: Apache-2.0
"""OpenStack notifications of join points and ticks, with oslo.messaging."""

from __future__ import annotations

import datetime
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_log import log

import aspects
from hooks.events.delivery import DeliveryHook
from hooks.events.event import ERROR, TYPE_PREFIX

LOG = log.getLogger(__name__)

#: oslo.messaging's names of its driver for RabbitMQ.
RABBIT = ("rabbit", "kombu")


def parsed_url(
    conf: cfg.ConfigOpts, url: str | None, option: str
) -> oslo_messaging.TransportURL:
    """Return a broker's URL, of which oslo.messaging can make a transport.

    :param conf: the options, with those of oslo.messaging's drivers
    :param url: the URL; None for that of the service's notifications, or else of
        the service
    :param option: the option that it comes from
    :raises ValueError: if it cannot be used; without its text, which has a password
        in it
    """
    option = option if url else "transport_url"
    try:
        # It connects when it is used, but reads all that it needs now.
        oslo_messaging.get_notification_transport(conf, url)
        url = url or conf.oslo_messaging_notifications.transport_url
        return oslo_messaging.TransportURL.parse(conf, url)
    except oslo_messaging.DriverLoadFailure as error:
        raise ValueError(f"{option}: {error}") from None
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{option}: its driver needs the module {error.name}: install the extra of "
            "oslo.messaging for it, as in pip install 'oslo.messaging[kafka]'"
        ) from None
    except Exception as error:
        raise ValueError(
            f"{option}: {type(error).__name__}: it, or an option of its driver, is "
            "not valid"
        ) from None


class NotificationHook(DeliveryHook):
    """Send an OpenStack notification for each event, and know that it was taken.

    Its ``event_type`` is ``share.<operation>.start``, ``.end`` or ``.error``, or
    ``share.periodic``; its ``payload`` is the event, its ``message_id`` that of the
    event, so that one that is sent again can be told. Its ``priority`` is ``ERROR``
    for ``.error``, else ``INFO``.

    oslo.messaging's own notifier waits for ever for a broker that is down, or
    returns as if it had sent. This hook waits for ``notification_timeout`` at most,
    and raises when the broker has not confirmed the message by then.

    :raises ValueError: if there is no way to send with these options
    """

    options = (
        *DeliveryHook.options,
        cfg.StrOpt(
            "notification_transport_url",
            secret=True,
            help="The broker, as in rabbit://user:password@host:5672/. By default "
            "that of the service: transport_url of [oslo_messaging_notifications], "
            "or else of [DEFAULT].",
        ),
        cfg.ListOpt(
            "notification_topics",
            default=["notifications"],
            mutable=True,
            help="The topics to send to: RabbitMQ's queues are <topic>.info and "
            "<topic>.error.",
        ),
        cfg.FloatOpt(
            "notification_timeout",
            default=5.0,
            min=0.1,
            max=86400,
            mutable=True,
            help="Seconds to wait until the broker has confirmed a message.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self._conf = getattr(configuration, "conf", None) or cfg.CONF
        self._topics()
        url = self.get_config_option("notification_transport_url")
        self._url = parsed_url(self._conf, url, "notification_transport_url")
        if self.outbox and self._url.transport not in RABBIT:
            # Kafka's hands a message to a thread and returns; what becomes of it is
            # but logged. An event would be off the disk before a broker has it.
            raise ValueError(
                f"hook_dispatch = durable: the driver {self._url.transport} of "
                "oslo.messaging does not tell whether a broker has a message; rabbit's "
                "does"
            )
        if self._url.transport in RABBIT:
            # What it waits for a broker that says nothing more. Callers do not, but
            # the next host of a cluster is not tried before.
            seconds = max(5, math.ceil(self.get_config_option("notification_timeout")))
            self._url.query.setdefault("heartbeat_timeout_threshold", str(seconds))
        #: One for each process that has sent: connections and locks are of the
        #: process that made them, and what a fork has of them is left as it is.
        self._senders: dict[int, _Sender] = {}

    def _topics(self) -> list[str]:
        """Return the topics to send to.

        :raises ValueError: if there is none
        """
        topics: list[str] = self.get_config_option("notification_topics")
        if not topics:
            raise ValueError("notification_topics: there is none to send to")
        return topics

    def _new_transport(self) -> Any:
        return oslo_messaging.get_notification_transport(self._conf, self._url)

    def start(self) -> None:
        """Begin to deliver what is left of the last time."""
        if self.outbox and not self._outlives_broker():
            LOG.warning(
                "Hook %(hook)s: hook_dispatch is durable, but the queues of the "
                "broker are not: set amqp_durable_queues or rabbit_quorum_queue in "
                "[oslo_messaging_rabbit], or it loses them when it restarts",
                {"hook": aspects.hook_name(self)},
            )
        super().start()

    def _outlives_broker(self) -> bool:
        """Tell whether what RabbitMQ has confirmed survives its restart."""
        # With what the URL itself says of these options.
        options = self._new_transport().conf.oslo_messaging_rabbit
        return bool(options.amqp_durable_queues or options.rabbit_quorum_queue)

    def stop(self) -> None:
        """Deliver what can be delivered, and close the connection."""
        super().stop()
        if sender := self._senders.get(os.getpid()):
            sender.stop(self.get_config_option("notification_timeout"))

    def deliver(self, event: dict[str, Any]) -> None:
        """Send one event, and wait until the broker has confirmed it.

        :param event: attributes of CloudEvents 1.0 and ``data``
        :raises TimeoutError: if that took longer than ``notification_timeout``; the
            broker may have got it all the same, or get it yet
        :raises Exception: if it could not be sent
        """
        priority = "ERROR" if event["type"].endswith(f".{ERROR}") else "INFO"
        when = datetime.datetime.fromisoformat(event["time"])
        data = event["data"]
        message = {
            "message_id": event["id"],
            "publisher_id": f"share.{self.host}" if self.host else "share",
            "event_type": event["type"].removeprefix(TYPE_PREFIX),
            "priority": priority,
            "payload": event,
            # As oslo.messaging writes it: UTC, without saying so.
            "timestamp": str(when.astimezone(datetime.timezone.utc))[:-6],
        }
        context = {key: data.get(key) for key in _CONTEXT}
        targets = [
            oslo_messaging.Target(topic=f"{topic}.{priority.lower()}")
            for topic in self._topics()
        ]
        # Once round the hosts of a cluster, each without a pause.
        retry = max(len(self._url.hosts) - 1, 0)
        timeout = self.get_config_option("notification_timeout")
        process = os.getpid()
        sender = self._senders.get(process) or self._senders.setdefault(
            process, _Sender(self._new_transport)
        )
        sender.send(timeout, targets, context, message, retry)


#: What of the request's context is told: ids, and never its token.
_CONTEXT = ("request_id", "project_id", "user_id")


class _Sender:
    """Sends one message at a time, in a thread of its own each.

    What oslo.messaging does can be given no time: it tries again, and waits for a
    broker that says nothing some times as long as ``heartbeat_timeout_threshold``. So
    callers wait for that thread, and no longer than they want; while there is one,
    there is no second.

    :param new_transport: makes a transport of oslo.messaging, which connects when
        it sends
    """

    def __init__(self, new_transport: Callable[[], Any]) -> None:
        self._new_transport = new_transport
        self._transport: Any = None
        self._free = threading.Lock()

    def send(
        self,
        timeout: float,
        targets: list[oslo_messaging.Target],
        context: dict[str, Any],
        message: dict[str, Any],
        retry: int,
    ) -> None:
        """Send a message to each target, and wait until all are confirmed.

        :param timeout: seconds to wait at most
        :param targets: where to
        :param context: what oslo.messaging tells as the request's context
        :param message: the notification
        :param retry: how many more hosts there are to try
        :raises TimeoutError: if it took longer
        :raises Exception: if it could not be sent
        """

        def publish() -> None:
            if self._transport is None:
                self._transport = self._new_transport()
            for target in targets:
                # What a Notifier calls, and then swallows its errors. There is no
                # public way to be told of them.
                self._transport._send_notification(
                    target, context, message, version=2.0, retry=retry
                )

        def run() -> None:
            kept = self._transport is not None
            try:
                publish()
            except Exception:
                self._close()
                if not kept:
                    raise
                # The broker may have been restarted since the last one: only what
                # happens to a new connection says how it is now.
                try:
                    publish()
                except Exception:
                    self._close()
                    raise

        self._run(timeout, run)

    def stop(self, timeout: float) -> None:
        """Close the connection, unless a message is stuck on it.

        :param timeout: seconds to wait at most
        """
        if self._transport is not None:
            try:
                self._run(timeout, self._close)
            except TimeoutError as error:
                LOG.warning("The connection of notifications stays: %s", error)

    def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            try:
                transport.cleanup()
            except Exception as error:
                LOG.debug("Closing a connection failed: %s", error)

    def _run(self, timeout: float, action: Callable[[], None]) -> None:
        """Run an action in a thread, after the one before, and wait for its end.

        :param timeout: seconds to wait at most, for both
        :param action: what to run
        :raises TimeoutError: if it took longer
        :raises Exception: what the action raised
        """
        deadline = time.monotonic() + timeout
        outcome: futures.Future[None] = futures.Future()

        def run() -> None:
            error: BaseException | None = None
            try:
                action()
            except BaseException as caught:
                error = caught
            self._free.release()
            if error is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(error)

        if not self._free.acquire(timeout=timeout):
            raise TimeoutError(
                f"not sent: after {timeout:g} s the message before it is on its way yet"
            )
        try:
            threading.Thread(target=run, name="notification", daemon=True).start()
        except RuntimeError:
            self._free.release()
            raise
        futures.wait([outcome], max(deadline - time.monotonic(), 0))
        if not outcome.done():
            raise TimeoutError(f"the broker did not confirm it in {timeout:g} s")
        outcome.result()

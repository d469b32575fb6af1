# SPDX-License-Identifier: Apache-2.0
"""OpenStack notifications of calls and ticks, sent with oslo.messaging."""

from __future__ import annotations

import datetime
import logging
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

#: URL schemes of oslo.messaging's driver for RabbitMQ.
RABBIT = ("rabbit", "kombu")


def parsed_url(
    conf: cfg.ConfigOpts, url: str | None, option: str
) -> oslo_messaging.TransportURL:
    """Parse a broker's URL, and check that oslo.messaging accepts it.

    :param conf: the options, including those of oslo.messaging's drivers
    :param url: the URL; None for the service's own, of
        ``[oslo_messaging_notifications]`` or else of ``[DEFAULT]``
    :param option: the option that has the URL
    :return: the parsed URL
    :raises ValueError: if the URL cannot be used; the message does not contain the URL,
        which has a password in it
    """
    option = option if url else "transport_url"
    try:
        # This makes no connection, but checks the URL and the driver's options.
        oslo_messaging.get_notification_transport(conf, url)
        url = url or conf.oslo_messaging_notifications.transport_url
        return oslo_messaging.TransportURL.parse(conf, url)
    except oslo_messaging.DriverLoadFailure as error:
        raise ValueError(f"{option}: {error}") from None
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{option}: its driver needs the module {error.name}; install the extra of "
            "oslo.messaging for it, e.g. pip install 'oslo.messaging[kafka]'"
        ) from None
    except Exception as error:
        raise ValueError(
            f"{option}: {type(error).__name__}: the URL or an option of its driver "
            "is not valid"
        ) from None


class NotificationHook(DeliveryHook):
    """Send an OpenStack notification for each event, and wait for its confirmation.

    The ``event_type`` is ``share.<operation>.start``, ``.end`` or ``.error``,
    ``share.periodic``, or ``share.violation.appeared`` or ``.resolved`` for the audit
    of the guard. The ``payload`` is the event. The ``message_id`` is the event's
    ID, by which a consumer recognizes a repeat. The ``priority`` is ``ERROR`` for
    ``.error``, else ``INFO``. A call whose result reports a failure is an ``.error``.

    If the broker is down, oslo.messaging's own notifier waits without end, or returns
    as if it had sent the message. This hook raises unless the broker confirms the
    message within ``notification_timeout``.

    :raises ValueError: if an option is missing or not valid
    """

    #: There is one connection, which sends one message at a time.
    delivers_in_parallel = False

    options = (
        *DeliveryHook.options,
        cfg.StrOpt(
            "notification_transport_url",
            secret=True,
            help="URL of the broker, e.g. rabbit://user:password@host:5672/. Defaults "
            "to the service's transport_url, of [oslo_messaging_notifications] or else "
            "of [DEFAULT].",
        ),
        cfg.ListOpt(
            "notification_topics",
            default=["notifications"],
            mutable=True,
            help="Topics to send notifications to. In RabbitMQ, the queues of a topic "
            "are <topic>.info and <topic>.error.",
        ),
        cfg.FloatOpt(
            "notification_timeout",
            default=5.0,
            min=0.1,
            max=86400,
            mutable=True,
            help="Maximum time, in seconds, to wait for the broker to confirm a "
            "message.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self._conf = getattr(configuration, "conf", None) or cfg.CONF
        self._topics()
        url = self.get_config_option("notification_transport_url")
        self._url = parsed_url(self._conf, url, "notification_transport_url")
        if self.outbox and self._url.transport not in RABBIT:
            # The Kafka driver queues a message for a thread, which only logs a failure.
            # The event would leave the disk before the broker has it.
            raise ValueError(
                f"hook_dispatch = durable: the driver {self._url.transport} of "
                "oslo.messaging does not confirm messages; use rabbit"
            )
        if self._url.transport in RABBIT:
            # How long the driver waits for a broker that does not respond before it
            # tries the next host of a cluster. Callers do not wait for it.
            seconds = max(5, math.ceil(self.get_config_option("notification_timeout")))
            self._url.query.setdefault("heartbeat_timeout_threshold", str(seconds))
        #: Senders by process ID. A process must not use the connections and locks that
        #: it inherited by a fork.
        self._senders: dict[int, _Sender] = {}

    def _topics(self) -> list[str]:
        """Return the topics to send to.

        :raises ValueError: if the option is empty
        """
        topics: list[str] = self.get_config_option("notification_topics")
        if not topics:
            raise ValueError("notification_topics: expected at least one topic")
        return topics

    def _new_transport(self) -> Any:
        return oslo_messaging.get_notification_transport(self._conf, self._url)

    def start(self) -> None:
        """Start delivering pending events; warn if the queues are not durable."""
        if self.outbox and not self._has_durable_queues():
            LOG.warning(
                "Hook %(hook)s: hook_dispatch is durable, but the broker loses its "
                "queues when it restarts; set amqp_durable_queues or "
                "rabbit_quorum_queue in [oslo_messaging_rabbit]",
                {"hook": aspects.hook_name(self)},
            )
        super().start()

    def _has_durable_queues(self) -> bool:
        """Return whether messages that RabbitMQ has confirmed survive its restart."""
        # The transport's options include those that the URL overrides.
        options = self._new_transport().conf.oslo_messaging_rabbit
        return bool(options.amqp_durable_queues or options.rabbit_quorum_queue)

    def stop(self) -> None:
        """Stop as the base class does, and close the connection."""
        super().stop()
        if sender := self._senders.get(os.getpid()):
            sender.stop(self.get_config_option("notification_timeout"))

    def deliver(self, event: dict[str, Any]) -> None:
        """Send one event, and wait until the broker confirms it.

        :param event: attributes of CloudEvents 1.0 and ``data``
        :raises TimeoutError: if the broker confirms nothing within
            ``notification_timeout``; the broker may still receive the event
        :raises Exception: if the event could not be sent
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
            # oslo.messaging writes UTC without an offset.
            "timestamp": str(when.astimezone(datetime.timezone.utc))[:-6],
        }
        context = {key: data.get(key) for key in _CONTEXT}
        targets = [
            oslo_messaging.Target(topic=f"{topic}.{priority.lower()}")
            for topic in self._topics()
        ]
        # Try each host of a cluster once, without a pause.
        retry = max(len(self._url.hosts) - 1, 0)
        timeout = self.get_config_option("notification_timeout")
        process = os.getpid()
        sender = self._senders.get(process) or self._senders.setdefault(
            process, _Sender(self._new_transport)
        )
        sender.send(timeout, targets, context, message, retry)


#: Fields of the request's context that are sent. The token is never sent.
_CONTEXT = ("request_id", "project_id", "user_id")


def _log_close(level: int, error: Exception) -> None:
    """Log an error of closing a connection, whose text may have the broker's URL."""
    text = aspects.without_secrets(str(error), None, {})
    LOG.log(level, "Failed to close the notification connection: %s", text)


class _Sender:
    """Sends one message at a time, each in a new thread.

    oslo.messaging accepts no time limit. For a broker that does not respond, it retries
    and waits several times ``heartbeat_timeout_threshold``. A caller therefore waits
    for the thread only until its own time limit. No second thread starts while one is
    running.

    :param new_transport: creates a transport of oslo.messaging, which connects when
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

        :param timeout: maximum time to wait, in seconds
        :param targets: the targets
        :param context: the request's context as oslo.messaging sends it
        :param message: the notification
        :param retry: number of further hosts to try
        :raises TimeoutError: if the broker does not confirm it in time
        :raises Exception: if the message could not be sent
        """

        def publish() -> None:
            if self._transport is None:
                self._transport = self._new_transport()
            for target in targets:
                # Notifier calls this method and hides its errors. No public method of
                # oslo.messaging raises them.
                self._transport._send_notification(
                    target, context, message, version=2.0, retry=retry
                )

        def run() -> None:
            reused = self._transport is not None
            try:
                publish()
            except Exception:
                self._close()
                if not reused:
                    raise
                # The broker may have restarted since the last message, so only a new
                # connection shows its current state.
                try:
                    publish()
                except Exception:
                    self._close()
                    raise

        self._run(timeout, run)

    def stop(self, timeout: float) -> None:
        """Close the connection, unless a message is stuck on it.

        :param timeout: maximum time to wait, in seconds
        """
        if self._transport is not None:
            try:
                self._run(timeout, self._close)
            except TimeoutError as error:
                _log_close(logging.WARNING, error)

    def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            try:
                transport.cleanup()
            except Exception as error:
                _log_close(logging.DEBUG, error)

    def _run(self, timeout: float, action: Callable[[], None]) -> None:
        """Run a function in a thread, after the previous one, and wait for its end.

        :param timeout: maximum time to wait for both, in seconds
        :param action: the function to run
        :raises TimeoutError: if the function has not ended in time
        :raises Exception: the error that the function raised
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
                f"not sent: the previous message is still in flight after {timeout:g} s"
            )
        try:
            threading.Thread(target=run, name="notification", daemon=True).start()
        except RuntimeError:
            if threading.main_thread().is_alive():
                self._free.release()
                raise
            # Python 3.12.0 to 3.12.2 start no thread while the interpreter exits.
            run()
        futures.wait([outcome], max(deadline - time.monotonic(), 0))
        if not outcome.done():
            raise TimeoutError(f"the broker did not confirm it in {timeout:g} s")
        outcome.result()

# SPDX-License-Identifier: Apache-2.0
"""Events for an HTTP server, which may decide about calls: a POST request for each."""

from __future__ import annotations

import datetime
import email.utils
import functools
import http.client
import io
import json
import logging
import os
import ssl
import sys
import threading
import time
import urllib.parse
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from http.cookiejar import DefaultCookiePolicy
from typing import Any, ClassVar, NamedTuple

import requests
import tenacity
import urllib3
from oslo_config import cfg
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

import aspects
from hooks.events.decision import MAX_SIZE, decision_in, short_line
from hooks.events.delivery import DeliveryHook
from hooks.events.errors import (
    DeliveryFailedError,
    InvalidDecisionError,
    RejectedError,
)
from hooks.webhook.request import check_client_certificate, check_headers, token_in
from hooks.webhook.signature import key_of, signed_headers

#: HTTP statuses that reject an event permanently.
REJECTIONS = (400, 413, 415, 422)

#: Limits for the body of a response that is not a decision, in bytes and in seconds.
#: Reading the body to its end allows the connection to be used again.
LONGEST_BODY, LONGEST_WAIT = 65536, 0.2

#: Maximum number of deliveries that have failed but whose threads still hang, e.g. in
#: the look-up of a host name. Beyond that, deliveries fail at once.
MAX_HANGING = 10

_THREAD = "webhook"

#: The content type of events, without the format.
_EVENTS = "application/cloudevents"

#: The delivery of each thread.
_current = threading.local()

# urllib3's messages contain the path and query of the URL, which may be secrets.
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(
        lambda record: getattr(_current, "delivery", None) is None
    )


class WebhookHook(DeliveryHook):
    """POST each event to a URL, as a CloudEvent in structured JSON.

    A status of 200 to 299 confirms the delivery. A status of :data:`REJECTIONS` rejects
    the event permanently. Any other final status or error is a failed attempt, which is
    retried with the same body until ``webhook_timeout`` has passed, or forever with
    ``hook_dispatch = durable``. The headers follow the Standard Webhooks specification.

    With ``webhook_decides``, the pre method waits for the answer to its event, which
    allows, changes or denies the call.

    :raises ValueError: if an option is missing or not valid
    """

    options: ClassVar[Sequence[cfg.Opt]] = (
        *DeliveryHook.options,
        cfg.StrOpt(
            "webhook_url",
            secret=True,
            mutable=True,
            help="URL that events are POSTed to, http:// or https://. The user and "
            "password of http://user:password@host/ are sent as basic authentication.",
        ),
        cfg.ListOpt(
            "webhook_secret",
            default=[],
            secret=True,
            mutable=True,
            help="Secrets of the signatures by which the receiver verifies events, as "
            "Standard Webhooks defines them: whsec_<base64 of 24 to 64 bytes>. During "
            "a rotation, the new secret and the old one. Empty sends no signature.",
        ),
        cfg.DictOpt(
            "webhook_headers",
            default={},
            secret=True,
            mutable=True,
            help="Further headers of each request, name:value, separated by commas. A "
            "value cannot contain a comma.",
        ),
        cfg.StrOpt(
            "webhook_token_file",
            mutable=True,
            help="Path of a file with a bearer token for the header Authorization. It "
            "is read for each request, so the token may be replaced at any time.",
        ),
        cfg.FloatOpt(
            "webhook_timeout",
            default=5.0,
            min=0.1,
            max=86400,
            mutable=True,
            help="Maximum time, in seconds, for the delivery of an event, including "
            "retries; with hook_dispatch = durable, for each attempt.",
        ),
        cfg.BoolOpt(
            "webhook_verify",
            default=True,
            mutable=True,
            help="Whether to verify the receiver's TLS certificate.",
        ),
        cfg.StrOpt(
            "webhook_ca_file",
            mutable=True,
            help="Path of a PEM file with the certificates of the authorities to "
            "trust. Defaults to those that come with the requests library.",
        ),
        cfg.StrOpt(
            "webhook_client_cert",
            mutable=True,
            help="Path of a PEM file with the certificate by which a receiver with "
            "https:// authenticates the hook, and the certificates of its issuers. It "
            "is read for each new connection.",
        ),
        cfg.StrOpt(
            "webhook_client_key",
            mutable=True,
            help="Path of a PEM file with the private key of webhook_client_cert, "
            "without a passphrase. Defaults to the same file.",
        ),
        cfg.StrOpt(
            "webhook_proxy",
            secret=True,
            mutable=True,
            help="URL of an HTTP proxy for all requests, "
            "http://[user:password@]host:port. The environment, e.g. https_proxy, is "
            "ignored.",
        ),
        cfg.IntOpt(
            "webhook_batch_size",
            default=1,
            min=1,
            max=1000,
            mutable=True,
            help="Maximum number of events in a request with hook_dispatch = durable, "
            "each of another share. Requests with several events have the content type "
            "application/cloudevents-batch+json, which the receiver has to support.",
        ),
        cfg.BoolOpt(
            "webhook_decides",
            default=False,
            mutable=True,
            help="Whether the receiver decides about a call before it begins: its "
            "answer to the event of the pre method allows the call, replaces "
            "arguments, or denies it. suppress_pre_hooks_errors decides whether "
            "calls are denied or pass while the receiver is down.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self._session: requests.Session | None = None
        self._process: int | None = None
        #: Deliveries that have failed, but whose threads may still run.
        self._given_up: set[_Delivery] = set()
        #: The last token that was sent. An answer may repeat it.
        self._token = ""
        for secret in self.get_config_option("webhook_secret"):
            key_of(secret)
        self._headers(self.get_config_option("webhook_url"))
        self._proxies()
        if certificate := self._client_certificate():
            check_client_certificate(*certificate)
        if ca_file := self.get_config_option("webhook_ca_file"):
            try:
                ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                raise ValueError(f"webhook_ca_file {ca_file}: {error}") from error

    @property
    def may_veto(self) -> bool:  # type: ignore[override]
        """True if the receiver decides about calls."""
        return bool(self.get_config_option("webhook_decides"))

    @property
    def dispatching_methods(self) -> Sequence[str]:  # type: ignore[override]
        """The hook methods whose delivery may be deferred; a decision cannot wait."""
        kinds: Sequence[str] = DeliveryHook.dispatching_methods
        return kinds[1:] if self.may_veto else kinds

    def ineffective(self) -> tuple[str, str] | None:
        """Return why the receiver cannot decide, if it is meant to."""
        if self.may_veto and not self.pre_hooks_enabled:
            cause = "webhook_decides has no effect, since enable_pre_hooks is False"
            return cause, "set enable_pre_hooks = True"
        return super().ineffective()

    def stop(self) -> None:
        """Stop as the base class does, and close the connections."""
        super().stop()
        if self._session is not None and self._process == os.getpid():
            self._session.close()

    def deliver(self, event: dict[str, Any]) -> None:
        """POST one event, with retries until it is delivered or the time is over.

        :param event: attributes of CloudEvents 1.0 and ``data``
        :raises RejectedError: if the receiver rejects the event permanently
        :raises DeliveryFailedError: if the receiver did not confirm the event in time;
            a slow receiver may have it anyway
        """
        self._send(_message(event))

    @property
    def batch_size(self) -> int:
        """The maximum number of events in a request with ``durable``."""
        return int(self.get_config_option("webhook_batch_size"))

    def deliver_batch(self, events: Sequence[dict[str, Any]]) -> None:
        """POST several events at once, as a JSON array.

        Source: "JSON Batch Format" of CloudEvents 1.0.

        :param events: the events
        :raises RejectedError, DeliveryFailedError: as by :meth:`deliver`
        """
        body = json.dumps(events).encode()
        self._send(_Message(str(uuid.uuid4()), f"{_EVENTS}-batch+json", body))

    def _emit(
        self, kind: str, event: dict[str, Any], context: Any, operation: Any, *call: Any
    ) -> Mapping[str, Any] | None:
        if kind != "pre" or not self.may_veto:
            return super()._emit(kind, event, context, operation, *call)
        origin = _origin("webhook_url", self.get_config_option("webhook_url"))
        try:
            decision = decision_in(self._send(_message(event), decides=True))
        except InvalidDecisionError as error:
            raise InvalidDecisionError(f"{origin}: {error}") from None
        if decision.allowed:
            return decision.arguments
        arguments = operation.arguments(*call)
        reason = short_line(
            *(decision.reason, context, arguments),
            secrets=[self._token],
            configuration=self.configuration,
        )
        raise aspects.Veto(reason or "denied, without a reason")

    def _send(self, message: _Message, decides: bool = False) -> bytes:
        """POST a message, with retries until there is a response or the time is over.

        :param message: the message
        :param decides: whether the body of the response is a decision
        :return: that body; empty if it is not a decision
        :raises RejectedError: if a retry is useless
        :raises DeliveryFailedError: if there was no response in time
        :raises InvalidDecisionError: if the body is too large for a decision
        """
        url = self.get_config_option("webhook_url")
        origin = _origin("webhook_url", url)
        # Other threads may add to it.
        for ended in [one for one in tuple(self._given_up) if not one.is_running()]:
            self._given_up.discard(ended)
        if (count := len(self._given_up)) >= MAX_HANGING:
            raise DeliveryFailedError(
                f"{origin}: not sent; the threads of {count} failed deliveries hang"
            )
        timeout = self.get_config_option("webhook_timeout")
        deadline = time.monotonic() + timeout
        failures: list[Any] = [
            DeliveryFailedError(f"{origin}: no response in {timeout:g} s")
        ]
        pause = 0.0

        def after(state: tenacity.RetryCallState) -> None:
            # Computed here, since tenacity before 8.3 does not pass it to ``stop``.
            nonlocal pause
            failures.append(_error_of(state))
            pause = _pause(state)

        # One attempt is enough for the outbox, which retries without a limit itself.
        once = bool(self.outbox) and not decides
        attempts = tenacity.Retrying(
            # Nor does anyone wait for the outcome of a delivery that was given up.
            stop=lambda _: (
                once or delivery.given_up or time.monotonic() + pause >= deadline
            ),
            wait=lambda _: pause,
            retry=tenacity.retry_if_exception_type(DeliveryFailedError),
            after=after,
            reraise=True,
        )
        # A thread, since requests' timeout ends neither the look-up of a host name nor
        # the attempts to connect to each of its addresses.
        delivery = _Delivery(
            lambda: attempts(self._post, url, origin, message, deadline, decides),
            decides,
        )
        try:
            threading.Thread(target=delivery.run, name=_THREAD, daemon=True).start()
        except RuntimeError:
            # The interpreter exits (Python 3.12.0 to 3.12.2 start no thread then), or
            # the process has too many threads.
            delivery.run()
        try:
            return delivery.outcome.result(timeout)
        except futures.TimeoutError:
            # The error of an earlier attempt has the cause, if there was one.
            raise failures[-1] from None
        finally:
            if not delivery.outcome.done():
                delivery.given_up = True
                self._given_up.add(delivery)

    def _post(
        self,
        url: str,
        origin: str,
        message: _Message,
        deadline: float,
        decides: bool,
    ) -> bytes:
        try:
            secrets = self.get_config_option("webhook_secret")
            headers = {
                **self._headers(url),
                **signed_headers(secrets, message.id, int(time.time()), message.body),
                "Content-Type": message.content_type,
            }
            proxies, certificate = self._proxies(), self._client_certificate()
        except ValueError as error:
            # An operator may be about to replace the token or the configuration.
            raise DeliveryFailedError(f"{origin}: {error}") from None
        if decides:
            # The limit of the size is that of the answer as it is sent.
            headers["Accept-Encoding"] = "identity"
        verify = self.get_config_option("webhook_verify")
        if not verify:
            _warn_once()
        # Limits the whole request. requests applies a plain number to each step alone.
        left: Any = urllib3.Timeout(total=max(deadline - time.monotonic(), 0.001))
        # The context of each error below, if a caller runs this as it handles an error.
        handled = sys.exc_info()[1]
        try:
            response = self._session_here().post(
                url,
                data=message.body,
                headers=headers,
                timeout=left,
                verify=verify and (self.get_config_option("webhook_ca_file") or True),
                cert=certificate,
                proxies=proxies,
                # A redirect may lead to a server that the operator did not choose.
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.ProxyError as error:
            cause = _cause(error, handled)
            raise DeliveryFailedError(f"{origin}: proxy: {cause}") from None
        except Exception as error:
            cause = _cause(error, handled)
            raise DeliveryFailedError(f"{origin}: {cause}") from None
        with response:
            status = response.status_code
            if 200 <= status < 300:
                if decides:
                    return _answer(response, origin, handled)
                _read(response, handled)
                return b""
        # A caller waits for a decision, so only a receiver that is down gets a retry.
        if status in REJECTIONS or (decides and status < 500):
            raise RejectedError(f"{origin}: status {status}")
        raise DeliveryFailedError(
            f"{origin}: status {status}", _retry_after(response.headers)
        )

    def _headers(self, url: str) -> dict[str, str]:
        """Return the headers that options add to a request.

        :param url: the URL of the receiver
        :raises ValueError: if an option is not valid
        """
        _origin("webhook_url", url)
        headers = dict(self.get_config_option("webhook_headers"))
        check_headers(headers)
        path = self.get_config_option("webhook_token_file")
        credentials = {
            "webhook_url": "@" in urllib.parse.urlsplit(url).netloc,
            "webhook_token_file": path,
            "webhook_headers": "authorization" in map(str.lower, headers),
        }
        used = [option for option, value in credentials.items() if value]
        if len(used) > 1:
            raise ValueError(
                f"the header Authorization is set by {used[0]} and by {used[1]}; "
                "remove one of them"
            )
        if path:
            self._token = token_in(path)
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _proxies(self) -> dict[str, str]:
        """Return the proxy of each scheme, as requests expects it.

        :raises ValueError: if ``webhook_proxy`` is not valid
        """
        proxy = self.get_config_option("webhook_proxy")
        if not proxy:
            return {}
        _origin("webhook_proxy", proxy, ("http",))
        return {"all": proxy}

    def _client_certificate(self) -> tuple[str, str] | None:
        """Return the files of the client certificate and its key; None without one.

        :raises ValueError: if there is a key but no certificate
        """
        certificate = self.get_config_option("webhook_client_cert")
        key = self.get_config_option("webhook_client_key")
        if not certificate:
            if key:
                raise ValueError(
                    f"webhook_client_key {key}: webhook_client_cert is not set; set it"
                )
            return None
        # With both files, urllib3 never asks for a passphrase on the terminal.
        return certificate, key or certificate

    def _session_here(self) -> requests.Session:
        """Return the session of this process, which keeps connections open."""
        if self._session is None or self._process != os.getpid():
            session = requests.Session()
            # Only the hook's options count: no proxy of the environment, no ~/.netrc.
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
            session.headers["User-Agent"] = "manila-aspects"
            # A connection for each delivery at once can be kept open.
            most = self.get_config_option("hook_delivery_workers")
            session.mount("http://", _Adapter(pool_maxsize=most))
            session.mount("https://", _Adapter(pool_maxsize=most))
            self._session, self._process = session, os.getpid()
        return self._session


class _Message(NamedTuple):
    """The content of a request."""

    id: str
    content_type: str
    body: bytes


def _message(event: dict[str, Any]) -> _Message:
    return _Message(event["id"], f"{_EVENTS}+json", json.dumps(event).encode())


class _Delivery:
    """One delivery, with its retries.

    :param action: delivers the event, and returns the answer
    :param decides: whether the answer is a decision
    """

    def __init__(self, action: Callable[[], bytes], decides: bool) -> None:
        self._action = action
        self.decides = decides
        self.outcome: futures.Future[bytes] = futures.Future()
        self._process = os.getpid()
        #: Set when the caller stopped waiting. Nothing may be sent after that: the
        #: event would arrive behind later ones.
        self.given_up = False

    def is_running(self) -> bool:
        """Return whether its thread still runs, in this process."""
        return self._process == os.getpid() and not self.outcome.done()

    def run(self) -> None:
        """Deliver the event, and keep the outcome."""
        _current.delivery = self
        try:
            answer = self._action()
        except BaseException as error:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(answer)
        finally:
            # This may be the thread of the caller.
            _current.delivery = None


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds for which a response asks to wait, 0 if it does not.

    ``Retry-After`` is a number of seconds or a date, as in section 10.2.3 of RFC 9110.

    :param headers: the headers of the response
    """
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return float(after)
    if (until := _date(after)) is None:
        return 0.0
    # The receiver's own clock, if the response has its time.
    now = _date(headers.get("Date", "")) or datetime.datetime.now(datetime.timezone.utc)
    return max((until - now).total_seconds(), 0.0)


def _date(text: str) -> datetime.datetime | None:
    """Return the date in a header; None if it is not valid."""
    try:
        date = email.utils.parsedate_to_datetime(text)
        # Dates in HTTP are in UTC, with or without the name of the zone.
        return date.replace(tzinfo=date.tzinfo or datetime.timezone.utc)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


_backoff = tenacity.wait_random_exponential(0.1)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next attempt."""
    return max(_backoff(state), getattr(_error_of(state), "retry_after", 0.0))


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


@functools.cache
def _warn_once() -> None:
    """Make urllib3 warn about an unverified server once, not at each request.

    The filter affects the whole process, so it is set only when a hook needs it.
    """
    warnings.filterwarnings("once", category=urllib3.exceptions.InsecureRequestWarning)


# An outbox sends hundreds of requests a second to the same URL.
@functools.lru_cache(maxsize=8)
def _origin(
    option: str, url: str | None, schemes: Sequence[str] = ("http", "https")
) -> str:
    """Return scheme, host and port of a URL, the parts that are not secret.

    :param option: the name of the option
    :param url: its value
    :param schemes: the schemes that are allowed
    :raises ValueError: if requests cannot be sent to it; the message has no part of it
    """
    if not url:
        raise ValueError(f"{option} is not set")
    try:
        parts = urllib.parse.urlsplit(url)
        requests.Request("POST", url).prepare()
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError
        # Some versions of requests accept a URL with spaces.
        if url.split() != [url]:
            raise ValueError
    except ValueError:
        expected = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{option}: not a valid {expected} URL") from None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _cause(error: BaseException, handled: BaseException | None) -> str:
    """Return the root cause of a failed request, without its URL.

    :param error: the error of the request
    :param handled: the error that a caller handled when the request began
    """
    while inner := error.__cause__ or error.__context__ or _wrapped(error):
        if inner is handled:
            break
        error = inner
    # Errors of the system and of TLS have no secrets; those of requests have the URL.
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def _wrapped(error: BaseException) -> BaseException | None:
    # urllib3 raises some errors, e.g. those behind a proxy, without their cause.
    return next((arg for arg in error.args if isinstance(arg, BaseException)), None)


def _read(response: requests.Response, handled: BaseException | None) -> None:
    """Read a short response to its end, so that its connection can be used again.

    :param response: the response
    :param handled: as for :func:`_cause`
    """
    try:
        response.raw.read(LONGEST_BODY)
    except Exception as error:
        # The status has confirmed the delivery already.
        logging.getLogger(__name__).debug("%s", _cause(error, handled))


def _answer(
    response: requests.Response, origin: str, handled: BaseException | None
) -> bytes:
    """Return the whole body of a response, which is a decision.

    :param response: the response
    :param origin: scheme, host and port of the URL
    :param handled: as for :func:`_cause`
    :raises InvalidDecisionError: if it is too large
    :raises DeliveryFailedError: if it does not arrive
    """
    try:
        body: bytes = response.raw.read(MAX_SIZE + 1)
    except Exception as error:
        cause = _cause(error, handled)
        raise DeliveryFailedError(f"{origin}: {cause}") from None
    if len(body) > MAX_SIZE:
        raise InvalidDecisionError(f"the answer has more than {MAX_SIZE} bytes")
    # urllib3 1.26 returns what there is if the end is missing. Nothing would allow.
    if response.raw.length_remaining:
        raise DeliveryFailedError(f"{origin}: the end of the answer is missing")
    return body


# The timeouts of requests and urllib3 apply to each read. A server that sends a byte
# now and then would block a thread without end. The classes below limit all reads of a
# response together.


class _Reader(io.RawIOBase):
    """A reader that applies the socket's timeout to all reads together."""

    def __init__(self, raw: Any, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        self.deadline = time.monotonic() + sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Any:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _Reader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        # http.client skips interim responses with the status 100 only. 101 would be
        # the end of HTTP on this connection, so it is not skipped.
        while 102 <= self.status < 200:
            # Without headers, the response counts as not begun.
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        if _current.delivery.decides:
            return
        # The status is known. The body is read only to use the connection again.
        in_time = time.monotonic() + LONGEST_WAIT
        self._reader.deadline = min(self._reader.deadline, in_time)


class _Connection(HTTPConnection):
    """A connection that sends nothing of a delivery that was given up."""

    response_class = _Response

    def send(self, data: Any) -> None:
        if self.sock is None:
            # This resolves the host name, for as long as the resolver takes.
            self.connect()
        if _current.delivery.given_up:
            raise TimeoutError("timed out")
        super().send(data)


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


_POOLS = {"http": _Pool, "https": _TLSPool}

# SPDX-License-Identifier: Apache-2.0
"""Events to an HTTP server: a POST of a CloudEvent for each."""

from __future__ import annotations

import functools
import hashlib
import hmac
import http.client
import io
import json
import logging
import os
import ssl
import threading
import time
import urllib.parse
import warnings
from collections.abc import Sequence
from concurrent import futures
from http.cookiejar import DefaultCookiePolicy
from typing import Any, ClassVar

import requests
import tenacity
import urllib3
from oslo_config import cfg
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from hooks.events.delivery import DeliveryHook
from hooks.events.errors import DeliveryFailedError, RejectedError

#: The header with the signature of the body.
SIGNATURE = "X-Manila-Aspects-Signature"

#: Statuses of a request that will be refused whenever it is made again.
REFUSALS = (400, 413, 415, 422)

#: What is read of the body of an answer, so that its connection can be kept: bytes,
#: and seconds to wait for them.
LONGEST_BODY, LONGEST_WAIT = 65536, 0.2

_THREAD = "webhook"

# urllib3's debug lines have the request's path and query, which may be secrets.
logging.getLogger("urllib3.connectionpool").addFilter(
    lambda record: record.threadName != _THREAD
)


class WebhookHook(DeliveryHook):
    """POST each event to a URL, as a CloudEvent in structured JSON.

    The event is delivered when the server answers with a status of 200 to 299.
    :data:`REFUSALS` refuse it for good; whatever else happens is a failure, after
    which it is tried again: until ``webhook_timeout`` is over or, with
    ``hook_dispatch = durable``, until it is delivered. It is the same body then.

    :raises ValueError: if an option is missing or wrong
    """

    options: ClassVar[Sequence[cfg.Opt]] = (
        *DeliveryHook.options,
        cfg.StrOpt(
            "webhook_url",
            secret=True,
            mutable=True,
            help="Where to POST events: http:// or https://. With user:password@ "
            "before the host, they are sent as basic authentication.",
        ),
        cfg.StrOpt(
            "webhook_secret",
            secret=True,
            mutable=True,
            help="The key of the signature that the server can know events by. "
            "Without it there is none.",
        ),
        cfg.FloatOpt(
            "webhook_timeout",
            default=5.0,
            min=0.1,
            max=86400,
            mutable=True,
            help="Seconds that the delivery of an event may take, with all attempts; "
            "with hook_dispatch = durable, that each attempt may take.",
        ),
        cfg.BoolOpt(
            "webhook_verify",
            default=True,
            mutable=True,
            help="Whether to verify the server's TLS certificate.",
        ),
        cfg.StrOpt(
            "webhook_ca_file",
            mutable=True,
            help="A file with the certificates, in PEM, of the authorities to verify "
            "with. By default those that come with requests.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self._session: requests.Session | None = None
        self._process: int | None = None
        _origin(self.get_config_option("webhook_url"))
        if ca_file := self.get_config_option("webhook_ca_file"):
            try:
                ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                raise ValueError(f"webhook_ca_file {ca_file}: {error}") from error

    def stop(self) -> None:
        """Deliver what can be delivered, and close the connections."""
        super().stop()
        if self._session is not None and self._process == os.getpid():
            self._session.close()

    def deliver(self, event: dict[str, Any]) -> None:
        """POST one event, and again until it is delivered or the time is over.

        :param event: attributes of CloudEvents 1.0 and ``data``
        :raises RejectedError: if the server will never take it
        :raises DeliveryFailedError: if it was not delivered; a server that was slow may
            have it all the same
        """
        url = self.get_config_option("webhook_url")
        origin = _origin(url)
        body = json.dumps(event).encode()
        timeout = self.get_config_option("webhook_timeout")
        deadline = time.monotonic() + timeout
        failures: list[Any] = [
            DeliveryFailedError(f"{origin}: no answer in {timeout:g} s")
        ]
        # The outbox does not stop trying.
        attempts = tenacity.Retrying(
            stop=lambda state: (
                bool(self.outbox) or time.monotonic() + state.upcoming_sleep >= deadline
            ),
            wait=_pause,
            retry=tenacity.retry_if_exception_type(DeliveryFailedError),
            after=lambda state: failures.append(_error_of(state)),
            reraise=True,
        )
        outcome: futures.Future[None] = futures.Future()

        def run() -> None:
            try:
                attempts(self._post, url, origin, body, deadline)
            except BaseException as error:
                outcome.set_exception(error)
            else:
                outcome.set_result(None)

        # In a thread, since a timeout ends neither the look-up of a name nor the
        # attempts to reach one address of it after the other. It ends by itself.
        threading.Thread(target=run, name=_THREAD, daemon=True).start()
        try:
            outcome.result(timeout)
        except futures.TimeoutError:
            # That of an attempt before this one tells more.
            raise failures[-1] from None

    def _post(self, url: str, origin: str, body: bytes, deadline: float) -> None:
        headers = {"Content-Type": "application/cloudevents+json"}
        if secret := self.get_config_option("webhook_secret"):
            digest = hmac.digest(secret.encode(), body, hashlib.sha256)
            headers[SIGNATURE] = f"sha256={digest.hex()}"
        verify = self.get_config_option("webhook_verify")
        if not verify:
            _warn_once()
        # Of all that is done on the connection; requests' own is of each step.
        left: Any = urllib3.Timeout(total=max(deadline - time.monotonic(), 0.001))
        try:
            answer = self._session_here().post(
                url,
                data=body,
                headers=headers,
                timeout=left,
                verify=verify and (self.get_config_option("webhook_ca_file") or True),
                # It might lead to where the operator did not mean to send.
                allow_redirects=False,
                stream=True,
            )
        except Exception as error:
            raise DeliveryFailedError(f"{origin}: {_cause(error)}") from None
        with answer:
            status = answer.status_code
            if 200 <= status < 300:
                _read(answer)
                return
        if status in REFUSALS:
            raise RejectedError(f"{origin}: status {status}")
        after = answer.headers.get("Retry-After", "")
        raise DeliveryFailedError(
            f"{origin}: status {status}", float(after) if after.isdecimal() else 0.0
        )

    def _session_here(self) -> requests.Session:
        """Return this process's session, which keeps its connections."""
        if self._session is None or self._process != os.getpid():
            session = requests.Session()
            # No proxy, no password out of ~/.netrc: what is configured is all.
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
            session.headers["User-Agent"] = "manila-aspects"
            session.mount("http://", _Adapter())
            session.mount("https://", _Adapter())
            self._session, self._process = session, os.getpid()
        return self._session


_backoff = tenacity.wait_random_exponential(0.1)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds until the next attempt."""
    return max(_backoff(state), getattr(_error_of(state), "retry_after", 0.0))


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


@functools.cache
def _warn_once() -> None:
    """Have urllib3 warn of a server that is not verified once, not at each request.

    It is a setting of the whole process, for all that is in it: so not before it is
    needed.
    """
    warnings.filterwarnings("once", category=urllib3.exceptions.InsecureRequestWarning)


def _origin(url: str | None) -> str:
    """Return scheme, host and port of a URL: what of it is no secret.

    :param url: the value of ``webhook_url``
    :raises ValueError: if it is not one to POST to; without its text
    """
    if not url:
        raise ValueError("webhook_url is not set")
    try:
        parts = urllib.parse.urlsplit(url)
        requests.Request("POST", url).prepare()
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        # Not every version of requests minds.
        if url.split() != [url]:
            raise ValueError
    except ValueError:
        raise ValueError("webhook_url: not a valid http:// or https:// URL") from None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _cause(error: BaseException) -> str:
    """Return what went wrong in a request, without its URL."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    # The operating system's errors, and TLS's. requests' own have the URL.
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def _read(answer: requests.Response) -> None:
    """Read an answer to its end, if that is near, and keep its connection."""
    try:
        answer.raw.read(LONGEST_BODY)
    except Exception as error:
        # The server has said that it has the event.
        logging.getLogger(__name__).debug("%s", _cause(error))


# requests' and urllib3's timeouts are for each read, so that a server that sends a
# byte now and then would hold a thread for ever.


class _Reader(io.RawIOBase):
    """Reads from a socket for as long as one read of it might take, in all."""

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
        # The status is known: the body is waited for only for the next request.
        in_time = time.monotonic() + LONGEST_WAIT
        self._reader.deadline = min(self._reader.deadline, in_time)


class _Connection(HTTPConnection):
    response_class = _Response


class _TLSConnection(HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

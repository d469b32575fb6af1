# SPDX-License-Identifier: Apache-2.0
"""A span for each join point, each action of a hook and each call of a driver."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextvars import Token
from typing import Any, ClassVar, NamedTuple

import requests
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from oslo_config import cfg
from oslo_log import log

import aspects
from hooks.events import event

LOG = log.getLogger(__name__)

#: What the name of each attribute begins with.
PREFIX = "manila."


class JoinPoint(NamedTuple):
    """A join point and its span.

    :param operation: the operation
    :param tracer: makes the spans
    :param span: the join point's own span
    """

    operation: aspects.Operation
    tracer: trace.Tracer
    span: trace.Span

    def is_open(self) -> bool:
        """Tell whether it has not come to its ending yet."""
        return self.span.is_recording()

    def covers(self, operation: aspects.Operation) -> bool:
        """Return whether a run belongs to this join point.

        :param operation: the operation of the run
        """
        own = self.operation
        return operation == own and operation.method == own.method

    @contextlib.contextmanager
    def child(
        self, name: str, attributes: dict[str, str], observed: aspects.Observed
    ) -> Iterator[None]:
        """Open a span below that of the join point; it records an error.

        :param name: the span's name
        :param attributes: the span's attributes
        :param observed: the run
        """
        with self.tracer.start_as_current_span(
            name,
            trace.set_span_in_context(self.span),
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                # An error of recording must not replace this one.
                with contextlib.suppress(Exception):
                    self.record(
                        span, error, observed.context, observed.args, observed.kwargs
                    )
                raise

    def record(
        self,
        span: trace.Span,
        error: BaseException,
        context: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Write an error down in a span.

        Not with the span's own record_exception(), which knows of no secrets.

        :param span: the span
        :param error: the error
        :param context: the request's context
        :param args: the positional arguments of the call, less the context
        :param kwargs: the keyword arguments of the call, less the context
        """
        data = event.data_of(context, self.operation, args, kwargs, error)
        kind, text = data["error_type"], data["error"]
        span.add_event("exception", {"exception.type": kind, "exception.message": text})
        # A veto is a decision, not a fault.
        if data["outcome"] == "failure":
            span.set_status(trace.StatusCode.ERROR, f"{kind}: {text}")


class _Seldom(logging.Filter):
    """Lets each kind of message pass once a minute: an outage may be a long one."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[Any, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._last.get(record.msg, -60.0) < 60.0:
            return False
        self._last[record.msg] = now
        return True


class _Discreet(logging.Filter):
    """Takes out of messages what of the collector's URL may be a secret.

    :param url: the URL
    :raises ValueError: if it is not valid; without its text
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        # As it is sent, which is how errors and urllib3's debug lines tell it.
        try:
            sent = requests.Request("POST", url).prepare().path_url
        except requests.RequestException:
            raise ValueError(
                "tracing_endpoint: not a valid http:// or https:// URL"
            ) from None
        parts = urllib.parse.urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        told = (url, sent, parts.path, parts.query, login)
        self._secrets = sorted({each for each in told if len(each) > 1}, key=len)[::-1]

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
                record.msg, record.args = text, ()
        return True


def _filters(url: str) -> list[tuple[str, logging.Filter]]:
    """Return what keeps the log fit to read, and the loggers that it is for."""
    discreet = _Discreet(url)
    exporter = trace_exporter.__name__
    return [
        (exporter, _Seldom()),
        (exporter, discreet),
        ("urllib3.connectionpool", discreet),
    ]


class TracingHook(aspects.HookBase):
    """Send spans of each join point to a collector, with OpenTelemetry's OTLP.

    A join point's span has one below it for each action of the other hooks of the
    chain, and one for the driver's call, in which it is the current one. It is
    below the span that is current when the call begins, or else a root.

    It needs ``enable_pre_hooks`` and ``enable_post_hooks``. Have it first: a pre
    action before its own has no join point yet.

    :raises ValueError: if the collector's URL is not valid
    """

    options = (
        cfg.URIOpt(
            "tracing_endpoint",
            default="http://127.0.0.1:4318/v1/traces",
            schemes=["http", "https"],
            secret=True,
            help="Where the collector takes OTLP over HTTP. With user:password@ before "
            "the host, they are sent as basic authentication.",
        ),
        cfg.StrOpt(
            "tracing_service_name",
            default="manila-share",
            help="The service that the spans are of.",
        ),
        cfg.FloatOpt(
            "tracing_timeout",
            default=10.0,
            min=0.1,
            max=86400,
            help="Seconds after which spans that the collector did not take are "
            "dropped. No call waits for that.",
        ),
    )

    #: It does not, but must not be skipped either: what its pre action has made
    #: current, its ending takes back.
    may_veto: ClassVar = True
    #: None: it is the caller's thread that a span is current in, and spans are sent
    #: by a thread of their own in any case.
    deferred_methods: ClassVar = ()

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        # The name in OpenTelemetry's context under which a call has its join point.
        self._key = otel_context.create_key("manila-aspects.join-point")
        self._tracer: trace.Tracer | None = None
        self._provider: TracerProvider | None = None
        self._exporter: Any = None
        self._process: int | None = None
        self._filters = _filters(self.get_config_option("tracing_endpoint"))

    def start(self) -> None:
        """Begin to send spans, in the process that calls; again after a fork."""
        if self._provider and self._process == os.getpid():
            return
        self.stop()
        for name, each in self._filters:
            logging.getLogger(name).addFilter(each)
        self._process = os.getpid()
        self._exporter = trace_exporter.OTLPSpanExporter(
            endpoint=self.get_config_option("tracing_endpoint"),
            timeout=self.get_config_option("tracing_timeout"),
        )
        # Its own, not the process's: that is for who instruments the service.
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": self.get_config_option("tracing_service_name")}
            )
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("manila-aspects")

    def stop(self) -> None:
        """Send what can be sent within ``hook_drain_timeout``."""
        provider, self._provider, self._tracer = self._provider, None, None
        if provider is None:
            return
        timeout = self.get_config_option("hook_drain_timeout")
        # Which by itself takes half a minute where there is no collector.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(timeout)
        if ending.is_alive():
            LOG.warning(
                "Spans were dropped: the collector did not take them in %(timeout)g s",
                {"timeout": timeout},
            )
            self._exporter.shutdown()
        for name, each in self._filters:
            logging.getLogger(name).removeFilter(each)

    # -- observing ---------------------------------------------------------------

    def observe(
        self, observed: aspects.Observed
    ) -> contextlib.AbstractContextManager[None] | None:
        """Open a span around a driver method or a hook method."""
        kind, operation = observed.kind, observed.operation
        call = self._current()
        if kind in ("driver", "pre") and call is not None and not call.is_open():
            # The join point of an earlier call in this thread.
            self._set(None)
            call = None
        # The open join point may be that of another call which this call is part of.
        if kind == "periodic" or call is None or not call.covers(operation):
            return None
        if kind == "driver":
            name, attributes = operation.method, {f"{PREFIX}method": operation.method}
        else:
            hook = aspects.hook_name(observed.hook)
            name, attributes = f"{hook}.{kind}", {f"{PREFIX}hook": hook}
            attributes[f"{PREFIX}action"] = kind
        return call.child(name, attributes, observed)

    def _current(self) -> JoinPoint | None:
        return otel_context.get_value(self._key)  # type: ignore[return-value]

    def _set(self, call: JoinPoint | None) -> None:
        otel_context.attach(otel_context.set_value(self._key, call))

    # -- the actions -------------------------------------------------------------

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> tuple[JoinPoint, Token[otel_context.Context]] | None:
        tracer = self._tracer
        # No completion would end the span if those are disabled.
        if tracer is None or not self.post_hooks_enabled:
            return None
        data = event.data_of(context, func_name, args, kwargs)
        # Its time is the span's own, and its outcome not known yet.
        del data["time"], data["outcome"]
        span = tracer.start_span(
            str(func_name),
            attributes={
                PREFIX + name: value
                for name, value in data.items()
                if isinstance(value, str)
            },
        )
        call = JoinPoint(func_name, tracer, span)
        within = otel_context.set_value(
            self._key, call, trace.set_span_in_context(span)
        )
        return call, otel_context.attach(within)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._end(pre_hook_data, context, None, args, kwargs)

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._end(pre_hook_data, context, error, args, kwargs)

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """A tick is no join point."""

    def _end(
        self,
        began: Any,
        context: Any,
        error: BaseException | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        if not isinstance(began, tuple):
            return
        call, token = began
        otel_context.detach(token)
        try:
            call.span.set_attribute(f"{PREFIX}outcome", event.outcome_of(error))
            if error is not None:
                call.record(call.span, error, context, args, kwargs)
        finally:
            call.span.end()
            # For the endings of other hooks, which come after this one: it is no
            # longer the current span, but still what theirs are below.
            self._set(call)

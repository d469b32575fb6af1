# SPDX-License-Identifier: Apache-2.0
"""Trace join points, driver methods and hook methods with OpenTelemetry."""

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

#: The prefix of the attribute names.
PREFIX = "manila."


class JoinPoint(NamedTuple):
    """A join point and its span.

    :param operation: the operation
    :param tracer: creates the child spans
    :param span: the span of the join point
    """

    operation: aspects.Operation
    tracer: trace.Tracer
    span: trace.Span

    def is_open(self) -> bool:
        """Return whether the join point has not been completed yet."""
        return self.span.is_recording()

    def covers(self, operation: aspects.Operation) -> bool:
        """Return whether an observed run belongs to this join point.

        :param operation: the operation of the run
        """
        own = self.operation
        return operation == own and operation.method == own.method

    @contextlib.contextmanager
    def child(
        self, name: str, attributes: dict[str, str], observed: aspects.Observed
    ) -> Iterator[None]:
        """Open a child span of the join point, and record an exception in it.

        :param name: the name of the span
        :param attributes: the attributes of the span
        :param observed: the run of a driver method or hook method
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
                # An error while recording must not replace the one that is recorded.
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
        """Record an exception in a span.

        The span's own ``record_exception()`` would not remove secrets.

        :param span: the span
        :param error: the exception
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


class RateLimitFilter(logging.Filter):
    """Pass each kind of message once a minute, as an outage may be a long one."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[Any, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._last.get(record.msg, -60.0) < 60.0:
            return False
        self._last[record.msg] = now
        return True


class RedactingFilter(logging.Filter):
    """Remove the parts of the collector's URL that may be secrets from messages.

    :param url: the URL
    :raises ValueError: if the URL is invalid; the message does not contain it
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        # Errors and urllib3's debug messages contain the path as it is sent.
        try:
            sent = requests.Request("POST", url).prepare().path_url
        except requests.RequestException:
            raise ValueError(
                "tracing_endpoint: not a valid http:// or https:// URL"
            ) from None
        parts = urllib.parse.urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        texts = (url, sent, parts.path, parts.query, login)
        self._secrets = sorted({text for text in texts if len(text) > 1}, key=len)[::-1]

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            # Older releases of OpenTelemetry log the tracebacks of failed requests,
            # whose texts have the URL.
            text = f"{text} {record.exc_info[1]}"
            record.msg, record.args, record.exc_info = text, (), None
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
                record.msg, record.args = text, ()
        return True


def _filters(url: str) -> list[tuple[str, logging.Filter]]:
    """Return the log filters, each with the name of the logger to add it to."""
    redacting = RedactingFilter(url)
    loggers = (
        trace_exporter.__name__,
        # Those of the processor, which logs what the exporter raises.
        "opentelemetry.sdk.trace.export",
        "opentelemetry.sdk._shared_internal",
    )
    return [
        *((name, RateLimitFilter()) for name in loggers),
        *((name, redacting) for name in loggers),
        ("urllib3.connectionpool", redacting),
    ]


class TracingHook(aspects.HookBase):
    """Send a trace of each join point to a collector, in OpenTelemetry's OTLP.

    The span of a join point has a child for the driver method, and one for each
    method of the other hooks of the chain. The child of the driver method is the
    current span while that method runs. The parent of the join point is the span that
    is current when the call begins; without one, the join point is a root span.

    It needs ``enable_pre_hooks`` and ``enable_post_hooks``. It belongs first in
    ``hook_drivers``: a pre method before its own has no join point yet.

    :raises ValueError: if the collector's URL is invalid
    """

    options = (
        cfg.URIOpt(
            "tracing_endpoint",
            default="http://127.0.0.1:4318/v1/traces",
            schemes=["http", "https"],
            secret=True,
            help="URL at which the collector receives OTLP over HTTP. A "
            "user:password@ before the host is sent as basic authentication.",
        ),
        cfg.StrOpt(
            "tracing_service_name",
            default="manila-share",
            help="Name of the service that the spans belong to.",
        ),
        cfg.FloatOpt(
            "tracing_timeout",
            default=10.0,
            min=0.1,
            max=86400,
            help="Time, in seconds, after which spans that the collector has not "
            "accepted are dropped. Calls do not wait for the collector.",
        ),
    )

    # It never vetoes, but the circuit breaker must not skip it: its completion
    # resets the span that its pre method made current.
    may_veto: ClassVar = True
    # A span is current in the caller's thread. OpenTelemetry sends spans in a thread
    # of its own anyway.
    deferred_methods: ClassVar = ()

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        # The key of the join point in OpenTelemetry's context.
        self._key = otel_context.create_key("manila-aspects.join-point")
        self._tracer: trace.Tracer | None = None
        self._provider: TracerProvider | None = None
        self._exporter: Any = None
        self._process: int | None = None
        self._filters = _filters(self.get_config_option("tracing_endpoint"))

    def start(self) -> None:
        """Start to send spans in the current process. Call it again after a fork."""
        if self._provider and self._process == os.getpid():
            return
        self.stop()
        for name, log_filter in self._filters:
            logging.getLogger(name).addFilter(log_filter)
        self._process = os.getpid()
        self._exporter = trace_exporter.OTLPSpanExporter(
            endpoint=self.get_config_option("tracing_endpoint"),
            timeout=self.get_config_option("tracing_timeout"),
        )
        # The process's global provider is left to instrumentation of the service.
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": self.get_config_option("tracing_service_name")}
            )
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("manila-aspects")

    def stop(self) -> None:
        """Send the remaining spans, for at most ``hook_drain_timeout`` seconds."""
        provider, self._provider, self._tracer = self._provider, None, None
        if provider is None:
            return
        timeout = self.get_config_option("hook_drain_timeout")
        # In a thread: without a collector, the shutdown would take half a minute.
        shutdown = threading.Thread(target=provider.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(timeout)
        if shutdown.is_alive():
            LOG.warning(
                "Dropped spans: the collector did not accept them in %(timeout)g s",
                {"timeout": timeout},
            )
            self._exporter.shutdown()
        for name, log_filter in self._filters:
            logging.getLogger(name).removeFilter(log_filter)

    # -- observing ---------------------------------------------------------------

    def observe(
        self, observed: aspects.Observed
    ) -> contextlib.AbstractContextManager[None] | None:
        """Return a span around a driver method or a hook method.

        :param observed: the run of the method
        :return: a context manager that opens the span; None outside of a join point
        """
        kind, operation = observed.kind, observed.operation
        call = self._current()
        if kind in ("driver", "pre") and call is not None and not call.is_open():
            # The current join point is that of an earlier call in this thread.
            self._set(None)
            call = None
        # The current join point may be that of another call, within which this one
        # is made.
        if kind == "periodic" or call is None or not call.covers(operation):
            return None
        if kind == "driver":
            name, attributes = operation.method, {f"{PREFIX}method": operation.method}
        else:
            hook = aspects.hook_name(observed.hook)
            name, attributes = f"{hook}.{kind}", {f"{PREFIX}hook": hook}
            attributes[f"{PREFIX}hook_method"] = kind
        return call.child(name, attributes, observed)

    def _current(self) -> JoinPoint | None:
        return otel_context.get_value(self._key)  # type: ignore[return-value]

    def _set(self, call: JoinPoint | None) -> None:
        otel_context.attach(otel_context.set_value(self._key, call))

    # -- the hook methods --------------------------------------------------------

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> tuple[JoinPoint, Token[otel_context.Context]] | None:
        tracer = self._tracer
        # Without the completions, nothing would end the span.
        if tracer is None or not self.post_hooks_enabled:
            return None
        data = event.data_of(context, func_name, args, kwargs)
        # The span has a time of its own, and the outcome is not known yet.
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
        """Do nothing: a tick is not a join point."""

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
            # The completions of other hooks may follow. The span is no longer current,
            # but it remains the parent of their spans.
            self._set(call)

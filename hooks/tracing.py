# SPDX-License-Identifier: Apache-2.0
"""Trace join points, driver methods and hook methods with OpenTelemetry."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
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
from hooks.events import event, outcome

LOG = log.getLogger(__name__)

#: The prefix of the attribute names.
PREFIX = "manila."

#: Maximum length of a text in a span, in characters; the rest is cut off.
TEXT_LIMIT = 4096

#: Maximum length, in bytes, of a response that is read; it is needed only to use the
#: connection again.
LONGEST_BODY = 4096

_entered: ContextVar[None] = ContextVar("entered")


def span_text(text: str) -> str:
    """Return a text of limited length, in which UTF-8 can encode each character.

    One character that it cannot encode would lose all spans of the batch.

    :param text: e.g. the text of an exception
    """
    if len(text) <= TEXT_LIMIT and text.isascii():
        return text
    short = text[:TEXT_LIMIT].encode(errors="backslashreplace").decode()
    if len(text) <= TEXT_LIMIT and len(short) <= TEXT_LIMIT:
        return short
    note = f" ... (cut, {len(text)} characters)"
    return short[: TEXT_LIMIT - len(note)] + note


class CurrentContext:
    """A context of OpenTelemetry, current from its creation until :meth:`exit`.

    :param context: the context
    """

    __slots__ = ("_mark", "_token")

    def __init__(self, context: otel_context.Context) -> None:
        self._mark = _entered.set(None)
        self._token = otel_context.attach(context)

    def exit(self) -> bool:
        """Make the context current that was so before.

        A coroutine may end in another context of :mod:`contextvars` than it began in,
        e.g. if it is closed. This context is not current there.

        :return: whether this context was current
        """
        # OpenTelemetry's own detach() would log an error with a traceback.
        try:
            _entered.reset(self._mark)
        except ValueError:
            return False
        otel_context.detach(self._token)
        return True


class JoinPoint(NamedTuple):
    """A join point and its span.

    :param operation: the operation
    :param tracer: creates the child spans
    :param span: the span of the join point
    :param configuration: the hook's configuration, whose secrets errors may repeat
    """

    operation: aspects.Operation
    tracer: trace.Tracer
    span: trace.Span
    configuration: Any

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
        within = trace.set_span_in_context(self.span)
        texts = {key: span_text(value) for key, value in attributes.items()}
        span = self.tracer.start_span(span_text(name), within, attributes=texts)
        current = CurrentContext(trace.set_span_in_context(span))
        try:
            yield
        except BaseException as error:
            # An error while recording must not replace the one that is recorded.
            with contextlib.suppress(Exception):
                _, _, _, *call = observed
                self.record(span, error, *call)
            raise
        finally:
            current.exit()
            span.end()

    def record(
        self,
        span: trace.Span,
        error: BaseException,
        context: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        results: Any = None,
    ) -> None:
        """Record an exception in a span.

        The span's own ``record_exception()`` would not remove secrets.

        :param span: the span
        :param error: the exception
        :param context: the request's context
        :param args: the positional arguments of the call, less the context
        :param kwargs: the keyword arguments of the call, less the context
        :param results: the driver's result, whose secrets the exception may repeat
        """
        call = (context, self.operation, args, kwargs, error)
        data = event.data_of(*call, configuration=self.configuration, results=results)
        kind, text = span_text(data["error_type"]), span_text(data["error"])
        span.add_event("exception", {"exception.type": kind, "exception.message": text})
        # A veto is a decision, not a fault.
        if data["outcome"] == "failure":
            status = span_text(f"{kind}: {text}")
            span.set_status(trace.StatusCode.ERROR, status)

    def end(
        self,
        error: BaseException | None,
        context: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        results: Any,
    ) -> None:
        """Record the outcome in the span of the join point.

        :param error: the exception of the call, or None if it raised none
        :param context: the request's context
        :param args: the positional arguments of the call, less the context
        :param kwargs: the keyword arguments of the call, less the context
        :param results: the driver's result
        """
        call = (self.operation, args, kwargs)
        if error is None:
            reported = outcome.of_results(*call, results)
        else:
            reported = outcome.of_error(*call, error)
            self.record(self.span, error, context, args, kwargs, results)
        self.span.set_attribute(f"{PREFIX}outcome", reported.name)
        if not self.operation.vetoes and not reported.reason:
            return
        data = event.data_of(
            *(context, self.operation, args, kwargs),
            configuration=self.configuration,
            results=results,
            outcome=reported,
        )
        for veto in data.get("would_deny", ()):
            texts = {f"{PREFIX}{key}": span_text(text) for key, text in veto.items()}
            self.span.add_event("would_deny", texts)
        if reported.reason:
            items = [span_text(item) for item in data["failed_items"]]
            self.span.set_attribute(f"{PREFIX}failed_items", items)
            self.span.set_status(trace.StatusCode.ERROR, span_text(data["error"]))


class _Session(requests.Session):
    """A session that does not read long responses, which may be endless."""

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().request(*args, **{**kwargs, "stream": True})
        # The exporter uses only the status and the headers.
        with response, contextlib.suppress(Exception):
            response.raw.read(LONGEST_BODY)
        return response


class RateLimitFilter(logging.Filter):
    """Pass each kind of message once a minute, as an outage may be a long one."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[Any, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        # Not the message, which a RedactingFilter may have formatted.
        kind = record.pathname, record.lineno
        if now - self._last.get(kind, -60.0) < 60.0:
            return False
        self._last[kind] = now
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

    required_methods: ClassVar = ("pre", "post")
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
        """Start to send spans in the current process. Call it again after a fork.

        :raises RuntimeError: if no thread can be started
        :raises ValueError: if an environment variable of OpenTelemetry is invalid
        """
        if self._provider and self._process == os.getpid():
            return
        self.stop()
        exporter = trace_exporter.OTLPSpanExporter(
            endpoint=self.get_config_option("tracing_endpoint"),
            timeout=self.get_config_option("tracing_timeout"),
            session=_Session(),
        )
        # The process's global provider is left to instrumentation of the service.
        service = span_text(self.get_config_option("tracing_service_name"))
        provider = TracerProvider(
            resource=Resource.create({"service.name": service}),
            # It would wait for the collector for half a minute.
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
        for name, log_filter in self._filters:
            logging.getLogger(name).addFilter(log_filter)
        atexit.register(self.stop)
        self._process = os.getpid()
        self._exporter, self._provider = exporter, provider
        self._tracer = provider.get_tracer("manila-aspects")

    def stop(self) -> None:
        """Send the remaining spans, for at most ``hook_drain_timeout`` seconds."""
        provider, self._provider, self._tracer = self._provider, None, None
        if provider is None:
            return
        atexit.unregister(self.stop)
        timeout = self.get_config_option("hook_drain_timeout")
        # In a thread: without a collector, the shutdown would take half a minute.
        shutdown = threading.Thread(target=provider.shutdown, daemon=True)
        try:
            shutdown.start()
            shutdown.join(timeout)
        except RuntimeError:
            # The process has too many threads, or exits.
            LOG.warning("Dropped spans: no thread could be started to send them")
            self._exporter.shutdown()
            provider.shutdown()
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
    ) -> tuple[JoinPoint, CurrentContext] | None:
        tracer = self._tracer
        # Without the completions, nothing would end the span.
        if tracer is None or not self.post_hooks_enabled:
            return None
        data = event.data_of(
            context, func_name, args, kwargs, configuration=self.configuration
        )
        # The span has a time of its own, and the outcome is not known yet.
        del data["time"], data["outcome"]
        span = tracer.start_span(
            span_text(func_name),
            attributes={
                PREFIX + name: span_text(value)
                for name, value in data.items()
                if isinstance(value, str)
            },
        )
        call = JoinPoint(func_name, tracer, span, self.configuration)
        within = otel_context.set_value(
            self._key, call, trace.set_span_in_context(span)
        )
        return call, CurrentContext(within)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        call = (context, func_name, None, args, kwargs, driver_action_results)
        self._end(pre_hook_data, *call)

    def _execute_error_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        error: BaseException,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        call = (context, func_name, error, args, kwargs, func_name.results)
        self._end(pre_hook_data, *call)

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: a tick is not a join point."""

    def _end(
        self,
        began: Any,
        context: Any,
        operation: aspects.Operation,
        error: BaseException | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        results: Any,
    ) -> None:
        if not isinstance(began, tuple):
            return
        call, current = began
        exited = current.exit()
        try:
            # It has the vetoes that were not enforced.
            call = call._replace(operation=operation)
            call.end(error, context, args, kwargs, results)
        finally:
            call.span.end()
            # The completions of other hooks may follow. The span is no longer current,
            # but it remains the parent of their spans. In another context, there may be
            # the join point of another call.
            if exited:
                self._set(call)

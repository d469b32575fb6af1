# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the tracing hook."""

import pytest

import aspects
from tests.support.config import ConfigFile

from .common import ON


@pytest.fixture
def spans(monkeypatch):
    """Return a function that returns the spans sent by the stopped hooks."""
    # Imported here: where the library is missing, only the test modules are skipped.
    from opentelemetry.sdk.trace.export import in_memory_span_exporter

    from hooks import tracing

    memory = in_memory_span_exporter.InMemorySpanExporter()
    memory.shutdown = lambda: None
    new = lambda **options: memory  # noqa: E731
    monkeypatch.setattr(tracing.trace_exporter, "OTLPSpanExporter", new)
    return memory.get_finished_spans


@pytest.fixture(autouse=True)
def _no_span_stays_current():
    from opentelemetry import trace

    assert trace.get_current_span() is trace.INVALID_SPAN
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
def traced(tmp_path, spans):
    """Return a function that weaves a driver with a tracing hook and other hooks."""
    from hooks import tracing

    hooks = []

    def weave(driver, *others, before=(), text=ON, backend="alpha"):
        file = ConfigFile(tmp_path / f"{backend}.conf", f"[{backend}]\n{text}")
        section = aspects.BackendSection(file.conf, backend)
        hook = tracing.TracingHook(section, "node1")
        hook.start()
        hooks.append(hook)
        chain = [*before, hook, *others]
        return hook, aspects.weave(driver, chain, backend, "node1")

    yield weave
    for hook in hooks:
        hook.stop()

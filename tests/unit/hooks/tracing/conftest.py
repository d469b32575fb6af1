# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the tracing hook."""

import pytest

import aspects
from tests.support.config import ConfigFile

from .common import ON


@pytest.fixture
def spans(monkeypatch):
    """What the hooks have sent, once they have stopped."""
    # Not above: a library that is missing skips the modules of tests alone.
    from opentelemetry.sdk.trace.export import in_memory_span_exporter

    from hooks import tracing

    memory = in_memory_span_exporter.InMemorySpanExporter()
    memory.shutdown = lambda: None
    new = lambda **options: memory  # noqa: E731
    monkeypatch.setattr(tracing.trace_exporter, "OTLPSpanExporter", new)
    return memory.get_finished_spans


@pytest.fixture(autouse=True)
def _nothing_is_left_current():
    from opentelemetry import trace

    assert trace.get_current_span() is trace.INVALID_SPAN
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
def traced(tmp_path, spans):
    """Return what weaves a driver with a tracing hook among others."""
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

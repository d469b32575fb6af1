# SPDX-License-Identifier: Apache-2.0
"""Coroutines that end in another context of contextvars than they began in."""

import contextvars
import types

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from opentelemetry import trace

from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder

from .common import SHARE, tree


@types.coroutine
def suspend():
    yield


class SuspendedDriver(BusyDriver):
    async def create_share(self, context, share, share_server=None):
        await suspend()


FAILURE = ["create_share_instance", "create_share_instance / create_share"]


def begin(driver):
    """Return a coroutine of the driver that was begun in a context of its own."""
    coroutine = driver.create_share(None, SHARE)
    contextvars.copy_context().run(coroutine.send, None)
    return coroutine


def finish(coroutine):
    with pytest.raises(StopIteration):
        coroutine.send(None)


@pytest.mark.parametrize("end", [finish, types.CoroutineType.close])
@pytest.mark.parametrize("copied", [False, True])
def test_coroutine_that_ends_in_another_context_is_traced(
    traced, spans, caplog, end, copied
):
    hook, driver = traced(SuspendedDriver())
    context = contextvars.copy_context()
    coroutine = driver.create_share(None, SHARE)
    context.run(coroutine.send, None)
    other = context.copy() if copied else contextvars.copy_context()
    other.run(end, coroutine)
    hook.stop()
    assert tree(spans()) == FAILURE
    outcomes = [span.attributes.get("manila.outcome") for span in spans()]
    assert outcomes == [None, "success" if end is finish else "failure"]
    assert not caplog.records


@pytest.mark.parametrize("end", [finish, types.CoroutineType.close])
def test_end_of_a_coroutine_does_not_affect_the_call_in_its_context(
    traced, spans, caplog, end
):
    plain = SuspendedDriver()
    recorder = Recorder()
    hook, driver = traced(plain, recorder)
    coroutine = begin(driver)
    plain.create_share = lambda context, share: None
    recorder.answer(pre=lambda seen: end(coroutine))
    driver.create_share(None, SHARE)
    hook.stop()
    roots = [span for span in spans() if not span.parent]
    ended, called = (
        {
            span.name
            for span in spans()
            if span.parent and span.parent.span_id == root.context.span_id
        }
        for root in roots
    )
    assert "create_share" in ended
    assert {"create_share", "hook.post", "hook.pre"} <= called
    assert not caplog.records


def test_closed_coroutine_leaves_no_span_current(traced, spans):
    hook, driver = traced(SuspendedDriver())
    coroutine = begin(driver)
    coroutine.close()
    assert trace.get_current_span() is trace.INVALID_SPAN
    hook.stop()

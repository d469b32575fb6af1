# SPDX-License-Identifier: Apache-2.0
"""Texts in spans, and starts and stops while no thread can be started."""

import logging
import threading

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from hooks import tracing
from tests.support.clock import Clock
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder

from .common import SHARE, SUCCESS, call, fail, tree

LIMIT = tracing.TEXT_LIMIT


def texts_of(span):
    """Yield the texts of a span."""
    yield span.name
    yield span.status.description or ""
    for attributes in (span.attributes, *(event.attributes for event in span.events)):
        yield from attributes.values()


@pytest.mark.parametrize("character", ["x", "é", "\udce9", "\N{GRINNING FACE}"])
def test_texts_are_short_and_in_utf8(traced, spans, character):
    long = character * (8 * 1024 * 1024)

    class LongError(OSError):
        pass

    LongError.__name__ = "E" * 2 * LIMIT
    other = Recorder("h" + character * 2 * LIMIT)
    hook, driver = traced(BusyDriver(fail(LongError(long))), other)
    call(driver.create_share, None, {"id": long, "share_id": "s"})
    hook.stop()
    texts = [text for span in spans() for text in texts_of(span)]
    assert max(map(len, texts)) == LIMIT
    assert "".join(texts).encode()
    assert sum("(cut, " in text for text in texts) >= 7


def test_text_that_is_not_utf8_is_escaped(traced, spans):
    hook, driver = traced(BusyDriver(fail(OSError("name\udce9"))))
    call(driver.create_share, None, SHARE)
    hook.stop()
    for span in spans():
        assert span.status.description == "OSError: name\\udce9"
        assert span.events[0].attributes["exception.message"] == "name\\udce9"


@pytest.mark.parametrize("length", [0, 1, LIMIT - 1, LIMIT])
def test_short_text_is_not_changed(length):
    assert tracing.span_text("x" * length) == "x" * length


def test_cut_text_has_a_note_of_its_length():
    text = tracing.span_text("x" * (LIMIT + 1))
    assert len(text) == LIMIT
    assert text.endswith(f"x ... (cut, {LIMIT + 1} characters)")


def no_thread(thread):
    raise RuntimeError("can't start new thread")


def filters():
    return [
        item
        for name in ("urllib3.connectionpool", tracing.trace_exporter.__name__)
        for item in logging.getLogger(name).filters
    ]


@pytest.mark.parametrize("name", ["", "OtelBatch"])
def test_hook_traces_after_starts_that_failed(traced, spans, monkeypatch, name):
    real = threading.Thread.start

    def start(thread):
        return no_thread(thread) if name in thread.name else real(thread)

    hook, driver = traced(BusyDriver(), Recorder())
    hook.stop()
    before = filters()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                hook.start()
    assert filters() == before
    driver.create_share(None, SHARE)
    hook.start()
    driver.create_share(None, SHARE)
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_stop_without_a_thread_ends_the_hook(traced, spans, monkeypatch, caplog):
    hook, driver = traced(BusyDriver(), Recorder())
    driver.create_share(None, SHARE)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        hook.stop()
    assert "Dropped spans: no thread could be started" in caplog.text
    assert not any(isinstance(item, tracing.RateLimitFilter) for item in filters())


def test_full_queue_is_logged_once_a_minute(traced, caplog):
    hook, _ = traced(BusyDriver())
    logger = logging.getLogger("opentelemetry.sdk._shared_internal")

    def report():
        for number in range(3):
            logger.warning(f"Queue full, dropping span {number}.")
        return len(caplog.records)

    assert report() == 1
    hook.stop()
    assert report() == 4


def test_each_kind_of_message_is_passed_once_a_minute(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(tracing, "time", clock)
    limit = tracing.RateLimitFilter()

    def record(line, text):
        return logging.LogRecord(
            "x", logging.WARNING, "export.py", line, text, (), None
        )

    # Another filter may have put the arguments into the message.
    passed = [limit.filter(record(n % 2, f"retrying in {n} s")) for n in range(6)]
    assert passed == [True, True, False, False, False, False]
    clock.advance(60)
    assert limit.filter(record(0, "retrying in 7 s"))

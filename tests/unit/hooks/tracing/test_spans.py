# SPDX-License-Identifier: Apache-2.0
"""The tree of spans of a call, for each way in which it completes."""

import asyncio
import threading
from unittest import mock

import pytest

import aspects

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from opentelemetry import trace

from aspects.testing import FakeDriver
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder
from tests.support.results import ADD

from .common import ON, SHARE, SUCCESS, call, fail, tree


class CoroutineDriver(BusyDriver):
    async def create_share(self, context, share, share_server=None):
        await asyncio.sleep(0.001)
        return self._do(None)


FAILURE = [
    "create_share_instance",
    "create_share_instance / create_share",
    "create_share_instance / hook.error",
    "create_share_instance / hook.pre",
]


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (None, "success", trace.StatusCode.UNSET),
        (OSError("no"), "failure", trace.StatusCode.ERROR),
        (KeyboardInterrupt(), "failure", trace.StatusCode.ERROR),
        (SystemExit(), "failure", trace.StatusCode.ERROR),
    ],
)
def test_outcome_of_the_driver(traced, spans, error, outcome, status):
    hook, driver = traced(BusyDriver(fail(error) if error else str), Recorder())
    assert call(driver.create_share, None, SHARE) == (error or "")
    hook.stop()
    assert tree(spans()) == (FAILURE if error else SUCCESS)
    join_point = next(span for span in spans() if not span.parent)
    assert join_point.attributes["manila.outcome"] == outcome
    assert join_point.status.status_code is status
    kinds = [event.attributes["exception.type"] for event in join_point.events]
    assert kinds == ([type(error).__name__] if error else [])


@pytest.mark.parametrize(
    ("states", "outcome", "failed"),
    [
        (["error", "error"], "failure", ("r1", "r2")),
        (["active", "error"], "partial", ("r2",)),
        (["active", "active"], "success", None),
    ],
)
def test_outcome_of_the_result(traced, spans, states, outcome, failed):
    rules = dict(zip(["r1", "r2"], states, strict=True))
    result = {name: {"state": state} for name, state in rules.items()}
    hook, driver = traced(FakeDriver(update_access=result), Recorder())
    driver.update_access(None, SHARE, **ADD)
    hook.stop()
    join_point = next(span for span in spans() if not span.parent)
    assert join_point.attributes["manila.outcome"] == outcome
    assert join_point.attributes.get("manila.failed_items") == failed
    is_error = join_point.status.status_code is trace.StatusCode.ERROR
    assert is_error == bool(failed)
    text = "update_access returned: status error"
    assert join_point.status.description == (text if failed else None)
    # The driver method itself raised nothing.
    child = next(span for span in spans() if span.name == "update_access")
    assert child.status.status_code is trace.StatusCode.UNSET


def test_unfinished_work_is_pending(traced, spans):
    hook, driver = traced(FakeDriver(), Recorder())
    driver.create_backup(None, SHARE, {"id": "b1"})
    hook.stop()
    join_point = next(span for span in spans() if not span.parent)
    assert join_point.attributes["manila.outcome"] == "pending"
    assert join_point.status.status_code is trace.StatusCode.UNSET


@pytest.mark.parametrize("error", [None, OSError("no")])
def test_veto_in_warn_mode_is_an_event_of_the_span(traced, spans, error):
    freeze = Recorder("freeze", pre=aspects.Veto("frozen"))
    freeze.hook_enforcement = "warn"
    hook, driver = traced(BusyDriver(fail(error) if error else str), freeze)
    call(driver.create_share, None, SHARE)
    hook.stop()
    join_point = next(span for span in spans() if not span.parent)
    denied = [event for event in join_point.events if event.name == "would_deny"]
    assert [dict(event.attributes) for event in denied] == [
        {"manila.hook": "freeze", "manila.reason": "frozen"}
    ]
    outcome = "failure" if error else "success"
    assert join_point.attributes["manila.outcome"] == outcome


@pytest.mark.parametrize(
    ("kind", "error", "suppress", "outcome", "names"),
    [
        ("pre", aspects.Veto("x"), ("pre",), "veto", "hook.pre last.pre hook.error"),
        ("pre", OSError("x"), (), "failure", "hook.pre last.pre hook.error"),
        (
            "pre",
            OSError("x"),
            ("pre",),
            "success",
            "hook.pre last.pre create_share hook.post last.post",
        ),
        (
            "post",
            OSError("x"),
            (),
            "success",
            "hook.pre last.pre create_share hook.post last.post",
        ),
        (
            "error",
            OSError("x"),
            (),
            "failure",
            "hook.pre last.pre create_share last.error hook.error",
        ),
    ],
)
def test_error_of_a_later_hook(traced, spans, kind, error, suppress, outcome, names):
    last = Recorder("last", suppress=suppress, **{kind: error})
    during = fail(OSError("driver")) if kind == "error" else str
    hook, driver = traced(BusyDriver(during), Recorder(), last)
    call(driver.create_share, None, SHARE)
    hook.stop()
    join_point = next(span for span in spans() if not span.parent)
    children = [span for span in spans() if span.parent]
    assert {span.parent.span_id for span in children} == {join_point.context.span_id}
    assert sorted(span.name for span in children) == sorted(names.split())
    assert join_point.attributes["manila.outcome"] == outcome
    failed = next(span for span in children if span.name == f"last.{kind}")
    assert failed.events[0].attributes["exception.message"] == "x"
    is_error = failed.status.status_code is trace.StatusCode.ERROR
    assert is_error == (outcome != "veto")


def test_pre_method_of_a_hook_before_it_has_no_span(traced, spans):
    # There is no join point yet; that of an earlier call must not be used.
    first = Recorder("first", suppress=("pre",))
    hook, driver = traced(BusyDriver(), Recorder(), before=[first])
    for _ in range(2):
        driver.create_share(None, SHARE)
    first.answer(pre=aspects.Veto("x"))
    call(driver.create_share, None, SHARE)
    hook.stop()
    once = [*SUCCESS[:2], "create_share_instance / first.post", *SUCCESS[2:]]
    assert tree(spans()) == sorted(2 * once)


def test_call_within_a_driver_method_is_below_its_span(traced, spans):
    # One of another operation, and one of another backend after the first has ended.
    other, inner = traced(
        BusyDriver(fail(OSError("inner"))), Recorder("inner"), backend="beta"
    )

    def during():
        driver.delete_share(None, SHARE)
        call(inner.create_share, None, SHARE)
        raise OSError("outer")

    plain = BusyDriver(during)
    plain.delete_share = lambda context, share: None
    hook, driver = traced(plain, Recorder())
    call(driver.create_share, None, SHARE)
    hook.stop()
    other.stop()
    within = "create_share_instance / create_share / "
    assert tree(spans()) == sorted(
        FAILURE
        + [within + path.replace("hook", "inner") for path in FAILURE]
        + [
            within + "delete_share_instance",
            within + "delete_share_instance / delete_share",
            within + "delete_share_instance / hook.post",
            within + "delete_share_instance / hook.pre",
        ]
    )


def test_call_within_a_hook_method_is_below_its_span(traced, spans):
    inner_hook, inner = traced(BusyDriver(), backend="beta")
    nested = lambda seen: inner.delete_share(None, SHARE)  # noqa: E731
    hook, driver = traced(BusyDriver(), Recorder(pre=nested, post=nested))
    driver.create_share(None, SHARE)
    hook.stop()
    inner_hook.stop()
    deleted = ["delete_share_instance", "delete_share_instance / delete_share"]
    assert tree(spans()) == sorted(
        SUCCESS
        + [f"create_share_instance / hook.pre / {path}" for path in deleted]
        + [f"create_share_instance / hook.post / {path}" for path in deleted]
    )


@pytest.mark.parametrize("error", [None, OSError("no")])
def test_concurrent_coroutines_have_separate_traces(traced, spans, error):
    hook, driver = traced(CoroutineDriver(fail(error) if error else str), Recorder())

    async def many():
        calls = [driver.create_share(None, {"id": str(n)}) for n in range(10)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert ends == [error or ""] * 10
        assert trace.get_current_span() is trace.INVALID_SPAN

    asyncio.run(many())
    hook.stop()
    assert tree(spans()) == sorted(10 * (FAILURE if error else SUCCESS))
    assert len({span.context.trace_id for span in spans()}) == 10
    # A span lasts until its coroutine has returned, not until its first await.
    driver_spans = [span for span in spans() if span.name == "create_share"]
    assert all(span.end_time - span.start_time >= 1_000_000 for span in driver_spans)


def test_cancelled_coroutine_is_a_failure(traced, spans):
    hook, driver = traced(CoroutineDriver(), Recorder())

    async def cancel():
        task = asyncio.ensure_future(driver.create_share(None, SHARE))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    hook.stop()
    assert tree(spans()) == FAILURE


@pytest.mark.parametrize("make", [mock.Mock, mock.MagicMock])
def test_mock_of_a_method_is_traced(traced, spans, make):
    plain = BusyDriver()
    plain.create_share = make(spec=BusyDriver.create_share, return_value="mocked")
    hook, driver = traced(plain, Recorder())
    assert driver.create_share(None, SHARE) == "mocked"
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_concurrent_threads_have_separate_traces(traced, spans):
    together = threading.Barrier(8)
    hook, driver = traced(BusyDriver(lambda: together.wait(10)), Recorder())
    threads = [
        threading.Thread(target=driver.create_share, args=(None, {"id": str(n)}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hook.stop()
    assert tree(spans()) == sorted(8 * SUCCESS)
    assert len({span.context.trace_id for span in spans()}) == 8


def test_hook_method_in_the_background_is_below_its_join_point(traced, spans):
    recorder = Recorder()
    recorder.dispatcher = aspects.Background("hook")
    hook, driver = traced(BusyDriver(), recorder)
    driver.create_share(None, SHARE)
    recorder.dispatcher.stop()
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_hook_dispatch_does_not_affect_the_tracing_hook(tmp_path, spans):
    text = f"[alpha]\nhook_drivers = tracing\nhook_dispatch = background\n{ON}"
    file = ConfigFile(tmp_path / "service.conf", text)
    driver = aspects.weave_from_config(
        BusyDriver(), aspects.BackendSection(file.conf, "alpha"), "node1"
    )
    aspects.weaving(driver).start()
    driver.create_share(None, SHARE)
    aspects.weaving(driver).stop()
    assert tree(spans()) == SUCCESS[:2]

# SPDX-License-Identifier: Apache-2.0
"""The tree of spans, whatever completes a call."""

import asyncio
import threading
from unittest import mock

import pytest

import aspects

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from opentelemetry import trace

from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder

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
def test_endings_of_the_driver(traced, spans, error, outcome, status):
    hook, driver = traced(BusyDriver(fail(error) if error else str), Recorder())
    assert call(driver.create_share, None, SHARE) == (error or "")
    hook.stop()
    assert tree(spans()) == (FAILURE if error else SUCCESS)
    join_point = next(each for each in spans() if not each.parent)
    assert join_point.attributes["manila.outcome"] == outcome
    assert join_point.status.status_code is status
    kinds = [event.attributes["exception.type"] for event in join_point.events]
    assert kinds == ([type(error).__name__] if error else [])


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
def test_endings_by_a_later_hook(traced, spans, kind, error, suppress, outcome, names):
    last = Recorder("last", suppress=suppress, **{kind: error})
    during = fail(OSError("driver")) if kind == "error" else str
    hook, driver = traced(BusyDriver(during), Recorder(), last)
    call(driver.create_share, None, SHARE)
    hook.stop()
    join_point = next(each for each in spans() if not each.parent)
    below = [each for each in spans() if each.parent]
    assert {each.parent.span_id for each in below} == {join_point.context.span_id}
    assert sorted(each.name for each in below) == sorted(names.split())
    assert join_point.attributes["manila.outcome"] == outcome
    failed = next(each for each in below if each.name == f"last.{kind}")
    assert failed.events[0].attributes["exception.message"] == "x"
    is_error = failed.status.status_code is trace.StatusCode.ERROR
    assert is_error == (outcome != "veto")


def test_hooks_before_it(traced, spans):
    # Their pre actions have no join point yet; that of an earlier call is not it.
    first = Recorder("first", suppress=("pre",))
    hook, driver = traced(BusyDriver(), Recorder(), before=[first])
    for _ in range(2):
        driver.create_share(None, SHARE)
    first.answer(pre=aspects.Veto("x"))
    call(driver.create_share, None, SHARE)
    hook.stop()
    once = [*SUCCESS[:2], "create_share_instance / first.post", *SUCCESS[2:]]
    assert tree(spans()) == sorted(2 * once)


def test_call_in_a_call(traced, spans):
    # Of another backend, of another operation, and after one that has ended.
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
        + [within + each.replace("hook", "inner") for each in FAILURE]
        + [
            within + "delete_share_instance",
            within + "delete_share_instance / delete_share",
            within + "delete_share_instance / hook.post",
            within + "delete_share_instance / hook.pre",
        ]
    )


def test_call_in_an_action(traced, spans):
    inner_hook, inner = traced(BusyDriver(), backend="beta")
    nested = lambda seen: inner.delete_share(None, SHARE)  # noqa: E731
    hook, driver = traced(BusyDriver(), Recorder(pre=nested, post=nested))
    driver.create_share(None, SHARE)
    hook.stop()
    inner_hook.stop()
    deleted = ["delete_share_instance", "delete_share_instance / delete_share"]
    assert tree(spans()) == sorted(
        SUCCESS
        + [f"create_share_instance / hook.pre / {each}" for each in deleted]
        + [f"create_share_instance / hook.post / {each}" for each in deleted]
    )


@pytest.mark.parametrize("error", [None, OSError("no")])
def test_coroutine(traced, spans, error):
    hook, driver = traced(CoroutineDriver(fail(error) if error else str), Recorder())

    async def many():
        calls = [driver.create_share(None, {"id": str(n)}) for n in range(10)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert ends == [error or ""] * 10
        assert trace.get_current_span() is trace.INVALID_SPAN

    asyncio.run(many())
    hook.stop()
    assert tree(spans()) == sorted(10 * (FAILURE if error else SUCCESS))
    assert len({each.context.trace_id for each in spans()}) == 10
    # Not only until there was something to wait for.
    driven = [each for each in spans() if each.name == "create_share"]
    assert all(each.end_time - each.start_time >= 1_000_000 for each in driven)


def test_coroutine_that_is_cancelled(traced, spans):
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
def test_mock_of_a_method(traced, spans, make):
    plain = BusyDriver()
    plain.create_share = make(spec=BusyDriver.create_share, return_value="mocked")
    hook, driver = traced(plain, Recorder())
    assert driver.create_share(None, SHARE) == "mocked"
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_threads(traced, spans):
    together = threading.Barrier(8)
    hook, driver = traced(BusyDriver(lambda: together.wait(10)), Recorder())
    calls = [
        threading.Thread(target=driver.create_share, args=(None, {"id": str(n)}))
        for n in range(8)
    ]
    for each in calls:
        each.start()
    for each in calls:
        each.join()
    hook.stop()
    assert tree(spans()) == sorted(8 * SUCCESS)
    assert len({each.context.trace_id for each in spans()}) == 8


def test_action_in_the_background(traced, spans):
    recorder = Recorder()
    recorder.dispatcher = aspects.Background("hook")
    hook, driver = traced(BusyDriver(), recorder)
    driver.create_share(None, SHARE)
    recorder.dispatcher.stop()
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_dispatch_makes_no_difference(tmp_path, spans):
    text = f"[alpha]\nhook_drivers = tracing\nhook_dispatch = background\n{ON}"
    file = ConfigFile(tmp_path / "service.conf", text)
    driver = aspects.weave_from_config(
        BusyDriver(), aspects.BackendSection(file.conf, "alpha"), "node1"
    )
    aspects.weaving(driver).start()
    driver.create_share(None, SHARE)
    aspects.weaving(driver).stop()
    assert tree(spans()) == SUCCESS[:2]

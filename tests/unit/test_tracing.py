# SPDX-License-Identifier: Apache-2.0
"""The tracing hook: the tree of spans, whatever ends a call."""

import asyncio
import threading
from unittest import mock

import pytest
from oslo_context import context as oslo_context

import aspects

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hooks import tracing

from .fixtures_hooks.config_file import ConfigFile
from .helpers import Recorder

SECRET = "hunter2-Zq9"
SHARE = {"id": "i1", "share_id": "s1"}
ON = "enable_pre_hooks = True\nenable_post_hooks = True\n"


class Driver:
    def __init__(self, during=lambda: None):
        self.during = during

    def create_share(self, context, share, share_server=None):
        return self.during()

    def delete_share(self, context, share, share_server=None):
        return self.during()

    def get_share_stats(self, refresh=False):
        return self.during()

    def update_access(self, context, share, access_rules, add_rules, delete_rules):
        return self.during()


class CoroutineDriver(Driver):
    async def create_share(self, context, share, share_server=None):
        await asyncio.sleep(0.001)
        return self.during()


@pytest.fixture
def spans(monkeypatch):
    """What the hooks have sent, once they have stopped."""
    memory = InMemorySpanExporter()
    memory.shutdown = lambda: None
    new = lambda **options: memory  # noqa: E731
    monkeypatch.setattr(tracing.trace_exporter, "OTLPSpanExporter", new)
    return memory.get_finished_spans


@pytest.fixture(autouse=True)
def _nothing_is_left_current():
    assert trace.get_current_span() is trace.INVALID_SPAN
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
def traced(tmp_path, spans):
    """Return what weaves a driver with a tracing hook among others."""
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


def tree(spans):
    """Return the names of spans, each after those above it."""
    by_id = {span.context.span_id: span for span in spans}

    def path(span):
        above = by_id.get(span.parent.span_id) if span.parent else None
        return (path(above) if above else ()) + (span.name,)

    return sorted(" / ".join(path(span)) for span in spans)


def call(method, *args):
    """Call a method, whatever it raises."""
    try:
        return method(*args)
    except BaseException as error:
        return error


def fail(error):
    def during(*given):
        raise error

    return during


SUCCESS = [
    "create_share_instance",
    "create_share_instance / create_share",
    "create_share_instance / hook.post",
    "create_share_instance / hook.pre",
]
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
    hook, driver = traced(Driver(fail(error) if error else str), Recorder())
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
    hook, driver = traced(Driver(during), Recorder(), last)
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
    hook, driver = traced(Driver(), Recorder(), before=[first])
    for _ in range(2):
        driver.create_share(None, SHARE)
    first.answers["pre"] = aspects.Veto("x")
    call(driver.create_share, None, SHARE)
    hook.stop()
    once = [*SUCCESS[:2], "create_share_instance / first.post", *SUCCESS[2:]]
    assert tree(spans()) == sorted(2 * once)


def test_call_in_a_call(traced, spans):
    # Of another backend, of another operation, and after one that has ended.
    other, inner = traced(
        Driver(fail(OSError("inner"))), Recorder("inner"), backend="beta"
    )

    def during():
        driver.delete_share(None, SHARE)
        call(inner.create_share, None, SHARE)
        raise OSError("outer")

    plain = Driver(during)
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
    inner_hook, inner = traced(Driver(), backend="beta")
    nested = lambda seen: inner.delete_share(None, SHARE)  # noqa: E731
    hook, driver = traced(Driver(), Recorder(pre=nested, post=nested))
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
    plain = Driver()
    plain.create_share = make(spec=Driver.create_share, return_value="mocked")
    hook, driver = traced(plain, Recorder())
    assert driver.create_share(None, SHARE) == "mocked"
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_threads(traced, spans):
    together = threading.Barrier(8)
    hook, driver = traced(Driver(lambda: together.wait(10)), Recorder())
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
    hook, driver = traced(Driver(), recorder)
    driver.create_share(None, SHARE)
    recorder.dispatcher.stop()
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_dispatch_makes_no_difference(tmp_path, spans):
    text = f"[alpha]\nhook_drivers = tracing\nhook_dispatch = background\n{ON}"
    file = ConfigFile(tmp_path / "service.conf", text)
    driver = aspects.weave_from_config(
        Driver(), aspects.BackendSection(file.conf, "alpha"), "node1"
    )
    aspects.weaving(driver).start()
    driver.create_share(None, SHARE)
    aspects.weaving(driver).stop()
    assert tree(spans()) == SUCCESS[:2]


# What is traced


@pytest.mark.parametrize(
    "text", ["enable_pre_hooks = True\n", "enable_post_hooks = True\n", ""]
)
def test_nothing_begins_that_would_not_end(traced, spans, text):
    recorder = Recorder()
    hook, driver = traced(Driver(), recorder, text=text)
    driver.create_share(None, SHARE)
    hook.stop()
    assert not spans()
    assert len(recorder.trace) == 2


def test_switches_are_followed(traced, spans):
    hook, driver = traced(Driver(), Recorder())
    hook.post_hooks_enabled = False
    driver.create_share(None, SHARE)
    hook.post_hooks_enabled = True
    driver.create_share(None, SHARE)
    hook.pre_hooks_enabled = False
    driver.create_share(None, SHARE)
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_no_ending_is_skipped(traced, spans, monkeypatch):
    # As those of other hooks are that fail in a row: its span would stay current.
    def data_of(*call):
        if isinstance(call[-1], OSError):
            raise LookupError("no data")
        return told(*call)

    told = tracing.event.data_of
    monkeypatch.setattr(tracing.event, "data_of", data_of)
    plain = Driver()
    plain.delete_share = fail(OSError("no"))
    hook, driver = traced(plain, text=ON + "hook_failure_limit = 1\n")
    ends = []
    plain.during = lambda: ends.append(call(driver.delete_share, None, SHARE))
    driver.create_share(None, SHARE)
    hook.stop()
    # And the caller gets the driver's error, not that of telling it.
    assert [type(each) for each in ends] == [OSError]
    ended = [each for each in spans() if each.name == "create_share_instance"]
    assert [each.attributes["manila.outcome"] for each in ended] == ["success"]


def test_operations_are_chosen(traced, spans):
    hook, driver = traced(
        Driver(), Recorder(), text=ON + "hook_operations = allow_access, create_*\n"
    )
    rules = [{"access_to": "joe"}]
    driver.create_share(None, SHARE)
    driver.update_access(None, SHARE, rules, rules, [])
    driver.update_access(None, SHARE, [], [], rules)
    driver.delete_share(None, SHARE)
    hook.stop()
    assert {each.name for each in spans() if not each.parent} == {
        "create_share_instance",
        "allow_access",
    }
    assert len(spans()) == 8


def test_operation_that_is_not_chosen_in_one_that_is(traced, spans):
    plain = Driver()
    hook, driver = traced(plain, Recorder(), text=ON + "hook_operations = create_*\n")
    plain.create_share = lambda context, share: driver.delete_share(context, share)
    driver.create_share(None, SHARE)
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_call_without_a_context(traced, spans):
    hook, driver = traced(Driver(), Recorder())
    driver.get_share_stats(True)
    hook.stop()
    names = ["", " / get_share_stats", " / hook.post", " / hook.pre"]
    assert tree(spans()) == [f"publish_service_capabilities{each}" for each in names]


def test_call_that_is_not_sampled(traced, spans, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    current = []

    def during(*seen):
        current.append(trace.get_current_span().get_span_context())

    hook, driver = traced(Driver(during), Recorder(pre=during))
    driver.create_share(None, SHARE)
    hook.stop()
    assert not spans()
    # What an instrumented driver does is not to be a trace of its own.
    assert [each.is_valid for each in current] == [True, True]
    assert len({each.trace_id for each in current}) == 1
    assert not any(each.trace_flags.sampled for each in current)


def test_tick_is_not_traced(traced, spans):
    text = ON + "enable_periodic_hooks = True\n"
    hook, driver = traced(Driver(), Recorder(enabled=("periodic",)), text=text)
    assert aspects.tick(driver, None, [])
    hook.stop()
    assert not spans()


def test_no_secret_is_in_a_span(traced, spans):
    context = oslo_context.RequestContext(auth_token=f"{SECRET}-token", overwrite=False)
    rules = [{"access_to": "joe", "access_key": f"{SECRET}-key"}]
    text = f"{SECRET}-token and {SECRET}-key"
    last = Recorder("last", error=OSError(text))
    hook, driver = traced(Driver(fail(OSError(text))), last)
    call(driver.update_access, context, SHARE, rules, rules, [])
    last.answers["pre"] = OSError(text)
    call(driver.update_access, context, SHARE, rules, rules, [])
    hook.stop()
    told = [span.to_json() for span in spans()]
    assert len([each for each in told if "*** and ***" in each]) == 5
    assert SECRET not in "".join(told)


# Its life


def test_without_a_start(tmp_path, spans):
    file = ConfigFile(tmp_path / "service.conf", f"[alpha]\n{ON}")
    hook = tracing.TracingHook(aspects.BackendSection(file.conf, "alpha"), "node1")
    driver = aspects.weave(Driver(), [hook, Recorder()])
    driver.create_share(None, SHARE)
    hook.stop()
    assert not spans()


def test_again_after_a_stop(traced, spans):
    hook, driver = traced(Driver(), Recorder())
    hook.stop()
    driver.create_share(None, SHARE)
    assert not spans()
    hook.start()
    hook.start()
    driver.create_share(None, SHARE)
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_call_that_a_stop_comes_between(traced, spans):
    plain = Driver()
    hook, driver = traced(plain, Recorder())
    plain.during = hook.stop
    driver.create_share(None, SHARE)
    driver.create_share(None, SHARE)
    assert tree(spans()) == ["hook.pre"]


def test_no_thread_is_left(traced):
    before = set(threading.enumerate())
    hook, driver = traced(Driver())
    driver.create_share(None, SHARE)
    assert set(threading.enumerate()) - before
    hook.stop()
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize(
    "line",
    [
        "tracing_endpoint = collector",
        f"tracing_endpoint = ftp://joe:{SECRET}@127.0.0.1/v1/traces",
        f"tracing_endpoint = http://joe:{SECRET}@/v1/traces",
        "tracing_timeout = 0",
        "tracing_timeout = soon",
        "hook_dispatch = durable",
    ],
)
def test_wrong_option(tmp_path, line):
    file = ConfigFile(tmp_path / "a.conf", f"[alpha]\nhook_drivers = tracing\n{line}\n")
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(Driver(), section, "node1")
    (problem,) = caught.value.problems
    assert line.partition(" ")[0] in str(problem)
    assert SECRET not in str(problem)

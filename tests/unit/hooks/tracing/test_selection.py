# SPDX-License-Identifier: Apache-2.0
"""The operations that are traced, and starting and stopping the hook."""

import threading

import pytest
from oslo_context import context as oslo_context

import aspects

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from opentelemetry import trace

from hooks import tracing
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder

from .common import ON, SHARE, SUCCESS, call, fail, tree

SECRET = "hunter2-Zq9"


@pytest.mark.parametrize(
    "text", ["enable_pre_hooks = True\n", "enable_post_hooks = True\n", ""]
)
def test_nothing_is_traced_without_both_pre_and_post_hooks(traced, spans, text):
    recorder = Recorder()
    hook, driver = traced(BusyDriver(), recorder, text=text)
    driver.create_share(None, SHARE)
    hook.stop()
    assert not spans()
    assert len(recorder.trace) == 2


@pytest.mark.parametrize("option", ["enable_pre_hooks", "enable_post_hooks"])
def test_hook_without_both_switches_reports_that_it_has_no_effect(traced, option):
    hook, _ = traced(BusyDriver(), text=f"{option} = True\n")
    missing = {"enable_pre_hooks", "enable_post_hooks"} - {option}
    cause, _ = hook.ineffective()
    assert f"since {missing.pop()} is False" in cause
    assert traced(BusyDriver())[0].ineffective() is None


def test_switches_take_effect_at_once(traced, spans):
    hook, driver = traced(BusyDriver(), Recorder())
    hook.post_hooks_enabled = False
    driver.create_share(None, SHARE)
    hook.post_hooks_enabled = True
    driver.create_share(None, SHARE)
    hook.pre_hooks_enabled = False
    driver.create_share(None, SHARE)
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_circuit_breaker_never_skips_the_completion(traced, spans, monkeypatch):
    # Without its completion, the span would stay current.
    def data_of(*call, **more):
        if isinstance(call[-1], OSError):
            raise LookupError("no data")
        return real(*call, **more)

    real = tracing.event.data_of
    monkeypatch.setattr(tracing.event, "data_of", data_of)
    plain = BusyDriver()
    plain.delete_share = fail(OSError("no"))
    hook, driver = traced(plain, text=ON + "hook_failure_limit = 1\n")
    ends = []
    plain.does = lambda: ends.append(call(driver.delete_share, None, SHARE))
    driver.create_share(None, SHARE)
    hook.stop()
    # The caller gets the driver's error, not the LookupError of the completion.
    assert [type(error) for error in ends] == [OSError]
    created = [span for span in spans() if span.name == "create_share_instance"]
    assert [span.attributes["manila.outcome"] for span in created] == ["success"]


def test_only_the_operations_of_the_instance_are_traced(traced, spans):
    hook, driver = traced(
        BusyDriver(), Recorder(), text=ON + "hook_operations = allow_access, create_*\n"
    )
    rules = [{"access_to": "joe"}]
    driver.create_share(None, SHARE)
    driver.update_access(None, SHARE, rules, rules, [])
    driver.update_access(None, SHARE, [], [], rules)
    driver.delete_share(None, SHARE)
    hook.stop()
    assert {span.name for span in spans() if not span.parent} == {
        "create_share_instance",
        "allow_access",
    }
    assert len(spans()) == 8


def test_other_operation_within_a_traced_one_is_not_traced(traced, spans):
    plain = BusyDriver()
    hook, driver = traced(plain, Recorder(), text=ON + "hook_operations = create_*\n")
    plain.create_share = lambda context, share: driver.delete_share(context, share)
    driver.create_share(None, SHARE)
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_call_without_a_context_is_traced(traced, spans):
    hook, driver = traced(BusyDriver(), Recorder())
    driver.get_share_stats(True)
    hook.stop()
    names = ["", " / get_share_stats", " / hook.post", " / hook.pre"]
    assert tree(spans()) == [f"publish_service_capabilities{name}" for name in names]


def test_unsampled_call_has_one_current_trace(traced, spans, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    current = []

    def during(*seen):
        current.append(trace.get_current_span().get_span_context())

    hook, driver = traced(BusyDriver(during), Recorder(pre=during))
    driver.create_share(None, SHARE)
    hook.stop()
    assert not spans()
    # Spans of an instrumented driver belong to it, instead of starting a trace.
    assert [context.is_valid for context in current] == [True, True]
    assert len({context.trace_id for context in current}) == 1
    assert not any(context.trace_flags.sampled for context in current)


def test_tick_is_not_traced(traced, spans):
    text = ON + "enable_periodic_hooks = True\n"
    hook, driver = traced(BusyDriver(), Recorder(enabled=("periodic",)), text=text)
    assert aspects.tick(driver, None, [])
    hook.stop()
    assert not spans()


def test_no_secret_is_in_a_span(traced, spans):
    context = oslo_context.RequestContext(auth_token=f"{SECRET}-token", overwrite=False)
    rules = [{"access_to": "joe", "access_key": f"{SECRET}-key"}]
    text = f"{SECRET}-token and {SECRET}-key"
    last = Recorder("last", error=OSError(text))
    hook, driver = traced(BusyDriver(fail(OSError(text))), last)
    call(driver.update_access, context, SHARE, rules, rules, [])
    last.answer(pre=OSError(text))
    call(driver.update_access, context, SHARE, rules, rules, [])
    hook.stop()
    texts = [span.to_json() for span in spans()]
    assert len([text for text in texts if "*** and ***" in text]) == 5
    assert SECRET not in "".join(texts)


def test_hook_that_was_not_started_traces_nothing(tmp_path, spans):
    file = ConfigFile(tmp_path / "service.conf", f"[alpha]\n{ON}")
    hook = tracing.TracingHook(aspects.BackendSection(file.conf, "alpha"), "node1")
    driver = aspects.weave(BusyDriver(), [hook, Recorder()])
    driver.create_share(None, SHARE)
    hook.stop()
    assert not spans()


def test_hook_traces_again_after_a_restart(traced, spans):
    hook, driver = traced(BusyDriver(), Recorder())
    hook.stop()
    driver.create_share(None, SHARE)
    assert not spans()
    hook.start()
    hook.start()
    driver.create_share(None, SHARE)
    hook.stop()
    assert tree(spans()) == SUCCESS


def test_call_during_a_stop_keeps_only_the_spans_before_it(traced, spans):
    plain = BusyDriver()
    hook, driver = traced(plain, Recorder())
    plain.does = hook.stop
    driver.create_share(None, SHARE)
    driver.create_share(None, SHARE)
    assert tree(spans()) == ["hook.pre"]


def test_no_thread_remains_after_a_stop(traced):
    before = set(threading.enumerate())
    hook, driver = traced(BusyDriver())
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
def test_invalid_option_is_an_error_without_secrets(tmp_path, line):
    file = ConfigFile(tmp_path / "a.conf", f"[alpha]\nhook_drivers = tracing\n{line}\n")
    section = aspects.BackendSection(file.conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(BusyDriver(), section, "node1")
    (problem,) = caught.value.problems
    assert line.partition(" ")[0] in str(problem)
    assert SECRET not in str(problem)

# SPDX-License-Identifier: Apache-2.0
"""The counters and durations of calls, hook methods and ticks."""

import asyncio
import inspect
import threading
from unittest import mock

import pytest

import aspects

pytest.importorskip("prometheus_client")
from aspects.operations import METHODS
from aspects.testing import FakeDriver
from hooks.events.outcome import OUTCOMES
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import PlainRecorder, Recorder
from tests.support.results import ROWS

from .common import ON, SHARE, Metrics

# A test that hangs on a server fails early.
pytestmark = pytest.mark.timeout(60)


CREATE = {"operation": "create_share_instance", "method": "create_share"}


class CoroutineDriver(BusyDriver):
    async def create_share(self, context, share, share_server=None):
        await asyncio.sleep(0)
        return self._do(None)


def call(method, *args):
    """Return the result of a method, or the exception that it raises."""
    try:
        return method(*args)
    except BaseException as error:
        return error


def fail(error):
    def during():
        raise error

    return during


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "success"),
        (OSError("no"), "failure"),
        (KeyboardInterrupt(), "failure"),
    ],
)
def test_calls_are_counted_by_outcome(metrics, error, outcome):
    during = fail(error) if error else lambda: "result"
    driver = metrics.weave(BusyDriver(during), Recorder())
    for _ in range(3):
        assert call(driver.create_share, None, SHARE) == (error or "result")
    counted = {name: metrics.calls(*CREATE.values(), name) for name in OUTCOMES}
    # The other outcomes are 0, not missing.
    assert counted == dict.fromkeys(counted, 0) | {outcome: 3}
    assert metrics("driver_duration_seconds_count", method="create_share") == 3


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_calls_are_counted_by_the_outcome_that_their_result_reports(metrics, row):
    driver = metrics.weave(FakeDriver(**{row.method: lambda call: row.result}))
    method = getattr(driver, row.method)
    names = inspect.signature(method).parameters
    method(**{name: row.arguments.get(name) for name in names})
    operation = METHODS[row.method]
    if row.method == "update_access":
        operation = {"denial_refused": "deny_access"}.get(row.name, "allow_access")
        if not row.arguments["add_rules"] and not row.arguments["delete_rules"]:
            operation = "update_access"
    counted = {name: metrics.calls(operation, row.method, name) for name in OUTCOMES}
    assert counted == dict.fromkeys(OUTCOMES, 0) | {row.outcome: 1}


@pytest.mark.parametrize(
    ("method", "options", "enforcement"),
    [
        ("create_share", {}, "deny"),
        ("create_share", {"hook_enforcement": "warn"}, "warn"),
        # A veto of a routine operation counts only if its very name is configured.
        ("get_share_stats", {}, "warn"),
        (
            "get_share_stats",
            {"hook_operations": ["publish_service_capabilities"]},
            "deny",
        ),
    ],
)
def test_vetoes_are_counted_by_enforcement(metrics, method, options, enforcement):
    guard = Recorder("guard", pre=aspects.Veto("no"))
    for name, value in options.items():
        setattr(guard, name, value)
    driver = metrics.weave(BusyDriver(), guard)
    arguments = (None, SHARE) if method == "create_share" else ()
    raised = call(getattr(driver, method), *arguments)
    assert isinstance(raised, aspects.Veto) == (enforcement == "deny")
    counted = {
        each: metrics("vetoes_total", hook="guard", enforcement=each)
        for each in ("deny", "warn")
    }
    assert counted == {"deny": 0, "warn": 0} | {enforcement: 1}


def test_veto_does_not_count_as_an_error(metrics):
    driver = metrics.weave(BusyDriver(), Recorder("guard", pre=aspects.Veto("no")))
    call(driver.create_share, None, SHARE)
    assert metrics.calls(*CREATE.values(), "veto") == 1
    assert metrics("vetoes_total", hook="guard", enforcement="deny") == 1
    assert metrics.errors("guard", "pre") == 0
    assert not metrics("driver_duration_seconds_count", method="create_share")


def test_veto_of_a_hook_before_it_counts_but_its_call_does_not(metrics):
    first = Recorder("first", pre=aspects.Veto("no"))
    driver = metrics.weave(BusyDriver(), before=[first])
    call(driver.create_share, None, SHARE)
    assert metrics("vetoes_total", hook="first", enforcement="deny") == 1
    assert metrics.calls(*CREATE.values(), "veto") is None


@pytest.mark.parametrize(
    ("kind", "error", "suppress", "count"),
    [
        ("pre", OSError("no"), (), 1),
        ("pre", OSError("no"), ("pre",), 1),
        ("post", OSError("no"), ("post",), 1),
        # A post method cannot veto a call, so this is an error.
        ("post", aspects.Veto("no"), ("post",), 1),
        ("error", OSError("no"), (), 1),
        # The end of the thread is not an error of the hook.
        ("pre", KeyboardInterrupt(), (), 0),
    ],
)
def test_errors_of_hook_methods_are_counted(metrics, kind, error, suppress, count):
    other = Recorder("other", suppress=suppress, **{kind: error})
    driver = metrics.weave(
        BusyDriver(fail(OSError("driver")) if kind == "error" else str), other
    )
    call(driver.create_share, None, SHARE)
    assert metrics.errors("other", kind) == count
    assert metrics("vetoes_total", hook="other", enforcement="deny") == 0
    assert metrics.timed("other", kind) == 1


@pytest.mark.parametrize("kind", [Recorder, PlainRecorder])
def test_suppressed_errors_and_skipped_calls_are_counted(metrics, kind):
    other = kind("other", pre=OSError("no"), suppress=("pre",))
    other.hook_failure_limit, other.may_veto = 2, False
    driver = metrics.weave(BusyDriver(), other)
    assert metrics("hook_suppressed_total", hook="other") == 0
    for _ in range(5):
        driver.create_share(None, SHARE)
    assert metrics("hook_suppressed_total", hook="other") == 2
    assert metrics("hook_skipped_total", hook="other") == 3


def test_hook_methods_are_timed(metrics, clock):
    driver = metrics.weave(
        BusyDriver(), Recorder("other", pre=lambda seen: clock.advance(0.05))
    )
    driver.create_share(None, SHARE)
    labels = {"hook": "other", "hook_method": "pre"}
    assert metrics("hook_duration_seconds_sum", **labels) == pytest.approx(0.05)
    assert metrics("hook_duration_seconds_bucket", **labels, le="0.01") == 0
    assert metrics("hook_duration_seconds_bucket", **labels, le="0.1") == 1
    assert metrics.timed("other", "post") == 1


def test_driver_method_is_timed(metrics, clock):
    driver = metrics.weave(BusyDriver(lambda: clock.advance(90)))
    driver.create_share(None, SHARE)
    assert metrics("driver_duration_seconds_sum", method="create_share") == 90


def test_methods_of_the_metrics_hook_are_not_timed(metrics):
    metrics.weave(BusyDriver()).create_share(None, SHARE)
    assert metrics.timed("MetricsHook", "post") is None


def test_coroutine_method_is_counted_and_timed(metrics, clock):
    plain = CoroutineDriver(lambda: clock.advance(90) or "result")
    driver = metrics.weave(plain, Recorder())
    assert asyncio.run(driver.create_share(None, SHARE)) == "result"
    assert metrics.calls(*CREATE.values()) == 1
    assert metrics("driver_duration_seconds_sum", method="create_share") == 90


@pytest.mark.parametrize("make", [mock.Mock, mock.MagicMock])
def test_mock_of_a_method_is_timed(metrics, make):
    plain = BusyDriver()
    plain.create_share = make(spec=BusyDriver.create_share, return_value="mocked")
    assert metrics.weave(plain, Recorder()).create_share(None, SHARE) == "mocked"
    assert metrics("driver_duration_seconds_count", method="create_share") == 1


def test_background_method_is_timed_when_it_runs(metrics):
    release = threading.Event()
    other = Recorder("other", post=lambda seen: release.wait(30))
    other.dispatcher = aspects.Background("other")
    driver = metrics.weave(BusyDriver(), other)
    driver.create_share(None, SHARE)
    assert metrics.timed("other", "post") == 0
    assert metrics("hook_queue_pending", hook="other") == 1
    release.set()
    other.dispatcher.stop()
    assert metrics.timed("other", "post") == 1
    assert metrics("hook_queue_pending", hook="other") == 0


def test_hook_with_plain_attributes_as_switches_is_timed(metrics):
    # Its chain compares such switches when a call begins.
    driver = metrics.weave(BusyDriver(), PlainRecorder("plain"))
    for _ in range(3):
        driver.create_share(None, SHARE)
    assert metrics.timed("plain", "pre") == metrics.timed("plain", "post") == 3
    assert metrics.calls(*CREATE.values()) == 3


def test_ticks_are_counted(tmp_path):
    metrics = Metrics(tmp_path, "enable_periodic_hooks = True\n")
    other = Recorder("other", enabled=("periodic",))
    driver = metrics.weave(BusyDriver(), other)
    for _ in range(3):
        assert aspects.tick(driver, None, [])
    assert metrics("ticks_total") == metrics.timed("other", "periodic") == 3


def test_labels_have_no_ids(metrics):
    driver = metrics.weave(BusyDriver(), Recorder())
    driver.create_share(None, SHARE)
    for family in metrics.hook.endpoint.registry.collect():
        for sample in family.samples:
            assert "4711" not in str(sample.labels)


def test_calls_are_counted_only_with_post_hooks(metrics):
    metrics.hook.pre_hooks_enabled = True
    driver = metrics.weave(BusyDriver(), Recorder("other"))
    driver.create_share(None, SHARE)
    metrics.hook.post_hooks_enabled = False
    driver.create_share(None, SHARE)
    assert metrics.calls(*CREATE.values()) == 1
    # The other hooks are still observed.
    assert metrics.timed("other", "pre") == 2
    metrics.hook.post_hooks_enabled = True
    driver.create_share(None, SHARE)
    assert metrics.calls(*CREATE.values()) == 2


def test_nothing_is_observed_with_all_switches_off(metrics):
    driver = metrics.weave(BusyDriver(), Recorder("other"))
    metrics.hook.post_hooks_enabled = False
    driver.create_share(None, SHARE)
    assert not metrics.timed("other", "pre")
    assert not metrics("driver_duration_seconds_count", method="create_share")
    metrics.hook.post_hooks_enabled = True
    driver.create_share(None, SHARE)
    assert metrics.timed("other", "pre") == 1
    assert metrics("driver_duration_seconds_count", method="create_share") == 1


def test_only_the_operations_of_the_instance_are_counted(tmp_path):
    text = ON + "hook_operations = allow_access, create_*\n"
    metrics = Metrics(tmp_path, text)
    driver = metrics.weave(BusyDriver(), Recorder("other"))
    rules = [{"access_to": "joe"}]
    driver.create_share(None, SHARE)
    driver.delete_share(None, SHARE)
    driver.update_access(None, SHARE, rules, rules, [])
    driver.update_access(None, SHARE, rules, [], rules)
    driver.update_access(None, SHARE, rules, delete_rules=rules, add_rules=[])
    assert metrics.calls(*CREATE.values()) == 1
    assert metrics.calls("allow_access", "update_access") == 1
    assert metrics.calls("delete_share_instance", "delete_share") is None
    assert metrics("driver_duration_seconds_count", method="create_share") == 1
    assert metrics("driver_duration_seconds_count", method="delete_share") is None
    assert metrics("driver_duration_seconds_count", method="update_access") == 1
    assert metrics.timed("other", "pre") == metrics.timed("other", "post") == 2


def test_switches_follow_the_file(tmp_path):
    text = "[alpha]\nhook_drivers = metrics\nmetrics_port = 0\nenable_post_hooks = %s\n"
    file = ConfigFile(tmp_path / "service.conf", text % True)
    driver = aspects.weave_from_config(
        BusyDriver(), aspects.BackendSection(file.conf, "alpha"), "node1"
    )
    (hook,) = aspects.weaving(driver).hooks
    metrics = Metrics(tmp_path)
    metrics.hook = hook
    driver.create_share(None, SHARE)
    file.mutate(text % False)
    driver.create_share(None, SHARE)
    file.mutate(text % True)
    driver.create_share(None, SHARE)
    assert metrics.calls(*CREATE.values()) == 2
    assert metrics("driver_duration_seconds_count", method="create_share") == 2

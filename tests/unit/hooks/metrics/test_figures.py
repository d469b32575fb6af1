# SPDX-License-Identifier: Apache-2.0
"""What is counted and timed."""

import asyncio
import threading
from unittest import mock

import pytest

import aspects

pytest.importorskip("prometheus_client")
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import PlainRecorder, Recorder

from .common import ON, SHARE, Figures

# A server that does not stop is to be seen soon.
pytestmark = pytest.mark.timeout(60)


CREATE = {"operation": "create_share_instance", "method": "create_share"}


class CoroutineDriver(BusyDriver):
    async def create_share(self, context, share, share_server=None):
        await asyncio.sleep(0)
        return self._do(None)


def call(method, *args):
    """Call a method, whatever it raises."""
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
def test_calls_by_outcome(figures, error, outcome):
    during = fail(error) if error else lambda: "result"
    driver = figures.weave(BusyDriver(during), Recorder())
    for _ in range(3):
        assert call(driver.create_share, None, SHARE) == (error or "result")
    counted = {
        each: figures.calls(*CREATE.values(), each)
        for each in ("success", "failure", "veto")
    }
    # What did not happen yet is a 0.
    assert counted == dict.fromkeys(counted, 0) | {outcome: 3}
    assert figures("driver_duration_seconds_count", method="create_share") == 3


def test_veto_is_told_apart(figures):
    driver = figures.weave(BusyDriver(), Recorder("guard", pre=aspects.Veto("no")))
    call(driver.create_share, None, SHARE)
    assert figures.calls(*CREATE.values(), "veto") == 1
    assert figures("vetoes_total", hook="guard") == 1
    assert figures.errors("guard", "pre") == 0
    assert not figures("driver_duration_seconds_count", method="create_share")


def test_veto_of_a_hook_before_it(figures):
    first = Recorder("first", pre=aspects.Veto("no"))
    driver = figures.weave(BusyDriver(), before=[first])
    call(driver.create_share, None, SHARE)
    assert figures("vetoes_total", hook="first") == 1
    assert figures.calls(*CREATE.values(), "veto") is None


@pytest.mark.parametrize(
    ("kind", "error", "suppress", "count"),
    [
        ("pre", OSError("no"), (), 1),
        ("pre", OSError("no"), ("pre",), 1),
        ("post", OSError("no"), ("post",), 1),
        # It is nothing to forbid any more.
        ("post", aspects.Veto("no"), ("post",), 1),
        ("error", OSError("no"), (), 1),
        # Not the hook's error, but the thread's end.
        ("pre", KeyboardInterrupt(), (), 0),
    ],
)
def test_errors_of_hooks(figures, kind, error, suppress, count):
    other = Recorder("other", suppress=suppress, **{kind: error})
    driver = figures.weave(
        BusyDriver(fail(OSError("driver")) if kind == "error" else str), other
    )
    call(driver.create_share, None, SHARE)
    assert figures.errors("other", kind) == count
    assert figures("vetoes_total", hook="other") == 0
    assert figures.timed("other", kind) == 1


def test_actions_are_timed(figures, clock):
    driver = figures.weave(
        BusyDriver(), Recorder("other", pre=lambda seen: clock.advance(0.05))
    )
    driver.create_share(None, SHARE)
    labels = {"hook": "other", "action": "pre"}
    assert figures("hook_duration_seconds_sum", **labels) == pytest.approx(0.05)
    assert figures("hook_duration_seconds_bucket", **labels, le="0.01") == 0
    assert figures("hook_duration_seconds_bucket", **labels, le="0.1") == 1
    assert figures.timed("other", "post") == 1


def test_driver_is_timed(figures, clock):
    driver = figures.weave(BusyDriver(lambda: clock.advance(90)))
    driver.create_share(None, SHARE)
    assert figures("driver_duration_seconds_sum", method="create_share") == 90


def test_its_own_actions_are_not_timed(figures):
    figures.weave(BusyDriver()).create_share(None, SHARE)
    assert figures.timed("MetricsHook", "post") is None


def test_coroutine_method(figures, clock):
    plain = CoroutineDriver(lambda: clock.advance(90) or "result")
    driver = figures.weave(plain, Recorder())
    assert asyncio.run(driver.create_share(None, SHARE)) == "result"
    assert figures.calls(*CREATE.values()) == 1
    assert figures("driver_duration_seconds_sum", method="create_share") == 90


@pytest.mark.parametrize("make", [mock.Mock, mock.MagicMock])
def test_mock_of_a_method(figures, make):
    plain = BusyDriver()
    plain.create_share = make(spec=BusyDriver.create_share, return_value="mocked")
    assert figures.weave(plain, Recorder()).create_share(None, SHARE) == "mocked"
    assert figures("driver_duration_seconds_count", method="create_share") == 1


def test_background_action_is_timed_where_it_runs(figures):
    go_on = threading.Event()
    other = Recorder("other", post=lambda seen: go_on.wait(30))
    other.dispatcher = aspects.Background("other")
    driver = figures.weave(BusyDriver(), other)
    driver.create_share(None, SHARE)
    assert figures.timed("other", "post") == 0
    assert figures("hook_queue_pending", hook="other") == 1
    go_on.set()
    other.dispatcher.stop()
    assert figures.timed("other", "post") == 1
    assert figures("hook_queue_pending", hook="other") == 0


def test_hook_with_plain_switches(figures):
    # Whose chain is made anew for each call.
    driver = figures.weave(BusyDriver(), PlainRecorder("plain"))
    for _ in range(3):
        driver.create_share(None, SHARE)
    assert figures.timed("plain", "pre") == figures.timed("plain", "post") == 3
    assert figures.calls(*CREATE.values()) == 3


def test_ticks(tmp_path):
    figures = Figures(tmp_path, "enable_periodic_hooks = True\n")
    other = Recorder("other", enabled=("periodic",))
    driver = figures.weave(BusyDriver(), other)
    for _ in range(3):
        assert aspects.tick(driver, None, [])
    assert figures("ticks_total") == figures.timed("other", "periodic") == 3


def test_no_ids_in_it(figures):
    driver = figures.weave(BusyDriver(), Recorder())
    driver.create_share(None, SHARE)
    for family in figures.hook.endpoint.registry.collect():
        for sample in family.samples:
            assert "4711" not in str(sample.labels)


def test_calls_are_counted_with_post_hooks(figures):
    figures.hook.pre_hooks_enabled = True
    driver = figures.weave(BusyDriver(), Recorder("other"))
    driver.create_share(None, SHARE)
    figures.hook.post_hooks_enabled = False
    driver.create_share(None, SHARE)
    assert figures.calls(*CREATE.values()) == 1
    # The others are watched still.
    assert figures.timed("other", "pre") == 2
    figures.hook.post_hooks_enabled = True
    driver.create_share(None, SHARE)
    assert figures.calls(*CREATE.values()) == 2


def test_nothing_is_watched_with_all_switches_off(figures):
    driver = figures.weave(BusyDriver(), Recorder("other"))
    figures.hook.post_hooks_enabled = False
    driver.create_share(None, SHARE)
    assert not figures.timed("other", "pre")
    assert not figures("driver_duration_seconds_count", method="create_share")
    figures.hook.post_hooks_enabled = True
    driver.create_share(None, SHARE)
    assert figures.timed("other", "pre") == 1
    assert figures("driver_duration_seconds_count", method="create_share") == 1


def test_operations_are_chosen(tmp_path):
    text = ON + "hook_operations = allow_access, create_*\n"
    figures = Figures(tmp_path, text)
    driver = figures.weave(BusyDriver(), Recorder("other"))
    rules = [{"access_to": "joe"}]
    driver.create_share(None, SHARE)
    driver.delete_share(None, SHARE)
    driver.update_access(None, SHARE, rules, rules, [])
    driver.update_access(None, SHARE, rules, [], rules)
    driver.update_access(None, SHARE, rules, delete_rules=rules, add_rules=[])
    assert figures.calls(*CREATE.values()) == 1
    assert figures.calls("allow_access", "update_access") == 1
    assert figures.calls("delete_share_instance", "delete_share") is None
    assert figures("driver_duration_seconds_count", method="create_share") == 1
    assert figures("driver_duration_seconds_count", method="delete_share") is None
    assert figures("driver_duration_seconds_count", method="update_access") == 1
    assert figures.timed("other", "pre") == figures.timed("other", "post") == 2


def test_switches_follow_the_file(tmp_path):
    text = "[alpha]\nhook_drivers = metrics\nmetrics_port = 0\nenable_post_hooks = %s\n"
    file = ConfigFile(tmp_path / "service.conf", text % True)
    driver = aspects.weave_from_config(
        BusyDriver(), aspects.BackendSection(file.conf, "alpha"), "node1"
    )
    (hook,) = aspects.weaving(driver).hooks
    figures = Figures(tmp_path)
    figures.hook = hook
    driver.create_share(None, SHARE)
    file.mutate(text % False)
    driver.create_share(None, SHARE)
    file.mutate(text % True)
    driver.create_share(None, SHARE)
    assert figures.calls(*CREATE.values()) == 2
    assert figures("driver_duration_seconds_count", method="create_share") == 2

# SPDX-License-Identifier: Apache-2.0
"""The tick counter, and the periodic hook methods on a tick."""

import logging
import threading

import pytest
from oslo_context import context as oslo_context

import aspects
from tests.support.entries import recording
from tests.support.threads import run_in_thread

from .common import CONTEXT, SHARES, ticks_of


class Hook(aspects.HookBase):
    """A hook that records its periodic runs, and may fail."""

    def __init__(self, name="hook", order=None, fails=None, on=True, suppress=False):
        self.instance_name = name
        self.seen = []
        self.order = [] if order is None else order
        self.fails = fails
        self.periodic_hooks_enabled = on
        self.suppress_periodic_hooks_errors = suppress

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        raise AssertionError("a tick has no pre method")

    def _execute_post_hook(
        self, context, func_name, pre_hook_data, driver_action_results, *args, **kwargs
    ):
        raise AssertionError("a tick has no post method")

    def _execute_periodic_hook(self, context, periodic_hook_data, *args, **kwargs):
        assert (args, kwargs) == ((), {})
        self.seen.append((context, periodic_hook_data))
        self.order.append(self.instance_name)
        if self.fails:
            raise self.fails


class UpstreamLike:
    """A hook of Manila's contract, without a switch to suppress periodic errors."""

    def __init__(self, fails=None):
        self.seen = []
        self.fails = fails
        self.pre_hooks_enabled = self.post_hooks_enabled = False
        self.periodic_hooks_enabled = True

    def _execute_pre_hook(self, context, func_name, *args, **kwargs):
        raise AssertionError

    def _execute_post_hook(self, context, func_name, *args, **kwargs):
        raise AssertionError

    def _execute_periodic_hook(self, *args, context, periodic_hook_data, **kwargs):
        # Upstream allows keyword-only parameters.
        self.seen.append((context, periodic_hook_data))
        if self.fails:
            raise self.fails


class Asked:
    """A driver that implements ``get_periodic_hook_data``."""

    def __init__(self):
        self.asked = []

    def get_periodic_hook_data(self, context, share_instances):
        self.asked.append((context, share_instances))
        return {"asked": len(self.asked)}


def test_periodic_hooks_run_on_every_tick_by_default():
    hook = Hook()
    woven = aspects.weave(object(), [hook])
    assert ticks_of(woven, 3) == [True, True, True]
    assert len(hook.seen) == 3


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_periodic_hooks_run_on_every_nth_tick(every):
    hook, driver = Hook(), Asked()
    woven = aspects.weave(driver, [hook], periodic_hooks_ticks=every)
    ran = ticks_of(woven, 11)
    # Hooks run on tick N, 2N and so on, not on the first.
    assert ran == [number % every == 0 for number in range(1, 12)]
    assert len(hook.seen) == ran.count(True)
    # The driver's answer may be expensive, so other ticks do not ask for it.
    assert len(driver.asked) == ran.count(True)


def test_tick_returns_a_bool():
    woven = aspects.weave(object(), [Hook()], periodic_hooks_ticks=2)
    assert [aspects.tick(woven, CONTEXT, []) for _ in range(2)] == [False, True]
    assert type(aspects.tick(woven, CONTEXT, [])) is bool


def test_ticks_are_counted():
    woven = aspects.weave(object(), [Hook()], periodic_hooks_ticks=3)
    assert aspects.weaving(woven).ticks == 0
    for number in range(1, 8):
        aspects.tick(woven, CONTEXT, SHARES)
        assert aspects.weaving(woven).ticks == number


def test_ticks_are_counted_while_all_hooks_are_disabled():
    hook, driver = Hook(on=False), Asked()
    woven = aspects.weave(driver, [hook], periodic_hooks_ticks=2)
    assert ticks_of(woven, 3) == [False] * 3
    assert aspects.weaving(woven).ticks == 3
    assert (hook.seen, driver.asked) == ([], [])
    hook.periodic_hooks_enabled = True
    assert ticks_of(woven, 1) == [True]


def test_tick_returns_false_without_hooks():
    driver = Asked()
    woven = aspects.weave(driver, [])
    assert ticks_of(woven, 2) == [False, False]
    assert driver.asked == []


def test_the_driver_is_called_once_and_every_hook_gets_its_answer():
    order = []
    hooks = [Hook("b", order), UpstreamLike(), Hook("a", order), Hook("c", on=False)]
    driver = Asked()
    woven = aspects.weave(driver, hooks)
    assert ticks_of(woven, 1) == [True]
    assert driver.asked == [(CONTEXT, SHARES)]
    assert driver.asked[0][1] is SHARES
    for hook in hooks[:3]:
        assert hook.seen == [(CONTEXT, {"asked": 1})]
    assert hooks[3].seen == []
    assert order == ["b", "a"]


def test_hooks_get_the_share_instances_if_the_driver_has_no_such_method():
    hooks = [Hook(), UpstreamLike()]
    woven = aspects.weave(object(), hooks)
    assert ticks_of(woven, 1) == [True]
    for hook in hooks:
        assert hook.seen == [(CONTEXT, SHARES)]
        assert hook.seen[0][1] is SHARES


def test_hooks_get_none_if_the_driver_returns_none():
    class Silent:
        def get_periodic_hook_data(self, context, share_instances):
            return None

    hook = Hook()
    assert ticks_of(aspects.weave(Silent(), [hook]), 1) == [True]
    assert hook.seen == [(CONTEXT, None)]


def test_get_periodic_hook_data_is_not_a_join_point():
    class Strict(Hook):
        pre_hooks_enabled = post_hooks_enabled = True

    driver = Asked()
    woven = aspects.weave(driver, [Strict()])
    assert "get_periodic_hook_data" not in aspects.weaving(woven).operations
    assert ticks_of(woven, 1) == [True]
    assert len(driver.asked) == 1


def test_an_error_of_the_driver_reaches_the_caller_of_tick():
    class Broken:
        def get_periodic_hook_data(self, context, share_instances):
            raise OSError("no data")

    hook = Hook(suppress=True)
    woven = aspects.weave(Broken(), [hook])
    with pytest.raises(OSError, match="no data"):
        aspects.tick(woven, CONTEXT, SHARES)
    assert hook.seen == []
    assert aspects.weaving(woven).ticks == 1


def test_get_periodic_hook_data_may_be_added_after_weaving():
    hook, driver = Hook(), Asked()
    driver.get_periodic_hook_data = lambda context, share_instances: "mine"
    woven = aspects.weave(driver, [hook])
    ticks_of(woven, 1)
    del driver.get_periodic_hook_data
    ticks_of(woven, 1)
    assert [data for _, data in hook.seen] == ["mine", {"asked": 1}]


def test_a_tick_without_a_context_has_an_admin_context():
    hook, driver = Hook(), Asked()
    woven = aspects.weave(driver, [hook])
    run_in_thread(aspects.tick, woven, None, SHARES)
    ((context, _),) = hook.seen
    assert isinstance(context, oslo_context.RequestContext)
    assert context.is_admin
    assert driver.asked[0][0] is context


def test_an_error_that_is_not_suppressed_ends_the_tick():
    error = OSError("broken")
    hooks = [Hook(), Hook(fails=error), Hook()]
    woven = aspects.weave(object(), hooks)
    with pytest.raises(OSError, match="broken") as caught:
        aspects.tick(woven, CONTEXT, SHARES)
    assert caught.value is error
    assert [len(hook.seen) for hook in hooks] == [1, 1, 0]
    # The tick is counted, and the next one runs.
    assert aspects.weaving(woven).ticks == 1
    hooks[1].fails = None
    assert ticks_of(woven, 1) == [True]
    assert [len(hook.seen) for hook in hooks] == [2, 2, 1]


def test_a_suppressed_error_is_logged_and_the_next_hook_runs(caplog):
    hooks = [Hook("meter", fails=OSError("broken"), suppress=True), Hook()]
    woven = aspects.weave(object(), hooks, "alpha", "node1@alpha")
    with caplog.at_level(logging.WARNING):
        assert aspects.tick(woven, CONTEXT, SHARES) is True
    assert len(hooks[1].seen) == 1
    (record,) = (r for r in caplog.records if r.name.startswith("aspects"))
    for part in ("meter", "alpha", "periodic", "OSError", "broken"):
        assert part in record.getMessage()


def test_a_dispatcher_gets_the_operation_of_the_tick():
    class Dispatcher:
        received = []

        def put(self, hook, kind, operation, method, /, *args, **kwargs):
            self.received.append((hook, kind, operation, args))

    hook = Hook()
    hook.dispatcher = Dispatcher()
    woven = aspects.weave(object(), [hook], "alpha", "node1@alpha")
    aspects.tick(woven, CONTEXT, SHARES)
    (call,) = Dispatcher.received
    assert call == (hook, "periodic", "periodic", (CONTEXT, SHARES))
    operation = call[2]
    assert (operation.backend, operation.host) == ("alpha", "node1@alpha")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_a_base_exception_on_a_tick_is_not_suppressed(error):
    hooks = [Hook(fails=error, suppress=True), Hook()]
    with pytest.raises(type(error)):
        aspects.tick(aspects.weave(object(), hooks), CONTEXT, SHARES)
    assert hooks[1].seen == []


def test_other_suppression_switches_do_not_apply_to_ticks():
    hook = Hook(fails=OSError("broken"))
    hook.suppress_pre_hooks_errors = hook.suppress_post_hooks_errors = True
    with pytest.raises(OSError, match="broken"):
        aspects.tick(aspects.weave(object(), [hook]), CONTEXT, SHARES)


def test_errors_of_an_upstream_hook_without_the_switch_are_not_suppressed():
    hook = UpstreamLike(fails=OSError("broken"))
    with pytest.raises(OSError, match="broken"):
        aspects.tick(aspects.weave(object(), [hook]), CONTEXT, SHARES)


def test_each_woven_driver_counts_its_own_ticks():
    driver, hooks = object(), [Hook(), Hook()]
    one = aspects.weave(driver, hooks[:1], "one", periodic_hooks_ticks=2)
    two = aspects.weave(driver, hooks[1:], "two", periodic_hooks_ticks=3)
    ran = [
        (aspects.tick(one, CONTEXT, []), aspects.tick(two, CONTEXT, []))
        for _ in range(6)
    ]
    assert [a for a, _ in ran] == [False, True, False, True, False, True]
    assert [b for _, b in ran] == [False, False, True, False, False, True]
    aspects.tick(one, CONTEXT, [])
    assert (aspects.weaving(one).ticks, aspects.weaving(two).ticks) == (7, 6)
    assert [len(hook.seen) for hook in hooks] == [3, 2]


def test_tick_raises_type_error_for_a_driver_that_is_not_woven():
    with pytest.raises(TypeError):
        aspects.tick(object(), CONTEXT, [])


def test_threads_do_not_lose_ticks():
    hook = Hook()
    woven = aspects.weave(object(), [hook], periodic_hooks_ticks=4)
    ran = []
    together = threading.Barrier(8)

    def many():
        together.wait(10)
        mine = [aspects.tick(woven, CONTEXT, []) for _ in range(500)]
        ran.extend(mine)

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert aspects.weaving(woven).ticks == len(ran) == 4000
    assert ran.count(True) == len(hook.seen) == 1000


class Interrupted:
    """A number that runs another thread during each addition."""

    def __init__(self, value, turn):
        self.value, self.turn = value, turn

    def __add__(self, other):
        value = self.value
        self.turn()
        return Interrupted(value + other, self.turn)

    def __mod__(self, other):
        return self.value % other


def test_a_tick_is_counted_atomically():
    # Two threads count at the same time, which the test with many does not guarantee.
    woven = aspects.weave(object(), [Hook(on=False)])
    threads = []

    def turn():
        if not threads:
            other = threading.Thread(target=aspects.tick, args=(woven, CONTEXT, []))
            threads.append(other)
            other.start()
            other.join(0.2)

    weaving = aspects.weaving(woven)
    weaving.ticks = Interrupted(0, turn)
    aspects.tick(woven, CONTEXT, [])
    threads[0].join(10)
    assert weaving.ticks.value == 2


def test_share_instances_are_fetched_only_if_periodic_hooks_run():
    fetched = []

    def fetch():
        fetched.append(1)
        return SHARES

    hook = Hook(on=False)
    woven = aspects.weave(recording.Driver(), [hook], periodic_hooks_ticks=2)
    for _ in range(4):
        aspects.tick(woven, CONTEXT, fetch)
    assert fetched == []
    hook.periodic_hooks_enabled = True
    for _ in range(4):
        aspects.tick(woven, CONTEXT, fetch)
    assert fetched == [1, 1]
    assert hook.seen == [(CONTEXT, SHARES)] * 2


def test_periodic_hooks_ticks_below_one_are_rejected():
    with pytest.raises(ValueError, match="periodic_hooks_ticks: expected at least 1"):
        aspects.weave(recording.Driver(), [], periodic_hooks_ticks=0)


def test_the_log_of_a_suppressed_error_names_the_tick(caplog):
    hook = Hook("ops", fails=OSError("down"), suppress=True)
    woven = aspects.weave(recording.Driver(), [hook], "alpha")
    with caplog.at_level(logging.WARNING):
        aspects.tick(woven, CONTEXT, SHARES)
    assert [record.getMessage() for record in caplog.records] == [
        "Suppressed an error of the periodic method of hook ops of backend alpha in "
        "periodic: OSError: down"
    ]


def test_the_token_of_the_context_is_masked_in_the_log_of_a_tick(caplog):
    context = run_in_thread(oslo_context.RequestContext, auth_token="tops3cret")
    hook = Hook(fails=OSError("401 for tops3cret"), suppress=True)
    woven = aspects.weave(recording.Driver(), [hook], "alpha")
    with caplog.at_level(logging.WARNING):
        aspects.tick(woven, context, SHARES)
    assert "401 for ***" in caplog.text
    assert "tops3cret" not in caplog.text

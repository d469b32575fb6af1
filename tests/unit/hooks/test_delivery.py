# SPDX-License-Identifier: Apache-2.0
"""Tests of the base class of the hooks that deliver events."""

import contextlib
import itertools
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_context import context as oslo_context

import aspects
from aspects.testing import FakeDriver
from hooks.events import delivery, errors
from tests.support.config import ConfigFile
from tests.support.drivers import create_or_fail
from tests.support.threads import run_in_thread
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(60)

SHARE = {"id": "i1", "share_id": "s1"}


class DeliveringHook(delivery.DeliveryHook):
    """A hook that delivers to a list, or raises the error that a test sets."""

    def __init__(self, configuration, host):
        super().__init__(configuration, host)
        self.events = []
        self.threads = set()
        self.error = None

    def deliver(self, event):
        if self.error:
            raise self.error
        self.events.append(event)
        self.threads.add(threading.current_thread())

    @property
    def types(self):
        return [event["type"].rpartition("share.")[2] for event in self.events]


ENTRY = f"{__name__}:DeliveringHook"


@pytest.fixture
def weave(tmp_path):
    """Return a function that weaves a driver with the hook, and starts it."""
    started = []

    def woven(options="", head=""):
        drivers = "" if "hook_drivers" in options else f"hook_drivers = ops={ENTRY}"
        text = (
            f"[DEFAULT]\n{head}\n[alpha]\n{drivers}\n"
            f"enable_pre_hooks = True\nenable_post_hooks = True\n"
            f"enable_periodic_hooks = True\n{options}\n"
        )
        conf = ConfigFile(tmp_path / "service.conf", text).conf
        # Manila's service registers this option.
        conf.register_opts([cfg.StrOpt("state_path")])
        section = aspects.BackendSection(conf, "alpha")
        plain = FakeDriver(create_share=create_or_fail)
        driver = aspects.weave_from_config(plain, section, "node1@alpha")
        weaving = aspects.weaving(driver)
        weaving.start()
        started.append(weaving)
        return driver, weaving.hooks[0]

    yield woven
    for weaving in started:
        weaving.hooks[0].error = None
        weaving.stop()


@pytest.fixture
def context():
    return run_in_thread(oslo_context.RequestContext, request_id="req-1")


@pytest.fixture(params=["inline", "background", "durable"])
def dispatch(request, tmp_path):
    return f"hook_dispatch = {request.param}\nhook_outbox_path = {tmp_path}/outbox"


def test_every_dispatch_delivers_each_phase_of_a_call(weave, dispatch, context):
    driver, hook = weave(dispatch)
    assert driver.create_share(context, SHARE) == "export"
    with pytest.raises(LookupError):
        driver.create_share(context, {**SHARE, "fails": True})
    aspects.tick(driver, context, [{"id": "i1"}])
    aspects.weaving(driver).stop()
    # The tick is not about the share, so an outbox may deliver it earlier.
    hook.events.sort(key=lambda event: event["type"].endswith("periodic"))
    assert hook.types == [
        "create_share_instance.start",
        "create_share_instance.end",
        "create_share_instance.start",
        "create_share_instance.error",
        "periodic",
    ]
    start, end, _, error, periodic = (event["data"] for event in hook.events)
    assert "duration" not in start
    assert end["duration"] >= 0
    assert (error["outcome"], error["error"]) == ("failure", "no such pool")
    assert periodic["share_instance_ids"] == ["i1"]
    assert periodic["backend"] == "alpha"


def test_only_inline_delivers_in_the_callers_thread(weave, dispatch, context):
    driver, hook = weave(dispatch)
    driver.create_share(context, SHARE)
    aspects.weaving(driver).stop()
    inline = hook.get_config_option("hook_dispatch") == "inline"
    expected = {threading.current_thread()} if inline else set()
    assert hook.threads & {threading.current_thread()} == expected


def test_an_event_has_the_state_at_the_time_of_the_call(weave, context, tmp_path):
    driver, hook = weave(f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}")
    hook.error = ConnectionError("refused")
    share = dict(SHARE)
    driver.create_share(context, share)
    share["share_id"] = "another"
    hook.error = None
    aspects.weaving(driver).stop()
    assert {event["data"]["share_id"] for event in hook.events} == {"s1"}


def test_an_inline_failure_reaches_the_caller(weave, context):
    driver, hook = weave()
    hook.error = ConnectionError("refused")
    with pytest.raises(ConnectionError):
        driver.create_share(context, SHARE)


@pytest.mark.parametrize("dispatch", ["background", "durable"])
def test_a_deferred_failure_does_not_reach_the_caller(
    weave, context, tmp_path, dispatch
):
    driver, hook = weave(f"hook_dispatch = {dispatch}\nhook_outbox_path = {tmp_path}")
    hook.error = ConnectionError("refused")
    assert driver.create_share(context, SHARE) == "export"


def test_undelivered_durable_events_are_delivered_after_a_restart(
    weave, context, tmp_path
):
    options = f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}\n"
    driver, hook = weave(f"{options}hook_drain_timeout = 0")
    hook.error = ConnectionError("refused")
    driver.create_share(context, SHARE)
    aspects.weaving(driver).stop()
    _, after = weave(options)
    wait_for(lambda: len(after.events) == 2, "both are delivered", 20)


def test_an_error_of_the_outbox_reaches_the_caller(weave, context, tmp_path):
    driver, hook = weave(
        f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}/outbox"
    )
    hook.stop()
    shutil.rmtree(tmp_path / "outbox")
    (tmp_path / "outbox").write_text("")
    with pytest.raises(OSError, match="outbox"):
        driver.create_share(context, SHARE)


def test_the_counts_include_those_of_the_outbox(weave, context, tmp_path):
    driver, hook = weave(f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}")
    hook.error = errors.RejectedError("never")
    driver.create_share(context, SHARE)
    wait_for(lambda: not hook.counts()["pending"], "both are rejected", 20)
    assert hook.counts()["rejected"] == 2
    hook.error = ConnectionError("refused")
    driver.create_share(context, SHARE)
    assert hook.counts()["pending"] == 2
    hook.error = None
    wait_for(lambda: not hook.counts()["pending"], "both are delivered", 20)
    assert hook.counts()["delivered"] == 2
    # Without a readable file, the number of pending events is left out.
    aspects.weaving(driver).stop()
    shutil.rmtree(tmp_path / "alpha.ops")
    (tmp_path / "alpha.ops" / "events.sqlite").mkdir(parents=True)
    counts = hook.counts()
    assert "pending" not in counts
    assert counts["delivered"] == 2


@pytest.mark.parametrize("row", [{"type": "x"}, {"id": None}, {"id": 5}])
def test_a_row_without_an_id_is_a_dead_letter(weave, context, tmp_path, row):
    options = f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}"
    driver, hook = weave(options)
    # Another program may write anything.
    hook.outbox.put(row)
    driver.create_share(context, SHARE)
    wait_for(lambda: hook.counts()["delivered"] == 2, "the others are delivered", 30)
    wait_for(lambda: hook.outbox.dead_letters() == 1, "the row is a dead letter", 30)
    assert hook.counts()["rejected"] == 1
    assert hook.types == ["create_share_instance.start", "create_share_instance.end"]


@pytest.mark.parametrize(
    "limit", ["hook_delivery_attempts = 1", "hook_delivery_max_age = 0.001"]
)
def test_a_limit_gives_events_up(weave, context, tmp_path, limit):
    options = f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}\n{limit}"
    driver, hook = weave(options)
    hook.error = ConnectionError("refused")
    driver.create_share(context, SHARE)
    wait_for(lambda: hook.counts()["given_up"] == 2, "both are given up", 30)
    assert hook.counts()["rejected"] == hook.counts()["delivered"] == 0


def test_workers_deliver_events_of_several_shares_at_once(weave, context, tmp_path):
    options = f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}"
    driver, hook = weave(f"{options}\nhook_delivery_workers = 3")
    together = threading.Barrier(3)
    # The barrier breaks unless three deliveries wait at once.
    hook.deliver = hook.outbox.deliver = lambda event: together.wait(30)
    for number in range(3):
        driver.create_share(context, {"id": "i", "share_id": f"s{number}"})
    wait_for(lambda: hook.counts()["delivered"] == 6, "all are delivered", 60)


class SerialHook(DeliveringHook):
    """A hook that cannot deliver in parallel."""

    delivers_in_parallel = False
    #: The number of deliveries at once, and the largest one so far.
    active = most = 0

    def deliver(self, event):
        self.active += 1
        self.most = max(self.most, self.active)
        threading.Event().wait(0.005)
        self.active -= 1
        super().deliver(event)


def test_a_hook_may_deliver_one_event_at_a_time(weave, context, tmp_path):
    options = f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}"
    driver, hook = weave(f"hook_drivers = ops={__name__}:SerialHook\n{options}")
    for number in range(10):
        driver.create_share(context, {"id": "i", "share_id": f"s{number}"})
    wait_for(lambda: hook.counts()["delivered"] == 20, "all are delivered", 60)
    assert hook.most == 1


# The directory of the events


def test_the_outbox_is_in_the_state_path_by_default(weave, tmp_path, context):
    driver, _ = weave("hook_dispatch = durable", f"state_path = {tmp_path}/state")
    driver.create_share(context, SHARE)
    assert (tmp_path / "state/manila-aspects/alpha.ops/events.sqlite").exists()


def test_each_instance_has_its_own_directory(weave, tmp_path):
    # The two instances share hook_outbox_path.
    text = (
        f"hook_drivers = a={ENTRY}, b={ENTRY}\nhook_dispatch = durable\n"
        f"hook_outbox_path = {tmp_path}/outbox"
    )
    weave(text)
    directories = sorted(path.name for path in (tmp_path / "outbox").iterdir())
    assert directories == ["alpha.a", "alpha.b"]


def test_no_two_instances_share_a_directory():
    names = [
        "nfs",
        "gold.ops",
        "nfs.gold",
        "ops",
        "nfs%2Egold",
        "..",
        ".",
        "a/b",
        "größe",
    ]
    pairs = list(itertools.product(names, repeat=2))
    directories = {delivery.directory_name(*pair) for pair in pairs}
    assert len(directories) == len(pairs)
    assert delivery.directory_name("nfs", "ops") == "nfs.ops"
    assert delivery.directory_name("nfs", "gold.ops") == "nfs.gold%2Eops"


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_directory_name_has_both_names_and_is_a_single_name(backend, name):
    directory = delivery.directory_name(backend, name)
    assert "/" not in directory
    assert "\0" not in directory
    parts = directory.split(".")
    assert [urllib.parse.unquote(part) for part in parts] == [backend, name]


def test_the_name_of_an_instance_cannot_leave_the_directory(weave, tmp_path, context):
    driver, _ = weave(
        f"hook_drivers = ../../out={ENTRY}\nhook_dispatch = durable\n"
        f"hook_outbox_path = {tmp_path}/a/b"
    )
    driver.create_share(context, SHARE)
    (file,) = tmp_path.rglob("events.sqlite")
    assert file.parent.name == "alpha.%2E%2E%2F%2E%2E%2Fout"
    assert file.parent.parent == tmp_path / "a" / "b"


def test_a_call_waits_for_a_locked_file_as_long_as_configured(weave, tmp_path, context):
    options = (
        f"hook_dispatch = durable\nhook_outbox_path = {tmp_path}\n"
        "hook_outbox_timeout = 0.1"
    )
    driver, hook = weave(options)
    hook.error = ConnectionError("refused")
    driver.create_share(context, SHARE)
    files = [
        tmp_path / "alpha.ops" / name for name in ("events.sqlite", "overflow.sqlite")
    ]
    with contextlib.ExitStack() as stack:
        for file in files:
            if not file.exists():
                # The second file is created while the first one is locked.
                driver.create_share(context, SHARE)
            connection = stack.enter_context(contextlib.closing(sqlite3.connect(file)))
            connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError, match=r"overflow.sqlite: .* for 0\.1 s"):
            driver.create_share(context, SHARE)


def cause_of(weave, options):
    """Return the cause of the only problem of a configuration."""
    with pytest.raises(aspects.HookConfigError) as caught:
        weave(options)
    (found,) = caught.value.problems
    return found.cause


def test_durable_without_a_path_is_a_configuration_error(weave):
    assert "hook_outbox_path is not set" in cause_of(weave, "hook_dispatch = durable")


def test_a_path_below_a_file_is_a_configuration_error(weave, tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "outbox"
    cause = cause_of(weave, f"hook_dispatch = durable\nhook_outbox_path = {path}")
    assert f"hook_outbox_path {path}: {tmp_path}/file is not a directory" in cause


def test_weaving_does_not_create_the_directory(tmp_path):
    text = (
        f"[alpha]\nhook_drivers = {ENTRY}\nhook_dispatch = durable\n"
        f"hook_outbox_path = {tmp_path}/outbox\n"
    )
    conf = ConfigFile(tmp_path / "service.conf", text).conf
    aspects.weave_from_config(FakeDriver(), aspects.BackendSection(conf, "alpha"), "h")
    assert not (tmp_path / "outbox").exists()


@pytest.mark.slow
def test_durable_without_its_library_is_a_configuration_error(tmp_path):
    code = """
        import sys
        sys.modules["tenacity"] = None
        import aspects
        from oslo_config import cfg
        from aspects.testing import FakeDriver
        conf = cfg.ConfigOpts()
        conf(["--config-file", sys.argv[1]], default_config_dirs=[])
        try:
            aspects.weave_from_config(
                FakeDriver(), aspects.BackendSection(conf, "alpha"), "h"
            )
        except aspects.HookConfigError as error:
            print(error)
    """
    file = tmp_path / "service.conf"
    file.write_text(
        f"[alpha]\nhook_drivers = {ENTRY}\nhook_dispatch = durable\n"
        f"hook_outbox_path = {tmp_path}\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(file)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "pip install 'manila-aspects[durable]'" in ran.stdout, ran.stderr

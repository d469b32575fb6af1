# SPDX-License-Identifier: Apache-2.0
"""The status of the hooks, which the metrics server answers as JSON."""

import contextlib
import copy
import datetime
import json
import urllib.request

import pytest

import aspects

pytest.importorskip("prometheus_client")
from aspects.core import breaker
from aspects.weaving import Reload
from hooks.events.outbox import Outbox
from tests.support.clock import Clock
from tests.support.config import ConfigFile
from tests.support.drivers import BusyDriver
from tests.support.hooks import Recorder
from tests.support.pages import blocks_of

from .common import SHARE

# A test that hangs on a server fails early.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

HOOKS = "tests.support.entries.recording"

SECTION = """
[alpha]
hook_drivers = metrics, first={hooks}:Recorder
metrics_port = {port}
enable_post_hooks = True
[alpha:first]
enable_pre_hooks = True
enable_periodic_hooks = True
suppress_post_hooks_errors = True
hook_failure_limit = 3
hook_operations = create_*, !*_snapshot
hook_enforcement = warn
"""


def status(port, path="/status"):
    """Return the status that the server answers, and its content type."""
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(url, timeout=30) as reply:
        return json.load(reply), reply.headers["Content-Type"]


@pytest.fixture
def weave(tmp_path, port):
    """Return a function that weaves a driver by a configuration, and starts it."""
    started = contextlib.ExitStack()

    def weave(text=SECTION, backend="alpha", port=port, **more):
        text = text.format(port=port, hooks=HOOKS, **more)
        file = ConfigFile(tmp_path / f"{backend}.conf", text)
        section = aspects.BackendSection(file.conf, backend)
        driver = aspects.weave_from_config(BusyDriver(), section, f"node1@{backend}")
        aspects.weaving(driver).start()
        started.callback(aspects.weaving(driver).stop)
        return driver, file

    with started:
        yield weave


def test_status_shows_the_chain_of_each_backend(weave, port):
    driver, _ = weave()
    aspects.tick(driver, None, [])
    found, content_type = status(port)
    assert content_type == "application/json"
    (backend,) = found["backends"]
    metrics, first = backend.pop("chain")
    assert backend == {
        "backend": "alpha",
        "host": "node1@alpha",
        "driver": "tests.support.drivers:BusyDriver",
        "ticks": 1,
        "periodic_hooks_ticks": 1,
        "last_reload": None,
    }
    assert (metrics["hook"], metrics["enabled"]) == ("metrics", ["post"])
    assert first == {
        "hook": "first",
        "class": f"{HOOKS}:Recorder",
        "enabled": ["pre", "post", "periodic"],
        "operations": ["create_*", "!*_snapshot"],
        "enforcement": "warn",
        "dispatch": "inline",
        # Its pre method may veto, so that the breaker never skips it.
        "breaker": None,
        "counts": {"suppressed": 0, "slow": 0, "skipped": 0, "not_enforced": 0},
        "queue": None,
        "outbox": None,
    }


def test_other_paths_still_have_the_metrics(weave, port):
    weave()
    for path in ("/metrics", "/", "/status/"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as reply:
            assert b"manila_aspects_ticks_total" in reply.read()
    assert status(port, "/status?pretty")[0]["backends"]


def test_status_shows_the_breaker(weave, port, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(breaker, "time", clock)
    driver, _ = weave(SECTION + "enable_pre_hooks = False\nfailing = True\n")

    def seen():
        hook = status(port)[0]["backends"][0]["chain"][1]
        return hook["breaker"], hook["counts"]["suppressed"], hook["counts"]["skipped"]

    states = [seen()]
    for seconds in (0, 0, 0, 0, 60):
        clock.advance(seconds)
        states.append(seen())
        driver.create_share(None, SHARE)
    assert states == [
        ("closed", 0, 0),
        ("closed", 0, 0),
        ("closed", 1, 0),
        ("closed", 2, 0),
        ("open", 3, 0),
        ("half-open", 3, 1),
    ]
    # The trial failed.
    assert seen() == ("open", 4, 1)


def test_status_shows_the_last_reload_and_its_problems(weave, port):
    _, file = weave()
    text = SECTION.format(port=port, hooks=HOOKS)
    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    file.mutate(text + "hook_slow_seconds = 5\n")
    (accepted,) = status(port)[0]["backends"]
    assert accepted["last_reload"]["problems"] == []
    assert datetime.datetime.fromisoformat(accepted["last_reload"]["time"]) >= before
    file.mutate(text.replace("create_*", "crate_*").replace("warn", "wran"))
    (rejected,) = status(port)[0]["backends"]
    problems = rejected["last_reload"]["problems"]
    assert len(problems) == 2
    assert "[alpha:first] hook_operations = crate_*" in problems[1]
    # The chain has not changed.
    assert rejected["chain"] == accepted["chain"]
    file.mutate(text)
    assert status(port)[0]["backends"][0]["last_reload"]["problems"] == []


def test_status_shows_queues_and_outboxes(metrics, tmp_path):
    background, durable = Recorder("background"), Recorder("durable")
    background.dispatcher = aspects.Background("background")
    background.dispatcher.dropped = 3
    durable.outbox = Outbox(tmp_path / "outbox", print)
    damaged = Recorder("damaged")
    damaged.outbox = Outbox(tmp_path / "damaged", print)
    (tmp_path / "damaged" / "events.sqlite").mkdir(parents=True)
    driver = metrics.weave(BusyDriver(), background, durable, damaged)
    metrics.hook.endpoint.open(metrics.hook)
    weaving = aspects.weaving(driver)
    weaving.start()
    (backend,) = metrics.hook.endpoint.status()["backends"]
    chain = {hook["hook"]: hook for hook in backend["chain"]}
    assert chain["background"]["dispatch"] == "background"
    assert chain["background"]["queue"] == {"pending": 0, "dropped": 3}
    assert chain["durable"]["dispatch"] == "durable"
    counts = dict.fromkeys(("delivered", "rejected", "given_up", "unreadable"), 0)
    unknown = dict.fromkeys(("pending", "oldest_age", "dead_letters"))
    assert chain["durable"]["outbox"] == counts | dict.fromkeys(unknown, 0)
    assert chain["damaged"]["outbox"] == counts | unknown
    weaving.stop()
    assert metrics.hook.endpoint.status()["backends"] == []


def test_each_server_has_the_backends_that_use_it(weave, port, tmp_path):
    weave()
    weave(SECTION.replace("alpha", "beta"), "beta")
    other, _ = weave(SECTION.replace("alpha", "gamma"), "gamma", port=0)
    # A copy has the same hooks, but is not started.
    copies = [copy.copy(other)]
    names = [backend["backend"] for backend in status(port)[0]["backends"]]
    assert sorted(names) == ["alpha", "beta"]
    endpoint = aspects.weaving(copies[0]).hooks[0].endpoint
    names = [backend["backend"] for backend in endpoint.status()["backends"]]
    assert names == ["gamma"]


def test_documented_example_has_the_keys_of_the_status(metrics, tmp_path):
    durable = Recorder("durable")
    durable.outbox = Outbox(tmp_path / "outbox", print)
    driver = metrics.weave(BusyDriver(), durable)
    metrics.hook.endpoint.open(metrics.hook)
    aspects.weaving(driver).start()
    aspects.weaving(driver).last_reload = Reload(0.0, ())
    found = metrics.hook.endpoint.status()
    aspects.weaving(driver).stop()
    (block,) = [b for b in blocks_of("admin/hooks/metrics.rst") if b.language == "json"]
    documented = json.loads(block.text)
    for keys in (
        lambda status: status,
        lambda status: status["backends"][0],
        lambda status: status["backends"][0]["last_reload"],
        lambda status: status["backends"][0]["chain"][-1],
        lambda status: status["backends"][0]["chain"][-1]["counts"],
        lambda status: status["backends"][0]["chain"][-1]["outbox"],
    ):
        assert list(keys(found)) == list(keys(documented))


def test_status_has_no_secrets(weave, port):
    pytest.importorskip("requests")
    secret = "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg=="
    text = SECTION.replace("first=", "ops=webhook, first=") + (
        "[alpha:ops]\n"
        "webhook_url = https://joe:hunter2@ops.example.com/{url}\n"
        f"webhook_secret = {secret}\n"
        "hook_dispatch = background\n"
    )
    _, file = weave(text, url="manila?token=hunter2")
    assert "hunter2" not in (shown := json.dumps(status(port)))
    assert secret not in shown
    wrong = text.format(port=port, hooks=HOOKS, url="a b")
    file.mutate(wrong + "webhook_timeout = " + secret)
    (backend,) = status(port)[0]["backends"]
    assert backend["last_reload"]["problems"]
    assert "hunter2" not in (shown := json.dumps(backend))
    assert secret[6:] not in shown

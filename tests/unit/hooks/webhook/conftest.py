# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the webhook hook."""

import pytest
from oslo_context import context as oslo_context

import aspects
from hooks import webhook
from tests.support.clock import Clock
from tests.support.config import ConfigFile
from tests.support.receiver import Receiver
from tests.support.threads import run_in_thread


@pytest.fixture(scope="module")
def running():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(running):
    running.requests, running.answers = [], []
    return running


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a configuration with the hook."""

    def write(options):
        text = f"[alpha]\nhook_drivers = webhook\n{options}\n"
        return ConfigFile(tmp_path / "service.conf", text)

    return write


@pytest.fixture
def new_hook(file):
    hooks = []

    def new(options):
        section = aspects.BackendSection(file(options).conf, "alpha")
        hooks.append(webhook.WebhookHook(section, "node1@alpha"))
        return hooks[-1]

    yield new
    for hook in hooks:
        hook.stop()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Replace the clock of the deliveries with one that a test sets."""
    clock = Clock()
    monkeypatch.setattr("hooks.webhook.time", clock)
    monkeypatch.setattr("tenacity.nap.time", clock)
    return clock


@pytest.fixture
def hook(new_hook, receiver):
    return new_hook(f"webhook_url = {receiver.url}\nwebhook_timeout = 60")


@pytest.fixture
def context():
    return run_in_thread(oslo_context.RequestContext, request_id="req-1")

# SPDX-License-Identifier: Apache-2.0
"""Tests of the webhook hook's options, and that it reveals no secrets."""

import json
import logging
import subprocess
import sys
import textwrap
import threading
import traceback

import pytest
import requests

from hooks.events.errors import DeliveryFailedError, RejectedError
from tests.support.receiver import close, status
from tests.support.schema import EVENT

from .common import SECRET, problem_of

pytestmark = pytest.mark.timeout(60)


SECRET_URL = "http://joe:hunter2@127.0.0.1:{port}/services/T0K3N?key=Zq9"
SECRETS = ("joe", "hunter2", "T0K3N", "Zq9", SECRET)


@pytest.mark.parametrize("answer", [status(503), status(400), close, None])
def test_errors_and_logs_have_no_secrets(new_hook, receiver, caplog, answer):
    caplog.set_level(logging.DEBUG)
    port = receiver.port if answer else 1
    hook = new_hook(
        f"webhook_url = {SECRET_URL.format(port=port)}\nwebhook_secret = {SECRET}"
    )
    receiver.answers = [answer] * 100
    with pytest.raises((DeliveryFailedError, RejectedError)) as caught:
        hook.deliver(EVENT)
    shown = "".join(traceback.format_exception(caught.value))
    text = f"{caught.value!r} {caught.value} {shown} {caplog.text}"
    assert not [secret for secret in SECRETS if secret in text]
    assert f"http://127.0.0.1:{port}: " in str(caught.value)
    if not answer:
        assert "Connection refused" in str(caught.value)


def test_the_log_has_no_secrets_if_no_thread_can_start(
    new_hook, receiver, caplog, monkeypatch
):
    start = threading.Thread.start

    def start_others(thread):
        if thread.name == "webhook":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_others)
    caplog.set_level(logging.DEBUG)
    hook = new_hook(f"webhook_url = {SECRET_URL.format(port=receiver.port)}\n")
    hook.deliver(EVENT)
    assert len(receiver.requests) == 1
    assert not [secret for secret in SECRETS if secret in caplog.text]
    # Other requests of the same thread are logged.
    test_other_users_of_requests_log_as_before(receiver, caplog)


def test_other_users_of_requests_log_as_before(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    requests.post(receiver.url, data="")
    assert "POST /events" in caplog.text


def test_a_dump_of_all_options_has_no_secrets(new_hook, caplog):
    caplog.set_level(logging.DEBUG)
    url = SECRET_URL.format(port=1)
    hook = new_hook(f"webhook_url = {url}\nwebhook_secret = {SECRETS[-1]}")
    conf = hook.configuration.conf
    conf.log_opt_values(logging.getLogger("dump"), logging.DEBUG)
    assert "webhook_url" in caplog.text
    assert not [secret for secret in SECRETS if secret in caplog.text]


@pytest.mark.parametrize(
    "url",
    [
        "ops.example.com/hunter2",
        "ftp://joe:hunter2@ops.example.com/",
        "http://",
        "http://:hunter2@/",
        "http://[::1/hunter2",
        "http://ops.example.com:hunter2/",
        "http://ops.example.com:99999/hunter2",
        "http://ops example com/hunter2",
    ],
)
def test_an_invalid_url_is_a_configuration_error_without_its_text(file, url):
    found = problem_of(file, f"webhook_url = {url}")
    assert "webhook_url: not a valid" in found.cause
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("options", ["", "webhook_url ="])
def test_a_missing_url_is_a_configuration_error(file, options):
    assert "webhook_url is not set" in problem_of(file, options).cause


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_an_invalid_timeout_is_a_configuration_error(file, value):
    text = f"webhook_url = http://127.0.0.1/\nwebhook_timeout = {value}"
    assert problem_of(file, text).option == "webhook_timeout"


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_invalid_ca_file_is_a_configuration_error(file, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    found = problem_of(file, f"webhook_url = https://x/\nwebhook_ca_file = {path}")
    assert f"webhook_ca_file {path}: " in found.cause


def test_the_constructor_sends_no_request(new_hook, receiver):
    new_hook(f"webhook_url = {receiver.url}")
    assert receiver.requests == []


def test_the_body_is_json(hook, receiver):
    hook.deliver(EVENT)
    assert json.loads(receiver.requests[0].body) == EVENT


@pytest.mark.slow
def test_warning_filters_are_unchanged_if_servers_are_verified():
    """Run a new process, in which nothing has changed the filters yet."""
    code = """
        import warnings
        import requests

        before = list(warnings.filters)
        from hooks.webhook import WebhookHook
        from tests.support.receiver import Receiver
        from tests.support.schema import EVENT

        class Section:
            config_group = "alpha"

            def safe_get(self, name):
                return self.values.get(name)

            def append_config_values(self, options):
                self.values = {option.name: option.default for option in options}
                self.values["webhook_url"] = server.url

        with Receiver() as server:
            WebhookHook(Section(), "node1").deliver(EVENT)
            assert server.events == [EVENT]
        print(warnings.filters == before)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert ran.stdout == "True\n", ran.stderr

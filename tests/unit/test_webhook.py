# SPDX-License-Identifier: Apache-2.0
"""The webhook hook: what it sends, what an answer means, what it never tells."""

import hashlib
import hmac
import json
import logging
import pathlib
import re
import subprocess
import sys
import textwrap
import threading
import time
import traceback

import pytest
import requests
from cloudevents.core.bindings import http as cloudevents_http
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.formats.json import JSONFormat
from oslo_context import context as oslo_context

import aspects
from hooks import webhook
from hooks.events.errors import NotDelivered, Refused
from tests.functional.receiver import Receiver, close, status

from .fixtures_hooks.config_file import ConfigFile
from .fixtures_hooks.threads import in_a_thread

pytestmark = pytest.mark.timeout(60)

PAGE = pathlib.Path(__file__).parents[2] / "doc" / "source" / "hooks" / "webhook.rst"
SHARE = {"id": "i1", "share_id": "s1"}
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/manila/node1%40alpha",
    "type": "org.openstack.manila.share.create_share_instance.end",
    "time": "2026-01-02T03:04:05+00:00",
    "datacontenttype": "application/json",
    "subject": "s1",
    "data": {"share_id": "s1", "outcome": "success", "error": "größer"},
}


class Driver:
    def create_share(self, context, share, share_server=None):
        if share.get("fails"):
            raise LookupError("no such pool")
        return "export"


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
    """Return what writes a configuration with the hook."""

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


@pytest.fixture
def hook(new_hook, receiver):
    return new_hook(f"webhook_url = {receiver.url}\nwebhook_timeout = 2")


@pytest.fixture
def context():
    return in_a_thread(oslo_context.RequestContext, request_id="req-1")


# What it sends


def test_each_phase_of_a_join_point_is_an_event(file, receiver, context):
    conf = file(
        f"webhook_url = {receiver.url}\nenable_pre_hooks = True\n"
        "enable_post_hooks = True\nenable_periodic_hooks = True"
    ).conf
    section = aspects.BackendSection(conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    assert driver.create_share(context, SHARE) == "export"
    with pytest.raises(LookupError):
        driver.create_share(context, {"id": "i2", "share_id": "s2", "fails": True})
    aspects.tick(driver, context, [{"id": "i1"}])
    prefix = "org.openstack.manila.share."
    assert [
        (event["type"].removeprefix(prefix), event.get("subject"))
        for event in receiver.events
    ] == [
        ("create_share_instance.start", "s1"),
        ("create_share_instance.end", "s1"),
        ("create_share_instance.start", "s2"),
        ("create_share_instance.error", "s2"),
        ("periodic", None),
    ]
    assert receiver.events[3]["data"]["error"] == "no such pool"
    assert receiver.events[3]["data"]["outcome"] == "failure"
    assert "outcome" not in receiver.events[0]["data"]


def test_a_cloudevent_in_structured_mode(hook, receiver):
    hook.deliver(EVENT)
    (request,) = receiver.requests
    assert request.path == "/events"
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    # In binary mode the attributes would be headers.
    assert not [name for name in request.headers if name.lower().startswith("ce-")]
    message = HTTPMessage(dict(request.headers), request.body)
    parsed = cloudevents_http.from_http(message, JSONFormat())
    assert parsed.get_id() == "e1"
    assert parsed.get_source() == EVENT["source"]
    assert parsed.get_type() == EVENT["type"]
    assert parsed.get_specversion() == "1.0"
    assert parsed.get_subject() == "s1"
    assert parsed.get_time().isoformat() == EVENT["time"]
    assert parsed.get_data() == EVENT["data"]


def test_the_documented_receiver_verifies_the_signature(new_hook, receiver):
    new_hook(f"webhook_url = {receiver.url}\nwebhook_secret = Zq9").deliver(EVENT)
    (request,) = receiver.requests
    signature = request.headers["X-Manila-Aspects-Signature"]
    expected = hmac.new(b"Zq9", request.body, hashlib.sha256).hexdigest()
    assert signature == f"sha256={expected}"
    pattern = r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)"
    (block,) = re.findall(pattern, PAGE.read_text("utf-8"), re.M)
    names = {}
    exec(textwrap.dedent(block), names)
    is_genuine = names["is_genuine"]
    assert is_genuine("Zq9", request.body, signature)
    assert not is_genuine("Zq8", request.body, signature)
    assert not is_genuine("Zq9", request.body + b" ", signature)
    assert not is_genuine("Zq9", request.body, "größer")


def test_no_secret_no_signature(hook, receiver):
    hook.deliver(EVENT)
    assert webhook.SIGNATURE not in receiver.requests[0].headers


def test_credentials_of_the_url_are_basic_authentication(new_hook, receiver):
    url = receiver.url.replace("//", "//joe:p%40ss@")
    new_hook(f"webhook_url = {url}").deliver(EVENT)
    assert receiver.requests[0].headers["Authorization"] == "Basic am9lOnBAc3M="


def test_environment_is_not_heeded(hook, receiver, monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("default login joe password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    hook.deliver(EVENT)
    assert "Authorization" not in receiver.requests[0].headers


def test_cookies_are_not_kept(hook, receiver):
    receiver.answers = [status(204, Set_Cookie="session=1")]
    hook.deliver(EVENT)
    hook.deliver(EVENT)
    assert "Cookie" not in receiver.requests[1].headers


@pytest.mark.parametrize("body", [b"", b"thanks", b"x" * 60000])
def test_connections_are_kept(hook, receiver, body):
    receiver.answers = [status(200, body)] * 3
    for _ in range(3):
        hook.deliver(EVENT)
    assert len({request.client for request in receiver.requests}) == 1


def test_options_are_mutable(file, receiver):
    conf_file = file("webhook_url = http://127.0.0.1:1/\nwebhook_timeout = 0.2")
    section = aspects.BackendSection(conf_file.conf, "alpha")
    hook = webhook.WebhookHook(section, "node1@alpha")
    with pytest.raises(NotDelivered):
        hook.deliver(EVENT)
    text = conf_file.path.read_text().replace("http://127.0.0.1:1/", receiver.url)
    conf_file.mutate(f"{text}webhook_secret = Zq9\n")
    hook.deliver(EVENT)
    assert webhook.SIGNATURE in receiver.requests[0].headers


# What an answer means


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_delivered(hook, receiver, code):
    receiver.answers = [status(code)]
    hook.deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [400, 413, 415, 422])
def test_refused(hook, receiver, code):
    receiver.answers = [status(code)]
    with pytest.raises(Refused, match=f"status {code}"):
        hook.deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [401, 403, 404, 408, 425, 429, 500, 502, 503, 504])
def test_tried_again(hook, receiver, code):
    receiver.answers = [status(code), close]
    hook.deliver(EVENT)
    assert len(receiver.requests) == 3
    assert len({request.body for request in receiver.requests}) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(new_hook, receiver, code):
    hook = new_hook(f"webhook_url = {receiver.url}\nwebhook_timeout = 0.5")
    with Receiver() as other:
        receiver.answers = [status(code, Location=other.url)] * 100
        with pytest.raises(NotDelivered, match=f"status {code}"):
            hook.deliver(EVENT)
        assert other.requests == []


def test_retry_after_is_heeded(hook, receiver):
    receiver.answers = [status(429, Retry_After="1")]
    began = time.monotonic()
    hook.deliver(EVENT)
    assert time.monotonic() - began >= 1
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("after", ["3600", "1" * 400])
def test_retry_after_does_not_make_it_longer(hook, receiver, after):
    receiver.answers = [status(503, Retry_After=after)]
    with pytest.raises(NotDelivered, match="status 503"):
        hook.deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("after", ["", "soon", "-1", "Fri, 31 Dec 2049 23:59:59 GMT"])
def test_another_retry_after_is_as_none(hook, receiver, after):
    receiver.answers = [status(503, Retry_After=after)]
    hook.deliver(EVENT)
    assert len(receiver.requests) == 2


def test_with_an_outbox_one_attempt_at_a_time(new_hook, receiver, tmp_path):
    hook = new_hook(
        f"webhook_url = {receiver.url}\nhook_dispatch = durable\n"
        f"hook_outbox_path = {tmp_path}"
    )
    receiver.answers = [status(503, Retry_After="1")]
    with pytest.raises(NotDelivered) as caught:
        hook.deliver(EVENT)
    assert caught.value.retry_after == 1
    assert len(receiver.requests) == 1


def test_a_name_that_is_not_resolved_in_time(new_hook, monkeypatch):
    hook = new_hook("webhook_url = http://ops.example.com/\nwebhook_timeout = 0.3")
    resolved = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: resolved.wait(20))
    began = time.monotonic()
    try:
        with pytest.raises(NotDelivered, match=re.escape("no answer in 0.3 s")):
            hook.deliver(EVENT)
        assert time.monotonic() - began < 5
    finally:
        resolved.set()


# What it never tells


SECRET_URL = "http://joe:hunter2@127.0.0.1:{port}/services/T0K3N?key=Zq9"
SECRETS = ("joe", "hunter2", "T0K3N", "Zq9")


@pytest.mark.parametrize("answer", [status(503), status(400), close, None])
def test_no_secret_in_errors_and_logs(new_hook, receiver, caplog, answer):
    caplog.set_level(logging.DEBUG)
    port = receiver.port if answer else 1
    hook = new_hook(
        f"webhook_url = {SECRET_URL.format(port=port)}\nwebhook_timeout = 0.5\n"
        "webhook_secret = signs-hunter2"
    )
    receiver.answers = [answer] * 100
    with pytest.raises((NotDelivered, Refused)) as caught:
        hook.deliver(EVENT)
    shown = "".join(traceback.format_exception(caught.value))
    text = f"{caught.value!r} {caught.value} {shown} {caplog.text}"
    assert not [secret for secret in SECRETS if secret in text]
    assert f"http://127.0.0.1:{port}: " in str(caught.value)
    if not answer:
        assert "Connection refused" in str(caught.value)


def test_the_log_of_others_that_use_the_library_is_whole(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    requests.post(receiver.url, data="")
    assert "POST /events" in caplog.text


def test_no_secret_in_the_dump_of_all_options(new_hook, caplog):
    caplog.set_level(logging.DEBUG)
    url = SECRET_URL.format(port=1)
    hook = new_hook(f"webhook_url = {url}\nwebhook_secret = {SECRETS[-1]}")
    conf = hook.configuration.conf
    conf.log_opt_values(logging.getLogger("dump"), logging.DEBUG)
    assert "webhook_url" in caplog.text
    assert not [secret for secret in SECRETS if secret in caplog.text]


# Options that are wrong


def problem(file, options):
    section = aspects.BackendSection(file(options).conf, "alpha")
    with pytest.raises(aspects.HookConfigError) as caught:
        aspects.weave_from_config(Driver(), section, "node1@alpha")
    (found,) = caught.value.problems
    return found


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
def test_wrong_url(file, url):
    found = problem(file, f"webhook_url = {url}")
    assert "webhook_url: not a valid" in found.cause
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("options", ["", "webhook_url ="])
def test_url_that_is_not_set(file, options):
    assert "webhook_url is not set" in problem(file, options).cause


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_wrong_timeout(file, value):
    text = f"webhook_url = http://127.0.0.1/\nwebhook_timeout = {value}"
    assert problem(file, text).option == "webhook_timeout"


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_wrong_ca_file(file, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    found = problem(file, f"webhook_url = https://x/\nwebhook_ca_file = {path}")
    assert f"webhook_ca_file {path}: " in found.cause


def test_the_constructor_connects_to_nothing(new_hook, receiver):
    new_hook(f"webhook_url = {receiver.url}")
    assert receiver.requests == []


def test_body_is_plain_json(hook, receiver):
    hook.deliver(EVENT)
    assert json.loads(receiver.requests[0].body) == EVENT


def test_the_process_warns_as_before_where_servers_are_verified():
    """In a process of its own, where nothing has changed it yet."""
    code = """
        import warnings
        import requests

        before = list(warnings.filters)
        from hooks.webhook import WebhookHook
        from tests.functional.receiver import Receiver

        class Section:
            config_group = "alpha"

            def safe_get(self, name):
                return self.values.get(name)

            def append_config_values(self, options):
                self.values = {each.name: each.default for each in options}
                self.values["webhook_url"] = server.url

        with Receiver() as server:
            WebhookHook(Section(), "node1").deliver({"id": "e1"})
            assert server.events == [{"id": "e1"}]
        print(warnings.filters == before)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert ran.stdout == "True\n", ran.stderr

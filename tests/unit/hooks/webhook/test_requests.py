# SPDX-License-Identifier: Apache-2.0
"""Tests of the webhook hook's requests, and of its reactions to responses."""

import email.utils
import os
import re
import socket
import threading
import time
import urllib.parse
from types import SimpleNamespace

import jsonschema
import pytest
from cloudevents.core.bindings import http as cloudevents_http
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.formats.json import JSONFormat

import aspects
from aspects.testing import FakeDriver
from hooks import webhook
from hooks.events.errors import DeliveryFailedError, RejectedError
from tests.support.drivers import create_or_fail
from tests.support.receiver import Receiver, close, status
from tests.support.schema import EVENT

from .common import SECRET

pytestmark = pytest.mark.timeout(60)

SHARE = {"id": "i1", "share_id": "s1"}


def test_each_phase_of_a_call_is_one_event(file, receiver, context):
    conf = file(
        f"webhook_url = {receiver.url}\nenable_pre_hooks = True\n"
        "enable_post_hooks = True\nenable_periodic_hooks = True"
    ).conf
    section = aspects.BackendSection(conf, "alpha")
    plain = FakeDriver(create_share=create_or_fail)
    driver = aspects.weave_from_config(plain, section, "node1@alpha")
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


def test_a_request_is_a_cloudevent_in_structured_mode(hook, receiver):
    hook.deliver(EVENT)
    (request,) = receiver.requests
    assert request.path == "/events"
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    # The attributes would be headers in binary mode.
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


def test_an_event_that_does_not_fit_the_schema_fails_its_test(new_hook):
    with pytest.raises(jsonschema.ValidationError, match="more"), Receiver() as server:
        new_hook(f"webhook_url = {server.url}").deliver({**EVENT, "more": 1})


def test_credentials_in_the_url_are_sent_as_basic_authentication(new_hook, receiver):
    url = receiver.url.replace("//", "//joe:p%40ss@")
    new_hook(f"webhook_url = {url}").deliver(EVENT)
    assert receiver.requests[0].headers["Authorization"] == "Basic am9lOnBAc3M="


def test_proxies_and_netrc_of_the_environment_are_ignored(
    hook, receiver, monkeypatch, tmp_path
):
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
def test_connections_are_kept_open(hook, receiver, body):
    receiver.answers = [status(200, body)] * 3
    for _ in range(3):
        hook.deliver(EVENT)
    assert len({request.client for request in receiver.requests}) == 1


def test_options_are_mutable(file, receiver):
    conf_file = file("webhook_url = http://127.0.0.1:1/\nwebhook_timeout = 0.2")
    section = aspects.BackendSection(conf_file.conf, "alpha")
    hook = webhook.WebhookHook(section, "node1@alpha")
    with pytest.raises(DeliveryFailedError):
        hook.deliver(EVENT)
    conf_file.mutate(
        f"[alpha]\nwebhook_url = {receiver.url}\nwebhook_secret = {SECRET}\n"
    )
    hook.deliver(EVENT)
    assert "webhook-signature" in receiver.requests[0].headers


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_a_status_of_2xx_confirms_the_delivery(hook, receiver, code):
    receiver.answers = [status(code)]
    hook.deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [400, 413, 415, 422])
def test_a_permanent_error_status_rejects_the_event(hook, receiver, code):
    receiver.answers = [status(code)]
    with pytest.raises(RejectedError, match=f"status {code}"):
        hook.deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("code", [401, 403, 404, 408, 425, 429, 500, 502, 503, 504])
def test_other_errors_are_retried_with_the_same_body(hook, receiver, code):
    receiver.answers = [status(code), close]
    hook.deliver(EVENT)
    assert len(receiver.requests) == 3
    assert len({request.body for request in receiver.requests}) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(new_hook, receiver, code):
    hook = new_hook(f"webhook_url = {receiver.url}\nwebhook_timeout = 60")
    with Receiver() as other:
        receiver.answers = [status(code, Location=other.url)] * 100
        with pytest.raises(DeliveryFailedError, match=f"status {code}"):
            hook.deliver(EVENT)
        assert other.requests == []


def test_a_retry_waits_for_the_seconds_of_retry_after(hook, receiver, clock):
    receiver.answers = [status(429, Retry_After="30")]
    hook.deliver(EVENT)
    assert clock.slept == [30]
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("after", ["3600", "1" * 400])
def test_retry_after_beyond_the_timeout_ends_the_delivery(hook, receiver, after):
    receiver.answers = [status(503, Retry_After=after)]
    with pytest.raises(DeliveryFailedError, match="status 503"):
        hook.deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "after",
    ["", "soon", "-1", "5, 5", "1.5", "Fri, 31 Dec 99999 23:59:59 GMT", "1 Foo 2026"],
)
def test_a_retry_after_that_is_not_valid_is_ignored(hook, receiver, clock, after):
    receiver.answers = [status(503, Retry_After=after)]
    hook.deliver(EVENT)
    assert len(receiver.requests) == 2
    assert clock.slept[0] < 1


#: The three forms of a date in RFC 9110, 30 seconds after :data:`NOW`.
DATES = [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
]
NOW = "Sun, 06 Nov 1994 08:49:07 GMT"


def busy(**headers):
    """Answer with 503 and no other headers, not even a date."""

    def answer(handler):
        handler.send_response_only(503)
        for name, value in {**headers, "Content-Length": "0"}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


@pytest.mark.parametrize("date", DATES)
def test_a_retry_waits_until_the_date_of_retry_after(hook, receiver, clock, date):
    # The clock of the receiver is decades slow.
    receiver.answers = [busy(Retry_After=date, Date=NOW)]
    hook.deliver(EVENT)
    assert clock.slept == [30]
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("headers", [{}, {"Date": "today"}])
def test_a_date_is_compared_with_the_hosts_clock_without_the_receivers(
    hook, receiver, clock, headers
):
    until = email.utils.formatdate(time.time() + 50, usegmt=True)
    receiver.answers = [busy(Retry_After=until, **headers)]
    hook.deliver(EVENT)
    assert 0 < clock.slept[0] <= 50
    assert len(clock.slept) == 1


def test_a_date_in_the_past_asks_for_no_wait(hook, receiver, clock):
    receiver.answers = [busy(Retry_After=NOW, Date=DATES[0])]
    hook.deliver(EVENT)
    assert clock.slept[0] < 1


def interim(*codes):
    """Answer with interim responses, and then with 204."""

    def answer(handler):
        for code in codes:
            handler.send_response_only(code)
            handler.send_header("Link", "</style.css>; rel=preload")
            handler.end_headers()
        status(204)(handler)

    return answer


@pytest.mark.parametrize(
    "codes", [(100,), (102,), (103,), (199,), (100, 103, 102, 100, 103)]
)
def test_interim_responses_are_skipped(hook, receiver, codes):
    receiver.answers = [interim(*codes)] * 2
    hook.deliver(EVENT)
    hook.deliver(EVENT)
    # Each event was sent once, on one connection.
    assert len(receiver.requests) == 2
    assert len({request.client for request in receiver.requests}) == 1


def test_the_status_after_an_interim_response_counts(hook, receiver):
    def answer(handler):
        handler.send_response_only(103)
        handler.end_headers()
        status(422)(handler)

    receiver.answers = [answer]
    with pytest.raises(RejectedError, match="status 422"):
        hook.deliver(EVENT)


def test_switching_protocols_is_a_failed_attempt(hook, receiver):
    def answer(handler):
        handler.raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 204"
        )

    receiver.answers = [answer]
    hook.deliver(EVENT)
    assert len(receiver.requests) == 2


def test_a_hook_with_an_outbox_makes_one_attempt_per_delivery(
    new_hook, receiver, tmp_path
):
    hook = new_hook(
        f"webhook_url = {receiver.url}\nhook_dispatch = durable\n"
        f"hook_outbox_path = {tmp_path}"
    )
    receiver.answers = [status(503, Retry_After="1")]
    with pytest.raises(DeliveryFailedError) as caught:
        hook.deliver(EVENT)
    assert caught.value.retry_after == 1
    assert len(receiver.requests) == 1


@pytest.fixture
def resolver(monkeypatch, receiver):
    """Let the first look-ups of the receiver hang, one for each item of ``hanging``."""
    own_port = urllib.parse.urlsplit(receiver.url).port
    state = SimpleNamespace(hanging=[1], answered=threading.Event())
    look_up = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        # Deliveries of other tests may still look up their receivers.
        if port == own_port and state.hanging:
            state.hanging.pop()
            assert state.answered.wait(50)
        return look_up(host, port, *args, **kwargs)

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    yield state
    state.answered.set()
    wait_for_threads()


def wait_for_threads():
    """Wait until the threads of all deliveries have ended."""
    for thread in threading.enumerate():
        if thread.name == "webhook":
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def impatient(file, receiver):
    """Return a hook that waits for 0.3 s, and a function that makes it wait longer."""
    text = f"webhook_url = {receiver.url}\nwebhook_timeout = "
    conf = file(f"{text}0.3")
    hook = webhook.WebhookHook(aspects.BackendSection(conf.conf, "alpha"), "node1")

    def be_patient():
        conf.mutate(conf.path.read_text().replace("= 0.3", "= 60"))

    yield hook, be_patient
    hook.stop()


@pytest.mark.slow
def test_a_slow_name_resolution_fails_in_time(impatient, resolver):
    hook, _ = impatient
    with pytest.raises(DeliveryFailedError, match=re.escape("no response in 0.3 s")):
        hook.deliver(EVENT)


@pytest.mark.slow
def test_an_event_that_was_given_up_is_not_sent_after_a_later_one(
    impatient, receiver, resolver
):
    hook, be_patient = impatient
    with pytest.raises(DeliveryFailedError):
        hook.deliver({**EVENT, "id": "first"})
    be_patient()
    hook.deliver({**EVENT, "id": "second"})
    resolver.answered.set()
    wait_for_threads()
    assert [event["id"] for event in receiver.events] == ["second"]


@pytest.mark.slow
def test_a_delivery_that_was_given_up_is_not_retried(impatient, resolver, monkeypatch):
    attempts = []
    post = webhook.WebhookHook._post

    def count(*args):
        attempts.append(args)
        return post(*args)

    monkeypatch.setattr(webhook.WebhookHook, "_post", count)
    with pytest.raises(DeliveryFailedError):
        impatient[0].deliver(EVENT)
    resolver.answered.set()
    wait_for_threads()
    assert len(attempts) == 1


@pytest.mark.slow
def test_deliveries_that_hang_do_not_pile_up(
    impatient, receiver, resolver, monkeypatch
):
    monkeypatch.setattr(webhook, "MAX_HANGING", 2)
    resolver.hanging = [1, 2]
    hook, be_patient = impatient
    for _ in range(2):
        with pytest.raises(DeliveryFailedError, match="no response"):
            hook.deliver(EVENT)
    be_patient()
    before = set(threading.enumerate())
    with pytest.raises(DeliveryFailedError, match="threads of 2 failed deliveries"):
        hook.deliver(EVENT)
    assert set(threading.enumerate()) <= before
    resolver.answered.set()
    wait_for_threads()
    hook.deliver(EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.slow
def test_a_child_process_delivers_while_deliveries_of_its_parent_hang(
    impatient, receiver, resolver, monkeypatch
):
    monkeypatch.setattr(webhook, "MAX_HANGING", 1)
    hook, be_patient = impatient
    with pytest.raises(DeliveryFailedError, match="no response"):
        hook.deliver(EVENT)
    be_patient()
    child = os.fork()
    if child == 0:
        try:
            hook.deliver(EVENT)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert len(receiver.requests) == 1

# SPDX-License-Identifier: Apache-2.0
"""Tests of the webhook hook with ``webhook_decides``."""

import contextlib
import gzip
import json
import threading

import pytest

import aspects
from aspects.testing import FakeDriver
from hooks import webhook
from hooks.events.decision import MAX_REASON, MAX_SIZE
from hooks.events.errors import (
    DeliveryFailedError,
    InvalidDecisionError,
    RejectedError,
)
from tests.support.receiver import close, status

from .common import SECRET

pytestmark = pytest.mark.timeout(60)

SHARE = {"id": "i1", "share_id": "s1", "size": 50}
ALLOWS = b'{"allowed": true}'
DENIES = b'{"allowed": false, "reason": "frozen until Monday"}'


@pytest.fixture
def woven(file, receiver):
    """Return a function that weaves a driver with a hook whose receiver decides.

    Its ``_self_file`` is the configuration file.
    """
    with contextlib.ExitStack() as stack:

        def weave(options="", driver=None):
            written = file(
                f"webhook_url = {receiver.url}\nwebhook_decides = True\n"
                f"enable_pre_hooks = True\nwebhook_timeout = 20\n{options}"
            )
            section = aspects.BackendSection(written.conf, "alpha")
            driver = driver or FakeDriver()
            woven = aspects.weave_from_config(driver, section, "node1@alpha")
            aspects.weaving(woven).start()
            stack.callback(aspects.weaving(woven).stop)
            woven._self_file = written
            return woven

        yield weave


class Opa:
    """Answers requests as the v0 API of Open Policy Agent does.

    :param receiver: the server
    :param documents: path below ``data`` -> a function from the input document to the
        document, None if that is undefined
    """

    def __init__(self, receiver, **documents):
        self._receiver = receiver
        self._documents = documents

    def __call__(self, handler):
        request = self._receiver.requests[-1]
        _, version, data, name = request.path.split("/")
        assert (version, data) == ("v0", "data")
        if "yaml" in request.headers["Content-Type"]:
            status(400)(handler)
            return
        document = self._documents[name](json.loads(request.body))
        if document is None:
            code, document = (
                404,
                {
                    "code": "undefined_document",
                    "message": f"document missing or undefined: data.{name}",
                },
            )
        else:
            code = 200
        body = json.dumps(document).encode() + b"\n"
        headers = {"Content_Type": "application/json"}
        if len(body) > 1024 and "gzip" in request.headers["Accept-Encoding"]:
            body, headers["Content_Encoding"] = gzip.compress(body), "gzip"
        status(code, body, **headers)(handler)


def too_large(event):
    """Deny shares over 100 GiB, as a policy would; undefined for other calls."""
    data = event["data"]
    if data["operation"] != "create_share_instance":
        return None
    if data["share_size"] <= 100:
        return {"allowed": True, "helper": "x" * 2000}
    return {"allowed": False, "reason": f"{data['share_size']} GiB is too large"}


@pytest.mark.slow
def test_open_policy_agent_decides(woven, receiver):
    url = receiver.url.replace("/events", "/v0/data/manila")
    driver = woven(f"webhook_url = {url}")
    receiver.answers = [Opa(receiver, manila=too_large)] * 3
    driver.create_share(None, SHARE)
    with pytest.raises(aspects.Veto) as caught:
        driver.create_share(None, {**SHARE, "size": 500})
    assert str(caught.value) == "500 GiB is too large"
    with pytest.raises(RejectedError) as undefined:
        driver.delete_share(None, SHARE)
    assert str(undefined.value).endswith(": status 404")
    assert [call.method for call in driver.calls] == ["create_share"]
    assert len(receiver.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [status(204), status(200), status(200, b" \n"), status(202, ALLOWS)],
)
def test_a_receiver_allows_a_call(woven, receiver, answer):
    receiver.answers = [answer]
    driver = woven()
    driver.create_share(None, SHARE)
    assert len(driver.calls) == 1
    (event,) = receiver.events
    assert event["type"].endswith(".create_share_instance.start")


@pytest.mark.parametrize("suppress", [False, True])
def test_a_receiver_denies_a_call(woven, receiver, suppress):
    receiver.answers = [status(200, DENIES)]
    driver = woven(f"suppress_pre_hooks_errors = {suppress}")
    with pytest.raises(aspects.Veto, match=r"^frozen until Monday$"):
        driver.create_share(None, SHARE)
    assert not driver.calls


@pytest.mark.parametrize("reason", ["", ', "reason": " "', ', "reason": 5'])
def test_a_denial_needs_no_reason(woven, receiver, reason):
    receiver.answers = [status(200, b'{"allowed": false%s}' % reason.encode())]
    with pytest.raises(aspects.Veto, match=r"^denied, without a reason$"):
        woven().create_share(None, SHARE)


def test_a_receiver_replaces_arguments(woven, receiver):
    answer = {"allowed": True, "arguments": {"new_size": 70}}
    receiver.answers = [status(200, json.dumps(answer).encode())]
    driver = woven("enable_post_hooks = True")
    driver.extend_share(SHARE, 71)
    assert driver.calls[0].arguments["new_size"] == 70
    data = receiver.events[1]["data"]
    assert data["new_size"] == 70
    assert data["duration"] is not None


ERRORS = {
    "not JSON": (status(200, b"ok"), InvalidDecisionError, 1),
    "not an object": (status(200, b"true"), InvalidDecisionError, 1),
    "allow": (status(200, b'{"allow": false}'), InvalidDecisionError, 1),
    "arguments": (
        status(200, b'{"allowed": true, "arguments": [1]}'),
        InvalidDecisionError,
        1,
    ),
    "unknown argument": (
        status(200, b'{"allowed": true, "arguments": {"color": 1}}'),
        TypeError,
        1,
    ),
    "too large": (
        status(200, ALLOWS + b" " * MAX_SIZE),
        InvalidDecisionError,
        1,
    ),
    "redirect": (status(307, Location="/elsewhere"), RejectedError, 1),
    "bad request": (status(400, ALLOWS), RejectedError, 1),
    "too many": (status(429, ALLOWS), RejectedError, 1),
    "down": (status(503, ALLOWS), DeliveryFailedError, None),
    "closed": (close, DeliveryFailedError, None),
    "incomplete": (
        lambda handler: handler.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n"),
        DeliveryFailedError,
        None,
    ),
}


@pytest.mark.parametrize("suppress", [False, True])
@pytest.mark.parametrize("case", ERRORS)
def test_suppression_decides_if_the_receiver_does_not(woven, receiver, case, suppress):
    answer, error, requests = ERRORS[case]
    receiver.answers = [answer] * 200
    driver = woven(f"suppress_pre_hooks_errors = {suppress}\nwebhook_timeout = 2")
    if suppress:
        driver.create_share(None, SHARE)
    else:
        with pytest.raises(error):
            driver.create_share(None, SHARE)
    assert len(driver.calls) == suppress
    if requests:
        assert len(receiver.requests) == requests
    else:
        assert len(receiver.requests) > 1


def test_an_error_has_the_origin_of_the_receiver_and_no_part_of_its_answer(
    woven, receiver
):
    receiver.answers = [status(200, b'{"allow": "hunter2"}')]
    with pytest.raises(InvalidDecisionError) as caught:
        woven().create_share(None, SHARE)
    assert str(caught.value) == (
        f"http://127.0.0.1:{receiver.port}: the answer has no allowed that is true or "
        "false"
    )


def test_a_receiver_that_is_down_for_a_moment_decides_later(woven, receiver):
    receiver.answers = [status(503), close, status(200, DENIES)]
    with pytest.raises(aspects.Veto):
        woven().create_share(None, SHARE)
    assert len({request.body for request in receiver.requests}) == 1


def test_the_hook_waits_for_an_answer_behind_its_headers(
    woven, receiver, clock, monkeypatch
):
    reads, read = threading.Event(), webhook._answer

    def answer(handler):
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DENIES)
        )
        reads.wait(60)
        handler.wfile.write(DENIES)

    def read_later(*args):
        clock.advance(2 * webhook.LONGEST_WAIT)
        reads.set()
        return read(*args)

    monkeypatch.setattr(webhook, "_answer", read_later)
    receiver.answers = [answer]
    with pytest.raises(aspects.Veto):
        woven().create_share(None, SHARE)


def test_connections_are_kept_open(woven, receiver):
    receiver.answers = [status(200, ALLOWS), status(204), status(200, ALLOWS)]
    driver = woven()
    for _ in range(3):
        driver.create_share(None, SHARE)
    assert len({request.client for request in receiver.requests}) == 1


def test_a_reason_is_one_short_line_without_secrets(woven, receiver, context):
    context.auth_token = "token-x1-hunter2"
    reason = f"no\n\x1b[31mmore token-x1-hunter2 {SECRET} key-x2 " + "x" * 5000
    answer = json.dumps({"allowed": False, "reason": reason}).encode()
    receiver.answers = [status(200, answer)]
    driver = woven(f"webhook_secret = {SECRET}")
    rules = [{"access_to": "joe", "access_type": "cephx", "access_key": "key-x2"}]
    with pytest.raises(aspects.Veto) as caught:
        driver.update_access(context, SHARE, rules, rules, [], [])
    text = str(caught.value)
    assert text.startswith("no [31mmore *** *** *** xxx")
    assert len(text) == MAX_REASON


@pytest.mark.slow
@pytest.mark.parametrize("dispatch", ["background", "durable"])
def test_a_call_waits_for_its_decision_with_each_dispatch(
    woven, receiver, tmp_path, dispatch
):
    pytest.importorskip("futurist")
    driver = woven(
        f"hook_dispatch = {dispatch}\nhook_outbox_path = {tmp_path / 'outbox'}\n"
        "enable_post_hooks = True"
    )
    receiver.answers = [status(503), status(200, DENIES)]
    with pytest.raises(aspects.Veto):
        driver.create_share(None, SHARE)
    driver.delete_share(None, SHARE)
    aspects.weaving(driver).stop()
    # The events of completions are still delivered off the call.
    kinds = [event["type"].rpartition(".")[2] for event in receiver.events]
    assert kinds == ["start", "start", "start", "end"]


@pytest.mark.parametrize("decides", [True, False])
def test_a_slow_decision_is_reported_although_events_are_sent_later(
    woven, receiver, decides
):
    pytest.importorskip("futurist")
    driver = woven(
        f"webhook_decides = {decides}\nhook_dispatch = background\n"
        "hook_slow_seconds = 0.000001"
    )
    driver.create_share(None, SHARE)
    (hook,) = aspects.weaving(driver).hooks
    if decides:
        assert hook.counts()["slow"] == 1
    aspects.weaving(driver).stop()
    assert hook.counts()["slow"] == 1


def test_a_failing_receiver_is_never_skipped(woven, receiver):
    driver = woven("hook_failure_limit = 1\nsuppress_pre_hooks_errors = True")
    receiver.answers = [status(400), status(400), status(200, DENIES)]
    driver.create_share(None, SHARE)
    driver.create_share(None, SHARE)
    with pytest.raises(aspects.Veto):
        driver.create_share(None, SHARE)


def test_hot_reload_changes_who_decides(woven, receiver):
    driver = woven("hook_failure_limit = 1\nsuppress_pre_hooks_errors = True")
    text = driver._self_file.path.read_text("utf-8")
    driver._self_file.mutate(text.replace("webhook_decides = True", ""))
    receiver.answers = [status(200, DENIES), status(400), status(200, DENIES)]
    for _ in range(3):
        driver.create_share(None, SHARE)
    # The circuit breaker skips a hook that only reports.
    assert len(receiver.requests) == 2
    driver._self_file.mutate(text)
    with pytest.raises(aspects.Veto):
        driver.create_share(None, SHARE)


def test_a_receiver_that_is_never_asked_is_ineffective(woven):
    (hook,) = aspects.weaving(woven()).hooks
    assert hook.ineffective() is None
    hook.pre_hooks_enabled = False
    assert hook.ineffective() == (
        "webhook_decides has no effect, since enable_pre_hooks is False",
        "set enable_pre_hooks = True",
    )

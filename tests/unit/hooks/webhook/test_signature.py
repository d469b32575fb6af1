# SPDX-License-Identifier: Apache-2.0
"""Tests of the webhook hook's signatures, with the library of Standard Webhooks."""

import base64
import pathlib
import re
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

import aspects
from hooks import webhook
from hooks.webhook.signature import key_of, signed_headers
from tests.support.receiver import close, status
from tests.support.schema import EVENT

from .common import NEW_SECRET, OTHER_SECRET, SECRET, problem_of

pytestmark = pytest.mark.timeout(60)

PAGE = pathlib.Path(__file__).parents[4] / "doc/source/admin/hooks/webhook.rst"


@pytest.fixture
def signing_hook(new_hook, receiver):
    return new_hook(
        f"webhook_url = {receiver.url}\nwebhook_timeout = 60\nwebhook_secret = {SECRET}"
    )


def is_genuine(request, secret=SECRET, **changes):
    """Return whether the reference library accepts a request.

    :param changes: other values of headers, with ``_`` for ``-``
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    try:
        assert Webhook(secret).verify(request.body, headers) == request.event
    except WebhookVerificationError:
        return False
    return True


def test_each_attempt_is_signed_with_its_own_time_and_the_id_of_the_event(
    signing_hook, receiver, clock
):
    receiver.answers = [status(503, Retry_After="30"), close]
    first = int(clock.time())
    signing_hook.deliver(EVENT)
    assert len(receiver.requests) == 3
    assert all(map(is_genuine, receiver.requests))
    assert {request.headers["webhook-id"] for request in receiver.requests} == {"e1"}
    times = [int(request.headers["webhook-timestamp"]) for request in receiver.requests]
    assert times[0] == first
    assert times[1] == first + 30
    assert times[2] >= times[1]


def test_a_later_delivery_of_the_same_event_has_the_same_id(
    signing_hook, receiver, clock
):
    for _ in range(2):
        signing_hook.deliver(EVENT)
        clock.advance(60)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert is_genuine(first)
    assert is_genuine(second)


def test_the_signature_covers_id_time_and_body(signing_hook, receiver):
    signing_hook.deliver(EVENT)
    (request,) = receiver.requests
    now = int(request.headers["webhook-timestamp"])
    assert is_genuine(request)
    assert not is_genuine(request, OTHER_SECRET)
    assert not is_genuine(request, webhook_id="e2")
    assert not is_genuine(request, webhook_timestamp=str(now + 1))
    assert not is_genuine(request._replace(body=request.body + b" "))


def test_receivers_with_either_secret_verify_events_during_a_rotation(file, receiver):
    text = f"webhook_url = {receiver.url}\nwebhook_secret = "
    conf_file = file(f"{text}{SECRET}")
    before = conf_file.path.read_text()
    section = aspects.BackendSection(conf_file.conf, "alpha")
    hook = webhook.WebhookHook(section, "node1@alpha")
    verified = []
    for secrets in (SECRET, f"{NEW_SECRET}, {SECRET}", NEW_SECRET):
        conf_file.mutate(before.replace(SECRET, secrets))
        hook.deliver(EVENT)
        request = receiver.requests[-1]
        verified.append([is_genuine(request, one) for one in (SECRET, NEW_SECRET)])
    hook.stop()
    assert verified == [[True, False], [True, True], [False, True]]


def test_there_is_no_signature_without_a_secret(hook, receiver):
    hook.deliver(EVENT)
    headers = receiver.requests[0].headers
    assert headers["webhook-id"] == "e1"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert "webhook-signature" not in headers


def test_requests_for_decisions_are_signed(file, receiver):
    conf = file(
        f"webhook_url = {receiver.url}\nwebhook_secret = {SECRET}\n"
        "webhook_decides = True\nenable_pre_hooks = True"
    ).conf
    section = aspects.BackendSection(conf, "alpha")
    driver = aspects.weave_from_config(aspects.testing.FakeDriver(), section, "node1")
    driver.create_share(None, {"id": "i1", "share_id": "s1"})
    (request,) = receiver.requests
    assert is_genuine(request)


@given(
    keys=st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3),
    padded=st.booleans(),
    text=st.text(),
)
def test_any_valid_secret_is_that_of_the_reference_library(keys, padded, text):
    secrets = [f"whsec_{base64.b64encode(key).decode()}" for key in keys]
    if not padded:
        secrets = [secret.rstrip("=") for secret in secrets]
    body = text.encode(errors="replace")
    headers = signed_headers(secrets, "e1", int(time.time()), body)
    for secret, key in zip(secrets, keys, strict=True):
        assert key_of(secret) == key
        Webhook(secret).verify(body, headers, json_parse=False)


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        "whsec_hunter2",
        f"whsec_{base64.b64encode(b'hunter2' * 3).decode()}",
        f"whsec_{base64.b64encode(b'hunter2' * 10).decode()}",
        # The reference library would skip the characters that are not base64.
        SECRET.replace("A", "-", 1),
        f"{SECRET[:20]} {SECRET[20:]}",
        f"x{SECRET}",
        f"{SECRET}ö",
        f"{NEW_SECRET}, {SECRET[:-9]}",
    ],
)
def test_an_invalid_secret_is_a_configuration_error_without_its_text(file, secret):
    options = f"webhook_url = http://127.0.0.1/\nwebhook_secret = {secret}"
    found = problem_of(file, options)
    assert "webhook_secret: not a secret; write whsec_ and" in found.cause
    assert found.section == "alpha"
    text = str(found).replace("write whsec_", "")
    assert not [part for part in ("hunter2", SECRET[8:16], "whsec_") if part in text]


def test_the_documented_receiver_verifies_the_signature(signing_hook, receiver):
    signing_hook.deliver(EVENT)
    (request,) = receiver.requests
    pattern = r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)"
    (block,) = re.findall(pattern, PAGE.read_text("utf-8"), re.M)
    names = {}
    exec(textwrap.dedent(block), names)
    event_in = names["event_in"]
    assert event_in(SECRET, request.body, dict(request.headers)) == EVENT
    with pytest.raises(WebhookVerificationError):
        event_in(OTHER_SECRET, request.body, dict(request.headers))

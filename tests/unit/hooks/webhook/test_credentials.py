# SPDX-License-Identifier: Apache-2.0
"""Tests of further headers, tokens, client certificates and proxies of the webhook."""

import json
import logging
import traceback

import pytest
import trustme

import aspects
from aspects.testing import FakeDriver
from hooks.events.errors import DeliveryFailedError
from tests.support.receiver import status
from tests.support.schema import EVENT

from .common import problem_of

pytestmark = pytest.mark.timeout(60)

URL = "webhook_url = https://ops.example.com/manila\n"


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("hunter2-old\n")
    return path


# Headers


def test_further_headers_are_sent_with_each_request(new_hook, receiver):
    hook = new_hook(
        f"webhook_url = {receiver.url}\n"
        "webhook_headers = X-Region: eu 1, X-Path:/a:b, User-Agent:ops/1, X-Empty:, "
        "Authorization:Splunk s3cr3t"
    )
    receiver.answers = [status(503)]
    hook.deliver(EVENT)
    for request in receiver.requests:
        assert request.headers["X-Region"] == "eu 1"
        assert request.headers["X-Path"] == "/a:b"
        assert request.headers["X-Empty"] == ""
        assert request.headers["Authorization"] == "Splunk s3cr3t"
        assert request.headers.get_all("User-Agent") == ["ops/1"]
        assert request.headers["Content-Type"] == "application/cloudevents+json"
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        ("X Region:hunter2", "'X Region' is not the name of a header"),
        ("X-Region:hünter2", "the value of X-Region has characters"),
        ("X-Region:hunter2\x7f", "the value of X-Region has characters"),
        ("content-type:hunter2", "the hook sets content-type itself"),
        ("Webhook-Signature:hunter2", "the hook sets Webhook-Signature itself"),
    ],
)
def test_an_invalid_header_is_a_configuration_error_without_its_value(
    file, headers, cause
):
    found = problem_of(file, f"{URL}webhook_headers = {headers}")
    assert f"webhook_headers: {cause}" in found.cause
    assert "hunter2" not in str(found).replace("hünter2", "hunter2")


def test_headers_without_a_colon_are_a_configuration_error(file):
    found = problem_of(file, f"{URL}webhook_headers = hunter2")
    assert (found.section, found.option) == ("alpha", "webhook_headers")
    assert "hunter2" not in str(found)


# Tokens


def test_a_token_is_read_again_for_each_request(new_hook, receiver, token_file):
    hook = new_hook(f"webhook_url = {receiver.url}\nwebhook_token_file = {token_file}")

    def rotate(handler):
        # A new file in place of the old one, as most tools write it.
        new = token_file.with_name("new")
        new.write_text("hunter2-new\n")
        new.rename(token_file)
        status(401)(handler)

    receiver.answers = [rotate]
    hook.deliver(EVENT)
    sent = [request.headers["Authorization"] for request in receiver.requests]
    assert sent == ["Bearer hunter2-old", "Bearer hunter2-new"]


def test_a_delivery_waits_for_a_token_that_is_missing_for_a_moment(
    new_hook, receiver, token_file, clock, monkeypatch
):
    hook = new_hook(
        f"webhook_url = {receiver.url}\nwebhook_token_file = {token_file}\n"
        "webhook_timeout = 60"
    )
    token_file.unlink()
    sleep = clock.sleep

    def restore(seconds):
        token_file.write_text("hunter2-new")
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", restore)
    hook.deliver(EVENT)
    (request,) = receiver.requests
    assert request.headers["Authorization"] == "Bearer hunter2-new"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "No such file or directory"),
        (b"", "not a token"),
        (b"hunter2 hunter2", "not a token"),
        (b"hunter2\nhunter2\n", "not a token"),
        (b"hunter2\xff", "not a token"),
        (b"hunter2" * 2000, "not a token"),
    ],
)
def test_an_invalid_token_is_a_configuration_error_without_its_text(
    file, tmp_path, content, cause
):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    found = problem_of(file, f"{URL}webhook_token_file = {path}")
    assert f"webhook_token_file {path}: {cause}" in found.cause
    assert "hunter2" not in str(found)


def test_a_directory_in_place_of_a_token_is_a_configuration_error(file, tmp_path):
    found = problem_of(file, f"{URL}webhook_token_file = {tmp_path}")
    assert f"webhook_token_file {tmp_path}: Is a directory" in found.cause


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (
            "webhook_url = https://joe:hunter2@x/\nwebhook_token_file = {token}",
            "set by webhook_url and by webhook_token_file; remove one",
        ),
        (
            "webhook_url = https://x/\nwebhook_token_file = {token}\n"
            "webhook_headers = authorization:hunter2",
            "set by webhook_token_file and by webhook_headers; remove one",
        ),
        (
            "webhook_url = https://joe:hunter2@x/\n"
            "webhook_headers = Authorization:hunter2",
            "set by webhook_url and by webhook_headers; remove one",
        ),
    ],
)
def test_two_credentials_of_one_header_are_a_configuration_error(
    file, token_file, options, cause
):
    found = problem_of(file, options.format(token=token_file))
    assert cause in found.cause
    assert "hunter2" not in str(found)


def test_a_reason_does_not_repeat_the_token(file, receiver, token_file):
    section = aspects.BackendSection(
        file(
            f"webhook_url = {receiver.url}\nwebhook_token_file = {token_file}\n"
            "webhook_headers = X-Key:key-Zq9\n"
            "webhook_decides = True\nenable_pre_hooks = True"
        ).conf,
        "alpha",
    )
    driver = aspects.weave_from_config(FakeDriver(), section, "node1@alpha")
    reason = "hunter2-old with key-Zq9 may not"
    answer = json.dumps({"allowed": False, "reason": reason}).encode()
    receiver.answers = [status(200, answer)]
    with pytest.raises(aspects.Veto, match=r"^\*\*\* with \*\*\* may not$"):
        driver.create_share(None, {"id": "i1", "share_id": "s1"})


# Client certificates


def encrypted(key):
    """Return a private key with a passphrase, in PEM."""
    from cryptography.hazmat.primitives import serialization

    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )


@pytest.fixture(scope="module")
def issued():
    """Return a certificate, its key, the key with a passphrase, and another key."""
    authority = trustme.CA()
    first, second = (authority.issue_cert("hook.example.com") for _ in range(2))
    key = first.private_key_pem.bytes()
    return {
        "cert": first.cert_chain_pems[0].bytes(),
        "key": key,
        "encrypted": encrypted(key),
        "other": second.private_key_pem.bytes(),
        "text": b"not a certificate",
        "both": first.private_key_and_cert_chain_pem.bytes(),
    }


@pytest.fixture
def pem(issued, tmp_path):
    """Return a directory with a file for each of them."""
    for name, content in issued.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("cert", "key", "causes"),
    [
        ("no", None, ["webhook_client_cert {cert}: No such file or directory"]),
        ("cert", "no", ["webhook_client_key {key}: No such file or directory"]),
        ("text", "key", ["webhook_client_cert {cert}, webhook_client_key {key}: "]),
        ("cert", "other", ["webhook_client_key {key}: ", "MISMATCH"]),
        ("cert", "encrypted", ["webhook_client_key {key}: the key has a passphrase"]),
        ("cert", None, ["webhook_client_cert {cert}: "]),
        (None, "key", ["webhook_client_key {key}: webhook_client_cert is not set"]),
    ],
)
def test_an_invalid_client_certificate_is_a_configuration_error(
    file, pem, cert, key, causes
):
    paths = {"cert": f"{pem}/{cert}.pem", "key": f"{pem}/{key}.pem"}
    given = {"cert": cert, "key": key}
    options = "".join(
        f"webhook_client_{name} = {paths[name]}\n" for name in given if given[name]
    )
    found = problem_of(file, f"{URL}{options}")
    for cause in causes:
        assert cause.format(**paths) in found.cause


@pytest.mark.parametrize(("cert", "key"), [("cert", "key"), ("both", None)])
def test_a_key_may_be_in_the_file_of_the_certificate(new_hook, pem, cert, key):
    more = f"webhook_client_key = {pem}/{key}.pem" if key else ""
    new_hook(f"{URL}webhook_client_cert = {pem}/{cert}.pem\n{more}")


# Proxies


PROXY = "http://joe:hunter%402@127.0.0.1:{}"


def test_requests_go_through_the_proxy(new_hook, receiver, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    # The receiver answers in place of the proxy. No host has the name in the URL.
    hook = new_hook(
        "webhook_url = http://receiver.invalid/events\n"
        f"webhook_proxy = {PROXY.format(receiver.port)}"
    )
    for _ in range(3):
        hook.deliver(EVENT)
    assert len(receiver.requests) == 3
    for request in receiver.requests:
        assert request.path == "http://receiver.invalid/events"
        assert request.headers["Host"] == "receiver.invalid"
        assert request.headers["Proxy-Authorization"] == "Basic am9lOmh1bnRlckAy"
        assert request.event == EVENT
    assert len({request.client for request in receiver.requests}) == 1


@pytest.mark.parametrize(
    "url",
    [
        "proxy.example.com:3128",
        "https://joe:hunter2@proxy.example.com:3128",
        "socks5://joe:hunter2@proxy.example.com",
        "http://joe:hunter2@",
        "http://joe:hunter2@proxy.example.com:99999",
    ],
)
def test_an_invalid_proxy_is_a_configuration_error_without_its_text(file, url):
    found = problem_of(file, f"{URL}webhook_proxy = {url}")
    assert "webhook_proxy: not a valid http:// URL" in found.cause
    assert "hunter2" not in str(found)


# Secrets


@pytest.mark.parametrize(
    "url", ["http://receiver.invalid/", "https://receiver.invalid/"]
)
def test_a_proxy_that_is_down_is_reported_without_secrets(
    new_hook, token_file, caplog, url
):
    caplog.set_level(logging.DEBUG)
    hook = new_hook(
        f"webhook_url = {url}hunter2\nwebhook_proxy = {PROXY.format(1)}\n"
        f"webhook_token_file = {token_file}\nwebhook_headers = X-Key:hunter2"
    )
    with pytest.raises(DeliveryFailedError) as caught:
        hook.deliver(EVENT)
    assert str(caught.value).startswith(f"{url[:-1]}: proxy: ConnectionRefusedError")
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter" not in f"{shown} {caplog.text}"


def test_an_invalid_header_in_an_answer_reveals_no_secret(
    new_hook, receiver, token_file, caplog
):
    caplog.set_level(logging.DEBUG)
    hook = new_hook(
        f"webhook_url = {receiver.url}/hunter2\nwebhook_token_file = {token_file}"
    )
    receiver.answers = [
        lambda handler: handler.raw(b"HTTP/1.1 204 No Content\r\nno header\r\n\r\n")
    ]
    hook.deliver(EVENT)
    assert "hunter2" not in caplog.text


def test_a_dump_of_all_options_has_no_secrets(new_hook, caplog, token_file):
    caplog.set_level(logging.DEBUG)
    hook = new_hook(
        f"{URL}webhook_proxy = {PROXY.format(1)}\nwebhook_headers = X-Key:hunter2\n"
        f"webhook_token_file = {token_file}"
    )
    hook.configuration.conf.log_opt_values(logging.getLogger("dump"), logging.DEBUG)
    assert "webhook_proxy" in caplog.text
    assert "hunter" not in caplog.text

# SPDX-License-Identifier: Apache-2.0
"""Tests of the webhook hook with real servers: with TLS, slow, or killed."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from standardwebhooks import Webhook

import aspects
from aspects.testing import FakeDriver
from hooks.events.errors import DeliveryFailedError
from tests.support import receiver, releases
from tests.support.config import woven_by
from tests.support.pages import example
from tests.support.programs import Program, free_port, need
from tests.support.receiver import Receiver, SilentServer
from tests.support.schema import EVENT
from tests.support.wait import wait_for

#: The webhook_timeout of these tests, in seconds.
TIME_LIMIT = 1.0

#: Pattern of the error for an untrusted certificate, in all versions of urllib3.
UNVERIFIED = "CERTIFICATE_VERIFY_FAILED|CertificateError"


class TLS:
    """A certificate authority for a test, which issues certificates."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))

    def server(self, name: str, asks: bool = False) -> ssl.SSLContext:
        """Return the context of a server.

        :param name: the name in its certificate
        :param asks: whether clients need a certificate
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(name).configure_cert(context)
        if asks:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str, file: Path) -> None:
        """Write the certificate and the key of a client to a file."""
        issued = self.authority.issue_cert(name, common_name=name)
        issued.private_key_and_cert_chain_pem.write_to_path(str(file))


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    return TLS(tmp_path)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def new_hook(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that weaves a driver with the hook and returns the hook."""
    with contextlib.ExitStack() as stack:

        def new(**options: Any) -> Any:
            text = "\n".join(
                ["[alpha]", "hook_drivers = webhook", f"webhook_timeout = {TIME_LIMIT}"]
                + [f"{name} = {value}" for name, value in options.items()]
            )
            woven = stack.enter_context(woven_by(text, tmp_path, FakeDriver()))
            return aspects.weaving(woven).hooks[0]

        yield new


def test_the_documented_example_sends_signed_events_in_order(
    tmp_path: Path, tls: TLS
) -> None:
    with Receiver(tls.server("127.0.0.1")) as server:
        text = example(
            "admin/hooks/webhook.rst",
            {
                "https://ops.example.com/manila": server.url,
                "/etc/ssl/certs/ops-ca.pem": str(tls.ca_file),
            },
        )
        (secret,) = re.findall("whsec_.*", text)
        with woven_by(text, tmp_path, FakeDriver()) as driver:
            driver.create_share(None, {"id": "i1", "share_id": "s1"})
            driver.extend_share({"id": "i1", "share_id": "s1"}, 2)
            driver.delete_share(None, {"id": "i1", "share_id": "s1"})
        # They were sent in the background; the end of the weaving waits for them.
        assert [event["type"].rpartition("share.")[2] for event in server.events] == [
            "create_share_instance.start",
            "create_share_instance.end",
            "delete_share_instance.start",
            "delete_share_instance.end",
        ]
        for request in server.requests:
            headers = dict(request.headers)
            assert Webhook(secret).verify(request.body, headers) == request.event
        assert len({request.client for request in server.requests}) == 1


# TLS


def test_an_untrusted_certificate_fails_the_delivery(new_hook: Any, tls: TLS) -> None:
    with Receiver(tls.server("127.0.0.1")) as server:
        with pytest.raises(DeliveryFailedError, match=UNVERIFIED):
            new_hook(webhook_url=server.url).deliver(EVENT)
        assert server.requests == []


def test_a_certificate_for_another_name_fails_the_delivery(
    new_hook: Any, tls: TLS
) -> None:
    with Receiver(tls.server("ops.example.com")) as server:
        hook = new_hook(webhook_url=server.url, webhook_ca_file=tls.ca_file)
        with pytest.raises(DeliveryFailedError, match=UNVERIFIED):
            hook.deliver(EVENT)
        assert server.requests == []


UNVERIFIED_DELIVERIES = """
import sys
from pathlib import Path
from tests.support.config import woven_by
from aspects.testing import FakeDriver

file, directory = map(Path, sys.argv[1:])
with woven_by(file.read_text(), directory, FakeDriver()) as driver:
    for n in range(3):
        driver.create_share(None, {"id": str(n)})
"""


def test_without_verification_events_are_sent_and_one_warning_is_logged(
    tls: TLS, tmp_path: Path
) -> None:
    with Receiver(tls.server("ops.example.com")) as server:
        file = tmp_path / "text"
        file.write_text(
            "[alpha]\nhook_drivers = webhook\nenable_post_hooks = True\n"
            f"webhook_url = {server.url}\nwebhook_verify = False\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", UNVERIFIED_DELIVERIES, str(file), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        assert len(server.requests) == 3
    # One warning for three events.
    assert ran.stderr.count("InsecureRequestWarning: ") == 1


def test_https_to_a_server_without_tls_fails_the_delivery(
    new_hook: Any, server: Receiver
) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(DeliveryFailedError, match="SSLError"):
        new_hook(webhook_url=url).deliver(EVENT)


# Client certificates


def test_a_client_certificate_authenticates_the_hook(
    new_hook: Any, tls: TLS, tmp_path: Path
) -> None:
    names = []

    def answer(handler: Any) -> None:
        subject = handler.connection.getpeercert()["subject"]
        names.extend(value for ((key, value),) in subject if key == "commonName")
        receiver.status(204, Connection="close")(handler)
        handler.close_connection = True

    file = tmp_path / "client.pem"
    with Receiver(tls.server("127.0.0.1", asks=True)) as server:
        options = {"webhook_url": server.url, "webhook_ca_file": tls.ca_file}
        with pytest.raises(DeliveryFailedError):
            new_hook(**options).deliver(EVENT)
        assert server.requests == []
        server.answers = [answer, answer]
        tls.client("first", file)
        hook = new_hook(**options, webhook_client_cert=file, webhook_timeout=30)
        hook.deliver(EVENT)
        # The files are read again for each connection.
        tls.client("second", file)
        hook.deliver(EVENT)
    assert names == ["first", "second"]


# Proxies

PROXY = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
BasicAuth joe hunter2
"""


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Program]:
    """Return a running proxy with a password."""
    program = need("tinyproxy", "tinyproxy")
    config, port = tmp_path / "tinyproxy.conf", free_port()
    config.write_text(PROXY.format(port=port))
    running = Program([program, "-d", "-c", str(config)], tmp_path / "tinyproxy.log")
    try:
        wait_for(
            lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None,
            "the proxy listens",
            timeout=60,
        )
        running.port = port  # type: ignore[attr-defined]
        yield running
    finally:
        running.kill()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_events_reach_their_receiver_through_a_proxy(
    new_hook: Any, tls: TLS, proxy: Any, scheme: str
) -> None:
    with Receiver(tls.server("127.0.0.1") if scheme == "https" else None) as server:
        options = {"webhook_url": server.url, "webhook_ca_file": tls.ca_file}
        hook = new_hook(
            **options,
            webhook_proxy=f"http://joe:hunter2@127.0.0.1:{proxy.port}",
            webhook_timeout=30,
        )
        for number in range(3):
            hook.deliver({**EVENT, "id": str(number)})
        assert [event["id"] for event in server.events] == ["0", "1", "2"]
        for request in server.requests:
            assert "Proxy-Authorization" not in request.headers
        assert f"127.0.0.1:{server.port}" in proxy.log.read_text()
        hook = new_hook(
            **options, webhook_proxy=f"http://joe:Zq9@127.0.0.1:{proxy.port}"
        )
        with pytest.raises(DeliveryFailedError, match=r"40[17]") as caught:
            hook.deliver(EVENT)
        assert "Zq9" not in str(caught.value)
        assert len(server.requests) == 3


def test_a_receiver_behind_a_proxy_is_verified(
    new_hook: Any, tls: TLS, proxy: Any
) -> None:
    with Receiver(tls.server("127.0.0.1")) as server:
        hook = new_hook(
            webhook_url=server.url,
            webhook_proxy=f"http://joe:hunter2@127.0.0.1:{proxy.port}",
            webhook_timeout=5,
        )
        with pytest.raises(DeliveryFailedError, match=UNVERIFIED):
            hook.deliver(EVENT)
        assert server.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_silent_fails_the_delivery_in_time(
    new_hook: Any, scheme: str
) -> None:
    server = SilentServer()
    try:
        hook = new_hook(
            webhook_url=f"{scheme}://receiver.invalid/",
            webhook_proxy=f"http://127.0.0.1:{server.port}",
        )
        fails_in_time(hook)
        wait_for_threads()
    finally:
        server.close()


# The time limit


def fails_in_time(hook: Any) -> DeliveryFailedError:
    """Deliver an event to a server that does not finish, and return the error."""
    with pytest.raises(DeliveryFailedError) as caught:
        hook.deliver(EVENT)
    return caught.value


def wait_for_threads(name: str = "webhook") -> None:
    """Wait until the threads of all deliveries have ended."""
    wait_for(
        lambda: name not in [thread.name for thread in threading.enumerate()],
        "the threads of all deliveries end",
        timeout=10,
    )


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(b"", b"HTTP/1.1 200 OK", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Slow: yes\r\n", id="headers"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="interim responses"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_trickled_response_fails_in_time(
    new_hook: Any, tls: TLS, scheme: str, first: bytes, then: bytes
) -> None:
    with Receiver(tls.server("127.0.0.1") if scheme == "https" else None) as server:
        server.answers = [server.trickle(first, then)]
        hook = new_hook(webhook_url=server.url, webhook_ca_file=tls.ca_file)
        assert "http" in str(fails_in_time(hook))
        # The server is still sending.
        wait_for_threads()
        hook.deliver(EVENT)
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(b"x", id="body"),
        pytest.param(b"1\r\nx\r\n", id="chunks"),
    ],
)
def test_a_trickled_body_does_not_delay_the_next_delivery(
    new_hook: Any, server: Receiver, then: bytes
) -> None:
    length = b"Transfer-Encoding: chunked" if b"\n" in then else b"Content-Length: 9999"
    first = b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n"
    server.answers = [server.trickle(first, then)]
    hook = new_hook(webhook_url=server.url)
    # The status confirms the delivery, and the body is ignored.
    hook.deliver(EVENT)
    wait_for_threads()
    hook.deliver(EVENT)
    assert len(server.requests) == 2


def test_a_server_that_hangs_fails_in_time(new_hook: Any, server: Receiver) -> None:
    server.answers = [server.hang]
    hook = new_hook(webhook_url=server.url)
    fails_in_time(hook)
    wait_for_threads()
    hook.deliver(EVENT)


def test_no_attempt_begins_after_the_time_limit(
    new_hook: Any, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LateThread(threading.Thread):
        def run(self) -> None:
            time.sleep(0.3 * TIME_LIMIT)
            super().run()

    # A thread starts late on a busy machine.
    monkeypatch.setattr("hooks.webhook.threading", SimpleNamespace(Thread=LateThread))
    server.answers = [server.hang]
    fails_in_time(new_hook(webhook_url=server.url))
    wait_for_threads()
    assert len(server.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_server_fails_in_time(new_hook: Any, scheme: str) -> None:
    server = SilentServer()
    try:
        fails_in_time(new_hook(webhook_url=f"{scheme}://127.0.0.1:{server.port}/"))
        wait_for_threads()
    finally:
        server.close()


def test_a_server_with_several_dead_addresses_fails_in_time(
    new_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [SilentServer(full=True) for _ in range(3)]
    addresses = [
        (2, 1, 6, "", ("127.0.0.1", server.port))  # AF_INET, SOCK_STREAM, TCP
        for server in servers
    ]
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: addresses)
    try:
        fails_in_time(new_hook(webhook_url="http://ops.example.com/"))
        wait_for_threads()
    finally:
        for server in servers:
            server.close()


def test_an_endless_body_does_not_delay_the_delivery(
    new_hook: Any, server: Receiver
) -> None:
    def flood(handler: Any) -> None:
        handler.raw(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.ended.is_set():
            handler.raw(b"x" * 65536)

    server.answers = [flood]
    new_hook(webhook_url=server.url).deliver(EVENT)


# Restarts and forks


def test_a_delivery_succeeds_after_a_restart_of_the_server(
    new_hook: Any, tmp_path: Path
) -> None:
    port, taken = free_port(), tmp_path / "taken"
    command = [sys.executable, str(receiver.__file__), str(port), str(taken)]

    def start() -> Program:
        return Program(command, tmp_path / "receiver.log")

    hook = new_hook(webhook_url=f"http://127.0.0.1:{port}/", webhook_timeout=30)
    first = start()
    try:
        hook.deliver({**EVENT, "id": "e1"})
    finally:
        first.kill()
    # The server is down when the delivery begins, and starts before its time limit.
    again = threading.Thread(target=hook.deliver, args=({**EVENT, "id": "e2"},))
    again.start()
    second = start()
    try:
        again.join(30)
        assert [event["id"] for event in receiver.events_in(taken)] == ["e1", "e2"]
    finally:
        second.kill()


def test_a_child_process_opens_its_own_connection(
    new_hook: Any, server: Receiver
) -> None:
    hook = new_hook(webhook_url=server.url)
    hook.deliver(EVENT)
    child = os.fork()
    if child == 0:
        try:
            releases.after_fork()
            hook.deliver(EVENT)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    hook.deliver(EVENT)
    before, child_client, after = (request.client for request in server.requests)
    assert before == after != child_client


EVENTLET = """
    import eventlet

    eventlet.monkey_patch()

    import sys
    import time
    from pathlib import Path

    from aspects.testing import FakeDriver
    from hooks.events.errors import DeliveryFailedError
    from tests.support.config import woven_by


    url, hanging, directory = sys.argv[1:]
    text = f'''
    [alpha]
    hook_drivers = webhook
    enable_post_hooks = True
    webhook_url = {url}
    webhook_timeout = 1
    hook_outbox_path = {directory}
    '''
    turns = []

    def others():
        while True:
            turns.append(time.monotonic())
            eventlet.sleep(0.01)

    eventlet.spawn(others)
    for dispatch in ("inline", "background", "durable"):
        more = f"hook_dispatch = {dispatch}"
        with woven_by(text + more, Path(directory), FakeDriver()) as driver:
            for n in range(10):
                driver.create_share(None, {"id": f"{dispatch}-{n}"})
    text = text.replace(url, hanging)
    with woven_by(text, Path(directory), FakeDriver()) as driver:
        turns.clear()
        try:
            driver.create_share(None, {"id": "late"})
        except DeliveryFailedError as error:
            print("failed:", error)
    # The other green threads run while the hook waits.
    print("turns:", len(turns) > 3)
"""


def test_a_delivery_under_eventlet_does_not_block_other_green_threads(
    server: Receiver, tmp_path: Path
) -> None:
    silent = SilentServer()
    try:
        ran = subprocess.run(
            [
                *(sys.executable, "-W", "ignore", "-c"),
                textwrap.dedent(EVENTLET).replace("\n    ", "\n    "),
                *(server.url, f"http://127.0.0.1:{silent.port}/", str(tmp_path)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        silent.close()
    assert ran.returncode == 0, ran.stderr
    delivered = [event["data"]["share_id"] for event in server.events]
    # The events of several shares are delivered at once.
    delivered[10:20] = sorted(delivered[10:20])
    delivered[20:] = sorted(delivered[20:])
    assert delivered == [
        f"{dispatch}-{n}"
        for dispatch in ("inline", "background", "durable")
        for n in range(10)
    ]
    assert "failed: http://127.0.0.1:" in ran.stdout
    assert "turns: True" in ran.stdout

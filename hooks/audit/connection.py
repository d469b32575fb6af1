# SPDX-License-Identifier: Apache-2.0
"""Send messages to a daemon, over a connection that is kept open."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import urllib.parse
from typing import NamedTuple

#: Seconds that a message waits for a connection, for the daemon, or for the messages of
#: other threads.
TIMEOUT = 1.0


class Address(NamedTuple):
    """The address of a daemon."""

    text: str
    """the address as an operator writes it"""
    kind: socket.SocketKind
    """datagrams or a stream"""
    path: str
    """the path of a Unix socket; empty for a host"""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.text

    @property
    def is_stream(self) -> bool:
        """True if messages follow one another in a stream."""
        return self.kind == socket.SOCK_STREAM

    def connect(self) -> socket.socket:
        """Return a new connection.

        :raises OSError: if the daemon cannot be reached
        """
        if self.path:
            return _connected(socket.AF_UNIX, self.kind, self.path)
        error: OSError | None = None
        found = socket.getaddrinfo(self.host, self.port, type=self.kind)
        for family, kind, _, _, place in found:
            try:
                return _connected(family, kind, place)
            except OSError as failed:
                error = failed
        raise error or OSError(f"{self.host} has no address")


def _connected(family: int, kind: int, place: object) -> socket.socket:
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(socket.socket(family, kind))
        new.settimeout(TIMEOUT)
        new.connect(place)  # type: ignore[arg-type]
        stack.pop_all()
    return new


def address_of(text: str) -> Address:
    """Return the address that a text describes.

    :param text: the path of a Unix socket, ``udp://host:port`` or ``tcp://host:port``
    :raises ValueError: if it is anything else
    """
    if text.startswith("/"):
        return Address(text, socket.SOCK_DGRAM, text)
    kinds = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(text)
        plain = f"{parts.scheme}://{parts.netloc}" == text and "@" not in text
        if plain and parts.scheme in kinds and parts.hostname and parts.port:
            return Address(text, kinds[parts.scheme], "", parts.hostname, parts.port)
    raise ValueError(
        "not an address; write the absolute path of a socket, udp://host:port or "
        "tcp://host:port"
    )


def check_socket(path: str) -> None:
    """Check that a path is that of a socket.

    :param path: the path
    :raises ValueError: if it is not
    """
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise ValueError(error.strerror) from None
    if not is_socket:
        raise ValueError("not a socket")


class Connection:
    """A connection to a daemon, which is opened again if the daemon was restarted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._address: Address | None = None
        self._socket: socket.socket | None = None

    def send(self, address: Address, message: bytes) -> None:
        """Send a message, in bounded time.

        :param address: the address, which may be another one than before
        :param message: the message
        :raises OSError: if it cannot be sent
        """
        if not self._lock.acquire(timeout=TIMEOUT):
            raise TimeoutError("other messages are waiting")
        try:
            self._send(address, message)
        except BaseException:
            # A part of the message may have been sent.
            self._close()
            raise
        finally:
            self._lock.release()

    def _send(self, address: Address, message: bytes) -> None:
        if self._socket is not None:
            if address == self._address and not _is_closed(self._socket):
                try:
                    self._socket.sendall(message)
                    return
                except ConnectionError:
                    pass
            self._close()
        self._socket, self._address = address.connect(), address
        self._socket.sendall(message)

    def close(self) -> None:
        """Close the connection; :meth:`send` opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _is_closed(connection: socket.socket) -> bool:
    """Return whether the daemon has closed a connection.

    The first message after that would be lost without an error.
    """
    connection.setblocking(False)
    try:
        return not connection.recv(1024)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(TIMEOUT)

# SPDX-License-Identifier: Apache-2.0
"""The parts of a request that options add: headers, a token, a client certificate."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

from hooks.webhook.signature import ID, SIGNATURE, TIMESTAMP

#: Headers that the hook sets itself, in lower case.
OWN_HEADERS = (
    *("accept-encoding", "connection", "content-length", "content-type"),
    *("transfer-encoding", ID, TIMESTAMP, SIGNATURE),
)

#: Maximum length of a token, in bytes. Servers limit a header to about as much.
LONGEST_TOKEN = 8192

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[ -~]*")
_TOKEN = re.compile(rb"[!-~]+")


def check_headers(headers: Mapping[str, str]) -> None:
    """Check the value of ``webhook_headers``.

    :param headers: values by name
    :raises ValueError: if a request cannot have one of them; the message has no value
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"webhook_headers: {name!r} is not the name of a header")
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"webhook_headers: the hook sets {name} itself; remove it")
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"webhook_headers: the value of {name} has characters that are not "
                "printable ASCII"
            )


def token_in(path: str) -> str:
    """Return the token in a file.

    :param path: the value of ``webhook_token_file``
    :raises ValueError: if the file cannot be read, or its content is not a token. The
        message has no part of the content
    """
    try:
        with open(path, "rb") as file:
            token = file.read(LONGEST_TOKEN + 1).strip()
    except OSError as error:
        raise ValueError(f"webhook_token_file {path}: {error.strerror}") from None
    if not _TOKEN.fullmatch(token) or len(token) > LONGEST_TOKEN:
        raise ValueError(
            f"webhook_token_file {path}: not a token; write one word of at most "
            f"{LONGEST_TOKEN} printable ASCII characters"
        )
    return token.decode()


def check_client_certificate(certificate: str, key: str) -> None:
    """Check the files of a client certificate.

    :param certificate: the value of ``webhook_client_cert``
    :param key: the value of ``webhook_client_key``, or else the same file
    :raises ValueError: if a file cannot be read, or the two do not fit together
    """
    options = {"webhook_client_cert": certificate, "webhook_client_key": key}
    for option, path in options.items():
        try:
            open(path, "rb").close()
        except OSError as error:
            raise ValueError(f"{option} {path}: {error.strerror}") from None
    try:
        # Without a function, OpenSSL would ask for a passphrase on the terminal.
        ssl.create_default_context().load_cert_chain(certificate, key, _no_passphrase)
    except ssl.SSLError as error:
        subject = f"webhook_client_cert {certificate}"
        if key != certificate:
            subject += f", webhook_client_key {key}"
        raise ValueError(f"{subject}: {error}") from None
    except _PassphraseError:
        raise ValueError(
            f"webhook_client_key {key}: the key has a passphrase; write it without one"
        ) from None


class _PassphraseError(Exception):
    pass


def _no_passphrase() -> str:
    raise _PassphraseError

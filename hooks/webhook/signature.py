# SPDX-License-Identifier: Apache-2.0
"""The headers of Standard Webhooks, by which a receiver verifies a request.

See https://github.com/standard-webhooks/standard-webhooks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

#: The names of the headers.
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

#: The beginning of a secret. The key follows, in base64.
PREFIX = "whsec_"

#: Limits for the length of a key, in bytes.
SHORTEST_KEY, LONGEST_KEY = 24, 64


def key_of(secret: str) -> bytes:
    """Return the key in a secret.

    :param secret: an item of ``webhook_secret``
    :raises ValueError: if it is not a secret; the message has no part of it
    """
    _, prefix, encoded = secret.rpartition(PREFIX)
    try:
        padding = "=" * (-len(encoded) % 4)
        key = base64.b64decode(encoded + padding, validate=True)
    except ValueError:
        key = b""
    if prefix + encoded != secret or not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"webhook_secret: not a secret; write {PREFIX} and {SHORTEST_KEY} to "
            f"{LONGEST_KEY} bytes in base64"
        )
    return key


def signed_headers(
    secrets: Iterable[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers of a request.

    :param secrets: the secrets to sign with, each for one signature; none to omit the
        header of signatures
    :param message_id: the ID of the message, the same in each attempt
    :param timestamp: the time of the attempt, in seconds since the epoch
    :param body: the body of the request
    :raises ValueError: if a secret is not valid
    """
    headers = {ID: message_id, TIMESTAMP: str(timestamp)}
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = [hmac.digest(key_of(one), content, hashlib.sha256) for one in secrets]
    if digests:
        signatures = [f"v1,{base64.b64encode(digest).decode()}" for digest in digests]
        headers[SIGNATURE] = " ".join(signatures)
    return headers

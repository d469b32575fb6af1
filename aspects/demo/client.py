# SPDX-License-Identifier: Apache-2.0
"""The client: openstacksdk over HTTP, and waiting for what it asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: The first microversion with everything that the demo asks for: metadata of
#: access rules and restricted rules are newer than anything else.
MICROVERSION = "2.82"

#: Seconds that Manila has to do what one request asks for.
PATIENCE = 15.0


class Unexpected(Exception):
    """Tell what was expected of Manila, and what it did."""


def connect(endpoint: str, headers: dict[str, str], token: str) -> Any:
    """Return the SDK's proxy for the share API.

    :param endpoint: the URL of version 2
    :param headers: headers for each request
    :param token: the token to authenticate with
    """
    import openstack
    from keystoneauth1 import session, token_endpoint

    # The SDK discovers versions without a token, and the API answers that with
    # an empty 204 under noauthv2: so the token goes with every request.
    url = endpoint + "/"
    connection = openstack.connection.Connection(
        session=session.Session(
            auth=token_endpoint.Token(url, token), additional_headers=headers
        ),
        shared_file_system_endpoint_override=url,
        shared_file_system_api_version="2",
        # Without it some of the SDK's calls speak 2.0, where a share cannot be
        # reverted to a snapshot.
        shared_file_system_default_microversion=MICROVERSION,
    )
    return connection.shared_file_system


def explain(error: Exception) -> str:
    """Write an error of a step in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, Unexpected) else f"{type(error).__name__}: {text}"


def until(
    read: Callable[[], T],
    done: Callable[[T], bool],
    what: str,
    patience: float = PATIENCE,
) -> T:
    """Read again and again until something holds.

    :param read: asks Manila
    :param done: whether that is the answer
    :param what: what is waited for, for the error
    :param patience: seconds
    :returns: the last answer
    :raises Unexpected: if it does not hold in time
    """
    deadline = time.monotonic() + patience
    while True:
        answer = read()
        if done(answer):
            return answer
        if time.monotonic() > deadline:
            raise Unexpected(f"{what}: not after {patience:g} seconds, but {answer}")
        time.sleep(0.05)

# SPDX-License-Identifier: Apache-2.0
"""Connect to Manila with openstacksdk, and wait for the results of requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: The first microversion with all requests of the demo. Metadata of access rules and
#: restricted rules are the newest.
MICROVERSION = "2.82"

#: Seconds in which Manila must complete a request.
TIMEOUT = 15.0


class ScenarioError(Exception):
    """Raised when Manila does not do what a step expects."""


def connect(endpoint: str, headers: dict[str, str], token: str) -> Any:
    """Return the SDK's proxy for the share API.

    :param endpoint: the URL of version 2
    :param headers: headers for each request
    :param token: the token to authenticate with
    """
    import openstack
    from keystoneauth1 import session, token_endpoint

    # The SDK discovers versions without a token, which the API answers with an empty
    # 204 under noauthv2. So every request carries the token.
    url = endpoint + "/"
    connection = openstack.connection.Connection(
        session=session.Session(
            auth=token_endpoint.Token(url, token), additional_headers=headers
        ),
        shared_file_system_endpoint_override=url,
        shared_file_system_api_version="2",
        # By default some of the SDK's calls use 2.0, which cannot revert a share to a
        # snapshot.
        shared_file_system_default_microversion=MICROVERSION,
    )
    return connection.shared_file_system


def explain(error: Exception) -> str:
    """Return the error of a step as one line of text."""
    text = " ".join(str(error).split())
    return (
        text if isinstance(error, ScenarioError) else f"{type(error).__name__}: {text}"
    )


def until(
    read: Callable[[], T],
    done: Callable[[T], bool],
    subject: str,
    timeout: float = TIMEOUT,
) -> T:
    """Poll until a condition holds.

    :param read: returns the current answer of Manila
    :param done: whether an answer is the expected one
    :param subject: the subject of the error message
    :param timeout: the maximum time to wait, in seconds
    :returns: the expected answer
    :raises ScenarioError: if the condition does not hold in time
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = read()
        if done(answer):
            return answer
        if time.monotonic() > deadline:
            raise ScenarioError(
                f"{subject}: timed out after {timeout:g} seconds, last answer: {answer}"
            )
        time.sleep(0.05)

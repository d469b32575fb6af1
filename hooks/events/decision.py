# SPDX-License-Identifier: Apache-2.0
"""Decisions about a call, as JSON from a receiver or a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import aspects
from hooks.events.errors import InvalidDecisionError

#: The maximum size of a decision, in bytes.
MAX_SIZE = 65536

#: The maximum length of a reason, in characters.
MAX_REASON = 1000

#: The maximum length of the name of an argument, in characters.
MAX_NAME = 100


class Decision(NamedTuple):
    """The decision of a receiver about a call."""

    allowed: bool = True
    reason: str = ""
    """the reason of a denial; may be empty, and may have secrets"""
    arguments: dict[str, Any] | None = None
    """new values for arguments of an allowed call, by parameter name"""


def decision_in(answer: bytes) -> Decision:
    """Return the decision in the answer of a receiver.

    Nothing but ``allowed`` can turn a denial into an error.

    :param answer: a JSON object with ``allowed`` and optionally ``reason`` and
        ``arguments``; further keys are ignored. An empty answer allows the call
    :raises InvalidDecisionError: if it is anything else. The message has no part of it
    """
    if not answer.strip():
        return Decision()
    given = object_in(answer)
    if given is None:
        raise InvalidDecisionError("the answer is not a JSON object")
    allowed = given.get("allowed")
    if not isinstance(allowed, bool):
        raise InvalidDecisionError("the answer has no allowed that is true or false")
    if not allowed:
        return Decision(False, reason_in(given))
    return Decision(arguments=arguments_in(given))


def object_in(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a text consists of; None if it is anything else.

    :param text: the text
    """
    try:
        value = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def reason_in(given: Mapping[str, Any]) -> str:
    """Return the reason in an object; empty if there is none.

    :param given: the object
    """
    reason = given.get("reason")
    return reason if isinstance(reason, str) else ""


def arguments_in(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments in an object; None if there are none.

    :param given: the object
    :raises InvalidDecisionError: if they are not an object, or a key cannot be the name
        of a parameter
    """
    arguments = given.get("arguments")
    if arguments is None:
        return None
    if not isinstance(arguments, dict):
        raise InvalidDecisionError("arguments is not a JSON object")
    for name in arguments:
        if len(name) > MAX_NAME or not name.isidentifier():
            raise InvalidDecisionError("a key of arguments is not a parameter name")
    return arguments


def short_line(
    text: str,
    context: Any,
    arguments: Mapping[str, Any],
    *,
    secrets: Iterable[Any] = (),
    configuration: Any = None,
) -> str:
    """Return a text without secrets, as one line of at most :data:`MAX_REASON`.

    :param text: the text
    :param context: the request's context, which has a token
    :param arguments: the arguments of the call by name
    :param secrets: further secret values
    :param configuration: the hook's ``configuration``, for its secret options
    """
    safe = aspects.without_secrets(
        text, context, arguments, secrets=secrets, configuration=configuration
    )
    printable = "".join(char if char.isprintable() else " " for char in safe)
    return " ".join(printable.split())[:MAX_REASON]

# SPDX-License-Identifier: Apache-2.0
"""The one place where secrets are taken out of what is written."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_NAME = (
    r"passw|pswd|pwd|secret|token|credential|passphrase|keyring|signature|"
    r"(?<![a-z])(?:pass|sig)(?![a-z])|"
    r"(?:access|api|auth|encryption|private|ssh)[ _-]?key"
)
_SECRET = re.compile(_NAME, re.IGNORECASE)

# What is no secret after such a name or "Bearer", but how a message goes on.
_PROSE = (
    r"(?!(?:an?|are|auth\w*|cannot|could|denied|does|expired|failed|false|has|invalid|"
    r"is|missing|must|no|none|not|null|required|should|the|token|true|unknown|was|"
    r"wrong)(?![^\s.,;:!?\"')\]}]))"
)
_WORD = _PROSE + r"[^\s,;&\"'()\[\]{}<>\\]+"

# Each begins with what stays. Nothing in them is read again and again: texts come
# from anywhere, and may be long.
_FORMS = [
    re.compile(form, re.IGNORECASE | re.DOTALL)
    for form in (
        # The password in a URL: scheme://user:password@host.
        r"(://[^\s/:@]*:)[^\s/]+(?=@)",
        # name=value or "name": "value", however deep it is in other texts.
        rf"((?:{_NAME})[\w-]{{0,40}}\\*[\"']?[ \t]*[=:](?!//)[ \t]*"
        r"(?:[bu]?(?P<quote>\\*[\"']))?)"
        rf"(?(quote)(?:(?!(?P=quote))(?:\\.|[^\\]))+|{_WORD})",
        # The headers of HTTP: a scheme, and what it takes.
        rf"(\bbearer[ ]+|\bauthorization\\*[\"']?[ \t]*[=:][ \t]*\\*[\"']?{_PROSE}"
        rf"(?:[\w-]{{1,40}}[ ]+)?){_WORD}",
        # The key of a user of Ceph.
        r"((?<![a-z0-9+/]))AQ[a-z0-9+/]{36}==",
    )
]


def text_of(
    error: BaseException,
    context: Any = None,
    arguments: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of an error in one line, without secrets that it may repeat.

    :param error: the error
    :param context: the context of the call that it came of
    :param arguments: the arguments of that call by name
    """
    try:
        text = without_secrets(str(error), context, arguments or {})
    except Exception:
        # Nobody who tells of an error is to fail for that.
        return "(it has no text)"
    return " ".join(text.split())


def without_secrets(text: str, context: Any, arguments: Mapping[str, Any]) -> str:
    """Return a text without the secrets that it may repeat.

    :param text: e.g. the text of an error
    :param context: the request's context, which has a token
    :param arguments: the arguments of the call, e.g. rules with access keys
    :return: the text with ``***`` for each of them
    """
    secrets = set(_secrets(arguments, 6))
    for name in ("auth_token", "service_token"):
        if isinstance(token := getattr(context, name, None), str) and token:
            secrets.add(token)
    # Also as Python or JSON write it, as in what a program printed.
    written = {repr(s)[1:-1] for s in secrets} | {json.dumps(s)[1:-1] for s in secrets}
    for secret in sorted(secrets | written, key=len, reverse=True):
        text = text.replace(secret, "***")
    # Not at the top: what it compiles takes longer than all else here.
    from oslo_utils import strutils

    for form in _FORMS:
        text = form.sub(r"\1***", text)
    return str(strutils.mask_password(text))


def _secrets(value: Any, depth: int, secret: bool = False) -> Iterator[str]:
    """Yield the strings and numbers in nested data that stand under a secret name.

    :param value: the data: mappings, lists, objects, models
    :param depth: how deep to look
    :param secret: whether the data stands under a secret name itself
    """
    if isinstance(value, bytes):
        # As it is written, less b''.
        value = repr(value)[2:-1]
    elif isinstance(value, int) and not isinstance(value, bool) and value > 999:
        # One that is shorter is in too many other numbers.
        value = str(value)
    if isinstance(value, str):
        if secret and value:
            yield value
    elif depth == 0 or isinstance(value, (type, types.FunctionType)):
        return
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _secrets(item, depth - 1, secret)
    else:
        for key, item in _items(value):
            named = secret or bool(_SECRET.search(str(key)))
            yield from _secrets(item, depth - 1, named)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the names and values in a mapping, a model or any object."""
    try:
        if not isinstance(value, Mapping) and hasattr(value, "to_dict"):
            value = value.to_dict()
        return list(
            value.items() if isinstance(value, Mapping) else vars(value).items()
        )
    except Exception:
        return ()

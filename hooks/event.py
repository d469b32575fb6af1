# SPDX-License-Identifier: Apache-2.0
"""What a hook tells of a join point: the data of an event, without secrets."""

from __future__ import annotations

import datetime
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oslo_utils import strutils

import aspects

#: Which id of which driver argument is told under which name.
_IDS = (
    ("share", "share_id", "share_instance_id"),
    ("snapshot", "snapshot_id", "snapshot_instance_id"),
    ("replica", "share_id", "replica_id"),
    ("new_replica", "share_id", "replica_id"),
    ("replica_snapshots", "snapshot_id", None),
    ("share_server", None, "share_server_id"),
    ("src_share_server", None, "share_server_id"),
)

_SECRET = re.compile(
    r"passw|pswd|secret|token|access_?key|private_?key|auth_?key|credential|passphrase",
    re.IGNORECASE,
)


def data_of(
    context: Any,
    operation: aspects.Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    error: BaseException | None = None,
    duration: float | None = None,
) -> dict[str, Any]:
    """Return what there is to tell of one ending of a join point.

    :param context: the request's context
    :param operation: the operation
    :param args: the positional arguments that the hook got
    :param kwargs: the keyword arguments that the hook got
    :param error: what the caller gets instead of a result
    :param duration: seconds since the join point began, or None if unknown
    :return: plain data, ready for JSON
    """
    arguments = operation.arguments(args, kwargs)
    data = {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "request_id": getattr(context, "request_id", None),
        "project_id": getattr(context, "project_id", None),
        "user_id": getattr(context, "user_id", None),
        "backend": operation.backend,
        "host": operation.host,
        "operation": str(operation),
        "method": operation.method,
        **ids_of(arguments),
        "outcome": outcome_of(error),
        "duration": None if duration is None else round(duration, 6),
    }
    if error is not None:
        data["error_type"] = type(error).__name__
        data["error"] = without_secrets(_text(error), context, arguments)
    return data


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def outcome_of(error: BaseException | None) -> str:
    """Return ``success``, ``veto`` or ``failure``."""
    if error is None:
        return "success"
    return "veto" if isinstance(error, aspects.Veto) else "failure"


def ids_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of the share, snapshot, replica or server in a call.

    A driver gets a share *instance* as ``share`` (and the instance of a
    snapshot as ``snapshot``), which has the id of the share beside its own.

    :param arguments: the call's arguments by name
    """
    ids: dict[str, str] = {}
    for argument, whole, own in _IDS:
        value = arguments.get(argument)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        if value is None:
            continue
        parent = _get(value, whole) if whole else None
        if whole and (parent or own):
            ids.setdefault(whole, str(parent or _get(value, "id")))
        if own and (parent or not whole):
            ids[own] = str(_get(value, "id"))
        if argument == "snapshot" and (share := _get(value, "share_id")):
            ids.setdefault("share_id", str(share))
    return {name: value for name, value in ids.items() if value != "None"}


def _get(value: Any, key: str) -> Any:
    # A database model may have to load a column and fail: an id that is not
    # to be had must not make a hook fail.
    try:
        return value[key] if hasattr(value, "__getitem__") else getattr(value, key)
    except Exception:
        return None


def without_secrets(text: str, context: Any, arguments: Mapping[str, Any]) -> str:
    """Return a text without the secrets that it may repeat.

    :param text: e.g. the text of an error
    :param context: the request's context, which has a token
    :param arguments: the arguments of the call, e.g. rules with access keys
    :return: the text with ``***`` for each of them
    """
    secrets = set(_secrets(arguments, 6))
    if token := getattr(context, "auth_token", None):
        secrets.add(token)
    # Also as Python or JSON write it, as in what a program printed.
    written = {repr(s)[1:-1] for s in secrets} | {json.dumps(s)[1:-1] for s in secrets}
    for secret in sorted(secrets | written, key=len, reverse=True):
        text = text.replace(secret, "***")
    return str(strutils.mask_password(text))


def _secrets(value: Any, depth: int, secret: bool = False) -> Iterator[str]:
    """Yield the strings in nested data that stand under a secret name.

    :param value: the data: mappings, lists, objects, models
    :param depth: how deep to look
    :param secret: whether the data stands under a secret name itself
    """
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

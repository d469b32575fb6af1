# SPDX-License-Identifier: Apache-2.0
"""Look up what a hook needs to know of a share, but Manila does not pass to drivers.

Under Manila the answers come from its database, which ``aspects.manila`` registers
here, and elsewhere from the share itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

#: Maximum number of answers that are kept for one request context.
KEPT = 1000


class ShareType(NamedTuple):
    """A share type; that of a share without one has neither ID nor name."""

    id: str | None
    """the ID"""
    name: str | None
    """the name"""
    extra_specs: Mapping[str, str]
    """the extra specs by key, also those that users do not see"""


class Source(Protocol):
    """Source of the answers."""

    def metadata(self, share: Any) -> Mapping[str, str] | None:
        """Return the metadata of a share, or None if the share is unknown."""

    def share_type(self, share: Any) -> ShareType | None:
        """Return the share type of a share, or None if the type is unknown."""


# The source that knows shares better than they do themselves, and the answers of each
# context: question and ID of the share -> the share and the answer.
_source: Source | None = None
_answers: weakref.WeakKeyDictionary[Any, dict[tuple[str, int], tuple[Any, Any]]] = (
    weakref.WeakKeyDictionary()
)


def register(source: Source | None) -> None:
    """Set the source of the answers.

    :param source: the source; a share that it does not know is its own source. None
        for no source
    """
    global _source
    _source = source


def share_metadata(context: Any, share: Any) -> dict[str, str]:
    """Return the metadata that users set on a share.

    The value of ``share["metadata"]`` is something else in Manila's database models and
    in its dicts of replicas. The metadata is read once for each request context and
    share object, so that all hooks of a call share one query.

    :param context: the request's context
    :param share: a share, share instance or replica, as a hook gets it: a database
        model or a dict. Outside Manila, a dict with a ``metadata`` dict
    :return: the values by key; empty if there is no metadata
    :raises Exception: as Manila raises it, if its database cannot be read
    """
    return dict(_answer(context, share, "metadata", _own_metadata))


def share_type(context: Any, share: Any) -> ShareType:
    """Return the share type of a share, with its extra specs.

    It is read once for each request context and share object, so that all hooks of a
    call share one query.

    :param context: the request's context
    :param share: as for :func:`share_metadata`. Outside Manila, a dict with a
        ``share_type`` dict, or with ``share_type_id`` or ``share_type_name``
    :return: the share type; without ID, name and extra specs if there is none
    :raises Exception: as Manila raises it, if its database cannot be read
    """
    found: ShareType = _answer(context, share, "share_type", _own_type)
    return found._replace(extra_specs=dict(found.extra_specs))


def _answer(context: Any, share: Any, question: str, own: Any) -> Any:
    try:
        answers = _answers.setdefault(context, {})
    except TypeError:
        # The context cannot be referenced weakly. It is not Manila's.
        answers = {}
    key = question, id(share)
    if (known := answers.get(key)) is not None:
        return known[1]
    answer = getattr(_source, question)(share) if _source is not None else None
    if answer is None:
        answer = own(share)
    if len(answers) >= KEPT:
        answers.clear()
    # The share is kept too, because the ID of a freed object is reused.
    answers[key] = share, answer
    return answer


def value(thing: Any, name: str) -> Any:
    """Return a value of a dict, or an attribute of another object.

    :param thing: the dict or object
    :param name: the key or attribute
    :return: the value; None if there is none, or if reading it fails
    """
    # A database model loads some attributes when they are read, which may fail.
    try:
        return thing[name] if isinstance(thing, Mapping) else getattr(thing, name)
    except Exception:
        return None


def _own_metadata(share: Any) -> Mapping[str, str]:
    return _mapping(value(share, "metadata"))


def _own_type(share: Any) -> ShareType:
    declared = value(share, "share_type")
    return ShareType(
        value(declared, "id") or value(share, "share_type_id"),
        value(declared, "name") or value(share, "share_type_name"),
        _mapping(value(declared, "extra_specs")),
    )


def _mapping(found: Any) -> Mapping[str, str]:
    return found if isinstance(found, Mapping) else {}

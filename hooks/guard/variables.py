# SPDX-License-Identifier: Apache-2.0
"""The variables of rules: their types, and their values in a call or on a tick."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import aspects
from hooks.events.values import get
from hooks.guard.subjects import new_size, subjects_of
from hooks.guard.windows import UTC

#: Parameters that are lists of access rules, of those that a call adds or changes.
_ACCESS_RULES = ("add_rules", "update_rules")

#: Keys whose values are secret. The variable ``arguments`` does not have them.
_SECRET = ("access_key", "password", "encryption_key_ref")

#: The maximum depth of ``arguments``, since dicts may refer to each other in circles.
_MAX_DEPTH = 8


class Scene:
    """The share, access rule, etc. that one evaluation of a rule is about.

    :param context: the request's context
    :param operation: the operation
    :param arguments: the call's arguments by name
    :param now: the current time
    :param share: a share of the call, as a dict or a database model
    :param snapshot: a snapshot of the call
    :param access: an access rule of the call
    :param new_size: the size that the call gives to the share
    """

    def __init__(
        self,
        context: Any,
        operation: str,
        arguments: Mapping[str, Any],
        now: datetime.datetime,
        share: Any = None,
        snapshot: Any = None,
        access: Any = None,
        new_size: int | None = None,
    ) -> None:
        self.context = context
        self.operation = operation
        self.arguments = arguments
        self.now = now
        self.share = share
        self.snapshot = snapshot
        self.access = access
        self.new_size = new_size
        self._values: dict[str, Any] = {}

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of variables, without those that are not known.

        A value is read once, for all rules.

        :param names: the names of the variables
        :raises Exception: as Manila raises it, if its database cannot be read
        """
        known = self._values
        for name in names:
            if name not in known:
                known[name] = VARIABLES[name].read(self)
        return {name: known[name] for name in names if known[name] is not None}


class Variable(NamedTuple):
    """A variable of rules."""

    type: str
    """its type in CEL"""
    read: Callable[[Scene], Any]
    """returns its value; None if it is not known"""
    help: str


def _text(value: Any) -> str:
    """Return the text of a value, as an expression can have it."""
    text = "" if value is None else str(value)
    if text.isascii() and "\0" not in text:
        return text
    # The evaluator cuts a text at a null character, and rejects half a surrogate pair.
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _share(name: str) -> Callable[[Scene], str]:
    return lambda scene: _text(get(scene.share, name))


def _access(name: str) -> Callable[[Scene], str]:
    return lambda scene: _text(get(scene.access, name))


def _id_of(thing: Any, parent: str) -> str:
    """Return the ID that users know, which an instance has beside its own."""
    return _text(get(thing, parent) or get(thing, "id"))


def _size(thing: Any) -> int | None:
    size = get(thing, "size")
    return size if isinstance(size, int) else None


def _name_of_snapshot(scene: Scene) -> str:
    snapshot = scene.snapshot
    name = get(snapshot, "display_name")
    return _text(name or get(get(snapshot, "snapshot"), "display_name"))


def _share_type(scene: Scene) -> aspects.ShareType:
    return aspects.share_type(scene.context, scene.share)


def _strings(values: Mapping[str, Any]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in values.items()}


#: The variables of a share, which are those of a tick too.
SHARE_VARIABLES: Mapping[str, Variable] = {
    "share.id": Variable(
        "string", lambda scene: _id_of(scene.share, "share_id"), "ID of the share"
    ),
    "share.name": Variable("string", _share("display_name"), "name that the user gave"),
    "share.project": Variable("string", _share("project_id"), "ID of its project"),
    "share.size": Variable("int", lambda scene: _size(scene.share), "size in GiB"),
    "share.protocol": Variable("string", _share("share_proto"), "e.g. ``NFS``"),
    "share.status": Variable("string", _share("status"), "e.g. ``available``"),
    "share.metadata": Variable(
        "map(string, string)",
        lambda scene: _strings(aspects.share_metadata(scene.context, scene.share)),
        "metadata that users set",
    ),
    "share.type.id": Variable(
        "string", lambda scene: _text(_share_type(scene).id), "ID of the share type"
    ),
    "share.type.name": Variable(
        "string", lambda scene: _text(_share_type(scene).name), "name of the share type"
    ),
    "share.type.extra_specs": Variable(
        "map(string, string)",
        lambda scene: _strings(_share_type(scene).extra_specs),
        "extra specs of the share type",
    ),
    "now": Variable("timestamp", lambda scene: scene.now, "current time"),
    "backend": Variable(
        "string",
        lambda scene: _text(getattr(scene.operation, "backend", None)),
        "section of the backend; ``share_api`` in the API",
    ),
}

#: The variables of a call.
VARIABLES: Mapping[str, Variable] = {
    "operation": Variable(
        "string", lambda scene: str(scene.operation), "name of the operation"
    ),
    **SHARE_VARIABLES,
    "new_size": Variable(
        "int",
        lambda scene: scene.new_size,
        "size in GiB that the call gives to the share: of a new share, or after "
        "extending or shrinking",
    ),
    "snapshot.id": Variable(
        "string",
        lambda scene: _id_of(scene.snapshot, "snapshot_id"),
        "ID of the snapshot",
    ),
    "snapshot.name": Variable("string", _name_of_snapshot, "name that the user gave"),
    "snapshot.size": Variable(
        "int", lambda scene: _size(scene.snapshot), "size in GiB"
    ),
    "access.type": Variable("string", _access("access_type"), "e.g. ``ip``"),
    "access.to": Variable("string", _access("access_to"), "e.g. ``192.0.2.0/24``"),
    "access.level": Variable("string", _access("access_level"), "``rw`` or ``ro``"),
    "user.id": Variable(
        "string",
        lambda scene: _text(get(scene.context, "user_id")),
        "ID of the user who made the request",
    ),
    "user.project": Variable(
        "string",
        lambda scene: _text(get(scene.context, "project_id")),
        "ID of the user's project",
    ),
    "user.roles": Variable(
        "list(string)",
        lambda scene: [_text(role) for role in get(scene.context, "roles") or ()],
        "roles of the user in that project",
    ),
    "arguments": Variable(
        "map(string, dyn)",
        lambda scene: _plain(dict(scene.arguments)),
        "arguments of the call by name, as far as they are plain data; a time is a "
        "text",
    ),
}


def types_of(variables: Mapping[str, Variable]) -> dict[str, str]:
    """Return the types of variables by name.

    :param variables: the variables
    """
    return {name: variable.type for name, variable in variables.items()}


class Parts(NamedTuple):
    """The parts of a call that a rule is about: ``share``, ``snapshot``, ``access``."""

    needed: frozenset[str]
    """those that the call must have, since the condition names them"""
    named: frozenset[str]
    """those that the condition or the reason names"""
    sized: bool
    """whether the call must give a size to the share"""

    @classmethod
    def of(cls, condition: Iterable[str], reason: Iterable[str]) -> Parts:
        """Return the parts that variables describe.

        :param condition: the variables of the condition
        :param reason: the variables of the reason
        """
        needed, named = (
            # The new size is that of a share.
            frozenset(
                "share" if name == "new_size" else name.partition(".")[0]
                for name in names
            )
            for names in (condition, (*condition, *reason))
        )
        return cls(needed, named, "new_size" in condition)


class Call:
    """A call or a request that rules judge.

    :param context: the request's context
    :param operation: the operation
    :param arguments: the arguments by the names of their parameters in Manila
    :param now: the current time
    """

    def __init__(
        self,
        context: Any,
        operation: str,
        arguments: Mapping[str, Any],
        now: datetime.datetime,
    ) -> None:
        self.context = context
        self.operation = operation
        self.arguments = arguments
        self.now = now
        subjects = subjects_of(operation, context, arguments)
        snapshots = [found.thing for found in subjects if found.is_snapshot]
        if operation == "create_snapshot" and "snapshot" not in arguments:
            # The snapshot of a request to create one exists only in its arguments.
            size = get(arguments.get("share"), "size")
            snapshots.append({"display_name": arguments.get("name"), "size": size})
        self._parts: dict[str, list[Any]] = {
            "share": [found for found in subjects if found.is_share],
            "snapshot": snapshots,
            "access": list(_access_rules_in(operation, arguments)),
        }
        self._scenes: dict[Parts, list[Scene]] = {}

    def scenes(self, parts: Parts) -> Sequence[Scene]:
        """Return what a rule has to judge: each share, each access rule, etc.

        A call that lacks what the rule needs, e.g. an access rule, has no scene: the
        rule does not apply.

        :param parts: the parts of a call that the rule is about
        """
        if parts not in self._scenes:
            self._scenes[parts] = [*self._new_scenes(parts)]
        return self._scenes[parts]

    def _new_scenes(self, parts: Parts) -> Iterator[Scene]:
        choices = [
            found or ([] if part in parts.needed else [None])
            if part in parts.named
            else [None]
            for part, found in self._parts.items()
        ]
        call = (self.context, self.operation, self.arguments, self.now)
        for share, snapshot, access in itertools.product(*choices):
            size = share and new_size(self.operation, share, self.arguments)
            if size is not None or not parts.sized:
                yield Scene(*call, share and share.thing, snapshot, access, size)


def _access_rules_in(operation: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the access rules that a call adds, changes or deletes."""
    if "access" in arguments:
        rule, values = arguments["access"], arguments.get("values")
        if isinstance(values, Mapping):
            # A request to change the level of a rule.
            rule = {name: get(rule, name) for name in ("access_type", "access_to")}
            rule.update(values)
        yield rule
    elif "access_to" in arguments:
        # A request to add a rule, which exists only in the arguments.
        yield arguments
    lists = ("delete_rules",) if operation == "deny_access" else _ACCESS_RULES
    for name in lists:
        yield from arguments.get(name) or ()


def _plain(value: Any, depth: int = 0) -> Any:
    """Return the plain data in a value; None for any other object."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, datetime.datetime):
        # Manila's times are in UTC, without a time zone.
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, int):
        # CEL has integers of 64 bits.
        return value if -(2**63) <= value < 2**63 else float(value)
    if depth == _MAX_DEPTH:
        return None
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {
            _text(key): _plain(item, depth + 1)
            for key, item in value.items()
            if key not in _SECRET
        }
    return None

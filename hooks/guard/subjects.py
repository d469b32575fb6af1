# SPDX-License-Identifier: Apache-2.0
"""Find the shares of a call, and the origin of the call."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import aspects
from hooks.events.values import get

#: The section with the hooks of Manila's share API. Its methods have other parameters
#: than the driver methods of the same names.
_API = "share_api"


def arguments_of(
    operation: aspects.Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by the names of their parameters in Manila.

    :param operation: the operation
    :param args: the positional arguments, without the context
    :param kwargs: the keyword arguments, without the context
    """
    if operation.backend == _API:
        return operation.arguments(args, kwargs)
    return operation.manila_arguments(args, kwargs)


# -- the origin of a call ------------------------------------------------------

#: The statuses of a share or snapshot that Manila deletes on a timer, because its
#: deletion was deferred or failed.
_DEFERRED = ("deferred_deleting", "error_deferred_deleting")


def is_manilas_own(
    context: Any,
    operation: aspects.Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> bool:
    """Return whether Manila runs an operation by itself, without a user's request.

    A veto of such an operation would take down the backend, a replica, a migration or
    a share server, without denying any user's request.

    :param context: the context of the call
    :param operation: the operation
    :param args: the positional arguments, without the context
    :param kwargs: the keyword arguments, without the context
    """
    if not operation.requested:
        return True
    # Manila's admin context has neither user nor project. A context without these
    # attributes is not Manila's, so the call is treated as a user's.
    if any(
        getattr(context, name, "") is not None for name in ("user_id", "project_id")
    ):
        return False
    if getattr(context, "is_placeholder", False):
        # Nothing is known about the request. Of the operations whose driver methods
        # take no context, Manila runs only this one on a timer.
        return operation == "delete_share_server"
    # A deferred deletion is a user's request.
    subjects = subjects_in(arguments_of(operation, args, kwargs))
    return not any(subject.status in _DEFERRED for subject in subjects)


# -- the subjects of a call ----------------------------------------------------

#: Keys under which a snapshot, share group, backup or share server has its shares.
_PARTS = (
    "share",
    "shares",
    "share_instance",
    "share_instances",
    "share_group",
    "share_group_snapshot_members",
    "active_replica_snapshot",
    "share_replica_snapshot",
    # Of the request in share_server_migration_check_compatibility().
    "shares_req_spec",
    "share_properties",
    "share_instance_properties",
)

#: Parameters and keys for snapshots.
_SNAPSHOTS = (
    "snapshot",
    "snapshots",
    "source_snapshots",
    "snapshot_mappings",
    "replica_snapshot",
    "replica_snapshots",
    "active_replica_snapshot",
    "share_replica_snapshot",
    "share_group_snapshot_members",
    "snapshot_data",
)

#: Parameters and keys for shares, even for those of which little is known.
_SHARES = ("share", "shares", "share_instance", "share_instances", "share_data")

#: Parameters and keys for what has shares, but is neither a share nor a snapshot.
_OTHERS = (
    "share_group",
    "share_group_dict",
    "sg_dict",
    "share_group_snapshot",
    "share_group_snapshot_dict",
    "snap_dict",
    "backup",
    "shares_request_spec",
    "share_properties",
    "share_instance_properties",
    "new_project",
)

#: Parameters for what shares depend on. They count only in a call without shares: a new
#: share does not concern the other shares of its share server.
_SURROUNDINGS = (
    "share_server",
    "src_share_server",
    "dest_share_server",
    "destination_share_server",
    "server_details",
    "share_network",
    "old_share_network",
    "new_share_network",
    "share_network_subnet",
)

#: Parameters without shares, which may be long lists.
_UNRELATED = (
    "access",
    "access_rules",
    "add_rules",
    "delete_rules",
    "update_rules",
    "share_access_rules",
    "snapshot_access_rules",
    "share_instance_rules",
    "current_network_allocations",
    "new_network_allocations",
    "network_info",
    "new_network_info",
    "security_services",
    "new_security_service",
    "current_security_service",
    "metadata",
    "driver_options",
)

#: The maximum number of steps from an argument to a share, as database models may refer
#: to each other in circles.
_MAX_DEPTH = 5


class Subject(NamedTuple):
    """The properties of a share in a call, or of a snapshot, share server, etc."""

    project: str | None
    """the project ID"""
    share_type: tuple[str, ...]
    """the name and the ID of the share type, as far as they are known"""
    status: str | None
    """the status of the share or snapshot"""
    thing: Any
    """the share, snapshot, etc.: a dict or a database model"""
    name: str
    """the parameter or the key under which the call has it"""

    @classmethod
    def of(cls, thing: Any, name: str = "") -> Subject:
        """Return the properties of a share.

        :param thing: a dict or a database model
        :param name: the parameter or the key under which the call has it
        """
        # A plain dict needs no protection against errors, and a call may have many.
        read = thing.get if type(thing) is dict else functools.partial(get, thing)
        label, id_ = read("share_type_name"), read("share_type_id")
        if (share_type := read("share_type")) is not None:
            label, id_ = get(share_type, "name") or label, id_ or get(share_type, "id")
        names = tuple(text for text in (label, id_) if text is not None)
        return cls(read("project_id"), names, read("status"), thing, name)

    @property
    def is_known(self) -> bool:
        """True if the call has any property of it."""
        return bool(self.project or self.share_type or self.status)

    @property
    def is_snapshot(self) -> bool:
        """True for a snapshot of a share."""
        return self.name in _SNAPSHOTS

    @property
    def is_share(self) -> bool:
        """True for a share, share instance or replica.

        A driver may have methods that Manila does not know, so what is not known to be
        anything else is a share.
        """
        return self.name in _SHARES or not (
            self.name in _SNAPSHOTS
            or self.name in _OTHERS
            or self.name in _SURROUNDINGS
        )


def subjects_in(arguments: Mapping[str, Any]) -> list[Subject]:
    """Return the subjects of a call: its shares, or else its share servers.

    :param arguments: the call's arguments by name
    """
    shares = [
        (name, value)
        for name, value in arguments.items()
        if name not in _UNRELATED and name not in _SURROUNDINGS
    ]
    if isinstance(mappings := arguments.get("snapshot_mappings"), Mapping):
        shares += [("snapshot_mappings", value) for value in mappings.values()]
    found = list(_walk(shares))
    if not any(subject.project or subject.share_type for subject in found):
        found += _walk((name, arguments.get(name)) for name in _SURROUNDINGS)
    # The share is going to belong to this project.
    if project := arguments.get("new_project"):
        found.append(Subject(project, (), None, None, "new_project"))
    return found


def subjects_of(
    operation: str, context: Any, arguments: Mapping[str, Any]
) -> list[Subject]:
    """Return the subjects of a call or a request.

    :param operation: the operation
    :param context: the request's context
    :param arguments: the arguments by name
    """
    subjects = subjects_in(arguments)
    if operation == "create_share" and "size" in arguments:
        # The share of a request to create one exists only in its arguments.
        share = {
            "project_id": get(context, "project_id"),
            "display_name": arguments.get("name"),
            **{
                name: arguments.get(name)
                for name in ("size", "share_proto", "share_type", "metadata")
            },
        }
        subjects.append(Subject.of(share, "share"))
    return subjects


def _walk(values: Iterable[tuple[str, Any]], depth: int = 0) -> Iterator[Subject]:
    """Yield the subjects among values, and within them.

    :param values: dicts, database models and lists of them, each with its name; others
        are ignored
    :param depth: the number of steps to get to the values
    """
    for name, value in values:
        if value is None or isinstance(value, (str, int, float)):
            continue
        if isinstance(value, (list, tuple)):
            if depth < _MAX_DEPTH:
                yield from _walk(((name, item) for item in value), depth + 1)
            continue
        subject = Subject.of(value, name)
        if subject.is_known or name in _SHARES or name in _SNAPSHOTS:
            yield subject
        if depth < _MAX_DEPTH and not (subject.project and subject.share_type):
            yield from _walk(_parts(value), depth + 1)


def _parts(thing: Any) -> list[tuple[str, Any]]:
    """Return the parts of a snapshot, share group, etc. that may have shares."""
    names: Iterable[str] = _PARTS
    loaded = getattr(thing, "__dict__", {})
    if isinstance(thing, Mapping):
        names = [name for name in _PARTS if name in thing]
    elif "_sa_instance_state" in loaded:
        # A database model would load other attributes now, or fail to.
        names = [name for name in _PARTS if name in loaded]
    return [(name, get(thing, name)) for name in names]


#: Operations with new shares, of which the call has the size.
_CREATING = (
    "create_share_instance",
    "create_share",
    "create_share_replica",
    "create_share_group",
    "manage_share",
)


def new_size(
    operation: str, subject: Subject, arguments: Mapping[str, Any]
) -> int | None:
    """Return the size in GiB that a call gives to a share.

    :param operation: the operation
    :param subject: a share of the call
    :param arguments: the call's arguments by name
    :return: None if the call does not change the size, or it is not known
    """
    size = None
    if operation in ("extend_share", "shrink_share"):
        size = arguments.get("new_size")
    # Of the replicas of a share, only the new one counts.
    elif operation in _CREATING and (
        subject.name == "new_replica"
        if "new_replica" in arguments
        else subject.name != "parent_share"
    ):
        size = get(subject.thing, "size")
    try:
        return int(size) if size else None
    except (TypeError, ValueError):
        # Manila rejects a request with such a size.
        return None

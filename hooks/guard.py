# SPDX-License-Identifier: Apache-2.0
"""Veto calls by rule: freeze windows, projects, share types and sizes."""

from __future__ import annotations

import datetime
import functools
import re
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from cronsim import CronSim, CronSimError
from oslo_config import cfg

import aspects
from hooks.events.event import get

UTC = datetime.timezone.utc

#: An upper bound of the time by which clocks are put forward or back.
MAX_CLOCK_CHANGE = datetime.timedelta(hours=3)

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class NoValidHost(aspects.Veto):
    """A veto of the size or the share type of a new share.

    Manila selects the text of its user message by the name of the exception's class,
    and knows only this name. The message advises users to try another size or share
    type.
    """


@dataclass(frozen=True)
class Window:
    """A recurring period of time.

    :param text: the configured text
    :param cron: the start times, as five cron fields
    :param duration: the length of each period; clock changes do not affect it
    :param zone: the time zone of ``cron``
    """

    text: str
    cron: str
    duration: datetime.timedelta
    zone: zoneinfo.ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Window:
        """Parse a window, e.g. ``0 22 * * fri 60h Europe/Berlin``.

        :param text: five cron fields, a duration in ``m``, ``h`` or ``d``, and a time
            zone
        :raises ValueError: with the cause, if the text is invalid
        """
        words = text.split()
        if len(words) != 7:
            raise ValueError(
                "expected five cron fields, a duration and a time zone, as in "
                "0 22 * * fri 60h Europe/Berlin"
            )
        cron, duration, zone = " ".join(words[:5]), words[5], words[6]
        try:
            CronSim(cron, datetime.datetime.min)
        except CronSimError as error:
            raise ValueError(f"cron: {error}") from None
        number = re.fullmatch(r"([1-9]\d{0,4})([mhd])", duration)
        if not number:
            raise ValueError(f"{duration!r} is not a duration; write 90m, 60h or 2d")
        try:
            time_zone = zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {zone!r}") from None
        length = datetime.timedelta(**{_UNITS[number[2]]: int(number[1])})
        return cls(text, cron, length, time_zone)

    def end(self, now: datetime.datetime) -> datetime.datetime | None:
        """Return the end of the current period, in the window's time zone.

        :param now: a time, with a time zone
        :return: the end of the period that began last; None outside of the periods
        """
        last = self._last_begin(now)
        return last and (last + self.duration).astimezone(self.zone)

    def _last_begin(self, now: datetime.datetime) -> datetime.datetime | None:
        """Return the start of the current period, or None outside of the periods."""

        def wall(moment: datetime.datetime) -> datetime.datetime:
            return moment.astimezone(self.zone).replace(tzinfo=None, microsecond=0)

        after = now.astimezone(UTC) - self.duration
        earliest = wall(after) - MAX_CLOCK_CHANGE
        last = None
        # Search in wall time: cronsim misses times where clocks change at midnight
        # or by half an hour. Search backwards, as the last start is the one to find.
        for shown in CronSim(self.cron, wall(now) + MAX_CLOCK_CHANGE, reverse=True):
            if shown < earliest:
                break
            first, second = (
                shown.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
                for fold in (0, 1)
            )
            # A wall time that occurs twice is two start times. One that is skipped is
            # the time that it would be without the change; second is before first.
            begins = [b for b in (first, max(first, second)) if after < b <= now]
            if begins and last is None:
                # Where clocks were put back, an earlier wall time may occur later.
                earliest = max(earliest, shown - MAX_CLOCK_CHANGE)
            last = max(filter(None, (last, *begins)), default=None)
        return last


@dataclass(frozen=True)
class Rules:
    """The rules of a guard, as its options define them.

    :param freeze: the periods in which operations are frozen
    :param allowed_projects: project IDs; empty allows all
    :param denied_projects: project IDs
    :param allowed_share_types: share type IDs or names; empty allows all
    :param denied_share_types: share type IDs or names
    :param min_size: the minimum size, in GiB; None for no minimum
    :param max_size: the maximum size, in GiB; None for no maximum
    """

    freeze: tuple[Window, ...]
    allowed_projects: frozenset[str]
    denied_projects: frozenset[str]
    allowed_share_types: frozenset[str]
    denied_share_types: frozenset[str]
    min_size: int | None
    max_size: int | None

    @property
    def concern_shares(self) -> bool:
        """True if a rule depends on the shares of a call."""
        return bool(
            self.allowed_projects
            or self.denied_projects
            or self.allowed_share_types
            or self.denied_share_types
            or self.min_size
            or self.max_size
        )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Rules:
        """Construct the rules from the values of the options.

        :param values: the values by option name
        :raises ValueError: naming the option, its value and the cause, if one is
            invalid
        """
        freeze = []
        # An empty value clears the value inherited from [backend] or [DEFAULT].
        for text in filter(None, values["guard_freeze"]):
            try:
                freeze.append(Window.parse(text))
            except ValueError as error:
                raise ValueError(f"guard_freeze = {text}: {error}") from None
        minimum, maximum = values["guard_min_size"], values["guard_max_size"]
        if minimum is not None and maximum is not None and minimum > maximum:
            raise ValueError(
                f"guard_min_size = {minimum}: exceeds guard_max_size = {maximum}"
            )
        return cls(
            freeze=tuple(freeze),
            allowed_projects=frozenset(values["guard_allowed_projects"]),
            denied_projects=frozenset(values["guard_denied_projects"]),
            allowed_share_types=frozenset(values["guard_allowed_share_types"]),
            denied_share_types=frozenset(values["guard_denied_share_types"]),
            min_size=minimum,
            max_size=maximum,
        )


class GuardHook(aspects.HookBase):
    """Veto the calls that a rule denies, before the driver is called.

    It needs ``enable_pre_hooks``. All options are mutable.

    :raises ValueError: naming the option, if an option is invalid
    """

    required_methods: ClassVar = ("pre",)

    options = (
        cfg.MultiStrOpt(
            "guard_freeze",
            default=[],
            mutable=True,
            help="Period in which the operations are frozen, as in 0 22 * * fri 60h "
            "Europe/Berlin: the start as five cron fields, the duration in m, h or "
            "d, and the time zone. May be given multiple times.",
        ),
        cfg.ListOpt(
            "guard_allowed_projects",
            default=[],
            mutable=True,
            help="IDs of the allowed projects. Empty allows all projects.",
        ),
        cfg.ListOpt(
            "guard_denied_projects",
            default=[],
            mutable=True,
            help="IDs of the denied projects.",
        ),
        cfg.ListOpt(
            "guard_allowed_share_types",
            default=[],
            mutable=True,
            help="IDs or names of the allowed share types. Empty allows all share "
            "types.",
        ),
        cfg.ListOpt(
            "guard_denied_share_types",
            default=[],
            mutable=True,
            help="IDs or names of the denied share types.",
        ),
        cfg.IntOpt(
            "guard_min_size",
            min=1,
            mutable=True,
            help="Minimum size, in GiB, of shares and replicas that are created, or "
            "shrunk.",
        ),
        cfg.IntOpt(
            "guard_max_size",
            min=1,
            mutable=True,
            help="Maximum size, in GiB, of shares and replicas that are created, or "
            "extended.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self._cache: tuple[dict[str, Any], Rules] | None = None
        # Report invalid options when the service starts, not at the first call.
        self.rules()

    def rules(self) -> Rules:
        """Return the current rules.

        :raises ValueError: naming the option, its value and the cause, if one is
            invalid
        """
        values = {opt.name: self.get_config_option(opt.name) for opt in self.options}
        if self._cache is None or values != self._cache[0]:
            self._cache = values, Rules.of(values)
        return self._cache[1]

    def ineffective(self) -> tuple[str, str] | None:
        """Return why the guard vetoes nothing."""
        if not self.hook_operations:
            advice = "list the operations to guard"
            return "the hook has no effect, since hook_operations is empty", advice
        rules = self.rules()
        if not rules.freeze and not rules.concern_shares:
            advice = "set guard_freeze, guard_max_size or another of its rules"
            return "the hook has no effect, since it has no rule", advice
        return super().ineffective()

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        rules = self.rules()
        named = func_name in self.hook_operations
        if not named and _is_manilas_own(context, func_name, args, kwargs):
            return
        _check_freeze(rules, func_name)
        if rules.concern_shares:
            arguments = func_name.arguments(args, kwargs)
            new = func_name in ("create_share_instance", "create_share_replica")
            veto = NoValidHost if new else aspects.Veto
            subjects = subjects_in(arguments)
            projects = [subject.project for subject in subjects if subject.project]
            # A call without shares belongs to the project of the request.
            for project in projects or [get(context, "project_id")]:
                _check_project(rules, project)
            for subject in subjects:
                _check_type(rules, subject.share_type, veto)
            for size in _new_sizes(func_name, arguments, args):
                _check_size(rules, func_name, size, veto)

    def _execute_post_hook(
        self,
        context: Any,
        func_name: Any,
        pre_hook_data: Any,
        driver_action_results: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Do nothing: the call was allowed."""

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: ticks are not operations."""


# -- the rules -----------------------------------------------------------------


def _check_freeze(rules: Rules, operation: str) -> None:
    now = datetime.datetime.now(UTC)
    ends = [(end, w) for w in rules.freeze if (end := w.end(now)) is not None]
    if ends:
        end, window = max(ends, key=lambda pair: pair[0])
        until = end.isoformat(timespec="minutes")
        raise aspects.Veto(
            f"{operation} is frozen until {until} (guard_freeze = {window.text})"
        )


def _check_project(rules: Rules, project: str | None) -> None:
    if project is None:
        return
    if project in rules.denied_projects:
        raise aspects.Veto(f"project {project} is denied (guard_denied_projects)")
    if rules.allowed_projects and project not in rules.allowed_projects:
        raise aspects.Veto(f"project {project} is not allowed (guard_allowed_projects)")


def _check_type(rules: Rules, names: Sequence[str], veto: type[aspects.Veto]) -> None:
    if not names:
        return
    if not rules.denied_share_types.isdisjoint(names):
        raise veto(f"share type {names[0]} is denied (guard_denied_share_types)")
    if rules.allowed_share_types and rules.allowed_share_types.isdisjoint(names):
        raise veto(f"share type {names[0]} is not allowed (guard_allowed_share_types)")


def _check_size(
    rules: Rules, operation: str, size: int, veto: type[aspects.Veto]
) -> None:
    # A share that is too large may shrink, and a share that is too small may grow,
    # even if its new size is still outside of the limits.
    minimum = rules.min_size if operation != "extend_share" else None
    maximum = rules.max_size if operation != "shrink_share" else None
    if minimum is not None and size < minimum:
        raise veto(
            f"size {size} GiB is below the minimum of {minimum} GiB "
            f"(guard_min_size = {minimum})"
        )
    if maximum is not None and size > maximum:
        raise veto(
            f"size {size} GiB exceeds the maximum of {maximum} GiB "
            f"(guard_max_size = {maximum})"
        )


# -- the origin of a call ------------------------------------------------------

#: The statuses of a share or snapshot that Manila deletes on a timer, because its
#: deletion was deferred or failed.
_DEFERRED = ("deferred_deleting", "error_deferred_deleting")


def _is_manilas_own(
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
    subjects = subjects_in(operation.arguments(args, kwargs))
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

    @classmethod
    def of(cls, thing: Any) -> Subject:
        """Return the properties of a share.

        :param thing: a dict or a database model
        """
        # A plain dict needs no protection against errors, and a call may have many.
        read = thing.get if type(thing) is dict else functools.partial(get, thing)
        name, id_ = read("share_type_name"), read("share_type_id")
        if (share_type := read("share_type")) is not None:
            name, id_ = get(share_type, "name") or name, id_ or get(share_type, "id")
        names = tuple(text for text in (name, id_) if text is not None)
        return cls(read("project_id"), names, read("status"))


def subjects_in(arguments: Mapping[str, Any]) -> list[Subject]:
    """Return the subjects of a call: its shares, or else its share servers.

    :param arguments: the call's arguments by name
    """
    shares = [
        value
        for name, value in arguments.items()
        if name not in _UNRELATED and name not in _SURROUNDINGS
    ]
    if isinstance(mappings := arguments.get("snapshot_mappings"), Mapping):
        shares += mappings.values()
    found = list(_walk(shares))
    if not any(subject.project or subject.share_type for subject in found):
        found += list(_walk([arguments.get(name) for name in _SURROUNDINGS]))
    # The share is going to belong to this project.
    if project := arguments.get("new_project"):
        found.append(Subject(project, (), None))
    return found


def _walk(values: Iterable[Any], depth: int = 0) -> Iterator[Subject]:
    """Yield the subjects among values, and within them.

    :param values: dicts, database models and lists of them; others are ignored
    :param depth: the number of steps to get to the values
    """
    for value in values:
        if value is None or isinstance(value, (str, int, float)):
            continue
        if isinstance(value, (list, tuple)):
            if depth < _MAX_DEPTH:
                yield from _walk(value, depth + 1)
            continue
        subject = Subject.of(value)
        if any(subject):
            yield subject
        if depth < _MAX_DEPTH and not (subject.project and subject.share_type):
            yield from _walk(_parts(value), depth + 1)


def _parts(thing: Any) -> list[Any]:
    """Return the parts of a snapshot, share group, etc. that may have shares."""
    names: Iterable[str] = _PARTS
    loaded = getattr(thing, "__dict__", {})
    if isinstance(thing, Mapping):
        names = [name for name in _PARTS if name in thing]
    elif "_sa_instance_state" in loaded:
        # A database model would load other attributes now, or fail to.
        names = [name for name in _PARTS if name in loaded]
    return [get(thing, name) for name in names]


def _new_sizes(
    operation: str, arguments: Mapping[str, Any], args: Sequence[Any]
) -> list[int]:
    """Return the sizes in GiB that a call gives to shares.

    :param operation: the operation
    :param arguments: the call's arguments by name
    :param args: its positional arguments, without the context
    """

    def argument(name: str, at: int) -> Any:
        # Some drivers name their parameters differently.
        return arguments.get(name, args[at] if len(args) > at else None)

    sizes: Iterable[Any] = ()
    if operation in ("extend_share", "shrink_share"):
        sizes = [argument("new_size", 1)]
    elif operation in ("create_share_instance", "manage_share"):
        sizes = [get(argument("share", 0), "size")]
    elif operation == "create_share_replica":
        sizes = [get(argument("new_replica", 1), "size")]
    elif operation == "create_share_group":
        shares = get(argument("share_group_dict", 0), "shares")
        sizes = [get(share, "size") for share in shares or ()]
    return [int(size) for size in sizes if size]

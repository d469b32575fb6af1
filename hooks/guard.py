# SPDX-License-Identifier: Apache-2.0
"""Veto calls by rule: freeze windows, projects, share types and sizes."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    """Veto the operations that a rule forbids, before the driver is called.

    It needs ``enable_pre_hooks``. All options are mutable.

    :raises ValueError: naming the option, if an option is invalid
    """

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
            help="Minimum size, in GiB, of shares that are created or shrunk.",
        ),
        cfg.IntOpt(
            "guard_max_size",
            min=1,
            mutable=True,
            help="Maximum size, in GiB, of shares that are created or extended.",
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

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        rules = self.rules()
        # A veto of a routine operation would take down the backend, a replica or a
        # migration, although there is no request to deny.
        if not func_name.requested and func_name not in self.hook_operations:
            return
        _check_freeze(rules, func_name)
        arguments = func_name.arguments(args, kwargs)
        share = _share_in(arguments, args)
        _check_project(rules, get(share, "project_id") or get(context, "project_id"))
        new = func_name == "create_share_instance"
        veto = NoValidHost if new else aspects.Veto
        _check_type(rules, share, veto)
        if size := _new_size(func_name, share, arguments, args):
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
    # Without a project, the call is Manila's own and concerns no share.
    if project is None:
        return
    if project in rules.denied_projects:
        raise aspects.Veto(f"project {project} is denied (guard_denied_projects)")
    if rules.allowed_projects and project not in rules.allowed_projects:
        raise aspects.Veto(f"project {project} is not allowed (guard_allowed_projects)")


def _check_type(rules: Rules, share: Any, veto: type[aspects.Veto]) -> None:
    names = [
        name
        for name in (
            get(get(share, "share_type"), "name") or get(share, "share_type_name"),
            get(share, "share_type_id"),
        )
        if name is not None
    ]
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


# -- the subject of a call -----------------------------------------------------


def _share_in(arguments: Mapping[str, Any], args: Sequence[Any]) -> Any:
    """Return the share instance of a call, or None.

    :param arguments: the call's arguments by name
    :param args: its positional arguments, without the context
    """
    for name in ("share", "new_replica", "replica"):
        if arguments.get(name) is not None:
            return arguments[name]
    if arguments.get("snapshot") is not None:
        return get(arguments["snapshot"], "share")
    # Some drivers name the parameter differently, and some methods take a list.
    first = args[0] if args else None
    return first[0] if isinstance(first, (list, tuple)) and first else first


def _new_size(
    operation: str, share: Any, arguments: Mapping[str, Any], args: Sequence[Any]
) -> int | None:
    """Return the size in GiB that a call gives to a share, or None.

    :param operation: the operation
    :param share: the share instance
    :param arguments: the call's arguments by name
    :param args: its positional arguments, without the context
    """
    if operation in ("create_share_instance", "manage_share"):
        size = get(share, "size")
    elif operation in ("extend_share", "shrink_share"):
        size = arguments.get("new_size", args[1] if len(args) > 1 else None)
    else:
        return None
    return int(size) if size else None

# SPDX-License-Identifier: Apache-2.0
"""Vetoes by rule: freeze windows, projects, share types, sizes."""

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

#: Longer than what clocks are ever put forward or back by.
CHANGE = datetime.timedelta(hours=3)

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class NoValidHost(aspects.Veto):
    """A veto of the size or the type of a new share.

    Manila looks the text of its user message up by the name of the exception's
    class, and this is the one name that it knows: with it, users are told to try
    another size or share type.
    """


@dataclass(frozen=True)
class Window:
    """Times that come again and again, each as long as the others.

    :param text: as it is configured
    :param cron: when one begins, in five fields
    :param duration: how long it is, in hours of 60 minutes whatever the clocks do
    :param zone: the time zone of ``cron``
    """

    text: str
    cron: str
    duration: datetime.timedelta
    zone: zoneinfo.ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read a window, e.g. ``0 22 * * fri 60h Europe/Berlin``.

        :param text: five cron fields, a duration in ``m``, ``h`` or ``d``, a zone
        :raises ValueError: saying what is wrong with it
        """
        words = text.split()
        if len(words) != 7:
            raise ValueError(
                "write five cron fields, a duration and a time zone, as in "
                "0 22 * * fri 60h Europe/Berlin"
            )
        cron, duration, zone = " ".join(words[:5]), words[5], words[6]
        try:
            CronSim(cron, datetime.datetime.min)
        except CronSimError as error:
            raise ValueError(f"cron: {error}") from None
        number = re.fullmatch(r"([1-9]\d{0,4})([mhd])", duration)
        if not number:
            raise ValueError(f"{duration!r} is no duration: write 90m, 60h or 2d")
        try:
            found = zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {zone!r}") from None
        length = datetime.timedelta(**{_UNITS[number[2]]: int(number[1])})
        return cls(text, cron, length, found)

    def end(self, now: datetime.datetime) -> datetime.datetime | None:
        """Return when the window that is open ends, in its own time zone.

        :param now: a moment, with a time zone
        :return: the end of the last one that has begun; None if none is open
        """
        last = self._last_begin(now)
        return last and (last + self.duration).astimezone(self.zone)

    def _last_begin(self, now: datetime.datetime) -> datetime.datetime | None:
        """Return when the window that is open has begun, if one is."""

        def wall(moment: datetime.datetime) -> datetime.datetime:
            return moment.astimezone(self.zone).replace(tzinfo=None, microsecond=0)

        after = now.astimezone(UTC) - self.duration
        earliest = wall(after) - CHANGE
        last = None
        # What the clocks show, since cronsim misses times where they change at
        # midnight or by half an hour. Backwards, as the last one is looked for.
        for shown in CronSim(self.cron, wall(now) + CHANGE, reverse=True):
            if shown < earliest:
                break
            first, second = (
                shown.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
                for fold in (0, 1)
            )
            # Shown twice, it is two moments. Never shown, it is the one at which
            # it would be had the clocks not been changed: second is before first.
            begins = [b for b in (first, max(first, second)) if after < b <= now]
            if begins and last is None:
                # Clocks that were put back showed some earlier time later.
                earliest = max(earliest, shown - CHANGE)
            last = max(filter(None, (last, *begins)), default=None)
        return last


@dataclass(frozen=True)
class Rules:
    """What the options say.

    :param freeze: when operations are frozen
    :param allowed_projects: ids; empty for all
    :param denied_projects: ids
    :param allowed_share_types: ids or names; empty for all
    :param denied_share_types: ids or names
    :param min_size: GiB, or None
    :param max_size: GiB, or None
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
        """Make the rules of the values of the options.

        :param values: the options by name
        :raises ValueError: naming the option, its value and what is wrong with it
        """
        freeze = []
        # An empty one takes back what a section further out says.
        for text in filter(None, values["guard_freeze"]):
            try:
                freeze.append(Window.parse(text))
            except ValueError as error:
                raise ValueError(f"guard_freeze = {text}: {error}") from None
        least, most = values["guard_min_size"], values["guard_max_size"]
        if least is not None and most is not None and least > most:
            raise ValueError(
                f"guard_min_size = {least}: more than guard_max_size = {most}"
            )
        return cls(
            freeze=tuple(freeze),
            allowed_projects=frozenset(values["guard_allowed_projects"]),
            denied_projects=frozenset(values["guard_denied_projects"]),
            allowed_share_types=frozenset(values["guard_allowed_share_types"]),
            denied_share_types=frozenset(values["guard_denied_share_types"]),
            min_size=least,
            max_size=most,
        )


class GuardHook(aspects.HookBase):
    """Veto the operations that a rule forbids, before the driver is called.

    It needs ``enable_pre_hooks``. All options are mutable.

    :raises ValueError: if an option is wrong, naming it
    """

    options = (
        cfg.MultiStrOpt(
            "guard_freeze",
            default=[],
            mutable=True,
            help="A time in which nothing is done, as in 0 22 * * fri 60h "
            "Europe/Berlin: when it begins, in five cron fields; how long it is, in "
            "m, h or d; the time zone. May be given more than once.",
        ),
        cfg.ListOpt(
            "guard_allowed_projects",
            default=[],
            mutable=True,
            help="Ids of the only projects that may do something; empty for all.",
        ),
        cfg.ListOpt(
            "guard_denied_projects",
            default=[],
            mutable=True,
            help="Ids of projects that may do nothing.",
        ),
        cfg.ListOpt(
            "guard_allowed_share_types",
            default=[],
            mutable=True,
            help="Ids or names of the only share types with whose shares something "
            "may be done; empty for all.",
        ),
        cfg.ListOpt(
            "guard_denied_share_types",
            default=[],
            mutable=True,
            help="Ids or names of share types with whose shares nothing may be done.",
        ),
        cfg.IntOpt(
            "guard_min_size",
            min=1,
            mutable=True,
            help="The least size in GiB that a share may be created with or shrunk to.",
        ),
        cfg.IntOpt(
            "guard_max_size",
            min=1,
            mutable=True,
            help="The largest size in GiB that a share may be created with or "
            "extended to.",
        ),
    )

    def __init__(self, configuration: Any, host: str | None) -> None:
        super().__init__(configuration, host)
        self._known: tuple[dict[str, Any], Rules] | None = None
        # An operator is to know at start-up, not at the first share.
        self.rules()

    def rules(self) -> Rules:
        """Return the rules as they are now.

        :raises ValueError: naming the option, its value and what is wrong with it
        """
        values = {each.name: self.get_config_option(each.name) for each in self.options}
        if self._known is None or values != self._known[0]:
            self._known = values, Rules.of(values)
        return self._known[1]

    def _execute_pre_hook(
        self, context: Any, func_name: Any, *args: Any, **kwargs: Any
    ) -> None:
        rules = self.rules()
        # Vetoed, it would take down the backend, a replica or a migration for what
        # nobody asked for.
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
        """Nothing to do: what was allowed has been done."""

    def _execute_periodic_hook(
        self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing to do."""


# -- the rules -----------------------------------------------------------------


def _check_freeze(rules: Rules, operation: str) -> None:
    now = datetime.datetime.now(UTC)
    ends = [(end, w) for w in rules.freeze if (end := w.end(now)) is not None]
    if ends:
        end, window = max(ends, key=lambda each: each[0])
        until = end.isoformat(timespec="minutes")
        raise aspects.Veto(
            f"{operation} is frozen until {until} (guard_freeze = {window.text})"
        )


def _check_project(rules: Rules, project: str | None) -> None:
    # Without one it is Manila itself, with no share in hand.
    if project is None:
        return
    if project in rules.denied_projects:
        raise aspects.Veto(f"project {project} is denied (guard_denied_projects)")
    if rules.allowed_projects and project not in rules.allowed_projects:
        raise aspects.Veto(
            f"project {project} is not one of those allowed (guard_allowed_projects)"
        )


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
        raise veto(
            f"share type {names[0]} is not one of those allowed "
            "(guard_allowed_share_types)"
        )


def _check_size(
    rules: Rules, operation: str, size: int, veto: type[aspects.Veto]
) -> None:
    # A share that is too large may shrink, and one that is too small grow, even
    # if it is that still.
    least = rules.min_size if operation != "extend_share" else None
    most = rules.max_size if operation != "shrink_share" else None
    if least is not None and size < least:
        raise veto(
            f"{size} GiB are less than the least, {least} (guard_min_size = {least})"
        )
    if most is not None and size > most:
        raise veto(
            f"{size} GiB are more than the most, {most} (guard_max_size = {most})"
        )


# -- what a call tells ---------------------------------------------------------


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
    # Where a driver has a name of its own for it, or it is the first of a list.
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

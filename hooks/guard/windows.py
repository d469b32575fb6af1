# SPDX-License-Identifier: Apache-2.0
"""Recurring periods of time, e.g. for freezes."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from dataclasses import dataclass

from cronsim import CronSim, CronSimError

UTC = datetime.timezone.utc

#: An upper bound of the time by which clocks are put forward or back.
MAX_CLOCK_CHANGE = datetime.timedelta(hours=3)

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


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

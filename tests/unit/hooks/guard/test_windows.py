# SPDX-License-Identifier: Apache-2.0
"""The periods of a freeze."""

import datetime
import zoneinfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hooks.guard import windows

from .common import MINUTE, UTC

DAY = datetime.timedelta(days=1)


def at(text, zone="UTC"):
    """Return a time from text, in a zone unless the text has an offset."""
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))


@pytest.mark.parametrize(
    ("window", "now", "end"),
    [
        # The weekend of 22 November 2026.
        (
            "0 22 * * fri 60h Europe/Berlin",
            "2026-11-22T12:00+01:00",
            "2026-11-23T10:00+01:00",
        ),
        ("0 22 * * fri 60h Europe/Berlin", "2026-11-20T21:59:59+01:00", None),
        (
            "0 22 * * fri 60h Europe/Berlin",
            "2026-11-20T22:00+01:00",
            "2026-11-23T10:00+01:00",
        ),
        (
            "0 22 * * fri 60h Europe/Berlin",
            "2026-11-23T09:59:59.999+01:00",
            "2026-11-23T10:00+01:00",
        ),
        ("0 22 * * fri 60h Europe/Berlin", "2026-11-23T10:00+01:00", None),
        # An hour is 60 minutes, also when clocks are put back or forward.
        (
            "0 22 * * fri 60h Europe/Berlin",
            "2026-10-25T12:00+01:00",
            "2026-10-26T09:00+01:00",
        ),
        (
            "0 22 * * fri 60h Europe/Berlin",
            "2026-03-29T12:00+02:00",
            "2026-03-30T11:00+02:00",
        ),
        # A skipped start time is the instant it would be without the change.
        ("30 2 * * * 10m Europe/Berlin", "2026-03-29T01:35+01:00", None),
        ("30 2 * * * 10m Europe/Berlin", "2026-03-29T03:29+02:00", None),
        (
            "30 2 * * * 10m Europe/Berlin",
            "2026-03-29T03:31+02:00",
            "2026-03-29T03:40+02:00",
        ),
        # A start time that occurs twice is two starts.
        (
            "30 2 * * * 10m Europe/Berlin",
            "2026-10-25T02:35+02:00",
            "2026-10-25T02:40+02:00",
        ),
        ("30 2 * * * 10m Europe/Berlin", "2026-10-25T02:45+02:00", None),
        (
            "30 2 * * * 10m Europe/Berlin",
            "2026-10-25T02:35+01:00",
            "2026-10-25T02:40+01:00",
        ),
        # Clocks that change at midnight, and by half an hour.
        (
            "*/15 1-3 * * 0 1m Asia/Beirut",
            "2026-03-29T01:15:30+03:00",
            "2026-03-29T01:16+03:00",
        ),
        (
            "30 * * * * 1m Australia/Lord_Howe",
            "2026-04-05T01:30:30+10:30",
            "2026-04-05T01:31+10:30",
        ),
        # Periods that overlap: the end is that of the last one.
        ("0 0 * * * 2d UTC", "2026-05-05T12:00+00:00", "2026-05-07T00:00+00:00"),
        # The second Friday of a month, the last day of a month, and a leap day.
        ("0 0 * * 5#2 1d UTC", "2026-11-13T12:00+00:00", "2026-11-14T00:00+00:00"),
        ("0 0 * * 5#2 1d UTC", "2026-11-20T12:00+00:00", None),
        ("0 0 L * * 1d UTC", "2026-02-28T23:00+00:00", "2026-03-01T00:00+00:00"),
        ("0 0 1 1 * 99999d UTC", "2026-05-05T12:00+00:00", "2299-10-16T00:00+00:00"),
        ("0 0 29 2 * 1d UTC", "2028-02-29T23:00+00:00", "2028-03-01T00:00+00:00"),
        ("0 0 29 2 * 1d UTC", "2026-02-28T23:00+00:00", None),
    ],
)
def test_end_of_the_current_period(window, now, end):
    found = windows.Window.parse(window).end(at(now))
    assert (found and found.isoformat(timespec="minutes")) == end


def test_search_takes_few_steps_for_a_long_duration(monkeypatch):
    begins = []

    class Cron(windows.CronSim):
        def __next__(self):
            begins.append(super().__next__())
            return begins[-1]

    monkeypatch.setattr(windows, "CronSim", Cron)
    window = windows.Window.parse("0 * * * * 365d UTC")
    end = window.end(at("2026-11-13T12:30"))
    assert end == at("2027-11-13T12:00")
    assert len(begins) < 10


class Cron:
    """A simple model of a cron expression that contains only numbers."""

    RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))

    def __init__(self, text):
        fields = text.split()
        sets = [self.read(f, *limits) for f, limits in zip(fields, self.RANGES)]
        self.minutes, self.hours, self.days, self.months, self.weekdays = sets
        # As in Debian's cron, either day is enough where both are restricted.
        self.both = fields[2].startswith("*") or fields[4].startswith("*")

    @staticmethod
    def read(field, least, most):
        found = set()
        for part in field.split(","):
            span, _, step = part.partition("/")
            first, _, last = span.partition("-")
            if span == "*":
                first, last = least, most
            found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
        return found

    def matches(self, wall):
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        day = wall.day in self.days
        weekday = not self.weekdays.isdisjoint({wall.isoweekday(), wall.weekday() + 1})
        weekday = weekday or (wall.isoweekday() == 7 and 0 in self.weekdays)
        right = (day and weekday) if self.both else (day or weekday)
        return right and wall.month in self.months


def walls_at(minute, zone):
    """Yield the wall time of a minute.

    If clocks were put forward within the last day, also yield the skipped wall time
    that the minute would have had.
    """
    shown = minute.astimezone(zone)
    yield shown.replace(tzinfo=None)
    before = (minute - DAY).astimezone(zone).utcoffset()
    skipped = (minute + before).replace(tzinfo=None)
    if skipped.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(
        tzinfo=None
    ) != (skipped):
        yield skipped


def modeled(cron, length, zone, minute):
    """Return the end of the current period, searching minute by minute."""
    for ago in range(length):
        begin = minute - ago * MINUTE
        if any(cron.matches(wall) for wall in walls_at(begin, zone)):
            return begin + length * MINUTE
    return None


#: Time zones, and days on which their clocks change.
CHANGES = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-11-01"),
    ("America/Havana", "2026-03-08"),
    ("Africa/Cairo", "2026-04-24"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Asia/Kolkata", "2026-06-01"),
]
CRONS = st.tuples(
    st.sampled_from(["*", "*/15", "0", "30", "0,45", "5-10", "59"]),
    st.sampled_from(["*", "*/2", "0", "1", "2", "2,3", "1-3", "22", "23"]),
    st.sampled_from(["*", "*", "*/2", "1", "29", "5,8,24,25"]),
    st.sampled_from(["*", "*", "3-4", "10,11"]),
    st.sampled_from(["*", "*", "0", "6-7", "5", "*/3"]),
).map(" ".join)


@pytest.mark.slow
@settings(max_examples=100)
@given(
    cron=CRONS,
    length=st.sampled_from([1, 20, 60, 90, 1440, 3600]),
    change=st.sampled_from(CHANGES),
    minutes=st.integers(-2 * 1440, 2 * 1440),
    seconds=st.integers(0, 59),
)
@example("30 2 * * *", 1, ("Europe/Berlin", "2026-10-25"), 90, 0)
def test_window_agrees_with_the_model(cron, length, change, minutes, seconds):
    name, day = change
    zone = zoneinfo.ZoneInfo(name)
    minute = at(f"{day}T00:00") + minutes * MINUTE
    end = modeled(Cron(cron), length, zone, minute)
    window = windows.Window.parse(f"{cron} {length}m {name}")
    found = window.end(minute + datetime.timedelta(seconds=seconds))
    assert (found and found.astimezone(UTC)) == end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("0 22 * * 5 60h Europe/Berlin", "2026-03-22"),
        ("30 2 * * * 90m Europe/Berlin", "2026-10-18"),
        ("0 0 1,29 * 0 1d America/Havana", "2026-03-01"),
    ],
)
def test_minutes_around_a_clock_change_agree_with_the_model(text, first):
    window = windows.Window.parse(text)
    *fields, _, name = text.split()
    cron, zone = Cron(" ".join(fields)), zoneinfo.ZoneInfo(name)
    first = at(f"{first}T00:00")
    length = int(window.duration / MINUTE)
    end, was_open, edge = None, False, 0
    # Begin one duration earlier, to include the periods that have begun before.
    for number in range(-length, 9 * 1440):
        minute = first + number * MINUTE
        if any(cron.matches(wall) for wall in walls_at(minute, zone)):
            end = minute + window.duration
        is_open = end is not None and minute < end
        if is_open != was_open:
            was_open, edge = is_open, number
        # Check each minute for some time after an edge. All edges are multiples of
        # ten minutes, so the first and the last of each ten are enough elsewhere.
        if number >= 0 and (number - edge < 70 or number % 10 in (0, 9)):
            found = window.end(minute)
            assert (found is not None) == is_open, minute
            assert found is None or found == end


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("0 22 * * fri 60h", "expected five cron fields, a duration and a time zone"),
        ("@daily 60h Europe/Berlin", "expected five cron fields"),
        ("0 0 22 * * fri 60h UTC", "expected five cron fields"),
        ("60 22 * * fri 60h UTC", "cron: Bad minute"),
        ("0 22 * * fry 60h UTC", "cron: Bad day-of-week"),
        ("0 0 31 2 * 60h UTC", "cron: Bad day-of-month"),
        ("0 22 * * fri 60 UTC", "'60' is not a duration"),
        ("0 22 * * fri 0h UTC", "'0h' is not a duration"),
        ("0 22 * * fri 1h30m UTC", "'1h30m' is not a duration"),
        ("0 22 * * fri -1h UTC", "'-1h' is not a duration"),
        # Such a period would begin before year 1.
        ("0 22 * * fri 999999d UTC", "'999999d' is not a duration"),
        ("0 22 * * fri 60h Europe/Berlinn", "unknown time zone 'Europe/Berlinn'"),
        ("0 22 * * fri 60h Europe", "unknown time zone 'Europe'"),
        ("0 22 * * fri 60h /etc/passwd", "unknown time zone '/etc/passwd'"),
        ("0 22 * * fri 60h ../../etc", "unknown time zone '../../etc'"),
    ],
)
def test_invalid_window_is_an_error_with_its_cause(text, cause):
    with pytest.raises(ValueError, match=r".") as caught:
        windows.Window.parse(text)
    assert cause in str(caught.value)

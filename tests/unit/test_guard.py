# SPDX-License-Identifier: Apache-2.0
"""The guard hook: vetoes by rule."""

import datetime
import zoneinfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oslo_context import context as oslo_context

import aspects
from hooks import guard

from .fixtures_hooks.config_file import ConfigFile
from .fixtures_hooks.threads import in_a_thread

UTC = datetime.timezone.utc
MINUTE = datetime.timedelta(minutes=1)
DAY = datetime.timedelta(days=1)
#: Frozen whenever the test runs.
ALWAYS = "* * * * * 90m Europe/Berlin"


# -- windows -------------------------------------------------------------------


def at(text, zone="UTC"):
    """Return a moment: a time in a zone, or an offset within the text."""
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
        # An hour is 60 minutes: the clocks are put back in it, or forward.
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
        # A time that the clocks skip is when it would have been.
        ("30 2 * * * 10m Europe/Berlin", "2026-03-29T01:35+01:00", None),
        ("30 2 * * * 10m Europe/Berlin", "2026-03-29T03:29+02:00", None),
        (
            "30 2 * * * 10m Europe/Berlin",
            "2026-03-29T03:31+02:00",
            "2026-03-29T03:40+02:00",
        ),
        # One that they show twice is two times.
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
        # Where the clocks change at midnight, and by half an hour.
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
        # Longer than the time between two: the end is that of the last one.
        ("0 0 * * * 2d UTC", "2026-05-05T12:00+00:00", "2026-05-07T00:00+00:00"),
        # The second Friday of a month, the end of one, and a year of 366 days.
        ("0 0 * * 5#2 1d UTC", "2026-11-13T12:00+00:00", "2026-11-14T00:00+00:00"),
        ("0 0 * * 5#2 1d UTC", "2026-11-20T12:00+00:00", None),
        ("0 0 L * * 1d UTC", "2026-02-28T23:00+00:00", "2026-03-01T00:00+00:00"),
        ("0 0 1 1 * 99999d UTC", "2026-05-05T12:00+00:00", "2299-10-16T00:00+00:00"),
        ("0 0 29 2 * 1d UTC", "2028-02-29T23:00+00:00", "2028-03-01T00:00+00:00"),
        ("0 0 29 2 * 1d UTC", "2026-02-28T23:00+00:00", None),
    ],
)
def test_end_of_a_window(window, now, end):
    found = guard.Window.parse(window).end(at(now))
    assert (found and found.isoformat(timespec="minutes")) == end


def test_a_long_window_takes_no_longer(monkeypatch):
    begins = []

    class Cron(guard.CronSim):
        def __next__(self):
            begins.append(super().__next__())
            return begins[-1]

    monkeypatch.setattr(guard, "CronSim", Cron)
    window = guard.Window.parse("0 * * * * 365d UTC")
    end = window.end(at("2026-11-13T12:30"))
    assert end == at("2027-11-13T12:00")
    assert len(begins) < 10


class Cron:
    """A cron expression with numbers alone, read the simple way."""

    RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))

    def __init__(self, text):
        fields = text.split()
        sets = [self.read(f, *limits) for f, limits in zip(fields, self.RANGES)]
        self.minutes, self.hours, self.days, self.months, self.weekdays = sets
        # As Debian's cron: either day is enough, where both are given.
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
    """Return what a clock on the wall shows at a minute.

    And what it would show, had it not been put forward within a day, if it never
    shows that.
    """
    shown = minute.astimezone(zone)
    yield shown.replace(tzinfo=None)
    before = (minute - DAY).astimezone(zone).utcoffset()
    skipped = (minute + before).replace(tzinfo=None)
    if skipped.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(
        tzinfo=None
    ) != (skipped):
        yield skipped


def modelled(cron, length, zone, minute):
    """Return when the window that is open at a minute ends, minute by minute."""
    for ago in range(length):
        begin = minute - ago * MINUTE
        if any(cron.matches(wall) for wall in walls_at(begin, zone)):
            return begin + length * MINUTE
    return None


#: Zones, and days on which their clocks are changed.
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


@settings(max_examples=100, deadline=None)
@given(
    cron=CRONS,
    length=st.sampled_from([1, 20, 60, 90, 1440, 3600]),
    change=st.sampled_from(CHANGES),
    minutes=st.integers(-2 * 1440, 2 * 1440),
    seconds=st.integers(0, 59),
)
@example("30 2 * * *", 1, ("Europe/Berlin", "2026-10-25"), 90, 0)
def test_window_is_as_the_model(cron, length, change, minutes, seconds):
    name, day = change
    zone = zoneinfo.ZoneInfo(name)
    minute = at(f"{day}T00:00") + minutes * MINUTE
    end = modelled(Cron(cron), length, zone, minute)
    window = guard.Window.parse(f"{cron} {length}m {name}")
    found = window.end(minute + datetime.timedelta(seconds=seconds))
    assert (found and found.astimezone(UTC)) == end


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("0 22 * * 5 60h Europe/Berlin", "2026-03-22"),
        ("30 2 * * * 90m Europe/Berlin", "2026-10-18"),
        ("0 0 1,29 * 0 1d America/Havana", "2026-03-01"),
    ],
)
def test_minutes_around_a_change_are_as_the_model(text, first):
    window = guard.Window.parse(text)
    *fields, _, name = text.split()
    cron, zone = Cron(" ".join(fields)), zoneinfo.ZoneInfo(name)
    first = at(f"{first}T00:00")
    length = int(window.duration / MINUTE)
    end, was_open, edge = None, False, 0
    # From one length before, to know of what has begun by then.
    for number in range(-length, 9 * 1440):
        minute = first + number * MINUTE
        if any(cron.matches(wall) for wall in walls_at(minute, zone)):
            end = minute + window.duration
        is_open = end is not None and minute < end
        if is_open != was_open:
            was_open, edge = is_open, number
        # Each minute for some time after an edge; of the others the first and the
        # last of ten, since all edges are on a full ten minutes.
        if number >= 0 and (number - edge < 70 or number % 10 in (0, 9)):
            found = window.end(minute)
            assert (found is not None) == is_open, minute
            assert found is None or found == end


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("0 22 * * fri 60h", "write five cron fields, a duration and a time zone"),
        ("@daily 60h Europe/Berlin", "write five cron fields"),
        ("0 0 22 * * fri 60h UTC", "write five cron fields"),
        ("60 22 * * fri 60h UTC", "cron: Bad minute"),
        ("0 22 * * fry 60h UTC", "cron: Bad day-of-week"),
        ("0 0 31 2 * 60h UTC", "cron: Bad day-of-month"),
        ("0 22 * * fri 60 UTC", "'60' is no duration"),
        ("0 22 * * fri 0h UTC", "'0h' is no duration"),
        ("0 22 * * fri 1h30m UTC", "'1h30m' is no duration"),
        ("0 22 * * fri -1h UTC", "'-1h' is no duration"),
        # No calendar goes back so far.
        ("0 22 * * fri 999999d UTC", "'999999d' is no duration"),
        ("0 22 * * fri 60h Europe/Berlinn", "no time zone 'Europe/Berlinn'"),
        ("0 22 * * fri 60h Europe", "no time zone 'Europe'"),
        ("0 22 * * fri 60h /etc/passwd", "no time zone '/etc/passwd'"),
        ("0 22 * * fri 60h ../../etc", "no time zone '../../etc'"),
    ],
)
def test_what_is_wrong_with_a_window(text, cause):
    with pytest.raises(ValueError, match=r".") as caught:
        guard.Window.parse(text)
    assert cause in str(caught.value)


# -- the hook ------------------------------------------------------------------


class Driver:
    """The driver methods that Manila calls, with the names that its own has."""

    def __init__(self):
        self.calls = []

    def _do(self, name):
        self.calls.append(name)

    def do_setup(self, context):
        self._do("do_setup")

    def get_share_stats(self, refresh=False):
        self._do("get_share_stats")

    def create_share(self, context, share, share_server=None):
        self._do("create_share")

    def delete_share(self, context, share, share_server=None):
        self._do("delete_share")

    def extend_share(self, share, new_size, share_server=None):
        self._do("extend_share")

    def shrink_share(self, share, new_size, share_server=None):
        self._do("shrink_share")

    def manage_existing(self, share, driver_options):
        self._do("manage_existing")

    def create_snapshot(self, context, snapshot, share_server=None):
        self._do("create_snapshot")

    def create_replica(self, context, replica_list, new_replica, access_rules):
        self._do("create_replica")

    def update_replica_state(self, context, replica_list, replica, access_rules):
        self._do("update_replica_state")

    def delete_replicated_snapshot(self, context, replica_list, replica_snapshots):
        self._do("delete_replicated_snapshot")

    def teardown_server(self, server_details, security_services=None):
        self._do("teardown_server")


class OwnNames(Driver):
    """Some drivers have names of their own for the arguments."""

    def create_share(self, context, the_share, *args, **kwargs):
        self._do("create_share")

    def extend_share(self, ext_share, ext_size, share_server=None):
        self._do("extend_share")

    def shrink_share(self, *args, **kwargs):
        self._do("shrink_share")


def share_of(**fields):
    return {"id": "i1", "share_id": "s1", "project_id": "p1", "size": 10, **fields}


@pytest.fixture
def context():
    return in_a_thread(oslo_context.RequestContext, project_id="p1")


@pytest.fixture
def nobody():
    """The context of what Manila does by itself."""
    return in_a_thread(oslo_context.RequestContext, is_admin=True)


@pytest.fixture
def configured(tmp_path):
    def write(*options):
        lines = ["[alpha]", "hook_drivers = guard", "enable_pre_hooks = True"]
        return ConfigFile(tmp_path / "service.conf", "\n".join([*lines, *options]))

    return write


@pytest.fixture
def woven(configured):
    def weave(*options, driver=None):
        section = aspects.BackendSection(configured(*options).conf, "alpha")
        driver = driver or Driver()
        return aspects.weave_from_config(driver, section, "node1@alpha")

    return weave


def vetoed(call, *args, **kwargs):
    """Return the text of the veto, or None."""
    try:
        call(*args, **kwargs)
    except aspects.Veto as veto:
        return str(veto)
    return None


class TestFreeze:
    def test_the_veto_says_until_when(self, woven, context):
        driver = woven(f"guard_freeze = {ALWAYS}")
        before = datetime.datetime.now(UTC) + 90 * MINUTE - MINUTE
        text = vetoed(driver.delete_share, context, share_of())
        start, _, rest = text.partition(" until ")
        until, _, rule = rest.partition(" ")
        assert start == "delete_share_instance is frozen"
        assert rule == f"(guard_freeze = {ALWAYS})"
        until = datetime.datetime.fromisoformat(until)
        berlin = until.astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
        assert until.utcoffset() == berlin.utcoffset()
        assert before <= until <= before + 2 * MINUTE
        assert driver.calls == []

    def test_of_several_windows_the_last_end_counts(self, woven, context):
        hour, day = "* * * * * 1h UTC", "* * * * * 1d UTC"
        for order in ([hour, day], [day, hour]):
            driver = woven(*(f"guard_freeze = {text}" for text in order))
            assert f"(guard_freeze = {day})" in vetoed(
                driver.create_share, context, share_of()
            )

    def test_window_that_is_not_open(self, woven, context):
        month = datetime.datetime.now(UTC).month % 12 + 1
        # Neither this month nor, should it end just now, the next one.
        month = month % 12 + 1
        driver = woven(f"guard_freeze = 0 0 1 {month} * 1d UTC")
        assert vetoed(driver.create_share, context, share_of()) is None

    def test_only_the_operations_of_the_instance(self, woven, context):
        driver = woven(f"guard_freeze = {ALWAYS}", "hook_operations = delete_*")
        assert vetoed(driver.create_share, context, share_of()) is None
        assert vetoed(driver.delete_share, context, share_of())

    def test_routine_is_not_frozen(self, woven, nobody):
        driver = woven(f"guard_freeze = {ALWAYS}")
        driver.do_setup(nobody)
        driver.get_share_stats(True)
        driver.update_replica_state(nobody, [], share_of(), [])
        assert len(driver.calls) == 3
        assert vetoed(driver.teardown_server, {})

    @pytest.mark.parametrize("pattern", ["*", "init_*, publish_*"])
    def test_routine_is_not_frozen_by_a_pattern(self, woven, nobody, pattern):
        driver = woven(f"guard_freeze = {ALWAYS}", f"hook_operations = {pattern}")
        driver.do_setup(nobody)
        driver.get_share_stats(True)

    def test_routine_that_is_named_is_frozen(self, woven, nobody):
        driver = woven(f"guard_freeze = {ALWAYS}", "hook_operations = *, init_host")
        assert vetoed(driver.do_setup, nobody)
        assert vetoed(driver.get_share_stats, True) is None

    def test_a_tick_is_not_frozen(self, woven, nobody):
        driver = woven(f"guard_freeze = {ALWAYS}", "enable_periodic_hooks = True")
        assert aspects.tick(driver, nobody, []) is True

    def test_veto_is_not_suppressed(self, woven, context):
        driver = woven(f"guard_freeze = {ALWAYS}", "suppress_pre_hooks_errors = True")
        assert vetoed(driver.create_share, context, share_of())
        assert driver.calls == []

    def test_what_was_allowed_is_over(self, woven, context):
        driver = woven("enable_post_hooks = True", "hook_methods = create_share")
        driver.create_share(context, share_of())
        assert driver.calls == ["create_share"]


class TestProjects:
    DENIED = "project p1 is denied (guard_denied_projects)"
    NOT_ALLOWED = "project p1 is not one of those allowed (guard_allowed_projects)"

    def test_denied(self, woven, context):
        driver = woven("guard_denied_projects = p0, p1")
        assert vetoed(driver.create_share, context, share_of()) == self.DENIED
        other = share_of(project_id="p2")
        assert vetoed(driver.create_share, context, other) is None

    def test_allowed(self, woven, context):
        driver = woven("guard_allowed_projects = p2, p3")
        assert vetoed(driver.create_share, context, share_of()) == self.NOT_ALLOWED
        other = share_of(project_id="p2")
        assert vetoed(driver.create_share, context, other) is None

    def test_denied_goes_before_allowed(self, woven, context):
        driver = woven("guard_allowed_projects = p1", "guard_denied_projects = p1")
        assert vetoed(driver.create_share, context, share_of()) == self.DENIED

    def test_it_is_that_of_the_share(self, woven, context):
        """Not that of an admin who works on it."""
        driver = woven("guard_denied_projects = p1")
        other = share_of(project_id="p2")
        assert vetoed(driver.delete_share, context, other) is None

    def test_that_of_the_request_where_there_is_no_share(self, woven, context):
        driver = woven("guard_denied_projects = p1", "hook_operations = init_host")
        assert vetoed(driver.do_setup, context) == self.DENIED

    @pytest.mark.parametrize(
        "call",
        [
            ("create_snapshot", {"id": "n1", "share": share_of()}),
            ("create_replica", [share_of()], share_of(), []),
            ("delete_replicated_snapshot", [share_of()], [{"id": "n1"}]),
        ],
        ids=lambda call: call[0],
    )
    def test_wherever_the_share_is(self, woven, nobody, call):
        driver = woven("guard_denied_projects = p1")
        method, *args = call
        assert vetoed(getattr(driver, method), nobody, *args) == self.DENIED
        driver = woven("guard_allowed_projects = p1")
        assert vetoed(getattr(driver, method), nobody, *args) is None

    def test_manila_itself_has_none(self, woven, nobody):
        driver = woven("guard_allowed_projects = p1")
        with_own_context = woven("guard_denied_projects = p1").teardown_server
        assert vetoed(driver.teardown_server, {"id": "v1"}) is None
        assert vetoed(with_own_context, {"id": "v1"}) is None


class Model:
    """An object-style model, of which a column cannot be loaded."""

    def __init__(self, **columns):
        self.columns = columns

    def __getitem__(self, key):
        return getattr(self, key)

    def __getattr__(self, key):
        if key in self.columns:
            return self.columns[key]
        raise RuntimeError(f"cannot load {key}")


class TestShareTypes:
    @pytest.mark.parametrize(
        "share",
        [
            share_of(share_type_id="t1", share_type={"name": "gold"}),
            share_of(share_type_id="t1", share_type_name="gold"),
            Model(
                project_id="p1", size=1, share_type_id="t1", share_type={"name": "gold"}
            ),
        ],
        ids=["instance", "replica", "model"],
    )
    def test_by_name_and_by_id(self, woven, context, share):
        for named in ("gold", "t1"):
            driver = woven(f"guard_denied_share_types = tin, {named}")
            assert vetoed(driver.create_share, context, share) == (
                "share type gold is denied (guard_denied_share_types)"
            )
            driver = woven(f"guard_allowed_share_types = tin, {named}")
            assert vetoed(driver.create_share, context, share) is None
        driver = woven("guard_denied_share_types = tin")
        assert vetoed(driver.create_share, context, share) is None
        driver = woven("guard_allowed_share_types = tin")
        assert vetoed(driver.create_share, context, share) == (
            "share type gold is not one of those allowed (guard_allowed_share_types)"
        )

    def test_id_alone(self, woven, context):
        """As in Manila's changes of access rules."""
        share = share_of(share_type_id="t1")
        driver = woven("guard_denied_share_types = t1")
        assert "share type t1 is denied" in vetoed(driver.delete_share, context, share)
        driver = woven("guard_allowed_share_types = gold")
        assert vetoed(driver.delete_share, context, share)

    def test_call_without_a_share(self, woven, context):
        driver = woven("guard_allowed_share_types = gold")
        assert vetoed(driver.teardown_server, {}) is None

    def test_manila_is_told_to_tell_of_size_and_type(self, woven, context):
        """By the name of the class, at the creation of a share."""
        driver = woven("guard_denied_share_types = gold", "guard_max_size = 5")
        gold = share_of(share_type_name="gold")
        for share, call, name in [
            (gold, driver.create_share, "NoValidHost"),
            (share_of(), driver.create_share, "NoValidHost"),
            (gold, driver.delete_share, "Veto"),
        ]:
            with pytest.raises(aspects.Veto) as caught:
                call(context, share)
            assert type(caught.value).__name__ == name


class TestSizes:
    MIN, MAX = "guard_min_size = 10", "guard_max_size = 20"

    @pytest.mark.parametrize("size", [10, 20, "15", None, 0])
    def test_within(self, woven, context, size):
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.create_share, context, share_of(size=size)) is None
        assert vetoed(driver.manage_existing, share_of(size=size), {}) is None

    def test_of_a_new_share(self, woven, context):
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.create_share, context, share_of(size=9)) == (
            "9 GiB are less than the least, 10 (guard_min_size = 10)"
        )
        assert vetoed(driver.create_share, context, share_of(size=21)) == (
            "21 GiB are more than the most, 20 (guard_max_size = 20)"
        )
        assert vetoed(driver.manage_existing, share_of(size=21), {})

    @pytest.mark.parametrize("driver", [Driver, OwnNames])
    def test_of_a_change(self, woven, driver):
        driver = woven(self.MIN, self.MAX, driver=driver())
        assert "21 GiB" in vetoed(driver.extend_share, share_of(), 21)
        assert vetoed(driver.extend_share, share_of(), 20, share_server=None) is None
        assert "9 GiB" in vetoed(driver.shrink_share, share_of(), 9, share_server=None)
        assert vetoed(driver.shrink_share, share_of(), 10) is None

    def test_by_keyword(self, woven):
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.extend_share, share=share_of(), new_size=21)
        assert vetoed(driver.shrink_share, new_size=9, share=share_of())

    def test_change_for_the_better(self, woven):
        """Of shares that are older than the rule."""
        driver = woven(self.MIN, self.MAX)
        assert vetoed(driver.shrink_share, share_of(size=100), 50) is None
        assert vetoed(driver.extend_share, share_of(size=1), 5) is None

    def test_what_does_not_change_it(self, woven, context):
        driver = woven(self.MAX)
        assert vetoed(driver.delete_share, context, share_of(size=100)) is None


def test_names_of_a_driver_are_its_own(woven, context):
    driver = woven("guard_denied_projects = p1", driver=OwnNames())
    assert vetoed(driver.create_share, context, share_of())
    assert vetoed(driver.extend_share, share_of(), 1)
    assert vetoed(driver.shrink_share, share_of(), 1)


# -- the options ---------------------------------------------------------------


def test_no_rule_no_veto(woven, context):
    assert vetoed(woven().create_share, context, share_of()) is None
    empty = [f"{option.name} =" for option in guard.GuardHook.options[:5]]
    assert vetoed(woven(*empty).create_share, context, share_of()) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["guard_freeze = * * * * * 1h UTC", "guard_freeze = 0 22 * * fri 60h Mars"],
            "guard_freeze = 0 22 * * fri 60h Mars: there is no time zone 'Mars'",
        ),
        (
            ["guard_min_size = 20", "guard_max_size = 10"],
            "guard_min_size = 20: more than guard_max_size = 10",
        ),
        (["guard_max_size = big"], "guard_max_size = big: "),
        (["guard_min_size = -1"], "guard_min_size = -1: "),
    ],
)
def test_what_is_wrong_is_told_at_the_start(woven, options, told):
    with pytest.raises(aspects.HookConfigError) as caught:
        woven(*options)
    (problem,) = caught.value.problems
    assert problem.section == "alpha"
    assert told in str(problem)


def test_rules_follow_the_file(configured, context):
    file = configured("guard_max_size = 20")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    assert vetoed(driver.create_share, context, share_of()) is None
    before = file.path.read_text()
    file.mutate(f"{before}\nguard_freeze = {ALWAYS}\n")
    assert vetoed(driver.create_share, context, share_of())
    file.mutate(before.replace("20", "5"))
    assert "5" in vetoed(driver.create_share, context, share_of())
    file.mutate(before)
    assert vetoed(driver.create_share, context, share_of()) is None


def test_last_good_rules_stay(configured, context, caplog):
    file = configured(f"guard_freeze = {ALWAYS}")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    before = file.path.read_text()
    file.mutate(before.replace(ALWAYS, "* * * * * 90m Europe/Berlinn"))
    for _ in range(3):
        assert ALWAYS in vetoed(driver.create_share, context, share_of())
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert (
        "guard_freeze = * * * * * 90m Europe/Berlinn: there is no time zone "
        "'Europe/Berlinn'"
    ) in record.getMessage()
    file.mutate(before.replace(ALWAYS, "* * * * * 2h UTC"))
    assert "2h UTC" in vetoed(driver.create_share, context, share_of())


def test_value_of_a_wrong_type_leaves_the_rest(configured, context, caplog):
    file = configured("guard_max_size = 5")
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    file.mutate(file.path.read_text().replace("= 5", "= five"))
    assert "guard_max_size = 5" in vetoed(driver.create_share, context, share_of())
    assert "guard_max_size = five" in caplog.text


def test_two_instances_for_two_sets_of_operations(tmp_path, context):
    text = f"""
    [alpha]
    hook_drivers = freeze=guard, limit=guard
    enable_pre_hooks = True
    [alpha:freeze]
    guard_freeze = {ALWAYS}
    hook_operations = delete_*
    [alpha:limit]
    guard_max_size = 5
    """
    file = ConfigFile(tmp_path / "service.conf", text)
    section = aspects.BackendSection(file.conf, "alpha")
    driver = aspects.weave_from_config(Driver(), section, "node1@alpha")
    assert "frozen" in vetoed(driver.delete_share, context, share_of())
    assert "GiB" in vetoed(driver.create_share, context, share_of())
    assert vetoed(driver.create_share, context, share_of(size=1)) is None

"""Annotations: when a calendar is on, which swings it concerns, and what muting it does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from miningmap.swings import PlaceSwing, PoolSwing
from streams.method.annotations import (
    Annotation,
    DayOfYear,
    Hours,
    Season,
    annotated,
    annotated_in_order,
    concerning,
)
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miningmap.swings import Swing

TEXAS = ZoneInfo("America/Chicago")
SUMMER = Season(DayOfYear(6, 1), DayOfYear(9, 30))
WINTER = Season(DayOfYear(11, 15), DayOfYear(3, 15))
AFTERNOON = Hours(15, 19)
FOUR_PEAKS = Annotation(
    "annotations/4cp", TEXAS, places=frozenset({"US-TX"}), season=SUMMER, hours=AFTERNOON
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def calendar(**fields: Any) -> Annotation:
    return Annotation("annotations/a", TEXAS, places=frozenset({"US-TX"}), **fields)


def place(code: str = "US-TX", at: str = "2026-07-01T22:00", **fields: Any) -> PlaceSwing:
    """An event of a place that fires at 17 h in Texas, with some fields replaced."""
    common: dict[str, Any] = {"pair": "1h/24h", "state": "firing", "severity": 1, "own": -0.02}
    common |= {"started": utc(at), "at": utc(at), "delta": -0.02, "threshold": 0.01, "short": 0.1}
    common |= {"long": 0.12, "driver": "own", "pools": (), "simulated": False}
    return PlaceSwing(place=code, **(common | fields))


def pool(slug: str, at: str = "2026-07-01T22:00", **fields: Any) -> PoolSwing:
    common: dict[str, Any] = {"pair": "1h/24h", "state": "firing", "severity": 10, "short": 0.8}
    common |= {"started": utc(at), "at": utc(at), "delta": -0.2, "threshold": 0.1, "long": 1.0}
    common |= {"source": "own", "places": (), "simulated": False}
    return PoolSwing(pool=slug, **(common | fields))


# --- calendars ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "is_on"),
    [
        # Texas is five hours behind UTC in summer.
        ("2026-07-01T19:59:59", False),
        ("2026-07-01T20:00:00", True),
        ("2026-07-01T23:59:59", True),
        ("2026-07-02T00:00:00", False),
        # The first and the last day, which are others in UTC at some hours.
        ("2026-05-31T20:00:00", False),
        ("2026-06-01T20:00:00", True),
        ("2026-09-30T23:59:59", True),
        ("2026-10-01T20:00:00", False),
    ],
)
def test_the_hours_and_days_are_those_of_the_clock_on_the_wall(at: str, *, is_on: bool) -> None:
    assert FOUR_PEAKS.is_on(utc(at)) is is_on


def test_hours_follow_summer_time() -> None:
    all_year = calendar(hours=AFTERNOON)
    for day, first in (("2026-03-07", 21), ("2026-03-08", 20), ("2026-11-01", 21)):
        at = utc(f"{day}T{first}:00")
        assert all_year.is_on(at), day
        assert not all_year.is_on(at - timedelta(seconds=1)), day


@pytest.mark.parametrize("at", ["0001-01-01T00:00", "9999-12-31T23:59"])
def test_a_time_that_is_on_no_wall_is_in_no_calendar(at: str) -> None:
    east = Annotation("annotations/a", ZoneInfo("Asia/Tokyo"), places=frozenset({"JP"}))
    assert not all(each.is_on(utc(at)) for each in (calendar(), east))


def test_an_hour_that_summer_time_skips_is_never_on_and_one_that_it_repeats_is_on_twice() -> None:
    spring, autumn = utc("2026-03-08T06:00"), utc("2026-11-01T05:00")  # midnight in Texas

    def hours_on(midnight: datetime, annotation: Annotation) -> int:
        return sum(annotation.is_on(midnight + timedelta(hours=n)) for n in range(23))

    assert hours_on(spring, calendar(hours=Hours(2, 3))) == 0
    assert hours_on(autumn, calendar(hours=Hours(1, 2))) == 2


def test_a_season_can_go_past_new_year() -> None:
    winter = calendar(season=WINTER)
    days = {"11-14": False, "11-15": True, "12-31": True, "01-01": True, "03-15": True}
    for day, counts in (days | {"03-16": False, "07-01": False, "02-29": True}).items():
        assert winter.counts_on(date.fromisoformat(f"2028-{day}")) is counts, day


def test_hours_can_go_past_midnight() -> None:
    night = calendar(hours=Hours(22, 6))
    on = [hour for hour in range(24) if night.is_on(utc("2026-07-01T05:00") + hour * HOUR)]
    assert on == [0, 1, 2, 3, 4, 5, 22, 23]


def test_the_last_hour_of_a_day_can_be_the_last_of_a_calendar() -> None:
    evening = calendar(hours=Hours(20, 24))
    assert evening.is_on(utc("2026-07-02T04:59:59"))
    assert not evening.is_on(utc("2026-07-02T05:00"))


def test_weekdays_and_dates_are_local() -> None:
    weekdays = calendar(weekdays=frozenset(range(5)))
    assert weekdays.is_on(utc("2026-07-04T04:59"))  # Friday, 23:59
    assert not weekdays.is_on(utc("2026-07-04T05:00"))
    dated = calendar(start=date(2026, 7, 4), until=date(2026, 7, 6))
    on = [day for day in range(1, 10) if dated.is_on(utc(f"2026-07-{day:02}T05:00"))]
    assert on == [4, 5]
    assert not dated.is_on(utc("2026-07-04T04:59"))
    assert dated.is_on(utc("2026-07-06T04:59"))


def test_a_calendar_without_limits_is_always_on() -> None:
    assert calendar().is_on(utc("1970-01-01T00:00"))


@examples(200)
@hypothesis.given(
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
    st.sampled_from(["America/Chicago", "Asia/Shanghai", "Asia/Tehran", "Australia/Lord_Howe"]),
)
def test_a_time_is_the_same_in_every_zone(at: datetime, zone: str) -> None:
    assert FOUR_PEAKS.is_on(at) is FOUR_PEAKS.is_on(at.astimezone(ZoneInfo(zone)))


HOUR = timedelta(hours=1)


# --- what they concern ----------------------------------------------------------------------------


def ids(event: Swing, *annotations: Annotation) -> Sequence[str]:
    return concerning(event, event.at, annotations)


def test_a_place_is_concerned_by_itself_and_by_its_country_only() -> None:
    state = calendar()
    country = Annotation("annotations/us", TEXAS, places=frozenset({"US"}))
    assert ids(place("US-TX"), state, country) == ("annotations/a", "annotations/us")
    assert ids(place("US-GA"), state, country) == ("annotations/us",)
    assert ids(place("US"), state, country) == ("annotations/us",)
    assert ids(place("CA"), state, country) == ()


def test_a_pool_is_concerned_by_name_only() -> None:
    both = Annotation(
        "annotations/a", TEXAS, places=frozenset({"US"}), pools=frozenset({"foundryusa"})
    )
    assert ids(pool("foundryusa"), both) == ("annotations/a",)
    assert ids(pool("antpool"), both) == ()
    assert ids(pool("US"), both) == ()
    assert ids(place("US"), both) == ("annotations/a",)


def test_an_event_is_shown_with_what_concerns_it_at_its_time() -> None:
    event = annotated(place(), [FOUR_PEAKS])
    assert event.annotations == ("annotations/4cp",)
    assert event == msgspec.structs.replace(place(), annotations=("annotations/4cp",))


@pytest.mark.parametrize("event", [place("CA"), place(at="2026-07-01T12:00"), pool("a")])
def test_an_event_that_nothing_concerns_stays_as_it_is(event: Swing) -> None:
    assert annotated(event, [FOUR_PEAKS], {FOUR_PEAKS.id}) == event


# --- muting ---------------------------------------------------------------------------------------


MUTED = {FOUR_PEAKS.id}


def shown(*events: Swing, muted: set[str] = MUTED) -> list[tuple[str, bool]]:
    """The events as (first annotation or nothing, whether it is muted)."""
    found = annotated_in_order(events, [FOUR_PEAKS], muted)
    return [
        ("" if e.annotations is msgspec.UNSET else e.annotations[0], e.muted is True) for e in found
    ]


def test_nothing_is_muted_unless_the_operator_says_so() -> None:
    assert shown(place(), muted=set()) == [("annotations/4cp", False)]
    assert shown(place(), muted={"annotations/other"}) == [("annotations/4cp", False)]
    assert shown(place()) == [("annotations/4cp", True)]


def test_muted_is_left_out_of_the_message_unless_it_is_true() -> None:
    (unmuted,) = annotated_in_order([place()], [FOUR_PEAKS])
    assert b'"muted"' not in msgspec.json.encode(unmuted)
    assert b'"annotations":["annotations/4cp"]' in msgspec.json.encode(unmuted)
    (muted,) = annotated_in_order([place()], [FOUR_PEAKS], MUTED)
    assert b'"muted":true' in msgspec.json.encode(muted)


END: dict[str, Any] = {"state": "resolved", "started": utc("2026-07-01T22:00")}


def test_a_muted_swing_ends_muted_after_the_hours_of_the_calendar() -> None:
    after = place(at="2026-07-02T01:00", **END)
    expected = [("annotations/4cp", True), ("annotations/4cp", True)]
    assert shown(place(), after) == expected
    # Whoever does not have the event before takes that of the start for it.
    assert annotated(after, [FOUR_PEAKS], MUTED).muted is True
    lost = place(at="2026-07-02T01:00", **(END | {"state": "lost", "delta": None}))
    assert shown(place(), lost) == expected


def test_a_swing_that_was_told_is_told_to_end() -> None:
    later = place(at="2026-07-02T01:00", severity=3, started=END["started"])
    ends_in_the_calendar = place(at="2026-07-02T22:00", **END)
    assert shown(place(), later, ends_in_the_calendar) == [
        ("annotations/4cp", True),
        ("", False),
        ("annotations/4cp", False),
    ]


def test_once_a_swing_was_told_all_that_follows_is_told() -> None:
    before = place(at="2026-07-01T12:00")
    rise = place(at="2026-07-01T22:00", severity=3, started=before.at)
    end = place(at="2026-07-01T22:30", state="resolved", started=before.at)
    assert shown(before, rise, end) == [
        ("", False),
        ("annotations/4cp", False),
        ("annotations/4cp", False),
    ]


def test_a_rise_within_the_calendar_stays_muted() -> None:
    rise = place(at="2026-07-01T22:30", severity=3, started=END["started"])
    assert shown(place(), rise) == [("annotations/4cp", True)] * 2


def test_a_swing_that_began_before_the_calendar_is_told_to_end() -> None:
    before = place(at="2026-07-01T12:00")
    end = place(at="2026-07-01T22:00", state="resolved", started=before.at)
    assert shown(before, end) == [("", False), ("annotations/4cp", False)]
    assert annotated(end, [FOUR_PEAKS], MUTED).muted is msgspec.UNSET


def test_swings_of_other_pairs_and_subjects_have_ends_of_their_own() -> None:
    week = place(at="2026-07-01T12:00", pair="24h/7d")
    end = place(at="2026-07-02T01:00", pair="24h/7d", state="resolved", started=week.at)
    assert shown(week, place(), end) == [("", False), ("annotations/4cp", True), ("", False)]


def test_a_swing_that_resolves_and_fires_again_in_one_minute_begins_anew() -> None:
    before = place(at="2026-07-01T12:00")
    turn = "2026-07-01T22:00"
    resolved = place(at=turn, state="resolved", started=before.at)
    again = place(at=turn, delta=0.02)
    end = place(at="2026-07-02T01:00", state="resolved", started=again.at)
    assert shown(before, resolved, again, end) == [
        ("", False),
        ("annotations/4cp", False),
        ("annotations/4cp", True),
        ("annotations/4cp", True),
    ]

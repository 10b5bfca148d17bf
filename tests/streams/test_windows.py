from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from miningmap.times import bucket
from streams.method.windows import Span, WindowError, parse_window
from tests.cases import all_cases

AS_OF = datetime(2026, 11, 22, 15, 0, 30, tzinfo=UTC)
MINUTE = bucket(AS_OF, 60)
HOUR = bucket(AS_OF, 3600)
DAY = bucket(AS_OF, 86_400)


@all_cases(
    ("name", "span"),
    [
        ("now", Span("minute", range(MINUTE, MINUTE + 1))),
        ("1h", Span("minute", range(MINUTE - 60, MINUTE))),
        ("24h", Span("hour", range(HOUR - 24, HOUR))),
        ("7d", Span("hour", range(HOUR - 168, HOUR))),
        ("30d", Span("hour", range(HOUR - 720, HOUR))),
        ("2026-11-21", Span("day", range(DAY - 1, DAY))),
        ("2026-11-22T13", Span("hour", range(HOUR - 2, HOUR - 1))),
        ("2026-11", Span("day", range(DAY - 21, DAY))),
        ("2026-10", Span("day", range(DAY - 21 - 31, DAY - 21))),
    ],
)
def test_the_span_of_a_window(name: str, span: Span) -> None:
    window = parse_window(name, AS_OF)
    assert (window.name, window.span) == (name, span)


@all_cases(
    ("name", "minutes"),
    [("now", 1), ("1h", 60), ("24h", 1440), ("30d", 43_200), ("2026-10", 44_640)],
)
def test_the_number_of_minutes_of_a_window(name: str, minutes: int) -> None:
    assert parse_window(name, AS_OF).span.minutes == minutes


def test_a_day_that_is_not_over_covers_its_whole_hours_so_far() -> None:
    today = parse_window("2026-11-22", AS_OF)
    assert (today.name, today.span) == ("2026-11-22", Span("hour", range(DAY * 24, HOUR)))


def test_a_window_in_the_future_covers_nothing() -> None:
    for name in ("2026-11-23", "2026-12", "2030-01"):
        assert parse_window(name, AS_OF).span.minutes == 0


@all_cases(
    ("as_of", "hours"),
    [("2026-11-22T14:59:59.999999+00:00", 0), ("2026-11-22T15:00:00+00:00", 1)],
)
def test_an_hour_covers_nothing_before_it_is_over(as_of: str, hours: int) -> None:
    window = parse_window("2026-11-22T14", datetime.fromisoformat(as_of))
    assert window.span == Span("hour", range(HOUR - 1, HOUR - 1 + hours))


@all_cases(
    ("name", "day"),
    [
        ("now", DAY),
        ("1h", DAY),
        ("24h", DAY),
        ("30d", DAY),
        ("2026-11", DAY - 1),
        ("2026-10", DAY - 22),
        ("2026-11-21", DAY - 1),
        ("2026-11-22", DAY),
        ("2026-11-21T23", DAY - 1),
        ("2026-11-22T15", None),
        ("2026-11-23", None),
        ("2026-12", None),
    ],
)
def test_the_day_of_a_window_is_that_of_the_last_minute_it_covers(
    name: str, day: int | None
) -> None:
    assert parse_window(name, AS_OF).day == day


@all_cases(("name", "day"), [("now", 0), ("1h", -1), ("24h", -1), ("2026-11-22", None)])
def test_at_midnight_the_windows_that_lead_up_to_it_are_of_the_day_before(
    name: str, day: int | None
) -> None:
    midnight = AS_OF.replace(hour=0, minute=0, second=0)
    assert parse_window(name, midnight).day == (None if day is None else DAY + day)


def test_the_profile_is_the_30_days_before_or_the_days_of_the_month() -> None:
    for name in ("now", "1h", "24h", "7d", "30d"):
        assert parse_window(name, AS_OF).profile == Span("day", range(DAY - 30, DAY))
    assert parse_window("2026-11-12", AS_OF).profile == Span("day", range(DAY - 40, DAY - 10))
    assert parse_window("2026-11-12T05", AS_OF).profile == Span("day", range(DAY - 40, DAY - 10))
    month = parse_window("2026-11", AS_OF)
    assert month.profile == month.span


@all_cases(
    "name",
    [
        *("", "2h", "NOW", "1h ", "2026", "2026-13", "2026-02-30", "2026-01-01T24", "0000-01"),
        *("026-11", "2026-1", "2026-1-01", "2026-01-1", "2026-01-01T5", "2026-01-01T005"),
        *("2026-01-01T05:00", "2026-01-01 05"),
    ],
)
def test_an_unknown_window_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(WindowError, match=r"24h.*YYYY-MM-DDTHH"):
        parse_window(name, AS_OF)


def test_an_error_quotes_only_the_beginning_of_a_long_name() -> None:
    with pytest.raises(WindowError, match=r"unknown window 'x{32}';"):
        parse_window("x" * 500, AS_OF)


@pytest.mark.parametrize("name", ["2026-11", "2026-11-21", "2026-11-21T23"])
def test_windows_do_not_depend_on_the_machines_time_zone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = parse_window(name, AS_OF)
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TZ", "Asia/Kathmandu")
            time.tzset()
            there = parse_window(name, AS_OF)
    finally:
        time.tzset()
    assert there == here


def test_the_last_second_of_a_minute_belongs_to_it() -> None:
    late = AS_OF.replace(second=59, microsecond=999_999)
    assert parse_window("now", late).span == parse_window("now", AS_OF).span
    following = late + timedelta(microseconds=1)
    assert parse_window("now", following).span.buckets[0] == MINUTE + 1

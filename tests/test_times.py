"""Times, buckets and months."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from miningmap.times import (
    DAY_S,
    HOUR_S,
    MAX_RETRY_AFTER_S,
    MINUTE_S,
    add_months,
    as_utc,
    bucket,
    bucket_range,
    bucket_start,
    month_days,
    parse_rfc3339,
    retry_after_s,
    rfc3339,
    utc_now,
)
from tests.cases import all_cases

SIZES = (MINUTE_S, HOUR_S, DAY_S)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
EAST = timezone(timedelta(hours=8))
MICROSECOND = timedelta(microseconds=1)

sizes = st.sampled_from(SIZES)
times = st.datetimes(datetime(2009, 1, 3), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - next line
    lambda at: at.replace(tzinfo=UTC)
)


def utc(year: int, month: int, day: int, *clock: int) -> datetime:
    hour, minute, second, microsecond = (*clock, 0, 0, 0, 0)[:4]
    return datetime(year, month, day, hour, minute, second, microsecond, UTC)


@all_cases("seconds", SIZES)
def test_a_bucket_begins_with_its_first_instant_and_ends_before_the_next_one(seconds: int) -> None:
    number = bucket(utc(2026, 11, 22, 15), seconds)
    start = bucket_start(number, seconds)
    assert bucket(start, seconds) == number
    assert bucket(start - MICROSECOND, seconds) == number - 1
    assert bucket(start + timedelta(seconds=seconds) - MICROSECOND, seconds) == number
    assert bucket(start + timedelta(seconds=seconds), seconds) == number + 1


def test_buckets_are_counted_from_the_epoch_in_utc() -> None:
    assert bucket(EPOCH, MINUTE_S) == bucket(EPOCH, DAY_S) == 0
    assert bucket(EPOCH - MICROSECOND, HOUR_S) == -1
    assert bucket(utc(1970, 1, 2), HOUR_S) == 24
    elsewhere = datetime(1970, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert bucket(elsewhere, DAY_S) == 0
    assert bucket_start(20_000, DAY_S) == utc(2024, 10, 4)


@all_cases(
    ("start", "end", "minutes"),
    [
        (utc(2026, 11, 22, 15, 0), utc(2026, 11, 22, 15, 2), [0, 1]),
        (utc(2026, 11, 22, 15, 0, 59), utc(2026, 11, 22, 15, 1), [0]),
        (utc(2026, 11, 22, 15, 0, 59), utc(2026, 11, 22, 15, 1, 0, 1), [0, 1]),
        (utc(2026, 11, 22, 15, 0, 59, 999_999), utc(2026, 11, 22, 15, 1), [0]),
        (utc(2026, 11, 22, 15, 0), utc(2026, 11, 22, 15, 0, 0, 1), [0]),
        (utc(2026, 11, 22, 15, 0), utc(2026, 11, 22, 15, 0), []),
    ],
)
def test_the_buckets_that_an_interval_overlaps(
    start: datetime, end: datetime, minutes: list[int]
) -> None:
    first = bucket(utc(2026, 11, 22, 15), MINUTE_S)
    touched = bucket_range(start, end, MINUTE_S)
    assert [number - first for number in touched] == minutes


@given(times, st.timedeltas(MICROSECOND, timedelta(days=3)), sizes)
def test_an_interval_overlaps_the_buckets_of_its_first_and_last_instant(
    start: datetime, length: timedelta, seconds: int
) -> None:
    touched = bucket_range(start, start + length, seconds)
    assert touched[0] == bucket(start, seconds)
    assert touched[-1] == bucket(start + length - MICROSECOND, seconds)


@given(times, sizes)
def test_every_instant_is_in_its_bucket(at: datetime, seconds: int) -> None:
    start = bucket_start(bucket(at, seconds), seconds)
    assert start <= at < start + timedelta(seconds=seconds)


@all_cases(
    ("year", "month", "days"),
    [
        (2026, 11, 30),
        (2026, 12, 31),
        (2027, 1, 31),
        (2024, 2, 29),
        (2026, 2, 28),
        (2100, 2, 28),
        (9999, 12, 31),
    ],
)
def test_a_month_has_its_calendar_days(year: int, month: int, days: int) -> None:
    numbers = month_days(year, month)
    assert len(numbers) == days
    assert bucket_start(numbers[0], DAY_S) == utc(year, month, 1)
    assert bucket_start(numbers[-1], DAY_S) == utc(year, month, days)


@all_cases(("year", "month"), [(2026, 0), (2026, 13), (0, 1)])
def test_a_month_that_does_not_exist_is_an_error(year: int, month: int) -> None:
    with pytest.raises(ValueError, match=r"month|year|out of range"):
        month_days(year, month)


@all_cases(
    ("at", "months", "expected"),
    [
        (utc(2026, 1, 31), 1, utc(2026, 2, 28)),
        (utc(2024, 1, 31), 1, utc(2024, 2, 29)),
        (utc(2023, 12, 31), 2, utc(2024, 2, 29)),
        (utc(2024, 2, 29), 12, utc(2025, 2, 28)),
        (utc(2026, 8, 31), 1, utc(2026, 9, 30)),
        (utc(2026, 10, 31), 2, utc(2026, 12, 31)),
        (utc(2026, 12, 15, 13, 30), 1, utc(2027, 1, 15, 13, 30)),
        (utc(2026, 3, 31), -1, utc(2026, 2, 28)),
        (utc(2026, 1, 1), -1, utc(2025, 12, 1)),
        (utc(2026, 5, 31, 23, 59, 59), 0, utc(2026, 5, 31, 23, 59, 59)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(
    at: datetime, months: int, expected: datetime
) -> None:
    assert add_months(at, months) == expected


@given(times, st.integers(-900, 900))
def test_months_are_added_to_the_calendar_and_nothing_else(at: datetime, months: int) -> None:
    later = add_months(at, months)
    assert (later.year * 12 + later.month) - (at.year * 12 + at.month) == months
    assert later.day == min(at.day, calendar.monthrange(later.year, later.month)[1])
    assert later.timetz() == at.timetz()


@all_cases(
    ("at", "text"),
    [
        (utc(2026, 11, 22, 15), "2026-11-22T15:00:00Z"),
        (utc(2026, 11, 22, 15, 0, 0, 250_000), "2026-11-22T15:00:00.250000Z"),
        (datetime(2026, 11, 22, 1, tzinfo=EAST), "2026-11-21T17:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc_with_z(at: datetime, text: str) -> None:
    assert rfc3339(at) == text
    assert parse_rfc3339(text) == at


@given(times)
def test_parsing_reverses_formatting(at: datetime) -> None:
    text = rfc3339(at)
    assert text.endswith("Z")
    assert parse_rfc3339(text) == at


@all_cases(
    "text",
    ["2026-11-22T15:00:00Z", "2026-11-22T15:00:00+00:00", "2026-11-22T16:00:00+01:00"],
)
def test_times_of_any_zone_are_converted_to_utc(text: str) -> None:
    at = parse_rfc3339(text)
    assert at == utc(2026, 11, 22, 15)
    assert at.tzinfo is UTC


@all_cases(
    ("text", "expected"),
    [
        ("2026-11-22t15:00:00z", utc(2026, 11, 22, 15)),
        ("2026-11-22 15:00:00Z", utc(2026, 11, 22, 15)),
        ("2026-11-22T15:00Z", utc(2026, 11, 22, 15)),
        ("2026-11-22T15Z", utc(2026, 11, 22, 15)),
        ("2026-11-22T16:30:00+0130", utc(2026, 11, 22, 15)),
        ("2026-11-22T16:00:00+01", utc(2026, 11, 22, 15)),
        ("2026-11-22T15:00:00-00:00", utc(2026, 11, 22, 15)),
        ("2026-11-22T15:00:00.5Z", utc(2026, 11, 22, 15, 0, 0, 500_000)),
        ("2026-11-22T15:00:00,5Z", utc(2026, 11, 22, 15, 0, 0, 500_000)),
        ("2026-11-22T15:00:00.123456789Z", utc(2026, 11, 22, 15, 0, 0, 123_457)),
        ("2026-11-22T15:00:00.9999999Z", utc(2026, 11, 22, 15, 0, 1)),
        ("2026-12-31T23:59:60Z", utc(2027, 1, 1)),
        ("2026-12-31t23:59:60.25z", utc(2027, 1, 1, 0, 0, 0, 250_000)),
        ("2027-01-01T07:59:60+08:00", utc(2027, 1, 1)),
    ],
)
def test_times_are_read_in_all_forms_that_are_in_use(text: str, expected: datetime) -> None:
    assert parse_rfc3339(text) == expected


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - the zone is added
    st.from_regex(r"(\.[0-9]{1,12})?", fullmatch=True),
    st.sampled_from("Zz") | st.from_regex(r"[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]", fullmatch=True),
    st.sampled_from("Tt "),
)
def test_messages_and_all_other_times_are_read_to_the_same_instant(
    at: datetime, fraction: str, zone: str, separator: str
) -> None:
    """Messages are decoded by msgspec, whose reader is faster; the two must agree."""
    text = f"{at:%Y-%m-%d}".zfill(10) + f"{separator}{at:%H:%M:%S}{fraction}{zone}"
    assert parse_rfc3339(text) == msgspec.convert(text, datetime)


@all_cases("text", ["2026-11-22T15:00:00", "2026-11-22", "2026-11-22T15:00:00.5"])
def test_a_time_without_a_zone_is_rejected_with_the_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' has no time zone; write UTC as 2026-.*Z"):
        parse_rfc3339(text)


@all_cases(
    "text",
    [
        "",
        "now",
        "2026-11-22T25:00:00Z",
        "2026-02-30T00:00:00Z",
        "1795359600",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:60Z",
        "2026-11-22T15:00:60Z",
        "2026-11-22T15:00:61Z",
        "2026-11-22T15:60Z",
        "2026-11-22T24:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T15:00:00+24:00",
        "2026-11-22T15:00:00+01:60",
        "2026-11-22x15:00:00Z",
        "20261122T150000Z",
        " 2026-11-22T15:00:00Z",
        "2026-11-22T15:00:00Z\n",
        "2026-11-22T15:00:0\N{ARABIC-INDIC DIGIT ONE}Z",
        "x" * 100_000,
    ],
)
def test_other_texts_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        parse_rfc3339(text)
    assert len(str(caught.value)) < 200


def test_converting_to_utc() -> None:
    assert rfc3339(as_utc(datetime(2026, 11, 22, 1, tzinfo=EAST))) == "2026-11-21T17:00:00Z"
    with pytest.raises(ValueError, match="2026-11-22T01:00:00 has no time zone"):
        as_utc(datetime(2026, 11, 22, 1))  # noqa: DTZ001 - the error of this test
    with pytest.raises(ValueError, match=r"0001-01-01T00:00:00\+08:00 is out of range"):
        as_utc(datetime(1, 1, 1, tzinfo=EAST))


def test_the_clock_is_in_utc() -> None:
    assert utc_now().tzinfo is UTC
    assert abs(utc_now() - datetime.now(EAST)) < timedelta(minutes=1)


@all_cases(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("1e3", None),
        ("\u0667", None),
        ("\N{SUPERSCRIPT TWO}", None),
        ("0", 0.0),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("Sun, 22 Nov 2099 15:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Sun, 22 Nov 2026 14:00:00 GMT", None),
        ("Sun, 22 Nov 2026 15:00:10 -0000", 10.0),
        ("Sun, 22 Nov 2026 16:00:10 +0100", 10.0),
        ("Sunday, 22-Nov-26 15:00:10 GMT", 10.0),
        ("Sun Nov 22 15:00:10 2026", 10.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@example("0 NOV 0 0:3000000000 GMT")
@given(st.text() | st.from_regex(r"\A[0-9]{1,3} Nov [0-9]{1,6} [0-9:]{1,20} ([+-][0-9]+|GMT)\Z"))
def test_any_retry_after_is_a_wait_or_ignored(header: str) -> None:
    seconds = retry_after_s(header, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S

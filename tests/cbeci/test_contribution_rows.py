"""The rows of a partner become reports."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap import messages as wire
from miningmap.cbeci import contribution_rows as partner_rows
from miningmap.cbeci.contribution import FIELDS, PERIODS, UNITS
from miningmap.cbeci.contribution_rows import (
    Excess,
    Period,
    merged,
    period_end,
)
from miningmap.messages import Located, Report
from miningmap.plausibility import MAX_AHEAD, MAX_HASHRATE, Limit
from miningmap.retention import horizon
from miningmap.rows import InvalidRowsError
from miningmap.settings import Retention
from miningmap.units import scale
from tests.cases import all_cases

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


def row(country: str = "United States", province: str | None = None, **changes: object) -> Any:
    return {
        "period_start_date": "2026-11-01",
        "period": "daily",
        "country": country,
        "province": province,
        "average_hashrate": 1.5,
        "unit": "eh/s",
    } | changes


def read(*rows: object, now: datetime = NOW) -> list[Report]:
    return [
        partner_rows.report(period, rows_, "foundryusa", fetched_at=now, simulated=False)
        for period, rows_ in partner_rows.read(rows, now).items()
    ]


def errors(*rows: object) -> list[tuple[int, str | None, str]]:
    with pytest.raises(InvalidRowsError) as caught:
        read(*rows)
    return [(error.index, error.field, error.error) for error in caught.value.errors]


def test_a_report_is_the_pools_measured_hashrate_over_the_period() -> None:
    assert read(
        row("United States", "Texas"), row("Canada", average_hashrate=300, unit="ph/s")
    ) == [
        Report(
            pool="foundryusa",
            source="partner",
            start=datetime(2026, 11, 1, tzinfo=UTC),
            end=datetime(2026, 11, 2, tzinfo=UTC),
            hold_s=0,
            hashrate=1.8e18,
            places=(Located("CA", 3e17, "measured"), Located("US-TX", 1.5e18, "measured")),
            fetched_at=NOW,
            simulated=False,
        )
    ]


def test_without_rows_there_are_no_reports() -> None:
    assert read() == []


@all_cases(
    ("start", "period", "end"),
    [
        ("2024-02-28T23", "hourly", "2024-02-29T00"),
        ("2024-02-29T00:00:00Z", "hourly", "2024-02-29T01"),
        ("2024-02-28", "daily", "2024-02-29"),
        ("2024-12-31", "daily", "2025-01-01"),
        ("2024-02-26", "weekly", "2024-03-04"),
        ("2024-02-26", "biweekly", "2024-03-11"),
        ("2024-02-01", "monthly", "2024-03-01"),
        ("2023-12-01", "monthly", "2024-01-01"),
        ("2023-01-31", "monthly", "2023-02-28"),
    ],
)
def test_periods_are_an_hour_or_whole_days_and_a_month_is_a_calendar_month(
    start: str, period: str, end: str
) -> None:
    (report,) = read(row(period_start_date=start, period=period))
    assert report.start == datetime.fromisoformat(start.removesuffix("Z")).replace(tzinfo=UTC)
    assert report.end == datetime.fromisoformat(end).replace(tzinfo=UTC)


@pytest.mark.parametrize("start", ["2026-11-01", "2026-11-01T05:30:00Z", "2026-11-01T24", "T05", 5])
def test_an_hour_begins_on_a_whole_hour(start: object) -> None:
    expected = 'hour should be in "YYYY-MM-DDTHH:00:00Z" format'
    assert errors(row(period="hourly", period_start_date=start)) == [
        (0, "period_start_date", expected)
    ]


def test_two_spellings_of_an_hour_are_the_same_period() -> None:
    short, long = (
        row(period="Hourly", period_start_date=f"2026-11-01T05{rest}") for rest in ("", ":00:00Z")
    )
    ((index, _, error),) = errors(short, long)
    assert (index, error[-18:]) == (1, "in the same period")


@pytest.mark.parametrize(("days", "refused"), [(35, False), (36, True)])
def test_an_hour_that_is_no_longer_kept_is_an_error_and_a_day_is_not(
    days: int, *, refused: bool
) -> None:
    kept = horizon(Retention(hours_d=35), NOW)
    at = NOW - timedelta(days=days)
    old_day = row(period_start_date=f"{at:%Y-%m-%d}")
    old_hour = row(period="hourly", period_start_date=f"{at:%Y-%m-%dT%H}")
    assert partner_rows.read([old_day], NOW, kept)
    if not refused:
        assert partner_rows.read([old_hour], NOW, kept)
        return
    with pytest.raises(InvalidRowsError, match="hours that old are not kept") as caught:
        partner_rows.read([old_day, old_hour], NOW, kept)
    assert [(e.index, e.field) for e in caught.value.errors] == [(1, "period_start_date")]


def test_each_start_and_period_is_a_separate_report_in_order() -> None:
    found = read(
        row(period_start_date="2026-11-02"),
        row(period_start_date="2026-11-01", period="weekly"),
        row(period_start_date="2026-11-01"),
    )
    assert [(report.start.day, (report.end - report.start).days) for report in found] == [
        (1, 1),
        (1, 7),
        (2, 1),
    ]


@all_cases(("unit", "hashrate"), [("th/s", 1.5e12), ("ph/s", 1.5e15), ("eh/s", 1.5e18)])
def test_units_are_decimal(unit: str, hashrate: float) -> None:
    assert read(row(unit=unit))[0].hashrate == hashrate


def test_zero_is_a_measurement() -> None:
    (report,) = read(row(average_hashrate=0))
    assert report.hashrate == 0
    assert report.places == (Located("US", 0, "measured"),)


@all_cases(
    ("country", "province", "code"),
    [
        ("Iran, Islamic Rep.", None, "IR"),
        ("Hong Kong SAR, China", None, "HK"),
        ("China", "Nei Mongol", "CN-NM"),
        ("China", "Other", "CN-OTHER"),
        ("United States", "GA", "US-GA"),
        ("Georgia", None, "GE"),
        ("Other", None, "OTHER"),
        ("Channel Islands", None, "OTHER"),
    ],
)
def test_names_become_codes(country: str, province: str | None, code: str) -> None:
    assert [place.code for place in read(row(country, province))[0].places] == [code]


def test_places_that_share_a_code_are_added_up() -> None:
    (report,) = read(row("Channel Islands"), row("Other"))
    assert report.places == (Located("OTHER", 3e18, "measured"),)


@all_cases("missing", FIELDS)
def test_a_missing_key_is_named(missing: str) -> None:
    found = {key: value for key, value in row().items() if key != missing}
    assert errors(found) == [(0, missing, f"Missing key: {missing}")]


@all_cases("value", [None, 1, "row", []])
def test_a_row_must_be_an_object(value: object) -> None:
    ((index, field, error),) = errors(row(), value)
    assert (index, field) == (1, None)
    assert all(name in error for name in FIELDS)


@all_cases(("period", "unit"), [("Daily", "EH/s"), ("DAILY", "Eh/S"), ("daily", "EH/S")])
def test_periods_and_units_are_read_in_any_case(period: str, unit: str) -> None:
    written = row(period=period, unit=unit)
    assert read(written) == read(row(period="daily", unit="eh/s"))
    assert (written["period"], written["unit"]) == (period, unit)


DATE_FORMAT = 'date should be in "YYYY-MM-DD" format'


@all_cases(
    ("field", "value", "error"),
    [
        ("period_start_date", "2026-11-1", DATE_FORMAT),
        ("period_start_date", "20261101", DATE_FORMAT),
        ("period_start_date", "2026-W44-7", DATE_FORMAT),
        ("period_start_date", "2026-02-30", "the day 2026-02-30 does not exist"),
        ("period_start_date", "2026-02-29", "the day 2026-02-29 does not exist"),
        ("period_start_date", "2026-13-01", "the day 2026-13-01 does not exist"),
        ("period_start_date", "2026-11-01T00:00:00", DATE_FORMAT),
        ("period_start_date", "2026-11-01\n", DATE_FORMAT),
        ("period_start_date", "٢٠٢٦-11-01", DATE_FORMAT),
        ("period_start_date", 20261101, DATE_FORMAT),
        ("period_start_date", None, DATE_FORMAT),
        (
            "period_start_date",
            "0026-11-01",
            "0026-11-01 is before Bitcoin's first block, 2009-01-03",
        ),
        ("period", "yearly", "period should be one of hourly, daily, weekly, biweekly, monthly"),
        ("period", ["daily"], "period should be one of hourly, daily, weekly, biweekly, monthly"),
        ("country", 1, "country should be a string"),
        ("country", None, "country should be a string"),
        (
            "country",
            "Unknown",
            "unknown country: 'Unknown'; leave out hashrate that is not located",
        ),
        ("province", 1, "province should be a string, or null for the whole country"),
        (
            "province",
            "",
            "unknown subdivision of US: ''; the ISO 3166-2 code is accepted too",
        ),
        ("province", "Texsa", "unknown subdivision of US: 'Texsa'; near matches: Texas (US-TX)"),
        ("unit", "h/s", "unit should be one of th/s, ph/s, eh/s"),
        ("unit", None, "unit should be one of th/s, ph/s, eh/s"),
        ("average_hashrate", "1.5", "average_hashrate should be a finite number, 0 or more"),
        ("average_hashrate", True, "average_hashrate should be a finite number, 0 or more"),
        ("average_hashrate", None, "average_hashrate should be a finite number, 0 or more"),
        ("average_hashrate", -1, "average_hashrate should be a finite number, 0 or more"),
        ("average_hashrate", -0.5, "average_hashrate should be a finite number, 0 or more"),
        ("average_hashrate", math.nan, "average_hashrate should be a finite number, 0 or more"),
        ("average_hashrate", math.inf, "average_hashrate should be a finite number, 0 or more"),
        pytest.param(
            "average_hashrate",
            10**5000,
            "average_hashrate should be a finite number, 0 or more",
            id="an integer beyond all floats",
        ),
    ],
)
def test_an_invalid_value_is_named_with_its_field(field: str, value: object, error: str) -> None:
    assert errors(row("Canada"), row() | {field: value}) == [(1, field, error)]


def test_a_hashrate_that_is_too_large_is_an_error_that_names_the_unit() -> None:
    ((_, field, error),) = errors(row(average_hashrate=230_000_000))  # TH/s sent as eh/s
    assert field == "average_hashrate"
    assert "is the unit right?" in error
    assert read(row(average_hashrate=MAX_HASHRATE / 1e18))[0].hashrate == MAX_HASHRATE


def test_all_errors_are_listed_and_the_text_is_the_first_one() -> None:
    with pytest.raises(InvalidRowsError, match="unknown country: 'Chnia'") as caught:
        read(
            row(),
            row("Chnia", unit="H/s", average_hashrate=-1),
            row("Kazakhstan", period_start_date="today", period="yearly"),
        )
    assert {(error.index, error.field) for error in caught.value.errors} == {
        (1, "country"),
        (1, "unit"),
        (1, "average_hashrate"),
        (2, "period_start_date"),
        (2, "period"),
    }


def test_a_misspelt_country_is_not_an_error_of_its_province() -> None:
    assert [(index, field) for index, field, _ in errors(row("Chnia", "Sichuan"))] == [
        (0, "country")
    ]


@all_cases(
    ("start", "period"),
    [
        ("2026-11-22", "daily"),
        ("2026-11-23", "daily"),
        ("2026-11-16", "weekly"),
        ("2026-11-09", "biweekly"),
        ("2026-11-01", "monthly"),
        ("9999-12-31", "monthly"),
    ],
)
def test_a_period_that_has_not_ended_is_rejected(start: str, period: str) -> None:
    ((_, field, error),) = errors(row(period_start_date=start, period=period))
    assert field == "period_start_date"
    assert error == f"the period that starts on {start} has not ended yet (UTC)"


def test_a_period_that_ends_now_is_accepted() -> None:
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    rows = [row(period_start_date="2026-11-21")]
    (report,) = read(*rows, now=midnight)
    assert report.end == midnight
    # The clocks of partners differ from this one.
    assert read(*rows, now=midnight - MAX_AHEAD)
    with pytest.raises(InvalidRowsError, match="has not ended"):
        read(*rows, now=midnight - MAX_AHEAD - timedelta(microseconds=1))


def test_the_same_place_twice_in_a_period_names_both_rows() -> None:
    found = errors(row("China", "Sichuan"), row(), row("CN", "CN-SC"), row("Mainland China", "SC"))
    assert found == [
        (2, "country", "data[0] and data[2] are the same place, CN-SC, in the same period"),
        (3, "country", "data[0] and data[3] are the same place, CN-SC, in the same period"),
    ]


def test_other_twice_is_a_duplicate() -> None:
    ((index, _, error),) = errors(row("Other"), row("Channel Islands"), row(" OTHER "))
    assert index == 2
    assert error == "data[0] and data[2] are the same place, OTHER, in the same period"


def test_the_same_place_in_two_periods_is_not_a_duplicate() -> None:
    assert len(read(row(), row(period_start_date="2026-11-02"), row(period="weekly"))) == 3


def test_a_country_beside_its_provinces_is_its_remainder() -> None:
    (report,) = read(row("China"), row("China", "Sichuan"), row("China", "Other"))
    assert [place.code for place in report.places] == ["CN", "CN-OTHER", "CN-SC"]
    assert report.hashrate == 4.5e18


def hashrates(*rows: object) -> dict[str, float]:
    (found,) = partner_rows.read(rows, NOW).values()
    return found


def test_a_row_replaces_only_the_row_of_its_place() -> None:
    before = hashrates(row(), row("Canada"), row("China", "Sichuan"))
    after = hashrates(row("CA", average_hashrate=2), row("China", "Xinjiang"))
    assert merged(before, after) == {
        "US": 1.5e18,
        "CA": 2e18,
        "CN-SC": 1.5e18,
        "CN-XJ": 1.5e18,
    }


def test_a_row_of_zero_replaces_the_row_of_its_place() -> None:
    assert merged(hashrates(row(), row("Canada")), hashrates(row(average_hashrate=0))) == {
        "US": 0,
        "CA": 1.5e18,
    }


def test_a_row_of_a_country_does_not_replace_its_provinces() -> None:
    before = hashrates(row("China"), row("China", "Sichuan"))
    assert merged(before, hashrates(row("China", average_hashrate=0))) == {"CN": 0, "CN-SC": 1.5e18}


def test_places_that_share_a_code_are_replaced_separately() -> None:
    now = merged(
        hashrates(row("Other"), row("Channel Islands")), hashrates(row("other", average_hashrate=0))
    )
    (found,) = dict.fromkeys(partner_rows.read([row()], NOW), now).items()
    report = partner_rows.report(*found, "foundryusa", fetched_at=NOW, simulated=False)
    assert report.places == (Located("OTHER", 1.5e18, "measured"),)


def test_overlapping_periods_are_separate() -> None:
    day = row(period_start_date="2026-10-01")
    month = row(period_start_date="2026-10-01", period="monthly")
    first = datetime(2026, 10, 1, tzinfo=UTC)
    assert list(partner_rows.read([month, day], NOW)) == [
        Period(first, "daily"),
        Period(first, "monthly"),
    ]


# Realistic figures, whose sums neither underflow nor overflow.
HASHRATES = st.floats(0, 1e5) | st.integers(0, 10**5)
PLACES = st.sampled_from(
    [
        ("China", "Sichuan"),
        ("China", "Xinjiang"),
        ("China", "Other"),
        ("United States", None),
        ("Kazakhstan", None),
        ("Other", None),
        ("Channel Islands", None),
    ]
)


@st.composite
def posts(draw: st.DrawFn) -> list[Any]:
    keys = st.tuples(PLACES, st.sampled_from(["2019-09-01", "2026-09-01"]))
    return [
        row(
            *place,
            period_start_date=start,
            average_hashrate=draw(HASHRATES),
            unit=draw(st.sampled_from(UNITS)),
        )
        for place, start in draw(st.lists(keys, unique=True, max_size=12))
    ]


@given(posts(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(rows: list[Any], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    assert read(*rows) == read(*shuffled)


@given(posts(), posts())
def test_repeated_rows_change_nothing_and_later_rows_win(
    earlier: list[Any], later: list[Any]
) -> None:
    before, after = partner_rows.read(earlier, NOW), partner_rows.read(later, NOW)
    for period, now in after.items():
        once = merged(before.get(period, {}), now)
        assert merged(once, now) == once
        assert now.items() <= once.items()
        assert once.keys() == before.get(period, {}).keys() | now.keys()


@given(posts())
def test_reports_are_valid_and_lose_no_hashrate(rows: list[Any]) -> None:
    found = read(*rows)
    assert [wire.decode(wire.encode(report)) for report in found] == found
    scales = {"th/s": 1e12, "ph/s": 1e15, "eh/s": 1e18}
    sent = math.fsum(sent["average_hashrate"] * scales[sent["unit"]] for sent in rows)
    assert math.fsum(report.hashrate for report in found) == pytest.approx(sent, rel=1e-12)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, JSON)) | JSON, min_size=1))
def test_arbitrary_rows_are_rejected_with_their_index(rows: list[Any]) -> None:
    assert {index for index, _, _ in errors(*rows)} == set(range(len(rows)))


@given(st.sampled_from(PERIODS), st.dates(date(2009, 1, 3), date(2100, 1, 1)))
def test_a_period_is_an_hour_to_a_month_long(period: str, day: date) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert timedelta(hours=1) <= period_end(start, period) - start <= timedelta(days=31)


def test_rows_of_nested_provinces_stay_apart_and_are_added_up_in_the_report() -> None:
    ile_de_france = row("France", "Île-de-France")
    (report,) = read(row("France", "Paris"), row("France", "FR-78"), ile_de_france)
    assert report.places == (Located("FR-IDF", 4.5e18, "measured"),)


def test_a_province_that_is_a_country_is_refused_with_its_code() -> None:
    ((_, field, error),) = errors(row("United States", "Puerto Rico"))
    assert field == "province"
    assert error.endswith("use the country code PR")


# --- more than the pool can have had --------------------------------------------------------------

NETWORK = "more than twice the network's 950 EH/s at that time"
DAY_ONE = Period(datetime(2026, 11, 1, tzinfo=UTC), "daily")


def excess_errors(
    *rows: Any, total: float, limit: float = 1.9e21
) -> list[tuple[int, str | None, str]]:
    excesses = {DAY_ONE: Excess(total, Limit(limit, NETWORK))}
    found = partner_rows.excess_error(rows, NOW, excesses)
    return [(error.index, error.field, error.error) for error in found.errors]


def test_each_row_that_alone_is_too_large_is_named_with_the_unit_that_would_fit() -> None:
    texas = row("United States", "Texas", average_hashrate=20000)
    quebec = row("Canada", "Quebec", average_hashrate=10000)
    small = row("Norway", average_hashrate=1)
    other_day = row("Norway", average_hashrate=9000, period_start_date="2026-11-02")
    assert excess_errors(texas, small, quebec, other_day, total=3.0001e22) == [
        (0, "average_hashrate", f"20000 eh/s is {NETWORK}; is the unit ph/s?"),
        (2, "average_hashrate", f"10000 eh/s is {NETWORK}; is the unit ph/s?"),
    ]


def test_of_rows_that_are_too_large_together_the_largest_is_named() -> None:
    rows = [row("Norway", average_hashrate=900), row("Canada", average_hashrate=1100)]
    ((index, _, error),) = excess_errors(*rows, total=2e21)
    assert index == 1
    together = (
        "with this row of 1100 eh/s and those sent before, the pool has 2 ZH/s in this period"
    )
    assert error == f"{together}, {NETWORK}; is the unit ph/s?"


@all_cases(
    ("figure", "unit", "limit", "hint"),
    [
        (2_000_000, "ph/s", 1.9e21, "; is the unit th/s?"),
        (2_000_000_000, "th/s", 1.9e21, ""),
        (20_000, "eh/s", 1e17, "; is the unit th/s?"),
        (20_000, "eh/s", 1e15, ""),
    ],
)
def test_the_largest_smaller_unit_that_fits_is_suggested(
    figure: float, unit: str, limit: float, hint: str
) -> None:
    sent = row("Norway", average_hashrate=figure, unit=unit)
    total = figure * float(scale(unit))
    ((_, _, error),) = excess_errors(sent, total=total, limit=limit)
    assert error == f"{figure} {unit} is {NETWORK}{hint}"

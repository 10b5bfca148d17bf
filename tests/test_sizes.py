"""How much one message may claim, and which honest ones have to fit."""

from __future__ import annotations

from datetime import timedelta

import pytest

from miningmap.messages import MAX_HOLD_S, Located, Network, Report
from miningmap.places import all_places, is_locatable, outermost
from miningmap.plausibility import impossible
from miningmap.sizes import MAX_PLACES, MAX_VALUES, excess, values_of
from tests.cases import all_cases
from tests.streams.fixtures import NOON

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
CODES = [p.code for p in all_places() if is_locatable(p.code) and outermost(p.code) == p.code]
COUNTRIES = [code for code in CODES if "-" not in code]
USUAL = [*COUNTRIES, *(code for code in CODES if code[:3] in {"CN-", "US-"})]


def report(
    places: int, length: timedelta = MINUTE, hold_s: int = 0, *, codes: list[str] = CODES
) -> Report:
    located = [Located(code, 1e15, "measured") for code in codes]
    more = [Located(code, 1e15, "declared") for code in codes]
    return Report(
        pool="a",
        source="own",
        start=MIDNIGHT - length,
        end=MIDNIGHT,
        hold_s=hold_s,
        hashrate=1e20,
        places=tuple([*located, *more][:places]),
        fetched_at=MIDNIGHT,
        simulated=False,
    )


@all_cases(
    "message",
    [
        report(0),
        report(len(USUAL), 31 * DAY, codes=USUAL),  # the largest table that can be imported
        report(200, 31 * DAY),
        report(1_340, 31 * DAY),
        report(MAX_PLACES, DAY),
        report(MAX_PLACES, MINUTE, 300),
        report(MAX_PLACES, MINUTE, 7200),  # the longest hold of a live row
        report(MAX_PLACES, 59 * MINUTE, 118 * 60),  # and the longest row that has one by default
        report(110, 366 * DAY),
        report(len(USUAL), MINUTE, MAX_HOLD_S, codes=USUAL),
    ],
)
def test_what_an_honest_sender_may_need_is_no_excess(message: Report) -> None:
    assert excess(message) is None
    assert impossible(message) is None


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            report(MAX_PLACES + 1),
            "2,001 places; a report has at most 2,000",
        ),
        (
            report(1_000, MINUTE, MAX_HOLD_S),
            (
                "a total and 1,000 places in 1,441 minutes are 1,442,441 values; a report has at "
                "most 1,000,000: send fewer places or a shorter hold"
            ),
        ),
        (
            report(1_500, 31 * DAY),
            (
                "a total and 1,500 places in 744 hours are 1,116,744 values; a report has at most "
                "1,000,000: send fewer places or shorter periods"
            ),
        ),
    ],
)
def test_what_would_fill_redis_is_too_large(message: Report, error: str) -> None:
    assert excess(message) == error
    rejection = impossible(message)
    assert rejection is not None
    assert rejection == ("too_large", error)


def test_a_value_is_the_total_or_a_place_in_a_minute_or_an_hour() -> None:
    assert values_of(report(3, 2 * MINUTE, 120)) == 4 * (2 + 2)
    assert values_of(report(3, 2 * DAY)) == 4 * 48
    assert values_of(report(3, 30 * timedelta(seconds=1))) == 4


def test_the_largest_message_without_places_is_far_below_the_limit() -> None:
    network = Network(
        source="mempool",
        start=MIDNIGHT - 366 * DAY,
        end=MIDNIGHT,
        hold_s=0,
        hashrate=1e21,
        fetched_at=MIDNIGHT,
        simulated=False,
    )
    assert values_of(network) == 366 * 24
    assert values_of(network) < MAX_VALUES / 100

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miningmap.messages import Published
from miningmap.retention import Horizon, TooLateError, horizon
from miningmap.settings import Retention
from miningmap.times import DAY_H, DAY_S, HOUR_S, bucket
from streams.method.cells import (
    Cell,
    DaySums,
    MemoryCells,
    Series,
    cell_keys,
    claimed_cell,
    claims_of,
    divided,
    sum_of_days,
)
from streams.method.tables import Rows
from streams.method.windows import Span
from tests.streams.fixtures import NOON, network, report

if TYPE_CHECKING:
    from miningmap.messages import Basis, Message, Report
    from streams.method.cells import Places

MINUTE = bucket(NOON, 60)
HOUR = bucket(NOON, 3600)
DAY = bucket(NOON, 86_400)
MIDNIGHT = NOON.replace(hour=0)
OWN = Series("a", "own")


def cells_of(*messages: Message) -> MemoryCells:
    cells = MemoryCells()
    for message in messages:
        cells.add(message)
    return cells


def minute(cells: MemoryCells, number: int) -> float | None:
    cell = cells.sum(OWN, Span("minute", range(number, number + 1)))
    return cell.total if cell.minutes else None


def hour_cell(cells: MemoryCells) -> Cell:
    return cells.sum(OWN, Span("hour", range(HOUR, HOUR + 1)))


def hour(cells: MemoryCells, number: int) -> tuple[float, int]:
    cell = cells.sum(OWN, Span("hour", range(number, number + 1)))
    return cell.total, cell.minutes


def test_a_short_report_covers_the_minutes_it_touches_and_holds_those_after() -> None:
    start = NOON + timedelta(seconds=30)
    sent = report(hashrate=5, start=start, end=start + timedelta(seconds=60), hold_s=60)
    covered, held = claims_of(sent)
    assert (covered.buckets, covered.rank.first) == (range(MINUTE, MINUTE + 2), 1)
    assert (held.buckets, held.rank.first) == (range(MINUTE + 2, MINUTE + 3), 0)


def test_a_report_that_ends_on_the_minute_does_not_touch_the_next() -> None:
    (covered,) = claims_of(report(hashrate=5))
    assert covered.buckets == range(MINUTE, MINUTE + 1)


def test_a_covered_minute_wins_over_a_held_one_however_old() -> None:
    held = report(hashrate=1, hold_s=300, fetched_at=NOON + timedelta(hours=1))
    covered = report(hashrate=2, start=NOON + timedelta(minutes=2))
    for order in ((held, covered), (covered, held)):
        assert minute(cells_of(*order), MINUTE + 2) == 2
        assert minute(cells_of(*order), MINUTE + 3) == 1


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        (
            report(hashrate=9, fetched_at=NOON + timedelta(minutes=5)),
            report(hashrate=1, end=NOON + timedelta(seconds=90)),
        ),
        (report(hashrate=9), report(hashrate=1, fetched_at=NOON + timedelta(minutes=5))),
        (report(hashrate=1), report(hashrate=9)),
    ],
    ids=["later end", "later fetched_at", "larger hashrate"],
)
def test_the_claim_that_wins_a_minute_is_the_one_with_the(loser: Report, winner: Report) -> None:
    for order in ((loser, winner), (winner, loser), (winner, loser, winner)):
        assert minute(cells_of(*order), MINUTE) == winner.hashrate


def test_reports_that_differ_only_in_places_give_the_same_cell_in_any_order() -> None:
    one, other = report(places={"US": 5.0}), report(places={"CA": 5.0})
    span = Span("minute", range(MINUTE, MINUTE + 1))
    first = cells_of(one, other).sum(OWN, span).places
    assert first == cells_of(other, one).sum(OWN, span).places


def test_reports_that_differ_only_in_their_basis_give_the_same_cell_in_any_order() -> None:
    one, other = report(hashrate=10), report(hashrate=10, basis="relayed")
    assert hour_cell(cells_of(one, other)) == hour_cell(cells_of(other, one))


def test_a_simulated_figure_of_the_network_gives_a_simulated_cell() -> None:
    simulated = msgspec.structs.replace(network(5), simulated=True)
    assert claimed_cell(simulated, "minute") == Cell(1, 5, simulated=True)


def test_networks_that_differ_only_in_simulated_give_the_same_cell_in_any_order() -> None:
    one, other = network(5), msgspec.structs.replace(network(5), simulated=True)
    series, span = Series(None, "mempool"), Span("minute", range(MINUTE, MINUTE + 1))
    assert cells_of(one, other).sum(series, span) == cells_of(other, one).sum(series, span)


def test_the_published_table_is_the_last_criterion_between_claims() -> None:
    start, end = MIDNIGHT.replace(day=1), MIDNIGHT.replace(month=12, day=1)
    plain, other = (report(places={code: 5.0}, start=start, end=end) for code in ("US", "CA"))
    tables = [
        msgspec.structs.replace(sent, published=(Published("US", share, "0"),))
        for sent in (plain, other)
        for share in ("1.0", "1.00")
    ]
    ranks = {claims_of(sent)[0].rank for sent in (plain, other, *tables)}
    assert len(ranks) == 6


def test_a_daily_row_wins_over_a_monthly_one_hour_by_hour() -> None:
    month = report(hashrate=1, start=MIDNIGHT.replace(day=1), end=MIDNIGHT.replace(month=12, day=1))
    day = report(hashrate=2, start=MIDNIGHT, end=MIDNIGHT + timedelta(days=1))
    for order in ((month, day), (day, month)):
        cells = cells_of(*order)
        assert hour(cells, HOUR) == (120, 60)
        assert hour(cells, HOUR + 24) == (60, 60)


def test_an_hour_is_the_sum_of_its_minutes_until_it_is_claimed_directly() -> None:
    cells = cells_of(
        report(hashrate=3, hold_s=60), report(hashrate=5, start=NOON.replace(minute=30))
    )
    assert hour(cells, HOUR) == (3 + 3 + 5, 3)
    cells.add(report(hashrate=1, end=NOON + timedelta(hours=1)))
    assert hour(cells, HOUR) == (60, 60)


def test_the_minute_tier_does_not_see_reports_of_an_hour() -> None:
    assert minute(cells_of(report(hashrate=1, end=NOON + timedelta(hours=1))), MINUTE) is None


def test_a_day_is_the_sum_of_its_hours() -> None:
    cells = cells_of(
        report(hashrate=3), report(hashrate=1, start=MIDNIGHT, end=MIDNIGHT.replace(hour=2))
    )
    day = cells.sum(OWN, Span("day", range(DAY, DAY + 1)))
    assert (day.total, day.minutes) == (3 + 120, 121)


def test_the_first_bucket_is_known_in_every_tier() -> None:
    cells = cells_of(
        report(hashrate=3), report(hashrate=1, start=MIDNIGHT, end=MIDNIGHT.replace(hour=1))
    )
    assert cells.first(OWN, "minute") == MINUTE
    assert cells.first(OWN, "hour") == DAY * 24
    assert cells.first(OWN, "day") == DAY


def test_the_first_hour_and_day_are_those_of_the_first_minute() -> None:
    cells = cells_of(report(hashrate=3, start=NOON.replace(minute=30)))
    firsts = [cells.first(OWN, "minute"), cells.first(OWN, "hour"), cells.first(OWN, "day")]
    assert firsts == [MINUTE + 30, HOUR, DAY]


def test_the_first_minute_is_unknown_where_only_hours_were_claimed() -> None:
    cells = cells_of(report(hashrate=3, end=NOON + timedelta(hours=1)))
    assert [cells.first(OWN, "minute"), cells.first(OWN, "hour")] == [None, HOUR]


@pytest.mark.parametrize("simulated", [(True, False), (False, True)])
def test_a_sum_is_simulated_if_any_of_its_minutes_is(simulated: tuple[bool, bool]) -> None:
    cells = cells_of(
        *(
            msgspec.structs.replace(
                report(hashrate=1, start=NOON + timedelta(minutes=n)), simulated=sent
            )
            for n, sent in enumerate(simulated)
        )
    )
    both = Span("minute", range(MINUTE, MINUTE + 2))
    assert cells.sum(OWN, both).simulated
    assert cells.sum(OWN, Span("day", range(DAY, DAY + 1))).simulated
    assert not cells.sum(OWN, Span("minute", range(MINUTE + 2, MINUTE + 9))).simulated


@pytest.mark.parametrize(
    ("bases", "worst"),
    [
        (("reported", "reported"), 0),
        (("relayed", "reported"), 1),
        (("mined", "relayed"), 2),
    ],
)
def test_a_sum_has_the_worst_basis_of_its_minutes(bases: tuple[Basis, Basis], worst: int) -> None:
    first, second = bases
    later = NOON + timedelta(minutes=1)
    cells = cells_of(report(hashrate=1, basis=first), report(hashrate=1, start=later, basis=second))
    for tier, number in (("minute", MINUTE), ("hour", HOUR), ("day", DAY)):
        span = Span(tier, range(number, number + 2))  # type: ignore[arg-type]
        assert cells.sum(OWN, span).basis == worst


def test_the_networks_hashrate_has_its_own_series() -> None:
    cells = MemoryCells()
    cells.add(network(7))
    assert list(cells.series()) == [Series(None, "mempool")]


class TestTooLate:
    """Only kept buckets are claimed; a message that could claim none of them is rejected."""

    horizon = Horizon(minutes_from_hour=HOUR, hours_from_day=DAY)

    def test_minutes_before_the_oldest_hour_are_left_out(self) -> None:
        start = NOON - timedelta(minutes=2)
        sent = report(hashrate=1, start=start, end=NOON + timedelta(minutes=1), hold_s=60)
        covered, held = claims_of(sent, self.horizon)
        assert covered.buckets == range(MINUTE, MINUTE + 1)
        assert held.buckets == range(MINUTE + 1, MINUTE + 2)

    def test_a_report_older_than_the_kept_minutes_is_rejected(self) -> None:
        with pytest.raises(TooLateError, match="minutes that old are not kept"):
            claims_of(report(hashrate=1, start=NOON - timedelta(minutes=9)), self.horizon)

    def test_whole_days_whose_hours_are_gone_are_claimed_as_days(self) -> None:
        start = MIDNIGHT - timedelta(days=2)
        sent = report(hashrate=2, start=start, end=MIDNIGHT + timedelta(hours=3))
        hours, days = claims_of(sent, self.horizon)
        assert (hours.tier, hours.buckets) == ("hour", range(DAY * 24, DAY * 24 + 3))
        assert (days.tier, days.buckets) == ("day", range(DAY - 2, DAY))
        cell = claimed_cell(sent, "day")
        assert (cell.total, cell.minutes) == (2 * 1440, 1440)
        assert days.rank == hours.rank

    def test_a_part_of_a_day_whose_hours_are_gone_is_rejected(self) -> None:
        start = MIDNIGHT - timedelta(days=1)
        with pytest.raises(TooLateError, match="hours that old are not kept"):
            claims_of(report(hashrate=1, start=start, end=start.replace(hour=5)), self.horizon)


def test_the_horizon_is_by_whole_hours_and_days() -> None:
    kept = Retention(minutes_h=48, hours_d=35)
    now = datetime.fromisoformat("2026-11-22T15:59:59+00:00")
    found = horizon(kept, now)
    assert found.minutes_from_hour == bucket(now, HOUR_S) - 48
    assert found.hours_from_day == bucket(now, DAY_S) - 35


def test_minutes_are_kept_for_no_longer_than_the_hours_that_a_day_is_rolled_up_from() -> None:
    kept = Retention(minutes_h=60 * 24, hours_d=31)
    oldest = bucket(NOON, DAY_S) - 31
    assert horizon(kept, NOON) == Horizon(oldest * DAY_H, oldest)
    with pytest.raises(TooLateError):
        claims_of(report(hashrate=1, start=NOON - timedelta(days=40)), horizon(kept, NOON))


minutes = st.integers(0, 40)
short_reports = st.builds(
    lambda start, length, hold, late, hashrate: report(
        hashrate=float(hashrate),
        start=NOON + timedelta(seconds=20 * start),
        end=NOON + timedelta(seconds=20 * (start + length)),
        hold_s=hold,
        fetched_at=NOON + timedelta(hours=1, seconds=late),
    ),
    minutes,
    st.integers(1, 20),
    st.integers(0, 300),
    st.integers(0, 3),
    st.integers(0, 3),
)
long_reports = st.builds(
    lambda start, length, hashrate: report(
        hashrate=float(hashrate),
        start=MIDNIGHT + timedelta(hours=start),
        end=MIDNIGHT + timedelta(hours=start + length),
    ),
    st.integers(0, 20),
    st.integers(1, 40),
    st.integers(0, 3),
)


reports = st.lists(short_reports | long_reports, min_size=1, max_size=12)


@given(reports.flatmap(lambda sent: st.tuples(st.just(sent), st.permutations(sent + sent[:3]))))
def test_cells_do_not_depend_on_order_or_repetition(
    both: tuple[list[Report], list[Report]],
) -> None:
    sent, again = both
    one, other = cells_of(*sent), cells_of(*again)
    for span in (
        Span("minute", range(MINUTE, MINUTE + 40)),
        Span("hour", range(DAY * 24, DAY * 24 + 60)),
        Span("day", range(DAY, DAY + 3)),
    ):
        for number in span.buckets:
            each = Span(span.tier, range(number, number + 1))
            assert one.sum(OWN, each) == other.sum(OWN, each)


def test_a_span_of_hours_uses_the_roll_ups_of_whole_days() -> None:
    head, tail = range(5, DAY_H), range(3 * DAY_H, 3 * DAY_H + 2)
    hours = Span("hour", range(head.start, tail.stop))
    days = [("day", 1), ("day", 2)]
    assert cell_keys(hours) == [*(("hour", n) for n in head), *days, *(("hour", n) for n in tail)]
    assert cell_keys(Span("hour", head)) == [("hour", n) for n in head]
    assert cell_keys(Span("minute", range(DAY_H * 3))) == [("minute", n) for n in range(DAY_H * 3)]


@pytest.mark.parametrize(
    "lists",
    [
        [("US",)],
        [()],
        [("US",), ("CA", "US"), ()],
        [*[("US",)] * 40, *[("US", "CA")] * 40],
    ],
    ids=["the same places", "none", "other places each day", "other places from a day on"],
)
@given(asked=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 70)), min_size=1, max_size=12))
def test_sliding_sums_of_days_have_the_digits_of_single_ones(
    lists: list[tuple[str, ...]], asked: list[tuple[int, int]]
) -> None:
    def cell_of(day: int) -> Cell | None:
        places: Places = {(code, "measured"): day / 7 for code in lists[day % len(lists)]}
        return Cell(1, day / 3, Rows.of(places)) if day % 5 else None

    sliding = DaySums(cell_of)
    for start, length in asked:
        days = range(start, start + length)
        first, second = sliding.sum(days), sum_of_days(days, cell_of)
        assert first == second
        assert first.minutes == sum(day % 5 > 0 for day in days)


def test_days_are_divided_where_a_block_of_thirty_begins_inside_them() -> None:
    assert divided(range(31, 61)) == (range(31, 60), range(60, 61))
    assert divided(range(30, 60)) == (range(0), range(30, 60))
    assert divided(range(31, 60)) == (range(0), range(31, 60))
    assert divided(range(31, 31)) == (range(0), range(31, 31))

"""Which messages can be true: by themselves, and beside what is known of their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from miningmap.messages import Located, Message, Network, Report
from miningmap.plausibility import (
    MAX_AHEAD,
    MIN_BLOCKS,
    NEAREST_DAYS,
    KnownFigures,
    disagreement,
    rejected,
)
from miningmap.times import FIRST_BLOCK
from tests.cases import all_cases

EH = 1e18
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
AUTUMN_2019 = datetime(2019, 9, 1, tzinfo=UTC)


def network(
    hashrate: float, end: datetime = NOW, length: timedelta = MINUTE, source: str = "mempool"
) -> Network:
    return Network(
        source=source,
        start=end - length,
        end=end,
        hold_s=0,
        hashrate=hashrate,
        fetched_at=end,
        simulated=False,
    )


def report(
    hashrate: float,
    end: datetime = NOW,
    length: timedelta = MINUTE,
    *,
    places: tuple[Located, ...] = (),
    blocks: int | None = None,
    pool: str = "ocean",
) -> Report:
    return Report(
        pool=pool,
        source="own",
        start=end - length,
        end=end,
        hold_s=0,
        hashrate=hashrate,
        places=places,
        fetched_at=end,
        simulated=False,
        blocks=blocks,
    )


def known(*messages: Message, fallback: KnownFigures | None = None) -> KnownFigures:
    figures = KnownFigures(fallback)
    for message in messages:
        figures.add(message)
    return figures


def contradiction(figures: KnownFigures, message: Message) -> str | None:
    rejection = figures.contradicted(message)
    assert rejection is None or rejection.reason == "implausible"
    return rejection and rejection.error


def error(figures: KnownFigures, message: Message) -> str | None:
    rejection = figures.rejected(message)
    assert rejection is None or rejection.reason == "implausible"
    return rejection and rejection.error


# --- by themselves --------------------------------------------------------------------------------


@all_cases(
    ("message", "reason"),
    [
        (report(1), None),
        (report(1, NOW + MAX_AHEAD), None),
        (report(1, NOW + MAX_AHEAD + MINUTE), "future"),
        (network(1, NOW + MAX_AHEAD + MINUTE), "future"),
        (report(0), "implausible"),
        (report(0, NOW, DAY), "implausible"),
        (network(0), "implausible"),
        (report(0, places=(Located("US", 0.0, "measured"),)), None),
        (report(1, places=(Located("US", 0.0, "measured"),)), None),
        (report(1, FIRST_BLOCK), "implausible"),
        (network(1, FIRST_BLOCK, DAY), "implausible"),
        (report(1, FIRST_BLOCK + 29 * DAY, 31 * DAY), None),  # January 2009
    ],
)
def test_the_future_the_time_before_bitcoin_and_a_total_of_0_are_rejected(
    message: Message, reason: str | None
) -> None:
    rejection = rejected(message, NOW)
    assert (rejection and rejection.reason) == reason


def test_a_future_message_is_explained_with_its_end_and_the_clock() -> None:
    rejection = rejected(report(1, NOW + DAY), NOW)
    assert rejection is not None
    assert rejection.error == (
        "ends at 2026-11-23T15:00:00+00:00, which is more than 5 minutes after "
        "2026-11-22T15:00:00+00:00; is the sender's clock right?"
    )


def test_more_than_anybody_can_have_is_rejected_without_any_knowledge() -> None:
    assert error(known(), report(1e23)) is None
    assert error(known(), report(1.1e23)) == (
        "110 ZH/s is more than 100 ZH/s, a hundred times the network of 2026; is the unit right?"
    )
    assert error(known(), network(1.1e23)) is not None


# --- the network of that time ---------------------------------------------------------------------


def test_a_pool_is_compared_with_the_network_of_its_own_time() -> None:
    figures = known(network(66 * EH, AUTUMN_2019, 30 * DAY), network(950 * EH))
    assert error(figures, report(132 * EH, AUTUMN_2019, 7 * DAY)) is None
    assert error(figures, report(133 * EH, AUTUMN_2019, 7 * DAY)) == (
        "133 EH/s is more than twice the network's 66 EH/s at that time"
    )
    assert error(figures, report(1900 * EH)) is None
    assert error(figures, report(1901 * EH)) is not None


def test_without_any_knowledge_of_that_time_a_pool_is_accepted() -> None:
    figures = known(network(950 * EH))
    assert error(figures, report(2000 * EH, NOW - NEAREST_DAYS * DAY)) is not None
    assert error(figures, report(2000 * EH, NOW + NEAREST_DAYS * DAY)) is not None
    assert error(figures, report(2000 * EH, NOW - (NEAREST_DAYS + 1) * DAY)) is None
    assert error(figures, report(2000 * EH, NOW + (NEAREST_DAYS + 1) * DAY)) is None
    assert error(figures, report(2000 * EH, AUTUMN_2019, DAY)) is None


def test_the_days_of_a_period_count_by_their_mean_and_the_days_around_it_do_not() -> None:
    """The whole hashrate of the network is plausible, such as CBECI's monthly totals."""
    days = [network((100 + n) * EH, NOW - n * DAY) for n in range(3)]
    figures = known(*days, network(5000 * EH, NOW - 10 * DAY))
    assert figures.network(NOW - 3 * DAY, NOW) == {"mempool": pytest.approx(101 * EH)}
    assert error(figures, report(101 * EH, NOW.replace(hour=0), 2 * DAY)) is None
    assert error(figures, report(210 * EH, NOW.replace(hour=0), 2 * DAY)) is not None


def test_of_a_day_the_shortest_then_the_latest_message_counts() -> None:
    """So a figure in the wrong unit counts until the next poll only, whatever the order."""
    wrong = network(0.95 * EH, NOW - 10 * MINUTE)
    right = network(950 * EH)
    month = network(10 * EH, datetime(2026, 12, 1, tzinfo=UTC), 30 * DAY)
    for messages in ([wrong, right, month], [month, right, wrong]):
        assert known(*messages).network(NOW, NOW) == {"mempool": 950 * EH}


def test_of_several_sources_the_median_counts() -> None:
    """One source that is wrong neither rejects all pools nor lets each of them pass."""
    right = [network(950 * EH, source="a"), network(960 * EH, source="b")]
    for wrong in (network(0.95 * EH), network(50_000 * EH)):
        figures = known(*right, wrong)
        assert error(figures, report(1900 * EH)) is None
        assert error(figures, report(1921 * EH)) is not None
    # Of two, nobody knows which is wrong; a figure too low does not reject pools that can be true.
    assert error(known(network(0.95 * EH), right[0]), report(950 * EH)) is None


def test_what_is_known_of_a_time_is_not_outvoted_by_the_fallback() -> None:
    claimed = known(
        network(50_000 * EH, source="aaa"),
        network(66 * EH, AUTUMN_2019, DAY),
        report(40_000 * EH, blocks=60),
        report(1 * EH, blocks=60, pool="f2pool"),
    )
    figures = known(network(950 * EH), report(10 * EH, blocks=60), fallback=claimed)
    assert figures.network(NOW, NOW) == {"mempool": 950 * EH}
    assert error(figures, report(1901 * EH, pool="giant")) is not None
    assert error(figures, report(51 * EH)) is not None
    assert error(figures, report(6 * EH, pool="f2pool")) is not None
    assert error(figures, report(133 * EH, AUTUMN_2019, DAY)) is not None
    assert error(figures, report(132 * EH, AUTUMN_2019, DAY)) is None


# --- the network beside what else is known of it --------------------------------------------------


@all_cases(
    ("figures", "expected"),
    [
        ([], None),
        ([95.0], None),
        ([9500.0], None),
        ([94.0], 94.0),
        ([9501.0], 9501.0),
        ([950.0, 1.0], None),
        ([950.0, 1.0, 2.0], 1.5),
        ([900.0, 1000.0, 50_000.0], None),
    ],
)
def test_a_network_is_in_doubt_if_most_figures_differ_by_more_than_10_times(
    figures: list[float], expected: float | None
) -> None:
    assert disagreement(950.0, figures) == expected


def test_a_network_is_contradicted_by_what_is_known_of_its_time() -> None:
    figures = known(network(950 * EH), network(66 * EH, AUTUMN_2019, DAY))
    assert contradiction(figures, network(95 * EH, source="new")) is None
    assert contradiction(figures, network(50_000 * EH)) == (
        "50 ZH/s differs by more than 10 times from the 950 EH/s known of that time; "
        "is the unit right?"
    )
    assert contradiction(figures, network(94 * EH, source="new")) is not None
    assert contradiction(figures, network(66 * EH, AUTUMN_2019)) is None
    assert contradiction(figures, network(950 * EH, AUTUMN_2019)) is not None
    assert contradiction(figures, network(1 * EH, AUTUMN_2019 - 400 * DAY)) is None
    assert contradiction(figures, report(1 * EH)) is None


def test_where_nothing_is_known_the_other_sources_of_the_fallback_contradict_a_network() -> None:
    wrong = network(50_000 * EH, source="aaa")
    two = [network(950 * EH, source="b"), network(960 * EH, source="c")]
    figures = known(fallback=known(wrong, *two))
    assert contradiction(figures, wrong) is not None
    assert [contradiction(figures, message) for message in two] == [None, None]
    assert contradiction(known(fallback=known(wrong)), wrong) is None
    both = known(fallback=known(wrong, two[0]))
    assert contradiction(both, wrong) is not None
    assert contradiction(both, two[0]) is not None
    # What is known outvotes them.
    figures = known(network(970 * EH), fallback=known(wrong, network(50_000 * EH, source="ab")))
    assert contradiction(figures, two[0]) is None
    assert contradiction(figures, wrong) is not None


def test_a_limit_does_not_compare_networks_with_each_other() -> None:
    assert error(known(network(0.95 * EH)), network(950 * EH, source="other")) is None


# --- the pool's own blocks ------------------------------------------------------------------------


def test_a_pool_is_compared_with_its_own_blocks() -> None:
    figures = known(network(950 * EH), report(10 * EH, blocks=MIN_BLOCKS))
    assert error(figures, report(50 * EH)) is None
    assert error(figures, report(51 * EH)) == (
        "51 EH/s is more than five times the 10 EH/s that its blocks show"
    )
    assert error(figures, report(51 * EH, pool="f2pool")) is None
    assert error(figures, report(51 * EH, blocks=60)) is None
    assert error(figures, report(51 * EH, NOW - (NEAREST_DAYS + 1) * DAY)) is None


def test_the_smaller_limit_is_told() -> None:
    figures = known(network(950 * EH), report(10 * EH, blocks=11))
    assert "its blocks" in (error(figures, report(5000 * EH)) or "")


def test_reports_that_follow_from_few_or_no_blocks_are_no_measure() -> None:
    figures = known(report(10 * EH, blocks=MIN_BLOCKS - 1), report(10 * EH))
    assert error(figures, report(51 * EH)) is None

"""Which messages can be true: by themselves, and beside what is known of their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from miningmap.messages import Located, Message, Network, Report
from miningmap.plausibility import MAX_AHEAD, MIN_BLOCKS, NEAREST_DAYS, KnownFigures, rejected
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


def known(*messages: Message) -> KnownFigures:
    figures = KnownFigures()
    for message in messages:
        figures.add(message)
    return figures


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
    ],
)
def test_the_future_and_a_total_of_0_are_rejected(message: Message, reason: str | None) -> None:
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


def test_of_several_sources_the_largest_figure_counts() -> None:
    figures = known(network(0.95 * EH), network(950 * EH, source="other"))
    assert error(figures, report(200 * EH)) is None


def test_networks_are_not_compared_with_each_other() -> None:
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

"""What is believed of readings: by themselves, beside the network, and after what came before."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collector.network.mempool import SOURCE as NETWORK
from collector.polling.plausibility import JUMP, MAX_AHEAD, NETWORK_KEPT, Plausibility
from collector.pools.ocean import SOURCE as OCEAN
from collector.sources.base import NetworkReading, Reading
from miningmap.messages import Located

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
EH = 1e18


class Polls:
    """One source asked again and again."""

    def __init__(self) -> None:
        self.plausibility = Plausibility()

    def pool(self, hashrate: float, pool: str = "ocean") -> str | None:
        return self.plausibility.fault(OCEAN, Reading(pool, hashrate), NOW)

    def network(self, hashrate: float, source: str = "mempool", at: datetime = NOW) -> str | None:
        said = replace(NETWORK, slug=source)
        return self.plausibility.fault(said, NetworkReading(hashrate), at)


@pytest.fixture
def polls() -> Polls:
    return Polls()


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading("a", math.nan), "no hashrate"),
        (Reading("a", math.inf), "no hashrate"),
        (Reading("a", -1.0), "negative"),
        (Reading("a", 1.1e23), "is the unit another one"),
        (NetworkReading(1.1e23), "is the unit another one"),
        (Reading("a", 1.0, observed_at=NOW + MAX_AHEAD + timedelta(seconds=1)), "in the future"),
        (Reading("a", 1.0, (Located("US", 0.6, "measured"),) * 2), "places add up to 1.2"),
        (Reading("a", 1.0, (Located("US", math.nan, "measured"),)), "places add up to nan"),
    ],
)
def test_what_cannot_be_is_told_with_the_figure(
    reading: Reading | NetworkReading, said: str
) -> None:
    fault = Plausibility().fault(OCEAN, reading, NOW)
    assert fault is not None
    assert said in fault


@pytest.mark.parametrize(
    "reading",
    [
        Reading("a", 0.0),
        Reading("a", 1e23),
        Reading("a", 1.0, observed_at=NOW + MAX_AHEAD),
        Reading("a", 1.0, (Located("US", 1.0 + 1e-12, "measured"),)),
    ],
)
def test_what_can_be_is_believed(reading: Reading) -> None:
    assert Plausibility().fault(OCEAN, reading, NOW) is None


def test_a_pool_has_not_more_than_twice_the_network(polls: Polls) -> None:
    assert polls.pool(5000 * EH, "before") is None
    assert polls.network(900 * EH) is None
    assert polls.pool(1800 * EH, "twice") is None
    assert polls.pool(1801 * EH, "more") == (
        "1.801e+21 H/s is more than twice the network's 9e+20 H/s"
    )


def test_the_largest_network_that_any_source_says_counts(polls: Polls) -> None:
    polls.network(9e11)  # in GH/s by mistake: it must not shut all pools out
    polls.network(900 * EH, source="other")
    assert polls.pool(200 * EH) is None


def test_a_network_that_was_refused_is_no_measure(polls: Polls) -> None:
    polls.network(900 * EH)
    assert polls.network(9e22) is not None
    assert polls.pool(2000 * EH) is not None


def test_what_was_said_of_the_network_is_a_measure_for_a_day(polls: Polls) -> None:
    polls.network(1 * EH, at=NOW - NETWORK_KEPT)
    assert polls.pool(200 * EH) is None


@pytest.mark.parametrize(("before", "after"), [(1.0, 51.0), (51.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_a_jump_counts_when_two_more_polls_have_confirmed_it(
    polls: Polls, before: float, after: float
) -> None:
    assert polls.pool(before) is None
    first, second = polls.pool(after), polls.pool(after)
    assert first is not None
    assert second is not None
    assert "confirmed by 0 of 2 polls" in first
    assert "confirmed by 1 of 2 polls" in second
    assert polls.pool(after) is None
    assert polls.pool(after) is None
    assert polls.pool(before) is not None


def test_fifty_times_is_no_jump_yet(polls: Polls) -> None:
    assert [polls.pool(figure) for figure in (1.0, JUMP, 1.0)] == [None] * 3


def test_a_jump_that_was_none_is_forgotten(polls: Polls) -> None:
    """A single wrong reading, again and again, never becomes the level."""
    said = [polls.pool(figure) for figure in (1.0, 99.0, 1.0, 99.0, 1.0, 99.0, 1.0)]
    assert [fault is None for fault in said] == [True, False] * 3 + [True]


def test_each_reading_has_to_confirm_the_one_before(polls: Polls) -> None:
    """Figures all over the place confirm nothing."""
    said = [polls.pool(figure) for figure in (1.0, 1e3, 1e6, 1e9, 1e9, 1e9)]
    assert [fault is None for fault in said] == [True, False, False, False, False, True]


def test_pools_and_sources_have_levels_of_their_own(polls: Polls) -> None:
    polls.pool(1.0)
    assert polls.pool(100.0, "other") is None
    other = replace(OCEAN, slug="another")
    assert polls.plausibility.fault(other, Reading("ocean", 100.0), NOW) is None


def test_the_networks_hashrate_may_not_jump_either(polls: Polls) -> None:
    assert polls.network(9e20) is None
    assert [polls.network(9e11) is None for _ in range(3)] == [False, False, True]

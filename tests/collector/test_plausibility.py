"""Which readings are accepted: by themselves, beside the network, and after earlier ones."""

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
from tests.cases import all_cases

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
EH = 1e18


class Polls:
    """Readings of one poll after the other."""

    def __init__(self) -> None:
        self.plausibility = Plausibility()

    def pool(self, hashrate: float, pool: str = "ocean") -> str | None:
        return self.plausibility.check(OCEAN, Reading(pool, hashrate), NOW)

    def network(self, hashrate: float, source: str = "mempool", at: datetime = NOW) -> str | None:
        network = replace(NETWORK, slug=source)
        return self.plausibility.check(network, NetworkReading(hashrate), at)


@pytest.fixture
def polls() -> Polls:
    return Polls()


@all_cases(
    ("reading", "text"),
    [
        (Reading("a", math.nan), "not a hashrate"),
        (Reading("a", math.inf), "not a hashrate"),
        (Reading("a", -1.0), "negative"),
        (Reading("a", 1.1e23), "changed its unit"),
        (NetworkReading(1.1e23), "changed its unit"),
        (Reading("a", 1.0, observed_at=NOW + MAX_AHEAD + timedelta(seconds=1)), "in the future"),
        (Reading("a", 1.0, (Located("US", 0.6, "measured"),) * 2), "places add up to 1.2"),
        (Reading("a", 1.0, (Located("US", math.nan, "measured"),)), "places add up to nan"),
    ],
)
def test_an_invalid_reading_is_rejected_with_its_figure(
    reading: Reading | NetworkReading, text: str
) -> None:
    error = Plausibility().check(OCEAN, reading, NOW)
    assert error is not None
    assert text in error


@all_cases(
    "reading",
    [
        Reading("a", 0.0),
        Reading("a", 1e23),
        Reading("a", 1.0, observed_at=NOW + MAX_AHEAD),
        Reading("a", 1.0, (Located("US", 1.0 + 1e-12, "measured"),)),
    ],
)
def test_a_valid_reading_is_accepted(reading: Reading) -> None:
    assert Plausibility().check(OCEAN, reading, NOW) is None


def test_a_pool_with_more_than_twice_the_network_is_rejected(polls: Polls) -> None:
    assert polls.pool(5000 * EH, "before") is None
    assert polls.network(900 * EH) is None
    assert polls.pool(1800 * EH, "twice") is None
    assert polls.pool(1801 * EH, "more") == (
        "1.801e+21 H/s is more than twice the network's 9e+20 H/s"
    )


def test_pools_are_compared_with_the_largest_figure_for_the_network(polls: Polls) -> None:
    polls.network(9e11)  # in GH/s by mistake: it must not reject all pools
    polls.network(900 * EH, source="other")
    assert polls.pool(200 * EH) is None


def test_pools_are_not_compared_with_a_rejected_figure_for_the_network(polls: Polls) -> None:
    polls.network(900 * EH)
    assert polls.network(9e22) is not None
    assert polls.pool(2000 * EH) is not None


def test_pools_are_compared_with_figures_for_the_network_of_the_last_day(polls: Polls) -> None:
    polls.network(1 * EH, at=NOW - NETWORK_KEPT)
    assert polls.pool(200 * EH) is None


@pytest.mark.parametrize(("before", "after"), [(1.0, 51.0), (51.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_a_jump_is_accepted_when_two_more_polls_have_confirmed_it(
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


def test_a_factor_of_fifty_is_not_a_jump(polls: Polls) -> None:
    assert [polls.pool(figure) for figure in (1.0, JUMP, 1.0)] == [None] * 3


def test_a_jump_that_is_not_confirmed_is_forgotten(polls: Polls) -> None:
    """A wrong reading that alternates with right ones is never accepted."""
    errors = [polls.pool(figure) for figure in (1.0, 99.0, 1.0, 99.0, 1.0, 99.0, 1.0)]
    assert [error is None for error in errors] == [True, False] * 3 + [True]


def test_each_reading_has_to_confirm_the_one_before(polls: Polls) -> None:
    """Erratic figures confirm nothing."""
    errors = [polls.pool(figure) for figure in (1.0, 1e3, 1e6, 1e9, 1e9, 1e9)]
    assert [error is None for error in errors] == [True, False, False, False, False, True]


def test_pools_and_sources_are_compared_with_their_own_figures(polls: Polls) -> None:
    polls.pool(1.0)
    assert polls.pool(100.0, "other") is None
    other = replace(OCEAN, slug="another")
    assert polls.plausibility.check(other, Reading("ocean", 100.0), NOW) is None


def test_a_jump_of_the_network_has_to_be_confirmed(polls: Polls) -> None:
    assert polls.network(9e20) is None
    assert [polls.network(9e11) is None for _ in range(3)] == [False, False, True]

"""Which readings are accepted: by themselves, beside what is known, and after earlier ones."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collector.network.mempool import SOURCE as NETWORK
from collector.polling.plausibility import JUMP, Plausibility, invalid
from collector.polling.reports import Poll, check_readings
from collector.pools.ocean import SOURCE as OCEAN
from collector.registry import discover
from collector.sources.base import NetworkReading, Reading, Source
from miningmap.messages import Located, Network
from miningmap.plausibility import MAX_AHEAD, NEAREST_DAYS, KnownFigures
from tests.cases import all_cases

NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)
DAY = timedelta(days=1)
TH, PH, EH = 1e12, 1e15, 1e18


class Polls:
    """Readings of one poll after the other; each method returns the error, or ``None``."""

    def __init__(self, known: KnownFigures | None = None) -> None:
        self._plausibility = Plausibility(known)

    def pool(self, hashrate: float, pool: str = "ocean", **changed: float) -> str | None:
        source = replace(OCEAN, least=changed.get("least", 0))
        return self._error(source, Reading(pool, hashrate), NOW)

    def mined(self, hashrate: float, blocks: int, pool: str = "ocean") -> str | None:
        source = replace(OCEAN, slug="counted", basis="mined")
        return self._error(source, Reading(pool, hashrate, blocks=blocks), NOW)

    def network(self, hashrate: float, source: str = "mempool", at: datetime = NOW) -> str | None:
        return self._error(replace(NETWORK, slug=source), NetworkReading(hashrate), at)

    def _error(self, source: Source, reading: Reading | NetworkReading, at: datetime) -> str | None:
        poll = Poll(source, at, 60, simulated=False)
        checked = check_readings(poll, [reading], self._plausibility)
        return next((letter.error for letter in checked.rejected), None)


@pytest.fixture
def polls() -> Polls:
    return Polls()


# --- by themselves --------------------------------------------------------------------------------


@all_cases(
    ("reading", "reason", "text"),
    [
        (Reading("a", math.nan), "implausible", "not a hashrate"),
        (Reading("a", math.inf), "implausible", "not a hashrate"),
        (Reading("a", -1.0), "implausible", "negative"),
        (Reading("a", 0.0), "implausible", "a total of 0 H/s says nothing"),
        (Reading("a", 0.0, (Located("US", 0.0, "measured"),)), "implausible", "says nothing"),
        (NetworkReading(0.0), "implausible", "says nothing"),
        (Reading("a", 1.1e23), "implausible", "is the unit right?"),
        (NetworkReading(1.1e23), "implausible", "is the unit right?"),
        (Reading("a", 1.0, observed_at=NOW + MAX_AHEAD + DAY), "future", "clock right?"),
        (NetworkReading(1.0, observed_at=NOW + MAX_AHEAD + DAY), "future", "clock right?"),
        (Reading("a", 1.0, (Located("US", 0.6, "measured"),) * 2), "implausible", "add up to 1.2"),
        (Reading("a", 1.0, (Located("US", math.nan, "measured"),)), "implausible", "up to nan"),
    ],
)
def test_an_invalid_reading_is_rejected_with_its_figure(
    reading: Reading | NetworkReading, reason: str, text: str
) -> None:
    rejection = invalid(reading, NOW)
    assert rejection is not None
    assert rejection.reason == reason
    assert text in rejection.error


@all_cases(
    "reading",
    [
        Reading("a", 1e23),
        Reading("a", 1.0, observed_at=NOW + MAX_AHEAD),
        Reading("a", 1.0, (Located("US", 0.0, "measured"),)),
        Reading("a", 1.0, (Located("US", 1.0 + 1e-12, "measured"),)),
    ],
)
def test_a_valid_reading_is_accepted(reading: Reading) -> None:
    assert invalid(reading, NOW) is None


@pytest.mark.parametrize("before", [[], [12 * EH]], ids=["after a start", "after a figure"])
def test_a_total_of_0_is_rejected_however_often_it_comes(polls: Polls, before: list[float]) -> None:
    """45 minutes of 0 from one pool moved a country's share by 33 points."""
    assert [polls.pool(hashrate) for hashrate in before] == [None] * len(before)
    assert all("says nothing" in (polls.pool(0.0) or "") for _ in range(45))
    assert polls.pool(12 * EH) is None


# --- beside the network and the pool's own blocks -------------------------------------------------


def test_a_pool_with_more_than_twice_the_network_is_rejected(polls: Polls) -> None:
    assert polls.pool(5000 * EH, "before") is None
    assert polls.network(900 * EH) is None
    assert polls.pool(1800 * EH, "twice") is None
    assert polls.pool(1801 * EH, "more") == (
        "1.801 ZH/s is more than twice the network's 900 EH/s at that time"
    )


def test_a_rejected_figure_is_no_predecessor_of_the_next_one(polls: Polls) -> None:
    polls.network(900 * EH)
    assert polls.pool(12_000 * EH) is not None
    assert polls.pool(12 * EH) is None


def test_the_network_is_known_after_a_restart() -> None:
    known = KnownFigures()
    start = NOW - DAY
    known.add(
        Network(
            source="mempool",
            start=start,
            end=start + timedelta(minutes=1),
            hold_s=0,
            hashrate=900 * EH,
            fetched_at=start,
            simulated=False,
        )
    )
    assert Polls(known).pool(1801 * EH) is not None


def test_one_of_two_figures_for_the_network_that_is_too_low_does_not_reject_pools(
    polls: Polls,
) -> None:
    for _ in range(3):
        polls.network(0.9 * EH)  # by a wrong unit: it must not reject all pools
    polls.network(900 * EH, source="other")
    polls.network(900 * EH, source="other")
    polls.network(900 * EH, source="other")
    assert polls.pool(200 * EH) is None


def test_pools_are_not_compared_with_a_rejected_figure_for_the_network(polls: Polls) -> None:
    polls.network(900 * EH)
    assert polls.network(9e22) is not None
    assert polls.pool(2000 * EH) is not None


def test_pools_are_not_compared_with_the_network_of_another_time(polls: Polls) -> None:
    polls.network(100 * EH, at=NOW - (NEAREST_DAYS + 1) * DAY)
    assert polls.pool(900 * EH) is None


def test_a_pool_with_more_than_five_times_its_own_blocks_is_rejected(polls: Polls) -> None:
    assert polls.mined(10 * EH, blocks=11) is None
    assert polls.pool(50 * EH) is None
    assert polls.pool(51 * EH) == "51 EH/s is more than five times the 10 EH/s that its blocks show"
    assert polls.pool(51 * EH, "other") is None


def test_few_blocks_show_too_little_to_reject_a_pool(polls: Polls) -> None:
    assert polls.mined(1 * EH, blocks=1) is None
    assert polls.pool(12 * EH) is None


# --- confirmation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1.0, 51.0), (51.0, 1.0)])
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
    other = replace(OCEAN, slug="another", least=0)
    assert polls._error(other, Reading("ocean", 100.0), NOW) is None


def test_a_jump_of_the_network_has_to_be_confirmed(polls: Polls) -> None:
    assert polls.network(9e20) is None
    assert [polls.network(9e11) is None for _ in range(3)] == [False, False, True]


def test_a_first_reading_below_what_the_source_declares_has_to_be_confirmed(polls: Polls) -> None:
    errors = [polls.pool(12 * PH, least=EH) for _ in range(4)]
    assert errors == [
        "12 PH/s is less than the 1 EH/s expected of pools/ocean, confirmed by 0 of 2 polls",
        "12 PH/s is less than the 1 EH/s expected of pools/ocean, confirmed by 1 of 2 polls",
        None,
        None,
    ]
    assert polls.pool(EH, "other", least=EH) is None


def test_what_is_expected_depends_on_whose_hashrate_a_source_gives() -> None:
    for source in discover():
        least = {"network": 100 * EH, "pool": PH}.get(source.scope, TH)
        assert source.min_hashrate == (least if source.least is None else source.least)


def test_a_network_that_differs_from_the_others_has_to_be_confirmed(polls: Polls) -> None:
    assert polls.network(9500 * EH, source="first") is None
    differs = "949 EH/s differs by more than 10 times from the 9.5 ZH/s of other sources"
    assert [polls.network(949 * EH, source="second") for _ in range(4)] == [
        f"{differs}, confirmed by 0 of 2 polls",
        f"{differs}, confirmed by 1 of 2 polls",
        None,
        None,
    ]
    assert polls.network(951 * EH, source="third") is None


def test_one_wrong_source_of_three_does_not_put_the_others_in_doubt(polls: Polls) -> None:
    assert polls.network(9501 * EH, source="wrong") is None
    for _ in range(3):
        polls.network(900 * EH, source="first")
    assert polls.network(950 * EH, source="second") is None


def test_a_network_that_leaves_the_others_has_to_be_confirmed(polls: Polls) -> None:
    """A factor of 20 is not a jump of one source."""
    polls.network(900 * EH, source="other")
    assert polls.network(900 * EH) is None
    assert polls.network(45 * EH) is not None
    assert polls.network(900 * EH) is None


def test_messages_are_remembered_as_they_were_accepted() -> None:
    known = KnownFigures()
    poll = Poll(NETWORK, NOW, 60, simulated=False)
    (message,) = check_readings(poll, [NetworkReading(900 * EH)], Plausibility(known)).messages
    assert known.network(message.start, message.end) == {"mempool": 900 * EH}

"""From readings to messages: what a polled source claims, and what becomes of what it may not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.network.mempool import SOURCE as NETWORK
from collector.polling.plausibility import MAX_AHEAD, MAX_HASHRATE, Plausibility
from collector.polling.reports import Poll, Sifted, read, sift
from collector.pools.ocean import SOURCE as OCEAN
from collector.sources.base import NetworkReading, PermanentError, Reading
from miningmap import messages as wire
from miningmap.kafka.topics import REPORTS
from miningmap.messages import Located, Network, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import PoolSource
    from miningmap.messages import Message

NOW = datetime(2026, 11, 22, 15, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def says(*readings: Reading) -> PoolSource:
    return replace(OCEAN, parse=lambda _bodies: readings)


def sifted(*readings: Reading, poll_s: float = 60, simulated: bool = False) -> Sifted:
    source = says(*readings)
    poll = Poll(source, NOW, poll_s, simulated)
    return sift(poll, read(source, []), Plausibility())


def claim(*readings: Reading, poll_s: float = 60, simulated: bool = False) -> list[Message]:
    made = sifted(*readings, poll_s=poll_s, simulated=simulated)
    assert made.refused == []
    return made.messages


def test_a_figure_without_a_time_is_of_the_interval_before_it_was_fetched() -> None:
    place = Located("US", 1e18, "estimated")
    assert claim(Reading("ocean", 2e18, (place,)), simulated=True) == [
        Report(
            pool="ocean",
            source="ocean",
            start=NOW - MINUTE,
            end=NOW,
            hold_s=300,
            hashrate=2e18,
            places=(place,),
            fetched_at=NOW,
            simulated=True,
        )
    ]


def test_a_figure_with_a_time_is_of_the_interval_before_it() -> None:
    (report,) = claim(Reading("ocean", 1.0, observed_at=NOW - 5 * MINUTE))
    assert (report.start, report.end) == (NOW - 6 * MINUTE, NOW - 5 * MINUTE)
    assert report.fetched_at == NOW


def test_times_are_written_in_utc_whatever_zone_they_came_in() -> None:
    beijing = timezone(timedelta(hours=8))
    (report,) = claim(Reading("ocean", 1.0, observed_at=datetime(2026, 11, 22, 23, tzinfo=beijing)))
    assert b'"end":"2026-11-22T15:00:00Z"' in wire.encode(report)


def test_a_clock_that_is_a_little_ahead_counts_as_now() -> None:
    (report,) = claim(Reading("ocean", 1.0, observed_at=NOW + MAX_AHEAD))
    assert report.end == NOW


def test_the_network_is_claimed_in_the_same_way() -> None:
    poll = Poll(NETWORK, NOW, 300, simulated=False)
    (message,) = sift(poll, [NetworkReading(9e20)], Plausibility()).messages
    assert message == Network(
        source="mempool",
        start=NOW - 5 * MINUTE,
        end=NOW,
        hold_s=1800,
        hashrate=9e20,
        fetched_at=NOW,
        simulated=False,
    )


@pytest.mark.parametrize(("poll_s", "hold_s"), [(60, 300), (150, 300), (600, 1200), (600.2, 1201)])
def test_figures_hold_over_a_missed_poll_however_seldom_polls_are(
    poll_s: float, hold_s: int
) -> None:
    assert [m.hold_s for m in claim(Reading("ocean", 1.0), poll_s=poll_s)] == [hold_s]


@given(
    st.floats(0.001, 3599),
    st.none() | st.datetimes(datetime(2020, 1, 1), NOW.replace(tzinfo=None)),  # noqa: DTZ001
    st.floats(0, MAX_HASHRATE),
)
def test_every_claim_is_a_poll_long_and_ends_when_fetched_at_the_latest(
    poll_s: float, naive: datetime | None, hashrate: float
) -> None:
    at = naive and naive.replace(tzinfo=UTC)
    (report,) = claim(Reading("ocean", hashrate, observed_at=at), poll_s=poll_s)
    assert report.length_s == pytest.approx(poll_s, abs=1e-6)
    assert report.end == (at or NOW)
    assert report.hashrate == hashrate


@pytest.mark.parametrize(
    "reading",
    [
        Reading("ocean", -1.0),
        Reading("ocean", math.nan),
        Reading("ocean", math.inf),
        Reading("ocean", 2 * MAX_HASHRATE),
        Reading("ocean", 1.0, observed_at=NOW + MAX_AHEAD + timedelta(seconds=1)),
        Reading("ocean", 1.0, (Located("US", 2.0, "measured"),)),
        Reading("ocean", 1.0, (Located("US", -0.5, "measured"),)),
        Reading("ocean", 1.0, (Located("US", math.nan, "measured"),)),
        Reading("ocean", 1.0, (Located("UNKNOWN", 0.5, "measured"),)),
        Reading("ocean", 1.0, (Located("US", 0.5, "prior"), Located("US", 0.1, "prior"))),
        Reading("not a slug", 1.0),
    ],
)
def test_a_reading_that_may_not_be_is_a_dead_letter_and_stops_no_other(reading: Reading) -> None:
    made = sifted(Reading("good", 1.0), reading)
    assert [message.hashrate for message in made.messages] == [1.0]
    (letter,) = made.refused
    assert letter.reason == "implausible"
    assert letter.error
    assert (letter.topic, letter.source, letter.at) == (REPORTS, "ocean", NOW)
    assert letter.key == reading.pool.encode()
    said = json.loads(letter.value)
    assert (said["schema"], said["pool"]) == ("report/1", reading.pool)
    assert said["hashrate"] == (reading.hashrate if math.isfinite(reading.hashrate) else None)


def test_blocks_go_along_where_a_figure_follows_from_them() -> None:
    reported, mined = claim(Reading("ocean", 1.0), Reading("ocean", 1.0, blocks=3))
    assert b"blocks" not in wire.encode(reported)
    assert b'"blocks":3' in wire.encode(mined)


def test_an_interval_of_an_hour_is_refused() -> None:
    (letter,) = sifted(Reading("ocean", 1.0), poll_s=3600).refused
    assert "an hour or longer" in letter.error


def test_an_adapter_that_trips_is_a_changed_shape() -> None:
    def trip(bodies: Sequence[bytes]) -> list[Reading]:
        return [Reading("ocean", float(bodies[7]))]

    with pytest.raises(PermanentError, match="the adapter failed: IndexError") as caught:
        read(replace(OCEAN, parse=trip), [])
    assert caught.value.reason == "shape"
    assert caught.value.source == "ocean"


def test_a_time_without_a_zone_is_a_changed_shape() -> None:
    with pytest.raises(PermanentError, match="without a zone"):
        claim(Reading("ocean", 1.0, observed_at=datetime(2026, 11, 22)))  # noqa: DTZ001

"""From readings to messages: what a source claims, and which readings are rejected."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.network.mempool import SOURCE as NETWORK
from collector.polling import reports
from collector.polling.plausibility import Plausibility
from collector.polling.reports import CheckedReadings, Poll, check_readings, parse_readings
from collector.pools.ocean import SOURCE as OCEAN
from collector.sources.base import NetworkReading, PermanentError, Reading, TransientError
from miningmap import messages as wire
from miningmap.inputs import in_words
from miningmap.kafka.topics import REPORTS
from miningmap.messages import Located, Network, Report
from miningmap.plausibility import MAX_AHEAD, MAX_HASHRATE
from tests.cases import all_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.sources.base import PoolSource
    from miningmap.messages import Basis, Message

NOW = datetime(2026, 11, 22, 15, 0, 30, tzinfo=UTC)
HOUR = datetime(2026, 11, 22, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def source_of(*readings: Reading) -> PoolSource:
    return replace(OCEAN, parse=lambda _bodies: readings, least=0)


def checked(*readings: Reading, poll_s: float = 60, simulated: bool = False) -> CheckedReadings:
    source = source_of(*readings)
    poll = Poll(source, NOW, poll_s, simulated)
    return check_readings(poll, parse_readings(source, []), Plausibility())


def claim(*readings: Reading, poll_s: float = 60, simulated: bool = False) -> list[Message]:
    outcome = checked(*readings, poll_s=poll_s, simulated=simulated)
    assert outcome.rejected == []
    return outcome.messages


def test_a_figure_without_a_time_claims_the_interval_before_it_was_fetched() -> None:
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


def test_a_figure_with_a_time_claims_the_interval_before_that_time() -> None:
    (report,) = claim(Reading("ocean", 1.0, observed_at=NOW - 5 * MINUTE))
    assert (report.start, report.end) == (NOW - 6 * MINUTE, NOW - 5 * MINUTE)
    assert report.fetched_at == NOW


def test_times_are_written_in_utc_whatever_zone_they_came_in() -> None:
    beijing = timezone(timedelta(hours=8))
    (report,) = claim(Reading("ocean", 1.0, observed_at=datetime(2026, 11, 22, 23, tzinfo=beijing)))
    assert b'"end":"2026-11-22T15:00:00Z"' in wire.encode(report)


def test_a_time_that_is_slightly_ahead_counts_as_now() -> None:
    (report,) = claim(Reading("ocean", 1.0, observed_at=NOW + MAX_AHEAD))
    assert report.end == NOW


def test_a_network_reading_claims_its_interval_in_the_same_way() -> None:
    poll = Poll(NETWORK, NOW, 300, simulated=False)
    (message,) = check_readings(poll, [NetworkReading(9e20)], Plausibility()).messages
    assert message == Network(
        source="mempool",
        start=NOW - 5 * MINUTE,
        end=NOW,
        hold_s=1800,
        hashrate=9e20,
        fetched_at=NOW,
        simulated=False,
    )


@all_cases(("poll_s", "hold_s"), [(60, 300), (150, 300), (600, 1200), (600.2, 1201)])
def test_figures_hold_over_a_missed_poll_at_any_interval(poll_s: float, hold_s: int) -> None:
    assert [m.hold_s for m in claim(Reading("ocean", 1.0), poll_s=poll_s)] == [hold_s]


@given(
    st.floats(0.001, 3599),
    st.none() | st.datetimes(datetime(2020, 1, 1), NOW.replace(tzinfo=None)),  # noqa: DTZ001
    st.floats(0, MAX_HASHRATE, exclude_min=True),
)
def test_every_claim_is_one_interval_long_and_never_ends_after_the_fetch(
    poll_s: float, naive: datetime | None, hashrate: float
) -> None:
    at = naive and naive.replace(tzinfo=UTC)
    (report,) = claim(Reading("ocean", hashrate, observed_at=at), poll_s=poll_s)
    assert report.length_s == pytest.approx(poll_s, abs=1e-6)
    assert report.end == (at or NOW)
    assert report.hashrate == hashrate


@all_cases(
    "reading",
    [
        Reading("ocean", -1.0),
        Reading("ocean", math.nan),
        Reading("ocean", math.inf),
        Reading("ocean", 2 * MAX_HASHRATE),
        Reading("ocean", 0.0),
        Reading("ocean", 0.0, (Located("US", 0.0, "measured"),)),
        Reading("ocean", 1.0, (Located("US", 2.0, "measured"),)),
        Reading("ocean", 1.0, (Located("US", -0.5, "measured"),)),
        Reading("ocean", 1.0, (Located("US", math.nan, "measured"),)),
        Reading("ocean", 1.0, (Located("UNKNOWN", 0.5, "measured"),)),
        Reading("ocean", 1.0, (Located("US", 0.5, "prior"), Located("US", 0.1, "prior"))),
        Reading("not a slug", 1.0),
    ],
)
def test_a_rejected_reading_is_a_dead_letter_beside_the_accepted_ones(reading: Reading) -> None:
    outcome = checked(Reading("good", 1.0), reading)
    assert [message.hashrate for message in outcome.messages] == [1.0]
    (letter,) = outcome.rejected
    assert letter.reason == "implausible"
    assert letter.error
    assert (letter.topic, letter.source, letter.at) == (REPORTS, "ocean", NOW)
    assert letter.key == reading.pool.encode()
    message = json.loads(letter.value)
    assert (message["schema"], message["pool"]) == ("report/1", reading.pool)
    assert message["hashrate"] == (reading.hashrate if math.isfinite(reading.hashrate) else None)


@all_cases(
    "at",
    [
        NOW + MAX_AHEAD + timedelta(seconds=1),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-12))),
    ],
)
def test_a_reading_from_the_future_is_a_dead_letter_with_its_own_time(at: datetime) -> None:
    """With another time it would be a valid message when it is sent again."""
    (letter,) = checked(Reading("ocean", 1.0, observed_at=at)).rejected
    assert letter.reason == "future"
    assert json.loads(letter.value)["end"] == at.isoformat().replace("+00:00", "Z")


@all_cases(
    ("reading", "basis", "written"),
    [
        (Reading("ocean", 1.0), "reported", b'"basis":"reported"'),
        (Reading("ocean", 1.0), "relayed", b'"basis":"relayed"'),
        (Reading("ocean", 1.0, blocks=3), "mined", b'"basis":"mined","blocks":3'),
    ],
)
def test_a_report_has_the_basis_that_its_source_declares(
    reading: Reading, basis: Basis, written: bytes
) -> None:
    source = replace(source_of(reading), basis=basis)
    poll = Poll(source, NOW, 60, simulated=False)
    (message,) = check_readings(poll, [reading], Plausibility()).messages
    assert written in wire.encode(message)
    assert (b"blocks" in wire.encode(message)) == (reading.blocks is not None)


def test_blocks_of_a_source_that_is_not_mined_are_rejected() -> None:
    (letter,) = checked(Reading("ocean", 1.0, blocks=3)).rejected
    assert letter.error == "basis is reported, but a figure from blocks is mined"


def test_an_interval_of_an_hour_is_rejected() -> None:
    (letter,) = checked(Reading("ocean", 1.0), poll_s=3600).rejected
    assert "an hour or longer" in letter.error


def test_an_exception_of_an_adapter_is_an_unexpected_error_of_its_source() -> None:
    def fail(bodies: Sequence[bytes]) -> list[Reading]:
        return [Reading("ocean", float(bodies[7]))]

    with pytest.raises(TransientError, match="a fault of this software: IndexError") as caught:
        parse_readings(replace(OCEAN, parse=fail), [])
    assert caught.value.reason == "unexpected"
    assert caught.value.source == "ocean"
    assert isinstance(caught.value.__cause__, IndexError)


@all_cases(
    "at",
    [
        datetime(1, 1, 1, tzinfo=UTC),  # Go's zero time
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=8))),  # in UTC there is no such time
        datetime(1601, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2009, 1, 2, 23, 59, tzinfo=UTC),
    ],
)
def test_the_time_of_fetching_stands_in_for_a_time_that_no_figure_can_have(at: datetime) -> None:
    (report,) = claim(Reading("ocean", 1.0, observed_at=at))
    assert (report.start, report.end) == (NOW - MINUTE, NOW)


def test_a_time_without_a_zone_is_a_shape_error() -> None:
    with pytest.raises(PermanentError, match="without a zone"):
        claim(Reading("ocean", 1.0, observed_at=datetime(2026, 11, 22)))  # noqa: DTZ001


# --- the rules of messages ------------------------------------------------------------------------
# A message is validated without encoding it. Whatever its readers in Kafka would reject is rejected
# here too, and whatever is accepted has the bytes that decoding would give back.

SPOT = Located("US", 0.5, "measured")
VIOLATIONS: dict[str, Reading] = {
    "pool is not a slug": Reading("Not a slug", 1.0),
    "pool ends in a line feed": Reading("ocean\n", 1.0),
    "hashrate is negative": Reading("ocean", -1.0),
    "hashrate is too large": Reading("ocean", 1e31),
    "hashrate is infinite": Reading("ocean", math.inf),
    "hashrate is not a number": Reading("ocean", math.nan),
    "hashrate is a Boolean": Reading("ocean", hashrate=True),
    "hashrate is a text": Reading("ocean", "1"),  # type: ignore[arg-type]
    "code is unknown": Reading("ocean", 1.0, (Located("Atlantis", 0.5, "measured"),)),
    "code means unlocated": Reading("ocean", 1.0, (Located("UNKNOWN", 0.5, "measured"),)),
    "code is missing": Reading("ocean", 1.0, (Located(None, 0.5, "measured"),)),  # type: ignore[arg-type]
    "kind is unknown": Reading("ocean", 1.0, (Located("US", 0.5, "guessed"),)),  # type: ignore[arg-type]
    "place is negative": Reading("ocean", 1.0, (Located("US", -0.5, "measured"),)),
    "place is too large": Reading("ocean", 1.0, (Located("US", 1e31, "measured"),)),
    "place is infinite": Reading("ocean", 1.0, (Located("US", math.inf, "measured"),)),
    "place is not a number": Reading("ocean", 1.0, (Located("US", math.nan, "measured"),)),
    "place is listed twice": Reading("ocean", 1.0, (SPOT, SPOT)),
    "places exceed the total": Reading("ocean", 0.1, (SPOT,)),
    "blocks are negative": Reading("ocean", 1.0, blocks=-1),
    "blocks are too many": Reading("ocean", 1.0, blocks=100_001),
    "blocks are a fraction": Reading("ocean", 1.0, blocks=1.5),  # type: ignore[arg-type]
    "blocks are a Boolean": Reading("ocean", 1.0, blocks=True),
}
POLL = Poll(OCEAN, NOW, 60, simulated=False)
POLLS: dict[str, Poll] = {
    "source is not a slug": replace(POLL, source=replace(OCEAN, slug="Not a slug")),
    "hold is negative": replace(POLL, source=replace(OCEAN, hold_s=-1), interval_s=-60),
    "hold is too long": replace(POLL, source=replace(OCEAN, hold_s=86_401)),
    "interval is empty": replace(POLL, interval_s=0),
    "interval is an hour, which has no hold": replace(POLL, fetched_at=HOUR, interval_s=3600),
    "interval is an hour and not whole": replace(POLL, interval_s=3600),
    "interval is over a year": replace(POLL, fetched_at=HOUR, interval_s=367 * 86_400),
    "time has no zone": replace(POLL, fetched_at=datetime(2026, 11, 22)),  # noqa: DTZ001
    "simulated is not a Boolean": replace(POLL, simulated="yes"),  # type: ignore[arg-type]
}


def decoded(poll: Poll, reading: Reading | NetworkReading) -> Message | str:
    """The message as the readers of Kafka get it, or why they reject it."""
    try:
        return wire.decode(msgspec.json.encode(reports._fields(poll, reading)))
    except wire.InvalidMessageError as error:
        return str(error)


def converted(poll: Poll, reading: Reading | NetworkReading) -> Message | str:
    """The message as it is made here, or why it is rejected."""
    try:
        return reports._message(reading, reports._fields(poll, reading))
    except msgspec.ValidationError as error:
        return in_words(error)


@all_cases("name", VIOLATIONS)
def test_a_reading_that_decoding_rejects_is_rejected(name: str) -> None:
    assert isinstance(decoded(POLL, VIOLATIONS[name]), str)
    assert isinstance(converted(POLL, VIOLATIONS[name]), str)


@all_cases("reading", [Reading("ocean", 1.0), NetworkReading(1.0)])
@all_cases("name", POLLS)
def test_a_poll_whose_messages_decoding_rejects_is_rejected(
    name: str, reading: Reading | NetworkReading
) -> None:
    assert decoded(POLLS[name], reading) == converted(POLLS[name], reading)
    assert isinstance(converted(POLLS[name], reading), str)


AMOUNTS = st.floats(0, 10) | st.integers(0, 10)
PLACES = st.builds(
    Located,
    st.sampled_from(["US", "US-TX", "CN", "CN-OTHER", "OTHER"]),
    AMOUNTS,
    st.sampled_from(wire.KINDS),
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(-timedelta(minutes=210))])
READINGS = st.builds(
    Reading,
    st.sampled_from(["ocean", "f2pool"]),
    st.floats(30, MAX_HASHRATE) | st.integers(20, 10**22),  # some totals are less than the places
    st.lists(PLACES, max_size=3).map(tuple),
    st.none() | st.datetimes(datetime(2020, 1, 1), timezones=ZONES),  # noqa: DTZ001
    st.none() | st.integers(0, 100_000),
) | st.builds(NetworkReading, AMOUNTS)


@given(READINGS, st.floats(0.001, 3599) | st.integers(1, 3600), st.integers(0, 86_400))
def test_messages_are_those_that_decoding_gives_to_the_byte(
    reading: Reading | NetworkReading, interval_s: float, hold_s: int
) -> None:
    poll = Poll(replace(OCEAN, hold_s=hold_s), NOW, interval_s, simulated=True)
    expected, message = decoded(poll, reading), converted(poll, reading)
    if isinstance(expected, str) or isinstance(message, str):
        assert isinstance(expected, str)
        assert isinstance(message, str)
    else:
        assert wire.encode(message) == wire.encode(expected)
        assert message == expected

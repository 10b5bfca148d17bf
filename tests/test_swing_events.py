"""The events of swings in JSON, and what tells one swing from another."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from miningmap.swings import (
    PlaceStatus,
    PoolStatus,
    SwingStatus,
    decode_status,
    decode_swing,
    encode_status,
    encode_swing,
    swing_id,
)
from tests.streams.fixtures import NOON, place_swing, pool_swing

if TYPE_CHECKING:
    from miningmap.swings import Swing


@pytest.mark.parametrize("event", [place_swing(), pool_swing(), pool_swing(state="lost")])
def test_an_event_is_read_as_it_was_written(event: Swing) -> None:
    assert decode_swing(encode_swing(event)) == event


def test_a_status_is_read_as_it_was_written() -> None:
    status = SwingStatus(
        NOON,
        (PlaceStatus("1h/24h", "US", -0.05),),
        (PoolStatus("24h/7d", "a", "own", 0.2),),
        (place_swing(), pool_swing()),
    )
    encoded = encode_status(status)
    assert json.loads(encoded)["at"] == "2026-11-22T12:00:00Z"
    assert decode_status(encoded) == status


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        b"[1]",
        encode_swing(place_swing()).replace(b"firing", b"fired"),
        encode_swing(pool_swing()).replace(b"swing/1", b"swing/2"),
        encode_swing(pool_swing()).replace(b"1h/24h", b"1h/24\xff"),
        encode_swing(place_swing()).replace(b"{", b'{"x":' + b"[" * 100_000, 1),
    ],
)
def test_what_is_no_event_is_an_error(damaged: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_swing(damaged)
    with pytest.raises(msgspec.DecodeError):
        decode_status(b'{"at":"2026-11-22T12:00:00Z","firing":[' + damaged + b"]}")


def test_all_events_of_a_swing_have_its_id() -> None:
    later = NOON + timedelta(minutes=20)
    first = place_swing()
    assert swing_id(first) == "1h/24h place US 2026-11-22T12:00Z"
    assert swing_id(place_swing(at=later, state="resolved", severity=5)) == swing_id(first)
    others: list[Swing] = [
        place_swing(place="US-TX"),
        place_swing(pair="24h/7d"),
        place_swing(started=later),
        pool_swing(pool="US"),
        pool_swing(pool="US", source="other"),
    ]
    assert len({swing_id(event) for event in (first, *others)}) == len(others) + 1

"""A batch that is written in pieces leaves what it leaves when it is written at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from miningmap import precedence
from miningmap import settings as config
from miningmap.places import all_places, is_locatable, outermost
from miningmap.redis_client import connect
from miningmap.retention import horizon
from miningmap.times import DAY_S, add_months, bucket, utc_now
from streams.method.cells import claims_of
from streams.redis import cell_writer
from streams.redis.pieces import pieces
from streams.redis.store import Store
from tests.streams.fixtures import network, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis

    from miningmap.messages import Message
    from streams.method.cells import Claim

KEPT = config.Retention()
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW = utc_now().replace(second=0, microsecond=0)  # Redis expires keys by its own clock
TODAY = NOW.replace(hour=0, minute=0)
MONTH = add_months(TODAY.replace(day=1), -1)
CODES = [p.code for p in all_places() if is_locatable(p.code) and outermost(p.code) == p.code]


@pytest.fixture
async def client(redis_settings: config.Redis) -> AsyncIterator[Redis]:
    async with connect(redis_settings) as client:
        yield client


def places(number: int, first: int = 0) -> dict[str, float]:
    return {code: 1e15 * (n + 1) for n, code in enumerate(CODES[first : first + number])}


def batch() -> list[tuple[Message, Sequence[Claim]]]:
    month = report("b", places(40), start=MONTH, end=add_months(MONTH, 1))
    messages: list[Message] = [
        *(report("a", places(n + 1), start=NOW - n * MINUTE, hold_s=300) for n in range(90)),
        month,
        report("b", places(20, 5), start=TODAY - 3 * DAY, end=TODAY - 2 * DAY),
        report("b", places(30), start=TODAY - 300 * DAY, end=TODAY - 20 * DAY),
        *(network(1e21 + n, start=NOW - n * MINUTE, hold_s=1800) for n in range(30)),
        # Their hours are not kept any more, and days of them are claimed twice.
        report("c", places(9), start=TODAY - 50 * DAY, end=TODAY - 49 * DAY),
        report("c", places(9), start=TODAY - 52 * DAY, end=TODAY - 45 * DAY),
    ]
    kept = horizon(KEPT, NOW)
    return [(message, claims_of(message, kept)) for message in messages]


async def contents(client: Redis) -> dict[bytes, Any]:
    """Return all hashes of series by what follows the generation in their names.

    Without the stamps, which differ with every way to write.
    """
    found: dict[bytes, Any] = {}
    async for key in client.scan_iter(match="mm:[0-9]*:{*"):
        name = key.split(b":", 2)[2]
        if name.endswith(b":stamps"):
            continue
        found[name] = await client.hgetall(key)
        found[name].pop(b"stamp", None)
    return found


def in_pieces_of(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_writer, "pieces", partial(pieces, most=values))


@pytest.mark.parametrize("values", [1, 500, 5000, 100_000])
async def test_pieces_of_any_size_leave_the_same_cells(
    client: Redis, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = batch()
    in_pieces_of(10**9, monkeypatch)
    at_once = await Store(client, KEPT).writer.write(claimed)
    expected = await contents(client)
    await client.flushall()
    in_pieces_of(values, monkeypatch)
    written = await Store(client, KEPT).writer.write(claimed)
    assert await contents(client) == expected
    assert written.too_late == at_once.too_late
    assert (written.too_large, written.over_quota) == ({}, {})


async def test_days_that_are_too_late_are_told_by_the_number_of_the_message(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pieces_of(1, monkeypatch)
    store = Store(client, config.Retention(hours_d=400))
    day = TODAY - 60 * DAY
    hour = report("d", places(3), start=day, end=day + HOUR)
    await store.writer.write([(hour, claims_of(hour))])
    late = report("d", places(3), start=day, end=day + DAY)
    kept = horizon(KEPT, NOW)
    claimed: list[tuple[Message, Sequence[Claim]]] = [
        *batch(),
        (late, claims_of(late, kept)),
    ]
    written = await store.writer.write(claimed)
    assert written.too_late == {len(claimed) - 1: [bucket(day, DAY_S)]}


async def test_the_pieces_of_a_batch_wait_for_what_goes_before(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precedence, "AT_MOST_S", 3600.0)
    store = Store(client, KEPT)
    await store.generations.begin({})
    with store.writer.precedence.taken():
        writing = asyncio.create_task(store.writer.write(batch()))
        for _ in range(20):
            assert not (await store.cells.read([])).by_series
        assert not writing.done()
    await writing
    assert (await store.cells.read([])).by_series

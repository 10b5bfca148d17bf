"""Damage in the positions: what says nothing counts as missing, and is replaced when it is needed.

:mod:`tests.streams.test_rewinder` shows that a running service mends itself in that way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from miningmap import settings as config
from miningmap.kafka.topics import NETWORK, REPORTS
from miningmap.redis_client import connect
from streams.method.cells import claims_of
from streams.redis import keys
from streams.redis.cell_writer import Applied
from streams.redis.generations import CURRENT, NEXT, Filled, NotAdvanced, Range, RebuildingError
from streams.redis.store import Store
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from streams.redis.cell_writer import Claimed

GARBAGE: Final = (
    b"",
    b"x",
    b"\xff\xfe",
    b"nan",
    b"inf",
    b"-1",
    b"1e3",
    b"0x10",
    b"1_0",
    b" 5",
    b"5\n",
    "\u0665".encode(),
    b"9" * 400,
)
EACH: Final = (REPORTS, 0)
FIELD: Final = f"{REPORTS}/0"
MESSAGE: Final = report("a", {"US": 1e20})
SENT: Final[list[Claimed]] = [(MESSAGE, claims_of(MESSAGE))]

garbage = pytest.mark.parametrize("value", GARBAGE, ids=lambda value: repr(value[:9]))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis: Redis) -> Store:
    """A store whose current generation has applied the messages up to the fifth."""
    await redis.flushdb()
    store = Store(redis, config.Retention())
    await store.generations.begin({EACH: Range(0, 5)})
    assert not (await store.writer.write(SENT, applied(0, 5))).not_advanced
    assert await position(store) == 5
    return store


def applied(first: int, after: int) -> Applied:
    return Applied({EACH: Range(first, after)}, NOON)


async def current(store: Store) -> Filled:
    found = await store.generations.current()
    assert found is not None
    return found


async def position(store: Store) -> int | None:
    return (await current(store)).positions.get(EACH)


async def is_as_if_empty(store: Store) -> None:
    """Check that nothing can be read or written, and that a generation can be begun."""
    assert await store.generations.current() is None
    with pytest.raises(RebuildingError, match="not begun"):
        await store.cells.read([])
    written = await store.writer.write(SENT, applied(5, 6))
    assert written.not_advanced == NotAdvanced(replaced=True, behind={})
    assert await store.generations.remove_unused() == 0
    with capture_logs() as logs:
        assert await store.generations.begin({EACH: Range(0, 9)})
    assert len(logs) == 1
    assert logs[0]["log_level"] == "warning"
    assert await position(store) == 0
    with capture_logs() as logs:  # it is said once
        assert not (await store.writer.write(SENT, applied(0, 9))).not_advanced
        await store.cells.check_cells()
    assert logs == []


@garbage
async def test_a_damaged_number_of_the_generation_is_like_an_empty_redis(
    redis: Redis, store: Store, value: bytes
) -> None:
    await redis.hset(keys.POSITIONS, CURRENT, value)
    await is_as_if_empty(store)


async def test_a_hash_of_generations_of_another_type_is_like_an_empty_redis(
    redis: Redis, store: Store
) -> None:
    await redis.delete(keys.POSITIONS)
    await redis.set(keys.POSITIONS, b"x")
    await is_as_if_empty(store)


@pytest.mark.parametrize("value", [b"", b"x", b"5", b"0 x", b"0 1e3", b"-1 3", b"0 5 9", b"\xff 5"])
async def test_a_damaged_target_is_like_an_empty_redis(
    redis: Redis, store: Store, value: bytes
) -> None:
    """Nobody knows any more when the generation can be read."""
    await redis.hset(keys.targets((await current(store)).number), FIELD, value)
    await is_as_if_empty(store)


async def test_targets_of_another_type_are_like_an_empty_redis(redis: Redis, store: Store) -> None:
    await redis.set(keys.targets((await current(store)).number), b"x")
    await is_as_if_empty(store)


async def is_applied_again(store: Store) -> None:
    """Check that the partition has no position, and gets one from its first message on."""
    before = await current(store)
    assert before.positions == {}
    written = await store.writer.write(SENT, applied(5, 6))
    assert written.not_advanced == NotAdvanced(replaced=False, behind={EACH: None})
    with capture_logs() as logs:
        await store.generations.begin_partition(before.number, EACH, 2)
    assert len(logs) == 1
    assert logs[0]["log_level"] == "warning"
    assert await position(store) == 2
    with capture_logs() as logs:  # it is said once
        assert not (await store.writer.write(SENT, applied(2, 6))).not_advanced
        await store.generations.begin_partition(before.number, EACH, 2)
    assert logs == []
    assert await position(store) == 6
    await store.cells.check_cells()


@garbage
async def test_a_damaged_position_counts_as_missing(
    redis: Redis, store: Store, value: bytes
) -> None:
    await redis.hset(keys.positions((await current(store)).number), FIELD, value)
    await is_applied_again(store)


async def test_positions_of_another_type_count_as_missing(redis: Redis, store: Store) -> None:
    key = keys.positions((await current(store)).number)
    await redis.delete(key)
    await redis.rpush(key, b"x")
    await is_applied_again(store)


async def test_a_damaged_position_keeps_the_generation_from_being_whole(
    redis: Redis, store: Store
) -> None:
    number = (await current(store)).number
    await redis.hset(keys.targets(number), mapping={FIELD: "0 5", f"{NETWORK}/0": "0 1"})
    await redis.hset(keys.positions(number), mapping={FIELD: b"nan", f"{NETWORK}/0": b"0"})
    with pytest.raises(RebuildingError, match="0 of 6"):
        await store.cells.check_cells()
    await store.writer.write([], Applied({(NETWORK, 0): Range(0, 1)}, NOON))
    with pytest.raises(RebuildingError, match="1 of 6"):
        await store.cells.check_cells()


async def test_what_names_no_partition_is_passed_over(redis: Redis, store: Store) -> None:
    number = (await current(store)).number
    names = (b"", b"x", b"\xff/0", b"/0", b"x/y", b"x/-1", b"x/0x1")
    await redis.hset(keys.positions(number), mapping=dict.fromkeys(names, b"1"))
    assert (await current(store)).positions == {EACH: 5}
    assert not (await store.writer.write(SENT, applied(5, 6))).not_advanced


@garbage
async def test_a_damaged_number_of_the_next_generation_is_as_if_there_was_none(
    redis: Redis, store: Store, value: bytes
) -> None:
    before = await current(store)
    await redis.hset(keys.POSITIONS, NEXT, value)
    assert await store.generations.next() is None
    await store.generations.give_up_next()
    assert not await redis.hexists(keys.POSITIONS, NEXT)
    await redis.hset(keys.POSITIONS, NEXT, value)
    with capture_logs():
        assert await store.generations.begin({EACH: Range(0, 1)}, NEXT)
    filled = await store.generations.next()
    assert filled is not None
    await redis.hset(keys.POSITIONS, CURRENT, value)
    assert await store.generations.swap(filled.number) is None
    assert await current(store) == Filled(filled.number, {EACH: 0})
    assert before.number < filled.number


async def test_what_another_process_has_mended_stays(redis: Redis, store: Store) -> None:
    """Both have seen the damage; the second one replaces nothing that is good again."""
    number = (await current(store)).number
    await redis.hset(keys.positions(number), FIELD, b"x")
    other = Store(redis, config.Retention())
    with capture_logs():
        await store.generations.begin_partition(number, EACH, 0)
        await store.writer.write(SENT, applied(0, 6))
        await other.generations.begin_partition(number, EACH, 0)
    assert await position(store) == 6

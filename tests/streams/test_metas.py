"""Of meta data that is known, only what has changed is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.exceptions import ResponseError

from miningmap import settings as config
from miningmap.redis_client import connect
from streams.redis.loaded_cells import SeriesCells
from streams.redis.metas import read_all, read_changed
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from redis.asyncio import Redis

KEYS = [f"mm:1:{{p:pool{number}}}:own:meta" for number in range(450)]
"""More than one run of the script compares."""


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


fields = st.dictionaries(st.binary(min_size=1, max_size=9), st.binary(max_size=50), max_size=5)
numbers = st.integers(0, len(KEYS) - 1)


@examples(30)
@given(
    st.dictionaries(numbers, fields, max_size=30),
    st.dictionaries(numbers, fields, max_size=30),
    st.sets(numbers, max_size=5),
)
async def test_all_that_differs_from_what_is_known_is_read_and_nothing_else(
    redis: Redis,
    known: dict[int, dict[bytes, bytes]],
    later: dict[int, dict[bytes, bytes]],
    damaged: set[int],
) -> None:
    await redis.flushdb()
    await write(redis, known)
    digests = [
        None if isinstance(read, ResponseError) else SeriesCells(read, {}, None).digest
        for read in await read_all(redis, KEYS)
    ]
    await write(redis, later)
    for number in damaged:
        await redis.set(KEYS[number], b"x")
    changed = await read_changed(redis, KEYS, digests)
    now = await read_all(redis, KEYS)
    assert set(changed) >= damaged
    for number, read in enumerate(now):
        if number in damaged:
            assert isinstance(changed[number], ResponseError)
        else:
            assert changed.get(number, known.get(number, {})) == read
    differ = {n for n in known | later if later.get(n, known.get(n)) != known.get(n, {})}
    assert differ <= set(changed) <= later.keys() | damaged


async def write(redis: Redis, metas: Mapping[int, Mapping[bytes, bytes]]) -> None:
    for number, meta in metas.items():
        await redis.delete(KEYS[number])
        for field, value in meta.items():
            await redis.hset(KEYS[number], field, value)


async def test_what_is_not_known_is_read(redis: Redis) -> None:
    await redis.flushdb()
    await redis.hset(KEYS[1], mapping={"end": "1"})
    assert await read_changed(redis, KEYS[:2], [None, None]) == {0: {}, 1: {b"end": b"1"}}
    assert await read_changed(redis, [], []) == {}

"""Keys in Redis: those of one command, transaction or script are in one slot."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from pydantic import SecretStr
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from miningmap import settings as config
from miningmap.messages import Published
from miningmap.redis_client import connect
from miningmap.retention import horizon
from miningmap.times import add_months
from streams.method.cells import Series, claims_of
from streams.redis import keys
from streams.redis.store import Store
from tests.streams.fixtures import NOON, report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from miningmap.messages import Message

GENERATION = keys.Generation(7)
CONSTANTS = {n: v for n, v in vars(keys).items() if n.isupper() and isinstance(v, str)}
OF_A_SERIES = {
    name: method
    for name, method in inspect.getmembers(GENERATION, inspect.ismethod)
    if not name.startswith("_")
}
OF_POSITIONS = [keys.POSITIONS, keys.BUILDER, keys.positions(7), keys.targets(7)]
# Each of these is the only key of every command that touches it.
ALONE = [keys.UNNUMBERED_SERIES, GENERATION.series, GENERATION.rejected, GENERATION.damaged]


def slot(key: str) -> int:
    return key_slot(key.encode())


def key_of(function: Callable[..., str], series: Series) -> str:
    """The key that a function of ``keys`` returns; its other parameters are numbers."""
    numbers = len(inspect.signature(function).parameters) - 1
    return function(series, *range(494_000, 494_000 + numbers))


@pytest.mark.parametrize(
    "series", [Series("foundryusa", "api"), Series("a.b-c", "own"), Series(None, "mempool")]
)
def test_all_keys_of_a_series_are_different_and_in_one_slot(series: Series) -> None:
    names = [key_of(function, series) for function in OF_A_SERIES.values()]
    assert len(set(names)) == len(names) == 6
    assert len(set(map(slot, names))) == 1


def test_series_of_different_pools_are_in_different_slots() -> None:
    assert len({slot(GENERATION.meta(Series(pool, "api"))) for pool in ("a", "b", "c", None)}) == 4


def test_all_other_keys_are_in_one_of_two_slots_unless_they_are_used_alone() -> None:
    snapshots = set(CONSTANTS.values()) - {*ALONE, *OF_POSITIONS}
    assert len(snapshots) >= 3
    for together in (snapshots, OF_POSITIONS):
        assert len(set(map(slot, together))) == 1


def test_each_equal_part_of_the_slots_has_a_copy_of_the_positions() -> None:
    parts = [slot(key) * keys.COPIES // REDIS_CLUSTER_HASH_SLOTS for key in keys.copies(7)]
    assert parts == list(range(keys.COPIES))


def test_all_keys_have_different_names() -> None:
    names = [key_of(function, Series("a", "own")) for function in OF_A_SERIES.values()]
    every = [*{*CONSTANTS.values(), *OF_POSITIONS, *ALONE}, *names]
    assert len(set(every)) == len(every)
    assert all(key.startswith("mm:") for key in every)


# --- claim.lua ------------------------------------------------------------------------------------

KEPT = config.Retention(minutes_h=10_000_000, hours_d=400_000)
MIDNIGHT = NOON.replace(hour=0)
JUNE = NOON.replace(month=6, day=1, hour=0)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(config.Redis(url=SecretStr(redis_url)))
    yield client
    await client.aclose()


def all_kinds_of_claims() -> list[Message]:
    """Messages of one series that claim minutes, hours and days, across midnight."""
    table = report(places={"US": 5.0}, start=JUNE, end=add_months(JUNE, 1))
    return [
        report(places={"US": 5.0}, start=MIDNIGHT - timedelta(minutes=1), hold_s=7200),
        report(hashrate=5.0, start=MIDNIGHT - timedelta(hours=3), end=MIDNIGHT.replace(hour=2)),
        msgspec.structs.replace(table, published=(Published("US", "1.0", "0.00"),)),
    ]


async def test_the_claim_script_touches_only_the_keys_that_it_is_given(redis: Redis) -> None:
    store = Store(redis, KEPT)
    past = horizon(config.Retention(), NOON)  # late enough that June's days are claimed directly
    claimed = [
        (message, claims_of(message, past if message.start == JUNE else None))
        for message in all_kinds_of_claims()
    ]
    async with redis.monitor() as monitor:
        await store.writer.write(claimed)
        await redis.echo("end")
        given: set[str] = set()
        touched: set[str] = set()
        while (entry := await monitor.next_command())["command"] != "ECHO end":
            words = entry["command"].split(" ")
            if entry["client_type"] == "lua":
                touched.add(words[1])
            elif words[0] == "EVALSHA":  # the one that writes claims: no positions are written
                given = set(words[3 : 3 + int(words[2])])
    current = await store.generations.current()
    assert current
    prefix = keys.Generation(current.number).meta(Series("a", "own")).removesuffix("meta")
    kinds = {key.removeprefix(prefix).partition(":")[0] for key in touched}
    assert kinds == {"meta", "d", "published", "stamps", "m", "h"}
    assert touched == given
    assert len(set(map(slot, given))) == 1

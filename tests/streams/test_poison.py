"""No message in Kafka and no value in Redis ends the service, or stops more than it is about."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from miningmap.api.models import Answer, PoolList
from miningmap.kafka.producer import Record
from miningmap.kafka.topics import DEAD_LETTERS, NETWORK, REPORTS
from miningmap.messages import encode
from miningmap.times import parse_rfc3339, utc_now
from streams.method.cells import Series
from streams.redis import keys
from streams.redis.store import Store
from streams.worker import group_reader
from tests.streams.fixtures import report
from tests.streams.processes import processed, publish, streams, until

if TYPE_CHECKING:
    from datetime import datetime

    from redis.asyncio import Redis

    from miningmap.settings import Settings

pytestmark = pytest.mark.usefixtures("clean_kafka")


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with which the service in this process writes and commits without a long wait."""
    monkeypatch.setattr(group_reader, "COMMIT_S", 0.05)
    settings.streams.snapshot_s = 0.1
    return settings


def edited(**fields: Any) -> Record:
    """A report of now, with some fields as a faulty or hostile producer writes them."""
    now = utc_now()
    document = json.loads(encode(report("poison", {"US": 1e18}, start=now - timedelta(minutes=2))))
    return Record(REPORTS, b"poison", json.dumps(document | fields).encode())


def poisons() -> list[Record]:
    last = "9999-12-31T23:59:59.999999Z"
    first = "0001-01-01T00:00:00Z"
    return [
        edited(fetched_at=first),
        edited(start="9999-12-31T23:00:00Z", end=last),
        edited(start="9999-12-31T23:59:00Z", end=last, hold_s=86_400),
        edited(start="9999-12-31T23:59:00-14:00", end="9999-12-31T23:59:59-14:00"),
        edited(start=first, end="0001-01-01T00:01:00Z"),
        edited(start="1970-01-01T00:00:00Z", end="1970-01-01T00:01:00Z"),
        edited(hashrate=1e30),
        edited(hashrate=1e308),
        edited(hashrate=5e-324, places=[]),
        edited(hold_s=10**30),
        edited(places=[{"code": "US\u0000", "hashrate": 1, "kind": "measured"}]),
        edited(pool="x" * 65),
        Record(REPORTS, b"poison", b"[" * 100_000),
        Record(REPORTS, b"poison", b'{"schema":"report/1","pool":"\xff"}'),
        Record(NETWORK, b"bitcoin", b"\xff\xfe"),
        Record(DEAD_LETTERS, b"poison", b"", (("at", last.encode()), ("reason", b"\xff"))),
        Record(
            DEAD_LETTERS,
            b"poison",
            b"",
            (("at", last.encode()), ("reason", b"x"), ("error", b"x" * 100_000)),
        ),
        # The last report of its pool; the float that Redis has of this time is in the year 10000.
        edited(fetched_at=last),
    ]


async def test_snapshots_go_on_whatever_messages_say(settings: Settings, client: Redis) -> None:
    store = Store(client, settings.retention)
    async with streams(settings):
        await publish(settings, [_recent()], *poisons())
        await processed(settings)
        await _taken_after(store, utc_now())
        pools = await _pools(store)
    assert "good" in pools
    assert all(pool.refused is None or len(pool.refused.error) <= 1000 for pool in pools.values())


async def test_the_service_goes_on_whatever_is_in_redis(settings: Settings, client: Redis) -> None:
    store = Store(client, settings.retention)
    constants = [value for value in vars(keys).values() if str(value).startswith("mm:{snap")]
    async with streams(settings):
        await publish(settings, [_recent(), _recent("victim")])
        await processed(settings)
        await _taken_after(store, utc_now())
        generation = keys.Generation(int(await client.hget(keys.POSITIONS, "generation") or 0))
        of_victim = (generation.meta, generation.days, generation.published)
        of_all = (generation.series, generation.rejected, generation.damaged)
        for key in [*constants, *of_all, *(key(Series("victim", "own")) for key in of_victim)]:
            await client.delete(key)
            await client.set(key, b"x")
        await publish(settings, [_recent("new"), _recent("victim"), _recent("good", hashrate=2.0)])
        await processed(settings)

        async def is_mended() -> bool:
            try:
                return {"good", "new"} <= (await _pools(store)).keys()
            except Exception:  # noqa: BLE001 - it is not mended yet
                return False

        await until(is_mended)
        await _taken_after(store, utc_now())
        pools = await _pools(store)
        answer = msgspec.json.decode(await store.snapshots.part("now/country") or b"", type=Answer)
    assert {member.pool for member in answer.cohort} == {"good", "new"}
    assert (pools["victim"].state, bool(pools["victim"].reason)) == ("off", True)


def _recent(pool: str = "good", hashrate: float = 1.0) -> Any:
    start = utc_now().replace(second=0, microsecond=0) - timedelta(minutes=1)
    return report(pool, {"US": hashrate * 1e20}, start=start, hold_s=600)


async def _taken_after(store: Store, at: datetime) -> None:
    async def is_taken() -> bool:
        taken_at = await store.snapshots.part("at")
        return taken_at is not None and parse_rfc3339(taken_at.decode()) > at

    await until(is_taken)


async def _pools(store: Store) -> dict[str, Any]:
    raw = await store.snapshots.part("pools")
    return {pool.pool: pool for pool in msgspec.json.decode(raw or b"", type=PoolList).pools}

"""Shared by the benchmarks: a Redis on one core, pools with places, and tables to print."""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from pydantic import SecretStr

from miningmap import settings as config
from miningmap.messages import Located, Message, Network, Report
from miningmap.places import OTHER, all_places
from miningmap.redis_client import connect
from miningmap.retention import horizon
from miningmap.times import utc_now
from streams.method.cells import claims_of
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from redis.asyncio import Redis

    from streams.redis.store import Store

BATCH: Final = config.Streams().batch
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW: Final = utc_now()  # Redis expires keys by its own clock

T = TypeVar("T")

_HOLD_S: Final = 300
_NETWORK_HOLD_S: Final = 1800
_NETWORK: Final = 1e21
_random: Final = random.Random(3)  # noqa: S311 - not a secret: the same figures in every run


class Pool(NamedTuple):
    """A pool, and the places where it has miners."""

    slug: str
    codes: tuple[str, ...]


def pools(number: int, places: int) -> list[Pool]:
    """Make pools. A third of their places are countries, the others Chinese and US subdivisions.

    Where a country has not so many subdivisions, countries take their place.
    """
    countries = [p.code for p in all_places() if p.parent is None and p.code != OTHER]
    provinces = [p.code for p in all_places() if p.parent == "CN"]
    states = [p.code for p in all_places() if p.parent == "US"]
    chinese, american = (min(places // 3, len(codes)) for codes in (provinces, states))
    return [
        Pool(
            f"pool{n:03}",
            (
                *_random.sample(countries, places - chinese - american),
                *_random.sample(provinces, chinese),
                *_random.sample(states, american),
            ),
        )
        for n in range(number)
    ]


def report(pool: Pool, start: datetime, length: timedelta) -> Report:
    """Make a report; a tenth of the hashrate has no place, all other places are measured."""
    places = tuple(Located(code, _random.random() * 1e18, "measured") for code in pool.codes)
    return Report(
        pool=pool.slug,
        source="own",
        start=start,
        end=start + length,
        hold_s=_HOLD_S if length < HOUR else 0,
        hashrate=sum(place.hashrate for place in places) / 0.9 + 1.0,
        places=places,
        fetched_at=utc_now(),  # wins over earlier reports of that time
        simulated=True,
    )


def network(start: datetime, length: timedelta) -> Network:
    return Network(
        source="mempool",
        start=start,
        end=start + length,
        hold_s=_NETWORK_HOLD_S if length < HOUR else 0,
        hashrate=_NETWORK,
        fetched_at=start + length,
        simulated=True,
    )


def begins(first: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """Return ``first`` and every ``step`` after it, before ``end``."""
    return [first + n * step for n in range(-((first - end) // step))]


def whole(at: datetime, step: timedelta) -> datetime:
    """Return the beginning of the minute, hour or day that contains ``at``."""
    return at - (at - datetime.fromtimestamp(0, UTC)) % step


async def write(store: Store, messages: Iterable[Message], kept: config.Retention) -> None:
    """Write messages in batches, as the service does."""
    until = horizon(kept, NOW)
    for batch in batches(list(messages)):
        await store.writer.write([(message, claims_of(message, until)) for message in batch])


def batches(messages: Sequence[T]) -> Iterator[Sequence[T]]:
    return (messages[n : n + BATCH] for n in range(0, len(messages), BATCH))


@asynccontextmanager
async def redis_on_one_core() -> AsyncIterator[Redis]:
    """Start a Redis that shares one core with this process, where the system allows that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    server = RedisServer.launch()
    client = connect(config.Redis(url=SecretStr(server.url)))
    try:
        yield client
    finally:
        await client.aclose()
        server.close()


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown, for docs/performance.md."""
    print(f"\n**{title}**\n")
    for line in table(head, rows):
        print(line, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown; all columns but the first have numbers."""
    yield f"| {' | '.join(head)} |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"

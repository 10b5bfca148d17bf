"""Heavy questions at once: how long they take, and what light requests notice meanwhile.

Twelve histories of a thousand buckets are asked for at the same time, equal or all different,
beside light requests at a fixed rate. Run it with ``python -m benchmarks.questions``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from pydantic import SecretStr

from benchmarks.fixtures import DAY, NOW, network, pools, print_table, report, whole, write
from benchmarks.http_load import KEPT, LOOPBACK, SHARES, get, latencies, service, snapshot_source
from benchmarks.http_load import spread as spread_ms
from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.times import add_months
from streams.redis.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.http_load import Service

AT_ONCE: Final = 12
BUCKETS: Final = 990
POOLS: Final = 20
PLACES: Final = 9
LIGHT_A_SECOND: Final = 50
LIGHT_S: Final = 8.0
PATIENCE_S: Final = 120.0


class Asked(NamedTuple):
    """What became of the heavy questions, and of the light ones beside them."""

    statuses: Counter[int]
    heavy_s: float
    cpu_s: float
    light_s: Sequence[float]


def questions(step: str, *, equal: bool) -> list[str]:
    """Return the paths of histories with data in few of their months, or in all of their days."""
    paths = []
    for number in range(AT_ONCE):
        buckets = BUCKETS - (0 if equal else number)
        to = whole(NOW, DAY)
        start = to - buckets * DAY if step == "day" else add_months(to.replace(day=1), -buckets)
        paths.append(f"/api/v1/history?code=US&step={step}&from={start:%Y-%m-%d}&to={to:%Y-%m-%d}")
    return paths


async def write_years(url: str) -> None:
    """Write three years of monthly reports of pools with places."""
    redis = connect(config.Redis(url=SecretStr(url)))
    store = Store(redis, KEPT)
    month = whole(NOW, DAY).replace(day=1)
    for number in range(36):
        start = add_months(month, -number)
        length = min(add_months(start, 1), whole(NOW, DAY)) - start
        if length:
            reports = [report(pool, start, length) for pool in pools(POOLS, PLACES)]
            await write(store, [*reports, network(start, length)], KEPT)
    await redis.aclose()


async def ask(served: Service, paths: Sequence[str]) -> Asked:
    """Ask all questions at once, and light ones meanwhile."""
    statuses: Counter[int] = Counter()
    base = f"http://{LOOPBACK}:{served.endpoint}"
    cpu_s = served.cpu_s()
    async with (
        aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session,
        asyncio.TaskGroup() as group,
    ):
        light = group.create_task(
            latencies(served.endpoint, get(SHARES, served.endpoint), LIGHT_A_SECOND, LIGHT_S)
        )
        await asyncio.sleep(0.5)
        started = perf_counter()

        async def heavy(path: str) -> float:
            async with session.get(path) as response:
                await response.read()
                statuses[response.status] += 1
                return perf_counter() - started

        taken = [group.create_task(heavy(path)) for path in paths]
    return Asked(
        statuses,
        max((t.result() for t in taken), default=0.0),
        served.cpu_s() - cpu_s,
        light.result(),
    )


async def main() -> None:
    rows = []
    async with snapshot_source(POOLS, PLACES) as source:
        await write_years(source.url)
        for step, words in (("month", "mostly without data"), ("day", "with data")):
            for number, equal in ((0, True), (1, True), (AT_ONCE, True), (AT_ONCE, False)):
                async with service(source.url) as served:
                    asked = await ask(served, questions(step, equal=equal)[:number])
                rows.append(
                    (
                        f"{number} {'equal' if equal else 'different'}",
                        f"{BUCKETS} {step}s, {words}",
                        " ".join(f"{n} x {status}" for status, n in sorted(asked.statuses.items())),
                        f"{asked.heavy_s:.1f}",
                        f"{asked.cpu_s:.1f}",
                        *spread_ms(asked.light_s),
                    )
                )
                print(rows[-1], flush=True)
    head = ("at once", "history", "answers", "last after s", "CPU s")
    print_table("Heavy questions", (*head, "light p50 ms", "p99 ms", "max ms"), rows)


if __name__ == "__main__":
    asyncio.run(main())

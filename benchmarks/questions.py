"""Heavy questions: how long they take, alone and at once, and what light requests notice.

Each of some questions about the past is asked for the first time and again, and six of them at
once. Then twelve histories of a thousand buckets are asked for at the same time, equal or all
different, beside light requests at a fixed rate. Run it with ``python -m benchmarks.questions``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from pydantic import SecretStr

from benchmarks.fixtures import (
    DAY,
    HOUR,
    NOW,
    begins,
    network,
    pools,
    print_table,
    report,
    whole,
    write,
)
from benchmarks.http_load import KEPT, LOOPBACK, SHARES, get, latencies, service, snapshot_source
from benchmarks.http_load import spread as spread_ms
from miningmap import settings as config
from miningmap.redis_client import connect
from miningmap.times import add_months
from streams.redis.store import Store
from tests.servers import RedisServer

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
MANY_POOLS: Final = 100
MANY_PLACES: Final = 40
AGAIN: Final = 9
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


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


class Repeated(NamedTuple):
    """What a question took: the first time, and when it was asked again.

    On a machine with much else to do it may take longer than the deadline. What was computed until
    then is kept, so that it is answered when it is asked again; ``busy`` is how often it was not.
    """

    first_s: float
    first_cpu_s: float
    busy: int
    again_s: Sequence[float]
    size: int
    memory_mib: float


def past_questions() -> dict[str, str]:
    """Return the paths of questions that no snapshot answers, by what they are."""
    day, hour = whole(NOW, DAY), whole(NOW, HOUR)
    month = add_months(day.replace(day=1), -2)
    history = "/api/v1/history?code="
    return {
        "30 days by hour, one place": f"{history}US&step=hour&from={hour - 30 * DAY:{_TIME}}",
        "2 years by day, one place": f"{history}US&step=day&from={day - 730 * DAY:{_TIME}}",
        "2 years by month, one place": f"{history}US&step=month&from={day - 730 * DAY:{_TIME}}",
        "10 days by hour, every country": f"{history}*&step=hour&from={hour - 10 * DAY:{_TIME}}",
        "shares of 24 h as of a week ago": (
            f"/api/v1/shares?window=24h&as_of={hour - 7 * DAY:{_TIME}}"
        ),
        "shares of a past month": f"/api/v1/shares?window={month:%Y-%m}",
    }


async def write_past(url: str) -> None:
    """Write hours of a month, and days of two years before that."""
    redis = connect(config.Redis(url=SecretStr(url)))
    store, some, day = Store(redis, KEPT), pools(MANY_POOLS, MANY_PLACES), whole(NOW, DAY)
    month = day - 33 * DAY
    for step, starts in (
        (DAY, begins(day - 762 * DAY, month, DAY)),
        (HOUR, begins(month, whole(NOW, HOUR), HOUR)),
    ):
        for start in starts:
            await write(
                store, [*(report(p, start, step) for p in some), network(start, step)], KEPT
            )
    await redis.aclose()


async def ask_again(served: Service, path: str) -> Repeated:
    """Ask a question for the first time, and again."""
    base = f"http://{LOOPBACK}:{served.endpoint}"
    cpu_s, took_s, size, busy = served.cpu_s(), list[float](), 0, 0
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session:
        for _ in range(1 + AGAIN):
            started = perf_counter()
            while True:
                async with session.get(path) as response:
                    size = len(await response.read())
                if response.status == HTTPStatus.OK:
                    break
                busy += 1
            took_s.append(perf_counter() - started)
            if len(took_s) == 1:
                cpu_s = served.cpu_s() - cpu_s
    return Repeated(took_s[0], cpu_s, busy, took_s[1:], size, served.memory_mib())


async def print_past() -> None:
    """Print what questions about the past take, and six at once."""
    rows, alone, at_once = [], 0.0, 0.0
    server = RedisServer.launch()
    try:
        await write_past(server.url)
        for name, path in past_questions().items():
            async with service(server.url) as served:
                alone = served.memory_mib()
                took = await ask_again(served, path)
            again = spread_ms(took.again_s)
            first = (f"{took.first_s:.2f}", f"{took.first_cpu_s:.2f}", took.busy)
            memory = f"{took.memory_mib - alone:.0f}"
            rows.append((name, *first, *again[::2], f"{took.size / 2**20:.1f}", memory))
            print(rows[-1], flush=True)
        async with service(server.url) as served:
            paths = [f"{path}&adjust=none" for path in past_questions().values()]
            asked = await ask(served, paths)
            at_once = served.memory_mib()
    finally:
        server.close()
    head = ("question", "first s", "CPU s", "times busy", "again ms", "longest ms", "MiB of JSON")
    print_table(f"{MANY_POOLS} pools of {MANY_PLACES} places", (*head, "memory MiB"), rows)
    statuses = " ".join(f"{n} x {status}" for status, n in sorted(asked.statuses.items()))
    print(f"\nAll six at once: {statuses} after {asked.heavy_s:.1f} s, {asked.cpu_s:.1f} s of CPU;")
    print(f"memory {at_once:.0f} MiB, {alone:.0f} MiB before any question.", flush=True)


async def main() -> None:
    await print_past()
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

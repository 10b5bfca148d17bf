"""Write the tables of docs/scaling.md: what a load needs, by what one report or site costs.

Run it with ``python -m tools.scaling``; ``make docs`` does. The costs are those that
docs/performance.md shows as measured.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.fixtures import table
from tools import marked

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT: Final = Path(__file__).parents[1] / "docs/scaling.md"
COSTS: Final = "costs"
SIZES: Final = "sizes"

_DAY_S: Final = 86_400
_GIB: Final = 2**30


class Cost(NamedTuple):
    """What one thing costs, as measured.

    Attributes:
        what: in words.
        value: in ``unit``.
        unit: its unit.
        section: of docs/performance.md, as in its links.
    """

    what: str
    value: float
    unit: str
    section: str


WORKER: Final = Cost("CPU of a worker for a report", 50, "µs", "from-kafka-to-redis")
REDIS: Final = Cost("CPU of Redis for writing a report", 18, "µs", "from-kafka-to-redis")
POLL: Final = Cost("CPU of a collector for a poll by HTTPS", 2.7, "ms", "polling")
KAFKA: Final = Cost("a report in Kafka, in a batch of its own", 620, "B", "bytes-in-kafka")
BATCHED: Final = Cost("a report in Kafka, in a batch of 50", 310, "B", "bytes-in-kafka")
MINUTE_CELL: Final = Cost("a cell of a minute", 448, "B", "memory")
HOUR_CELL: Final = Cost("a cell of an hour", 453, "B", "memory")
DAY_CELL: Final = Cost("a cell of a day", 466, "B", "memory")
SNAPSHOT: Final = Cost(
    "CPU of a snapshot for a site, if a twelfth reported", 0.10, "ms", "snapshots"
)
SWINGS: Final = Cost("CPU of a minute's swings for a site", 1.95, "ms", "swings")
REQUEST: Final = Cost("CPU of an endpoint for a request", 30, "µs", "serving")
ALL_COSTS: Final = (
    *(WORKER, REDIS, POLL, KAFKA, BATCHED, MINUTE_CELL, HOUR_CELL, DAY_CELL),
    *(SNAPSHOT, SWINGS, REQUEST),
)

MINUTES: Final = 48 * 60
HOURS: Final = 35 * 24
DAYS: Final = 365
"""How many cells are kept of each: those of days for ever, here for a year."""
WORKER_LOAD: Final = 0.25
"""The part of a core that a worker takes, so that it catches up three hours in one."""
SHARD_GIB: Final = 24
"""The memory of a Redis: its copy when it saves or a replica joins needs as much again at worst."""
REPLICAS: Final = 3
KEPT_D: Final = 36
"""Days that Kafka keeps, one more than Redis keeps hours: as far back as it can be rebuilt."""
COLLECTOR_LOAD: Final = 0.5
SNAPSHOT_S: Final = 0.5
"""How long a part of a snapshot may take."""
REQUESTS: Final = 2_000
"""Requests a second, of all clients."""
ENDPOINT_LOAD: Final = 0.5


class Load(NamedTuple):
    """What is to be carried.

    Attributes:
        reports: a minute.
        sites: pools, or sites that report like pools.
    """

    reports: int
    sites: int

    @property
    def a_second(self) -> float:
        """Reports a second."""
        return self.reports / 60


MEDIUM: Final = Load(5_000, 5_000)
LARGE: Final = Load(1_000_000, 100_000)


class Size(NamedTuple):
    """One thing that a load needs, with its arithmetic in words and numbers."""

    what: str
    arithmetic: str
    result: str


def sizes(load: Load) -> Iterator[Size]:
    """Yield what a load needs, in the order of the document."""
    yield from _workers(load)
    yield from _redis(load)
    yield from _kafka(load, KAFKA, "alone in a batch")
    yield from _kafka(load, BATCHED, "50 in a batch")
    polls = ceil(load.a_second * POLL.value / 1e3 / COLLECTOR_LOAD)
    how = f"{load.a_second:,.0f}/s x {_of(POLL)} / {COLLECTOR_LOAD}"
    yield Size("collectors, if each report is a poll", how, f"{polls}")
    yield from _snapshots(load)
    endpoints = max(2, ceil(REQUESTS * REQUEST.value / 1e6 / ENDPOINT_LOAD))
    how = f"{REQUESTS:,}/s x {_of(REQUEST)} / {ENDPOINT_LOAD}, at least 2"
    yield Size("endpoints", how, f"{endpoints}")


def _workers(load: Load) -> Iterator[Size]:
    cores = load.a_second * WORKER.value / 1e6
    workers = max(2, ceil(cores / WORKER_LOAD))
    how = f"{load.a_second:,.0f}/s x {_of(WORKER)}"
    yield Size("CPU of all workers", how, f"{cores:.3g} cores")
    yield Size("workers", f"{cores:.3g} / {WORKER_LOAD}, at least 2", f"{workers}")
    yield Size("partitions", f"2 x {workers}, at least 6", f"{max(6, 2 * workers)}")


def _redis(load: Load) -> Iterator[Size]:
    cores = load.a_second * REDIS.value / 1e6
    how = f"{load.a_second:,.0f}/s x {_of(REDIS)}"
    yield Size("CPU of Redis, writing", how, f"{cores:.3g} cores")
    cells = ((MINUTES, MINUTE_CELL), (HOURS, HOUR_CELL), (DAYS, DAY_CELL))
    site = sum(number * cell.value for number, cell in cells)
    how = " + ".join(f"{number:,} x {_of(cell)}" for number, cell in cells)
    yield Size("memory of a site after a year", how, f"{site / 1e6:.2f} MB")
    memory = load.sites * site / _GIB
    how = f"{load.sites:,} x {site / 1e6:.2f} MB"
    yield Size("memory of all", how, f"{memory:,.1f} GiB")
    shards = ceil(memory / SHARD_GIB)
    yield Size("shards of Redis", f"{memory:,.1f} / {SHARD_GIB} GiB", f"{shards}")


def _kafka(load: Load, cost: Cost, how: str) -> Iterator[Size]:
    written = load.a_second * cost.value
    disk = written * _DAY_S * KEPT_D * REPLICAS
    rate = f"{written / 1e6:.3g} MB/s"
    yield Size(f"Kafka: each replica, {how}", f"{load.a_second:,.0f}/s x {_of(cost)}", rate)
    kept = f"{rate} x {KEPT_D} d x {REPLICAS}"
    yield Size(f"Kafka: disk of all replicas, {how}", kept, f"{disk / 1e12:.3g} TB")


def _snapshots(load: Load) -> Iterator[Size]:
    snapshot = load.sites * SNAPSHOT.value / 1e3
    how = f"{load.sites:,} x {_of(SNAPSHOT)}"
    yield Size("a snapshot by one process", how, f"{snapshot:.1f} s")
    parts = ceil(snapshot / SNAPSHOT_S)
    yield Size("parts of the snapshot maker", f"{snapshot:.1f} / {SNAPSHOT_S} s", f"{parts}")
    swings = load.sites * SWINGS.value / 1e3
    how = f"{load.sites:,} x {_of(SWINGS)}"
    yield Size("a minute's swings by one process", how, f"{swings:.0f} s")


def _of(cost: Cost) -> str:
    return f"{cost.value:,g} {cost.unit}"


def costs() -> list[str]:
    """Return the table of what was measured."""
    rows = [
        (
            each.what,
            _of(each),
            f"[{each.section.replace('-', ' ')}](performance.md#{each.section})",
        )
        for each in ALL_COSTS
    ]
    return list(table(("unit", "cost", "measured in"), rows))


def sized() -> list[str]:
    """Return the table of what the loads need."""
    rows = [
        (large.what, medium.result, large.arithmetic, large.result)
        for medium, large in zip(sizes(MEDIUM), sizes(LARGE), strict=True)
    ]
    head = (
        "",
        f"{MEDIUM.reports:,} reports a minute, {MEDIUM.sites:,} sites",
        "arithmetic of the next column",
        f"{LARGE.reports:,} reports a minute, {LARGE.sites:,} sites",
    )
    return list(table(head, rows))


def main() -> None:
    """Write both tables."""
    marked.write(DOCUMENT, COSTS, costs())
    marked.write(DOCUMENT, SIZES, sized())


if __name__ == "__main__":
    main()

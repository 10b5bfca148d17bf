"""The snapshot as Prometheus metrics.

Their text is made of a whole snapshot, so that places and pools without data disappear. While
somebody scrapes it is made before it is asked for, and is a few seconds old at most. What the
process counts itself is appended at each scrape.
Units are base units, there are no rows of totals, and unknown figures are left out.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import hdrs, web
from prometheus_client.registry import Collector

from endpoint.errors import UnavailableError
from endpoint.http.exposition import Exposition, gauge, gauges_text
from endpoint.http.headers import licence_link
from endpoint.http.representation import NO_STORE, accepts_gzip
from endpoint.routes.swing_metrics import SwingCollector
from miningmap.api.models import Answer, Gap, PoolList, ShareRow
from miningmap.http.metrics import accepted_format
from miningmap.licences import CC_BY
from miningmap.metrics import PoolSeries
from miningmap.places import country_of
from streams.queries.snapshot import (
    POOLS,
    TAKEN_AT,
    UNREADABLE,
    SnapshotError,
    answers_in,
    decode_taken_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from prometheus_client import CollectorRegistry, Metric

    from endpoint.data.gateway import Gateway
    from endpoint.data.snapshot_cache import SnapshotCache
    from miningmap.swings import SwingStatus

_PLACE: Final = ("country", "subdivision", "window")
_ROWS: Final = (
    "subdivision is empty in a country's row, which includes its subdivisions: sum one or the "
    "other."
)

MADE_EVERY_S: Final = 4.0
"""The text is not made more often: it takes longer than a snapshot of what has changed."""
KEPT_S: Final = 5.0
"""How old the text may be."""
WANTED_S: Final = 150.0
"""For how long after a scrape the text is made before it is asked for: scrapers ask each minute."""

_answer = msgspec.json.Decoder(Answer)
_pool_list = msgspec.json.Decoder(PoolList)


_HEADERS: Final = {
    hdrs.CACHE_CONTROL: NO_STORE,
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
    # As in the stream: rolling windows are too recent for an imported table.
    hdrs.LINK: licence_link(CC_BY),
}


class Metrics:
    """Handler of ``/metrics``.

    Args:
        gateway: reads what swings, and the snapshot while the cache has none.
        cache: the newest snapshot.
        registry: the metrics that this process counts itself.
    """

    def __init__(self, gateway: Gateway, cache: SnapshotCache, registry: CollectorRegistry) -> None:
        self._gateway = gateway
        self._cache = cache
        self._registry = registry
        self._series = PoolSeries()
        # What was made of the newest figures, and the lock of whoever makes it.
        self._snapshot: Mapping[str, bytes] = {}
        self._status: SwingStatus | None = None
        self._made: Exposition | None = None
        self._making = asyncio.Lock()
        self._made_at = -math.inf
        self._asked_at = -math.inf

    async def scrape(self, request: web.Request) -> web.Response:
        """Answer with all metrics that are known, in the format that the scraper accepts."""
        chosen = accepted_format(request)
        self._asked_at = monotonic()
        figures = self._made
        if figures is None or self._asked_at - self._made_at > KEPT_S:
            figures = await self._figures()
        own = chosen.encode(self._registry)
        headers = _HEADERS | {hdrs.CONTENT_TYPE: chosen.content_type}
        if not accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            return web.Response(body=figures.followed_by(own), headers=headers)
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=figures.zipped_followed_by(own), headers=headers)

    async def follow(self) -> None:
        """Make the text of new snapshots before it is asked for, until the cache is closed."""
        while not self._cache.closed:
            await self._cache.renewed.wait()
            self._cache.renewed.clear()
            await asyncio.sleep(max(0.0, self._made_at + MADE_EVERY_S - monotonic()))
            if monotonic() - self._asked_at < WANTED_S:
                with suppress(Exception):  # the next scrape raises it
                    await self._figures()

    async def _figures(self) -> Exposition:
        """Return the metrics of the newest snapshot and swings, as far as they are known."""
        snapshot, status = await self._read()
        async with self._making:
            changed = snapshot is not self._snapshot or status != self._status
            if changed or self._made is None:
                # In a thread: thousands of lines take longer than other requests should wait.
                self._made = await asyncio.to_thread(_expose, snapshot, status, self._series)
                self._snapshot, self._status = snapshot, status
            self._made_at = monotonic()
            return self._made

    async def _read(self) -> tuple[Mapping[str, bytes], SwingStatus | None]:
        cached = self._cache.newest()
        try:
            status = await self._gateway.swing_status()
            snapshot = await self._gateway.snapshot() if cached is None else cached.parts
        except UnavailableError:  # then miningmap_dependency_up is 0
            # While the API serves a snapshot, what swung at that time is shown beside it.
            return (cached.parts, self._status) if cached else ({}, None)
        return snapshot, status


def _expose(
    snapshot: Mapping[str, bytes], status: SwingStatus | None, series: PoolSeries
) -> Exposition:
    collectors = collectors_of(snapshot, status, series)
    return Exposition(gauges_text(family for each in collectors for family in each.collect()))


def collectors_of(
    snapshot: Mapping[str, bytes], status: SwingStatus | None, series: PoolSeries
) -> list[Collector]:
    """Return what collects all figures, as gauges; docs/metrics.md is made from them too.

    Args:
        snapshot: its parts by name; empty if it is unknown.
        status: of swings; ``None`` if it is unknown.
        series: the pools and sources that have series.
    """
    return [SnapshotCollector(snapshot, series), SwingCollector(status, series)]


class SnapshotCollector(Collector):
    """Collects the metrics of one snapshot.

    Args:
        snapshot: its parts by name, as :meth:`streams.queries.snapshot.Snapshots.take` returns
            them; empty before the first snapshot.
        series: the pools and sources that have series.
    """

    def __init__(self, snapshot: Mapping[str, bytes], series: PoolSeries) -> None:
        self._series = series
        # A part that cannot be read is unknown, like one that is not there.
        self._answers: list[Answer] = []
        for answer in answers_in(snapshot).values():
            with suppress(*UNREADABLE):
                self._answers.append(_answer.decode(answer))
        self._pools = PoolList(())
        with suppress(*UNREADABLE):
            self._pools = _pool_list.decode(snapshot[POOLS])
        self._taken_at: datetime | None = None
        with suppress(SnapshotError):
            self._taken_at = decode_taken_at(snapshot.get(TAKEN_AT))

    def collect(self) -> Iterable[Metric]:
        """Yield every metric family, without samples where figures are unknown."""
        yield from _by_place(self._answers)
        yield from _by_window([a for a in self._answers if a.level == "country"])
        yield from _by_pool(self._pools, self._series)
        taken_at = None if self._taken_at is None else self._taken_at.timestamp()
        yield gauge(
            "miningmap_snapshot_timestamp_seconds",
            "When the snapshot of all figures here was taken; Unix time.",
            (),
            [((), taken_at)],
        )


def _by_place(answers: Sequence[Answer]) -> Iterable[Metric]:
    wanted: tuple[tuple[str, str, Callable[[ShareRow], float | None]], ...] = (
        (
            "miningmap_share_ratio",
            "The place's share of the cohort's located hashrate, 0 to 1.",
            lambda row: row.share,
        ),
        (
            "miningmap_share_low_ratio",
            "The smallest share that the measured hashrate allows, 0 to 1.",
            lambda row: row.low,
        ),
        (
            "miningmap_share_high_ratio",
            "The largest share that the measured hashrate allows, 0 to 1.",
            lambda row: row.high,
        ),
        (
            "miningmap_share_declared_low_ratio",
            "The smallest share that the measured and the declared hashrate allow, 0 to 1.",
            lambda row: row.declared_low,
        ),
        (
            "miningmap_share_declared_high_ratio",
            "The largest share that the measured and the declared hashrate allow, 0 to 1.",
            lambda row: row.declared_high,
        ),
        (
            "miningmap_share_belief_low_ratio",
            "The smallest of the place's shares under each network prior in force, 0 to 1.",
            lambda row: None if row.belief is None else row.belief[0],
        ),
        (
            "miningmap_share_belief_high_ratio",
            "The largest of the place's shares under each network prior in force, 0 to 1.",
            lambda row: None if row.belief is None else row.belief[1],
        ),
        (
            "miningmap_hashrate_hashes_per_second",
            "The cohort's hashrate at the place for which there is evidence: not what is assumed.",
            lambda row: row.hashrate,
        ),
        (
            "miningmap_share_evidence_ratio",
            "The fraction of the hashrate located at the place for which there is evidence.",
            lambda row: row.evidence,
        ),
    )
    rows = [(_place(answer, row), row) for answer in answers for row in answer.shares]
    for name, text, figure in wanted:
        samples = ((place, figure(row)) for place, row in rows)
        yield gauge(name, f"{text} {_ROWS}", _PLACE, samples)


def _by_window(answers: Sequence[Answer]) -> Iterable[Metric]:
    wanted: tuple[tuple[str, str, Callable[[Answer], float | None]], ...] = (
        (
            "miningmap_network_hashrate_hashes_per_second",
            "Mean hashrate of the whole network.",
            lambda answer: None if answer.network is None else answer.network.hashrate,
        ),
        (
            "miningmap_coverage_ratio",
            "The cohort's hashrate as a fraction of the network's; can exceed 1.",
            lambda answer: answer.coverage,
        ),
        (
            "miningmap_measured_coverage_ratio",
            "The hashrate with a measured place, as a fraction of the network's.",
            lambda answer: answer.measured_coverage,
        ),
        (
            "miningmap_declared_coverage_ratio",
            "The hashrate with a measured or declared place, as a fraction of the network's.",
            lambda answer: answer.declared_coverage,
        ),
        (
            "miningmap_evidence_ratio",
            "The fraction of the located hashrate for which there is evidence.",
            lambda answer: answer.evidence,
        ),
        (
            "miningmap_cohort_pools",
            "Number of pools in the cohort.",
            lambda answer: len(answer.cohort),
        ),
        (
            "miningmap_simulated",
            "1 if simulated reports count in the window, so that its figures are made up; else 0.",
            lambda answer: int(answer.simulated),
        ),
    )
    for name, text, figure in wanted:
        rows = (((answer.window,), figure(answer)) for answer in answers)
        yield gauge(name, text, ("window",), rows)


def _by_pool(listed: PoolList, series: PoolSeries) -> Iterable[Metric]:
    pools = [pool for pool in listed.pools if series.has_pool(pool.pool)]
    yield gauge(
        "miningmap_pools_left_out",
        "Pools of the snapshot without series here: too many have a name that is not known.",
        (),
        [((), len(listed.pools) - len(pools))],
    )
    yield gauge(
        "miningmap_pool_hashrate_hashes_per_second",
        "The pool's newest mean hashrate; absent if unknown.",
        ("pool",),
        (((pool.pool,), pool.hashrate) for pool in pools),
    )
    yield gauge(
        "miningmap_pool_last_report_timestamp_seconds",
        "End of the last report about the pool from the source; Unix time.",
        ("pool", "source"),
        (
            ((pool.pool, source.source), source.last_report.timestamp())
            for pool in pools
            for source in pool.sources
            if series.has_source(pool.pool, source.source)
        ),
    )
    wanted: tuple[tuple[str, str, Callable[[Gap], float]], ...] = (
        (
            "miningmap_pool_reported_gap_ratio",
            "The pool's reported hashrate divided by the one that its blocks imply, minus 1.",
            lambda gap: gap.ratio,
        ),
        (
            "miningmap_pool_reported_gap_error_ratio",
            "Standard error of the gap, 1/sqrt(blocks): a smaller gap can be chance.",
            lambda gap: gap.error,
        ),
    )
    for name, text, figure in wanted:
        rows = (((pool.pool,), figure(pool.gap)) for pool in pools if pool.gap is not None)
        yield gauge(name, text, ("pool",), rows)


def _place(answer: Answer, row: ShareRow) -> tuple[str, str, str]:
    subdivision = row.code if answer.level == "subdivision" else ""
    return country_of(row.code), subdivision, answer.window

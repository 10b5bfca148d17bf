"""The snapshots as Prometheus metrics, made anew for each scrape: what vanished has vanished.

Base units, no total rows; a figure that is null is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from endpoint.http.representation import NO_STORE, Representation
from miningmap import __version__
from miningmap.api.models import Answer, Gap, PoolList, ShareRow
from miningmap.places import country_of
from miningmap.times import parse_rfc3339
from streams.queries.snapshot import AT, POOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aiohttp import web
    from prometheus_client import Metric

    from endpoint.data.gateway import Reader

_PLACE: Final = ("country", "subdivision", "window")
_ROWS: Final = (
    "subdivision is empty in a country's row, and the row of a country contains those of its "
    "subdivisions: add up one or the other."
)

_answer = msgspec.json.Decoder(Answer)
_pool_list = msgspec.json.Decoder(PoolList)


def own_registry() -> CollectorRegistry:
    """For what a process counts itself."""
    # The library's one switch for the process; it forgot its annotation.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()


class Metrics:
    """Handler of ``/metrics``.

    Args:
        reader: where the snapshots are.
        own: what this process counts itself.
    """

    def __init__(self, reader: Reader, own: CollectorRegistry) -> None:
        self._reader = reader
        self._own = own

    async def scrape(self, request: web.Request) -> web.Response:
        """All metrics, in the format that the scraper asks for."""
        registry = CollectorRegistry()
        registry.register(SnapshotCollector(await self._reader.snapshots()))
        registry.register(self._own)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Representation(encode(registry), content_type, NO_STORE).answer(request)


class SnapshotCollector(Collector):
    """The metrics of one moment's snapshots.

    Args:
        snapshots: JSON by name, as :meth:`streams.queries.snapshot.Snapshots.take` makes them;
            empty before the first.
    """

    def __init__(self, snapshots: Mapping[str, bytes]) -> None:
        # Answers are named WINDOW/LEVEL[/COUNTRY]; nothing else has a slash.
        self._answers = [_answer.decode(raw) for key, raw in snapshots.items() if "/" in key]
        self._pools = _pool_list.decode(snapshots[POOLS]) if POOLS in snapshots else PoolList(())
        self._at = parse_rfc3339(snapshots[AT].decode()) if AT in snapshots else None

    def collect(self) -> Iterable[Metric]:
        """Every metric family; of what is unknown without samples."""
        yield from _by_place(self._answers)
        yield from _by_window([a for a in self._answers if a.level == "country"])
        yield from _by_pool(self._pools)
        at = None if self._at is None else self._at.timestamp()
        yield _gauge(
            "miningmap_snapshot_timestamp_seconds",
            "When the snapshot was taken that all shares here are of; Unix time.",
            (),
            [((), at)],
        )
        yield _gauge(
            "miningmap_build_info",
            "The running version; always 1.",
            ("version",),
            [((__version__,), 1)],
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
            "Least share that the measured hashrate alone allows, 0 to 1.",
            lambda row: row.low,
        ),
        (
            "miningmap_share_high_ratio",
            "Largest share that the measured hashrate alone allows, 0 to 1.",
            lambda row: row.high,
        ),
        (
            "miningmap_hashrate_hashes_per_second",
            "Hashrate of the cohort that is located at the place.",
            lambda row: row.hashrate,
        ),
    )
    for name, text, figure in wanted:
        rows = ((_place(answer, row), figure(row)) for answer in answers for row in answer.shares)
        yield _gauge(name, f"{text} {_ROWS}", _PLACE, rows)


def _by_window(answers: Sequence[Answer]) -> Iterable[Metric]:
    wanted: tuple[tuple[str, str, Callable[[Answer], float | None]], ...] = (
        (
            "miningmap_network_hashrate_hashes_per_second",
            "Mean hashrate of the whole network.",
            lambda answer: None if answer.network is None else answer.network.hashrate,
        ),
        (
            "miningmap_coverage_ratio",
            "The cohort's hashrate as a part of the network's; can exceed 1.",
            lambda answer: answer.coverage,
        ),
        (
            "miningmap_measured_coverage_ratio",
            "The hashrate whose place is measured as a part of the network's.",
            lambda answer: answer.measured_coverage,
        ),
        (
            "miningmap_cohort_pools",
            "How many pools count.",
            lambda answer: len(answer.cohort),
        ),
    )
    for name, text, figure in wanted:
        rows = (((answer.window,), figure(answer)) for answer in answers)
        yield _gauge(name, text, ("window",), rows)


def _by_pool(listed: PoolList) -> Iterable[Metric]:
    yield _gauge(
        "miningmap_pool_hashrate_hashes_per_second",
        "The pool's newest mean hashrate; absent where it has none.",
        ("pool",),
        (((pool.pool,), pool.hashrate) for pool in listed.pools),
    )
    yield _gauge(
        "miningmap_pool_last_report_timestamp_seconds",
        "End of the last report that the source gave of the pool; Unix time.",
        ("pool", "source"),
        (
            ((pool.pool, source.source), source.last_report.timestamp())
            for pool in listed.pools
            for source in pool.sources
        ),
    )
    wanted: tuple[tuple[str, str, Callable[[Gap], float]], ...] = (
        (
            "miningmap_pool_reported_gap_ratio",
            "Hashrate that the pool reports over what follows from its blocks, less 1.",
            lambda gap: gap.ratio,
        ),
        (
            "miningmap_pool_reported_gap_error_ratio",
            "What luck alone does to that many blocks, 1/sqrt(n): a smaller gap says nothing.",
            lambda gap: gap.error,
        ),
    )
    for name, text, figure in wanted:
        rows = (((pool.pool,), figure(pool.gap)) for pool in listed.pools if pool.gap is not None)
        yield _gauge(name, text, ("pool",), rows)


def _place(answer: Answer, row: ShareRow) -> tuple[str, str, str]:
    subdivision = row.code if answer.level == "subdivision" else ""
    return country_of(row.code), subdivision, answer.window


def _gauge(
    name: str,
    text: str,
    labels: Sequence[str],
    samples: Iterable[tuple[Sequence[str], float | None]],
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family

"""The snapshot as Prometheus metrics.

They are collected for each scrape, so that places and pools without data disappear. Units are base
units, there are no rows of totals, and unknown figures are left out.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from endpoint.errors import UnavailableError
from endpoint.http.representation import NO_STORE, Representation
from endpoint.routes.swing_metrics import SwingCollector
from miningmap import __version__
from miningmap.api.models import Answer, Gap, PoolList, ShareRow
from miningmap.licences import CC_BY
from miningmap.places import country_of
from streams.queries.snapshot import POOLS, TAKEN_AT, SnapshotError, answers_in, decode_taken_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from aiohttp import web
    from prometheus_client import Metric

    from endpoint.data.gateway import Gateway

_PLACE: Final = ("country", "subdivision", "window")
_ROWS: Final = (
    "subdivision is empty in a country's row, which includes its subdivisions: sum one or the "
    "other."
)

_answer = msgspec.json.Decoder(Answer)
_pool_list = msgspec.json.Decoder(PoolList)


def process_registry() -> CollectorRegistry:
    """Return the registry of the metrics that this process counts itself."""
    # The switch is global to the process, and the library has no annotation for it.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()


class Metrics:
    """Handler of ``/metrics``.

    Args:
        gateway: reads the snapshot.
        registry: the metrics that this process counts itself.
    """

    def __init__(self, gateway: Gateway, registry: CollectorRegistry) -> None:
        self._gateway = gateway
        self._registry = registry

    async def scrape(self, request: web.Request) -> web.Response:
        """Answer with all metrics that are known, in the format that the scraper accepts."""
        registry = CollectorRegistry()
        try:
            snapshot = await self._gateway.snapshot()
            status = await self._gateway.swing_status()
        except UnavailableError:  # then miningmap_dependency_up is 0, and no figure is known
            snapshot, status = {}, None
        registry.register(SnapshotCollector(snapshot))
        registry.register(SwingCollector(status, lambda _: True))
        registry.register(self._registry)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # CC BY as in the stream: rolling windows are too recent for an imported table.
        return Representation(encode(registry), content_type, NO_STORE, CC_BY).respond(request)


class SnapshotCollector(Collector):
    """Collects the metrics of one snapshot.

    Args:
        snapshot: its parts by name, as :meth:`streams.queries.snapshot.Snapshots.take` returns
            them; empty before the first snapshot.
    """

    def __init__(self, snapshot: Mapping[str, bytes]) -> None:
        # A part that cannot be read is unknown, like one that is not there.
        self._answers: list[Answer] = []
        for answer in answers_in(snapshot).values():
            with suppress(msgspec.DecodeError):
                self._answers.append(_answer.decode(answer))
        self._pools = PoolList(())
        with suppress(KeyError, msgspec.DecodeError):
            self._pools = _pool_list.decode(snapshot[POOLS])
        self._taken_at: datetime | None = None
        with suppress(SnapshotError):
            self._taken_at = decode_taken_at(snapshot.get(TAKEN_AT))

    def collect(self) -> Iterable[Metric]:
        """Yield every metric family, without samples where figures are unknown."""
        yield from _by_place(self._answers)
        yield from _by_window([a for a in self._answers if a.level == "country"])
        yield from _by_pool(self._pools)
        taken_at = None if self._taken_at is None else self._taken_at.timestamp()
        yield _gauge(
            "miningmap_snapshot_timestamp_seconds",
            "When the snapshot of all figures here was taken; Unix time.",
            (),
            [((), taken_at)],
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
            "The smallest share that the measured hashrate allows, 0 to 1.",
            lambda row: row.low,
        ),
        (
            "miningmap_share_high_ratio",
            "The largest share that the measured hashrate allows, 0 to 1.",
            lambda row: row.high,
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
        yield _gauge(name, text, ("window",), rows)


def _by_pool(listed: PoolList) -> Iterable[Metric]:
    yield _gauge(
        "miningmap_pool_hashrate_hashes_per_second",
        "The pool's newest mean hashrate; absent if unknown.",
        ("pool",),
        (((pool.pool,), pool.hashrate) for pool in listed.pools),
    )
    yield _gauge(
        "miningmap_pool_last_report_timestamp_seconds",
        "End of the last report about the pool from the source; Unix time.",
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

"""Foundry USA, as the pool reports itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import Figure, hashrate, iso_time
from collector.sources.single import single_pool
from miningmap.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from collector.sources.base import Reading


# The specification says that GH/s are an int64, in which a figure in H/s would not fit.
_MOST: Final = 2.0**63 * 1e9


class _PoolStats(msgspec.Struct, rename="camel"):
    hashrate5min_avg: Figure | None
    # The specification does not say how times are written.
    updated_at: object = None


parse = single_pool(
    "foundryusa",
    _PoolStats,
    lambda stats: hashrate(stats.hashrate5min_avg, "GH/s", most=_MOST),
    observed_at=lambda stats: iso_time(stats.updated_at),
)


def example(readings: Sequence[Reading], at: datetime) -> list[bytes]:
    """Return the pool's statistics, in whole GH/s; its averages over other times are made up."""
    (reading,) = readings
    hashrate = round(reading.hashrate / 1e9)
    updated = rfc3339((reading.observed_at or at).replace(microsecond=0))
    stats = {
        "activeWorkers": 1_812_345,
        "hashrate5minAvg": hashrate,
        "hashrate15minAvg": hashrate,
        "stale15minAvg": hashrate // 200_000,
        "reject15minAvg": hashrate // 300_000,
        "hashrate1hrAvg": hashrate,
        "hashrate24hrAvg": hashrate,
        "stale1hrAvg": hashrate // 200_000,
        "reject1hrAvg": hashrate // 300_000,
        "lastShareTime": updated,
        "updatedAt": updated,
    }
    return [msgspec.json.encode(stats)]


SOURCE = PoolSource(
    slug="foundry",
    name="Foundry USA",
    home="https://foundrydigital.com",
    docs="https://pool-faq.foundrydigital.com",
    terms="none stated for this request, which needs no key",
    requests=(Request("https://api.foundryusapool.com/pool_stats?coin=BTC"),),
    poll_s=60,
    poll_reason="The figure is an average over 5 minutes; polling each minute shows changes early.",
    averaging_s=300,
    # The figure's own time can be as old as the average is long.
    hold_s=600,
    least=1e19,
    confidence="high",
    default=True,
    pool="foundryusa",
    parse=parse,
    example=example,
)

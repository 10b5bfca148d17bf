"""Foundry USA, as the pool reports itself."""

from __future__ import annotations

from typing import Annotated

import msgspec

from collector.sources.base import PoolSource, Request
from collector.sources.decoding import iso_time
from collector.sources.single import single_pool


class _PoolStats(msgspec.Struct, rename="camel"):
    # The specification says int64, in which a figure in H/s would not fit.
    hashrate5min_avg: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None
    # The specification does not say how times are written.
    updated_at: object = None


parse = single_pool(
    "foundryusa",
    _PoolStats,
    lambda stats: stats.hashrate5min_avg,
    unit="GH/s",
    observed_at=lambda stats: iso_time(stats.updated_at),
)


SOURCE = PoolSource(
    slug="foundry",
    name="Foundry USA",
    home="https://foundrydigital.com",
    docs="https://pool-faq.foundrydigital.com",
    terms="none stated for this call, which needs no key",
    requests=(Request("https://api.foundryusapool.com/pool_stats?coin=BTC"),),
    poll_s=60,
    poll_reason="the figure is an average over 5 minutes; once a minute sees it move",
    averaging_s=300,
    # Its time can be as old as the average is long.
    hold_s=600,
    confidence="high",
    default=True,
    pool="foundryusa",
    parse=parse,
)
